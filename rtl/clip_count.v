// SPDX-License-Identifier: Apache-2.0
//
// Clip counters: how many codes of columns in use lie at either end of the ADC's range.
//
//   low  = #{codes == CODE_MIN}, high = #{codes == CODE_MAX}     since the last clear, saturating at 2**32 - 1
//
// Golden twin : model/twinor/golden/clip_count.py
// Spec        : rtl/clip_count.md
// Latency     : the counters change with the clock edge at which codes are taken.

`default_nettype none

module clip_count #(
  parameter integer N_ADCS          = 1,
  parameter integer ADC_BITS        = 2,
  parameter integer CODE_BITS       = 3,
  parameter integer WEIGHT_ENCODING = 0   // 0 (differential): codes are signed, -2**(ADC_BITS-1) .. 2**(ADC_BITS-1)-1
) (
  input  wire                        clk_i,
  input  wire                        rst_ni,

  // Codes of one multiplexer position, as the ADCs made them
  input  wire                        take_i,   // the codes are taken at the end of this cycle
  input  wire [15:0]                 lanes_i,  // ADCs whose columns are in use, 1 .. N_ADCS
  input  wire [N_ADCS*CODE_BITS-1:0] code_i,

  // Counters
  input  wire                        clear_i,  // start anew; codes taken in the same cycle count already
  output wire [31:0]                 low_o,
  output wire [31:0]                 high_o
);

  localparam [CODE_BITS-1:0] HALF     = (WEIGHT_ENCODING == 0) ? {2'b01, {(CODE_BITS - 2){1'b0}}} : {CODE_BITS{1'b0}};
  localparam [CODE_BITS-1:0] CODE_MIN = -HALF;
  localparam [CODE_BITS-1:0] CODE_MAX = {1'b0, {ADC_BITS{1'b1}}} - HALF;

  // Codes at each end; a comparison is data, so that an unknown code makes an unknown count //

  reg [32:0] lows, highs;
  integer    a;

  always @* begin
    lows  = 33'd0;
    highs = 33'd0;
    for (a = 0; a < N_ADCS; a = a + 1) begin
      lows  = lows + {32'd0, a < {16'd0, lanes_i} && code_i[a*CODE_BITS +: CODE_BITS] == CODE_MIN};
      highs = highs + {32'd0, a < {16'd0, lanes_i} && code_i[a*CODE_BITS +: CODE_BITS] == CODE_MAX};
    end
  end

  // Saturating counters //

  reg  [31:0] low_q, high_q;
  wire [32:0] low  = {1'b0, low_q & {32{!clear_i}}} + (lows & {33{take_i}});
  wire [32:0] high = {1'b0, high_q & {32{!clear_i}}} + (highs & {33{take_i}});

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      low_q  <= 32'd0;
      high_q <= 32'd0;
    end else begin
      low_q  <= low[31:0] | {32{low[32]}};
      high_q <= high[31:0] | {32{high[32]}};
    end
  end

  assign low_o  = low_q;
  assign high_o = high_q;

endmodule

`default_nettype wire
