// SPDX-License-Identifier: Apache-2.0
//
// Program-verify controller: trim, erase with verify, coarse and fine ramps with a verify read after each pulse.
//
//   v[a]     = code[a] - offset[a]            offset: the code with all word lines off
//   erased   = v >= erase_limit               above(d) = v > target + d         below = v < target - window
//   a saturated code counts as erased, as above, and never as below
//
// Golden twin : model/twinor/golden/prog_ctrl.py
// Spec        : rtl/prog_ctrl.md
// Latency     : a read takes WL_CYCLES + SETTLE_CYCLES + TRIALS + 2 cycles.

`default_nettype none

module prog_ctrl #(
  parameter integer ROWS            = 1,
  parameter integer COLS_PER_ADC    = 1,
  parameter integer N_ADCS          = 1,
  parameter integer DAC_BITS        = 1,
  parameter integer INPUT_MODE      = 0,  // 1 (pulse_width): a verify read is a pulse of all slots
  parameter integer WL_BITS         = 1,  // 1, or DAC_BITS for levels
  parameter integer CELL_BITS       = 1,
  parameter integer W_SLICES        = 1,
  parameter integer WEIGHT_ENCODING = 0,
  parameter integer ADC_BITS        = 2,
  parameter integer CODE_BITS       = 3,  // ADC_BITS + 1
  parameter integer WL_CYCLES       = 1,
  parameter integer SETTLE_CYCLES   = 1
) (
  input  wire                                clk_i,
  input  wire                                rst_ni,

  // Operation
  input  wire                                free_i,   // no chain is under way
  output wire                                own_o,    // the seam is, or becomes, this block's
  input  wire                                prog_start_i,
  input  wire [1:0]                          prog_op_i,
  input  wire [15:0]                         prog_row_base_i, prog_row_count_i,
  output wire                                prog_busy_o, prog_erase_done_o, prog_done_o, prog_error_o,
  output wire [31:0]                         prog_erase_pulses_o, prog_coarse_pulses_o, prog_fine_pulses_o,
  output wire [31:0]                         prog_unerased_o,

  // Settings, stable during an operation; a ramp is {cycles of a pulse, most pulses, step, first level}
  input  wire [3:0]                          prog_retries_i,
  input  wire [7:0]                          prog_step_i,
  input  wire [CODE_BITS-1:0]                prog_erase_limit_i,
  input  wire [(CODE_BITS<<CELL_BITS)-1:0]   prog_targets_i,
  input  wire [CODE_BITS-1:0]                prog_margin_i, prog_window_i,
  input  wire [47:0]                         prog_erase_ramp_i, prog_coarse_ramp_i, prog_fine_ramp_i,

  // Target levels in, statuses out: one beat per group
  input  wire                                prog_target_valid_i,
  output wire                                prog_target_ready_o,
  input  wire [N_ADCS*CELL_BITS-1:0]         prog_target_data_i,
  output wire                                prog_status_valid_o,
  input  wire                                prog_status_ready_i,
  output wire [N_ADCS*2-1:0]                 prog_status_data_o,
  output wire [N_ADCS*CODE_BITS-1:0]         prog_status_code_o,
  output wire [7:0]                          prog_status_coarse_o,
  output wire [7:0]                          prog_status_fine_o,
  output wire                                prog_status_last_o,
  output wire                                prog_status_again_o,

  // Verify reads
  output wire [ROWS*WL_BITS-1:0]             wl_o,
  output wire                                wl_start_o,
  output wire [7:0]                          w_slice_o,
  output wire [1:0]                          line_sel_o,
  output wire                                hold_o,
  output wire [15:0]                         mux_o,
  output wire                                sample_o,
  output wire [6:0]                          step_shift_o,
  output wire                                step_three_o,
  input  wire                                adc_done_i,
  input  wire [N_ADCS*CODE_BITS-1:0]         code_i,

  // Pulses
  output wire                                pulse_o,
  output wire [1:0]                          pulse_kind_o,
  output wire [7:0]                          pulse_level_o,
  output wire [N_ADCS-1:0]                   pulse_mask_o
);

  localparam integer           LINES     = (WEIGHT_ENCODING == 0) ? 2 : 1;
  localparam integer           WAIT_LAST = WL_CYCLES + SETTLE_CYCLES - 1;
  localparam integer           CODE_TOP  = (1 << (ADC_BITS - ((WEIGHT_ENCODING == 0) ? 1 : 0))) - 1;
  localparam integer           W_END     = W_SLICES - 1;
  localparam integer           MUX_END   = COLS_PER_ADC - 1;
  localparam [15:0]            SETTLED   = WAIT_LAST[15:0];
  localparam [CODE_BITS-1:0]   CODE_MAX  = CODE_TOP[CODE_BITS-1:0];

  localparam [2:0] Idle = 3'd0, Settle = 3'd1, Sample = 3'd2, Convert = 3'd3;
  localparam [2:0] Judge = 3'd4, Pulse = 3'd5, Target = 3'd6, Status = 3'd7;
  localparam [1:0] Trim = 2'd0, Erase = 2'd1, Coarse = 2'd2, Fine = 2'd3;

  reg  [2:0] state_q;
  reg  [1:0] job_q;     // what the read or the pulse is for

  // Start //

  wire rows_exist = prog_row_count_i != 16'd0 && {16'd0, prog_row_base_i} + {16'd0, prog_row_count_i} <= ROWS;
  wire start      = prog_start_i && state_q == Idle && free_i && prog_op_i != 2'd0 && rows_exist;

  assign prog_busy_o = state_q != Idle;
  assign own_o       = prog_busy_o || start;

  // Group: row, weight slice, line of a pair, position of the column multiplexer //

  reg  [15:0] row_q, row_base_q, row_last_q, mux_q;
  reg  [7:0]  slice_q;
  reg         line_q, program_q;

  wire        mux_end   = mux_q == MUX_END[15:0];
  wire        line_end  = line_q || LINES == 1;
  wire        slice_end = slice_q == W_END[7:0];
  wire        row_end   = mux_end && line_end && slice_end;
  wire        last      = row_end && row_q == row_last_q;
  wire        advance, rewind;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {row_q, row_base_q, row_last_q, mux_q} <= 64'd0;
      slice_q <= 8'd0;
      {line_q, program_q} <= 2'd0;
    end else if (start) begin
      row_q      <= prog_row_base_i;
      row_base_q <= prog_row_base_i;
      row_last_q <= prog_row_base_i + prog_row_count_i - 16'd1;
      program_q  <= prog_op_i[1];
    end else if (advance) begin  // behind the last group all but the row are 0 again
      mux_q   <= mux_end ? 16'd0 : mux_q + 16'd1;
      line_q  <= (LINES == 2) && (line_q ^ mux_end);
      slice_q <= !(mux_end && line_end) ? slice_q : slice_end ? 8'd0 : slice_q + 8'd1;
      row_q   <= rewind ? row_base_q : row_end ? row_q + 16'd1 : row_q;
    end
  end

  // Verify read: what each lane says //

  reg  [N_ADCS*CELL_BITS-1:0] level_q;   // target levels of the group
  reg  [N_ADCS*CODE_BITS-1:0] offset_q;
  wire [N_ADCS-1:0]           unerased, above_coarse, above_fine, below;
  wire [N_ADCS*CODE_BITS-1:0] verify;

  genvar a;
  generate
    for (a = 0; a < N_ADCS; a = a + 1) begin : g_lane
      wire        [CODE_BITS-1:0] code   = code_i[a*CODE_BITS +: CODE_BITS];
      wire signed [CODE_BITS-1:0] v      = code - offset_q[a*CODE_BITS +: CODE_BITS];
      wire        [CELL_BITS-1:0] level  = level_q[a*CELL_BITS +: CELL_BITS];
      wire        [CODE_BITS-1:0] target = prog_targets_i[level*CODE_BITS +: CODE_BITS];
      wire signed [CODE_BITS+1:0] wide   = {{2{v[CODE_BITS-1]}}, v};
      wire signed [CODE_BITS+1:0] aim    = {2'b00, target};
      wire                        full   = code == CODE_MAX;

      assign unerased[a]                      = !(full || wide >= $signed({2'b00, prog_erase_limit_i}));
      assign above_coarse[a]                  = full || wide > aim + $signed({2'b00, prog_margin_i});
      assign above_fine[a]                    = full || wide > aim + $signed({2'b00, prog_window_i});
      assign below[a]                         = !full && wide < aim - $signed({2'b00, prog_window_i});
      assign verify[a*CODE_BITS +: CODE_BITS] = v;
    end
  endgenerate

  // Judgement: a pulse, or the next group. Conditions on data are never in an `if`, so that X stays X. //

  reg  [N_ADCS-1:0] todo_q, pulsed_q;
  reg  [7:0]        erase_q, coarse_q, fine_q;  // pulses of this erase, of this group
  reg  [7:0]        pulse_level_q;

  wire              judge       = state_q == Judge;
  wire              erasing     = job_q == Erase;
  wire [N_ADCS-1:0] coarse_todo = todo_q & above_coarse;
  wire [N_ADCS-1:0] fine_todo   = above_fine & (todo_q | {N_ADCS{job_q != Fine}});
  wire              erase_go    = erasing && |unerased && erase_q < prog_erase_ramp_i[23:16];
  wire              coarse_go   = job_q == Coarse && |coarse_todo && coarse_q < prog_coarse_ramp_i[23:16];
  wire              fine_go     = job_q[1] && !coarse_go && |fine_todo && fine_q < prog_fine_ramp_i[23:16];
  wire              go          = erase_go || coarse_go || fine_go;
  wire [47:0]       ramp        = erasing ? prog_erase_ramp_i : coarse_go ? prog_coarse_ramp_i : prog_fine_ramp_i;
  wire [7:0]        count       = erasing ? erase_q : coarse_go ? coarse_q : fine_q;
  wire [8:0]        climb       = {1'b0, pulse_level_q} + {1'b0, ramp[15:8]};
  wire [7:0]        level_next  = (count == 8'd0) ? ramp[7:0] : climb[8] ? 8'd255 : climb[7:0];

  // The ramps' pulses are compared above, each with its own.
  wire              unused_ramp = &{1'b0, ramp[23:16]};

  // States //

  reg  [15:0] wait_q;
  reg  [23:0] width_q;
  reg         erase_first_q, erase_done_q, done_q, error_q;
  wire        settled    = wait_q == SETTLED;
  wire        took       = prog_status_valid_o && prog_status_ready_i;
  wire        pass_end   = took && last;
  wire        again      = prog_status_again_o;
  wire        erase_next = judge && erasing && !erase_go;
  wire        erase_end  = erase_next && last;
  wire [2:0]  judged     = go ? Pulse
                           : job_q[1] ? Status
                           : (job_q == Trim) ? (erase_first_q ? Settle : Target)
                           : !last ? Settle : program_q ? Target : Idle;
  wire [2:0]  state_next = (state_q == Idle) ? (start ? Settle : Idle)
                           : (state_q == Settle) ? (settled ? Sample : Settle)
                           : (state_q == Sample) ? Convert
                           : (state_q == Convert) ? (adc_done_i ? Judge : Convert)
                           : (state_q == Judge) ? judged
                           : (state_q == Pulse) ? ((width_q == 24'd1) ? Settle : Pulse)
                           : (state_q == Target) ? (prog_target_valid_i ? Settle : Target)
                           : !prog_status_ready_i ? Status : !last ? Target : again ? Settle : Idle;
  wire [1:0]  job_next   = start ? Trim
                           : judge ? ((job_q == Trim) ? Erase : fine_go ? Fine : job_q)
                           : (state_q == Target) ? Coarse
                           : took ? Erase : job_q;

  assign advance = erase_next || took;
  assign rewind  = last;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= Idle;
      job_q   <= Trim;
      wait_q  <= 16'd0;
      width_q <= 24'd0;
      {erase_first_q, erase_done_q, done_q, error_q} <= 4'd0;
    end else begin
      state_q      <= state_next;
      job_q        <= job_next;
      wait_q       <= (state_q == Settle) ? wait_q + 16'd1 : 16'd0;
      width_q      <= !judge ? width_q - 24'd1 : (ramp[47:24] == 24'd0) ? 24'd1 : ramp[47:24];
      erase_done_q <= erase_end;
      done_q       <= (erase_end && !program_q) || (pass_end && !again);
      error_q      <= prog_start_i && !start;
      if (start) erase_first_q <= prog_op_i[0];
    end
  end

  // What the lanes and the operation have come to //

  reg  [N_ADCS*2-1:0]         status_q;
  reg  [N_ADCS*CODE_BITS-1:0] verify_q;
  reg  [1:0]                  pulse_kind_q;
  reg  [31:0]                 erase_sum_q, coarse_sum_q, fine_sum_q, unerased_q;
  reg  [3:0]                  tries_q;
  reg                         over_q;    // a cell of this pass is over-programmed
  wire [N_ADCS*2-1:0]         status;

  generate
    for (a = 0; a < N_ADCS; a = a + 1) begin : g_status
      assign status[2*a +: 2] = below[a] ? (pulsed_q[a] ? 2'd2 : 2'd3) : above_fine[a] ? 2'd1 : 2'd0;
    end
  endgenerate

  reg  [31:0]                 failed;  // lanes that are not erased
  integer                     n;

  always @* begin
    failed = 32'd0;
    for (n = 0; n < N_ADCS; n = n + 1) failed = failed + {31'd0, unerased[n]};
  end

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {todo_q, pulsed_q, status_q} <= {(4 * N_ADCS){1'b0}};
      {offset_q, verify_q, level_q} <= {(N_ADCS * (2 * CODE_BITS + CELL_BITS)){1'b0}};
      {erase_q, coarse_q, fine_q, pulse_level_q, pulse_kind_q} <= 34'd0;
      {erase_sum_q, coarse_sum_q, fine_sum_q, unerased_q, tries_q, over_q} <= 133'd0;
    end else if (start) begin
      {erase_sum_q, coarse_sum_q, fine_sum_q, unerased_q, tries_q, over_q} <= 133'd0;
      erase_q <= 8'd0;
    end else if (judge) begin
      if (job_q == Trim) offset_q <= code_i;
      status_q      <= status;
      verify_q      <= verify;
      todo_q        <= coarse_go ? coarse_todo : fine_todo;
      pulsed_q      <= pulsed_q | (coarse_todo & {N_ADCS{coarse_go}}) | (fine_todo & {N_ADCS{fine_go}});
      pulse_level_q <= go ? level_next : pulse_level_q;
      pulse_kind_q  <= {fine_go, coarse_go};
      erase_q       <= erase_q + {7'd0, erase_go};
      coarse_q      <= coarse_q + {7'd0, coarse_go};
      fine_q        <= fine_q + {7'd0, fine_go};
      erase_sum_q   <= erase_sum_q + {31'd0, erase_go};
      coarse_sum_q  <= coarse_sum_q + {31'd0, coarse_go};
      fine_sum_q    <= fine_sum_q + {31'd0, fine_go};
      unerased_q    <= unerased_q + (erase_next ? failed : 32'd0);
      over_q        <= over_q | (job_q[1] && !go && |(below & pulsed_q));
    end else if (pass_end) begin
      erase_q  <= 8'd0;
      tries_q  <= tries_q + 4'd1;
      over_q   <= 1'b0;
    end else if (prog_target_valid_i && prog_target_ready_o) begin
      level_q  <= prog_target_data_i;
      todo_q   <= {N_ADCS{1'b1}};
      pulsed_q <= {N_ADCS{1'b0}};
      coarse_q <= 8'd0;
      fine_q   <= 8'd0;
    end
  end

  assign prog_erase_done_o    = erase_done_q;
  assign prog_done_o          = done_q;
  assign prog_error_o         = error_q;
  assign prog_erase_pulses_o  = erase_sum_q;
  assign prog_coarse_pulses_o = coarse_sum_q;
  assign prog_fine_pulses_o   = fine_sum_q;
  assign prog_unerased_o      = unerased_q;

  assign prog_target_ready_o  = state_q == Target;
  assign prog_status_valid_o  = state_q == Status;
  assign prog_status_data_o   = status_q;
  assign prog_status_code_o   = verify_q;
  assign prog_status_coarse_o = coarse_q;
  assign prog_status_fine_o   = fine_q;
  assign prog_status_last_o   = last;
  assign prog_status_again_o  = last && over_q && tries_q != prog_retries_i;

  // Analog seam //

  localparam integer SLOTS  = (1 << DAC_BITS) - 1;
  localparam [0:0]   PULSED = INPUT_MODE == 1;

  wire reading = PULSED ? state_q == Settle && wait_q < SLOTS[15:0]
                        : state_q == Settle || state_q == Sample || state_q == Convert || judge;
  wire wl_on   = job_q != Trim && (reading || (state_q == Pulse && job_q != Erase));

  generate
    for (a = 0; a < ROWS; a = a + 1) begin : g_row
      assign wl_o[a*WL_BITS +: WL_BITS] = {WL_BITS{wl_on && row_q == a}};
    end
  endgenerate

  assign wl_start_o    = PULSED && state_q == Settle && wait_q == 16'd0;
  assign w_slice_o     = slice_q;
  assign line_sel_o    = line_q ? 2'd2 : 2'd1;
  assign mux_o         = mux_q;
  assign hold_o        = state_q == Settle && settled;
  assign sample_o      = state_q == Sample;
  assign step_shift_o  = prog_step_i[7:1];
  assign step_three_o  = prog_step_i[0];
  assign pulse_o       = state_q == Pulse;
  assign pulse_kind_o  = pulse_kind_q;
  assign pulse_level_o = pulse_level_q;
  assign pulse_mask_o  = todo_q;

endmodule

`default_nettype wire
