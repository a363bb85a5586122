# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/requantize.v: `golden.requantize` is the model of every output."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from twinor.config import ADD_BITS, MULT_BITS, SHIFT_MAX
from twinor.golden.requantize import requantize

from tb.common import bench
from tb.common.checker import Checker
from tb.common.probes import junk, spoil, uncleared
from tb.common.stream import StreamSink, never, pauses
from tb.common.values import pack, partly, signed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray
    from twinor.config import Config

PINS = ("sum_valid_i", "col_i", "lanes_i", "last_i", "raw_i", "shift_i", "lo_i", "hi_i", "sum_i")
TABLE = ("table_we_i", "table_addr_i", "table_data_i")
LATENCY = 2
"""Cycles from the one in which sums are taken to the one that shows their first column."""


@dataclass(frozen=True)
class Sums:
    """Sums of one multiplexer position and what is to be done with them."""

    acc: NDArray[np.int64]
    col: int
    last: bool
    raw: bool
    shift: int
    lo: int
    hi: int


class Requantize(bench.Bench):
    """Table writer, sum driver and output sink."""

    def __init__(self, dut: Any, rng: np.random.Generator, *, idle: float = 0.0, busy: float = 0.0) -> None:
        """Wire everything; `idle` between sums, `busy` for the sink."""
        self.cfg = cfg = bench.config()
        self.rng, self.idle = rng, idle
        self.check: Checker[tuple[int, bool]] = Checker("outputs and last")
        self.mult, self.add = np.zeros((2, cfg.out_cols), dtype=np.int64)
        self.shown: list[int] = []
        self.sink = StreamSink(
            dut, "out", ("data_o", "last_o"), self.took, backpressure=pauses(rng, busy) if busy else never()
        )
        super().__init__(dut, self.sink)

    def took(self, beat: dict[str, int]) -> None:
        """One output has left."""
        self.check.got((signed(beat["data_o"], self.cfg.acc_bits), bool(beat["last_o"])), time=bench.now())
        self.shown.append(self.cycles)

    async def start(self) -> None:
        """Reset with every input at rest; the table keeps its contents."""
        await self.reset(**dict.fromkeys(PINS + TABLE, 0))

    async def write_table(self, mult: NDArray[np.int64], add: NDArray[np.int64]) -> None:
        """All columns, in random order, with idle cycles that carry X or random bits."""
        words = list(enumerate(np.stack([mult, add], axis=1).reshape(-1).tolist()))
        for k in self.rng.permutation(len(words)):
            while self.rng.random() < self.idle:
                junk(self.dut.table_addr_i, self.rng)
                junk(self.dut.table_data_i, self.rng)
                await self.cycle()
            await self.write_word(*words[k])
        self.mult, self.add = mult, add

    async def write_word(self, address: int, data: int) -> None:
        """One word of the column table; the bits above a mult are X."""
        self.dut.table_we_i.value, self.dut.table_addr_i.value = 1, address
        self.dut.table_data_i.value = partly(data, 32, -1 if address % 2 else (1 << MULT_BITS) - 1)
        await self.cycle()
        self.dut.table_we_i.value = 0

    async def offer(self, sums: Sums) -> int:
        """Offer sums until they are taken; returns the cycle in which they were."""
        cfg, acc, dut = self.cfg, sums.acc, self.dut
        columns = slice(sums.col, sums.col + acc.size)
        y = acc
        if not sums.raw:
            mult, add = self.mult[columns], self.add[columns]
            y = requantize(acc, mult, add, shift=sums.shift, lo=sums.lo, hi=sums.hi)
        lasts = [sums.last and k == acc.size - 1 for k in range(acc.size)]
        self.check.expect(*zip(y.tolist(), lasts, strict=True))
        while self.rng.random() < self.idle:
            await self.cycle()
        mask = (1 << cfg.acc_bits) - 1
        width = acc.size * cfg.acc_bits
        dut.sum_i.value = partly(pack(acc.tolist(), cfg.acc_bits), cfg.n_lanes * cfg.acc_bits, (1 << width) - 1)
        dut.col_i.value, dut.lanes_i.value = sums.col, acc.size
        dut.last_i.value, dut.raw_i.value, dut.shift_i.value = int(sums.last), int(sums.raw), sums.shift
        dut.lo_i.value, dut.hi_i.value = sums.lo & mask, sums.hi & mask
        for name in ("shift_i", "lo_i", "hi_i") if sums.raw else ():
            spoil(getattr(dut, name))
        dut.sum_valid_i.value = 1
        while not await self.cycle("sum_ready_o"):
            pass
        self.rest()
        return self.cycles - 1

    def rest(self) -> None:
        """Offer nothing: everything that came with the sums turns to X or random bits."""
        for name in PINS:
            junk(getattr(self.dut, name), self.rng)
        self.dut.sum_valid_i.value = 0

    async def run_all(self, work: Iterable[Sums]) -> None:
        """Offer everything, let it leave, and compare what is left."""
        for sums in work:
            await self.offer(sums)
        await self.run(lambda: not self.check.outstanding, limit=100 * self.cfg.n_lanes)
        for _ in range(3):
            await self.cycle()
        self.check.finish()
        cocotb.log.info("%d outputs compared", self.check.compared)


