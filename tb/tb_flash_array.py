# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/sim/flash_array.v: `golden.flash_array.currents` is the model, of a die that the Verilog reads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from cocotb.types import LogicArray
from twinor.golden import flash_array
from twinor.golden.flash_array import COARSE, ERASE, FINE

from tb.common import bench
from tb.common.checker import Checker
from tb.common.programming import wild_cells
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
        self.cells: flash_array.Cells | None = None
        dut.clk_i.value, dut.pulse_i.value, dut.wl_start_i.value = 0, 0, 0

    async def edge(self) -> None:
        """One rising edge of the clock, before which whatever was driven has settled."""
        await bench.settle()
        for level in (1, 0):
            self.dut.clk_i.value = level
            await bench.settle()

    async def lines(self, codes: list[int]) -> None:
        """Levels, or pulses slot by slot and one slot more, in which all lines are off."""
        cfg, dut = self.cfg, self.dut
        if not cfg.pulsed:
            dut.wl_i.value = pack(codes, cfg.dac_bits)
            await bench.settle()
            return
        for slot in range(cfg.slots + 1):
            dut.wl_start_i.value = int(slot == 0)
            dut.wl_i.value = pack([int(slot < code) for code in codes], 1)
            await self.edge()

    async def blank(self, cells: flash_array.Cells) -> None:
        """Put cells under the array; the first erase pulse brings their currents up to date."""
        self.cells = cells
        words = cells.speed.astype(np.int64) << 16 | cells.threshold
        for word, value in zip(self.dut.state_mem, words.ravel().tolist(), strict=True):
            word.value = value
        self.dut.move_mem[3 * 256].value = cells.tables.disturb
        await bench.settle()
        await self.pulse(ERASE, 0, row=None, place=(0, 0, 0), lanes=np.zeros(self.cfg.n_adcs, bool))

    async def pulse(
        self, kind: int, level: int, *, row: int | None, place: tuple[int, int, int], lanes: NDArray[np.bool_]
    ) -> None:
        """A pulse of some edges on weight slice, line and multiplexer position `place` of a row, in golden too."""
        dut, cfg, cells = self.dut, self.cfg, self.cells
        assert cells is not None
        w_slice, line, mux = place
        dut.wl_i.value = 0 if row is None else (1 << cfg.wl_bits) - 1 << row * cfg.wl_bits
        pins = {"kind": kind, "level": level, "mask": pack(lanes.tolist(), 1)}
        for name, value in pins.items():
            getattr(dut, f"pulse_{name}_i").value = value
        dut.w_slice_i.value, dut.line_sel_i.value, dut.mux_i.value = w_slice, line + 1, mux
        dut.pulse_i.value = 1
        for _ in range(1 + level % 3):
            await self.edge()
        dut.pulse_i.value = 0
        for pin in (dut.pulse_kind_i, dut.pulse_level_i, dut.pulse_mask_i, dut.w_slice_i, dut.line_sel_i, dut.mux_i):
            pin.value = unknown(len(pin))
        await self.edge()
        threshold = cells.threshold.copy()
        if kind == ERASE:
            threshold = flash_array.moved(cells.tables, threshold, cells.speed, kind=kind, level=level)
        elif row is not None:
            columns = mux * cfg.n_adcs + np.flatnonzero(lanes)
            chosen = (columns * cfg.w_slices + w_slice) * cfg.lines_per_cell + line
            threshold[row] = np.minimum(threshold[row] + cells.tables.disturb, flash_array.THRESHOLD_MAX)
            some = cells.threshold[row, chosen], cells.speed[row, chosen]
            threshold[row, chosen] = flash_array.moved(cells.tables, *some, kind=kind, level=level)
        self.cells = replace(cells, threshold=threshold)

    async def drive(self, lines: NDArray[np.uint8]) -> None:
        """One word-line pattern, uint8[rows]."""
        cfg, die = self.cfg, self.die
        await self.lines(lines.tolist())
        strength = die.strength[0] if self.cells is None else self.cells.strength
        golden = flash_array.currents(strength, die.drive[0], lines[None])[0]
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
    bits = cfg.rows * cfg.wl_bits
    for bit in {0, 1, bits // 2, bits - 1}:
        for letter in "XZ":
            text = ["0"] * bits
            text[bits - 1 - bit] = letter
            dut.wl_i.value = LogicArray("".join(text))
            dut.wl_start_i.value = 1
            await (array.edge() if cfg.pulsed else bench.settle())
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
        await array.lines([levels - 1 if n == row else 0 for n in range(cfg.rows)])
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


@cocotb.test
@needs_four_states
async def a_wrong_word_line_pulse_makes_every_current_unknown(dut: Any) -> None:
    """Late, split, too long, an X in it or in its start: X until the next drive; a short one is a smaller code."""
    array = Array(dut)
    cfg = array.cfg
    slots = cfg.slots if cfg.pulsed else 0  # levels have no slots
    wrong = {"too long": [1] * (slots + 1), "after the last slot": [0] * slots + [1]}
    if slots > 1:
        wrong |= {"late": [0, *[1] * (slots - 1)], "split": [1, *[0] * (slots - 2), 1]}
    for name, highs in wrong.items() if slots else ():
        for slot, high in enumerate(highs):
            dut.wl_start_i.value, dut.wl_i.value = int(slot == 0), high << cfg.rows - 1
            await array.edge()
        assert set(str(dut.current_o.value).upper()) == {"X"}, f"a pulse that is {name}"
        await array.drive((np.arange(cfg.rows) < cfg.active_rows).astype(np.uint8))
    if slots:
        dut.wl_start_i.value, dut.wl_i.value = unknown(1), 0
        await array.edge()
        assert set(str(dut.current_o.value).upper()) == {"X"}, "an unknown start"
    await array.drive((np.arange(cfg.rows) < cfg.active_rows).astype(np.uint8))
    array.check.finish()


@cocotb.test
async def pulses_move_the_cells_that_golden_moves(dut: Any) -> None:
    """Erase, coarse and fine pulses of any level on any lanes, stuck and fast cells, disturb: thresholds, currents."""
    rng = bench.generator("pulses")
    array = Array(dut)
    cfg = array.cfg
    await array.blank(wild_cells(cfg, rng))
    group = (np.arange(cfg.rows) < cfg.active_rows).astype(np.uint8)
    for n in range(150 if cfg.rows < 100 else 12):
        kind = int(rng.choice([COARSE, FINE, FINE, ERASE])) if n % 10 else ERASE
        place = tuple(int(rng.integers(top)) for top in (cfg.w_slices, cfg.lines_per_cell, cfg.cols_per_adc))
        row = None if kind == ERASE else int(rng.integers(cfg.rows))
        level = int(rng.integers(256)) if rng.random() < 0.5 else int(rng.integers(40))
        await array.pulse(kind, level, row=row, place=place, lanes=rng.random(cfg.n_adcs) < 0.7)
        assert array.cells is not None
        got = np.array([to_int(word) for word in dut.state_mem]).reshape(cfg.rows, -1) & 0xFFFF
        wrong = np.argwhere(got != array.cells.threshold)
        assert not len(wrong), f"pulse {n}: thresholds of cells {wrong[:4].tolist()} differ from golden's"
        await array.drive(np.roll(group, int(rng.integers(cfg.rows))))
    array.check.finish()


@cocotb.test
@needs_four_states
async def a_pulse_with_anything_unknown_leaves_unknown_cells(dut: Any) -> None:
    """X on kind, level, lanes, slice, line or position, or on the pulse itself: the row's currents are X, never old."""
    array = Array(dut)
    cfg = array.cfg
    lanes = np.ones(cfg.n_adcs, bool)
    for name in ("pulse_i", "pulse_kind_i", "pulse_level_i", "pulse_mask_i", "w_slice_i", "line_sel_i", "mux_i"):
        await array.blank(wild_cells(cfg, bench.generator(name)))
        await array.pulse(COARSE, 9, row=0, place=(0, 0, 0), lanes=lanes)
        await array.lines([(1 << cfg.dac_bits) - 1 if n == 0 else 0 for n in range(cfg.rows)])
        assert not has_unknown(dut.current_o)
        dut.wl_start_i.value, dut.wl_i.value = 0, (1 << cfg.wl_bits) - 1
        pins = {"pulse_kind_i": 1, "pulse_level_i": 3, "pulse_mask_i": 1, "w_slice_i": 0, "line_sel_i": 1, "mux_i": 0}
        for pin, value in (pins | {"pulse_i": 1}).items():
            getattr(dut, pin).value = value
        pin = getattr(dut, name)
        pin.value = unknown(len(pin))
        await array.edge()
        dut.pulse_i.value = 0
        await array.edge()
        known = [b for b in range(cfg.bit_lines) if not has_unknown(dut.state_mem[b])]
        assert not known, f"{name} was X in a pulse, yet cells {known} of row 0 are known"
        await array.lines([(1 << cfg.dac_bits) - 1 if n == 0 else 0 for n in range(cfg.rows)])
        assert has_unknown(dut.current_o), f"{name} was X in a pulse, yet all currents are known"
