// SPDX-License-Identifier: Apache-2.0
//
// Behavioural bit lines: the columns of one weight slice, the two lines of a differential pair subtracted.
//
//   q[c] = current[c, w_slice, plus] - current[c, w_slice, minus]     or current[c, w_slice] without pairs
//   q[c] = current[c, w_slice, plus] or current[c, w_slice, minus]    one line of a pair alone: line_sel = 1 or 2
//
// Golden twin : model/twinor/golden/bitline.py
// Spec        : rtl/sim/bitline.md

`default_nettype none

module bitline #(
  parameter integer COLS            = 1,
  parameter integer W_SLICES        = 1,
  parameter integer WEIGHT_ENCODING = 0,
  parameter integer BIT_LINES       = 2,
  parameter integer CURRENT_BITS    = 8
) (
  input  wire [BIT_LINES*CURRENT_BITS-1:0]  current_i,
  input  wire [7:0]                         w_slice_i,
  input  wire [1:0]                         line_sel_i,
  output wire [COLS*(CURRENT_BITS+1)-1:0]   q_o  // signed
);

  localparam integer Q_BITS = CURRENT_BITS + 1;
  localparam integer LINES  = (WEIGHT_ENCODING == 0) ? 2 : 1;

  reg [COLS*Q_BITS-1:0] q;
  reg [Q_BITS-1:0]      plus, minus;
  integer               c, line;

  always @(current_i or w_slice_i or line_sel_i)
    for (c = 0; c < COLS; c = c + 1) begin
      line  = (c * W_SLICES + w_slice_i) * LINES;
      plus  = {1'b0, current_i[line*CURRENT_BITS +: CURRENT_BITS]};
      minus = {Q_BITS{1'b0}};
      if (LINES == 2) minus = {1'b0, current_i[(line+1)*CURRENT_BITS +: CURRENT_BITS]};
      q[c*Q_BITS +: Q_BITS] = plus - minus;
      if (LINES == 2 && line_sel_i !== 2'd0)
        q[c*Q_BITS +: Q_BITS] = (line_sel_i === 2'd1) ? plus : (line_sel_i === 2'd2) ? minus : {Q_BITS{1'bx}};
    end

  assign q_o = q;

endmodule

`default_nettype wire
