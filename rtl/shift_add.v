// SPDX-License-Identifier: Apache-2.0
//
// Shift-add: the codes of all passes become one accumulator per column, in array units.
//
//   acc += (negate ? -1 : 1) * (code * (three ? 3 : 1) * 2**(step_shift + slice_shift) - correction)
//   correction = OFFSET * 2**(x_slice * DAC_BITS) * wl_sum        offset encoding, first weight slice only
//   REF_COLS 1: code = code of the column - code of the reference column, which takes the offset back instead
//
// Golden twin : model/twinor/golden/shift_add.py
// Spec        : rtl/shift_add.md
// Latency     : one cycle; code_ready_o tells that the codes are taken at the next clock edge.

`default_nettype none

module shift_add #(
  parameter integer N_LANES         = 1,  // output columns of a multiplexer position
  parameter integer REF_COLS        = 0,  // 1: ADC 0 converts a reference, lane a is ADC a + 1; unsigned codes only
  parameter integer COLS_PER_ADC    = 1,
  parameter integer CODE_BITS       = 3,
  parameter integer ACC_BITS        = 8,
  parameter integer PSUM_BITS       = 8,
  parameter integer RESIDUAL_BITS   = 8,
  parameter integer WL_SUM_BITS     = 1,
  parameter integer WEIGHT_BITS     = 2,
  parameter integer WEIGHT_ENCODING = 0
) (
  input  wire                                    clk_i,
  input  wire                                    rst_ni,

  // Codes of one multiplexer position
  input  wire                                    code_valid_i,
  output wire                                    code_ready_o,
  input  wire [(N_LANES+REF_COLS)*CODE_BITS-1:0] code_i,
  input  wire [15:0]                             position_i,    // accumulators of this position, 0 .. COLS_PER_ADC-1
  input  wire                                    first_i,       // first pass of the round
  input  wire                                    keep_i,        // first pass starts from the last round's accumulators
  input  wire                                    psum_i,        // first pass starts from partial sums
  input  wire                                    residual_i,    // first pass adds residual products
  input  wire                                    final_i,       // last pass: the sums leave
  input  wire [6:0]                              step_shift_i,
  input  wire                                    step_three_i,
  input  wire [7:0]                              slice_shift_i,
  input  wire                                    negate_i,
  input  wire                                    offset_i,      // take the offset back
  input  wire [7:0]                              x_shift_i,     // x_slice * DAC_BITS
  input  wire [WL_SUM_BITS-1:0]                  wl_sum_i,

  // Partial sums in, one column per beat
  input  wire                                    psum_want_i,   // the next psum_lanes_i columns are due
  input  wire [15:0]                             psum_lanes_i,
  input  wire                                    psum_valid_i,
  output wire                                    psum_ready_o,
  input  wire [PSUM_BITS-1:0]                    psum_data_i,

  // Residual products
  output wire                                    res_take_o,
  input  wire                                    res_full_i,
  input  wire [N_LANES*RESIDUAL_BITS-1:0]        res_product_i,

  // Sums of one multiplexer position out
  output wire                                    sum_valid_o,
  input  wire                                    sum_ready_i,
  output wire [N_LANES*ACC_BITS-1:0]             sum_o
);

  // Partial sums collect while the first conversion runs //

  reg  [N_LANES*PSUM_BITS-1:0] psum_q;
  reg  [15:0]                  have_q;
  wire                         from_psum = first_i && psum_i;
  wire                         from_res  = first_i && residual_i;
  wire                         complete  = (!from_psum || have_q == psum_lanes_i) && (!from_res || res_full_i);
  wire                         accept    = code_valid_i && code_ready_o;

  assign psum_ready_o = psum_want_i && have_q < psum_lanes_i;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      psum_q <= {(N_LANES * PSUM_BITS){1'b0}};
      have_q <= 16'd0;
    end else if (psum_valid_i && psum_ready_o) begin
      psum_q[have_q*PSUM_BITS +: PSUM_BITS] <= psum_data_i;
      have_q                                <= have_q + 16'd1;
    end else if (accept && from_psum) begin
      have_q <= 16'd0;
    end
  end

  assign code_ready_o = complete && (!final_i || sum_ready_i);
  assign sum_valid_o  = code_valid_i && final_i && complete;
  assign res_take_o   = accept && from_res;

  // Accumulators //

  localparam integer POSITION_BITS = (COLS_PER_ADC > 1) ? $clog2(COLS_PER_ADC) : 1;

  reg  [N_LANES*ACC_BITS-1:0] acc_q [0:COLS_PER_ADC-1];
  wire [POSITION_BITS-1:0]    position = position_i[POSITION_BITS-1:0];
  wire [N_LANES*ACC_BITS-1:0] acc      = acc_q[position];
  wire                        unused_position = &{1'b0, position_i};
  wire [ACC_BITS-1:0]         correction;

  generate
    if (WEIGHT_ENCODING == 1 && REF_COLS == 0) begin : g_offset
      wire [ACC_BITS-1:0] wide = {{(ACC_BITS - WL_SUM_BITS){1'b0}}, wl_sum_i};
      assign correction = offset_i ? wide << ({24'd0, x_shift_i} + WEIGHT_BITS - 1) : {ACC_BITS{1'b0}};
    end else begin : g_no_offset
      wire unused_offset = &{1'b0, offset_i, x_shift_i, wl_sum_i, WEIGHT_BITS != 0};
      assign correction = {ACC_BITS{1'b0}};
    end
  endgenerate

  localparam integer CODES_BITS = (N_LANES + REF_COLS) * CODE_BITS;

  // Gated, so that nothing moves here while the SAR searches.
  wire [CODES_BITS-1:0] codes     = code_i & {CODES_BITS{code_valid_i}};
  wire [CODE_BITS-1:0]  reference = (REF_COLS == 1) ? codes[CODE_BITS-1:0] : {CODE_BITS{1'b0}};

  genvar a;
  generate
    for (a = 0; a < N_LANES; a = a + 1) begin : g_lane
      wire [CODE_BITS-1:0] code   = codes[(a+REF_COLS)*CODE_BITS +: CODE_BITS] - reference;
      wire [ACC_BITS-1:0]  wide   = {{(ACC_BITS - CODE_BITS){code[CODE_BITS-1]}}, code};
      wire [ACC_BITS-1:0]  triple = wide + (step_three_i ? wide << 1 : {ACC_BITS{1'b0}});
      wire [ACC_BITS-1:0]  scaled = triple << ({1'b0, step_shift_i} + slice_shift_i);
      wire [PSUM_BITS-1:0] psum   = psum_q[a*PSUM_BITS +: PSUM_BITS];
      wire [ACC_BITS-1:0]  begun  = psum_i ? {{(ACC_BITS - PSUM_BITS){psum[PSUM_BITS-1]}}, psum} : {ACC_BITS{1'b0}};
      wire [ACC_BITS-1:0]  start  = (first_i && !keep_i) ? begun : acc[a*ACC_BITS +: ACC_BITS];
      wire [ACC_BITS-1:0]  change = scaled - correction;

      wire [RESIDUAL_BITS-1:0] product = res_product_i[a*RESIDUAL_BITS +: RESIDUAL_BITS] & {RESIDUAL_BITS{from_res}};
      wire [ACC_BITS-1:0]      added   = {{(ACC_BITS - RESIDUAL_BITS){product[RESIDUAL_BITS-1]}}, product};

      assign sum_o[a*ACC_BITS +: ACC_BITS] = start + added + (negate_i ? -change : change);
    end
  endgenerate

  always @(posedge clk_i) begin
    if (accept) acc_q[position] <= sum_o;
  end

endmodule

`default_nettype wire
