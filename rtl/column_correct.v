// SPDX-License-Identifier: Apache-2.0
//
// Column correction: gain and offset of each physical column, between the ADCs and shift-add.
//
//   code' = clip((code * gain[c] + offset[c]) >>> 8, CODE_MIN, CODE_MAX)       c = position * N_ADCS + ADC
//
// Golden twin : model/twinor/golden/column_correct.py
// Spec        : rtl/column_correct.md
// Latency     : none from codes to corrected codes; the position is kept from the last trial on.

`default_nettype none

module column_correct #(
  parameter integer N_ADCS            = 1,
  parameter integer COLS              = 1,
  parameter integer ADC_BITS          = 2,
  parameter integer CODE_BITS         = 3,
  parameter integer WEIGHT_ENCODING   = 0,  // 0 (differential): codes are signed
  parameter integer COLUMN_CORRECTION = 0   // 0: codes pass, and there is no table
) (
  input  wire                        clk_i,
  input  wire                        rst_ni,

  // Table: word 2 c is the gain of column c, word 2 c + 1 its offset
  input  wire                        table_we_i,
  input  wire [11:0]                 table_addr_i,
  input  wire [31:0]                 table_data_i,

  // Codes
  input  wire                        done_i,  // last trial: the codes come next
  input  wire [15:0]                 mux_i,   // multiplexer position that converts
  input  wire [N_ADCS*CODE_BITS-1:0] code_i,
  output wire [N_ADCS*CODE_BITS-1:0] code_o
);

  generate
    if (COLUMN_CORRECTION == 0) begin : g_pass
      wire unused_ports = &{1'b0, clk_i, rst_ni, table_we_i, table_addr_i, table_data_i, done_i, mux_i};
      wire unused_sizes = &{1'b0, COLS != 0, ADC_BITS != 0, WEIGHT_ENCODING != 0};
      assign code_o = code_i;
    end else begin : g_correct
      localparam integer         COL_BITS  = (COLS > 1) ? $clog2(COLS) : 1;
      localparam integer         WIDE_BITS = CODE_BITS + 18;  // holds the product and, at any ADC_BITS, the offset
      localparam [CODE_BITS-1:0] HALF     = (WEIGHT_ENCODING == 0) ? {2'b01, {(CODE_BITS - 2){1'b0}}}
                                                                   : {CODE_BITS{1'b0}};
      localparam [CODE_BITS-1:0] CODE_MIN = -HALF;
      localparam [CODE_BITS-1:0] CODE_MAX = {1'b0, {ADC_BITS{1'b1}}} - HALF;

      reg  [9:0]  gain_mem   [0:COLS-1];
      reg  [15:0] offset_mem [0:COLS-1];
      reg  [15:0] mux_q;
      wire        unused_data = &{1'b0, table_data_i, mux_q};

      // A chain reads what was written before; nothing else clears it.
      always @(posedge clk_i) begin
        if (table_we_i && {21'd0, table_addr_i[11:1]} < COLS) begin
          if (table_addr_i[0]) offset_mem[table_addr_i[COL_BITS:1]] <= table_data_i[15:0];
          else gain_mem[table_addr_i[COL_BITS:1]] <= table_data_i[9:0];
        end
      end

      always @(posedge clk_i or negedge rst_ni) begin
        if (!rst_ni) mux_q <= 16'd0;
        else if (done_i) mux_q <= mux_i;
      end

      wire [31:0] first = {16'd0, mux_q} * N_ADCS;
      genvar      a;
      for (a = 0; a < N_ADCS; a = a + 1) begin : g_lane
        wire        [31:0]          column  = first + a;
        wire        [9:0]           gain    = gain_mem[column[COL_BITS-1:0]];
        wire        [15:0]          offset  = offset_mem[column[COL_BITS-1:0]];
        wire        [CODE_BITS-1:0] code    = code_i[a*CODE_BITS +: CODE_BITS];
        wire signed [WIDE_BITS-1:0] factor  = {{(WIDE_BITS - 10){1'b0}}, gain};
        wire signed [WIDE_BITS-1:0] raw     = {{(WIDE_BITS - CODE_BITS){code[CODE_BITS-1]}}, code};
        wire signed [WIDE_BITS-1:0] addend  = {{(WIDE_BITS - 16){offset[15]}}, offset};
        wire signed [WIDE_BITS-1:0] shifted = (raw * factor + addend) >>> 8;
        wire signed [WIDE_BITS-1:0] least   = {{(WIDE_BITS - CODE_BITS){CODE_MIN[CODE_BITS-1]}}, CODE_MIN};
        wire signed [WIDE_BITS-1:0] most    = {{(WIDE_BITS - CODE_BITS){1'b0}}, CODE_MAX};
        wire        unused_column = &{1'b0, column};

        assign code_o[a*CODE_BITS +: CODE_BITS] = (shifted < least) ? CODE_MIN
                                                : (shifted > most) ? CODE_MAX : shifted[CODE_BITS-1:0];
      end
    end
  endgenerate

endmodule

`default_nettype wire