def corners(bits: int) -> NDArray[np.int64]:
    """Ends, neighbours of zero and powers of two of a signed word."""
    top = 1 << (bits - 1)
    return np.array(sorted({-top, 1 - top, -top // 2, -7, -1, 0, 1, 5, top // 2, top - 2, top - 1}))


def limits(cfg: Config, rng: np.random.Generator) -> tuple[int, int]:
    """Clip limits: activations, logits, everything, a single value, or anything."""
    top = 1 << (cfg.acc_bits - 1)
    wide = min(top, 1 << 19)
    any_two = sorted(rng.integers(-top, top, 2).tolist())
    choices = [(0, 15), (-wide, wide - 1), (-top, top - 1), (any_two[0], any_two[0]), any_two]
    lo, hi = choices[int(rng.integers(len(choices)))]
    return lo, hi


def random_sums(cfg: Config, rng: np.random.Generator, count: int) -> Iterator[Sums]:
    """Sums of corner and random values, any shift, any columns."""
    top = 1 << (cfg.acc_bits - 1)
    for n in range(count):
        lanes = int(rng.integers(1, cfg.n_lanes + 1))
        col = int(rng.integers(0, cfg.cols_per_adc)) * cfg.n_lanes
        acc = np.where(
            rng.random(lanes) < 0.3, rng.choice(corners(cfg.acc_bits), lanes), rng.integers(-top, top, lanes)
        )
        lo, hi = limits(cfg, rng)
        shift = n % SHIFT_MAX + 1
        yield Sums(acc, col, bool(rng.random() < 0.3), bool(rng.random() < 0.2), shift, lo, hi)


def random_table(cfg: Config, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A column table, half of it corner values."""
    tables = []
    for bits in (MULT_BITS, ADD_BITS):
        top = 1 << (bits - 1)
        anything, corner = rng.integers(-top, top, cfg.out_cols), rng.choice(corners(bits), cfg.out_cols)
        tables.append(np.where(rng.random(cfg.out_cols) < 0.5, anything, corner))
    return tables[0], tables[1]


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated block is what the configuration says."""
    bench.parameters_equal_configuration(dut, "requantize")


@cocotb.test
async def corner_operands_match_golden_at_every_shift(dut: Any) -> None:
    """All corners of mult and add at `tiny`, a sample elsewhere; corner sums, every shift, both clips."""
    rng = bench.generator("corners")
    dev = Requantize(dut, rng)
    cfg = dev.cfg
    await dev.start()
    pairs = np.array(list(product(corners(MULT_BITS), corners(ADD_BITS))))
    rng.shuffle(pairs)
    for n in range(0, len(pairs) if cfg.out_cols <= 16 else 2 * cfg.out_cols, cfg.out_cols):
        table = np.resize(np.roll(pairs, -n, axis=0), (cfg.out_cols, 2))
        await dev.write_table(table[:, 0], table[:, 1])
        await dev.run_all(random_sums(cfg, rng, 2 * SHIFT_MAX))


@cocotb.test
async def outputs_match_golden_under_random_traffic(dut: Any) -> None:
    """Random tables and sums; late sums, back-pressure on the outputs, table writes between."""
    rng = bench.generator("traffic")
    dev = Requantize(dut, rng, idle=0.4, busy=0.5)
    await dev.start()
    for _ in range(4):
        await dev.write_table(*random_table(dev.cfg, rng))
        await dev.run_all(random_sums(dev.cfg, rng, 40))


@cocotb.test
async def rounding_is_exact_beside_every_output_step(dut: Any) -> None:
    """Sums one below, at and above the edge of each output 0 .. 15: the shift rounds to minus infinity."""
    rng = bench.generator("steps")
    dev = Requantize(dut, rng)
    cfg = dev.cfg
    await dev.start()
    mult = rng.choice([1, 3, 7, 11, -1, -5, 13], cfg.out_cols)
    shift, half = 5, 1 << 4
    await dev.write_table(mult, np.full(cfg.out_cols, half))
    for phase, y in product(range(min(cfg.cols_per_adc, 2)), range(-1, 17)):
        col = phase * cfg.n_lanes
        edge = -(-((y << shift) - half) // mult[col : col + cfg.n_lanes])
        work = [Sums(edge + offset, col, False, False, shift, 0, 15) for offset in (-1, 0, 1)]
        await dev.run_all(work)


@cocotb.test
async def columns_leave_one_a_cycle_after_the_stated_latency(dut: Any) -> None:
    """With a sink that always takes: first column two cycles after its sums, then one a cycle."""
    rng = bench.generator("latency")
    dev = Requantize(dut, rng)
    await dev.start()
    await dev.write_table(*random_table(dev.cfg, rng))
    for sums in random_sums(dev.cfg, rng, 40):
        dev.shown.clear()
        taken = await dev.offer(sums)
        await dev.run(lambda: not dev.check.outstanding, limit=100)
        wanted = list(range(taken + LATENCY, taken + LATENCY + sums.acc.size))
        assert dev.shown == wanted, f"taken in cycle {taken}: outputs in {dev.shown}, expected {wanted}"
    dev.check.finish()


@cocotb.test
async def sums_back_to_back_leave_without_a_gap(dut: Any) -> None:
    """Sums always on offer and a sink that always takes: an output in every cycle."""
    rng = bench.generator("throughput")
    dev = Requantize(dut, rng)
    await dev.start()
    await dev.write_table(*random_table(dev.cfg, rng))
    await dev.run_all(random_sums(dev.cfg, rng, 30))
    gaps = np.diff(dev.shown)
    assert np.all(gaps == 1), f"outputs in cycles {dev.shown}"


@cocotb.test
async def no_ready_or_valid_depends_on_its_partner(dut: Any) -> None:
    """sum_valid_i and out_ready_i toggle within the cycle: sum_ready_o and out_valid_o stay, full and empty."""
    rng = bench.generator("partners")
    dev = Requantize(dut, rng)
    await dev.start()
    dev.agents = ()
    for _ in range(200):
        dut.lanes_i.value = int(rng.integers(1, dev.cfg.n_lanes + 1))
        dut.sum_valid_i.value, dut.out_ready_i.value = (int(bit) for bit in rng.integers(0, 2, 2))
        await bench.settle()
        await dev.independent("sum_ready_o", "sum_valid_i")
        await dev.independent("out_valid_o", "sum_valid_i", "out_ready_i", "table_we_i")
        await dev.cycle()


@cocotb.test
async def words_for_columns_that_are_not_there_change_nothing(dut: Any) -> None:
    """Addresses past the last column, those that alias a real one included: the table stays as it was."""
    rng = bench.generator("nowhere")
    dev = Requantize(dut, rng)
    cfg = dev.cfg
    await dev.start()
    await dev.write_table(*random_table(cfg, rng))
    for column in {cfg.out_cols, cfg.out_cols + 1, 1 << (cfg.out_cols - 1).bit_length(), 1 << 13, (1 << 14) - 1}:
        for field in (0, 1):
            await dev.write_word(2 * column + field, int(rng.integers(1 << 32)))
    await dev.run_all(random_sums(cfg, rng, 30))


@cocotb.test
async def reset_drops_outputs_that_wait(dut: Any) -> None:
    """A reset while columns wait behind back-pressure: valid falls at once, none of them leaves later."""
    rng = bench.generator("reset")
    dev = Requantize(dut, rng)
    cfg = dev.cfg
    await dev.start()
    await dev.write_table(*random_table(cfg, rng))
    dev.sink.backpressure = iter(lambda: True, None)
    dut.sum_valid_i.value, dut.lanes_i.value = 1, cfg.n_lanes
    await dev.cycle()
    dut.sum_valid_i.value = 0
    await dev.cycle()
    await dev.cycle()
    assert dev.read("out_valid_o"), "an output waits"
    dut.rst_ni.value = 0
    await bench.settle()
    assert not dev.read("out_valid_o"), "reset withdraws it"
    assert not uncleared(dut), f"registers {uncleared(dut)} are not 0 under reset"
    dev.sink.backpressure = never()
    await dev.start()
    await dev.run_all(random_sums(cfg, rng, 20))
