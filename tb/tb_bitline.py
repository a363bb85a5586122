# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/sim/bitline.v: `golden.bitline.column_quantity` is the model."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from cocotb.types import LogicArray
from twinor.golden import bitline

from tb.common import bench
from tb.common.checker import Checker
from tb.common.values import needs_four_states, pack, signed, to_int, unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Lines:
    """Drives currents and a weight slice, and compares all column quantities with golden."""

    def __init__(self, dut: Any) -> None:
        """The configuration of this run."""
        self.dut, self.cfg = dut, bench.config()
        self.q_bits = self.cfg.current_bits + 1
        self.check: Checker[list[int]] = Checker("column quantities")

    async def drive(self, current: NDArray[np.int64], w_slice: int) -> None:
        """One set of currents, int64[bit_lines], both lines of a pair together and each alone."""
        self.dut.current_i.value = pack(current.tolist(), self.cfg.current_bits)
        self.dut.w_slice_i.value = w_slice
        for line_sel in (1, 2, 0):
            await self.compare(current, w_slice, line_sel)

    async def compare(self, current: NDArray[np.int64], w_slice: int, line_sel: int) -> None:
        """The columns of one selection of lines."""
        self.dut.line_sel_i.value = line_sel
        await bench.settle()
        golden = bitline.column_quantity(self.cfg, current[None], w_slice=w_slice, line_sel=line_sel)[0]
        self.check.expect(golden.tolist())
        words = unpack(to_int(self.dut.q_o), self.q_bits, self.cfg.cols)
        self.check.got([signed(word, self.q_bits) for word in words], time=bench.now())


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated block is what the configuration says."""
    bench.parameters_equal_configuration(dut, "bitline")


@cocotb.test
async def column_quantities_match_golden_in_every_slice(dut: Any) -> None:
    """Each bit line alone, extremes on both lines of a pair, and random currents; every slice, every line selection."""
    rng = bench.generator("currents")
    lines = Lines(dut)
    cfg = lines.cfg
    top = 1 << cfg.current_bits
    for w_slice in range(cfg.w_slices):
        for line in range(cfg.bit_lines):
            await lines.drive((np.arange(cfg.bit_lines) == line) * (top - 1 - line), w_slice)
        for low, high in product((0, top - 1), repeat=2):
            await lines.drive(np.where(np.arange(cfg.bit_lines) % 2, low, high), w_slice)
        for _ in range(100):
            await lines.drive(rng.integers(0, top, cfg.bit_lines), w_slice)
    lines.check.finish()
    cocotb.log.info("%d sets of currents compared", lines.check.compared)


@cocotb.test
@needs_four_states
async def an_unknown_current_makes_its_own_column_unknown(dut: Any) -> None:
    """X on one bit line: the column that reads it is X and no other; an unknown slice leaves none known."""
    lines = Lines(dut)
    cfg = lines.cfg
    per_column = cfg.w_slices * cfg.lines_per_cell
    dut.line_sel_i.value = 0
    for line in range(cfg.bit_lines):
        words = ["0" * cfg.current_bits] * cfg.bit_lines
        words[line] = "X" * cfg.current_bits
        dut.current_i.value = LogicArray("".join(reversed(words)))
        dut.w_slice_i.value = line % per_column // cfg.lines_per_cell
        await bench.settle()
        text = str(dut.q_o.value).upper()
        columns = [text[len(text) - (c + 1) * lines.q_bits :][: lines.q_bits] for c in range(cfg.cols)]
        bad = [c for c, word in enumerate(columns) if "X" in word]
        assert bad == [line // per_column], f"bit line {line}: columns {bad} are unknown"
    dut.current_i.value = 0
    dut.w_slice_i.value = LogicArray("X" * 8)
    await bench.settle()
    text = str(dut.q_o.value).upper()
    columns = [text[n : n + lines.q_bits] for n in range(0, len(text), lines.q_bits)]
    assert all("X" in word for word in columns), f"an unknown slice left columns known: {columns}"


@cocotb.test
@needs_four_states
async def an_unknown_line_selection_leaves_no_pair_known(dut: Any) -> None:
    """X or 3 on the line selection makes every column of pairs X; without pairs it does not count."""
    lines = Lines(dut)
    cfg = lines.cfg
    current = np.arange(cfg.bit_lines) + 1
    await lines.drive(current, 0)
    for text in ("XX", "X1", "0X", "11"):
        dut.line_sel_i.value = LogicArray(text)
        await bench.settle()
        got = str(dut.q_o.value).upper()
        columns = [got[n : n + lines.q_bits] for n in range(0, len(got), lines.q_bits)]
        unknown = cfg.lines_per_cell == 2
        assert all(("X" in word) == unknown for word in columns), f"line selection {text}: columns {columns}"
