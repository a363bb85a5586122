// SPDX-License-Identifier: Apache-2.0
//
// The whole macro for simulation: cim_macro and its behavioural analog half.
//
// Golden twin : model/twinor/golden/cim_macro.py
// Spec        : rtl/sim/macro_sim.md

`default_nettype none

module macro_sim #(
`include "macro_params.vh"
) (
  input  wire                           clk_i,
  input  wire                           rst_ni,
  input  wire                           round_valid_i,
  output wire                           round_ready_o,
  input  wire [15:0]                    round_addr_i,
  input  wire [31:0]                    round_data_i,
  input  wire                           in_valid_i,
  output wire                           in_ready_o,
  input  wire [IN_LANES*INPUT_BITS-1:0] in_data_i,
  input  wire                           psum_valid_i,
  output wire                           psum_ready_o,
  input  wire [PSUM_BITS-1:0]           psum_data_i,
  input  wire                           res_valid_i,
  output wire                           res_ready_o,
  input  wire [INPUT_BITS:0]            res_data_i,
  output wire                           out_valid_o,
  input  wire                           out_ready_i,
  output wire [ACC_BITS-1:0]            out_data_o,
  output wire                           out_last_o,
  output wire                           busy_o,
  output wire                           round_done_o,
  output wire                           chain_done_o,
  output wire                           error_valid_o,
  output wire [3:0]                     error_code_o,
  output wire [7:0]                     error_round_o,
  input  wire                           clip_clear_i,
  output wire [31:0]                    clip_low_o,
  output wire [31:0]                    clip_high_o,

  // Programming: rtl/prog_ctrl.md; a ramp is {cycles of a pulse, most pulses, step, first level}
  input  wire                           prog_start_i,
  input  wire [1:0]                     prog_op_i,
  input  wire [15:0]                    prog_row_base_i, prog_row_count_i,
  output wire                           prog_busy_o, prog_erase_done_o, prog_done_o, prog_error_o,
  output wire [31:0]                    prog_erase_pulses_o, prog_coarse_pulses_o, prog_fine_pulses_o, prog_unerased_o,
  input  wire [3:0]                     prog_retries_i,
  input  wire [7:0]                     prog_step_i,
  input  wire [CODE_BITS-1:0]           prog_erase_limit_i, prog_margin_i, prog_window_i,
  input  wire [(CODE_BITS<<CELL_BITS)-1:0] prog_targets_i,
  input  wire [47:0]                    prog_erase_ramp_i, prog_coarse_ramp_i, prog_fine_ramp_i,
  input  wire                           prog_target_valid_i,
  output wire                           prog_target_ready_o,
  input  wire [N_ADCS*CELL_BITS-1:0]    prog_target_data_i,
  output wire                           prog_status_valid_o,
  input  wire                           prog_status_ready_i,
  output wire [N_ADCS*2-1:0]            prog_status_data_o,
  output wire [N_ADCS*CODE_BITS-1:0]    prog_status_code_o,
  output wire [7:0]                     prog_status_coarse_o, prog_status_fine_o,
  output wire                           prog_status_last_o, prog_status_again_o
);

  wire [ROWS*WL_BITS-1:0]           wl;
  wire                              wl_start;
  wire [7:0]                        w_slice, x_slice;
  wire [1:0]                        line_sel, pulse_kind;
  wire                              share, hold, sample, step_three, step_fine, pulse;
  wire [7:0]                        pulse_level;
  wire [N_ADCS-1:0]                 pulse_mask;
  wire [15:0]                       mux;
  wire [6:0]                        step_shift;
  wire [N_ADCS*TRIALS-1:0]          trial;
  wire [N_ADCS-1:0]                 cmp;

  cim_macro #(
