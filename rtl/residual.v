// SPDX-License-Identifier: Apache-2.0
//
// Residual codes of a shortcut, each times its column's integer, collect while the first conversion runs.
//
//   product[lane] = code * mult[column]
//
// Golden twin : model/twinor/golden/residual.py
// Spec        : rtl/residual.md
// Latency     : a product is in its register one cycle after its code; full_o tells that all lanes are.

`default_nettype none

module residual #(
  parameter integer N_LANES       = 1,
  parameter integer OUT_COLS      = 1,
  parameter integer INPUT_BITS    = 1,
  parameter integer MULT_BITS     = 16,
  parameter integer RESIDUAL_BITS = 18  // INPUT_BITS + 1 + MULT_BITS
) (
  input  wire                              clk_i,
  input  wire                              rst_ni,

  // Column table: multipliers in the high half of the words at even addresses
  input  wire                              table_we_i,
  input  wire [14:0]                       table_addr_i,
  input  wire [31:0]                       table_data_i,

  // Residual codes in, one column per beat, signed
  input  wire                              want_i,       // the next lanes_i columns are due
  input  wire [15:0]                       col_i,        // column of lane 0
  input  wire [15:0]                       lanes_i,
  input  wire                              valid_i,
  output wire                              ready_o,
  input  wire [INPUT_BITS:0]               data_i,

  // Products of one multiplexer position
  input  wire                              take_i,       // they are used at the end of this cycle
  output wire                              full_o,
  output wire [N_LANES*RESIDUAL_BITS-1:0]  product_o
);

  localparam integer COL_BITS = (OUT_COLS > 1) ? $clog2(OUT_COLS) : 1;

  // Column table //

  reg  [MULT_BITS-1:0] mult_mem [0:OUT_COLS-1];
  wire [13:0]          table_col = table_addr_i[14:1];
  wire                 table_we  = table_we_i && !table_addr_i[0] && {18'd0, table_col} < OUT_COLS;

  always @(posedge clk_i) begin
    if (table_we) mult_mem[table_col[COL_BITS-1:0]] <= table_data_i[31 -: MULT_BITS];
  end

  // Products //

  reg  [N_LANES*RESIDUAL_BITS-1:0] product_q;
  reg  [15:0]                      have_q;

  wire [15:0]                      col     = col_i + have_q;
  wire signed [MULT_BITS-1:0]      mult    = mult_mem[col[COL_BITS-1:0]];
  wire signed [INPUT_BITS:0]       code    = data_i;
  wire signed [RESIDUAL_BITS-1:0]  product = code * mult;

  wire unused_bits = &{1'b0, col, table_col, table_data_i};

  assign ready_o   = want_i && have_q < lanes_i;
  assign full_o    = have_q == lanes_i;
  assign product_o = product_q;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      product_q <= {(N_LANES * RESIDUAL_BITS){1'b0}};
      have_q    <= 16'd0;
    end else if (valid_i && ready_o) begin
      product_q[have_q*RESIDUAL_BITS +: RESIDUAL_BITS] <= product;
      have_q                                           <= have_q + 16'd1;
    end else if (take_i) begin
      have_q <= 16'd0;
    end
  end

endmodule

`default_nettype wire
