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
  input  wire                                 s_axil_awvalid,
  output wire                                 s_axil_awready,
  input  wire [18:0]                          s_axil_awaddr,
  input  wire [2:0]                           s_axil_awprot,
  input  wire                                 s_axil_wvalid,
  output wire                                 s_axil_wready,
  input  wire [31:0]                          s_axil_wdata,
  input  wire [3:0]                           s_axil_wstrb,
  output wire                                 s_axil_bvalid,
  input  wire                                 s_axil_bready,
  output wire [1:0]                           s_axil_bresp,
  input  wire                                 s_axil_arvalid,
  output wire                                 s_axil_arready,
  input  wire [18:0]                          s_axil_araddr,
  input  wire [2:0]                           s_axil_arprot,
  output wire                                 s_axil_rvalid,
  input  wire                                 s_axil_rready,
  output wire [31:0]                          s_axil_rdata,
  output wire [1:0]                           s_axil_rresp,

  // AXI4-Stream: whole bytes, the value in the low bits
  input  wire                                 s_axis_act_tvalid,
  output wire                                 s_axis_act_tready,
  input  wire [(IN_LANES*INPUT_BITS+7)/8*8-1:0] s_axis_act_tdata,
  input  wire                                 s_axis_psum_tvalid,
  output wire                                 s_axis_psum_tready,
  input  wire [(PSUM_BITS+7)/8*8-1:0]         s_axis_psum_tdata,
  input  wire                                 s_axis_res_tvalid,
  output wire                                 s_axis_res_tready,
  input  wire [(INPUT_BITS+8)/8*8-1:0]        s_axis_res_tdata,
  output wire                                 m_axis_out_tvalid,
  input  wire                                 m_axis_out_tready,
  output wire [(ACC_BITS+7)/8*8-1:0]          m_axis_out_tdata,
  output wire                                 m_axis_out_tlast,

  // Analog seam of cim_macro
  output wire [ROWS*DAC_BITS-1:0]       wl_o,
  output wire [7:0]                     w_slice_o,
  output wire [7:0]                     x_slice_o,
  output wire                           share_o,
  output wire                           hold_o,
  output wire [15:0]                    mux_o,
  output wire                           sample_o,
  output wire [6:0]                     step_shift_o,
  output wire                           step_three_o,
  output wire                           step_fine_o,
  output wire [1:0]                     line_sel_o,
  output wire                           pulse_o,
  output wire [1:0]                     pulse_kind_o,
  output wire [7:0]                     pulse_level_o,
  output wire [N_ADCS-1:0]              pulse_mask_o,
  output wire [N_ADCS*TRIALS-1:0]       trial_o,
  input  wire [N_ADCS-1:0]              cmp_i
);

  localparam integer OUT_BITS = (ACC_BITS + 7) / 8 * 8;

  localparam [1:0] Okay = 2'b00, SlvErr = 2'b10;

  wire unused_inputs = &{1'b0, s_axil_awprot, s_axil_arprot, s_axis_act_tdata, s_axis_psum_tdata, s_axis_res_tdata};

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

  wire        macro_reset, round_ready;
  wire        to_words   = aw_addr_q[18];
  wire        word_good  = aw_addr_q[1:0] == 2'd0 && w_strb_q == 4'hF && round_ready && !macro_reset;
  wire        word_valid = write && to_words && word_good;

  // Registers: the generated block answers within the cycle //

  wire [17:0] regs_addr = write ? aw_addr_q[17:0] : ar_addr_q[17:0];
  wire        regs_req  = write ? !to_words : (read && !ar_addr_q[18]);
  wire        regs_rd_err, regs_wr_err;
  wire [31:0] regs_rd_data;
  wire        enable, clip_clear, busy, round_done, chain_done, error_valid;
  wire [3:0]  error_code;
  wire [7:0]  error_round;
  wire [31:0] clip_low, clip_high;
  wire        unused_req_stall_wr, unused_req_stall_rd, unused_rd_ack, unused_wr_ack;

  cim_axi_regs u_regs (
    .clk                              (clk_i),
    .arst_n                           (rst_ni),
    .s_cpuif_req                      (regs_req),
    .s_cpuif_req_is_wr                (write),
    .s_cpuif_addr                     (regs_addr),
    .s_cpuif_wr_data                  (w_data_q),
    .s_cpuif_wr_biten                 ({{8{w_strb_q[3]}}, {8{w_strb_q[2]}}, {8{w_strb_q[1]}}, {8{w_strb_q[0]}}}),
    .s_cpuif_req_stall_wr             (unused_req_stall_wr),
    .s_cpuif_req_stall_rd             (unused_req_stall_rd),
    .s_cpuif_rd_ack                   (unused_rd_ack),
    .s_cpuif_rd_err                   (regs_rd_err),
    .s_cpuif_rd_data                  (regs_rd_data),
    .s_cpuif_wr_ack                   (unused_wr_ack),
    .s_cpuif_wr_err                   (regs_wr_err),
    .hwif_in_shape_rows               (ROWS[15:0]),
    .hwif_in_shape_cols               (COLS[15:0]),
    .hwif_in_groups_active_rows       (ACTIVE_ROWS[15:0]),
    .hwif_in_groups_n_adcs            (N_ADCS[15:0]),
    .hwif_in_weights_weight_encoding  (WEIGHT_ENCODING[7:0]),
    .hwif_in_weights_weight_bits      (WEIGHT_BITS[7:0]),
    .hwif_in_weights_cell_bits        (CELL_BITS[7:0]),
    .hwif_in_weights_w_slices         (W_SLICES[7:0]),
    .hwif_in_inputs_input_bits        (INPUT_BITS[7:0]),
    .hwif_in_inputs_dac_bits          (DAC_BITS[7:0]),
    .hwif_in_inputs_x_slices          (X_SLICES[7:0]),
    .hwif_in_inputs_in_lanes          (IN_LANES[7:0]),
    .hwif_in_conversion_adc_bits      (ADC_BITS[7:0]),
    .hwif_in_conversion_cols_per_adc  (COLS_PER_ADC[7:0]),
    .hwif_in_conversion_wl_cycles     (WL_CYCLES[7:0]),
    .hwif_in_conversion_settle_cycles (SETTLE_CYCLES[7:0]),
    .hwif_in_sums_psum_bits           (PSUM_BITS[7:0]),
    .hwif_in_sums_acc_bits            (ACC_BITS[7:0]),
    .hwif_in_sums_mult_bits           (MULT_BITS[7:0]),
    .hwif_in_sums_add_bits            (ADD_BITS[7:0]),
    .hwif_in_chains_max_rounds        (MAX_ROUNDS[15:0]),
    .hwif_in_chains_round_words       (ROUND_WORDS[15:0]),
    .hwif_out_control_enable          (enable),
    .hwif_out_control_reset           (macro_reset),
    .hwif_out_command_clip_clear      (clip_clear),
    .hwif_in_status_words             (round_ready && !macro_reset),
    .hwif_in_status_busy              (busy),
    .hwif_in_error_code               (error_code),
    .hwif_in_error_code_we            (error_valid),
    .hwif_in_error_round              (error_round),
    .hwif_in_error_round_we           (error_valid),
    .hwif_out_intr_status_intr        (irq_o),
    .hwif_in_intr_status_round_done_hwset(round_done),
    .hwif_in_intr_status_chain_done_hwset(chain_done),
    .hwif_in_intr_status_error_hwset  (error_valid),
    .hwif_in_clip_low_count           (clip_low),
    .hwif_in_clip_high_count          (clip_high)
  );

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
        b_resp_q  <= (to_words ? !word_good : regs_wr_err) ? SlvErr : Okay;
      end else if (s_axil_bready) b_valid_q <= 1'b0;
      if (read) begin
        r_valid_q <= 1'b1;
        r_resp_q  <= (ar_addr_q[18] || regs_rd_err) ? SlvErr : Okay;
        r_data_q  <= (ar_addr_q[18] || regs_rd_err) ? 32'd0 : regs_rd_data;
      end else if (s_axil_rready) r_valid_q <= 1'b0;
    end
  end

  // The macro //

  wire                out_valid, out_ready, out_last, act_ready;
  wire [ACC_BITS-1:0] out_data;

  assign s_axis_act_tready = act_ready && enable;

  wire                        prog_busy, prog_erase_done, prog_done, prog_error, prog_target_ready, prog_status_valid;
  wire                        prog_status_last, prog_status_again;
  wire [31:0]                 prog_erase_pulses, prog_coarse_pulses, prog_fine_pulses, prog_unerased;
  wire [N_ADCS*2-1:0]         prog_status_data;
  wire [N_ADCS*CODE_BITS-1:0] prog_status_code;
  wire [7:0]                  prog_status_coarse, prog_status_fine;
  wire unused_prog = &{1'b0, prog_busy, prog_erase_done, prog_done, prog_error, prog_target_ready, prog_status_valid,
                       prog_status_last, prog_status_again, prog_erase_pulses, prog_coarse_pulses, prog_fine_pulses,
                       prog_unerased, prog_status_data, prog_status_code, prog_status_coarse, prog_status_fine};

  cim_macro #(
`include "macro_params_inst.vh"
  ) u_cim_macro (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni && !macro_reset),
    .round_valid_i(word_valid),
    .round_ready_o(round_ready),
    .round_addr_i (aw_addr_q[17:2]),
    .round_data_i (w_data_q),
    .in_valid_i   (s_axis_act_tvalid && enable),
    .in_ready_o   (act_ready),
    .in_data_i    (s_axis_act_tdata[IN_LANES*INPUT_BITS-1:0]),
    .psum_valid_i (s_axis_psum_tvalid),
    .psum_ready_o (s_axis_psum_tready),
    .psum_data_i  (s_axis_psum_tdata[PSUM_BITS-1:0]),
    .res_valid_i  (s_axis_res_tvalid),
    .res_ready_o  (s_axis_res_tready),
    .res_data_i   (s_axis_res_tdata[INPUT_BITS:0]),
    .out_valid_o  (out_valid),
    .out_ready_i  (out_ready),
    .out_data_o   (out_data),
    .out_last_o   (out_last),
    .busy_o       (busy),
    .round_done_o (round_done),
    .chain_done_o (chain_done),
    .error_valid_o(error_valid),
    .error_code_o (error_code),
    .error_round_o(error_round),
    .clip_clear_i (clip_clear),
    .clip_low_o   (clip_low),
    .clip_high_o  (clip_high),
    .wl_o         (wl_o),
    .w_slice_o    (w_slice_o),
    .x_slice_o    (x_slice_o),
    .share_o      (share_o),
    .hold_o       (hold_o),
    .mux_o        (mux_o),
    .sample_o     (sample_o),
    .step_shift_o (step_shift_o),
    .step_three_o (step_three_o),
    .trial_o      (trial_o),
    .cmp_i        (cmp_i),

    // The program-verify controller has no registers yet: it never starts
    .prog_start_i(1'b0), .prog_op_i(2'd0), .prog_row_base_i(16'd0), .prog_row_count_i(16'd0), .prog_retries_i(4'd0),
    .prog_step_i(8'd0), .prog_erase_limit_i({CODE_BITS{1'b0}}), .prog_margin_i({CODE_BITS{1'b0}}),
    .prog_window_i({CODE_BITS{1'b0}}), .prog_targets_i({(CODE_BITS << CELL_BITS){1'b0}}), .prog_erase_ramp_i(48'd0),
    .prog_coarse_ramp_i(48'd0), .prog_fine_ramp_i(48'd0), .prog_target_valid_i(1'b0),
    .prog_target_data_i({(N_ADCS * CELL_BITS){1'b0}}), .prog_status_ready_i(1'b0), .prog_busy_o(prog_busy),
    .prog_erase_done_o(prog_erase_done), .prog_done_o(prog_done), .prog_error_o(prog_error),
    .prog_erase_pulses_o(prog_erase_pulses), .prog_coarse_pulses_o(prog_coarse_pulses),
    .prog_fine_pulses_o(prog_fine_pulses), .prog_unerased_o(prog_unerased), .prog_target_ready_o(prog_target_ready),
    .prog_status_valid_o(prog_status_valid), .prog_status_data_o(prog_status_data),
    .prog_status_code_o(prog_status_code), .prog_status_coarse_o(prog_status_coarse),
    .prog_status_fine_o(prog_status_fine), .prog_status_last_o(prog_status_last),
    .prog_status_again_o(prog_status_again), .line_sel_o(line_sel_o), .step_fine_o(step_fine_o), .pulse_o(pulse_o),
    .pulse_kind_o(pulse_kind_o), .pulse_level_o(pulse_level_o), .pulse_mask_o(pulse_mask_o)
  );

  // Results: the second register takes the beat that is under way when the sink stops, so no ready passes through //

  reg                result_q, spare_q;
  reg [ACC_BITS-1:0] result_data_q, spare_data_q;
  reg                result_last_q, spare_last_q;

  wire out_move = out_valid && out_ready;
  wire onward   = m_axis_out_tready || !result_q;

  assign out_ready         = !spare_q;
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