`include "macro_params_inst.vh"
  ) u_cim_macro (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .round_valid_i(round_valid_i),
    .round_ready_o(round_ready_o),
    .round_addr_i (round_addr_i),
    .round_data_i (round_data_i),
    .in_valid_i   (in_valid_i),
    .in_ready_o   (in_ready_o),
    .in_data_i    (in_data_i),
    .psum_valid_i (psum_valid_i),
    .psum_ready_o (psum_ready_o),
    .psum_data_i  (psum_data_i),
    .res_valid_i  (res_valid_i),
    .res_ready_o  (res_ready_o),
    .res_data_i   (res_data_i),
    .out_valid_o  (out_valid_o),
    .out_ready_i  (out_ready_i),
    .out_data_o   (out_data_o),
    .out_last_o   (out_last_o),
    .busy_o       (busy_o),
    .round_done_o (round_done_o),
    .chain_done_o (chain_done_o),
    .error_valid_o(error_valid_o),
    .error_code_o (error_code_o),
    .error_round_o(error_round_o),
    .clip_clear_i (clip_clear_i),
    .clip_low_o   (clip_low_o),
    .clip_high_o  (clip_high_o),
    .prog_start_i(prog_start_i), .prog_op_i(prog_op_i), .prog_row_base_i(prog_row_base_i),
    .prog_row_count_i(prog_row_count_i), .prog_busy_o(prog_busy_o), .prog_erase_done_o(prog_erase_done_o),
    .prog_done_o(prog_done_o), .prog_error_o(prog_error_o), .prog_erase_pulses_o(prog_erase_pulses_o),
    .prog_coarse_pulses_o(prog_coarse_pulses_o), .prog_fine_pulses_o(prog_fine_pulses_o),
    .prog_unerased_o(prog_unerased_o), .prog_retries_i(prog_retries_i), .prog_step_i(prog_step_i),
    .prog_erase_limit_i(prog_erase_limit_i), .prog_margin_i(prog_margin_i), .prog_window_i(prog_window_i),
    .prog_targets_i(prog_targets_i), .prog_erase_ramp_i(prog_erase_ramp_i), .prog_coarse_ramp_i(prog_coarse_ramp_i),
    .prog_fine_ramp_i(prog_fine_ramp_i), .prog_target_valid_i(prog_target_valid_i),
    .prog_target_ready_o(prog_target_ready_o), .prog_target_data_i(prog_target_data_i),
    .prog_status_valid_o(prog_status_valid_o), .prog_status_ready_i(prog_status_ready_i),
    .prog_status_data_o(prog_status_data_o), .prog_status_code_o(prog_status_code_o),
    .prog_status_coarse_o(prog_status_coarse_o), .prog_status_fine_o(prog_status_fine_o),
    .prog_status_last_o(prog_status_last_o), .prog_status_again_o(prog_status_again_o),
    .wl_o         (wl),
    .wl_start_o   (wl_start),
    .w_slice_o    (w_slice),
    .x_slice_o    (x_slice),
    .share_o      (share),
    .line_sel_o   (line_sel),
    .hold_o       (hold),
    .mux_o        (mux),
    .sample_o     (sample),
    .step_shift_o (step_shift),
    .step_three_o (step_three),
    .step_fine_o  (step_fine),
    .trial_o      (trial),
    .cmp_i        (cmp),
    .pulse_o      (pulse),
    .pulse_kind_o (pulse_kind),
    .pulse_level_o(pulse_level),
    .pulse_mask_o (pulse_mask)
  );

  analog_sim #(
    .ROWS              (ROWS),
    .COLS              (COLS),
    .WEIGHT_ENCODING   (WEIGHT_ENCODING),
    .DAC_BITS          (DAC_BITS),
    .SLICE_ACCUMULATION(SLICE_ACCUMULATION),
    .INPUT_MODE        (INPUT_MODE),
    .X_SLICES          (X_SLICES),
    .W_SLICES          (W_SLICES),
    .BIT_LINES         (BIT_LINES),
    .N_ADCS            (N_ADCS),
    .TRIALS            (TRIALS),
    .WL_BITS           (WL_BITS),
    .CURRENT_BITS      (CURRENT_BITS)
  ) u_analog_sim (
    .clk_i        (clk_i),
    .wl_i         (wl),
    .wl_start_i   (wl_start),
    .w_slice_i    (w_slice),
    .x_slice_i    (x_slice),
    .share_i      (share),
    .line_sel_i   (line_sel),
    .hold_i       (hold),
    .mux_i        (mux),
    .sample_i     (sample),
    .step_shift_i (step_shift),
    .step_three_i (step_three),
    .step_fine_i  (step_fine),
    .trial_i      (trial),
    .cmp_o        (cmp),
    .pulse_i      (pulse),
    .pulse_kind_i (pulse_kind),
    .pulse_level_i(pulse_level),
    .pulse_mask_i (pulse_mask)
  );

endmodule

`default_nettype wire
