// SPDX-License-Identifier: Apache-2.0
//
// Behavioural flash array: the bit-line currents that the driven word lines draw from the die's integers.
//
//   current[b] = sum over rows r of cell[r, wl[r]][b]     cell[r, x][b] = strength[r, b] * drive[r, x]
//   INPUT_MODE 1 (pulse_width): a word line is one bit, and its rising current adds up slot by slot to the same sum:
//   charge[b] += cell[r, s + 1][b] - cell[r, s][b] in slot s for each row that is high; a drive begins anew at 0
//   pulse: erase lowers the threshold of every cell by (move * speed) >> 8, a coarse or fine pulse raises that of the
//          selected cells so, and that of the other cells of its row by the disturb; strength = table[threshold]
//
// Golden twin : model/twinor/golden/flash_array.py
// Spec        : rtl/sim/flash_array.md
// Memory      : +cells=FILE, $readmemh; word r * 2**DAC_BITS + x holds all bit lines, bit line 0 in the low bits.
//               +moves +strengths +drives: what pulses need; +states: the cells before the first one, instead of +cells.

`default_nettype none

module flash_array #(
  parameter integer ROWS            = 1,
  parameter integer DAC_BITS        = 1,
  parameter integer INPUT_MODE      = 0,
  parameter integer WL_BITS         = 1,  // 1, or DAC_BITS for levels
  parameter integer N_ADCS          = 1,
  parameter integer W_SLICES        = 1,
  parameter integer WEIGHT_ENCODING = 0,
  parameter integer BIT_LINES       = 1,
  parameter integer CURRENT_BITS    = 8
) (
  input  wire                              clk_i,
  input  wire [ROWS*WL_BITS-1:0]           wl_i,
  input  wire                              wl_start_i,     // pulse_width: slot 0
  output wire [BIT_LINES*CURRENT_BITS-1:0] current_o,

  // Pulses: applied at the first rising edge with pulse_i
  input  wire                              pulse_i,
  input  wire [1:0]                        pulse_kind_i,   // 0 erase, 1 coarse, 2 fine
  input  wire [7:0]                        pulse_level_i,
  input  wire [N_ADCS-1:0]                 pulse_mask_i,
  input  wire [7:0]                        w_slice_i,
  input  wire [1:0]                        line_sel_i,     // 1 plus line, 2 minus line
  input  wire [15:0]                       mux_i
);

  localparam integer LEVELS        = 1 << DAC_BITS;
  localparam integer LINES         = (WEIGHT_ENCODING == 0) ? 2 : 1;
  localparam integer THRESHOLD_MAX = (1 << 14) - 1;

  reg [BIT_LINES*CURRENT_BITS-1:0] cell_mem [0:ROWS*LEVELS-1];
  wire [ROWS-1:0]                  driven;   // word lines that are on
  reg [8*1024-1:0]                 file;

  // Cells that can be programmed: {speed, threshold} of cell r * BIT_LINES + b //

  reg [31:0]             state_mem    [0:ROWS*BIT_LINES-1];
  reg [31:0]             move_mem     [0:3*256];           // by kind and level, then the disturb
  reg [31:0]             strength_mem [0:THRESHOLD_MAX];   // by threshold
  reg [31:0]             drive_mem    [0:ROWS*LEVELS-1];
  reg [BIT_LINES-1:0]    chosen;
  reg [CURRENT_BITS-1:0] product;
  reg                    pulse_q;
  reg                    change_q;  // flips with every pulse
  reg                    known;     // what a pulse is and where; else it leaves X behind
  integer                row, b, x, a, moved;

  task refresh;  // currents of one row after its thresholds have changed
    for (b = 0; b < BIT_LINES; b = b + 1)
      for (x = 1; x < LEVELS; x = x + 1) begin
        product = strength_mem[state_mem[row*BIT_LINES+b][13:0]] * drive_mem[row*LEVELS+x];
        cell_mem[row*LEVELS+x][b*CURRENT_BITS +: CURRENT_BITS] = product;
      end
  endtask

  task move_cell;  // one cell, by one pulse
    begin
      moved = (move_mem[pulse_kind_i*256+pulse_level_i] * state_mem[row*BIT_LINES+b][31:16]) >> 8;
      if (pulse_kind_i == 2'd0) moved = -moved;
      else if (!chosen[b]) moved = move_mem[3*256];
      moved = moved + state_mem[row*BIT_LINES+b][15:0];
      if (!known) moved = 32'bx;
      state_mem[row*BIT_LINES+b][15:0] = (moved < 0) ? 0 : (moved > THRESHOLD_MAX) ? THRESHOLD_MAX : moved;
    end
  endtask

  initial begin
    change_q = 1'b0;
    if ($value$plusargs("cells=%s", file)) $readmemh(file, cell_mem);
    if ($value$plusargs("moves=%s", file)) $readmemh(file, move_mem);
    if ($value$plusargs("strengths=%s", file)) $readmemh(file, strength_mem);
    if ($value$plusargs("drives=%s", file)) $readmemh(file, drive_mem);
    if ($value$plusargs("states=%s", file)) begin
      $readmemh(file, state_mem);
      for (row = 0; row < ROWS; row = row + 1) refresh;
    end
  end

  always @(posedge clk_i) begin
    pulse_q <= pulse_i;
    if (pulse_i !== 1'b0 && pulse_q !== 1'b1) begin
      known  = ^{pulse_i, pulse_kind_i, pulse_level_i} !== 1'bx;
      if (pulse_kind_i !== 2'd0) known = known && ^{pulse_mask_i, w_slice_i, line_sel_i, mux_i} !== 1'bx;
      chosen = {BIT_LINES{1'b0}};
      for (a = 0; a < N_ADCS; a = a + 1)
        chosen[((mux_i*N_ADCS+a)*W_SLICES+w_slice_i)*LINES+((LINES == 2) ? line_sel_i-1 : 0)] = pulse_mask_i[a];
      for (row = 0; row < ROWS; row = row + 1)
        if (pulse_kind_i == 2'd0 || driven[row]) begin
          for (b = 0; b < BIT_LINES; b = b + 1) move_cell;
          refresh;
        end
      change_q <= !change_q;
    end
  end

  // Charge: whole words add up, so steps may be negative; a pulse that is not high from slot 0 on, or too long, is X. //

  generate
    if (INPUT_MODE == 1) begin : g_charge
      reg [BIT_LINES*CURRENT_BITS-1:0] charge, charge_q;
      reg [ROWS-1:0]                   high_q;   // in the slot before
      integer                          slot, s;

      always @(posedge clk_i)
        if (pulse_i !== 1'b1) begin
          if (wl_start_i !== 1'b0) begin
            charge = {(BIT_LINES * CURRENT_BITS){(wl_start_i === 1'b1) ? 1'b0 : 1'bx}};
            slot   = 0;
          end
          for (s = 0; s < ROWS; s = s + 1)
            if (wl_i[s] !== 1'b0) begin
              charge = charge + cell_mem[s * LEVELS + ((slot < LEVELS - 1) ? slot + 1 : 0)];
              if (slot != 0) charge = charge - cell_mem[s * LEVELS + slot];
              if (wl_i[s] !== 1'b1 || slot >= LEVELS - 1 || (slot != 0 && high_q[s] !== 1'b1))
                charge = {(BIT_LINES * CURRENT_BITS){1'bx}};
            end
          if (slot < LEVELS - 1) slot = slot + 1;
          high_q   = wl_i;
          charge_q <= charge;
        end

      assign driven    = wl_i;
      assign current_o = charge_q;
    end else begin : g_current
      reg [BIT_LINES*CURRENT_BITS-1:0] current;
      reg [ROWS-1:0]                   on;
      integer                          r;
      wire                             unused_start = wl_start_i;

      // Lanes are unsigned and wide enough not to carry into each other, so one wide sum adds every bit line.
      always @(wl_i or change_q) begin
        current = {(BIT_LINES * CURRENT_BITS){1'b0}};
        on      = {ROWS{1'bx}};
        if (^wl_i === 1'bx) current = {(BIT_LINES * CURRENT_BITS){1'bx}};
        else
          for (r = 0; r < ROWS; r = r + 1) begin
            on[r] = wl_i[r*WL_BITS +: WL_BITS] != 0;
            if (on[r])
              current = current + cell_mem[r * LEVELS + wl_i[r*WL_BITS +: WL_BITS]];
          end
      end

      assign driven    = on;
      assign current_o = current;
    end
  endgenerate

endmodule

`default_nettype wire
