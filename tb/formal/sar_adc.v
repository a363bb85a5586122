// SPDX-License-Identifier: Apache-2.0
//
// Properties of the SAR logic: ADC_BITS trials, and the code that rtl/sar_adc.md states.
//
//   ADC 0 has a comparator with a monotone table, a new sample at every start; ADC 1 has any comparator at all

`default_nettype none

module formal_sar_adc #(
  parameter integer ADC_BITS        = 2,
  parameter integer CODE_BITS       = 3,
  parameter integer WEIGHT_ENCODING = 0
) (
  input wire                   clk_i,
  input wire                   rst_ni,
  input wire                   start_i,
  input wire [2**ADC_BITS-2:0] passed_i,  // bit c - 1: the sample taken at this start reaches threshold c
  input wire                   any_cmp_i  // answer of the other comparator
);

  wire                   done;
  wire [2*ADC_BITS-1:0]  trial;
  wire [2*CODE_BITS-1:0] code;

  reg  [2**ADC_BITS-2:0] passed_q;
  wire [2**ADC_BITS-1:0] reaches = {passed_q, 1'b1};
  wire                   table_cmp = reaches[trial[ADC_BITS-1:0]];

  sar_adc #(
    .N_ADCS         (2),
    .ADC_BITS       (ADC_BITS),
    .CODE_BITS      (CODE_BITS),
    .WEIGHT_ENCODING(WEIGHT_ENCODING)
  ) dut (
    .clk_i  (clk_i),
    .rst_ni (rst_ni),
    .start_i(start_i),
    .done_o (done),
    .trial_o(trial),
    .cmp_i  ({any_cmp_i, table_cmp}),
    .code_o (code)
  );

  (* hierconn *) wire [ADC_BITS-1:0] \dut.seq_q ;
  (* hierconn *) wire [ADC_BITS-1:0] \dut.g_adc[0].result_q ;
  (* hierconn *) wire [ADC_BITS-1:0] \dut.g_adc[1].result_q ;
  wire [ADC_BITS-1:0] seq   = \dut.seq_q ;
  wire [ADC_BITS-1:0] found = \dut.g_adc[0].result_q ;
  wire [ADC_BITS-1:0] taken = \dut.g_adc[1].result_q ;

  // What the specification counts: trials left, bits that the other comparator gave, thresholds passed //

  reg                 up_q = 1'b0;
  reg  [3:0]          left_q;
  reg  [ADC_BITS-1:0] path_q;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      left_q   <= 4'd0;
      path_q   <= {ADC_BITS{1'b0}};
      passed_q <= {(2 ** ADC_BITS - 1){1'b0}};
    end else if (start_i) begin
      left_q   <= ADC_BITS[3:0];
      path_q   <= {ADC_BITS{1'b0}};
      passed_q <= passed_i;
    end else if (left_q != 4'd0) begin
      left_q <= left_q - 4'd1;
      path_q <= {path_q, any_cmp_i};
    end
  end
  always @(posedge clk_i) up_q <= 1'b1;

  integer              c;
  reg  [ADC_BITS-1:0]  count;
  always @* begin
    count = {ADC_BITS{1'b0}};
    for (c = 0; c < 2 ** ADC_BITS - 1; c = c + 1) count = count + passed_q[c];
  end

  wire [CODE_BITS-1:0] offset = (WEIGHT_ENCODING == 0) ? 1 << (ADC_BITS - 1) : 0;
  wire [ADC_BITS-1:0]  bit_q  = (left_q == 4'd0) ? 0 : 1 << (left_q - 4'd1);

  // Assumptions //

  // Power comes with the reset active.
  wire a_reset = up_q || !rst_ni;
  // rtl/sar_adc.md: "sample cycle, one cycle long; never in a trial cycle"
  wire a_start = !(start_i && left_q != 4'd0);
  // rtl/sar_adc.md: "For a monotone table"
  wire a_monotone = (passed_i & (passed_i + 1'b1)) == 0;

  // Properties //

  // Never more than ADC_BITS trials are left.
  wire p_left = left_q <= ADC_BITS;
  // A conversion takes exactly ADC_BITS trials, from the top bit down.
  wire p_trials = seq == bit_q;
  // done_o marks the last trial and nothing else.
  wire p_done = done == (left_q == 4'd1);
  // The code under trial is the bits decided so far, and the bit under trial.
  wire p_trial = trial[ADC_BITS +: ADC_BITS] == ((path_q << left_q) | bit_q);
  // Thresholds that are passed stay a run from threshold 1 on (needed by the induction).
  wire p_run = (passed_q & (passed_q + 1'b1)) == 0;
  // With a monotone table the result is the number of thresholds passed, cut to the bits decided so far.
  wire p_search = found == ((count >> left_q) << left_q);
  // With any comparator the result is the path of its answers.
  wire p_path = taken == (path_q << left_q);
  // After the last trial the code is the number of thresholds passed, less the offset of a signed conversion.
  wire p_code = left_q != 4'd0 || code[0 +: CODE_BITS] == {1'b0, count} - offset;
  // After the last trial of any comparator the code is the path, less the offset.
  wire p_any_code = left_q != 4'd0 || code[CODE_BITS +: CODE_BITS] == {1'b0, path_q} - offset;

  always @* begin
    assume (a_reset);
    assume (a_start);
    assume (a_monotone);
    assert (p_left);
    assert (p_trials);
    assert (p_done);
    assert (p_trial);
    assert (p_run);
    assert (p_search);
    assert (p_path);
    assert (p_code);
    assert (p_any_code);
  end

endmodule

`default_nettype wire
