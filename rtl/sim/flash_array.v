// SPDX-License-Identifier: Apache-2.0
//
// Behavioural flash array: the bit-line currents that the driven word lines draw from the die's integers.
//
//   current[b] = sum over rows r of cell[r, wl[r]][b]     cell[r, x][b] = strength[r, b] * drive[r, x]
//
// Golden twin : model/twinor/golden/flash_array.py
// Spec        : rtl/sim/flash_array.md
// Memory      : +cells=FILE, $readmemh; word r * 2**DAC_BITS + x holds all bit lines, bit line 0 in the low bits.

`default_nettype none

module flash_array #(
  parameter integer ROWS         = 1,
  parameter integer DAC_BITS     = 1,
  parameter integer BIT_LINES    = 1,
  parameter integer CURRENT_BITS = 8
) (
  input  wire [ROWS*DAC_BITS-1:0]          wl_i,
  output wire [BIT_LINES*CURRENT_BITS-1:0] current_o
);

  localparam integer LEVELS = 1 << DAC_BITS;

  reg [BIT_LINES*CURRENT_BITS-1:0] cell_mem [0:ROWS*LEVELS-1];
  reg [BIT_LINES*CURRENT_BITS-1:0] current;
  reg [8*1024-1:0]                 file;
  integer                          r;

  initial if ($value$plusargs("cells=%s", file)) $readmemh(file, cell_mem);

  // Lanes are unsigned and wide enough not to carry into each other, so one wide sum adds every bit line.
  always @(wl_i) begin
    current = {(BIT_LINES * CURRENT_BITS){1'b0}};
    if (^wl_i === 1'bx) current = {(BIT_LINES * CURRENT_BITS){1'bx}};
    else
      for (r = 0; r < ROWS; r = r + 1)
        if (wl_i[r*DAC_BITS +: DAC_BITS] != 0)
          current = current + cell_mem[r * LEVELS + wl_i[r*DAC_BITS +: DAC_BITS]];
  end

  assign current_o = current;

endmodule

`default_nettype wire
