# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/sar_adc.v: the bench is the comparator, `golden.sar_adc.convert` is the model."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, product
from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from cocotb.types import LogicArray
from twinor.converter.cdac import NEVER
from twinor.die import ideal_thresholds, sample_die
from twinor.golden import sar_adc

from tb.common import bench
from tb.common.checker import Checker
from tb.common.probes import junk, spoil, uncleared
from tb.common.values import has_unknown, needs_four_states, pack, partly, signed, to_int, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from twinor.config import Config

EXHAUST_TRIALS = 4
"""Up to so many trials every threshold of every table is tried from both sides."""


@dataclass(frozen=True)
class Conversion:
    """One column quantity per ADC, the tables that it meets, and the step."""

    q: NDArray[np.int64]
    thresholds: NDArray[np.int32]
    step: int


class Driver(bench.Agent):
    """Starts conversions and plays the comparators; outside the trials the comparators' bits are X or random."""

    def __init__(self, dut: Any, cfg: Config, rng: np.random.Generator) -> None:
        """Idle."""
        self.dut, self.cfg, self.rng = dut, cfg, rng
        self.now: Conversion | None = None

    def drive(self) -> None:
        """Compare with the threshold of the trial that each ADC shows."""
        if self.now is None:
            junk(self.dut.cmp_i, self.rng)
            return
        trials = unpack(to_int(self.dut.trial_o), self.cfg.trials, self.cfg.n_adcs)
        levels = [int(table[trial]) * self.now.step for table, trial in zip(self.now.thresholds, trials, strict=True)]
        self.dut.cmp_i.value = pack((int(q >= level) for q, level in zip(self.now.q, levels, strict=True)), 1)


class Monitor(bench.Agent):
    """Collects the trials of a conversion and the codes that follow; checks when done is high."""

    def __init__(self, dut: Any, cfg: Config, check: Checker[tuple[list[int], list[list[int]]]]) -> None:
        """Watch from now on."""
        self.dut, self.cfg, self.check = dut, cfg, check
        self.trials: list[list[int]] = []
        self.left = 0
        self.codes: list[int] | None = None

    def reset(self) -> None:
        """Forget a conversion under way."""
        self.trials, self.left, self.codes = [], 0, None

    def sample(self) -> None:
        """See one cycle."""
        cfg, dut = self.cfg, self.dut
        expected = int(self.left == 1)
        assert to_int(dut.done_o) == expected, f"done_o at {bench.now()}: expected {expected}"
        if self.left:
            self.trials.append(unpack(to_int(dut.trial_o), cfg.trials, cfg.n_adcs))
            self.left -= 1
            if not self.left:
                self.codes = None
        elif self.trials:
            codes = [signed(c, cfg.code_bits) for c in unpack(to_int(dut.code_o), cfg.code_bits, cfg.n_adcs)]
            if self.codes is None:
                self.check.got((codes, [list(path) for path in zip(*self.trials, strict=True)]), time=bench.now())
                self.codes = codes
            assert codes == self.codes, f"codes {self.codes} became {codes} without a start at {bench.now()}"
        if to_int(dut.start_i):
            self.trials, self.left = [], cfg.trials


class Sar(bench.Bench):
    """Driver, monitor and checker around the SAR logic."""

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        """Wire everything."""
        self.cfg = bench.config()
        self.rng = rng
        self.check: Checker[tuple[list[int], list[list[int]]]] = Checker("codes and trials")
        self.driver = Driver(dut, self.cfg, rng)
        self.weights = np.array(self.cfg.weights, dtype=np.int32)  # what golden believes the registers hold
        self.monitor = Monitor(dut, self.cfg, self.check)
        super().__init__(dut, self.driver, self.monitor)

    async def convert(self, conversion: Conversion, *, gap: int) -> None:
        """Sample cycle, trials, then `gap` idle cycles."""
        codes, trials = sar_adc.convert(
            self.cfg, conversion.q, conversion.thresholds, step=conversion.step, weights=self.weights
        )
        self.check.expect((codes.tolist(), trials.tolist()))
        self.dut.start_i.value = 1
        await self.cycle()
        self.dut.start_i.value = 0
        self.driver.now = conversion
        for _ in range(self.cfg.trials):
            await self.cycle()
        self.driver.now = None
        for _ in range(gap):
            await self.cycle()

    async def start(self) -> None:
        """Reset, every input at rest: the weights are the nominal ones."""
        self.weights = np.array(self.cfg.weights, dtype=np.int32)
        await self.reset(start_i=0, cmp_i=0, weight_we_i=0)
        self.no_weight()

    def no_weight(self) -> None:
        """No write: address and data are X or random."""
        self.dut.weight_we_i.value = 0
        for port in (self.dut.weight_addr_i, self.dut.weight_data_i):
            junk(port, self.rng)

    async def load(self, trial: int, weight: int) -> None:
        """Write one register; bits of the data above `adc_bits` are X."""
        dut, bits = self.dut, self.cfg.adc_bits
        dut.weight_we_i.value, dut.weight_addr_i.value = 1, trial
        dut.weight_data_i.value = partly(weight, 32, (1 << bits) - 1)
        await self.cycle()
        self.no_weight()
        if trial < self.cfg.trials:
            self.weights[trial] = weight

    async def run_all(self, conversions: Iterator[Conversion]) -> None:
        """Run conversions, half of them back to back; the checker must come out even."""
        await self.start()
        for conversion in conversions:
            await self.convert(conversion, gap=int(self.rng.integers(0, 4)) * int(self.rng.integers(0, 2)))
        await self.cycle()
        self.check.finish()
        cocotb.log.info("%d conversions", self.check.compared)


