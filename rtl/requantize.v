// SPDX-License-Identifier: Apache-2.0
//
// Requantization: the sums of one multiplexer position leave one column a beat.
//
//   y = clip((acc * mult[column] + add[column]) >>> shift, lo, hi), or y = acc if raw
//
// Golden twin : model/twinor/golden/requantize.py
// Spec        : rtl/requantize.md
// Latency     : the first column is out two cycles after its sums were taken, then one column a cycle.

`default_nettype none

module requantize #(
  parameter integer N_LANES   = 1,
  parameter integer OUT_COLS  = 1,
  parameter integer ACC_BITS  = 8,
  parameter integer MULT_BITS = 16,
  parameter integer ADD_BITS  = 32
) (
  input  wire                         clk_i,
  input  wire                         rst_ni,

  // Column table
  input  wire                         table_we_i,
  input  wire [14:0]                  table_addr_i,  // {column, 0: mult, 1: add}
  input  wire [31:0]                  table_data_i,

  // Sums of one multiplexer position, lane 0 in the low bits
  input  wire                         sum_valid_i,
  output wire                         sum_ready_o,
  input  wire [N_LANES*ACC_BITS-1:0]  sum_i,
  input  wire [15:0]                  col_i,         // column of lane 0
  input  wire [15:0]                  lanes_i,       // columns in use, 1 .. N_LANES
  input  wire                         last_i,        // the last columns of a chain
  input  wire                         raw_i,
  input  wire [4:0]                   shift_i,       // 1 .. 31
  input  wire [ACC_BITS-1:0]          lo_i,
  input  wire [ACC_BITS-1:0]          hi_i,

  // Outputs
  output wire                         out_valid_o,
  input  wire                         out_ready_i,
  output wire [ACC_BITS-1:0]          out_data_o,    // signed
  output wire                         out_last_o
);

  localparam integer WIDE_BITS = ((ACC_BITS + MULT_BITS > ADD_BITS) ? ACC_BITS + MULT_BITS : ADD_BITS) + 1;
  localparam integer COL_BITS  = (OUT_COLS > 1) ? $clog2(OUT_COLS) : 1;

  // Column table //

  reg  [MULT_BITS-1:0] mult_mem [0:OUT_COLS-1];
  reg  [ADD_BITS-1:0]  add_mem  [0:OUT_COLS-1];
  wire [13:0]          table_col = table_addr_i[14:1];
  wire                 table_we  = table_we_i && {18'd0, table_col} < OUT_COLS;

  always @(posedge clk_i) begin
    if (table_we && !table_addr_i[0]) mult_mem[table_col[COL_BITS-1:0]] <= table_data_i[MULT_BITS-1:0];
    if (table_we &&  table_addr_i[0]) add_mem[table_col[COL_BITS-1:0]]  <= table_data_i[ADD_BITS-1:0];
  end

  // Sums leave lane by lane //

  reg  [N_LANES*ACC_BITS-1:0] sum_q;
  reg  [15:0]                col_q;
  reg  [15:0]                left_q;  // lanes still to leave
  reg                        last_q;
  reg                        raw_q;
  reg  [4:0]                 shift_q;
  reg  [ACC_BITS-1:0]        lo_q;
  reg  [ACC_BITS-1:0]        hi_q;

  reg                        out_valid_q;
  reg  [ACC_BITS-1:0]        out_data_q;
  reg                        out_last_q;

  wire take    = sum_valid_i && sum_ready_o;
  wire advance = left_q != 16'd0 && (!out_valid_q || out_ready_i);

  assign sum_ready_o = left_q == 16'd0 || (left_q == 16'd1 && advance);

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      left_q  <= 16'd0;
      sum_q   <= {(N_LANES * ACC_BITS){1'b0}};
      col_q   <= 16'd0;
      last_q  <= 1'b0;
      raw_q   <= 1'b0;
      shift_q <= 5'd0;
      lo_q    <= {ACC_BITS{1'b0}};
      hi_q    <= {ACC_BITS{1'b0}};
    end else if (take) begin
      left_q  <= lanes_i;
      sum_q   <= sum_i;
      col_q   <= col_i;
      last_q  <= last_i;
      raw_q   <= raw_i;
      shift_q <= shift_i;
      lo_q    <= lo_i;
      hi_q    <= hi_i;
    end else if (advance) begin
      left_q <= left_q - 16'd1;
      sum_q  <= sum_q >> ACC_BITS;
      col_q  <= col_q + 16'd1;
    end
  end

  // The rule //

  wire signed [ACC_BITS-1:0]  acc     = sum_q[ACC_BITS-1:0];
  wire signed [MULT_BITS-1:0] mult    = mult_mem[col_q[COL_BITS-1:0]];
  wire signed [ADD_BITS-1:0]  add     = add_mem[col_q[COL_BITS-1:0]];
  wire signed [WIDE_BITS-1:0] wide    = acc * mult + $signed({{(WIDE_BITS - ADD_BITS){add[ADD_BITS-1]}}, add});
  wire signed [WIDE_BITS-1:0] shifted = wide >>> shift_q;
  wire signed [WIDE_BITS-1:0] lo      = {{(WIDE_BITS - ACC_BITS){lo_q[ACC_BITS-1]}}, lo_q};
  wire signed [WIDE_BITS-1:0] hi      = {{(WIDE_BITS - ACC_BITS){hi_q[ACC_BITS-1]}}, hi_q};
  wire        [WIDE_BITS-1:0] clipped = (shifted < lo) ? lo : (shifted > hi) ? hi : shifted;

  wire unused_bits = &{1'b0, clipped[WIDE_BITS-1:ACC_BITS], table_col, col_q};

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      out_valid_q <= 1'b0;
      out_data_q  <= {ACC_BITS{1'b0}};
      out_last_q  <= 1'b0;
    end else if (advance) begin
      out_valid_q <= 1'b1;
      out_data_q  <= raw_q ? acc : clipped[ACC_BITS-1:0];
      out_last_q  <= last_q && left_q == 16'd1;
    end else if (out_ready_i) begin
      out_valid_q <= 1'b0;
    end
  end

  assign out_valid_o = out_valid_q;
  assign out_data_o  = out_data_q;
  assign out_last_o  = out_last_q;

endmodule

`default_nettype wire
