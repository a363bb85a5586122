// SPDX-License-Identifier: Apache-2.0
//
// Round check: the first rule that a round descriptor breaks, 0 if none.
//
//   1 rows  2 columns  3 plan  4 start  5 end  6 step  7 requant  8 residual  9 length
//
// Golden twin : model/twinor/golden/round_check.py
// Spec        : rtl/round_check.md
// Latency     : combinational.

`default_nettype none

module round_check #(
  parameter integer ROWS           = 1,
  parameter integer OUT_COLS       = 1,
  parameter integer N_LANES        = 1,
  parameter integer IN_LANES       = 1,
  parameter integer X_SLICES       = 1,
  parameter integer W_SLICES       = 1,
  parameter integer MAX_ROUNDS     = 1,
  parameter integer ROUND_WORDS    = 7,
  parameter integer STEP_SHIFT_MAX = 0,
  parameter integer ACC_BITS       = 8
) (
  input  wire [32*ROUND_WORDS-1:0] desc_i,
  input  wire [7:0]                index_i,   // place in the round memory
  input  wire [15:0]               before_i,  // columns of the round before; round 0 has none
  output wire [3:0]                error_o
);

  localparam [1:0] StartLast  = 2'd1;
  localparam [1:0] EndHold    = 2'd0;
  localparam [1:0] EndRequant = 2'd2;

  // Fields //

  wire [31:0]         row_base  = {16'd0, desc_i[15:0]};
  wire [31:0]         row_count = {16'd0, desc_i[31:16]};
  wire [31:0]         mux       = {16'd0, desc_i[47:32]};
  wire [31:0]         col_count = {16'd0, desc_i[63:48]};
  wire [7:0]          plan      = desc_i[71:64];
  wire [1:0]          start     = desc_i[73:72];
  wire [1:0]          finish    = desc_i[75:74];
  wire                last      = desc_i[76];
  wire                residual  = desc_i[78];
  wire [4:0]          shift     = desc_i[84:80];
  wire signed [ACC_BITS-1:0] lo = desc_i[96 +: ACC_BITS];
  wire signed [ACC_BITS-1:0] hi = desc_i[128 +: ACC_BITS];
  wire [31:0]         bias_rows = {16'd0, desc_i[175:160]};

  wire unused_fields = &{1'b0, desc_i};

  // Steps in use //

  wire [X_SLICES*W_SLICES-1:0] step_bad;
  genvar i, j;
  generate
    for (i = 0; i < X_SLICES; i = i + 1) begin : g_x
      for (j = 0; j < W_SLICES; j = j + 1) begin : g_w
        wire [7:0] step  = desc_i[192 + 8*(i*W_SLICES+j) +: 8];
        wire [7:0] above = {1'b0, step[7:1]} + (step[0] ? 8'd2 : 8'd0);  // log2 of a power of two that covers it
        assign step_bad[i*W_SLICES+j] = {24'd0, plan} > i && {24'd0, above} > STEP_SHIFT_MAX;
      end
    end
  endgenerate

  // Rules //

  wire rows_bad     = row_base % IN_LANES != 32'd0 || row_count == 32'd0 || row_base + row_count + bias_rows > ROWS;
  wire columns_bad  = col_count == 32'd0 || mux * N_LANES + col_count > OUT_COLS;
  wire plan_bad     = plan == 8'd0 || {24'd0, plan} > X_SLICES;
  wire start_bad    = start == 2'd3 || (start == StartLast && (index_i == 8'd0 || col_count[15:0] != before_i));
  wire end_bad      = finish == 2'd3 || (finish == EndHold && last);
  wire requant_bad  = finish == EndRequant && (shift == 5'd0 || lo > hi);
  wire residual_bad = residual && start == StartLast;
  wire length_bad   = {24'd0, index_i} == MAX_ROUNDS - 1 && !last;

  assign error_o = rows_bad     ? 4'd1
                 : columns_bad  ? 4'd2
                 : plan_bad     ? 4'd3
                 : start_bad    ? 4'd4
                 : end_bad      ? 4'd5
                 : |step_bad    ? 4'd6
                 : requant_bad  ? 4'd7
                 : residual_bad ? 4'd8
                 : length_bad   ? 4'd9
                 : 4'd0;

endmodule

`default_nettype wire
