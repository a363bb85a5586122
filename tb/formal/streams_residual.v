// SPDX-License-Identifier: Apache-2.0
//
// Properties of the stream of residual codes, and of the products that they become.

`default_nettype none

module formal_streams_residual #(
  parameter integer N_LANES       = 1,
  parameter integer OUT_COLS      = 1,
  parameter integer INPUT_BITS    = 1,
  parameter integer MULT_BITS     = 16,
  parameter integer RESIDUAL_BITS = 18
) (
  input  wire                clk_i,
  input  wire                rst_ni,
  input  wire                table_we_i,
  input  wire [14:0]         table_addr_i,
  input  wire [31:0]         table_data_i,
  input  wire                want_i,
  input  wire [15:0]         col_i,
  input  wire [15:0]         lanes_i,
  input  wire                valid_i,
  input  wire [INPUT_BITS:0] data_i,
  input  wire                take_i,
  output wire                ready_o,
  output wire                full_o
);

  wire [N_LANES*RESIDUAL_BITS-1:0] product;

  residual #(
    .N_LANES      (N_LANES),
    .OUT_COLS     (OUT_COLS),
    .INPUT_BITS   (INPUT_BITS),
    .MULT_BITS    (MULT_BITS),
    .RESIDUAL_BITS(RESIDUAL_BITS)
  ) dut (
    .clk_i       (clk_i),
    .rst_ni      (rst_ni),
    .table_we_i  (table_we_i),
    .table_addr_i(table_addr_i),
    .table_data_i(table_data_i),
    .want_i      (want_i),
    .col_i       (col_i),
    .lanes_i     (lanes_i),
    .valid_i     (valid_i),
    .ready_o     (ready_o),
    .data_i      (data_i),
    .take_i      (take_i),
    .full_o      (full_o),
    .product_o   (product)
  );

  (* hierconn *) wire [15:0] \dut.have_q ;
  wire [15:0] have = \dut.have_q ;

  // Codes of the position that came in, and what was due and in //

  reg                            up_q = 1'b0;
  reg                            owed_q, full_q;
  reg [15:0]                     in_q, col_q, lanes_q;
  reg [N_LANES*RESIDUAL_BITS-1:0] product_q;
  wire                           beat = valid_i && ready_o;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      in_q   <= 16'd0;
      owed_q <= 1'b0;
      full_q <= 1'b0;
    end else begin
      in_q   <= take_i ? 16'd0 : beat ? in_q + 16'd1 : in_q;
      owed_q <= want_i && !take_i;
      full_q <= full_o && !take_i;
    end
  end
  always @(posedge clk_i) begin
    up_q      <= 1'b1;
    col_q     <= col_i;
    lanes_q   <= lanes_i;
    product_q <= product;
  end

  // Assumptions //

  // Power comes with the reset active.
  wire a_reset = up_q || !rst_ni;
  // rtl/residual.md: "with `col_i` and `lanes_i` stable until that many are in and taken"
  wire a_due = !owed_q || (want_i && col_i == col_q && lanes_i == lanes_q);
  // rtl/residual.md: "columns of the position, 1 .. `N_LANES`"
  wire a_lanes = lanes_i >= 1 && lanes_i <= N_LANES;
  // rtl/residual.md: "only while `full_o` is high"
  wire a_take = !take_i || (full_o && want_i);

  // Properties //

  // A code moves while one is due and not in, and only then.
  wire p_ready = ready_o == (want_i && in_q < lanes_i);
  // The products are all in when as many codes as are due came in.
  wire p_full = full_o == (in_q == lanes_i);
  // Products that are in stay, unchanged, until they are taken.
  wire p_kept = !rst_ni || !full_q || (full_o && product == product_q);
  // The block counts the codes that came in (needed by the induction).
  wire p_have = have == in_q;
  // Never more codes are in than were due, and what is in is owed to a position that still wants it.
  wire p_owed = in_q == 0 || (owed_q && in_q <= lanes_q);
  // No more products are in than there are lanes.
  wire p_lanes = in_q <= N_LANES;

  always @* begin
    assume (a_reset);
    assume (a_due);
    assume (a_lanes);
    assume (a_take);
    assert (p_ready);
    assert (p_full);
    assert (p_kept);
    assert (p_have);
    assert (p_owed);
    assert (p_lanes);
  end

endmodule

`default_nettype wire
