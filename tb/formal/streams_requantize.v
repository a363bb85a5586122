// SPDX-License-Identifier: Apache-2.0
//
// Properties of the streams of the requantization: sums in, outputs out.

`default_nettype none

module formal_streams_requantize #(
  parameter integer N_LANES  = 1,
  parameter integer OUT_COLS = 1,
  parameter integer ACC_BITS = 8
) (
  input wire                       clk_i,
  input wire                       rst_ni,
  input wire                       sum_valid_i,
  input wire [N_LANES*ACC_BITS-1:0] sum_i,
  input wire [15:0]                col_i,
  input wire [15:0]                lanes_i,
  input wire                       last_i,
  input wire                       raw_i,
  input wire [4:0]                 shift_i,
  input wire                       out_ready_i,
  output wire                      out_valid_o,
  output wire                      sum_ready_o
);

  wire [ACC_BITS-1:0] out_data;
  wire                out_last;

  // The table and the limits are data: no stream depends on them.
  requantize #(
    .N_LANES (N_LANES),
    .OUT_COLS(OUT_COLS),
    .ACC_BITS(ACC_BITS)
  ) dut (
    .clk_i       (clk_i),
    .rst_ni      (rst_ni),
    .table_we_i  (1'b0),
    .table_addr_i(15'd0),
    .table_data_i(32'd0),
    .sum_valid_i (sum_valid_i),
    .sum_ready_o (sum_ready_o),
    .sum_i       (sum_i),
    .col_i       (col_i),
    .lanes_i     (lanes_i),
    .last_i      (last_i),
    .raw_i       (raw_i),
    .shift_i     (shift_i),
    .lo_i        ({ACC_BITS{1'b0}}),
    .hi_i        ({ACC_BITS{1'b0}}),
    .out_valid_o (out_valid_o),
    .out_ready_i (out_ready_i),
    .out_data_o  (out_data),
    .out_last_o  (out_last)
  );

  (* hierconn *) wire [15:0] \dut.left_q ;
  (* hierconn *) wire        \dut.last_q ;
  wire [15:0] left   = \dut.left_q ;
  wire        last_q = \dut.last_q ;

  // What the last cycle offered, lanes that were taken and did not leave, and whether they are a chain's last //

  reg                up_q = 1'b0;
  reg                offered_q;
  reg [ACC_BITS-1:0] data_q;
  reg                beat_last_q;
  reg [15:0]         owed_q;
  reg                owed_last_q;
  reg                entered_q, ends_q;  // a lane moved on, and it was a chain's last

  wire               take = sum_valid_i && sum_ready_o;
  wire               move = out_valid_o && out_ready_i;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      offered_q   <= 1'b0;
      data_q      <= {ACC_BITS{1'b0}};
      beat_last_q <= 1'b0;
      owed_q      <= 16'd0;
      owed_last_q <= 1'b0;
      entered_q   <= 1'b0;
      ends_q      <= 1'b0;
    end else begin
      offered_q   <= out_valid_o && !out_ready_i;
      data_q      <= out_data;
      beat_last_q <= out_last;
      owed_q      <= owed_q + (take ? lanes_i : 16'd0) - (move ? 16'd1 : 16'd0);
      if (take) owed_last_q <= last_i;
      entered_q   <= left != 16'd0 && (!out_valid_o || out_ready_i);
      ends_q      <= owed_last_q && left == 16'd1;
    end
  end
  always @(posedge clk_i) up_q <= 1'b1;

  // Assumptions //

  // Power comes with the reset active.
  wire a_reset = up_q || !rst_ni;
  // rtl/requantize.md: "columns in use, 1 .. `N_LANES`"
  wire a_lanes = lanes_i >= 1 && lanes_i <= N_LANES;

  // Properties //

  // An output that was offered and not taken is still offered.
  wire p_stays = !rst_ni || !offered_q || out_valid_o;
  // An output that was offered and not taken has not changed.
  wire p_stable = !rst_ni || !offered_q || (out_data == data_q && out_last == beat_last_q);
  // Sums are taken while no lane waits, and in the cycle in which the last lane moves on.
  wire p_ready = sum_ready_o == (left == 0 || (left == 1 && (!out_valid_o || out_ready_i)));
  // Every lane that was taken leaves once: lanes that wait and the beat on offer are what is owed.
  wire p_owed = owed_q == left + (out_valid_o ? 16'd1 : 16'd0);
  // No more lanes wait than there are (needed by the induction).
  wire p_left = left <= N_LANES;
  // The lanes that wait are a chain's last if the sums that were taken last are (needed by the induction).
  wire p_kept = left == 0 || last_q == owed_last_q;
  // Last stands on a beat if it is the last lane of sums that a chain ends with, and on no other.
  wire p_last = !rst_ni || !entered_q || (out_valid_o && out_last == ends_q);

  always @* begin
    assume (a_reset);
    assume (a_lanes);
    assert (p_stays);
    assert (p_stable);
    assert (p_ready);
    assert (p_owed);
    assert (p_left);
    assert (p_kept);
    assert (p_last);
  end

endmodule

`default_nettype wire
