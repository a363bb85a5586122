// SPDX-License-Identifier: Apache-2.0
//
// SAR logic of the ADC bank: one shared trial sequence and weight register file, one result per ADC.
//
//   trial  = kept | 1 << b;  kept[b] = (q >= threshold[trial] * step)      b = TRIALS-1 .. 0
//   result = min(sum of weight[TRIALS-1-b] over kept[b], 2**ADC_BITS - 1)
//   code   = result - 2**(ADC_BITS-1) if the conversion is signed (differential pairs), else result
//
// Golden twin : model/twinor/golden/sar_adc.py
// Spec        : rtl/sar_adc.md
// Latency     : start_i is the sample cycle; TRIALS trial cycles follow; done_o marks the last of them.

`default_nettype none

module sar_adc #(
  parameter integer N_ADCS          = 1,
  parameter integer ADC_BITS        = 2,
  parameter integer TRIALS          = 2,
  parameter         SAR_WEIGHTS     = 4'h6,  // nominal weight of each trial, ADC_BITS bits each, first trial lowest
  parameter integer CODE_BITS       = 3,     // ADC_BITS + 1
  parameter integer WEIGHT_ENCODING = 0      // 0 (differential): signed conversion
) (
  input  wire                        clk_i,
  input  wire                        rst_ni,

  // Weights: not during trials
  input  wire                        weight_we_i,
  input  wire [11:0]                 weight_addr_i,  // trial, first trial 0; others do not exist
  input  wire [31:0]                 weight_data_i,

  // Operation
  input  wire                        start_i,  // sample cycle; not during trials
  output wire                        done_o,   // last trial: codes are valid from the next cycle to the next start

  // Comparator seam, ADC 0 in the low bits
  output wire [N_ADCS*TRIALS-1:0]    trial_o,  // trials kept so far and the one under trial, first trial in the top bit
  input  wire [N_ADCS-1:0]           cmp_i,    // 1: sample >= threshold of the trial

  output wire [N_ADCS*CODE_BITS-1:0] code_o    // signed
);

  reg [TRIALS-1:0] seq_q;  // one-hot trial, 0 when idle

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) seq_q <= {TRIALS{1'b0}};
    else if (start_i) seq_q <= {1'b1, {(TRIALS - 1){1'b0}}};
    else seq_q <= seq_q >> 1;
  end

  assign done_o = seq_q[0];

  // Weights are kept as their difference from the nominal ones, so that the reset value is 0 as everywhere //

  localparam [TRIALS*ADC_BITS-1:0] NOMINAL = SAR_WEIGHTS;

  reg  [TRIALS*ADC_BITS-1:0] change_q;
  wire [TRIALS*ADC_BITS-1:0] weights = change_q ^ NOMINAL;
  reg  [ADC_BITS-1:0]        weight;  // of the trial
  integer                    k;

  wire unused_data = &{1'b0, weight_data_i};

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) change_q <= {(TRIALS * ADC_BITS){1'b0}};
    else if (weight_we_i) begin
      for (k = 0; k < TRIALS; k = k + 1)
        if (weight_addr_i == k[11:0])
          change_q[k*ADC_BITS +: ADC_BITS] <= weight_data_i[ADC_BITS-1:0] ^ NOMINAL[k*ADC_BITS +: ADC_BITS];
    end
  end

  integer t;
  always @* begin
    weight = {ADC_BITS{1'b0}};
    for (t = 0; t < TRIALS; t = t + 1)
      weight = weight | (weights[t*ADC_BITS +: ADC_BITS] & {ADC_BITS{seq_q[TRIALS-1-t]}});
  end

  // The comparator's bit enters as data, so that an unknown decision stays unknown //

  genvar a;
  generate
    for (a = 0; a < N_ADCS; a = a + 1) begin : g_adc
      reg  [TRIALS-1:0]    kept_q;
      reg  [ADC_BITS-1:0]  result_q;
      wire [TRIALS-1:0]    trial = kept_q | seq_q;
      wire [ADC_BITS:0]    sum   = {1'b0, result_q} + {1'b0, weight & {ADC_BITS{cmp_i[a]}}};
      wire [CODE_BITS-1:0] half  = {{(CODE_BITS - 1){1'b0}}, 1'b1} << (ADC_BITS - 1);

      always @(posedge clk_i or negedge rst_ni) begin
        if (!rst_ni) begin
          kept_q   <= {TRIALS{1'b0}};
          result_q <= {ADC_BITS{1'b0}};
        end else if (start_i) begin
          kept_q   <= {TRIALS{1'b0}};
          result_q <= {ADC_BITS{1'b0}};
        end else begin
          kept_q   <= kept_q | (seq_q & {TRIALS{cmp_i[a]}});
          result_q <= sum[ADC_BITS-1:0] | {ADC_BITS{sum[ADC_BITS]}};  // saturates
        end
      end

      assign trial_o[a*TRIALS +: TRIALS]      = trial;
      assign code_o[a*CODE_BITS +: CODE_BITS] = {1'b0, result_q} - ((WEIGHT_ENCODING == 0) ? half : {CODE_BITS{1'b0}});
    end
  endgenerate

endmodule

`default_nettype wire
