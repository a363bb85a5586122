// SPDX-License-Identifier: Apache-2.0
//
// Word-line drivers: double-buffered activation latches, sliced onto the word lines as levels or as pulses.
//
//   code[r] = (|x[r]| >> (slice * DAC_BITS)) mod 2**DAC_BITS   for row_first <= r < row_first + row_num and the sign
//             of x[r] that the phase drives, else 0
//   wl[r] = code[r], or with INPUT_MODE 1 (pulse_width): high in the first code[r] cycles after the drive
//   rows from load_count on are bias rows: the macro itself loads their one code
//
// Golden twin : model/twinor/golden/wl_dac.py
// Spec        : rtl/wl_dac.md
// Latency     : word lines change with the clock edge at which drive_i is high.

`default_nettype none

module wl_dac #(
  parameter integer ROWS            = 1,
  parameter integer INPUT_BITS      = 1,
  parameter integer DAC_BITS        = 1,
  parameter integer INPUT_MODE      = 0,  // 1 (pulse_width): a word line is one bit
  parameter integer WL_BITS         = 1,  // 1, or DAC_BITS for levels
  parameter integer X_SLICES        = 1,
  parameter integer IN_LANES        = 1,  // activations per input beat; divides ROWS
  parameter integer WEIGHT_ENCODING = 0,  // 1 (offset): wl_sum_o is needed
  parameter integer WL_SUM_BITS     = 1
) (
  input  wire                           clk_i,
  input  wire                           rst_ni,

  // Activations, lane 0 in the low bits
  input  wire                           in_valid_i,
  output wire                           in_ready_o,
  input  wire [IN_LANES*INPUT_BITS-1:0] in_data_i,

  // Loading the shadow latches: one vector of load_count_i rows from row load_base_i
  input  wire                           load_en_i,
  input  wire [15:0]                    load_base_i,   // multiple of IN_LANES
  input  wire [15:0]                    load_count_i,  // at least 1
  input  wire                           load_signed_i,
  input  wire [15:0]                    load_bias_i,   // bias rows that follow
  input  wire [INPUT_BITS-1:0]          bias_code_i,
  output wire                           loading_o,     // some beats of a vector are in
  output wire                           loaded_o,      // the whole vector is in
  input  wire                           swap_i,        // take it: shadow becomes active

  // Driving the word lines
  input  wire                           drive_i,
  input  wire                           wl_on_i,       // 0: all word lines off
  input  wire [7:0]                     slice_i,
  input  wire                           phase_i,       // 1: rows of negative activations, 0: all others
  input  wire [15:0]                    row_first_i,
  input  wire [15:0]                    row_num_i,     // 1 .. ROWS
  output wire [ROWS*WL_BITS-1:0]        wl_o,
  output wire                           wl_start_o,    // pulse_width: the first cycle of a drive's pulses
  output wire [WL_SUM_BITS-1:0]         wl_sum_o       // sum of all word-line codes
);

  localparam integer LINE_BITS = ROWS * DAC_BITS;
  localparam integer BEAT_BITS = IN_LANES * DAC_BITS;

  // Latches: one line of word-line codes per input slice //

  reg  [X_SLICES*LINE_BITS-1:0] shadow_q;
  reg  [X_SLICES*LINE_BITS-1:0] active_q;
  reg  [ROWS-1:0]               shadow_sign_q;
  reg  [ROWS-1:0]               active_sign_q;
  reg  [15:0]                   fill_q;    // rows of the vector that are in
  reg                           loaded_q;

  wire [IN_LANES*INPUT_BITS-1:0] magnitude;
  wire [IN_LANES-1:0]            sign;
  wire [X_SLICES*BEAT_BITS-1:0]  beat;
  genvar s, l;
  generate
    for (l = 0; l < IN_LANES; l = l + 1) begin : g_lane
      wire                  bias = {16'd0, fill_q} + l >= {16'd0, load_count_i};
      wire [INPUT_BITS-1:0] x    = in_data_i[l*INPUT_BITS +: INPUT_BITS];
      assign sign[l] = load_signed_i && !bias && x[INPUT_BITS-1];
      assign magnitude[l*INPUT_BITS +: INPUT_BITS] = bias ? bias_code_i : sign[l] ? -x : x;
    end
    for (s = 0; s < X_SLICES; s = s + 1) begin : g_slice
      for (l = 0; l < IN_LANES; l = l + 1) begin : g_lane
        localparam integer HAVE = (INPUT_BITS - s * DAC_BITS < DAC_BITS) ? INPUT_BITS - s * DAC_BITS : DAC_BITS;
        if (HAVE == DAC_BITS) begin : g_full
          assign beat[s*BEAT_BITS + l*DAC_BITS +: DAC_BITS] = magnitude[l*INPUT_BITS + s*DAC_BITS +: DAC_BITS];
        end else begin : g_part
          assign beat[s*BEAT_BITS + l*DAC_BITS +: DAC_BITS] =
            {{(DAC_BITS - HAVE){1'b0}}, magnitude[l*INPUT_BITS + s*DAC_BITS +: HAVE]};
        end
      end
    end
  endgenerate

  wire        streamed = fill_q < load_count_i;  // else a beat of bias rows alone

  assign in_ready_o = load_en_i && !loaded_q && streamed;
  assign loaded_o   = loaded_q;
  assign loading_o  = fill_q != 16'd0;

  wire        accept    = load_en_i && !loaded_q && (in_valid_i || !streamed);
  wire [15:0] fill_end  = load_count_i + load_bias_i;
  wire [15:0] fill_next = fill_q + IN_LANES[15:0];
  wire [31:0] row_at    = {16'd0, load_base_i + fill_q};  // of the beat's first lane

  genvar b;
  generate
    for (b = 0; b < ROWS / IN_LANES; b = b + 1) begin : g_beat  // the rows that one beat fills
      integer n;
      always @(posedge clk_i or negedge rst_ni) begin
        if (!rst_ni) begin
          for (n = 0; n < X_SLICES; n = n + 1)
            shadow_q[n*LINE_BITS + b*BEAT_BITS +: BEAT_BITS] <= {BEAT_BITS{1'b0}};
          shadow_sign_q[b*IN_LANES +: IN_LANES] <= {IN_LANES{1'b0}};
        end else if (accept && row_at == b * IN_LANES) begin
          for (n = 0; n < X_SLICES; n = n + 1)
            shadow_q[n*LINE_BITS + b*BEAT_BITS +: BEAT_BITS] <= beat[n*BEAT_BITS +: BEAT_BITS];
          shadow_sign_q[b*IN_LANES +: IN_LANES] <= sign;
        end
      end
    end
  endgenerate

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      active_q      <= {X_SLICES{{LINE_BITS{1'b0}}}};
      active_sign_q <= {ROWS{1'b0}};
      fill_q        <= 16'd0;
      loaded_q      <= 1'b0;
    end else begin
      if (accept) begin
        fill_q   <= (fill_next >= fill_end) ? 16'd0 : fill_next;
        loaded_q <= fill_next >= fill_end;
      end
      if (swap_i) begin
        active_q      <= shadow_q;
        active_sign_q <= shadow_sign_q;
        loaded_q      <= 1'b0;
      end
    end
  end

  // Word lines: one slice of the active latches, masked to the driven rows //

  localparam [LINE_BITS-1:0] ALL_ON = {LINE_BITS{1'b1}};

  reg  [LINE_BITS-1:0] wl_q;
  wire [31:0]          off_len  = (ROWS - {16'd0, row_num_i}) * DAC_BITS;
  wire [31:0]          off_low  = {16'd0, row_first_i} * DAC_BITS;

  wire [ROWS-1:0]      sign_of  = swap_i ? shadow_sign_q : active_sign_q;
  wire [LINE_BITS-1:0] sign_on;  // rows of the sign that the phase drives
  genvar k;
  generate
    for (k = 0; k < ROWS; k = k + 1) begin : g_row
      assign sign_on[k*DAC_BITS +: DAC_BITS] = {DAC_BITS{sign_of[k] == phase_i}};
    end
  endgenerate

  wire [LINE_BITS-1:0] code =
      (swap_i ? shadow_q[slice_i*LINE_BITS +: LINE_BITS] : active_q[slice_i*LINE_BITS +: LINE_BITS])
      & ((ALL_ON >> off_len) << off_low) & sign_on & {LINE_BITS{wl_on_i}};

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) wl_q <= {LINE_BITS{1'b0}};
    else if (drive_i) wl_q <= code;
  end

  // Pulses: registered, so that no line has a glitch; the slot counter stops where no code reaches //

  generate
    if (INPUT_MODE == 1) begin : g_pulse
      reg  [ROWS-1:0]      on_q;
      reg  [DAC_BITS-1:0]  slot_q;
      reg                  start_q;
      wire [DAC_BITS-1:0]  slot_next = drive_i ? {DAC_BITS{1'b0}} : (&slot_q) ? slot_q : slot_q + 1'b1;
      wire [LINE_BITS-1:0] code_next = drive_i ? code : wl_q;
      wire [ROWS-1:0]      on_next;
      for (k = 0; k < ROWS; k = k + 1) begin : g_line
        assign on_next[k] = code_next[k*DAC_BITS +: DAC_BITS] > slot_next;
      end
      always @(posedge clk_i or negedge rst_ni) begin
        if (!rst_ni) begin
          on_q    <= {ROWS{1'b0}};
          slot_q  <= {DAC_BITS{1'b0}};
          start_q <= 1'b0;
        end else begin
          on_q    <= on_next;
          slot_q  <= slot_next;
          start_q <= drive_i;
        end
      end
      assign wl_o       = on_q;
      assign wl_start_o = start_q;
    end else begin : g_level
      assign wl_o = wl_q;
      assign wl_start_o = 1'b0;
    end
  endgenerate

  generate
    if (WEIGHT_ENCODING == 1) begin : g_sum
      reg [WL_SUM_BITS-1:0] sum;
      integer r;
      always @* begin
        sum = {WL_SUM_BITS{1'b0}};
        for (r = 0; r < ROWS; r = r + 1)
          sum = sum + {{(WL_SUM_BITS - DAC_BITS){1'b0}}, wl_q[r*DAC_BITS +: DAC_BITS]};
      end
      assign wl_sum_o = sum;
    end else begin : g_no_sum
      assign wl_sum_o = {WL_SUM_BITS{1'b0}};
    end
  endgenerate

endmodule

`default_nettype wire
