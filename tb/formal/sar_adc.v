// SPDX-License-Identifier: Apache-2.0
//
// Properties of the SAR logic: TRIALS trials, and the code that rtl/sar_adc.md states.
//
//   ADC 0 has a comparator with a monotone table, a new sample at every start; ADC 1 has any comparator at all

`default_nettype none

module formal_sar_adc #(
  parameter integer ADC_BITS        = 2,
  parameter integer TRIALS          = 2,
  parameter         SAR_WEIGHTS     = 4'h6,
  parameter integer CODE_BITS       = 3,
  parameter integer WEIGHT_ENCODING = 0
) (
  input wire                 clk_i,
  input wire                 rst_ni,
  input wire                 weight_we_i,
  input wire [11:0]          weight_addr_i,
  input wire [31:0]          weight_data_i,
  input wire                 start_i,
  input wire [2**TRIALS-2:0] passed_i,  // bit c - 1: the sample taken at this start reaches threshold c
  input wire                 any_cmp_i  // answer of the other comparator
);

  wire                   done;
  wire [2*TRIALS-1:0]    trial;
  wire [2*CODE_BITS-1:0] code;

  reg  [2**TRIALS-2:0] passed_q;
  wire [2**TRIALS-1:0] reaches = {passed_q, 1'b1};
  wire                 table_cmp = reaches[trial[TRIALS-1:0]];

  sar_adc #(
    .N_ADCS         (2),
    .ADC_BITS       (ADC_BITS),
    .TRIALS         (TRIALS),
    .SAR_WEIGHTS    (SAR_WEIGHTS),
    .CODE_BITS      (CODE_BITS),
    .WEIGHT_ENCODING(WEIGHT_ENCODING)
  ) dut (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .weight_we_i  (weight_we_i),
    .weight_addr_i(weight_addr_i),
    .weight_data_i(weight_data_i),
    .start_i      (start_i),
    .done_o       (done),
    .trial_o      (trial),
    .cmp_i        ({any_cmp_i, table_cmp}),
    .code_o       (code)
  );

  (* hierconn *) wire [TRIALS-1:0] \dut.seq_q ;
  (* hierconn *) wire [TRIALS*ADC_BITS-1:0] \dut.weights ;
  (* hierconn *) wire [TRIALS-1:0] \dut.g_adc[0].kept_q ;
  (* hierconn *) wire [TRIALS-1:0] \dut.g_adc[1].kept_q ;
  (* hierconn *) wire [ADC_BITS-1:0] \dut.g_adc[0].result_q ;
  (* hierconn *) wire [ADC_BITS-1:0] \dut.g_adc[1].result_q ;
  wire [TRIALS-1:0]          seq          = \dut.seq_q ;
  wire [TRIALS*ADC_BITS-1:0] weights      = \dut.weights ;
  wire [TRIALS-1:0]          found        = \dut.g_adc[0].kept_q ;
  wire [TRIALS-1:0]          taken        = \dut.g_adc[1].kept_q ;
  wire [ADC_BITS-1:0]        found_result = \dut.g_adc[0].result_q ;
  (* keep *) wire [ADC_BITS-1:0] taken_result = \dut.g_adc[1].result_q ;

  // What the specification counts: trials left, bits that the other comparator gave, thresholds passed, weights //

  localparam [TRIALS*ADC_BITS-1:0] NOMINAL = SAR_WEIGHTS;
  localparam integer BINARY = TRIALS == ADC_BITS;  // so few weights that leave no code out are the powers of two

  reg                        up_q = 1'b0;
  reg  [3:0]                 left_q;
  reg  [TRIALS-1:0]          path_q;
  reg  [TRIALS*ADC_BITS-1:0] weight_q;
  reg                        written_q, fresh_q;  // a weight was written: ever, or since the last start

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      left_q   <= 4'd0;
      path_q   <= {TRIALS{1'b0}};
      passed_q <= {(2 ** TRIALS - 1){1'b0}};
    end else if (start_i) begin
      left_q   <= TRIALS[3:0];
      path_q   <= {TRIALS{1'b0}};
      passed_q <= passed_i;
    end else if (left_q != 4'd0) begin
      left_q <= left_q - 4'd1;
      path_q <= {path_q, any_cmp_i};
    end
  end
  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      weight_q  <= NOMINAL;
      written_q <= 1'b0;
      fresh_q   <= 1'b0;
    end else begin
      if (weight_we_i && weight_addr_i < TRIALS) weight_q[weight_addr_i*ADC_BITS +: ADC_BITS] <= weight_data_i;
      written_q <= written_q || weight_we_i;
      fresh_q   <= weight_we_i || (fresh_q && !start_i);
    end
  end
  always @(posedge clk_i) up_q <= 1'b1;

  integer           c, k;
  reg  [TRIALS-1:0] count;
  reg  [15:0]       taken_sum;
  always @* begin
    count     = {TRIALS{1'b0}};
    taken_sum = 16'd0;
    for (c = 0; c < 2 ** TRIALS - 1; c = c + 1) count = count + passed_q[c];
    for (k = 0; k < TRIALS; k = k + 1)
      taken_sum = taken_sum + (weight_q[k*ADC_BITS +: ADC_BITS] & {ADC_BITS{taken[TRIALS-1-k]}});
  end

  localparam integer   TOP    = 2 ** ADC_BITS - 1;
  wire [CODE_BITS-1:0] offset = (WEIGHT_ENCODING == 0) ? 1 << (ADC_BITS - 1) : 0;
  wire [TRIALS-1:0]    bit_q  = (left_q == 4'd0) ? 0 : 1 << (left_q - 4'd1);

  // Assumptions //

  // Power comes with the reset active.
  wire a_reset = up_q || !rst_ni;
  // rtl/sar_adc.md: "sample cycle, one cycle long; never in a trial cycle"
  wire a_start = !(start_i && left_q != 4'd0);
  // rtl/sar_adc.md: "never in a trial cycle nor between a conversion and the use of its code"
  wire a_weight = !weight_we_i || (left_q == 4'd0 && !start_i);
  // rtl/sar_adc.md: "a monotone table"
  wire a_monotone = (passed_i & (passed_i + 1'b1)) == 0;

  // Properties //

  // Never more than TRIALS trials are left.
  wire p_left = left_q <= TRIALS;
  // A conversion takes exactly TRIALS trials, from the top bit down.
  wire p_trials = seq == bit_q;
  // done_o marks the last trial and nothing else.
  wire p_done = done == (left_q == 4'd1);
  // The code under trial is the bits decided so far, and the bit under trial.
  wire p_trial = trial[TRIALS +: TRIALS] == ((path_q << left_q) | bit_q);
  // Thresholds that are passed stay a run from threshold 1 on (needed by the induction).
  wire p_run = (passed_q & (passed_q + 1'b1)) == 0;
  // The registers hold what was written, and what was never written is nominal.
  wire p_weights = weights == weight_q;
  // While no weight was written they are all nominal (needed by the induction).
  wire p_nominal = written_q || weight_q == NOMINAL;
  // With a monotone table the trials kept are the number of thresholds passed, cut to the bits decided so far.
  wire p_search = found == ((count >> left_q) << left_q);
  // With any comparator the trials kept are the path of its answers.
  wire p_path = taken == (path_q << left_q);
  // The result is the sum of the weights of the kept trials, at most the largest code (asked up to 6 bits, for time).
  wire p_sum = ADC_BITS > 6 || fresh_q || taken_result == (taken_sum > TOP ? TOP : taken_sum);
  // With the weights of a binary search it is the trials kept (needed by the induction).
  wire p_binary = !BINARY || written_q || found_result == found;
  // After the last trial of a binary search the code is the number of thresholds passed, less the offset if signed.
  wire p_code = left_q != 4'd0 || !BINARY || written_q || code[0 +: CODE_BITS] == {1'b0, count} - offset;
  // After the last trial of any comparator the code is the result, less the offset of a signed conversion.
  wire p_any_code = left_q != 4'd0 || code[CODE_BITS +: CODE_BITS] == {1'b0, taken_result} - offset;

  always @* begin
    assume (a_reset);
    assume (a_start);
    assume (a_weight);
    assume (a_monotone);
    assert (p_left);
    assert (p_trials);
    assert (p_done);
    assert (p_trial);
    assert (p_run);
    assert (p_weights);
    assert (p_nominal);
    assert (p_search);
    assert (p_path);
    assert (p_sum);
    assert (p_binary);
    assert (p_code);
    assert (p_any_code);
  end

endmodule

`default_nettype wire
