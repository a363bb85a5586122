// SPDX-License-Identifier: Apache-2.0
//
// The macro on buses: AXI4-Lite registers and round words, AXI4-Stream in and out, one interrupt line.
//
//   s_axil --> write, read --> regs/cim_axi_regs (0x00000), round words (0x40000 + 4 * word address)
//   s_axis_act, s_axis_psum, s_axis_res --> cim_macro --> two result registers --> m_axis_out
//
// Golden twin : model/twinor/golden/cim_macro.py
// Spec        : rtl/cim_axi.md
// Latency     : a result is one cycle later than in cim_macro; a response follows its request in two cycles.

`default_nettype none

module cim_axi #(
`include "macro_params.vh"
) (
  input  wire                                 clk_i,
  input  wire                                 rst_ni,
  output wire                                 irq_o,

  // AXI4-Lite: registers and round words, rtl/registers.md
  input  wire                                 s_axil_awvalid, s_axil_wvalid, s_axil_bready,
  output wire                                 s_axil_awready, s_axil_wready, s_axil_bvalid,
  input  wire [18:0]                          s_axil_awaddr,
  input  wire [2:0]                           s_axil_awprot,
  input  wire [31:0]                          s_axil_wdata,
  input  wire [3:0]                           s_axil_wstrb,
  output wire [1:0]                           s_axil_bresp,
  input  wire                                 s_axil_arvalid, s_axil_rready,
  output wire                                 s_axil_arready, s_axil_rvalid,
  input  wire [18:0]                          s_axil_araddr,
  input  wire [2:0]                           s_axil_arprot,
  output wire [31:0]                          s_axil_rdata,
  output wire [1:0]                           s_axil_rresp,

  // AXI4-Stream, whole bytes, the value in the low bits: activations, partial sums, residual codes and targets in
  input  wire                                 s_axis_act_tvalid, s_axis_psum_tvalid, s_axis_res_tvalid,
  output wire                                 s_axis_act_tready, s_axis_psum_tready, s_axis_res_tready,
  input  wire                                 s_axis_target_tvalid,
  output wire                                 s_axis_target_tready,
  input  wire [(IN_LANES*INPUT_BITS+7)/8*8-1:0] s_axis_act_tdata,
  input  wire [(PSUM_BITS+7)/8*8-1:0]         s_axis_psum_tdata,
  input  wire [(INPUT_BITS+8)/8*8-1:0]        s_axis_res_tdata,
  input  wire [(N_ADCS*CELL_BITS+7)/8*8-1:0]  s_axis_target_tdata,

  // Results, and statuses of programming: {status, code} in each lane, below them the pulses
  output wire                                 m_axis_out_tvalid, m_axis_out_tlast,
  input  wire                                 m_axis_out_tready,
  output wire [(ACC_BITS+7)/8*8-1:0]          m_axis_out_tdata,
  output wire                                 m_axis_status_tvalid, m_axis_status_tlast,
  input  wire                                 m_axis_status_tready,
  output wire [32+16*N_ADCS-1:0]              m_axis_status_tdata,

  // Analog seam of cim_macro
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

  localparam integer OUT_BITS = (ACC_BITS + 7) / 8 * 8;

  localparam [1:0]  Okay = 2'b00, SlvErr = 2'b10;
  localparam [11:0] SETTINGS = 12'h004;  // 0x100 .. 0x13F

  // Requests: an address, its data and a read address wait here for their turn //

  reg         aw_full_q, w_full_q, ar_full_q;
  reg  [18:0] aw_addr_q, ar_addr_q;
  reg  [31:0] w_data_q;
  reg  [3:0]  w_strb_q;
  reg         b_valid_q, r_valid_q;
  reg  [1:0]  b_resp_q, r_resp_q;
  reg  [31:0] r_data_q;

  wire write = aw_full_q && w_full_q && !b_valid_q;
  wire read  = ar_full_q && !r_valid_q && !write;

  assign s_axil_awready = !aw_full_q;
  assign s_axil_wready  = !w_full_q;
  assign s_axil_arready = !ar_full_q;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      aw_full_q <= 1'b0;
      w_full_q  <= 1'b0;
      ar_full_q <= 1'b0;
      aw_addr_q <= 19'd0;
      ar_addr_q <= 19'd0;
      w_data_q  <= 32'd0;
      w_strb_q  <= 4'd0;
    end else begin
      if (s_axil_awvalid && s_axil_awready) begin
        aw_full_q <= 1'b1;
        aw_addr_q <= s_axil_awaddr;
      end else if (write) aw_full_q <= 1'b0;
      if (s_axil_wvalid && s_axil_wready) begin
        w_full_q <= 1'b1;
        w_data_q <= s_axil_wdata;
        w_strb_q <= s_axil_wstrb;
      end else if (write) w_full_q <= 1'b0;
      if (s_axil_arvalid && s_axil_arready) begin
        ar_full_q <= 1'b1;
        ar_addr_q <= s_axil_araddr;
      end else if (read) ar_full_q <= 1'b0;
    end
  end

  // Round words: whole words alone, and none while the macro refuses them //

  wire        round_ready;
  wire        to_words   = aw_addr_q[18];
  wire        word_good  = aw_addr_q[1:0] == 2'd0 && w_strb_q == 4'hF && round_ready && !regs_control_reset;
  wire        word_valid = write && to_words && word_good;

  // Registers: the generated block answers within the cycle; settings of programming do not change meanwhile //

  wire        prog_busy, refused, failed, out_move, out_last;
  wire        to_settings = aw_addr_q[17:6] == SETTINGS;
  wire        regs_held   = to_settings && prog_busy;
  wire [17:0] regs_addr   = write ? aw_addr_q[17:0] : ar_addr_q[17:0];
  wire        regs_req    = write ? (!to_words && !regs_held) : (read && !ar_addr_q[18]);
  wire [31:0] regs_wr_data = w_data_q;
  wire [31:0] regs_wr_biten = {{8{w_strb_q[3]}}, {8{w_strb_q[2]}}, {8{w_strb_q[1]}}, {8{w_strb_q[0]}}};
  wire        regs_req_is_wr = write;
  wire        regs_rd_err, regs_wr_err;
  wire [31:0] regs_rd_data;

`include "regs/cim_axi_regs.vh"

  wire unused_inputs = &{1'b0, s_axil_awprot, s_axil_arprot, s_axis_act_tdata, s_axis_psum_tdata, s_axis_res_tdata,
                         s_axis_target_tdata, regs_prog_erase_limit_code, regs_prog_accept_margin,
                         regs_prog_accept_window, regs_prog_target_code};

  assign {regs_shape_cols, regs_shape_rows, regs_groups_n_adcs, regs_groups_active_rows}
      = {COLS[15:0], ROWS[15:0], N_ADCS[15:0], ACTIVE_ROWS[15:0]};
  assign {regs_weights_w_slices, regs_weights_cell_bits, regs_weights_weight_bits, regs_weights_weight_encoding}
      = {W_SLICES[7:0], CELL_BITS[7:0], WEIGHT_BITS[7:0], WEIGHT_ENCODING[7:0]};
  assign {regs_inputs_in_lanes, regs_inputs_x_slices, regs_inputs_dac_bits, regs_inputs_input_bits}
      = {IN_LANES[7:0], X_SLICES[7:0], DAC_BITS[7:0], INPUT_BITS[7:0]};
  assign {regs_conversion_settle_cycles, regs_conversion_wl_cycles} = {SETTLE_CYCLES[7:0], WL_CYCLES[7:0]};
  assign {regs_conversion_cols_per_adc, regs_conversion_adc_bits} = {COLS_PER_ADC[7:0], ADC_BITS[7:0]};
  assign {regs_sums_add_bits, regs_sums_mult_bits, regs_sums_acc_bits, regs_sums_psum_bits}
      = {ADD_BITS[7:0], MULT_BITS[7:0], ACC_BITS[7:0], PSUM_BITS[7:0]};
  assign {regs_chains_round_words, regs_chains_max_rounds} = {ROUND_WORDS[15:0], MAX_ROUNDS[15:0]};
  assign {regs_options_slice_accumulation, regs_options_input_mode} = {SLICE_ACCUMULATION[0], INPUT_MODE[0]};
  assign {regs_options_ref_cols, regs_options_column_correction, regs_options_trials}
      = {REF_COLS[0], COLUMN_CORRECTION[0], TRIALS[7:0]};

  assign regs_status_words = round_ready && !regs_control_reset;
  assign regs_status_prog_busy = prog_busy;
  assign {regs_error_code_we, regs_error_round_we} = {2{regs_intr_status_error_hwset}};
  assign regs_intr_status_program_error_hwset = refused || (regs_intr_status_program_done_hwset && failed);
  assign irq_o = regs_intr_status_intr;

  // Programming: a register fills the table of targets; statuses of a pass that is repeated do not count //

  reg                               fill_q, failed_q;
  reg  [(CODE_BITS<<CELL_BITS)-1:0] targets_q;
  wire [N_ADCS*2-1:0]               status;
  wire [N_ADCS*CODE_BITS-1:0]       status_code;
  wire                              status_again;
  wire                              status_move = m_axis_status_tvalid && m_axis_status_tready;
  integer                           level;

  assign failed = regs_prog_operation_write ? failed_q : regs_prog_unerased_count != 32'd0;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      fill_q    <= 1'b0;
      failed_q  <= 1'b0;
      targets_q <= {(CODE_BITS << CELL_BITS){1'b0}};
    end else begin
      fill_q <= regs_prog_target_code_swmod;
      for (level = 0; level < (1 << CELL_BITS); level = level + 1)
        if (fill_q && {24'd0, regs_prog_target_cell_level} == level)
          targets_q[level*CODE_BITS +: CODE_BITS] <= regs_prog_target_code[CODE_BITS-1:0];
      if (regs_command_prog_start || (status_move && status_again)) failed_q <= 1'b0;
      else if (status_move && status != {(N_ADCS * 2){1'b0}}) failed_q <= 1'b1;
    end
  end

  assign m_axis_status_tdata[31:16] = {15'd0, status_again};

  genvar a;
  generate
    for (a = 0; a < N_ADCS; a = a + 1) begin : g_status
      assign m_axis_status_tdata[32+16*a +: 16] = {
          status[2*a +: 2],
          {(14 - CODE_BITS){status_code[a*CODE_BITS+CODE_BITS-1]}},
          status_code[a*CODE_BITS +: CODE_BITS]
      };
    end
  endgenerate

  // Responses //

  assign s_axil_bvalid = b_valid_q;
  assign s_axil_bresp  = b_resp_q;
  assign s_axil_rvalid = r_valid_q;
  assign s_axil_rresp  = r_resp_q;
  assign s_axil_rdata  = r_data_q;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      b_valid_q <= 1'b0;
      r_valid_q <= 1'b0;
      b_resp_q  <= Okay;
      r_resp_q  <= Okay;
      r_data_q  <= 32'd0;
    end else begin
      if (write) begin
        b_valid_q <= 1'b1;
        b_resp_q  <= (to_words ? !word_good : (regs_held || regs_wr_err)) ? SlvErr : Okay;
      end else if (s_axil_bready) b_valid_q <= 1'b0;
      if (read) begin
        r_valid_q <= 1'b1;
        r_resp_q  <= (ar_addr_q[18] || regs_rd_err) ? SlvErr : Okay;
        r_data_q  <= (ar_addr_q[18] || regs_rd_err) ? 32'd0 : regs_rd_data;
      end else if (s_axil_rready) r_valid_q <= 1'b0;
    end
  end

  // The macro //

  wire                out_valid, out_ready, act_ready;
  wire [ACC_BITS-1:0] out_data;

  assign s_axis_act_tready = act_ready && regs_control_enable;

  cim_macro #(
`include "macro_params_inst.vh"
  ) u_cim_macro (
    .clk_i               (clk_i),
    .rst_ni              (rst_ni && !regs_control_reset),
    .round_valid_i       (word_valid),
    .round_ready_o       (round_ready),
    .round_addr_i        (aw_addr_q[17:2]),
    .round_data_i        (w_data_q),
    .in_valid_i          (s_axis_act_tvalid && regs_control_enable),
    .in_ready_o          (act_ready),
    .in_data_i           (s_axis_act_tdata[IN_LANES*INPUT_BITS-1:0]),
    .psum_valid_i        (s_axis_psum_tvalid),
    .psum_ready_o        (s_axis_psum_tready),
    .psum_data_i         (s_axis_psum_tdata[PSUM_BITS-1:0]),
    .out_valid_o(out_valid), .out_ready_i(out_ready), .out_data_o(out_data), .out_last_o(out_last),
    .res_valid_i         (s_axis_res_tvalid),
    .res_ready_o         (s_axis_res_tready),
    .res_data_i          (s_axis_res_tdata[INPUT_BITS:0]),
    .busy_o              (regs_status_busy),
    .round_done_o        (regs_intr_status_round_done_hwset),
    .chain_done_o        (regs_intr_status_chain_done_hwset),
    .error_valid_o       (regs_intr_status_error_hwset),
    .error_code_o        (regs_error_code),
    .error_round_o       (regs_error_round),
    .clip_clear_i        (regs_command_clip_clear),
    .clip_low_o(regs_clip_low_count), .clip_high_o(regs_clip_high_count),
    .prog_start_i        (regs_command_prog_start),
    .prog_op_i           ({regs_prog_operation_write, regs_prog_operation_erase}),
    .prog_row_base_i(regs_prog_rows_base), .prog_row_count_i(regs_prog_rows_count),
    .prog_retries_i(regs_prog_operation_retries), .prog_step_i(regs_prog_operation_step),
    .prog_erase_limit_i  (regs_prog_erase_limit_code[CODE_BITS-1:0]),
    .prog_margin_i       (regs_prog_accept_margin[CODE_BITS-1:0]),
    .prog_window_i       (regs_prog_accept_window[CODE_BITS-1:0]),
    .prog_targets_i      (targets_q),
    .prog_erase_ramp_i   ({regs_prog_erase_length_cycles, regs_prog_erase_ramp_pulses, regs_prog_erase_ramp_step,
                           regs_prog_erase_ramp_start}),
    .prog_coarse_ramp_i  ({regs_prog_coarse_length_cycles, regs_prog_coarse_ramp_pulses, regs_prog_coarse_ramp_step,
                           regs_prog_coarse_ramp_start}),
    .prog_fine_ramp_i    ({regs_prog_fine_length_cycles, regs_prog_fine_ramp_pulses, regs_prog_fine_ramp_step,
                           regs_prog_fine_ramp_start}),
    .prog_target_valid_i (s_axis_target_tvalid),
    .prog_target_ready_o (s_axis_target_tready),
    .prog_target_data_i  (s_axis_target_tdata[N_ADCS*CELL_BITS-1:0]),
    .prog_status_valid_o(m_axis_status_tvalid), .prog_status_ready_i(m_axis_status_tready),
    .prog_status_data_o  (status),
    .prog_status_code_o  (status_code),
    .prog_status_coarse_o(m_axis_status_tdata[7:0]), .prog_status_fine_o(m_axis_status_tdata[15:8]),
    .prog_status_last_o(m_axis_status_tlast), .prog_status_again_o(status_again),
    .prog_busy_o         (prog_busy),
    .prog_erase_done_o   (regs_intr_status_erase_done_hwset),
    .prog_done_o         (regs_intr_status_program_done_hwset),
    .prog_error_o        (refused),
    .prog_erase_pulses_o (regs_prog_erase_pulses_count),
    .prog_coarse_pulses_o(regs_prog_coarse_pulses_count),
    .prog_fine_pulses_o  (regs_prog_fine_pulses_count),
    .prog_unerased_o     (regs_prog_unerased_count),
    .wl_o(wl_o), .wl_start_o(wl_start_o), .w_slice_o(w_slice_o), .x_slice_o(x_slice_o), .share_o(share_o),
    .line_sel_o(line_sel_o), .hold_o(hold_o), .mux_o(mux_o), .sample_o(sample_o), .step_shift_o(step_shift_o),
    .step_three_o(step_three_o), .step_fine_o(step_fine_o), .trial_o(trial_o), .cmp_i(cmp_i),
    .pulse_o(pulse_o), .pulse_kind_o(pulse_kind_o), .pulse_level_o(pulse_level_o), .pulse_mask_o(pulse_mask_o)
  );

  // Results: the second register takes the beat that is under way when the sink stops, so no ready passes through //

  reg                result_q, spare_q;
  reg [ACC_BITS-1:0] result_data_q, spare_data_q;
  reg                result_last_q, spare_last_q;

  wire onward = m_axis_out_tready || !result_q;

  assign out_ready         = !spare_q;
  assign out_move          = out_valid && out_ready;
  assign m_axis_out_tvalid = result_q;
  assign m_axis_out_tlast  = result_last_q;

  genvar b;
  generate
    for (b = 0; b < OUT_BITS; b = b + 1) begin : g_wide
      assign m_axis_out_tdata[b] = result_data_q[(b < ACC_BITS) ? b : ACC_BITS - 1];
    end
  endgenerate

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      result_q      <= 1'b0;
      spare_q       <= 1'b0;
      result_data_q <= {ACC_BITS{1'b0}};
      spare_data_q  <= {ACC_BITS{1'b0}};
      result_last_q <= 1'b0;
      spare_last_q  <= 1'b0;
    end else if (onward) begin
      result_q      <= spare_q || out_move;
      result_data_q <= spare_q ? spare_data_q : out_data;
      result_last_q <= spare_q ? spare_last_q : out_last;
      spare_q       <= 1'b0;
    end else if (out_move) begin
      spare_q       <= 1'b1;
      spare_data_q  <= out_data;
      spare_last_q  <= out_last;
    end
  end

endmodule

`default_nettype wire
