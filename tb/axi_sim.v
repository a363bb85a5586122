// SPDX-License-Identifier: Apache-2.0
//
// The macro on its buses for simulation: cim_axi and the behavioural analog half.

`default_nettype none

module axi_sim #(
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

  // AXI4-Stream, whole bytes, the value in the low bits: activations, partial sums and target levels in
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
  output wire [32+16*N_ADCS-1:0]              m_axis_status_tdata
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

  cim_axi #(
`include "macro_params_inst.vh"
  ) u_cim_axi (
    .clk_i               (clk_i),
    .rst_ni              (rst_ni),
    .irq_o               (irq_o),
    .s_axil_awvalid      (s_axil_awvalid),
    .s_axil_wvalid       (s_axil_wvalid),
    .s_axil_bready       (s_axil_bready),
    .s_axil_awready      (s_axil_awready),
    .s_axil_wready       (s_axil_wready),
    .s_axil_bvalid       (s_axil_bvalid),
    .s_axil_awaddr       (s_axil_awaddr),
    .s_axil_awprot       (s_axil_awprot),
    .s_axil_wdata        (s_axil_wdata),
    .s_axil_wstrb        (s_axil_wstrb),
    .s_axil_bresp        (s_axil_bresp),
    .s_axil_arvalid      (s_axil_arvalid),
    .s_axil_rready       (s_axil_rready),
    .s_axil_arready      (s_axil_arready),
    .s_axil_rvalid       (s_axil_rvalid),
    .s_axil_araddr       (s_axil_araddr),
    .s_axil_arprot       (s_axil_arprot),
    .s_axil_rdata        (s_axil_rdata),
    .s_axil_rresp        (s_axil_rresp),
    .s_axis_act_tvalid   (s_axis_act_tvalid),
    .s_axis_psum_tvalid  (s_axis_psum_tvalid),
    .s_axis_res_tvalid   (s_axis_res_tvalid),
    .s_axis_res_tready   (s_axis_res_tready),
    .s_axis_res_tdata    (s_axis_res_tdata),
    .s_axis_target_tvalid(s_axis_target_tvalid),
    .s_axis_act_tready   (s_axis_act_tready),
    .s_axis_psum_tready  (s_axis_psum_tready),
    .s_axis_target_tready(s_axis_target_tready),
    .s_axis_act_tdata    (s_axis_act_tdata),
    .s_axis_psum_tdata   (s_axis_psum_tdata),
    .s_axis_target_tdata (s_axis_target_tdata),
    .m_axis_out_tvalid   (m_axis_out_tvalid),
    .m_axis_out_tlast    (m_axis_out_tlast),
    .m_axis_out_tready   (m_axis_out_tready),
    .m_axis_out_tdata    (m_axis_out_tdata),
    .m_axis_status_tvalid(m_axis_status_tvalid),
    .m_axis_status_tlast (m_axis_status_tlast),
    .m_axis_status_tready(m_axis_status_tready),
    .m_axis_status_tdata (m_axis_status_tdata),
    .wl_o                (wl),
    .wl_start_o          (wl_start),
    .w_slice_o           (w_slice),
    .line_sel_o          (line_sel),
    .x_slice_o              (x_slice),
    .share_o                (share),
    .hold_o              (hold),
    .mux_o               (mux),
    .sample_o            (sample),
    .step_shift_o        (step_shift),
    .step_three_o        (step_three),
    .step_fine_o         (step_fine),
    .trial_o             (trial),
    .cmp_i               (cmp),
    .pulse_o             (pulse),
    .pulse_kind_o        (pulse_kind),
    .pulse_level_o       (pulse_level),
    .pulse_mask_o        (pulse_mask)
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
