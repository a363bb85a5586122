// SPDX-License-Identifier: Apache-2.0
//
// Behavioural ADC front end: charge sharing, double-buffered hold, column multiplexer, CDAC thresholds and comparator.
//
//   held   = sum over shared input slices i of q << (i * DAC_BITS)
//   sample[a] = held[mux * N_ADCS + a] + noise of this sample and ADC
//   cmp[a] = sample[a] * (fine ? 16 : 1) >= threshold[a][trial[a]] * step        step = (three ? 3 : 1) << step_shift
//
// Golden twin : model/twinor/golden/adc_frontend.py
// Spec        : rtl/sim/adc_frontend.md
// Memory      : +thresholds=FILE, $readmemh; word a * 2**TRIALS + trial, 64-bit two's complement.
//               +noise=FILE: per sample one line, the noise of each ADC, then mux, in 64 bits each, the last ADC first;
//               a sample at another mux, or beyond the last line, is X. Without it there is no noise.

`default_nettype none

module adc_frontend #(
  parameter integer COLS      = 1,
  parameter integer N_ADCS    = 1,
  parameter integer TRIALS    = 2,
  parameter integer Q_BITS    = 8,
  parameter integer DAC_BITS  = 1,
  parameter integer HOLD_BITS = 8   // Q_BITS, and what the weights of shared slices add
) (
  input  wire                       clk_i,
  input  wire [COLS*Q_BITS-1:0]     q_i,
  input  wire [7:0]                 x_slice_i, // slice 0 starts anew
  input  wire                       share_i,   // share the charge of all columns at the end of this cycle
  input  wire                       hold_i,    // share it and hold all columns at the end of this cycle
  input  wire [15:0]                mux_i,     // column mux_i * N_ADCS + a goes to ADC a
  input  wire                       sample_i,  // sample the held columns at the end of this cycle
  input  wire [6:0]                 step_shift_i,
  input  wire                       step_three_i,
  input  wire                       step_fine_i,   // the step counts sixteenths of an array unit
  input  wire [N_ADCS*TRIALS-1:0]   trial_i,
  output wire [N_ADCS-1:0]          cmp_o
);

  reg        [COLS*HOLD_BITS-1:0]   share_q;
  reg        [COLS*HOLD_BITS-1:0]   hold_q;
  wire       [COLS*HOLD_BITS-1:0]   shared;
  reg        [N_ADCS*64-1:0]        sample_q;
  reg signed [63:0]                 threshold_mem [0:(N_ADCS<<TRIALS)-1];
  reg        [8*1024-1:0]           file;
  integer                           k;

  initial if ($value$plusargs("thresholds=%s", file)) $readmemh(file, threshold_mem);

  // Noise: {noise of the last ADC, ..., of ADC 0, mux} of the sample that is being taken //

`ifdef SYNTHESIS
  wire [(N_ADCS+1)*64-1:0] noise = {(N_ADCS+1)*64{1'b0}};  // proofs read no files
`else
  reg  [(N_ADCS+1)*64-1:0] noise;
  integer                  noise_fd, read;

  initial begin
    noise    = {(N_ADCS+1)*64{1'b0}};
    noise_fd = 0;
    if ($value$plusargs("noise=%s", file)) noise_fd = $fopen(file, "r");
  end

  task next_noise;
    if (noise_fd != 0) begin
      read = $fscanf(noise_fd, "%h", noise);
      if (read != 1 || noise[63:0] !== {48'd0, mux_i}) noise = {(N_ADCS+1)*64{1'bx}};
    end
  endtask
`endif

  always @(posedge clk_i) begin
    if (share_i) share_q <= shared;
    if (hold_i) hold_q <= shared;
    if (sample_i) begin
`ifndef SYNTHESIS
      next_noise;
`endif
      for (k = 0; k < N_ADCS; k = k + 1)
        sample_q[k*64 +: 64] <= noise[(k+1)*64 +: 64]
          + {{(64 - HOLD_BITS){hold_q[(mux_i*N_ADCS+k+1)*HOLD_BITS-1]}}, hold_q[(mux_i*N_ADCS+k)*HOLD_BITS +: HOLD_BITS]};
    end
  end

  genvar a, c;
  generate
    for (c = 0; c < COLS; c = c + 1) begin : g_share
      wire signed [Q_BITS-1:0]    q      = q_i[c*Q_BITS +: Q_BITS];
      wire signed [HOLD_BITS-1:0] wide   = q;
      wire        [HOLD_BITS-1:0] earlier = share_q[c*HOLD_BITS +: HOLD_BITS];

      assign shared[c*HOLD_BITS +: HOLD_BITS] =
        (x_slice_i == 8'd0) ? wide : earlier + (wide << (x_slice_i * DAC_BITS));
    end
    for (a = 0; a < N_ADCS; a = a + 1) begin : g_adc
      wire        [TRIALS-1:0]   trial  = trial_i[a*TRIALS +: TRIALS];
      wire signed [63:0]         level  = threshold_mem[(a << TRIALS) + trial];
      wire signed [63:0]         triple = step_three_i ? level + (level <<< 1) : level;
      wire signed [63:0]         sample = sample_q[a*64 +: 64];

      assign cmp_o[a] = (sample <<< {step_fine_i, 2'b00}) >= (triple <<< step_shift_i);
    end
  endgenerate

endmodule

`default_nettype wire
