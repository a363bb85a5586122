// SPDX-License-Identifier: Apache-2.0
//
// The digital half of the compute-in-memory macro; word lines, held columns and comparators are its analog seam.
//
//   activations -> wl_dac -> [array, bit lines, hold] -> sar_adc -> shift_add -> requantize -> outputs
//                     ^----------------- macro_ctrl: rounds -----------------^
//
// Golden twin : model/twinor/golden/cim_macro.py
// Spec        : rtl/cim_macro.md
// Latency     : see rtl/macro_ctrl.md; every stream moves a beat when valid and ready are high.

`default_nettype none

module cim_macro #(
`include "macro_params.vh"
) (
  input  wire                           clk_i,
  input  wire                           rst_ni,

  // Round words: address bit 15 is 0 for the round memory; 0x8000, 0xC000, 0xD000 column table, SAR weights, correction
  input  wire                           round_valid_i,
  output wire                           round_ready_o,
  input  wire [15:0]                    round_addr_i,
  input  wire [31:0]                    round_data_i,

  // Activations, IN_LANES rows per beat
  input  wire                           in_valid_i,
  output wire                           in_ready_o,
  input  wire [IN_LANES*INPUT_BITS-1:0] in_data_i,

  // Partial sums, one column per beat, signed
  input  wire                           psum_valid_i,
  output wire                           psum_ready_o,
  input  wire [PSUM_BITS-1:0]           psum_data_i,

  // Outputs or raw accumulators, one column per beat, signed; last marks the end of a chain
  output wire                           out_valid_o,
  input  wire                           out_ready_i,
  output wire [ACC_BITS-1:0]            out_data_o,
  output wire                           out_last_o,

  // Codes at either end of the ADC's range since the last clear
  input  wire                           clip_clear_i,
  output wire [31:0]                    clip_low_o, clip_high_o,

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
  output wire                           prog_status_last_o, prog_status_again_o,

  // Analog seam
  output wire [ROWS*DAC_BITS-1:0]       wl_o,
  output wire [7:0]                     w_slice_o,
  output wire [1:0]                     line_sel_o,    // 0 both lines of a pair subtracted, 1 plus, 2 minus
  output wire                           hold_o,
  output wire [15:0]                    mux_o,
  output wire                           sample_o,
  output wire [6:0]                     step_shift_o,
  output wire                           step_three_o,
  output wire                           step_fine_o,   // the step counts sixteenths of an array unit
  output wire [N_ADCS*TRIALS-1:0]       trial_o,
  input  wire [N_ADCS-1:0]              cmp_i,
  output wire                           pulse_o,
  output wire [1:0]                     pulse_kind_o,
  output wire [7:0]                     pulse_level_o,
  output wire [N_ADCS-1:0]              pulse_mask_o
);

  // The array's parameters come along so that one header serves both halves //

  wire unused_array = &{1'b0, BIT_LINES != 0, CURRENT_BITS != 0};

  // Round words //

  wire word_ready;
  wire sum_ready;
  wire prog_own;  // programming is granted, or runs
  wire table_sel   = round_addr_i[15:14] == 2'b10;
  wire weight_sel  = round_addr_i[15:12] == 4'hC;
  wire correct_sel = round_addr_i[15:12] == 4'hD;
  wire free        = word_ready && sum_ready;

  assign round_ready_o = free && !prog_own;

  // The analog seam belongs to the sequencer, or to the program-verify controller during an operation //

  wire                     hold_run, hold_prog, sample_run, sample_prog, step_three_run, step_three_prog;
  wire [ROWS*DAC_BITS-1:0] wl_run, wl_prog;
  wire [7:0]               w_slice_run, w_slice_prog;
  wire [1:0]               line_sel_prog;
  wire [15:0]              mux_run, mux_prog;
  wire [6:0]               step_shift_run, step_shift_prog;

  assign {wl_o, w_slice_o, line_sel_o, hold_o, mux_o, sample_o} = prog_busy_o
      ? {wl_prog, w_slice_prog, line_sel_prog, hold_prog, mux_prog, sample_prog}
      : {wl_run, w_slice_run, 2'd0, hold_run, mux_run, sample_run};
  assign {step_shift_o, step_three_o, step_fine_o} = prog_busy_o
      ? {step_shift_prog, step_three_prog, 1'b1} : {step_shift_run, step_three_run, 1'b0};

  // Word-line DACs //

  wire                   load_en, loading, loaded, swap, drive, wl_on;
  wire [15:0]            load_base, load_count, row_first, row_num;
  wire [7:0]             slice;
  wire [WL_SUM_BITS-1:0] wl_sum;

  wl_dac #(
    .ROWS           (ROWS),
    .INPUT_BITS     (INPUT_BITS),
    .DAC_BITS       (DAC_BITS),
    .X_SLICES       (X_SLICES),
    .IN_LANES       (IN_LANES),
    .WEIGHT_ENCODING(WEIGHT_ENCODING),
    .WL_SUM_BITS    (WL_SUM_BITS)
  ) u_wl_dac (
    .clk_i       (clk_i),
    .rst_ni      (rst_ni),
    .in_valid_i  (in_valid_i),
    .in_ready_o  (in_ready_o),
    .in_data_i   (in_data_i),
    .load_en_i   (load_en && !prog_own),
    .load_base_i (load_base),
    .load_count_i(load_count),
    .loading_o   (loading),
    .loaded_o    (loaded),
    .swap_i      (swap),
    .drive_i     (drive),
    .wl_on_i     (wl_on),
    .slice_i     (slice),
    .row_first_i (row_first),
    .row_num_i   (row_num),
    .wl_o        (wl_run),
    .wl_sum_o    (wl_sum)
  );

  // ADC bank //

  wire                        adc_done;
  wire [N_ADCS*CODE_BITS-1:0] raw_code, code;

  sar_adc #(
    .N_ADCS         (N_ADCS),
    .ADC_BITS       (ADC_BITS),
    .TRIALS         (TRIALS),
    .SAR_WEIGHTS    (SAR_WEIGHTS),
    .CODE_BITS      (CODE_BITS),
    .WEIGHT_ENCODING(WEIGHT_ENCODING)
  ) u_sar_adc (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .weight_we_i  (round_valid_i && round_ready_o && weight_sel),
    .weight_addr_i(round_addr_i[11:0]),
    .weight_data_i(round_data_i),
    .start_i      (sample_o),
    .done_o       (adc_done),
    .trial_o      (trial_o),
    .cmp_i        (cmp_i),
    .code_o       (raw_code)
  );

  column_correct #(
    .N_ADCS           (N_ADCS),
    .COLS             (COLS),
    .ADC_BITS         (ADC_BITS),
    .CODE_BITS        (CODE_BITS),
    .WEIGHT_ENCODING  (WEIGHT_ENCODING),
    .COLUMN_CORRECTION(COLUMN_CORRECTION)
  ) u_column_correct (
    .clk_i       (clk_i),
    .rst_ni      (rst_ni),
    .table_we_i  (round_valid_i && round_ready_o && correct_sel),
    .table_addr_i(round_addr_i[11:0]),
    .table_data_i(round_data_i),
    .done_i      (adc_done),
    .mux_i       (mux_o),
    .code_i      (raw_code),
    .code_o      (code)
  );

  // Sequencer //

  wire                   code_valid, code_ready, first, keep, psum, final_pass, code_step_three, negate, offset;
  wire                   psum_want, last, raw;
  wire [15:0]            phase, psum_lanes, col, lanes;
  wire [6:0]             code_step_shift;
  wire [7:0]             slice_shift, x_shift;
  wire [WL_SUM_BITS-1:0] code_wl_sum;
  wire [4:0]             shift;
  wire [ACC_BITS-1:0]    lo, hi;

  macro_ctrl #(
    .ACTIVE_ROWS    (ACTIVE_ROWS),
    .N_ADCS         (N_ADCS),
    .DAC_BITS       (DAC_BITS),
    .CELL_BITS      (CELL_BITS),
    .W_SLICES       (W_SLICES),
    .WEIGHT_ENCODING(WEIGHT_ENCODING),
    .WL_CYCLES      (WL_CYCLES),
    .SETTLE_CYCLES  (SETTLE_CYCLES),
    .MAX_ROUNDS     (MAX_ROUNDS),
    .ROUND_WORDS    (ROUND_WORDS),
    .ACC_BITS       (ACC_BITS),
    .WL_SUM_BITS    (WL_SUM_BITS)
  ) u_macro_ctrl (
    .clk_i            (clk_i),
    .rst_ni           (rst_ni),
    .word_valid_i     (round_valid_i && round_ready_o),
    .word_ready_o     (word_ready),
    .word_addr_i      (round_addr_i),
    .word_data_i      (round_data_i),
    .load_en_o        (load_en),
    .load_base_o      (load_base),
    .load_count_o     (load_count),
    .loading_i        (loading),
    .loaded_i         (loaded),
    .swap_o           (swap),
    .drive_o          (drive),
    .wl_on_o          (wl_on),
    .slice_o          (slice),
    .row_first_o      (row_first),
    .row_num_o        (row_num),
    .wl_sum_i         (wl_sum),
    .w_slice_o        (w_slice_run),
    .hold_o           (hold_run),
    .mux_o            (mux_run),
    .sample_o         (sample_run),
    .adc_done_i       (adc_done && !prog_busy_o),
    .step_shift_o     (step_shift_run),
    .step_three_o     (step_three_run),
    .code_valid_o     (code_valid),
    .code_ready_i     (code_ready),
    .phase_o          (phase),
    .first_o          (first),
    .keep_o           (keep),
    .psum_o           (psum),
    .final_o          (final_pass),
    .code_step_shift_o(code_step_shift),
    .code_step_three_o(code_step_three),
    .slice_shift_o    (slice_shift),
    .negate_o         (negate),
    .offset_o         (offset),
    .x_shift_o        (x_shift),
    .wl_sum_o         (code_wl_sum),
    .psum_want_o      (psum_want),
    .psum_lanes_o     (psum_lanes),
    .col_o            (col),
    .lanes_o          (lanes),
    .last_o           (last),
    .raw_o            (raw),
    .shift_o          (shift),
    .lo_o             (lo),
    .hi_o             (hi)
  );

  clip_count #(
    .N_ADCS         (N_ADCS),
    .ADC_BITS       (ADC_BITS),
    .CODE_BITS      (CODE_BITS),
    .WEIGHT_ENCODING(WEIGHT_ENCODING)
  ) u_clip_count (
    .clk_i  (clk_i),
    .rst_ni (rst_ni),
    .take_i (code_valid && code_ready),
    .lanes_i(lanes),
    .code_i (raw_code),
    .clear_i(clip_clear_i),
    .low_o  (clip_low_o),
    .high_o (clip_high_o)
  );

  // Shift-add and requantization //

  wire                       sum_valid;
  wire [N_ADCS*ACC_BITS-1:0] sum;

  shift_add #(
    .N_ADCS         (N_ADCS),
    .COLS_PER_ADC   (COLS_PER_ADC),
    .CODE_BITS      (CODE_BITS),
    .ACC_BITS       (ACC_BITS),
    .PSUM_BITS      (PSUM_BITS),
    .WL_SUM_BITS    (WL_SUM_BITS),
    .WEIGHT_BITS    (WEIGHT_BITS),
    .WEIGHT_ENCODING(WEIGHT_ENCODING)
  ) u_shift_add (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .code_valid_i (code_valid),
    .code_ready_o (code_ready),
    .code_i       (code),
    .phase_i      (phase),
    .first_i      (first),
    .keep_i       (keep),
    .psum_i       (psum),
    .final_i      (final_pass),
    .step_shift_i (code_step_shift),
    .step_three_i (code_step_three),
    .slice_shift_i(slice_shift),
    .negate_i     (negate),
    .offset_i     (offset),
    .x_shift_i    (x_shift),
    .wl_sum_i     (code_wl_sum),
    .psum_want_i  (psum_want),
    .psum_lanes_i (psum_lanes),
    .psum_valid_i (psum_valid_i),
    .psum_ready_o (psum_ready_o),
    .psum_data_i  (psum_data_i),
    .sum_valid_o  (sum_valid),
    .sum_ready_i  (sum_ready),
    .sum_o        (sum)
  );

  requantize #(
    .N_ADCS   (N_ADCS),
    .COLS     (COLS),
    .ACC_BITS (ACC_BITS),
    .MULT_BITS(MULT_BITS),
    .ADD_BITS (ADD_BITS)
  ) u_requantize (
    .clk_i       (clk_i),
    .rst_ni      (rst_ni),
    .table_we_i  (round_valid_i && round_ready_o && table_sel),
    .table_addr_i(round_addr_i[14:0]),
    .table_data_i(round_data_i),
    .sum_valid_i (sum_valid),
    .sum_ready_o (sum_ready),
    .sum_i       (sum),
    .col_i       (col),
    .lanes_i     (lanes),
    .last_i      (last),
    .raw_i       (raw),
    .shift_i     (shift),
    .lo_i        (lo),
    .hi_i        (hi),
    .out_valid_o (out_valid_o),
    .out_ready_i (out_ready_i),
    .out_data_o  (out_data_o),
    .out_last_o  (out_last_o)
  );

  // Program-verify controller //

  prog_ctrl #(
    .ROWS(ROWS), .COLS_PER_ADC(COLS_PER_ADC), .N_ADCS(N_ADCS), .DAC_BITS(DAC_BITS), .CELL_BITS(CELL_BITS),
    .W_SLICES(W_SLICES), .WEIGHT_ENCODING(WEIGHT_ENCODING), .ADC_BITS(ADC_BITS), .CODE_BITS(CODE_BITS),
    .WL_CYCLES(WL_CYCLES), .SETTLE_CYCLES(SETTLE_CYCLES)
  ) u_prog_ctrl (
    .clk_i(clk_i), .rst_ni(rst_ni), .free_i(free), .own_o(prog_own),
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
    .wl_o(wl_prog), .w_slice_o(w_slice_prog), .line_sel_o(line_sel_prog), .hold_o(hold_prog), .mux_o(mux_prog),
    .sample_o(sample_prog), .step_shift_o(step_shift_prog), .step_three_o(step_three_prog), .adc_done_i(adc_done),
    .code_i(code), .pulse_o(pulse_o), .pulse_kind_o(pulse_kind_o), .pulse_level_o(pulse_level_o),
    .pulse_mask_o(pulse_mask_o)
  );

endmodule

`default_nettype wire
