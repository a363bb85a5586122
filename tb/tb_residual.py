# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/residual.v: `golden.residual.products` is the model of every product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from twinor.config import MULT_BITS
from twinor.golden import residual

from tb.common import bench
from tb.common.checker import Checker
from tb.common.probes import junk, spoil, uncleared
from tb.common.stream import StreamSource, pauses
from tb.common.values import has_unknown, lanes, needs_four_states, to_int, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

INPUTS = ("table_we_i", "table_addr_i", "table_data_i", "want_i", "col_i", "lanes_i", "take_i")


@dataclass(frozen=True)
class Position:
    """Columns of one multiplexer position: its first one, and their codes, int64[lanes]."""

    col: int
    codes: NDArray[np.int64]


class Residual(bench.Bench):
    """Source of codes, and the parts of the sequencer and of shift-add; `mult` is the table, int64[cols]."""

    def __init__(self, dut: Any, rng: np.random.Generator, *, idle: float = 0.0) -> None:
        """Wire everything; `idle` is the share of cycles in which the source offers nothing."""
        self.cfg = cfg = bench.config()
        self.rng, self.idle = rng, idle
        self.source = StreamSource(dut, "", {"data_i": cfg.input_bits + 1}, idle=pauses(rng, idle))
        self.check: Checker[list[int]] = Checker("products")
        self.mult = np.zeros(cfg.out_cols, dtype=np.int64)
        super().__init__(dut, self.source)

    async def start(self) -> None:
        """Reset with every input at rest; the table stays."""
        await self.reset(data_i=0, **dict.fromkeys(INPUTS, 0))

    async def write(self, address: int, data: int) -> None:
        """One word of the column table; then its address and data are junk."""
        self.dut.table_we_i.value, self.dut.table_addr_i.value, self.dut.table_data_i.value = 1, address, data
        await self.cycle()
        self.dut.table_we_i.value = 0
        junk(self.dut.table_addr_i, self.rng)
        junk(self.dut.table_data_i, self.rng)

    async def write_table(self, mult: NDArray[np.int64]) -> None:
        """The whole table in random order, and words that are no multiplier of a column that exists."""
        for column in self.rng.permutation(self.cfg.out_cols).tolist():
            low = int(self.rng.integers(1 << MULT_BITS))
            await self.write(2 * column, (int(mult[column]) << MULT_BITS | low) & 0xFFFFFFFF)
            await self.write(2 * column + 1, int(self.rng.integers(1 << 32)))
        beyond = (self.cfg.out_cols, (1 << 14) - 1, *(self.cfg.out_cols + (1 << n) for n in range(4, 13)))
        for column in (column for column in beyond if self.cfg.out_cols <= column < 1 << 14):
            await self.write(2 * column, int(self.rng.integers(1 << 32)))
        self.mult = mult

    async def run_position(self, position: Position, after: Position | None) -> None:
        """Collect the codes of a position, see full, take them; the next one's are on offer meanwhile."""
        dut, count, late = self.dut, len(position.codes), self.source.sent
        dut.want_i.value, dut.col_i.value, dut.lanes_i.value = 1, position.col, count
        columns = slice(position.col, position.col + count)
        self.check.expect(residual.products(position.codes, self.mult[columns]).tolist())
        await bench.settle()
        while (have := self.source.sent - late) < count:
            assert not self.read("full_o"), f"full_o with {have} of {count} codes at {bench.now()}"
            assert await self.cycle("ready_o"), f"ready_o is low with {have} of {count} codes at {bench.now()}"
        for _ in range(int(self.rng.integers(0, 3)) if self.idle else 0):
            assert self.read("full_o") and not await self.cycle("ready_o"), f"codes that are in, at {bench.now()}"
        assert self.read("full_o"), f"full_o is low with all codes at {bench.now()}"
        self.check.got(lanes(dut.product_o, self.cfg.residual_bits, count), time=bench.now())
        dut.take_i.value = 1
        assert not await self.cycle("ready_o"), f"a code moves in the cycle of take_i at {bench.now()}"
        dut.take_i.value = 0
        if after is None or self.rng.random() < self.idle:
            dut.want_i.value = 0
            junk(dut.col_i, self.rng)
            dut.lanes_i.value = self.cfg.n_lanes
            sent = self.source.sent
            assert not await self.cycle("ready_o") and self.source.sent == sent, f"ready_o unwanted at {bench.now()}"

    async def run_positions(self, positions: list[Position]) -> None:
        """All codes are on offer from the start."""
        top = 1 << (self.cfg.input_bits + 1)
        self.source.send({"data_i": int(code) % top} for position in positions for code in position.codes)
        for position, after in zip(positions, [*positions[1:], None], strict=True):
            await self.run_position(position, after)
        assert self.source.empty
        self.check.finish()
        cocotb.log.info("%d positions compared", self.check.compared)

    def positions(self, count: int) -> Iterator[Position]:
        """Random positions, the last columns of the table among them, some or all lanes."""
        cfg, limit = self.cfg, 1 << self.cfg.input_bits
        for _ in range(count):
            col = int(self.rng.integers(cfg.cols_per_adc)) * cfg.n_lanes
            lanes_used = int(self.rng.integers(1, cfg.n_lanes + 1))
            yield Position(col, self.rng.integers(-limit, limit, lanes_used))

    def random_table(self) -> NDArray[np.int64]:
        """Multipliers over their whole range, both ends among them."""
        limit = 1 << (MULT_BITS - 1)
        table = self.rng.integers(-limit, limit, self.cfg.out_cols)
        table[self.rng.permutation(self.cfg.out_cols)[:2]] = (-limit, limit - 1)
        return table


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated block is what the configuration says."""
    bench.parameters_equal_configuration(dut, "residual")


@cocotb.test
async def every_code_times_the_ends_of_the_multiplier_is_exact(dut: Any) -> None:
    """Every code in every lane and column with the smallest, largest and unit multipliers."""
    unit = Residual(dut, bench.generator("ends"))
    await unit.start()
    cfg, limit = unit.cfg, 1 << (MULT_BITS - 1)
    codes = range(-(1 << cfg.input_bits), 1 << cfg.input_bits)
    for mult in (-limit, limit - 1, -1, 1, 0):
        await unit.write_table(np.full(cfg.out_cols, mult))
        await unit.run_positions([Position(0, np.full(cfg.n_lanes, code)) for code in codes])


@cocotb.test
async def products_match_golden_at_full_rate(dut: Any) -> None:
    """A table of its own for every column; a code a cycle, one cycle lost to each take."""
    unit = Residual(dut, bench.generator("full rate"))
    await unit.start()
    for _ in range(3):
        await unit.write_table(unit.random_table())
        positions = list(unit.positions(40))
        began = unit.cycles
        await unit.run_positions(positions)
        beats = sum(len(position.codes) for position in positions)
        assert unit.cycles - began == beats + len(positions) + 1, f"{unit.cycles - began} cycles for {beats} codes"


@cocotb.test
async def products_match_golden_under_random_traffic(dut: Any) -> None:
    """Late codes, late takes, columns that are not wanted between."""
    unit = Residual(dut, bench.generator("traffic"), idle=0.4)
    await unit.start()
    for _ in range(3):
        await unit.write_table(unit.random_table())
        await unit.run_positions(list(unit.positions(40)))


@cocotb.test
async def ready_does_not_depend_on_valid(dut: Any) -> None:
    """valid_i toggles within the cycle: ready_o stays as it is; take_i changes neither ready_o nor full_o."""
    unit = Residual(dut, bench.generator("ready"))
    await unit.start()
    unit.agents = ()
    dut.lanes_i.value, dut.data_i.value = unit.cfg.n_lanes, 0
    for _ in range(60):
        dut.want_i.value, dut.valid_i.value = (int(bit) for bit in unit.rng.integers(0, 2, 2))
        dut.take_i.value = int(unit.read("full_o") and unit.rng.integers(2))
        await bench.settle()
        await unit.independent("ready_o", "valid_i", "take_i")
        await unit.independent("full_o", "valid_i", "take_i")
        await unit.cycle()


@cocotb.test
@needs_four_states
async def an_unknown_code_or_multiplier_makes_its_own_product_unknown(dut: Any) -> None:
    """X in one code, or in the multiplier of one column: that lane's product is X and no other."""
    unit = Residual(dut, bench.generator("unknown"))
    cfg, unit.agents = unit.cfg, ()
    await unit.start()
    await unit.write_table(unit.random_table())
    for bad in {0, cfg.n_lanes - 1}:
        for what in ("code", "multiplier"):
            await unit.start()
            before = dut.mult_mem[bad].value
            if what == "multiplier":
                spoil(dut.mult_mem[bad])
            dut.want_i.value, dut.col_i.value, dut.lanes_i.value, dut.valid_i.value = 1, 0, cfg.n_lanes, 1
            for lane in range(cfg.n_lanes):
                dut.data_i.value = unknown(cfg.input_bits + 1) if lane == bad and what == "code" else 1
                await unit.cycle()
            dut.valid_i.value = 0
            text = str(dut.product_o.value).upper()
            width = cfg.residual_bits
            words = [text[len(text) - (n + 1) * width :][:width] for n in range(cfg.n_lanes)]
            assert [n for n, word in enumerate(words) if "X" in word] == [bad], f"{what} of lane {bad}: {words}"
            assert not has_unknown(dut.full_o) and to_int(dut.full_o)
            dut.mult_mem[bad].value = before
            await unit.cycle()


@cocotb.test
async def reset_drops_codes_that_wait(dut: Any) -> None:
    """A reset with some lanes' codes in: the next position collects all of its own."""
    unit = Residual(dut, bench.generator("reset"))
    await unit.start()
    await unit.write_table(unit.random_table())
    unit.source.send([{"data_i": 1}])
    dut.want_i.value, dut.lanes_i.value = 1, unit.cfg.n_lanes
    for _ in range(2):
        await unit.cycle()
    dut.rst_ni.value = 0
    await bench.settle()
    assert not uncleared(dut), f"registers {uncleared(dut)} are not 0 under reset"
    assert not unit.read("product_o") and not unit.read("full_o")
    await unit.start()
    await unit.run_positions(list(unit.positions(10)))
