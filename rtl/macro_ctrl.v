// SPDX-License-Identifier: Apache-2.0
//
// Round sequencer: runs the chain in the round memory once per set of input vectors, over and over.
//
//   passes of a round: for g in row groups, for s in signs, for i in input slices, for j in weight slices
//   three stages overlap: load the next vector | settle pass p+1 | convert pass p, phase by phase
//   analog slice accumulation: j outside i; every input slice is shared, the last one is held and converted for all
//
// Golden twin : model/twinor/golden/macro_ctrl.py
// Spec        : rtl/macro_ctrl.md
// Latency     : a pass settles for WL_CYCLES + SETTLE_CYCLES cycles; a phase converts for TRIALS + 1 cycles.

`default_nettype none

module macro_ctrl #(
  parameter integer ROWS               = 1,
  parameter integer OUT_COLS           = 1,
  parameter integer ACTIVE_ROWS        = 1,
  parameter integer N_LANES            = 1,
  parameter integer INPUT_BITS         = 1,
  parameter integer DAC_BITS           = 1,
  parameter integer SLICE_ACCUMULATION = 0,  // 1 (analog): one conversion for all input slices
  parameter integer CELL_BITS          = 1,
  parameter integer X_SLICES           = 1,
  parameter integer W_SLICES           = 1,
  parameter integer WEIGHT_ENCODING    = 0,
  parameter integer WL_CYCLES          = 1,
  parameter integer SETTLE_CYCLES      = 1,
  parameter integer IN_LANES           = 1,
  parameter integer MAX_ROUNDS         = 1,
  parameter integer ROUND_WORDS        = 7,
  parameter integer STEP_SHIFT_MAX     = 0,
  parameter integer ACC_BITS           = 8,
  parameter integer WL_SUM_BITS        = 1
) (
  input  wire                   clk_i, rst_ni,

  // Words: each round's in ascending order; the last word of the last round arms the chain, any other disarms it
  input  wire                   word_valid_i,
  output wire                   word_ready_o,  // no chain is under way
  input  wire [15:0]            word_addr_i,   // bit 15: the column table, kept elsewhere
  input  wire [31:0]            word_data_i,

  // Status
  output wire                   busy_o,        // a vector is under way
  output wire                   round_done_o,  // the accumulators of a round are complete at the end of this cycle
  output wire                   error_valid_o, // a bad descriptor stops the chain at the end of this cycle
  output wire [3:0]             error_code_o,  // which rule it breaks (rtl/round_check.md), else 0
  output wire [7:0]             error_round_o,

  // Word-line DACs
  output wire                   load_en_o,
  output wire [15:0]            load_base_o, load_count_o,
  output wire                   load_signed_o,
  output wire [15:0]            load_bias_o,
  output wire [INPUT_BITS-1:0]  load_bias_code_o,
  input  wire                   loading_i, loaded_i,
  output wire                   swap_o, drive_o, wl_on_o,
  output wire [7:0]             slice_o,
  output wire                   phase_o,       // 1: the rows of negative activations
  output wire [15:0]            row_first_o, row_num_o,
  input  wire [WL_SUM_BITS-1:0] wl_sum_i,

  // Bit lines and ADCs
  output wire [7:0]             w_slice_o,     // weight slice that settles
  output wire [7:0]             x_slice_o,     // input slice that settles, where slices come together before the ADC
  output wire                   share_o,       // its charge is shared at the end of this cycle
  output wire                   hold_o,        // all columns are held at the end of this cycle
  output wire [15:0]            mux_o,         // column-multiplexer position that converts
  output wire                   sample_o,      // sample cycle of a conversion
  input  wire                   adc_done_i,    // last trial
  output wire [6:0]             step_shift_o,
  output wire                   step_three_o,

  // Shift-add
  output wire                   code_valid_o,
  input  wire                   code_ready_i,
  output wire [15:0]            position_o,
  output wire                   first_o, keep_o, psum_o, residual_o, final_o,
  output wire [6:0]             code_step_shift_o,
  output wire                   code_step_three_o,
  output wire [7:0]             slice_shift_o,
  output wire                   negate_o, offset_o,
  output wire [7:0]             x_shift_o,
  output wire [WL_SUM_BITS-1:0] wl_sum_o,
  output wire                   psum_want_o,
  output wire [15:0]            psum_lanes_o,
  output wire                   res_want_o,
  output wire [15:0]            res_col_o, res_lanes_o,

  // Requantization
  output wire [15:0]            col_o, lanes_o,
  output wire                   last_o, raw_o,
  output wire [4:0]             shift_o,
  output wire [ACC_BITS-1:0]    lo_o,
  output wire [ACC_BITS-1:0]    hi_o
);

  localparam integer ROUND_BITS = (MAX_ROUNDS > 1) ? $clog2(MAX_ROUNDS) : 1;
  localparam integer DESC_BITS  = 32 * ROUND_WORDS;
  localparam integer STEP_BITS  = DESC_BITS - 192;
  localparam integer WAIT_LAST  = WL_CYCLES + SETTLE_CYCLES - 1;
  localparam integer W_END      = W_SLICES - 1;
  localparam [15:0]  SETTLED    = WAIT_LAST[15:0];
  localparam [15:0]  GROUP      = ACTIVE_ROWS[15:0];
  localparam [15:0]  LANES      = N_LANES[15:0];
  localparam [0:0]   ANALOG     = SLICE_ACCUMULATION == 1;

  localparam [1:0] StartLast = 2'd1;
  localparam [1:0] StartPsum = 2'd2;
  localparam [1:0] EndHold   = 2'd0;
  localparam [1:0] EndRaw    = 2'd1;

  // Round memory: word w of round r is at address 32 * r + w //

  reg  [MAX_ROUNDS*DESC_BITS-1:0] rounds_q;
  reg                             armed_q;
  reg                             last_word_q;  // the round being written is the chain's last

  wire [4:0]                      word    = word_addr_i[4:0];
  wire                            exists  = {27'd0, word} < ROUND_WORDS && {21'd0, word_addr_i[15:5]} < MAX_ROUNDS;
  wire                            write   = word_valid_i && word_ready_o && (exists || word_addr_i[15]);
  wire [31:0]                     word_at = {22'd0, word_addr_i[14:5]} * DESC_BITS + {22'd0, word, 5'd0};

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      rounds_q    <= {(MAX_ROUNDS * DESC_BITS){1'b0}};
      armed_q     <= 1'b0;
      last_word_q <= 1'b0;
    end else if (write) begin
      armed_q <= exists && {27'd0, word} == ROUND_WORDS - 1 && last_word_q;
      if (exists) rounds_q[word_at +: 32] <= word_data_i;
      if (exists && word == 5'd2) last_word_q <= word_data_i[12];
    end else if (error_valid_o) begin
      armed_q <= 1'b0;
    end
  end

  // Stage registers //

  reg  [ROUND_BITS-1:0]  load_q;     // round to load next
  reg  [15:0]            before_q;   // columns of the round before it
  reg  [ROUND_BITS-1:0]  settle_q;   // round of the pass that settles
  reg  [ROUND_BITS-1:0]  convert_q;  // round of the pass that converts
  reg  [ROUND_BITS-1:0]  code_q;     // round of the codes that wait for shift-add

  wire [DESC_BITS-1:0]   load_desc    = rounds_q[load_q*DESC_BITS +: DESC_BITS];
  wire [DESC_BITS-1:0]   settle_desc  = rounds_q[settle_q*DESC_BITS +: DESC_BITS];
  wire [DESC_BITS-1:0]   convert_desc = rounds_q[convert_q*DESC_BITS +: DESC_BITS];
  wire [DESC_BITS-1:0]   code_desc    = rounds_q[code_q*DESC_BITS +: DESC_BITS];

  // Each stage reads the fields it needs; rtl/macro_ctrl.md lists them.
  wire unused_fields = &{1'b0, load_desc, settle_desc, convert_desc, code_desc, word_at, load_wide};

  wire [15:0]            load_rows    = load_desc[31:16];
  wire [15:0]            load_all     = load_rows + load_bias_o;
  wire [15:0]            load_wide    = {{(16 - ROUND_BITS){1'b0}}, load_q};
  wire [7:0]             load_index   = load_wide[7:0];
  wire [15:0]            load_cols    = load_desc[63:48];
  wire                   load_last    = load_desc[76];
  wire                   settle_signed = settle_desc[77];
  wire [7:0]             settle_plan  = settle_desc[71:64];
  wire [15:0]            convert_mux  = convert_desc[47:32];
  wire [15:0]            convert_cols = convert_desc[63:48];
  wire [1:0]             convert_from = convert_desc[73:72];
  wire                   convert_residual = convert_desc[78];
  wire [STEP_BITS-1:0]   convert_step = convert_desc[DESC_BITS-1:192];
  wire [15:0]            code_cols    = code_desc[63:48];
  wire [1:0]             code_from    = code_desc[73:72];
  wire [1:0]             code_end     = code_desc[75:74];
  wire                   code_residual = code_desc[78];

  // A descriptor is checked before its first beat is taken //

  wire [3:0]             load_error;
  wire                   bad = armed_q && !loading_i && !loaded_i && load_error != 4'd0;

  round_check #(
    .ROWS(ROWS), .OUT_COLS(OUT_COLS), .N_LANES(N_LANES), .IN_LANES(IN_LANES), .X_SLICES(X_SLICES),
    .W_SLICES(W_SLICES), .MAX_ROUNDS(MAX_ROUNDS), .ROUND_WORDS(ROUND_WORDS), .STEP_SHIFT_MAX(STEP_SHIFT_MAX),
    .ACC_BITS(ACC_BITS)
  ) u_round_check (
    .desc_i  (load_desc),
    .index_i (load_index),
    .before_i(before_q),
    .error_o (load_error)
  );

  // Settling: word lines of one pass //

  reg         busy_q;
  reg  [15:0] wait_q;
  reg         first_q;   // no pass of the round was held
  reg         s_q;       // negative activations
  reg  [7:0]  x_q, w_q;
  reg  [15:0] row_q, left_q;  // first row of the group, rows from there to the end of the round

  wire        w_end      = w_q == W_END[7:0];
  wire        x_end      = x_q == settle_plan - 8'd1;
  wire        s_end      = s_q == settle_signed;
  wire        group_end  = left_q <= GROUP;
  wire        next_group = w_end && x_end && s_end;
  wire        pass_end   = next_group && group_end;
  wire        x_step     = ANALOG || w_end;
  wire        w_step     = !ANALOG || x_end;
  wire [7:0]  x_next     = !x_step ? x_q : x_end ? 8'd0 : x_q + 8'd1;
  wire [7:0]  w_next     = !w_step ? w_q : w_end ? 8'd0 : w_q + 8'd1;
  wire        s_next     = (w_end && x_end) ? !s_end : s_q;
  wire [15:0] row_next   = next_group ? row_q + GROUP : row_q;
  wire [15:0] left_next  = next_group ? left_q - GROUP : left_q;

  wire        convert_free;
  wire        settled = busy_q && wait_q == SETTLED;
  wire        share   = settled && ANALOG && !x_end;
  wire        hold    = settled && !share && convert_free;
  wire        swap    = armed_q && loaded_i && (!busy_q || (hold && pass_end));
  wire        resume  = share || (hold && !pass_end);
  wire [15:0] rows    = swap ? load_all : left_next;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      settle_q <= {ROUND_BITS{1'b0}};
      busy_q   <= 1'b0;
      wait_q   <= 16'd0;
      first_q  <= 1'b0;
      s_q      <= 1'b0;
      x_q      <= 8'd0;
      w_q      <= 8'd0;
      row_q    <= 16'd0;
      left_q   <= 16'd0;
    end else if (swap) begin
      settle_q <= load_q;
      busy_q   <= 1'b1;
      wait_q   <= 16'd0;
      first_q  <= 1'b1;
      s_q      <= 1'b0;
      x_q      <= 8'd0;
      w_q      <= 8'd0;
      row_q    <= load_base_o;
      left_q   <= load_all;
    end else if (resume) begin
      wait_q  <= 16'd0;
      first_q <= first_q && share;
      s_q     <= s_next;
      x_q     <= x_next;
      w_q     <= w_next;
      row_q   <= row_next;
      left_q  <= left_next;
    end else if (hold) begin
      busy_q <= 1'b0;
    end else if (busy_q && wait_q != SETTLED) begin
      wait_q <= wait_q + 16'd1;
    end
  end

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      load_q   <= {ROUND_BITS{1'b0}};
      before_q <= 16'd0;
    end else if (swap) begin
      load_q   <= load_last ? {ROUND_BITS{1'b0}} : load_q + 1'b1;
      before_q <= load_cols;
    end else if (error_valid_o) begin
      load_q   <= {ROUND_BITS{1'b0}};
    end
  end

  assign load_en_o        = armed_q && !write && !bad;  // new words come before new vectors
  assign load_base_o      = load_desc[15:0];
  assign load_count_o     = load_rows;
  assign load_signed_o    = load_desc[77];
  assign load_bias_o      = load_desc[175:160];
  assign load_bias_code_o = load_desc[176 +: INPUT_BITS];
  assign swap_o           = swap;
  assign drive_o          = share || hold || swap;
  assign wl_on_o      = resume || swap;
  assign slice_o          = swap ? 8'd0 : x_next;
  assign phase_o          = !swap && s_next;
  assign row_first_o      = swap ? load_base_o : row_next;
  assign row_num_o        = (rows < GROUP) ? rows : GROUP;
  assign w_slice_o        = w_q;
  assign x_slice_o        = ANALOG ? x_q : 8'd0;
  assign share_o          = share;
  assign hold_o           = hold;

  // Word-line sums of shared slices, weighed as the charge is //

  wire [WL_SUM_BITS-1:0] wl_sum;

  generate
    if (SLICE_ACCUMULATION == 1) begin : g_shared
      reg  [WL_SUM_BITS-1:0] shared_q;
      assign wl_sum = ((x_q == 8'd0) ? {WL_SUM_BITS{1'b0}} : shared_q) + (wl_sum_i << (x_q * DAC_BITS[7:0]));
      always @(posedge clk_i or negedge rst_ni) begin
        if (!rst_ni) shared_q <= {WL_SUM_BITS{1'b0}};
        else if (share) shared_q <= wl_sum;
      end
    end else begin : g_single
      assign wl_sum = wl_sum_i;
    end
  endgenerate

  // Conversion: one phase of the column multiplexer after the other //

  reg                    convert_busy_q;
  reg                    sample_q;          // waits for, or is in, the sample cycle
  reg                    convert_first_q;
  reg                    convert_end_q;     // last pass of the round
  reg                    convert_s_q;
  reg  [7:0]             convert_x_q, convert_w_q;
  reg  [15:0]            phase_q, col_q;
  reg  [WL_SUM_BITS-1:0] convert_sum_q;

  wire                   phase_end = convert_cols - col_q <= LANES;
  wire [31:0]            step_at   = {24'd0, convert_x_q} * W_SLICES + {24'd0, convert_w_q};
  wire [7:0]             step      = convert_step[8*step_at +: 8];
  wire                   code_free = !code_valid_o || code_ready_i;

  assign convert_free = !convert_busy_q || (adc_done_i && phase_end);
  assign sample_o     = sample_q && code_free;
  assign mux_o        = convert_mux + phase_q;
  assign step_shift_o = step[7:1];
  assign step_three_o = step[0];

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      convert_q       <= {ROUND_BITS{1'b0}};
      convert_busy_q  <= 1'b0;
      sample_q        <= 1'b0;
      convert_first_q <= 1'b0;
      convert_end_q   <= 1'b0;
      convert_s_q     <= 1'b0;
      convert_x_q     <= 8'd0;
      convert_w_q     <= 8'd0;
      phase_q         <= 16'd0;
      col_q           <= 16'd0;
      convert_sum_q   <= {WL_SUM_BITS{1'b0}};
    end else if (hold) begin
      convert_q       <= settle_q;
      convert_busy_q  <= 1'b1;
      sample_q        <= 1'b1;
      convert_first_q <= first_q;
      convert_end_q   <= pass_end;
      convert_s_q     <= s_q;
      convert_x_q     <= x_q;
      convert_w_q     <= w_q;
      phase_q         <= 16'd0;
      col_q           <= 16'd0;
      convert_sum_q   <= wl_sum;
    end else if (adc_done_i) begin
      convert_busy_q <= !phase_end;
      sample_q       <= !phase_end;
      phase_q        <= phase_q + 16'd1;
      col_q          <= col_q + LANES;
    end else if (sample_o) begin
      sample_q <= 1'b0;
    end
  end

  // Codes wait for shift-add during the next sample cycle //

  reg                    code_valid_q;
  reg                    code_first_q;
  reg                    code_end_q;
  reg                    code_s_q;
  reg  [7:0]             code_x_q, code_w_q;
  reg  [7:0]             code_step_q;
  reg  [15:0]            code_phase_q, code_col_q;
  reg  [WL_SUM_BITS-1:0] code_sum_q;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      code_q       <= {ROUND_BITS{1'b0}};
      code_valid_q <= 1'b0;
      code_first_q <= 1'b0;
      code_end_q   <= 1'b0;
      code_s_q     <= 1'b0;
      code_x_q     <= 8'd0;
      code_w_q     <= 8'd0;
      code_step_q  <= 8'd0;
      code_phase_q <= 16'd0;
      code_col_q   <= 16'd0;
      code_sum_q   <= {WL_SUM_BITS{1'b0}};
    end else if (adc_done_i) begin
      code_q       <= convert_q;
      code_valid_q <= 1'b1;
      code_first_q <= convert_first_q;
      code_end_q   <= convert_end_q;
      code_s_q     <= convert_s_q;
      code_x_q     <= convert_x_q;
      code_w_q     <= convert_w_q;
      code_step_q  <= step;
      code_phase_q <= phase_q;
      code_col_q   <= col_q;
      code_sum_q   <= convert_sum_q;
    end else if (code_ready_i) begin
      code_valid_q <= 1'b0;
    end
  end

  wire [15:0] code_left    = code_cols - code_col_q;
  wire [15:0] convert_left = convert_cols - col_q;
  wire        code_wants   = code_valid_q && code_first_q && code_from == StartPsum;
  wire        convert_wants = convert_busy_q && convert_first_q && convert_from == StartPsum;
  wire [15:0] wanted_left  = code_wants ? code_left : convert_left;
  wire        code_adds    = code_valid_q && code_first_q && code_residual;
  wire        convert_adds = convert_busy_q && convert_first_q && convert_residual;
  wire [15:0] added_left   = code_adds ? code_left : convert_left;

  assign code_valid_o      = code_valid_q;
  assign position_o        = code_phase_q;
  assign first_o           = code_first_q;
  assign keep_o            = code_from == StartLast;
  assign psum_o            = code_from == StartPsum;
  assign residual_o        = code_residual;
  assign final_o           = code_end_q && code_end != EndHold;
  assign code_step_shift_o = code_step_q[7:1];
  assign code_step_three_o = code_step_q[0];
  assign x_shift_o         = ANALOG ? 8'd0 : code_x_q * DAC_BITS[7:0];
  assign slice_shift_o     = x_shift_o + code_w_q * CELL_BITS[7:0];
  assign negate_o          = code_s_q != (WEIGHT_ENCODING == 2 && code_w_q == W_END[7:0]);
  assign offset_o          = WEIGHT_ENCODING == 1 && code_w_q == 8'd0;
  assign wl_sum_o          = code_sum_q;
  assign psum_want_o       = code_wants || convert_wants;
  assign psum_lanes_o      = (wanted_left < LANES) ? wanted_left : LANES;
  assign res_want_o        = code_adds || convert_adds;
  assign res_col_o         = code_adds ? code_col_q : col_q;
  assign res_lanes_o       = (added_left < LANES) ? added_left : LANES;

  assign col_o   = code_col_q;
  assign lanes_o = (code_left < LANES) ? code_left : LANES;
  assign last_o  = code_desc[76] && code_left <= LANES;
  assign raw_o   = code_end == EndRaw;
  assign shift_o = code_desc[84:80];
  assign lo_o    = code_desc[96 +: ACC_BITS];
  assign hi_o    = code_desc[128 +: ACC_BITS];

  // Words wait for the end of a chain, so that no vector is ever cut off between its rounds.
  assign word_ready_o = load_q == {ROUND_BITS{1'b0}}
                        && !(busy_q || convert_busy_q || code_valid_q || loading_i || loaded_i);

  // Status //

  assign busy_o        = !word_ready_o;
  assign round_done_o  = code_valid_q && code_ready_i && code_end_q && code_left <= LANES;
  assign error_valid_o = bad && !write;
  assign error_code_o  = error_valid_o ? load_error : 4'd0;
  assign error_round_o = load_index;

endmodule

`default_nettype wire