def tables(cfg: Config, rng: np.random.Generator) -> Iterator[NDArray[np.int32]]:
    """Threshold tables: ideal, of varied dies, and of no order at all."""
    yield ideal_thresholds(cfg)
    cells = np.zeros((1, cfg.rows, cfg.bit_lines), dtype=np.uint8)
    for _ in range(3):
        yield sample_die(cfg, cells, seed=int(rng.integers(1 << 30))).threshold[0]
    span = 1 << (cfg.adc_bits + 2 * cfg.frac_bits)
    for _ in range(3):
        anything = rng.integers(-span, span, (cfg.n_adcs, 1 << cfg.trials)).astype(np.int32)
        anything[:, 0] = NEVER
        yield anything


def around_thresholds(cfg: Config, rng: np.random.Generator) -> Iterator[Conversion]:
    """Every table and step, with quantities below, at and above a threshold, and at both ends."""
    trials = np.arange(1, 1 << cfg.trials)
    for table, step in product(tables(cfg, rng), cfg.steps):
        chosen = trials if cfg.trials <= EXHAUST_TRIALS else rng.choice(trials, 2)
        ends = np.full(cfg.n_adcs, 2 << (cfg.adc_bits + 2 * cfg.frac_bits), dtype=np.int64) * step
        yield from (Conversion(q, table, step) for q in (-ends, ends))
        for trial, offset in product(chosen, (-1, 0, 1)):
            order = (trial + np.arange(cfg.n_adcs) - 1) % trials.size + 1  # each ADC meets another threshold
            q = np.take_along_axis(table, order[:, None], axis=1)[:, 0].astype(np.int64) * step + offset
            yield Conversion(q, table, step)


