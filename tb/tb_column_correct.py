# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/column_correct.v: `golden.column_correct.correct` is the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from twinor.golden import column_correct

from tb.common import bench
from tb.common.probes import junk, spoil
from tb.common.values import has_unknown, lanes, needs_four_states, pack, partly

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Correction(bench.Bench):
    """Table words and codes in, corrected codes out; `gain` and `offset` are what golden believes, int32[cols]."""

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        """An empty table."""
        self.cfg, self.rng = bench.config(), rng
        self.gain, self.offset = np.zeros((2, self.cfg.cols), dtype=np.int32)
        super().__init__(dut)

    async def start(self) -> None:
        """Reset, every input at rest."""
        await self.reset(table_we_i=0, done_i=0, code_i=0)
        self.rest()

    def rest(self) -> None:
        """No word and no codes: what comes with them is X or anything."""
        self.dut.table_we_i.value = self.dut.done_i.value = 0
        for port in (self.dut.table_addr_i, self.dut.table_data_i, self.dut.mux_i):
            junk(port, self.rng)

    async def word(self, address: int, value: int, bits: int) -> None:
        """One word; data above its bits is X."""
        self.dut.table_we_i.value, self.dut.table_addr_i.value = 1, address
        self.dut.table_data_i.value = partly(value & (1 << bits) - 1, 32, (1 << bits) - 1)
        await self.cycle()
        self.rest()

    async def load(self, column: int, gain: int, offset: int) -> None:
        """Both words of a column, in any order."""
        for which in self.rng.permutation(2).tolist():
            value, bits = ((gain, column_correct.GAIN_BITS), (offset, column_correct.OFFSET_BITS))[which]
            await self.word(2 * column + which, value, bits)
        self.gain[column], self.offset[column] = gain, offset

    async def fill(self) -> None:
        """Gains and offsets of every column: the ends, identity with and without rounding, and anything."""
        for column in range(self.cfg.cols):
            gain = int(self.rng.choice([0, 1, 255, 256, 257, 1023, self.rng.integers(1024)]))
            offset = int(self.rng.choice([-32768, 32767, 0, 128, -128, self.rng.integers(-32768, 32768)]))
            await self.load(column, gain, offset)

    async def position(self, mux: int) -> None:
        """The last trial of a position."""
        self.dut.done_i.value, self.dut.mux_i.value = 1, mux
        await self.cycle()
        self.rest()

    async def compare(self, mux: int, codes: NDArray[np.int64]) -> None:
        """Codes of one position, after its last trial."""
        cfg = self.cfg
        self.dut.code_i.value = pack(codes.tolist(), cfg.code_bits)
        await self.cycle()
        columns = slice(mux * cfg.n_adcs, (mux + 1) * cfg.n_adcs)
        wanted = column_correct.correct(cfg, codes, self.gain[columns], self.offset[columns]).tolist()
        got = lanes(self.dut.code_o, cfg.code_bits, cfg.n_adcs)
        assert got == wanted, f"position {mux}, codes {codes.tolist()} at {bench.now()}: expected {wanted}, got {got}"


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated block is what the configuration says."""
    bench.parameters_equal_configuration(dut, "column_correct")


@cocotb.test
async def every_code_of_every_column_is_corrected_as_in_golden(dut: Any) -> None:
    """Tables at their ends and anywhere, every code at every position, another code on each ADC."""
    rng = bench.generator("codes")
    unit = Correction(dut, rng)
    cfg = unit.cfg
    await unit.start()
    codes = np.arange(cfg.code_min, cfg.code_max + 1)
    for _ in range(4):
        await unit.fill()
        for mux in rng.permutation(cfg.cols_per_adc).tolist():
            await unit.position(mux)
            for n in range(len(codes)):
                await unit.compare(mux, codes[(n + 5 * np.arange(cfg.n_adcs)) % len(codes)])


@cocotb.test
async def the_position_of_the_last_trial_counts_until_the_next(dut: Any) -> None:
    """The multiplexer moves on, and is X, while codes wait; single columns are written anew between."""
    rng = bench.generator("positions")
    unit = Correction(dut, rng)
    cfg = unit.cfg
    await unit.start()
    await unit.fill()
    for _ in range(40):
        mux = int(rng.integers(cfg.cols_per_adc))
        await unit.position(mux)
        for _ in range(int(rng.integers(4))):
            await unit.cycle()
        await unit.compare(mux, rng.integers(cfg.code_min, cfg.code_max + 1, cfg.n_adcs))
        column = int(rng.integers(cfg.cols))
        await unit.load(column, int(rng.integers(1024)), int(rng.integers(-32768, 32768)))
        await unit.compare(mux, rng.integers(cfg.code_min, cfg.code_max + 1, cfg.n_adcs))


@cocotb.test
async def words_of_columns_that_do_not_exist_change_nothing(dut: Any) -> None:
    """Addresses past the last column, one in each bit above."""
    rng = bench.generator("nowhere")
    unit = Correction(dut, rng)
    cfg = unit.cfg
    await unit.start()
    await unit.fill()
    past = [2 * cfg.cols, 2 * cfg.cols + 1, *(1 << bit | low for bit in range(12) for low in (0, 1, 2, 3))]
    for address in (address for address in past if address >= 2 * cfg.cols):
        await unit.word(address, int(rng.integers(1 << 16)), 16)
    for mux in range(cfg.cols_per_adc):
        await unit.position(mux)
        await unit.compare(mux, rng.integers(cfg.code_min, cfg.code_max + 1, cfg.n_adcs))


@cocotb.test
async def reset_keeps_the_table(dut: Any) -> None:
    """The position goes back to 0, what was written stays."""
    unit = Correction(dut, bench.generator("reset"))
    cfg = unit.cfg
    await unit.start()
    await unit.fill()
    await unit.position(cfg.cols_per_adc - 1)
    await unit.start()
    await unit.compare(0, unit.rng.integers(cfg.code_min, cfg.code_max + 1, cfg.n_adcs))


@cocotb.test
@needs_four_states
async def a_column_that_was_never_written_has_an_unknown_code(dut: Any) -> None:
    """X in gain or offset makes that column's code X, never a number, and no other's; without correction codes pass."""
    unit = Correction(dut, bench.generator("unknown"))
    cfg = unit.cfg
    await unit.start()
    if not cfg.column_correction:
        await unit.compare(0, np.full(cfg.n_adcs, cfg.code_max))
        return
    await unit.fill()
    await unit.position(0)
    for memory in (dut.g_correct.gain_mem, dut.g_correct.offset_mem):
        await unit.load(0, 256, 0)
        spoil(memory[0])
        dut.code_i.value = pack([1] * cfg.n_adcs, cfg.code_bits)
        await unit.cycle()
        text = str(dut.code_o.value)
        assert has_unknown(dut.code_o) and set(text[: -cfg.code_bits]) <= {"0", "1"}, f"codes {text}"
