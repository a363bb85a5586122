// SPDX-License-Identifier: Apache-2.0
//
// Properties of the sequencer: its stages hold no impossible combination, and it cannot deadlock.
//
//   remaining = cycles until the chain under way has left every stage, at most
//   every cycle takes at least one off it, so that words can move again within CHAIN_CYCLES

`default_nettype none

module formal_macro_ctrl #(
  parameter integer ROWS            = 1,
  parameter integer OUT_COLS        = 1,
  parameter integer ACTIVE_ROWS     = 1,
  parameter integer COLS_PER_ADC    = 1,
  parameter integer N_LANES         = 1,
  parameter integer IN_LANES        = 1,
  parameter integer INPUT_BITS      = 1,
  parameter integer DAC_BITS        = 1,
  parameter integer SLICE_ACCUMULATION = 0,
  parameter integer CELL_BITS       = 1,
  parameter integer X_SLICES        = 1,
  parameter integer W_SLICES        = 1,
  parameter integer WEIGHT_ENCODING = 0,
  parameter integer TRIALS        = 2,
  parameter integer WL_CYCLES       = 1,
  parameter integer SETTLE_CYCLES   = 1,
  parameter integer MAX_ROUNDS      = 1,
  parameter integer ROUND_WORDS     = 7,
  parameter integer STEP_SHIFT_MAX  = 0,
  parameter integer ACC_BITS        = 8,
  parameter integer WL_SUM_BITS     = 1,
  parameter integer TAKE_CYCLES     = 5,  // codes on offer wait at most this long
  parameter integer LOAD_CYCLES     = 9   // a vector that is due is in after at most this long
) (
  input  wire                   clk_i,
  input  wire                   rst_ni,
  input  wire                   word_valid_i,
  input  wire [15:0]            word_addr_i,
  input  wire [31:0]            word_data_i,
  input  wire                   beat_i,        // the source of activations offers a beat
  input  wire                   beat_last_i,   // the vector's last
  input  wire [WL_SUM_BITS-1:0] wl_sum_i,
  input  wire                   code_ready_i,
  output wire                   code_valid_o,
  output wire                   word_ready_o
);

  wire                   load_signed, phase_sign, share, residual, res_want, round_done, error, round_busy;
  wire [15:0]            load_bias, res_col, res_lanes;
  wire [INPUT_BITS-1:0]  bias_code;
  wire [7:0]             x_slice, error_round;
  wire [3:0]             error_code;
  wire                   load_en, swap, drive, wl_on, hold, sample, step_three, code_step_three;
  wire                   first, keep, psum, final_pass, negate, offset, psum_want, last, raw;
  wire [15:0]            load_base, load_count, row_first, row_num, mux, position, psum_lanes, col, lanes;
  wire [7:0]             slice, w_slice, slice_shift, x_shift;
  wire [6:0]             step_shift, code_step_shift;
  wire [WL_SUM_BITS-1:0] wl_sum;
  wire [4:0]             shift;
  wire [ACC_BITS-1:0]    lo, hi;

  // The environment: vectors that are loaded, and an ADC bank that is done after TRIALS trials //

  reg       loading_q, loaded_q;
  reg [3:0] trials_q;  // trials left
  wire      adc_done = trials_q == 4'd1;
  wire      beat     = beat_i && load_en && !loaded_q;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      loading_q <= 1'b0;
      loaded_q  <= 1'b0;
      trials_q  <= 4'd0;
    end else begin
      if (beat) begin
        loading_q <= !beat_last_i;
        loaded_q  <= beat_last_i;
      end
      if (swap) loaded_q <= 1'b0;
      trials_q <= sample ? TRIALS[3:0] : (trials_q == 4'd0) ? 4'd0 : trials_q - 4'd1;
    end
  end

  macro_ctrl #(
    .ROWS           (ROWS),
    .OUT_COLS       (OUT_COLS),
    .ACTIVE_ROWS    (ACTIVE_ROWS),
    .N_LANES        (N_LANES),
    .INPUT_BITS     (INPUT_BITS),
    .DAC_BITS       (DAC_BITS),
    .SLICE_ACCUMULATION(SLICE_ACCUMULATION),
    .CELL_BITS      (CELL_BITS),
    .X_SLICES       (X_SLICES),
    .W_SLICES       (W_SLICES),
    .WEIGHT_ENCODING(WEIGHT_ENCODING),
    .WL_CYCLES      (WL_CYCLES),
    .SETTLE_CYCLES  (SETTLE_CYCLES),
    .IN_LANES       (IN_LANES),
    .MAX_ROUNDS     (MAX_ROUNDS),
    .ROUND_WORDS    (ROUND_WORDS),
    .STEP_SHIFT_MAX (STEP_SHIFT_MAX),
    .ACC_BITS       (ACC_BITS),
    .WL_SUM_BITS    (WL_SUM_BITS)
  ) dut (
    .clk_i            (clk_i),
    .rst_ni           (rst_ni),
    .word_valid_i     (word_valid_i),
    .word_ready_o     (word_ready_o),
    .word_addr_i      (word_addr_i),
    .word_data_i      (word_data_i),
    .busy_o           (round_busy),
    .round_done_o     (round_done),
    .error_valid_o    (error),
    .error_code_o     (error_code),
    .error_round_o    (error_round),
    .load_en_o        (load_en),
    .load_base_o      (load_base),
    .load_count_o     (load_count),
    .load_signed_o    (load_signed),
    .load_bias_o      (load_bias),
    .load_bias_code_o (bias_code),
    .loading_i        (loading_q),
    .loaded_i         (loaded_q),
    .swap_o           (swap),
    .drive_o          (drive),
    .wl_on_o          (wl_on),
    .slice_o          (slice),
    .phase_o          (phase_sign),
    .row_first_o      (row_first),
    .row_num_o        (row_num),
    .wl_sum_i         (wl_sum_i),
    .w_slice_o        (w_slice),
    .x_slice_o        (x_slice),
    .share_o          (share),
    .hold_o           (hold),
    .mux_o            (mux),
    .sample_o         (sample),
    .adc_done_i       (adc_done),
    .step_shift_o     (step_shift),
    .step_three_o     (step_three),
    .code_valid_o     (code_valid_o),
    .code_ready_i     (code_ready_i),
    .position_o       (position),
    .first_o          (first),
    .keep_o           (keep),
    .psum_o           (psum),
    .residual_o       (residual),
    .final_o          (final_pass),
    .code_step_shift_o(code_step_shift),
    .code_step_three_o(code_step_three),
    .slice_shift_o    (slice_shift),
    .negate_o         (negate),
    .offset_o         (offset),
    .x_shift_o        (x_shift),
    .wl_sum_o         (wl_sum),
    .psum_want_o      (psum_want),
    .psum_lanes_o     (psum_lanes),
    .res_want_o       (res_want),
    .res_col_o        (res_col),
    .res_lanes_o      (res_lanes),
    .col_o            (col),
    .lanes_o          (lanes),
    .last_o           (last),
    .raw_o            (raw),
    .shift_o          (shift),
    .lo_o             (lo),
    .hi_o             (hi)
  );

  // Registers of the block //

  localparam integer ROUND_BITS = (MAX_ROUNDS > 1) ? $clog2(MAX_ROUNDS) : 1;
  localparam integer DESC_BITS  = 32 * ROUND_WORDS;
  localparam integer PHASES     = COLS_PER_ADC;

  (* hierconn *) wire [MAX_ROUNDS*DESC_BITS-1:0] \dut.rounds_q ;
  (* hierconn *) wire                            \dut.armed_q ;
  (* hierconn *) wire [ROUND_BITS-1:0]           \dut.load_q ;
  (* hierconn *) wire [ROUND_BITS-1:0]           \dut.settle_q ;
  (* hierconn *) wire [ROUND_BITS-1:0]           \dut.convert_q ;
  (* hierconn *) wire [ROUND_BITS-1:0]           \dut.code_q ;
  (* hierconn *) wire                            \dut.busy_q ;
  (* hierconn *) wire [15:0]                     \dut.wait_q ;
  (* hierconn *) wire [3:0]                      \dut.load_error ;
  (* hierconn *) wire                            \dut.s_q ;
  (* hierconn *) wire [7:0]                      \dut.x_q ;
  (* hierconn *) wire [7:0]                      \dut.w_q ;
  (* hierconn *) wire [15:0]                     \dut.row_q ;
  (* hierconn *) wire [15:0]                     \dut.left_q ;
  (* hierconn *) wire                            \dut.convert_busy_q ;
  (* hierconn *) wire                            \dut.sample_q ;
  (* hierconn *) wire [15:0]                     \dut.phase_q ;
  (* hierconn *) wire [15:0]                     \dut.col_q ;
  (* hierconn *) wire [15:0]                     \dut.code_col_q ;
  (* hierconn *) wire [15:0]                     \dut.code_phase_q ;

  wire [MAX_ROUNDS*DESC_BITS-1:0] rounds       = \dut.rounds_q ;
  wire                            armed        = \dut.armed_q ;
  wire [ROUND_BITS-1:0]           load         = \dut.load_q ;
  wire                            busy         = \dut.busy_q ;
  wire [15:0]                     waited       = \dut.wait_q ;
  wire                            broken       = \dut.load_error != 4'd0;
  wire                            s            = \dut.s_q ;
  wire [7:0]                      x            = \dut.x_q ;
  wire [7:0]                      w            = \dut.w_q ;
  wire [15:0]                     row          = \dut.row_q ;
  wire [15:0]                     left         = \dut.left_q ;
  wire                            convert_busy = \dut.convert_busy_q ;
  wire                            waiting      = \dut.sample_q ;
  wire [15:0]                     phase        = \dut.phase_q ;
  wire [15:0]                     conv_col     = \dut.col_q ;
  wire [15:0]                     code_col     = \dut.code_col_q ;
  wire [15:0]                     code_phase   = \dut.code_phase_q ;
  wire [DESC_BITS-1:0]            load_desc    = rounds[load*DESC_BITS +: DESC_BITS];
  wire [DESC_BITS-1:0]            settle_desc  = rounds[\dut.settle_q *DESC_BITS +: DESC_BITS];
  wire [DESC_BITS-1:0]            convert_desc = rounds[\dut.convert_q *DESC_BITS +: DESC_BITS];
  wire [DESC_BITS-1:0]            code_desc    = rounds[\dut.code_q *DESC_BITS +: DESC_BITS];
  wire [15:0]                     convert_cols = convert_desc[63:48];
  wire [15:0]                     code_cols    = code_desc[63:48];
  wire [7:0]                      plan         = settle_desc[71:64];
  wire                            two_signs    = settle_desc[77];
  wire [16:0]                     round_rows   = settle_desc[31:16] + settle_desc[175:160];

  // The chain in the round memory: where it ends, at the latest with the memory; what round_check lets pass //

  integer               r;
  reg                   ended;
  reg [ROUND_BITS-1:0]  end_round;
  reg [DESC_BITS-1:0]   desc;
  always @* begin
    ended     = 1'b0;
    end_round = {ROUND_BITS{1'b0}};
    for (r = 0; r < MAX_ROUNDS; r = r + 1) begin
      desc = rounds[r*DESC_BITS +: DESC_BITS];
      if (!ended) begin
        end_round = r;
        ended     = desc[76];
      end
    end
  end

  function good;
    input [DESC_BITS-1:0] d;
    good = d[31:16] != 0 && {2'd0, d[15:0]} + d[31:16] + d[175:160] <= ROWS && d[63:48] != 0 && d[63:48] <= OUT_COLS
           && d[71:64] != 0 && d[71:64] <= X_SLICES;
  endfunction

  // How long each stage may still take //

  localparam integer GROUPS        = (ROWS + ACTIVE_ROWS - 1) / ACTIVE_ROWS;
  localparam integer SETTLE        = WL_CYCLES + SETTLE_CYCLES;
  localparam integer PHASE_CYCLES  = TRIALS + 1 + TAKE_CYCLES;
  localparam integer PASS_CYCLES   = SETTLE + PHASES * PHASE_CYCLES;
  localparam integer PASSES        = GROUPS * 2 * X_SLICES * W_SLICES;
  localparam integer ROUND_CYCLES  = LOAD_CYCLES + PASSES * PASS_CYCLES + 1;
  localparam integer CHAIN_CYCLES  = MAX_ROUNDS * ROUND_CYCLES + (PASSES + 1) * PASS_CYCLES + 2 * TAKE_CYCLES;
  localparam integer HOLD_CYCLES   = SETTLE + PHASES * PHASE_CYCLES + TAKE_CYCLES;

  reg  [15:0] code_age_q;   // cycles that the codes on offer have waited
  reg  [15:0] load_age_q;   // cycles that a vector of a chain under way is due
  reg  [15:0] settle_age_q; // cycles since the pass that settles was driven
  reg  [15:0] convert_age_q;// cycles since the pass that converts was held
  reg  [15:0] away_q;       // cycles since words could move, or since the first beat of the chain that came last
  reg  [15:0] group_q;      // groups of the round that have settled
  reg         up_q = 1'b0;
  reg         done_q, more_q, code_waits_q, owed_q, res_owed_q, error_q;
  reg  [15:0] done_phase_q, owed_lanes_q, res_lanes_q, res_col_q;

  localparam integer FIELDS = 16 + 6 + 7 + 1 + 8 + 2 + 8 + WL_SUM_BITS + 32 + 1 + 5 + 2 * ACC_BITS;
  wire [FIELDS-1:0] fields = {position, first, keep, psum, residual, final_pass, negate, code_step_shift, code_step_three,
                              slice_shift, offset, raw, x_shift, wl_sum, col, lanes, last, shift, lo, hi};
  reg  [FIELDS-1:0] fields_q;

  // A chain is under way from its first beat until the swap of its last round, when another may begin.
  wire        begun    = load != 0 || loading_q || loaded_q;
  wire        due      = begun && !loaded_q;
  wire        begins   = beat && !begun;
  wire        advance  = w == W_SLICES - 1 && x == plan - 8'd1 && s == two_signs;  // last pass of a group
  wire        pass_end = advance && left <= ACTIVE_ROWS;
  wire        settled  = hold || share;
  wire        resume   = settled && !pass_end;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      code_age_q    <= 16'd0;
      load_age_q    <= 16'd0;
      settle_age_q  <= 16'd0;
      convert_age_q <= 16'd0;
      away_q        <= 16'd0;
      group_q       <= 16'd0;
      done_q        <= 1'b0;
      code_waits_q  <= 1'b0;
      owed_q        <= 1'b0;
      res_owed_q    <= 1'b0;
      error_q       <= 1'b0;
    end else begin
      code_age_q    <= (code_valid_o && !code_ready_i) ? code_age_q + 16'd1 : 16'd0;
      load_age_q    <= (due && !error && !(beat && beat_last_i)) ? load_age_q + 16'd1 : 16'd0;
      settle_age_q  <= (swap || settled) ? 16'd0 : settle_age_q + 16'd1;
      convert_age_q <= hold ? 16'd0 : convert_age_q + 16'd1;
      away_q        <= (begins || quiet) ? 16'd0 : away_q + 16'd1;
      done_q        <= adc_done;
      code_waits_q  <= code_valid_o && !code_ready_i;
      owed_q        <= psum_want && !(code_valid_o && code_ready_i && first && psum);
      res_owed_q    <= res_want && !(code_valid_o && code_ready_i && first && residual);
      error_q       <= error;
      group_q       <= swap ? 16'd0 : (resume && advance) ? group_q + 16'd1 : group_q;
    end
  end
  always @(posedge clk_i) begin
    up_q         <= 1'b1;
    more_q       <= convert_cols - conv_col > N_LANES;
    done_phase_q <= phase;
    owed_lanes_q <= psum_lanes;
    res_lanes_q  <= res_lanes;
    res_col_q    <= res_col;
    fields_q     <= fields;
  end

  wire [15:0] code_rest    = code_valid_o ? TAKE_CYCLES - code_age_q : 16'd0;
  wire [15:0] phase_rest   = waiting ? TRIALS + 1 : trials_q;
  wire [15:0] phases_after = PHASES - 1 - phase;
  wire [15:0] convert_rest = convert_busy ? phases_after * PHASE_CYCLES + phase_rest + TAKE_CYCLES : 16'd0;
  wire [15:0] group_pass   = (SLICE_ACCUMULATION == 1) ? w * X_SLICES + x : x * W_SLICES + w;
  wire [15:0] pass_number  = (group_q * 2 + s) * X_SLICES * W_SLICES + group_pass;
  wire [15:0] passes_after = PASSES - 1 - pass_number;
  wire [15:0] settle_rest  = busy ? passes_after * PASS_CYCLES + (SETTLE - 1 - waited) + PHASES * PHASE_CYCLES + 1 : 16'd0;
  wire [15:0] rounds_after = end_round - load;
  wire [15:0] load_rest    = begun ? rounds_after * ROUND_CYCLES + PASSES * PASS_CYCLES + 1
                                     + (due ? LOAD_CYCLES - load_age_q : 0) : 16'd0;
  wire [15:0] remaining    = load_rest + settle_rest + convert_rest + code_rest;
  wire        quiet        = !begun && !busy && !convert_busy && !code_valid_o;

  // Assumptions //

  // Power comes with the reset active.
  wire a_reset = up_q || !rst_ni;
  // rtl/macro_ctrl.md: "codes on offer are taken within a bound"
  wire a_taken = !code_valid_o || code_ready_i || code_age_q < TAKE_CYCLES - 1;
  // rtl/macro_ctrl.md: "the vectors of a chain under way come within a bound"
  wire a_loaded = !due || (beat && beat_last_i) || load_age_q < LOAD_CYCLES - 1;

  // Stages //

  // Without an armed chain nothing loads; what had begun before an error still ends.
  wire p_armed = armed || (load == 0 && !loading_q && !loaded_q);
  // A bad descriptor never loads: no beat moves into it, and what loads or is loaded breaks no rule.
  wire p_refused = !broken || (!load_en && !loading_q && !loaded_q) || !armed;
  // A bad descriptor disarms the chain in the cycle after its error, and the first round is the next to load.
  wire p_stopped = !rst_ni || !error_q || (!armed && load == 0);
  // An error is told once.
  wire p_once = !rst_ni || !error_q || !error;
  // What every stage runs has rows, columns and slices that exist.
  wire p_good = (!loading_q && !loaded_q || good(load_desc)) && (!busy || good(settle_desc))
                && (!convert_busy || good(convert_desc)) && (!code_valid_o || good(code_desc));
  // Words move only while no stage holds anything and the next round to load is the first of its chain.
  wire p_word_ready = word_ready_o == quiet;
  // The round to load next is one of the chain.
  wire p_load = load <= end_round;
  // Every stage that is busy runs a round of the chain.
  wire p_rounds = (!busy || \dut.settle_q <= end_round) && (!convert_busy || \dut.convert_q <= end_round)
                  && (!code_valid_o || \dut.code_q <= end_round);
  // A conversion waits for its sample cycle or is in its trials, never both and never neither.
  wire p_convert = convert_busy ? waiting == (trials_q == 0) : !waiting && trials_q == 0;
  // No conversion takes more than TRIALS trials.
  wire p_trials = trials_q <= TRIALS;
  // Codes are taken before the trials of the next conversion, so none is ever overwritten.
  wire p_codes = !code_valid_o || trials_q == 0;
  // The phase that converts exists, and its first column is one of the round's.
  wire p_phase = !convert_busy || (phase < PHASES && conv_col == phase * N_LANES && conv_col < convert_cols);
  // The codes that wait belong to columns of their round.
  wire p_column = !code_valid_o || (code_phase < PHASES && code_col == code_phase * N_LANES && code_col < code_cols);
  // The lanes on offer are at least one and no more than there are.
  wire p_lanes = !code_valid_o || (lanes >= 1 && lanes <= N_LANES && lanes <= code_cols - code_col);
  // The pass that settles exists: its slices are of the plan, its rows of the round.
  wire p_pass = !busy || (x < plan && w < W_SLICES && (!s || two_signs) && left >= 1 && group_q < GROUPS);
  // The rows that are left, and the groups that have settled, are the rows of the round.
  wire p_rows = !busy || (left <= ROWS && left + group_q * ACTIVE_ROWS == round_rows
                          && row == settle_desc[15:0] + group_q * ACTIVE_ROWS);
  // The wait for the bit lines never runs past its end.
  wire p_wait = waited < SETTLE;
  // The rows that are driven next exist and are of one group.
  wire p_driven = !(drive && wl_on) || (row_num >= 1 && row_num <= ACTIVE_ROWS && row_first + row_num <= ROWS);
  // With analog accumulation every input slice but the last is shared, and the last alone is held.
  wire p_shared = !settled || (hold != share && share == (SLICE_ACCUMULATION == 1 && x != plan - 8'd1));
  // A vector is loading or loaded, not both.
  wire p_loading = !(loading_q && loaded_q);

  // Progress //

  // Codes on offer are taken within the bound.
  wire p_code_age = code_age_q < TAKE_CYCLES && (code_valid_o || code_age_q == 0);
  // A vector that is due comes within the bound.
  wire p_load_age = load_age_q < LOAD_CYCLES && (due || load_age_q == 0);
  // A pass that settles is held or shared within HOLD_CYCLES of its drive.
  wire p_held = !busy || settle_age_q + (SETTLE - 1 - waited) + convert_rest + code_rest <= HOLD_CYCLES;
  // A pass that was held is converted, and its codes are on offer or taken, within its phases' time.
  wire p_converted = !convert_busy || convert_age_q + convert_rest + code_rest <= PHASES * PHASE_CYCLES + TAKE_CYCLES;
  // Words can move again within CHAIN_CYCLES of the first beat of the chain that began last.
  wire p_chain = quiet || away_q + remaining <= CHAIN_CYCLES;
  // The codes of every trial that was the last are on offer in the next cycle, at their phase.
  wire p_offered = !rst_ni || !done_q || (code_valid_o && code_phase == done_phase_q);
  // A pass converts all its phases, one after the other.
  wire p_next = !rst_ni || !done_q || !more_q || (convert_busy && waiting && phase == done_phase_q + 16'd1);

  // Streams //

  // Codes that were offered and not taken are still offered.
  wire p_stays = !rst_ni || !code_waits_q || code_valid_o;
  // Codes that were offered and not taken keep every field.
  wire p_stable = !rst_ni || !code_waits_q || fields == fields_q;
  // Partial sums that are due stay due, as many of them, until their codes are taken.
  wire p_due = !rst_ni || !owed_q || (psum_want && psum_lanes == owed_lanes_q);

  // Residual codes that are due stay due, as many of them and from the same column, until their codes are taken.
  wire p_res_due = !rst_ni || !res_owed_q || (res_want && res_lanes == res_lanes_q && res_col == res_col_q);

  always @* begin
    assume (a_reset);
    assume (a_taken);
    assume (a_loaded);
    assert (p_armed);
    assert (p_refused);
    assert (p_stopped);
    assert (p_once);
    assert (p_good);
    assert (p_word_ready);
    assert (p_load);
    assert (p_rounds);
    assert (p_convert);
    assert (p_trials);
    assert (p_codes);
    assert (p_phase);
    assert (p_column);
    assert (p_lanes);
    assert (p_pass);
    assert (p_rows);
    assert (p_wait);
    assert (p_driven);
    assert (p_shared);
    assert (p_loading);
    assert (p_code_age);
    assert (p_load_age);
    assert (p_held);
    assert (p_converted);
    assert (p_chain);
    assert (p_offered);
    assert (p_next);
    assert (p_stays);
    assert (p_stable);
    assert (p_due);
    assert (p_res_due);
  end

endmodule

`default_nettype wire
