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

  // Round words: 0x0000 the round memory; 0x8000, 0xC000, 0xD000 column table, SAR weights, correction
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

  // Residual codes, one column per beat, signed
  input  wire                           res_valid_i,
  output wire                           res_ready_o,
  input  wire [INPUT_BITS:0]            res_data_i,

  // Outputs or raw accumulators, one column per beat, signed; last marks the end of a chain
  output wire                           out_valid_o,
  input  wire                           out_ready_i,
  output wire [ACC_BITS-1:0]            out_data_o,
  output wire                           out_last_o,

  // Status: pulses of one cycle, and a bad descriptor's rule and round beside its pulse
  output wire                           busy_o,
  output wire                           round_done_o,
  output wire                           chain_done_o,
  output wire                           error_valid_o,
  output wire [3:0]                     error_code_o,
  output wire [7:0]                     error_round_o,

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
  output wire [ROWS*WL_BITS-1:0]        wl_o,
  output wire                           wl_start_o,    // pulse_width: the first cycle of a drive's pulses
  output wire [7:0]                     w_slice_o,
  output wire [7:0]                     x_slice_o,
  output wire                           share_o,
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
  wire table_we    = round_valid_i && round_ready_o && round_addr_i[15:14] == 2'b10;
  wire weight_sel  = round_addr_i[15:12] == 4'hC;
  wire correct_sel = round_addr_i[15:12] == 4'hD;
  wire free        = word_ready && sum_ready;

  assign round_ready_o = free && !prog_own;

  // The analog seam belongs to the sequencer, or to the program-verify controller during an operation //

  wire                     hold_run, hold_prog, sample_run, sample_prog, step_three_run, step_three_prog;
  wire [ROWS*WL_BITS-1:0]  wl_run, wl_prog;
  wire                     wl_start_run, wl_start_prog;
  wire [7:0]               w_slice_run, w_slice_prog, x_slice_run;
  wire [1:0]               line_sel_prog;
  wire [15:0]              mux_run, mux_prog;
  wire [6:0]               step_shift_run, step_shift_prog;

  assign {wl_o, wl_start_o, w_slice_o, line_sel_o, hold_o, mux_o, sample_o} = prog_busy_o
      ? {wl_prog, wl_start_prog, w_slice_prog, line_sel_prog, hold_prog, mux_prog, sample_prog}
      : {wl_run, wl_start_run, w_slice_run, 2'd0, hold_run, mux_run, sample_run};
  assign {step_shift_o, step_three_o, step_fine_o} = prog_busy_o
      ? {step_shift_prog, step_three_prog, 1'b1} : {step_shift_run, step_three_run, 1'b0};

  assign x_slice_o = prog_busy_o ? 8'd0 : x_slice_run;  // a verify read is held alone

  // Word-line DACs //

  wire                   load_en, load_signed, loading, loaded, swap, drive, wl_on, wl_phase;
  wire [15:0]            load_base, load_count, load_bias, row_first, row_num;
  wire [INPUT_BITS-1:0]  bias_code;
  wire [7:0]             slice;
  wire [WL_SUM_BITS-1:0] wl_sum;

  wl_dac #(
    .ROWS(ROWS), .INPUT_BITS(INPUT_BITS), .DAC_BITS(DAC_BITS), .INPUT_MODE(INPUT_MODE), .WL_BITS(WL_BITS),
    .X_SLICES(X_SLICES), .IN_LANES(IN_LANES), .WEIGHT_ENCODING(WEIGHT_ENCODING), .WL_SUM_BITS(WL_SUM_BITS)
  ) u_wl_dac (
    .clk_i(clk_i), .rst_ni(rst_ni),
    .in_valid_i(in_valid_i), .in_ready_o(in_ready_o), .in_data_i(in_data_i),
    .load_en_i(load_en && !prog_own), .load_base_i(load_base), .load_count_i(load_count), .load_signed_i(load_signed),
    .load_bias_i(load_bias), .bias_code_i(bias_code),
    .loading_o(loading), .loaded_o(loaded),
    .swap_i(swap), .drive_i(drive), .wl_on_i(wl_on), .slice_i(slice), .phase_i(wl_phase),
    .row_first_i(row_first), .row_num_i(row_num),
    .wl_o(wl_run), .wl_start_o(wl_start_run), .wl_sum_o(wl_sum)
  );

  // ADC bank //

  wire                        adc_done;
  wire [N_ADCS*CODE_BITS-1:0] raw_code, code;

  sar_adc #(
    .N_ADCS(N_ADCS), .ADC_BITS(ADC_BITS), .TRIALS(TRIALS), .SAR_WEIGHTS(SAR_WEIGHTS), .CODE_BITS(CODE_BITS),
    .WEIGHT_ENCODING(WEIGHT_ENCODING)
  ) u_sar_adc (
    .clk_i(clk_i), .rst_ni(rst_ni),
    .weight_we_i(round_valid_i && round_ready_o && weight_sel), .weight_addr_i(round_addr_i[11:0]),
    .weight_data_i(round_data_i),
    .start_i(sample_o), .done_o(adc_done),
    .trial_o(trial_o), .cmp_i(cmp_i), .code_o(raw_code)
  );

  column_correct #(
    .N_ADCS(N_ADCS), .COLS(COLS), .ADC_BITS(ADC_BITS), .CODE_BITS(CODE_BITS), .WEIGHT_ENCODING(WEIGHT_ENCODING),
    .COLUMN_CORRECTION(COLUMN_CORRECTION)
  ) u_column_correct (
    .clk_i(clk_i), .rst_ni(rst_ni),
    .table_we_i(round_valid_i && round_ready_o && correct_sel), .table_addr_i(round_addr_i[11:0]),
    .table_data_i(round_data_i),
    .done_i(adc_done), .mux_i(mux_o), .code_i(raw_code), .code_o(code)
  );

  // Sequencer //

  wire                   code_valid, code_ready, first, keep, psum, residual, final_pass, code_step_three, negate, offset;
  wire                   psum_want, res_want, last, raw;
  wire [15:0]            position, psum_lanes, res_col, res_lanes, col, lanes;
  wire [6:0]             code_step_shift;
  wire [7:0]             slice_shift, x_shift;
  wire [WL_SUM_BITS-1:0] code_wl_sum;
  wire [4:0]             shift;
  wire [ACC_BITS-1:0]    lo, hi;

  macro_ctrl #(
    .ROWS(ROWS), .OUT_COLS(OUT_COLS), .ACTIVE_ROWS(ACTIVE_ROWS), .N_LANES(N_LANES), .INPUT_BITS(INPUT_BITS),
    .DAC_BITS(DAC_BITS), .SLICE_ACCUMULATION(SLICE_ACCUMULATION), .CELL_BITS(CELL_BITS), .X_SLICES(X_SLICES),
    .W_SLICES(W_SLICES), .WEIGHT_ENCODING(WEIGHT_ENCODING), .WL_CYCLES(WL_CYCLES), .SETTLE_CYCLES(SETTLE_CYCLES),
    .IN_LANES(IN_LANES), .MAX_ROUNDS(MAX_ROUNDS), .ROUND_WORDS(ROUND_WORDS), .STEP_SHIFT_MAX(STEP_SHIFT_MAX),
    .ACC_BITS(ACC_BITS), .WL_SUM_BITS(WL_SUM_BITS)
  ) u_macro_ctrl (
    .clk_i(clk_i), .rst_ni(rst_ni),
    .word_valid_i(round_valid_i && round_ready_o), .word_ready_o(word_ready), .word_addr_i(round_addr_i),
    .word_data_i(round_data_i),
    .busy_o(busy_o), .round_done_o(round_done_o), .error_valid_o(error_valid_o), .error_code_o(error_code_o),
    .error_round_o(error_round_o),
    .load_en_o(load_en), .load_base_o(load_base), .load_count_o(load_count), .load_signed_o(load_signed),
    .load_bias_o(load_bias), .load_bias_code_o(bias_code), .loading_i(loading), .loaded_i(loaded),
    .swap_o(swap), .drive_o(drive), .wl_on_o(wl_on), .slice_o(slice), .phase_o(wl_phase),
    .row_first_o(row_first), .row_num_o(row_num), .wl_sum_i(wl_sum),
    .w_slice_o(w_slice_run), .x_slice_o(x_slice_run), .share_o(share_o),
    .hold_o(hold_run), .mux_o(mux_run), .sample_o(sample_run), .adc_done_i(adc_done && !prog_busy_o),
    .step_shift_o(step_shift_run), .step_three_o(step_three_run),
    .code_valid_o(code_valid), .code_ready_i(code_ready), .position_o(position),
    .first_o(first), .keep_o(keep), .psum_o(psum), .residual_o(residual), .final_o(final_pass),
    .code_step_shift_o(code_step_shift), .code_step_three_o(code_step_three), .slice_shift_o(slice_shift),
    .negate_o(negate),
    .offset_o(offset), .x_shift_o(x_shift), .wl_sum_o(code_wl_sum),
    .psum_want_o(psum_want), .psum_lanes_o(psum_lanes),
    .res_want_o(res_want), .res_col_o(res_col), .res_lanes_o(res_lanes),
    .col_o(col), .lanes_o(lanes), .last_o(last), .raw_o(raw),
    .shift_o(shift), .lo_o(lo), .hi_o(hi)
  );

  clip_count #(
    .N_ADCS(N_ADCS), .ADC_BITS(ADC_BITS), .CODE_BITS(CODE_BITS), .WEIGHT_ENCODING(WEIGHT_ENCODING)
  ) u_clip_count (
    .clk_i  (clk_i),
    .rst_ni (rst_ni),
    .take_i (code_valid && code_ready),
    .lanes_i(lanes + REF_COLS[15:0]),  // a clipped reference spoils every column
    .code_i (raw_code),
    .clear_i(clip_clear_i),
    .low_o  (clip_low_o),
    .high_o (clip_high_o)
  );

  // Residual codes, shift-add and requantization //

  wire                             res_take, res_full;
  wire [N_LANES*RESIDUAL_BITS-1:0] res_product;

  residual #(
    .N_LANES(N_LANES), .OUT_COLS(OUT_COLS), .INPUT_BITS(INPUT_BITS), .MULT_BITS(MULT_BITS),
    .RESIDUAL_BITS(RESIDUAL_BITS)
  ) u_residual (
    .clk_i(clk_i), .rst_ni(rst_ni),
    .table_we_i(table_we), .table_addr_i(round_addr_i[14:0]), .table_data_i(round_data_i),
    .want_i(res_want), .col_i(res_col), .lanes_i(res_lanes),
    .valid_i(res_valid_i), .ready_o(res_ready_o), .data_i(res_data_i),
    .take_i(res_take), .full_o(res_full), .product_o(res_product)
  );

  wire                        sum_valid;
  wire [N_LANES*ACC_BITS-1:0] sum;

  shift_add #(
    .N_LANES(N_LANES), .REF_COLS(REF_COLS), .COLS_PER_ADC(COLS_PER_ADC), .CODE_BITS(CODE_BITS), .ACC_BITS(ACC_BITS),
    .PSUM_BITS(PSUM_BITS), .RESIDUAL_BITS(RESIDUAL_BITS), .WL_SUM_BITS(WL_SUM_BITS), .WEIGHT_BITS(WEIGHT_BITS),
    .WEIGHT_ENCODING(WEIGHT_ENCODING)
  ) u_shift_add (
    .clk_i(clk_i), .rst_ni(rst_ni),
    .code_valid_i(code_valid), .code_ready_o(code_ready), .code_i(code), .position_i(position),
    .first_i(first), .keep_i(keep), .psum_i(psum), .residual_i(residual), .final_i(final_pass),
    .step_shift_i(code_step_shift), .step_three_i(code_step_three), .slice_shift_i(slice_shift), .negate_i(negate),
    .offset_i(offset), .x_shift_i(x_shift), .wl_sum_i(code_wl_sum),
    .psum_want_i(psum_want), .psum_lanes_i(psum_lanes),
    .psum_valid_i(psum_valid_i), .psum_ready_o(psum_ready_o), .psum_data_i(psum_data_i),
    .res_take_o(res_take), .res_full_i(res_full), .res_product_i(res_product),
    .sum_valid_o(sum_valid), .sum_ready_i(sum_ready), .sum_o(sum)
  );

  requantize #(
    .N_LANES(N_LANES), .OUT_COLS(OUT_COLS), .ACC_BITS(ACC_BITS), .MULT_BITS(MULT_BITS), .ADD_BITS(ADD_BITS)
  ) u_requantize (
    .clk_i       (clk_i),
    .rst_ni      (rst_ni),
    .table_we_i  (table_we),
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

  assign chain_done_o = out_valid_o && out_ready_i && out_last_o;

  // Program-verify controller //

  prog_ctrl #(
    .ROWS(ROWS), .COLS_PER_ADC(COLS_PER_ADC), .N_ADCS(N_ADCS), .DAC_BITS(DAC_BITS), .INPUT_MODE(INPUT_MODE),
    .WL_BITS(WL_BITS), .CELL_BITS(CELL_BITS), .W_SLICES(W_SLICES), .WEIGHT_ENCODING(WEIGHT_ENCODING),
    .ADC_BITS(ADC_BITS), .CODE_BITS(CODE_BITS), .WL_CYCLES(WL_CYCLES), .SETTLE_CYCLES(SETTLE_CYCLES)
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
    .wl_o(wl_prog), .wl_start_o(wl_start_prog), .w_slice_o(w_slice_prog), .line_sel_o(line_sel_prog),
    .hold_o(hold_prog), .mux_o(mux_prog),
    .sample_o(sample_prog), .step_shift_o(step_shift_prog), .step_three_o(step_three_prog), .adc_done_i(adc_done),
    .code_i(code), .pulse_o(pulse_o), .pulse_kind_o(pulse_kind_o), .pulse_level_o(pulse_level_o),
    .pulse_mask_o(pulse_mask_o)
  );

endmodule

`default_nettype wire
