// SPDX-License-Identifier: Apache-2.0
//
// The behavioural analog half of the macro: array, bit lines and ADC front end behind the seam of cim_macro.
//
// Golden twin : model/twinor/golden/cim_macro.py
// Spec        : rtl/sim/analog_sim.md

`default_nettype none

module analog_sim #(
  parameter integer ROWS               = 1,
  parameter integer COLS               = 1,
  parameter integer WEIGHT_ENCODING    = 0,
  parameter integer DAC_BITS           = 1,
  parameter integer SLICE_ACCUMULATION = 0,
  parameter integer INPUT_MODE         = 0,
  parameter integer X_SLICES           = 1,
  parameter integer W_SLICES           = 1,
  parameter integer BIT_LINES          = 2,
  parameter integer N_ADCS             = 1,
  parameter integer TRIALS             = 2,
  parameter integer WL_BITS            = 1,
  parameter integer CURRENT_BITS       = 8
) (
  input  wire                      clk_i,
  input  wire [ROWS*WL_BITS-1:0]   wl_i,
  input  wire                      wl_start_i,
  input  wire [7:0]                w_slice_i,
  input  wire [7:0]                x_slice_i,
  input  wire                      share_i,
  input  wire [1:0]                line_sel_i,
  input  wire                      hold_i,
  input  wire [15:0]               mux_i,
  input  wire                      sample_i,
  input  wire [6:0]                step_shift_i,
  input  wire                      step_three_i,
  input  wire                      step_fine_i,
  input  wire [N_ADCS*TRIALS-1:0]  trial_i,
  output wire [N_ADCS-1:0]         cmp_o,
  input  wire                      pulse_i,
  input  wire [1:0]                pulse_kind_i,
  input  wire [7:0]                pulse_level_i,
  input  wire [N_ADCS-1:0]         pulse_mask_i
);

  localparam integer Q_BITS    = CURRENT_BITS + 1;
  localparam integer HOLD_BITS = Q_BITS + ((SLICE_ACCUMULATION == 1) ? X_SLICES * DAC_BITS : 0);

  wire [BIT_LINES*CURRENT_BITS-1:0] current;
  wire [COLS*Q_BITS-1:0]            q;

  flash_array #(
    .ROWS           (ROWS),
    .DAC_BITS       (DAC_BITS),
    .INPUT_MODE     (INPUT_MODE),
    .WL_BITS        (WL_BITS),
    .N_ADCS         (N_ADCS),
    .W_SLICES       (W_SLICES),
    .WEIGHT_ENCODING(WEIGHT_ENCODING),
    .BIT_LINES      (BIT_LINES),
    .CURRENT_BITS   (CURRENT_BITS)
  ) u_flash_array (
    .clk_i        (clk_i),
    .wl_i         (wl_i),
    .wl_start_i   (wl_start_i),
    .current_o    (current),
    .pulse_i      (pulse_i),
    .pulse_kind_i (pulse_kind_i),
    .pulse_level_i(pulse_level_i),
    .pulse_mask_i (pulse_mask_i),
    .w_slice_i    (w_slice_i),
    .line_sel_i   (line_sel_i),
    .mux_i        (mux_i)
  );

  bitline #(
    .COLS           (COLS),
    .W_SLICES       (W_SLICES),
    .WEIGHT_ENCODING(WEIGHT_ENCODING),
    .BIT_LINES      (BIT_LINES),
    .CURRENT_BITS   (CURRENT_BITS)
  ) u_bitline (
    .current_i (current),
    .w_slice_i (w_slice_i),
    .line_sel_i(line_sel_i),
    .q_o       (q)
  );

  adc_frontend #(
    .COLS     (COLS),
    .N_ADCS   (N_ADCS),
    .TRIALS   (TRIALS),
    .Q_BITS   (Q_BITS),
    .DAC_BITS (DAC_BITS),
    .HOLD_BITS(HOLD_BITS)
  ) u_adc_frontend (
    .clk_i       (clk_i),
    .q_i         (q),
    .x_slice_i   (x_slice_i),
    .share_i     (share_i),
    .hold_i      (hold_i),
    .mux_i       (mux_i),
    .sample_i    (sample_i),
    .step_shift_i(step_shift_i),
    .step_three_i(step_three_i),
    .step_fine_i (step_fine_i),
    .trial_i     (trial_i),
    .cmp_o       (cmp_o)
  );

endmodule

`default_nettype wire
