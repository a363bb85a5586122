// SPDX-License-Identifier: Apache-2.0
//
// Bulk harness of the co-simulation: streams whole files through the macro and logs every seam, one line an event.
//
//   in : +words +beats +psums +residuals (hexadecimal, one beat a line), +cells +thresholds (the die),
//        +outs=N outputs to expect
//   out: +log=PREFIX writes PREFIX.hold, PREFIX.code and PREFIX.out; each line starts with the cycle;
//        PREFIX.clip holds both clip counters at the end
//   +settings=FILE +targets=FILE: before the words an operation of the program-verify controller (one line of settings,
//        one beat of levels a line); PREFIX.prog holds statuses and counters, PREFIX.states the cells afterwards
//   +watchdog=N ends the run after N cycles without an event; +waves dumps everything
//
// Cycle 0 is the first input beat. Sources never wait and the sink always takes, as golden/macro_ctrl.py assumes.

`default_nettype none
`timescale 1ns / 1ns

module cosim #(
`include "macro_params.vh"
);

  // Logged vectors are padded to whole bytes, so that every line is an even number of digits
  localparam integer LINES_BITS  = (ROWS * DAC_BITS + 7) / 8 * 8;
  localparam integer TRIALS_BITS = N_ADCS * TRIALS * TRIALS;
  localparam integer TRIAL_BITS  = (TRIALS_BITS + 7) / 8 * 8;
  localparam integer CODES_BITS  = (N_ADCS * CODE_BITS + 7) / 8 * 8;
  localparam integer SUMS_BITS   = (N_LANES * ACC_BITS + 7) / 8 * 8;
  localparam integer OUT_BITS    = (ACC_BITS + 7) / 8 * 8;

  reg clk  = 1'b0;
  reg rst_n = 1'b0;
  always #5 clk = ~clk;

  reg                            round_valid = 1'b0;
  wire                           round_ready;
  reg  [15:0]                    round_addr  = 16'd0;
  reg  [31:0]                    round_data  = 32'd0;
  reg                            in_valid    = 1'b0;
  wire                           in_ready;
  reg  [IN_LANES*INPUT_BITS-1:0] in_data     = 0;
  reg                            psum_valid  = 1'b0;
  wire                           psum_ready;
  reg  [PSUM_BITS-1:0]           psum_data   = 0;
  reg                            res_valid   = 1'b0;
  wire                           res_ready;
  reg  [INPUT_BITS:0]            res_data    = 0;
  wire                           out_valid;
  wire [ACC_BITS-1:0]            out_data;
  wire                           out_last;
  wire                           error_valid;
  wire [3:0]                     error_code;
  wire [7:0]                     error_round;
  wire [31:0]                    clip_low, clip_high;

  reg                            prog_start     = 1'b0;
  reg  [7:0]                     prog_op        = 8'd0;
  reg  [15:0]                    prog_row_base  = 16'd0;
  reg  [15:0]                    prog_row_count = 16'd0;
  reg  [7:0]                     prog_retries   = 8'd0;
  reg  [7:0]                     prog_step      = 8'd0;
  reg  [31:0]                    prog_limit     = 32'd0;
  reg  [31:0]                    prog_margin    = 32'd0;
  reg  [31:0]                    prog_window    = 32'd0;
  reg  [47:0]                    prog_erase_ramp = 48'd0;
  reg  [47:0]                    prog_coarse_ramp = 48'd0;
  reg  [47:0]                    prog_fine_ramp = 48'd0;
  reg  [(CODE_BITS<<CELL_BITS)-1:0] prog_levels = 0;
  wire                           prog_busy, prog_done, prog_error;
  wire [31:0]                    prog_erases, prog_coarses, prog_fines, prog_unerased;
  reg                            target_valid   = 1'b0;
  wire                           target_ready;
  reg  [N_ADCS*CELL_BITS-1:0]    target_data    = 0;
  wire                           status_valid, status_last, status_again;
  wire [N_ADCS*2-1:0]            status_data;
  wire [N_ADCS*CODE_BITS-1:0]    status_code;
  wire [7:0]                     status_coarse, status_fine;

  macro_sim #(
`include "macro_params_inst.vh"
  ) u_macro (
    .clk_i        (clk),
    .rst_ni       (rst_n),
    .round_valid_i(round_valid),
    .round_ready_o(round_ready),
    .round_addr_i (round_addr),
    .round_data_i (round_data),
    .in_valid_i   (in_valid),
    .in_ready_o   (in_ready),
    .in_data_i    (in_data),
    .psum_valid_i (psum_valid),
    .psum_ready_o (psum_ready),
    .psum_data_i  (psum_data),
    .res_valid_i  (res_valid),
    .res_ready_o  (res_ready),
    .res_data_i   (res_data),
    .out_valid_o  (out_valid),
    .out_ready_i  (1'b1),
    .out_data_o   (out_data),
    .out_last_o   (out_last),
    .busy_o       (),
    .round_done_o (),
    .chain_done_o (),
    .error_valid_o(error_valid),
    .error_code_o (error_code),
    .error_round_o(error_round),
    .clip_clear_i (1'b0),
    .clip_low_o   (clip_low),
    .clip_high_o  (clip_high),
    .prog_start_i       (prog_start),
    .prog_op_i          (prog_op[1:0]),
    .prog_row_base_i    (prog_row_base),
    .prog_row_count_i   (prog_row_count),
    .prog_busy_o        (prog_busy),
    .prog_erase_done_o  (),
    .prog_done_o        (prog_done),
    .prog_error_o       (prog_error),
    .prog_erase_pulses_o(prog_erases),
    .prog_coarse_pulses_o(prog_coarses),
    .prog_fine_pulses_o (prog_fines),
    .prog_unerased_o    (prog_unerased),
    .prog_retries_i     (prog_retries[3:0]),
    .prog_step_i        (prog_step),
    .prog_erase_limit_i (prog_limit[CODE_BITS-1:0]),
    .prog_margin_i      (prog_margin[CODE_BITS-1:0]),
    .prog_window_i      (prog_window[CODE_BITS-1:0]),
    .prog_targets_i     (prog_levels),
    .prog_erase_ramp_i  (prog_erase_ramp),
    .prog_coarse_ramp_i (prog_coarse_ramp),
    .prog_fine_ramp_i   (prog_fine_ramp),
    .prog_target_valid_i(target_valid),
    .prog_target_ready_o(target_ready),
    .prog_target_data_i (target_data),
    .prog_status_valid_o(status_valid),
    .prog_status_ready_i(1'b1),
    .prog_status_data_o (status_data),
    .prog_status_code_o (status_code),
    .prog_status_coarse_o(status_coarse),
    .prog_status_fine_o (status_fine),
    .prog_status_last_o (status_last),
    .prog_status_again_o(status_again)
  );

  // Files //

  reg [8*1024-1:0] name;
  integer          words, beats, psums, residuals, hold_log, code_log, out_log, clip_log, outs, watchdog, got;
  integer          settings, targets, prog_log;
  reg [8*1024-1:0] states_file;
  integer          out_count  = 0;
  integer          quiet      = 0;  // cycles without an event, words included
  integer          tail       = -1;
  reg              taken      = 1'b0;

  function integer opened(input [8*1024-1:0] path, input [7:0] mode);
    begin
      opened = $fopen(path, mode);
      if (opened == 0) begin
        $display("twinor: cannot open %0s", path);
        $finish;
      end
    end
  endfunction

  initial begin
    if ($value$plusargs("words=%s", name)) words = opened(name, "r");
    if ($value$plusargs("beats=%s", name)) beats = opened(name, "r");
    if ($value$plusargs("psums=%s", name)) psums = opened(name, "r");
    if ($value$plusargs("residuals=%s", name)) residuals = opened(name, "r");
    if (!$value$plusargs("outs=%d", outs)) outs = 0;
    if (!$value$plusargs("watchdog=%d", watchdog)) watchdog = 100000;
    if ($value$plusargs("log=%s", name)) begin
      hold_log = opened({name[8*1019-1:0], ".hold"}, "w");
      code_log = opened({name[8*1019-1:0], ".code"}, "w");
      out_log  = opened({name[8*1019-1:0], ".out"}, "w");
      clip_log = opened({name[8*1019-1:0], ".clip"}, "w");
    end
    if ($test$plusargs("waves")) begin
      $dumpfile("cosim.fst");
      $dumpvars(0, cosim);
    end
    repeat (2) @(negedge clk);
    rst_n = 1'b1;
    if ($value$plusargs("settings=%s", name)) program_cells;
    if ($test$plusargs("words")) begin
      send_words;
      next_beat;
      next_psum;
      next_residual;
    end else begin
      $display("twinor: done after programming");
      $finish;
    end
  end

  // Programming: settings, targets from the start of their file for every pass, statuses //

  task program_cells;
    begin
      settings = opened(name, "r");
      got = $fscanf(settings, "%h %h %h %h %h %h %h %h %h %h %h %h", prog_op, prog_row_base, prog_row_count, prog_retries,
                    prog_step, prog_limit, prog_margin, prog_window, prog_erase_ramp, prog_coarse_ramp, prog_fine_ramp,
                    prog_levels);
      if ($value$plusargs("targets=%s", name)) targets = opened(name, "r");
      if ($value$plusargs("log=%s", name)) begin
        prog_log    = opened({name[8*1019-1:0], ".prog"}, "w");
        states_file = {name[8*1016-1:0], ".states"};
      end
      next_target;
      prog_start = 1'b1;
      @(negedge clk);
      prog_start = 1'b0;
      while (!(prog_done || prog_error)) @(negedge clk);
      target_valid = 1'b0;
      $fdisplay(prog_log, "end %h %h %h %h %h", prog_cycles, prog_erases, prog_coarses, prog_fines, prog_unerased);
      $writememh(states_file, u_macro.u_analog_sim.u_flash_array.state_mem);
    end
  endtask

  task next_target;
    begin
      got = $fscanf(targets, "%h", target_data);
      target_valid = got == 1;
    end
  endtask

  reg        target_taken = 1'b0;
  reg        again        = 1'b0;
  reg [31:0] prog_cycles  = 32'd0;

  always @(negedge clk) begin
    if (again) got = $rewind(targets);
    if (again || target_taken) next_target;
  end

  always @(posedge clk) begin
    target_taken <= target_valid && target_ready;
    again        <= status_valid && status_again;
    if (prog_busy) prog_cycles <= prog_cycles + 32'd1;
    if (status_valid)
      $fdisplay(prog_log, "%h %h %h %h %h %h", status_data, status_code, status_coarse, status_fine, status_last, status_again);
  end

  task send_words;
    begin
      got         = $fscanf(words, "%h %h", round_addr, round_data);
      round_valid = got == 2;
      while (round_valid) begin
        @(posedge clk);
        taken = round_ready;
        @(negedge clk);
        if (taken) begin
          got         = $fscanf(words, "%h %h", round_addr, round_data);
          round_valid = got == 2;
        end
      end
    end
  endtask

  task next_beat;
    begin
      got = $fscanf(beats, "%h", in_data);
      in_valid = got == 1;
    end
  endtask

  task next_psum;
    begin
      got = $fscanf(psums, "%h", psum_data);
      psum_valid = got == 1;
    end
  endtask

  task next_residual;
    begin
      got = $fscanf(residuals, "%h", res_data);
      res_valid = got == 1;
    end
  endtask

  // Sources: a beat that was taken at the rising edge is replaced at the falling edge //

  reg in_taken   = 1'b0;
  reg psum_taken = 1'b0;
  reg res_taken  = 1'b0;

  always @(negedge clk) begin
    if (in_taken) next_beat;
    if (psum_taken) next_psum;
    if (res_taken) next_residual;
  end

  // Codes that the word lines really had, at a hold //

  genvar r;
  generate
    if (INPUT_MODE == 1) begin : g_pulse
      for (r = 0; r < ROWS; r = r + 1) begin : g_row
        reg [DAC_BITS-1:0] count_q;
        always @(posedge clk)
          if (!prog_busy) count_q <= (u_macro.wl_start ? {DAC_BITS{1'b0}} : count_q) + u_macro.wl[r];
        assign driven[r*DAC_BITS +: DAC_BITS] = count_q;
      end
    end else begin : g_level
      assign driven = u_macro.wl;
    end
  endgenerate

  // Logs //

  reg [31:0]              cycle  = 32'd0;
  reg                     begun  = 1'b0;
  reg [TRIALS_BITS-1:0]   trials = 0;
  wire [ROWS*DAC_BITS-1:0] driven;  // the code of each word line: its level, or the length of its pulse
  wire [LINES_BITS-1:0]   wl     = driven;
  wire [TRIAL_BITS-1:0]   trial_line = trials;
  wire [CODES_BITS-1:0]   code_line  = u_macro.u_cim_macro.code;
  wire [SUMS_BITS-1:0]    sum_line   = u_macro.u_cim_macro.sum;
  wire [OUT_BITS-1:0]     out_line   = {out_data};
  wire                    code_taken = u_macro.u_cim_macro.code_valid && u_macro.u_cim_macro.code_ready;
  wire                    in_trial   = u_macro.u_cim_macro.u_sar_adc.seq_q != 0;

  always @(posedge clk) begin
    in_taken   <= in_valid && in_ready;
    psum_taken <= psum_valid && psum_ready;
    res_taken  <= res_valid && res_ready;
    if (in_valid && in_ready) begun <= 1'b1;
    cycle <= (begun || (in_valid && in_ready)) ? cycle + 32'd1 : 32'd0;

    if ((u_macro.hold || u_macro.share) && !prog_busy) $fdisplay(hold_log, "%h%h", cycle, wl);
    if (in_trial) trials <= {trials, u_macro.trial};
    if (code_taken) $fdisplay(code_log, "%h%h%h%h", cycle, trial_line, code_line, sum_line);
    if (out_valid) $fdisplay(out_log, "%h%h%h", cycle, 8'd0 | out_last, out_line);

    if ((round_valid && round_ready) || (in_valid && in_ready) || u_macro.hold || u_macro.share || code_taken || out_valid) quiet <= 0;
    else if (rst_n) quiet <= quiet + 1;
    if (out_valid) out_count <= out_count + 1;
    if (out_valid && out_count + 1 == outs) tail <= 64;
    if (tail > 0) tail <= tail - 1;
    if (tail == 0 || quiet > watchdog) $fdisplay(clip_log, "%h%h", clip_low, clip_high);
    if (tail == 0) begin
      $display("twinor: done after %0d cycles", cycle);
      $finish;
    end
    if (error_valid) begin
      $display("twinor: stalled: round %0d breaks rule %0d, %0d of %0d outputs", error_round, error_code, out_count, outs);
      $finish;
    end
    if (quiet > watchdog) begin
      $display("twinor: stalled: no event for %0d cycles, %0d of %0d outputs", quiet, out_count, outs);
      $finish;
    end
  end

endmodule

`default_nettype wire