def every_path(cfg: Config, rng: np.random.Generator) -> Iterator[Conversion]:
    """Tables that force each sequence of decisions, a different one on each ADC."""
    never, always = np.iinfo(np.int32).max, np.iinfo(np.int32).min
    codes = np.arange(1 << cfg.trials)
    for code in codes if cfg.trials <= EXHAUST_TRIALS else rng.choice(codes, 32):
        thresholds = np.full((cfg.n_adcs, codes.size), never, dtype=np.int32)
        for adc in range(cfg.n_adcs):
            target = (code * 5 + adc * 7) % codes.size
            for bit in range(cfg.trials):
                if target >> bit & 1:  # the trial that comes before this bit is decided
                    thresholds[adc, target >> bit << bit] = always
        yield Conversion(np.zeros(cfg.n_adcs, dtype=np.int64), thresholds, 1)


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated block is what the configuration says."""
    bench.parameters_equal_configuration(dut, "sar_adc")


@cocotb.test
async def codes_and_trials_match_golden_around_every_threshold(dut: Any) -> None:
    """Ideal, varied and unordered tables, every step: trials and codes as golden; done is one cycle."""
    rng = bench.generator("thresholds")
    sar = Sar(dut, rng)
    await sar.run_all(around_thresholds(sar.cfg, rng))


@cocotb.test
async def every_sequence_of_decisions_reaches_its_code(dut: Any) -> None:
    """All paths through the search tree at `tiny`, a sample elsewhere, every ADC on its own path."""
    rng = bench.generator("paths")
    sar = Sar(dut, rng)
    await sar.run_all(every_path(sar.cfg, rng))


@cocotb.test
async def programmed_weights_make_the_code(dut: Any) -> None:
    """Weights of 0, 1, the largest and any other in each register, conversions between; trials that do not exist."""
    rng = bench.generator("weights")
    sar = Sar(dut, rng)
    cfg, top = sar.cfg, (1 << sar.cfg.adc_bits) - 1
    await sar.start()
    paths = every_path(cfg, rng)
    for n in range(24):
        for trial in rng.permutation(cfg.trials)[: int(rng.integers(1, cfg.trials + 1))].tolist():
            await sar.load(trial, int([0, 1, top, rng.integers(top + 1)][int(rng.integers(4))]))
        for nowhere in (cfg.trials, cfg.trials + 16, 1 << 11):
            await sar.load(nowhere, int(rng.integers(top + 1)))
        for conversion in islice(paths, 4):
            await sar.convert(conversion, gap=n % 2)
        paths = paths if n % 8 else every_path(cfg, rng)
    await sar.cycle()
    sar.check.finish()


@cocotb.test
async def a_sum_of_weights_saturates(dut: Any) -> None:
    """Every register at the largest weight, trials kept from none to all: two of them already fill the code."""
    rng = bench.generator("saturation")
    sar = Sar(dut, rng)
    cfg, top = sar.cfg, (1 << sar.cfg.adc_bits) - 1
    await sar.start()
    for weights in (np.full(cfg.trials, top), np.full(cfg.trials, top // 2 + 1), np.array(cfg.weights)):
        for trial, weight in enumerate(weights.tolist()):
            await sar.load(trial, weight)
        for conversion in every_path(cfg, rng):
            await sar.convert(conversion, gap=0)
    await sar.cycle()
    sar.check.finish()


@cocotb.test
@needs_four_states
async def an_unknown_weight_makes_an_unknown_code(dut: Any) -> None:
    """X in a weight whose trial is kept: the codes hold X; after a reset the weight is the nominal one."""
    rng = bench.generator("unknown weight")
    sar = Sar(dut, rng)
    cfg = sar.cfg
    for trial in range(cfg.trials):
        sar.agents = ()
        await sar.start()
        dut.weight_we_i.value, dut.weight_addr_i.value = 1, trial
        spoil(dut.weight_data_i)
        await sar.cycle()
        sar.no_weight()
        dut.start_i.value, dut.cmp_i.value = 1, (1 << cfg.n_adcs) - 1
        for _ in range(cfg.trials + 1):
            await sar.cycle()
            dut.start_i.value = 0
        assert has_unknown(dut.code_o), "an unknown weight was taken for a number"
    sar.agents = (sar.driver, sar.monitor)
    await sar.run_all(around_thresholds(cfg, rng) if cfg.trials <= EXHAUST_TRIALS else every_path(cfg, rng))


@cocotb.test
async def a_start_during_the_trials_drops_the_conversion_under_way(dut: Any) -> None:
    """A second start in any trial cycle: nothing of the first conversion is left in trials, code or done."""
    rng = bench.generator("restart")
    sar = Sar(dut, rng)
    cfg = sar.cfg
    await sar.start()
    for trials in range(cfg.trials):
        dut.start_i.value = 1
        await sar.cycle()
        dut.start_i.value = 0
        q = rng.integers(-50, 50, cfg.n_adcs) << 2 * cfg.frac_bits - 1
        sar.driver.now = Conversion(-q, ideal_thresholds(cfg), 1)
        for _ in range(trials):
            await sar.cycle()
        await sar.convert(Conversion(q, ideal_thresholds(cfg), 1), gap=1)
    sar.check.finish()


@cocotb.test
async def reset_ends_a_conversion_at_once(dut: Any) -> None:
    """A reset between any two trials clears it without a clock edge; the next conversion is right."""
    rng = bench.generator("reset")
    sar = Sar(dut, rng)
    cfg, agents = sar.cfg, sar.agents
    for trials in range(1, cfg.trials):
        sar.agents = ()
        await sar.start()
        dut.start_i.value, dut.cmp_i.value = 1, (1 << cfg.n_adcs) - 1
        await sar.cycle()
        dut.start_i.value = 0
        for _ in range(trials):
            await sar.cycle()
        assert to_int(dut.trial_o), "a conversion is under way"
        dut.rst_ni.value = 0
        await bench.settle()
        assert to_int(dut.trial_o) == 0 and to_int(dut.done_o) == 0, "reset clears the trials"
        assert not uncleared(dut), f"registers {uncleared(dut)} are not 0 under reset"
        sar.agents = agents
        q = rng.integers(-50, 50, cfg.n_adcs) << 2 * cfg.frac_bits - 1
        await sar.run_all(iter([Conversion(q, ideal_thresholds(cfg), 1)]))


@cocotb.test
@needs_four_states
async def an_unknown_decision_makes_an_unknown_code(dut: Any) -> None:
    """X from one comparator in one trial: that ADC's code holds X, never 0; the others are clean."""
    cfg = bench.config()
    sar = bench.Bench(dut)
    for bad, adc in product(range(cfg.trials), {0, cfg.n_adcs - 1}):
        await sar.reset(start_i=1, cmp_i=0, weight_we_i=0)
        await sar.cycle()
        dut.start_i.value = 0
        for trial in range(cfg.trials):
            bits = ["X" if trial == bad and a == adc else "1" for a in reversed(range(cfg.n_adcs))]
            dut.cmp_i.value = LogicArray("".join(bits))
            await sar.cycle()
        text = str(dut.code_o.value)
        codes = [text[len(text) - (a + 1) * cfg.code_bits :][: cfg.code_bits] for a in range(cfg.n_adcs)]
        assert "X" in codes[adc].upper(), f"trial {bad}: code {codes[adc]} of ADC {adc} looks known"
        clean = {signed(int(code, 2), cfg.code_bits) for a, code in enumerate(codes) if a != adc}
        assert clean <= {cfg.code_max}, f"an unknown decision of ADC {adc} reached others: {codes}"
