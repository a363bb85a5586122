# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/sim/flash_array.v: `golden.flash_array.currents` is the model, of a die that the Verilog reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from cocotb.types import LogicArray
from twinor.golden import flash_array

from tb.common import bench
from tb.common.checker import Checker
from tb.common.values import has_unknown, needs_four_states, pack, to_int, unknown, unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXHAUST_BITS = 8
"""Up to this many word-line bits every pattern is driven."""


class Array:
    """Drives word lines and compares all bit-line currents with golden."""

    def __init__(self, dut: Any) -> None:
        """The configuration and the die of this run."""
        self.dut, self.cfg, self.die = dut, bench.config(), bench.die()
        self.check: Checker[list[int]] = Checker("currents")

    async def drive(self, lines: NDArray[np.uint8]) -> None:
        """One word-line pattern, uint8[rows]."""
        cfg, die = self.cfg, self.die
        self.dut.wl_i.value = pack(lines.tolist(), cfg.dac_bits)
        await bench.settle()
        golden = flash_array.currents(die.strength[0], die.drive[0], lines[None])[0]
        self.check.expect(golden.tolist())
        got = unpack(to_int(self.dut.current_o), cfg.current_bits, cfg.bit_lines)
        self.check.got(got, time=bench.now())


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated block is what the configuration says."""
    bench.parameters_equal_configuration(dut, "flash_array")


@cocotb.test
async def currents_match_golden_for_every_pattern(dut: Any) -> None:
    """Every word-line pattern at `tiny`; elsewhere each row and code alone, and random patterns of any density."""
    rng = bench.generator("patterns")
    array = Array(dut)
    cfg = array.cfg
    bits, top = cfg.rows * cfg.dac_bits, 1 << cfg.dac_bits
    await array.drive(np.zeros(cfg.rows, dtype=np.uint8))
    if bits <= EXHAUST_BITS:
        for word in range(1 << bits):
            await array.drive(np.array(unpack(word, cfg.dac_bits, cfg.rows), dtype=np.uint8))
    else:
        for row in range(cfg.rows):
            alone = np.zeros(cfg.rows, dtype=np.uint8)
            alone[row] = row % (top - 1) + 1
            await array.drive(alone)
        for _ in range(60):
            lines = rng.integers(0, top, cfg.rows).astype(np.uint8)
            lines[rng.random(cfg.rows) < rng.random()] = 0
            lines[cfg.active_rows :] = 0  # what the macro can drive at once
            await array.drive(np.roll(lines, int(rng.integers(cfg.rows))))
    array.check.finish()
    cocotb.log.info("%d patterns compared", array.check.compared)


@cocotb.test
async def the_largest_current_does_not_spill_into_the_next_bit_line(dut: Any) -> None:
    """All rows of a group at the top code, in every group: the sum that lanes are sized for."""
    array = Array(dut)
    cfg = array.cfg
    for first in range(0, cfg.rows, cfg.active_rows):
        lines = np.zeros(cfg.rows, dtype=np.uint8)
        lines[first : first + cfg.active_rows] = (1 << cfg.dac_bits) - 1
        await array.drive(lines)
    array.check.finish()


@cocotb.test
@needs_four_states
async def one_unknown_word_line_makes_every_current_unknown(dut: Any) -> None:
    """X or Z on any single word-line bit: all currents are X in every bit; they recover with the next pattern."""
    array = Array(dut)
    cfg = array.cfg
    bits = cfg.rows * cfg.dac_bits
    for bit in {0, 1, bits // 2, bits - 1}:
        for letter in "XZ":
            text = ["0"] * bits
            text[bits - 1 - bit] = letter
            dut.wl_i.value = LogicArray("".join(text))
            await bench.settle()
            assert set(str(dut.current_o.value).upper()) == {"X"}, f"word-line bit {bit} at {letter}"
        await array.drive(np.ones(cfg.rows, dtype=np.uint8) * (np.arange(cfg.rows) < cfg.active_rows))
    assert not has_unknown(dut.current_o)
    array.check.finish()


@cocotb.test
@needs_four_states
async def a_row_without_cells_is_unknown_only_while_it_is_driven(dut: Any) -> None:
    """Memory words that hold X, as without a die: X with their row driven, golden with others, 0 with none."""
    array = Array(dut)
    cfg = array.cfg
    levels, width = 1 << cfg.dac_bits, cfg.current_bits
    for row in {0, cfg.rows - 1}:
        words = [dut.cell_mem[row * levels + x] for x in range(levels)]
        before = [word.value for word in words]
        for word in words:
            word.value = unknown(len(word))
        await array.drive(np.zeros(cfg.rows, dtype=np.uint8))
        dut.wl_i.value = levels - 1 << row * cfg.dac_bits
        await bench.settle()
        text = str(dut.current_o.value).upper()
        currents = [text[n : n + width] for n in range(0, len(text), width)]
        assert all("X" in current for current in currents), f"row {row} has no cells, yet currents {currents}"
        near = np.abs(np.arange(cfg.rows) - row)
        await array.drive(((near > 0) & (near < cfg.active_rows)).astype(np.uint8))
        for word, value in zip(words, before, strict=True):
            word.value = value
        await bench.settle()
    await array.drive((np.arange(cfg.rows) < cfg.active_rows).astype(np.uint8))
    array.check.finish()
