// SPDX-License-Identifier: Apache-2.0
//
// Properties of the macro's five streams: words, activations, partial sums and residual codes in, outputs out.

`default_nettype none

module formal_streams_cim_macro #(
  parameter integer ROWS            = 1,
  parameter integer COLS            = 1,
  parameter integer ACTIVE_ROWS     = 1,
  parameter integer COLS_PER_ADC    = 1,
  parameter integer WEIGHT_ENCODING = 1,
  parameter integer WEIGHT_BITS     = 1,
  parameter integer CELL_BITS       = 1,
  parameter integer INPUT_BITS      = 1,
  parameter integer DAC_BITS        = 1,
  parameter integer INPUT_MODE      = 0,
  parameter integer SLICE_ACCUMULATION = 0,
  parameter integer ADC_BITS        = 1,
  parameter         SAR_WEIGHTS     = 1'h1,
  parameter integer COLUMN_CORRECTION = 0,
  parameter integer REF_COLS        = 0,
  parameter integer TRIALS          = 1,
  parameter integer WL_CYCLES       = 1,
  parameter integer SETTLE_CYCLES   = 1,
  parameter integer IN_LANES        = 1,
  parameter integer MAX_ROUNDS      = 1,
  parameter integer PSUM_BITS       = 1,
  parameter integer X_SLICES        = 1,
  parameter integer W_SLICES        = 1,
  parameter integer BIT_LINES       = 1,
  parameter integer N_ADCS          = 1,
  parameter integer N_LANES         = 1,
  parameter integer OUT_COLS        = 1,
  parameter integer CODE_BITS       = 1,
  parameter integer ACC_BITS        = 1,
  parameter integer WL_BITS         = 1,
  parameter integer WL_SUM_BITS     = 1,
  parameter integer ROUND_WORDS     = 1,
  parameter integer STEP_SHIFT_MAX  = 0,
  parameter integer RESIDUAL_BITS   = 1,
  parameter integer CURRENT_BITS    = 1,
  parameter integer MULT_BITS       = 1,
  parameter integer ADD_BITS        = 1
) (
  input  wire clk_i,
  input  wire rst_ni,
  input  wire round_valid_i,
  input  wire [15:0] round_addr_i,
  input  wire [31:0] round_data_i,
  input  wire in_valid_i,
  input  wire [IN_LANES*INPUT_BITS-1:0] in_data_i,
  input  wire psum_valid_i,
  input  wire [PSUM_BITS-1:0] psum_data_i,
  input  wire res_valid_i,
  input  wire [INPUT_BITS:0] res_data_i,
  input  wire out_ready_i,
  input  wire [N_ADCS-1:0] cmp_i,
  input  wire prog_start_i,
  input  wire [1:0] prog_op_i,
  input  wire [15:0] prog_row_base_i,
  input  wire [15:0] prog_row_count_i,
  input  wire prog_target_valid_i,
  input  wire prog_status_ready_i,
  output wire round_ready_o,
  output wire in_ready_o,
  output wire psum_ready_o,
  output wire res_ready_o,
  output wire out_valid_o
);

  wire [ACC_BITS-1:0] out_data;
  wire                out_last;

  cim_macro #(
    .ROWS           (ROWS),
    .COLS           (COLS),
    .ACTIVE_ROWS    (ACTIVE_ROWS),
    .COLS_PER_ADC   (COLS_PER_ADC),
    .WEIGHT_ENCODING(WEIGHT_ENCODING),
    .WEIGHT_BITS    (WEIGHT_BITS),
    .CELL_BITS      (CELL_BITS),
    .INPUT_BITS     (INPUT_BITS),
    .DAC_BITS       (DAC_BITS),
    .INPUT_MODE     (INPUT_MODE),
    .SLICE_ACCUMULATION(SLICE_ACCUMULATION),
    .ADC_BITS       (ADC_BITS),
    .SAR_WEIGHTS    (SAR_WEIGHTS),
    .COLUMN_CORRECTION(COLUMN_CORRECTION),
    .REF_COLS       (REF_COLS),
    .WL_CYCLES      (WL_CYCLES),
    .SETTLE_CYCLES  (SETTLE_CYCLES),
    .IN_LANES       (IN_LANES),
    .MAX_ROUNDS     (MAX_ROUNDS),
    .PSUM_BITS      (PSUM_BITS),
    .X_SLICES       (X_SLICES),
    .W_SLICES       (W_SLICES),
    .BIT_LINES      (BIT_LINES),
    .N_ADCS         (N_ADCS),
    .N_LANES        (N_LANES),
    .OUT_COLS       (OUT_COLS),
    .TRIALS         (TRIALS),
    .CODE_BITS      (CODE_BITS),
    .ACC_BITS       (ACC_BITS),
    .WL_BITS        (WL_BITS),
    .WL_SUM_BITS    (WL_SUM_BITS),
    .ROUND_WORDS    (ROUND_WORDS),
    .STEP_SHIFT_MAX (STEP_SHIFT_MAX),
    .RESIDUAL_BITS  (RESIDUAL_BITS),
    .CURRENT_BITS   (CURRENT_BITS),
    .MULT_BITS      (MULT_BITS),
    .ADD_BITS       (ADD_BITS)
  ) dut (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .round_valid_i(round_valid_i),
    .round_addr_i (round_addr_i),
    .round_data_i (round_data_i),
    .in_valid_i   (in_valid_i),
    .in_data_i    (in_data_i),
    .psum_valid_i (psum_valid_i),
    .psum_data_i  (psum_data_i),
    .res_valid_i  (res_valid_i),
    .res_data_i   (res_data_i),
    .res_ready_o  (res_ready_o),
    .out_ready_i  (out_ready_i),
    .cmp_i        (cmp_i),
    .round_ready_o(round_ready_o),
    .in_ready_o   (in_ready_o),
    .psum_ready_o (psum_ready_o),
    .out_valid_o  (out_valid_o),
    .out_data_o   (out_data),
    .out_last_o   (out_last),
    .busy_o       (),
    .round_done_o (),
    .chain_done_o (),
    .error_valid_o(),
    .error_code_o (),
    .error_round_o(),
    .x_slice_o    (),
    .share_o      (),
    .clip_clear_i (1'b0),
    .clip_low_o   (),
    .clip_high_o  (),
    .prog_start_i (prog_start_i),
    .prog_op_i    (prog_op_i),
    .prog_row_base_i    (prog_row_base_i),
    .prog_row_count_i   (prog_row_count_i),
    .prog_target_valid_i(prog_target_valid_i),
    .prog_target_data_i ({(N_ADCS * CELL_BITS){1'b0}}),
    .prog_status_ready_i(prog_status_ready_i),
    .prog_retries_i     (4'd1),
    .prog_step_i        (8'd0),
    .prog_erase_limit_i ({CODE_BITS{1'b0}}),
    .prog_targets_i     ({(CODE_BITS << CELL_BITS){1'b0}}),
    .prog_margin_i      ({CODE_BITS{1'b0}}),
    .prog_window_i      ({CODE_BITS{1'b0}}),
    .prog_erase_ramp_i  (48'd0),
    .prog_coarse_ramp_i (48'd0),
    .prog_fine_ramp_i   (48'd0),
    .hold_o       (),
    .sample_o     (),
    .wl_o         (),
    .wl_start_o   (),
    .w_slice_o    (),
    .mux_o        (),
    .step_shift_o (),
    .step_three_o (),
    .trial_o      ()
  );

  (* hierconn *) wire        \dut.word_ready ;
  (* hierconn *) wire        \dut.u_macro_ctrl.armed_q ;
  (* hierconn *) wire        \dut.u_wl_dac.loaded_q ;
  (* hierconn *) wire        \dut.u_macro_ctrl.bad ;
  (* hierconn *) wire        \dut.u_wl_dac.streamed ;
  (* hierconn *) wire        \dut.res_want ;
  (* hierconn *) wire [15:0] \dut.res_lanes ;
  (* hierconn *) wire [15:0] \dut.u_residual.have_q ;
  (* hierconn *) wire        \dut.psum_want ;
  (* hierconn *) wire [15:0] \dut.psum_lanes ;
  (* hierconn *) wire [15:0] \dut.u_shift_add.have_q ;
  (* hierconn *) wire [15:0] \dut.u_requantize.left_q ;
  (* hierconn *) wire        \dut.prog_own ;
  (* hierconn *) wire        \dut.prog_busy_o ;
  (* hierconn *) wire [2:0]  \dut.u_prog_ctrl.state_q ;
  (* hierconn *) wire        \dut.u_macro_ctrl.convert_busy_q ;
  (* hierconn *) wire        \dut.u_macro_ctrl.sample_q ;
  (* hierconn *) wire [TRIALS-1:0] \dut.u_sar_adc.seq_q ;
  wire word_ready = \dut.word_ready ;
  wire own        = \dut.prog_own ;
  wire armed      = \dut.u_macro_ctrl.armed_q ;
  wire loaded     = \dut.u_wl_dac.loaded_q ;
  wire bad        = \dut.u_macro_ctrl.bad ;
  wire streamed   = \dut.u_wl_dac.streamed ;
  wire trials     = \dut.u_sar_adc.seq_q != 0;
  wire verifies   = \dut.u_prog_ctrl.state_q == 3'd3;  // Convert
  wire converts   = \dut.u_macro_ctrl.convert_busy_q ;
  wire samples    = \dut.u_macro_ctrl.sample_q ;

  // A word that exists, of a round or of the column table; any other is dropped and disturbs nothing.
  wire exists = round_addr_i[15] || (round_addr_i[4:0] < ROUND_WORDS && round_addr_i[14:5] < MAX_ROUNDS);

  // What the last cycle offered //

  reg                up_q = 1'b0;
  reg                offered_q, last_q;
  reg [ACC_BITS-1:0] data_q;
  reg                word_waits_q, in_waits_q, psum_waits_q, res_waits_q;
  reg [47:0]         word_q;
  reg [IN_LANES*INPUT_BITS-1:0] in_q;
  reg [PSUM_BITS-1:0] psum_q;
  reg [INPUT_BITS:0]  res_q;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      offered_q    <= 1'b0;
      word_waits_q <= 1'b0;
      in_waits_q   <= 1'b0;
      psum_waits_q <= 1'b0;
      res_waits_q  <= 1'b0;
    end else begin
      offered_q    <= out_valid_o && !out_ready_i;
      word_waits_q <= round_valid_i && !round_ready_o;
      in_waits_q   <= in_valid_i && !in_ready_o;
      psum_waits_q <= psum_valid_i && !psum_ready_o;
      res_waits_q  <= res_valid_i && !res_ready_o;
    end
  end
  always @(posedge clk_i) begin
    up_q   <= 1'b1;
    data_q <= out_data;
    last_q <= out_last;
    word_q <= {round_addr_i, round_data_i};
    in_q   <= in_data_i;
    psum_q <= psum_data_i;
    res_q  <= res_data_i;
  end

  // Assumptions //

  // Power comes with the reset active.
  wire a_reset = up_q || !rst_ni;
  // rtl/cim_macro.md: "A valid beat stays with stable data until it moves, on every stream and in both directions."
  wire a_words = !word_waits_q || (round_valid_i && {round_addr_i, round_data_i} == word_q);
  // rtl/cim_macro.md: "A valid beat stays with stable data until it moves, on every stream and in both directions."
  wire a_inputs = !in_waits_q || (in_valid_i && in_data_i == in_q);
  // rtl/cim_macro.md: "A valid beat stays with stable data until it moves, on every stream and in both directions."
  wire a_psums = !psum_waits_q || (psum_valid_i && psum_data_i == psum_q);

  // rtl/cim_macro.md: "A valid beat stays with stable data until it moves, on every stream and in both directions."
  wire a_residuals = !res_waits_q || (res_valid_i && res_data_i == res_q);

  // Properties //

  // An output that was offered and not taken is still offered.
  wire p_stays = !rst_ni || !offered_q || out_valid_o;
  // An output that was offered and not taken has not changed.
  wire p_stable = !rst_ni || !offered_q || (out_data == data_q && out_last == last_q);
  // Words move while no chain is under way, no cell is programmed, and the output lanes are empty or empty out.
  wire p_word_ready = round_ready_o == (word_ready && !own && (\dut.u_requantize.left_q == 0
                      || (\dut.u_requantize.left_q == 1 && (!out_valid_o || out_ready_i))));
  // A beat of activations moves while one is due, unless a word that exists moves, cells are programmed or the round's
  // descriptor is bad.
  wire p_in_ready = in_ready_o == (armed && !loaded && !own && streamed && !bad
                                   && !(round_valid_i && round_ready_o && exists));
  // While cells are programmed no chain is under way, so the analog seam has one owner.
  wire p_apart = !\dut.prog_busy_o || word_ready;
  // The search runs for that owner alone, one trial at a time: a verify read, or a position that was sampled.
  wire p_search = (\dut.prog_busy_o ? trials == verifies : !trials || (converts && !samples))
                  && (\dut.u_sar_adc.seq_q & (\dut.u_sar_adc.seq_q - 1'b1)) == 0;
  // A position waits to be sampled only while columns are held.
  wire p_held = !samples || converts;
  // A partial sum moves while one is due and not in.
  wire p_psum_ready = psum_ready_o == (\dut.psum_want && \dut.u_shift_add.have_q < \dut.psum_lanes );
  // A residual code moves while one is due and not in.
  wire p_res_ready = res_ready_o == (\dut.res_want && \dut.u_residual.have_q < \dut.res_lanes );

  always @* begin
    assume (a_reset);
    assume (a_words);
    assume (a_inputs);
    assume (a_psums);
    assume (a_residuals);
    assert (p_stays);
    assert (p_stable);
    assert (p_word_ready);
    assert (p_in_ready);
    assert (p_psum_ready);
    assert (p_res_ready);
    assert (p_apart);
    assert (p_search);
    assert (p_held);
  end

endmodule

`default_nettype wire
