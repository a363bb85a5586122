// SPDX-License-Identifier: Apache-2.0
//
// Properties of the activation stream of the word-line drivers.

`default_nettype none

module formal_streams_wl_dac #(
  parameter integer ROWS            = 1,
  parameter integer INPUT_BITS      = 1,
  parameter integer DAC_BITS        = 1,
  parameter integer INPUT_MODE      = 0,
  parameter integer WL_BITS         = 1,
  parameter integer X_SLICES        = 1,
  parameter integer IN_LANES        = 1,
  parameter integer WEIGHT_ENCODING = 0,
  parameter integer WL_SUM_BITS     = 1
) (
  input  wire                           clk_i,
  input  wire                           rst_ni,
  input  wire                           in_valid_i,
  input  wire [IN_LANES*INPUT_BITS-1:0] in_data_i,
  input  wire                           load_en_i,
  input  wire [15:0]                    load_base_i,
  input  wire [15:0]                    load_count_i,
  input  wire                           load_signed_i,
  input  wire [15:0]                    load_bias_i,
  input  wire [INPUT_BITS-1:0]          bias_code_i,
  input  wire                           swap_i,
  output wire                           in_ready_o
);

  wire loading, loaded;

  // Word lines stay off: nothing here looks at them.
  wl_dac #(
    .ROWS           (ROWS),
    .INPUT_BITS     (INPUT_BITS),
    .DAC_BITS       (DAC_BITS),
    .INPUT_MODE     (INPUT_MODE),
    .WL_BITS        (WL_BITS),
    .X_SLICES       (X_SLICES),
    .IN_LANES       (IN_LANES),
    .WEIGHT_ENCODING(WEIGHT_ENCODING),
    .WL_SUM_BITS    (WL_SUM_BITS)
  ) dut (
    .clk_i       (clk_i),
    .rst_ni      (rst_ni),
    .in_valid_i  (in_valid_i),
    .in_ready_o  (in_ready_o),
    .in_data_i   (in_data_i),
    .load_en_i   (load_en_i),
    .load_base_i (load_base_i),
    .load_count_i(load_count_i),
    .load_signed_i(load_signed_i),
    .load_bias_i (load_bias_i),
    .bias_code_i (bias_code_i),
    .loading_o   (loading),
    .loaded_o    (loaded),
    .swap_i      (swap_i),
    .drive_i     (1'b0),
    .wl_on_i     (1'b0),
    .slice_i     (8'd0),
    .phase_i     (1'b0),
    .row_first_i (16'd0),
    .row_num_i   (16'd1),
    .wl_o        (),
    .wl_start_o  (),
    .wl_sum_o    ()
  );

  // Rows that came in since the last swap, and what the loading fields were //

  reg        up_q = 1'b0;
  reg        full_q;
  reg [15:0] rows_q, base_q, count_q, bias_q;
  wire       streamed = rows_q < load_count_i;  // else the beat is of bias rows alone
  wire       beat     = streamed ? in_valid_i && in_ready_o : load_en_i && !full_q;

  always @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      rows_q <= 16'd0;
      full_q <= 1'b0;
    end else if (swap_i) begin
      rows_q <= 16'd0;
      full_q <= 1'b0;
    end else if (beat) begin
      rows_q <= rows_q + IN_LANES;
      full_q <= rows_q + IN_LANES >= load_count_i + load_bias_i;
    end
  end
  always @(posedge clk_i) begin
    up_q    <= 1'b1;
    base_q  <= load_base_i;
    count_q <= load_count_i;
    bias_q  <= load_bias_i;
  end

  (* hierconn *) wire [15:0] \dut.fill_q ;
  wire [15:0] fill = \dut.fill_q ;

  // Assumptions //

  // Power comes with the reset active.
  wire a_reset = up_q || !rst_ni;
  // rtl/wl_dac.md: "rows of the vector, at least 1"
  wire a_count = load_count_i >= 1 && load_base_i < ROWS && load_count_i <= ROWS && load_bias_i < ROWS
                 && load_base_i + load_count_i + load_bias_i <= ROWS;
  // rtl/wl_dac.md: "stable from the first beat to the swap"
  wire a_stable = rows_q == 0 || (load_base_i == base_q && load_count_i == count_q && load_bias_i == bias_q);
  // rtl/wl_dac.md: "one cycle, only while `loaded_o` is high"
  wire a_swap = !swap_i || loaded;

  // Properties //

  // A beat may move while loading is enabled and rows of activations are to come, and only then.
  wire p_ready = in_ready_o == (load_en_i && !full_q && streamed);
  // The vector is in when as many rows as it has came in, and stays until the swap.
  wire p_loaded = loaded == full_q;
  // Some beats but not the last are in.
  wire p_loading = loading == (rows_q != 0 && !full_q);
  // The block counts the rows that came in (needed by the induction).
  wire p_fill = fill == (full_q ? 16'd0 : rows_q);
  // A vector that is not full has rows to come (needed by the induction).
  wire p_short = full_q ? rows_q != 0 : (rows_q == 0 || rows_q < count_q + bias_q);
  // A vector never takes more than its rows and the surplus lanes of its last beat.
  wire p_rows = rows_q < ROWS + IN_LANES;

  always @* begin
    assume (a_reset);
    assume (a_count);
    assume (a_stable);
    assume (a_swap);
    assert (p_ready);
    assert (p_loaded);
    assert (p_loading);
    assert (p_fill);
    assert (p_short);
    assert (p_rows);
  end

endmodule

`default_nettype wire
