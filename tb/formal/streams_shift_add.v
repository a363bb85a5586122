// SPDX-License-Identifier: Apache-2.0
//
// Properties of the streams of the accumulators: codes and partial sums in, sums out.

`default_nettype none

module formal_streams_shift_add #(
  parameter integer N_LANES         = 1,
  parameter integer REF_COLS        = 0,
  parameter integer COLS_PER_ADC    = 1,
  parameter integer CODE_BITS       = 3,
  parameter integer ACC_BITS        = 8,
  parameter integer PSUM_BITS       = 8,
  parameter integer RESIDUAL_BITS   = 8,
  parameter integer WL_SUM_BITS     = 1,
  parameter integer WEIGHT_BITS     = 2,
  parameter integer WEIGHT_ENCODING = 0
) (
  input  wire                        clk_i,
  input  wire                        rst_ni,
  input  wire                        code_valid_i,
  input  wire [(N_LANES+REF_COLS)*CODE_BITS-1:0] code_i,
  input  wire [15:0]                 position_i,
  input  wire                        first_i,
  input  wire                        keep_i,
  input  wire                        psum_i,
  input  wire                        residual_i,
  input  wire                        final_i,
  input  wire [6:0]                  step_shift_i,
  input  wire                        step_three_i,
  input  wire [7:0]                  slice_shift_i,
  input  wire                        negate_i,
  input  wire                        offset_i,
  input  wire [7:0]                  x_shift_i,
  input  wire [WL_SUM_BITS-1:0]      wl_sum_i,
  input  wire                        psum_want_i,
  input  wire [15:0]                 psum_lanes_i,
  input  wire                        psum_valid_i,
  input  wire [PSUM_BITS-1:0]        psum_data_i,
  input  wire                        res_full_i,
  input  wire [N_LANES*RESIDUAL_BITS-1:0] res_product_i,
  input  wire                        sum_ready_i,
  output wire                        code_ready_o,
  output wire                        psum_ready_o,
  output wire                        res_take_o,
  output wire                        sum_valid_o,
  output wire [N_LANES*ACC_BITS-1:0]  sum_o
);

  shift_add #(
    .N_LANES        (N_LANES),
    .REF_COLS       (REF_COLS),
    .COLS_PER_ADC   (COLS_PER_ADC),
    .CODE_BITS      (CODE_BITS),
    .ACC_BITS       (ACC_BITS),
    .PSUM_BITS      (PSUM_BITS),
    .RESIDUAL_BITS  (RESIDUAL_BITS),
    .WL_SUM_BITS    (WL_SUM_BITS),
    .WEIGHT_BITS    (WEIGHT_BITS),
    .WEIGHT_ENCODING(WEIGHT_ENCODING)
  ) dut (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .code_valid_i (code_valid_i),
    .code_ready_o (code_ready_o),
    .code_i       (code_i),
    .position_i      (position_i),
    .first_i      (first_i),
    .keep_i       (keep_i),
    .psum_i       (psum_i),
    .residual_i   (residual_i),
    .final_i      (final_i),
    .step_shift_i (step_shift_i),
    .step_three_i (step_three_i),
    .slice_shift_i(slice_shift_i),
    .negate_i     (negate_i),
    .offset_i     (offset_i),
    .x_shift_i    (x_shift_i),
    .wl_sum_i     (wl_sum_i),
    .psum_want_i  (psum_want_i),
    .psum_lanes_i (psum_lanes_i),
    .psum_valid_i (psum_valid_i),
    .psum_ready_o (psum_ready_o),
    .psum_data_i  (psum_data_i),
    .res_take_o   (res_take_o),
    .res_full_i   (res_full_i),
    .res_product_i(res_product_i),
    .sum_valid_o  (sum_valid_o),
    .sum_ready_i  (sum_ready_i),
    .sum_o        (sum_o)
  );

  (* hierconn *) wire [15:0] \dut.have_q ;
  (* hierconn *) wire [N_LANES*ACC_BITS-1:0]  \dut.acc ;
  (* hierconn *) wire [N_LANES*PSUM_BITS-1:0] \dut.psum_q ;
  wire [15:0]                 have  = \dut.have_q ;
  wire [N_LANES*ACC_BITS-1:0]  acc   = \dut.acc ;
  wire [N_LANES*PSUM_BITS-1:0] psums = \dut.psum_q ;

  // What the last cycle offered, and how many partial sums of the position came in //

  localparam integer FIELDS = (N_LANES+REF_COLS)*CODE_BITS + 16 + 5 + 7 + 1 + 8 + 2 + 8 + WL_SUM_BITS;
  wire [FIELDS-1:0] fields = {code_i, position_i, first_i, keep_i, psum_i, residual_i, final_i, step_shift_i, step_three_i,
                              slice_shift_i, negate_i, offset_i, x_shift_i, wl_sum_i};

  reg                       up_q = 1'b0;
  reg                       code_waits_q, sum_waits_q, owed_q, full_q;
  reg [N_LANES*RESIDUAL_BITS-1:0] product_q;
  reg [FIELDS-1:0]          fields_q;
  reg [N_LANES*ACC_BITS-1:0]  acc_q;
  reg [N_LANES*PSUM_BITS-1:0] psums_q;
  reg [15:0]                in_q, lanes_q;

  wire from_psum = first_i && psum_i;
  wire from_res  = first_i && residual_i;
  wire accept    = code_valid_i && code_ready_o;
  wire beat      = psum_valid_i && psum_ready_o;
  wire complete  = in_q == psum_lanes_i;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      code_waits_q <= 1'b0;
      sum_waits_q  <= 1'b0;
      owed_q       <= 1'b0;
      full_q       <= 1'b0;
      in_q         <= 16'd0;
    end else begin
      code_waits_q <= code_valid_i && !code_ready_o;
      sum_waits_q  <= sum_valid_o && !sum_ready_i;
      owed_q       <= psum_want_i && !(accept && from_psum);
      full_q       <= res_full_i && !res_take_o;
      in_q         <= beat ? in_q + 16'd1 : (accept && from_psum) ? 16'd0 : in_q;
    end
  end
  always @(posedge clk_i) begin
    up_q     <= 1'b1;
    fields_q <= fields;
    acc_q    <= acc;
    psums_q  <= psums;
    lanes_q  <= psum_lanes_i;
    product_q <= res_product_i;
  end

  // Assumptions //

  // Power comes with the reset active.
  wire a_reset = up_q || !rst_ni;
  // rtl/shift_add.md: "codes wait; with every field below stable until they are taken"
  wire a_codes = !code_waits_q || (code_valid_i && fields == fields_q);
  // rtl/shift_add.md: "both stable until that many are in and their codes taken"
  wire a_psums = !owed_q || (psum_want_i && psum_lanes_i == lanes_q);
  // rtl/shift_add.md: "the next `psum_lanes_i` columns are due"
  wire a_due = (psum_lanes_i >= 1 && psum_lanes_i <= N_LANES) && (psum_want_i || !(code_valid_i && from_psum));
  // rtl/shift_add.md: "stays high, with stable products, until they are taken"
  wire a_products = !full_q || (res_full_i && res_product_i == product_q);
  // rtl/shift_add.md: "accumulator position, below `COLS_PER_ADC`"
  wire a_position = position_i < COLS_PER_ADC;

  // Properties //

  // Sums that were offered and not taken are still offered.
  wire p_stays = !rst_ni || !sum_waits_q || sum_valid_o;
  // What sums that were offered and not taken are made of has not changed: accumulators and partial sums, as the
  // fields and products have not; the pairs `apart` in proofs.py show that nothing else reaches them.
  wire p_stable = !rst_ni || !sum_waits_q || (acc == acc_q && (!from_psum || psums == psums_q));
  // Sums leave in the cycle in which the codes of a final pass are taken, and in no other.
  wire p_together = !code_valid_i || !final_i || (code_ready_o == (sum_valid_o && sum_ready_i));
  // Only a final pass offers sums.
  wire p_final = !sum_valid_o || (code_valid_i && final_i);
  // Codes are taken as soon as partial sums and products (if due) are in and the sums of a final pass can leave.
  wire p_code_ready = code_ready_o == ((!from_psum || complete) && (!from_res || res_full_i) && (!final_i || sum_ready_i));
  // Residual products are taken with the codes of a first pass that adds them, and in no other cycle.
  wire p_take = res_take_o == (accept && from_res);
  // A partial sum moves while one is due and not in, and only then.
  wire p_psum_ready = psum_ready_o == (psum_want_i && in_q < psum_lanes_i);
  // The block counts the partial sums that came in (needed by the induction).
  wire p_have = have == in_q;
  // Never more partial sums are in than were due.
  wire p_lanes = in_q == 0 || in_q <= lanes_q;
  // Partial sums that are in are owed to a position that still wants them.
  wire p_owed = in_q == 0 || owed_q;

  always @* begin
    assume (a_reset);
    assume (a_codes);
    assume (a_psums);
    assume (a_due);
    assume (a_products);
    assume (a_position);
    assert (p_stays);
    assert (p_stable);
    assert (p_together);
    assert (p_final);
    assert (p_code_ready);
    assert (p_take);
    assert (p_psum_ready);
    assert (p_have);
    assert (p_lanes);
    assert (p_owed);
  end

endmodule

`default_nettype wire
