// SPDX-License-Identifier: Apache-2.0
//
// SAR logic of the ADC bank: one shared trial sequence, one result register per ADC.
//
//   trial  = result | 1 << b;  result[b] = (q >= threshold[trial] * step)      b = ADC_BITS-1 .. 0
//   code   = result - 2**(ADC_BITS-1) if the conversion is signed (differential pairs), else result
//
// Golden twin : model/twinor/golden/sar_adc.py
// Spec        : rtl/sar_adc.md
// Latency     : start_i is the sample cycle; ADC_BITS trial cycles follow; done_o marks the last of them.

`default_nettype none

module sar_adc #(
  parameter integer N_ADCS          = 1,
  parameter integer ADC_BITS        = 2,
  parameter integer CODE_BITS       = 3,  // ADC_BITS + 1
  parameter integer WEIGHT_ENCODING = 0   // 0 (differential): signed conversion
) (
  input  wire                        clk_i,
  input  wire                        rst_ni,

  // Operation
  input  wire                        start_i,  // sample cycle; not during trials
  output wire                        done_o,   // last trial: codes are valid from the next cycle to the next start

  // Comparator seam, ADC 0 in the low bits
  output wire [N_ADCS*ADC_BITS-1:0]  trial_o,
  input  wire [N_ADCS-1:0]           cmp_i,    // 1: sample >= threshold of the trial

  output wire [N_ADCS*CODE_BITS-1:0] code_o    // signed
);

  reg [ADC_BITS-1:0] seq_q;  // one-hot bit under trial, 0 when idle

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) seq_q <= {ADC_BITS{1'b0}};
    else if (start_i) seq_q <= {1'b1, {(ADC_BITS - 1){1'b0}}};
    else seq_q <= seq_q >> 1;
  end

  assign done_o = seq_q[0];

  // The comparator's bit enters as data, so that an unknown decision stays unknown //

  genvar a;
  generate
    for (a = 0; a < N_ADCS; a = a + 1) begin : g_adc
      reg  [ADC_BITS-1:0]  result_q;
      wire [ADC_BITS-1:0]  trial = result_q | seq_q;
      wire [CODE_BITS-1:0] half  = {{(CODE_BITS - 1){1'b0}}, 1'b1} << (ADC_BITS - 1);

      always @(posedge clk_i or negedge rst_ni) begin
        if (!rst_ni) result_q <= {ADC_BITS{1'b0}};
        else if (start_i) result_q <= {ADC_BITS{1'b0}};
        else result_q <= result_q | (seq_q & {ADC_BITS{cmp_i[a]}});
      end

      assign trial_o[a*ADC_BITS +: ADC_BITS]  = trial;
      assign code_o[a*CODE_BITS +: CODE_BITS] = {1'b0, result_q} - ((WEIGHT_ENCODING == 0) ? half : {CODE_BITS{1'b0}});
    end
  endgenerate

endmodule

`default_nettype wire
