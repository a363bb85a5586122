// SPDX-License-Identifier: Apache-2.0
//
// Properties of the accumulators: none can overflow under the bounds that Config.acc_bits assumes.
//
//   |accumulator| <= 2**(PSUM_BITS-1) + 2**(RESIDUAL_BITS-2) + rounds before * ROUND_BOUND + what this round can add
//   corrections only lower it in phase 0 and only raise it in phase 1, so that both phases together count once
//
// One lane and one position are followed, which no assumption chooses; the others take any codes with any fields.

`default_nettype none

module formal_shift_add #(
  parameter integer ROWS            = 1,
  parameter integer ACTIVE_ROWS     = 1,
  parameter integer INPUT_BITS      = 1,
  parameter integer DAC_BITS        = 1,
  parameter integer SLICE_ACCUMULATION = 0,
  parameter integer CELL_BITS       = 1,
  parameter integer X_SLICES        = 1,
  parameter integer W_SLICES        = 1,
  parameter integer MAX_ROUNDS      = 1,
  parameter integer N_LANES         = 1,
  parameter integer REF_COLS        = 0,
  parameter integer COLS_PER_ADC    = 1,
  parameter integer CODE_BITS       = 3,
  parameter integer ACC_BITS        = 8,
  parameter integer PSUM_BITS       = 8,
  parameter integer RESIDUAL_BITS   = 8,
  parameter integer WL_SUM_BITS     = 1,
  parameter integer WEIGHT_BITS     = 2,
  parameter integer WEIGHT_ENCODING = 0,
  parameter integer CODE_LOW        = 0,  // codes are -CODE_LOW .. CODE_MAX, as the configuration has them
  parameter integer CODE_MAX        = 1,
  parameter integer STEP_SHIFT_MAX  = 0,
  parameter integer ROUND_BOUND     = 1,
  parameter integer BOUND_BITS      = 8   // bits that hold the bound of a whole chain, and its sign
) (
  input wire                        clk_i,
  input wire                        rst_ni,
  input wire                        code_valid_i,
  input wire [(N_LANES+REF_COLS)*CODE_BITS-1:0] code_i,
  input wire [15:0]                 position_i,
  input wire                        first_i,
  input wire                        keep_i,
  input wire                        psum_i,
  input wire                        residual_i,
  input wire                        final_i,
  input wire [6:0]                  step_shift_i,
  input wire                        step_three_i,
  input wire [7:0]                  slice_shift_i,
  input wire                        negate_i,
  input wire                        offset_i,
  input wire [7:0]                  x_shift_i,
  input wire [WL_SUM_BITS-1:0]      wl_sum_i,
  input wire                        psum_want_i,
  input wire [15:0]                 psum_lanes_i,
  input wire                        psum_valid_i,
  input wire [PSUM_BITS-1:0]        psum_data_i,
  input wire                        res_full_i,
  input wire [N_LANES*RESIDUAL_BITS-1:0] res_product_i,
  input wire                        sum_ready_i,
  input wire                        spot_i,  // position and lane that are followed
  input wire [15:0]                 lane_i,
  input wire [7:0]                  pass_i   // which pass: ((group * 2 + phase) * CONVERTED + x) * W_SLICES + w
);

  localparam integer WIDE   = BOUND_BITS + 2;  // wide enough for the exact sum of anything bounded and one pass
  localparam integer GROUPS = (ROWS + ACTIVE_ROWS - 1) / ACTIVE_ROWS;
  localparam integer CONVERTED = (SLICE_ACCUMULATION == 1) ? 1 : X_SLICES;  // input slices that are converted
  localparam integer PASSES = GROUPS * 2 * CONVERTED * W_SLICES;
  localparam integer LEVEL  = 2 ** ((SLICE_ACCUMULATION == 1) ? INPUT_BITS : DAC_BITS) - 1;
  localparam integer LARGE  = (CODE_LOW > CODE_MAX) ? CODE_LOW : CODE_MAX;
  localparam integer OFFSET = (WEIGHT_ENCODING == 1 && REF_COLS == 0) ? 2 ** (WEIGHT_BITS - 1) : 0;

  wire                       code_ready, psum_ready, sum_valid;
  wire [N_LANES*ACC_BITS-1:0] sum;

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
    .code_ready_o (code_ready),
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
    .psum_ready_o (psum_ready),
    .psum_data_i  (psum_data_i),
    .res_take_o   (),
    .res_full_i   (res_full_i),
    .res_product_i(res_product_i),
    .sum_valid_o  (sum_valid),
    .sum_ready_i  (sum_ready_i),
    .sum_o        (sum)
  );

  // A position that does not exist is free, and is never followed.
  (* hierconn *) wire [N_LANES*ACC_BITS-1:0]  \dut.acc_q[0] ;
  (* hierconn *) wire [N_LANES*ACC_BITS-1:0]  \dut.acc_q[1] ;
  (* hierconn *) wire [N_LANES*PSUM_BITS-1:0] \dut.psum_q ;
  (* hierconn *) wire [15:0]                 \dut.have_q ;
  wire [15:0] have = \dut.have_q ;

  // What is followed never changes //

  reg        up_q = 1'b0;
  reg        spot_q;
  reg [15:0] lane_q;
  always @(posedge clk_i) begin
    up_q   <= 1'b1;
    spot_q <= spot_i;
    lane_q <= lane_i;
  end

  wire [N_LANES*ACC_BITS-1:0]  accs  = spot_i ? \dut.acc_q[1] : \dut.acc_q[0] ;
  wire [ACC_BITS-1:0]         acc   = accs[lane_i*ACC_BITS +: ACC_BITS];
  wire [N_LANES*PSUM_BITS-1:0] psums = \dut.psum_q ;
  wire [PSUM_BITS-1:0]        psum  = psums[lane_i*PSUM_BITS +: PSUM_BITS];
  wire [ACC_BITS-1:0]         new_acc = sum[lane_i*ACC_BITS +: ACC_BITS];

  // Each pass: slices, driven rows, and what passes up to it can add to an accumulator in one round //

  integer        g, s, i, j, codes, low, high, driven;
  reg            sign;
  reg [7:0]      x, w;
  reg [WIDE-1:0] added, line_sum, spent_low, spent_high;
  always @* begin
    sign       = 1'b0;
    x          = 8'd0;
    w          = 8'd0;
    added      = {WIDE{1'b0}};
    spent_low  = {WIDE{1'b0}};
    spent_high = {WIDE{1'b0}};
    line_sum   = {WIDE{1'b0}};
    codes      = 0;
    low        = 0;
    high       = 0;
    for (g = 0; g < GROUPS; g = g + 1) begin
      driven = (ROWS - g * ACTIVE_ROWS < ACTIVE_ROWS) ? ROWS - g * ACTIVE_ROWS : ACTIVE_ROWS;
      for (s = 0; s < 2; s = s + 1)
        for (i = 0; i < CONVERTED; i = i + 1)
          for (j = 0; j < W_SLICES; j = j + 1) begin
            codes = codes + ((LARGE << STEP_SHIFT_MAX) << (i * DAC_BITS + j * CELL_BITS));
            if (j == 0 && s == 0) low = low + ((OFFSET * driven * LEVEL) << (i * DAC_BITS));
            if (j == 0 && s == 1) high = high + ((OFFSET * driven * LEVEL) << (i * DAC_BITS));
            if (pass_i == ((g * 2 + s) * CONVERTED + i) * W_SLICES + j) begin
              sign     = s;
              x        = i;
              w        = j;
              added    = codes + low;
              line_sum = driven * LEVEL;
            end
            if (pass_q == ((g * 2 + s) * CONVERTED + i) * W_SLICES + j) begin
              spent_low  = codes + low;
              spent_high = codes + high;
            end
          end
    end
  end

  // The exact sum, as the formula of rtl/shift_add.md has it //

  reg                    live_q;   // the accumulator has had its first pass
  reg [7:0]              pass_q;   // the last pass that it had
  reg [8:0]              round_q;  // rounds of the chain before that pass's
  reg signed [WIDE-1:0]  exact_q;
  reg [PSUM_BITS-1:0]    psum_q;   // partial sum of the lane that came in last
  reg [15:0]             in_q;

  wire                   accept = code_valid_i && code_ready;
  wire                   ours   = position_i == spot_i;
  wire                   beat   = psum_valid_i && psum_ready;
  wire                   keeps  = !first_i || keep_i;
  wire [8:0]             round  = first_i ? (keep_i ? round_q + 9'd1 : 9'd0) : round_q;
  wire [CODE_BITS-1:0]   code_l = code_i[(lane_i+REF_COLS)*CODE_BITS +: CODE_BITS];
  wire [CODE_BITS-1:0]   ref_l  = (REF_COLS == 1) ? code_i[CODE_BITS-1:0] : {CODE_BITS{1'b0}};
  wire signed [WIDE-1:0] own    = {{(WIDE - CODE_BITS){code_l[CODE_BITS-1]}}, code_l};
  wire signed [WIDE-1:0] refer  = {{(WIDE - CODE_BITS){ref_l[CODE_BITS-1]}}, ref_l};
  wire signed [WIDE-1:0] code   = own - refer;
  wire signed [WIDE-1:0] begun  = psum_i ? {{(WIDE - PSUM_BITS){psum_q[PSUM_BITS-1]}}, psum_q} : {WIDE{1'b0}};
  wire signed [WIDE-1:0] step   = step_three_i ? code + code + code : code;
  wire signed [WIDE-1:0] scaled = step <<< (step_shift_i + slice_shift_i);
  wire signed [WIDE-1:0] taken  = offset_i ? (OFFSET * wl_sum_i) << x_shift_i : 0;
  wire [RESIDUAL_BITS-1:0] product_l = res_product_i[lane_i*RESIDUAL_BITS +: RESIDUAL_BITS];
  wire signed [WIDE-1:0] product = {{(WIDE - RESIDUAL_BITS){product_l[RESIDUAL_BITS-1]}}, product_l};
  wire                   adds   = first_i && residual_i;
  wire signed [WIDE-1:0] exact  = (keeps ? exact_q : begun) + (adds ? product : 0)
                                  + (negate_i ? -(scaled - taken) : scaled - taken);

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      live_q  <= 1'b0;
      pass_q  <= 8'd0;
      round_q <= 9'd0;
      exact_q <= {WIDE{1'b0}};
      psum_q  <= {PSUM_BITS{1'b0}};
      in_q    <= 16'd0;
    end else begin
      if (accept && ours) begin
        live_q  <= 1'b1;
        pass_q  <= pass_i;
        round_q <= round;
        exact_q <= exact;
      end
      if (beat && in_q == lane_i) psum_q <= psum_data_i;
      in_q <= beat ? in_q + 16'd1 : (accept && first_i && psum_i) ? 16'd0 : in_q;
    end
  end

  wire signed [WIDE-1:0] code_low   = CODE_LOW;
  wire signed [WIDE-1:0] code_max   = CODE_MAX;
  wire signed [WIDE-1:0] psum_most  = 1 << (PSUM_BITS - 1);
  wire signed [WIDE-1:0] res_most   = 1 << (RESIDUAL_BITS - 2);
  wire signed [WIDE-1:0] place_most = psum_most + res_most + round_q * ROUND_BOUND;
  wire signed [WIDE-1:0] bound_low  = place_most + spent_low;
  wire signed [WIDE-1:0] bound      = place_most + spent_high;
  wire signed [WIDE-1:0] chain_most = psum_most + res_most + MAX_ROUNDS * ROUND_BOUND;
  wire signed [WIDE-1:0] new_wide   = {{(WIDE - ACC_BITS){new_acc[ACC_BITS-1]}}, new_acc};
  wire                   counts     = code_valid_i && ours;

  // Assumptions //

  // Power comes with the reset active.
  wire a_reset = up_q || !rst_ni;
  // What is followed stays the same.
  wire a_followed = !up_q || (spot_i == spot_q && lane_i == lane_q);
  // rtl/shift_add.md: "accumulator position, below `COLS_PER_ADC`"
  wire a_position = position_i < COLS_PER_ADC && spot_i < COLS_PER_ADC && lane_i < N_LANES;
  // rtl/shift_add.md: "columns are due; both stable until that many are in and their codes taken"
  wire a_due = psum_lanes_i <= N_LANES;
  // rtl/shift_add.md: "start of the round: last round's accumulators; partial sums; neither: zero; never both"
  wire a_start = !counts || !first_i || !(keep_i && psum_i);
  // rtl/shift_add.md: "never with `keep_i`"
  wire a_added = !counts || !first_i || !(keep_i && residual_i);
  // rtl/shift_add.md: "a code times a multiplier, at most `2**(RESIDUAL_BITS-2)` in magnitude"
  wire a_product = !counts || !adds || (product >= -res_most && product <= res_most);
  // rtl/shift_add.md: "a chain never starts from a last round, so no X is read"
  wire a_live = !counts || !keeps || live_q;
  // rtl/shift_add.md: "for a chain of at most `MAX_ROUNDS` rounds"
  wire a_rounds = !counts || round < MAX_ROUNDS;
  // rtl/shift_add.md: "The passes of a round come in order and each at most once"
  wire a_order = !counts || (pass_i < PASSES && (first_i || pass_i > pass_q));
  // rtl/shift_add.md: "`slice_shift = x_slice * DAC_BITS + w_slice * CELL_BITS` and `x_shift = x_slice * DAC_BITS`"
  wire a_slice = !counts || (slice_shift_i == x * DAC_BITS + w * CELL_BITS && x_shift_i == x * DAC_BITS);
  // rtl/shift_add.md: "phase of negative activations, or the top weight slice of two's complement, not both"
  wire a_negate = !counts || negate_i == (sign != (WEIGHT_ENCODING == 2 && w == W_SLICES - 1));
  // rtl/shift_add.md: "2**(WEIGHT_BITS-1) * 2**x_shift * wl_sum        only with offset_i, WEIGHT_ENCODING = 1, REF_COLS = 0"
  wire a_offset = !counts || offset_i == (WEIGHT_ENCODING == 1 && w == 0);
  // rtl/shift_add.md: "over all codes, steps and row groups"
  wire a_step = !counts || (step_shift_i <= STEP_SHIFT_MAX && (!step_three_i || step_shift_i + 2 <= STEP_SHIFT_MAX));
  // rtl/shift_add.md: "two's complement, ADC 0 in the low bits"
  wire a_code = !counts || (own >= -code_low && own <= code_max && refer >= -code_low && refer <= code_max);
  // rtl/shift_add.md: "sum of the word-line codes that the conversion saw"
  wire a_lines = !counts || wl_sum_i <= line_sum;

  // Properties //

  // The new accumulator is the exact sum: nothing overflowed on the way.
  wire p_exact = !counts || !accept || new_wide == exact;
  // What a pass leaves is within the bound of its place in the chain.
  wire p_bound = !live_q || (exact_q <= bound && exact_q >= -bound_low);
  // No place in a chain has a bound beyond the whole chain's, which ACC_BITS is derived from.
  wire p_chain = !live_q || (bound <= chain_most && bound_low <= chain_most);
  // The passes of a round add at most ROUND_BOUND.
  wire p_round = spent_low <= ROUND_BOUND && spent_high <= ROUND_BOUND && added <= ROUND_BOUND;
  // The place is one of a chain (needed by the induction).
  wire p_place = pass_q < PASSES && round_q < MAX_ROUNDS;
  // The register holds the exact sum.
  wire p_held = !live_q || acc == exact_q[ACC_BITS-1:0];
  // The lane's partial sum is the one that came in for it.
  wire p_psum = psum == psum_q && have == in_q;

  always @* begin
    assume (a_reset);
    assume (a_followed);
    assume (a_position);
    assume (a_due);
    assume (a_start);
    assume (a_added);
    assume (a_product);
    assume (a_live);
    assume (a_rounds);
    assume (a_order);
    assume (a_slice);
    assume (a_negate);
    assume (a_offset);
    assume (a_step);
    assume (a_code);
    assume (a_lines);
    assert (p_exact);
    assert (p_bound);
    assert (p_chain);
    assert (p_round);
    assert (p_place);
    assert (p_held);
    assert (p_psum);
  end

endmodule

`default_nettype wire
