# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/shift_add.v: `golden.shift_add.accumulate` is the model of every accumulator."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from twinor.golden import shift_add
from twinor.rounds import Pass, Start, step_code

from tb.common import bench
from tb.common.checker import Checker
from tb.common.probes import junk, uncleared
from tb.common.stream import StreamSource, never, pauses
from tb.common.values import pack, signed, to_int, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray
    from twinor.config import Config

PINS = (
    *("code_valid_i", "position_i", "first_i", "keep_i", "psum_i", "residual_i", "final_i", "step_shift_i"),
    *("step_three_i", "slice_shift_i", "negate_i", "offset_i", "x_shift_i", "wl_sum_i", "psum_want_i", "psum_lanes_i"),
)
WITH_CODES = ("code_i", *PINS[1:-2])
"""What comes with codes: X or random while code_valid_i is low."""


@dataclass(frozen=True)
class Turn:
    """One pass of a round: its codes int16[phases, n_adcs] and word-line sum."""

    p: Pass
    step: int
    codes: NDArray[np.int16]
    word_line_sum: int


@dataclass(frozen=True)
class Work:
    """One round: start, passes, whether its sums leave, partial sums and residual products int64[phases, n_lanes]."""

    start: Start
    turns: list[Turn]
    final: bool
    lanes: int
    psums: NDArray[np.int64] | None = None
    products: NDArray[np.int64] | None = None

    @property
    def phases(self) -> int:
        """Phases of the round."""
        return len(self.turns[0].codes)


class SumSink(bench.Agent):
    """Takes sums, or not: back-pressure. Sums that wait must not change."""

    def __init__(self, dut: Any, cfg: Config, busy: Iterator[bool]) -> None:
        """Attach to sum_*."""
        self.dut, self.cfg, self.busy = dut, cfg, busy
        self.check: Checker[list[int]] = Checker("sums")
        self.taking = False
        self.lanes = cfg.n_lanes
        self.waiting: list[int] | None = None

    def reset(self) -> None:
        """Forget sums that wait."""
        self.waiting = None

    def drive(self) -> None:
        """Accept, unless busy."""
        self.taking = not next(self.busy)
        self.dut.sum_ready_i.value = int(self.taking)

    def sample(self) -> None:
        """See whether sums leave."""
        if not to_int(self.dut.sum_valid_o):
            assert self.waiting is None, f"sums withdrawn at {bench.now()}"
            return
        words = unpack(to_int(self.dut.sum_o), self.cfg.acc_bits, self.cfg.n_lanes)
        sums = [signed(word, self.cfg.acc_bits) for word in words[: self.lanes]]
        assert self.waiting in (None, sums), f"waiting sums {self.waiting} became {sums} at {bench.now()}"
        self.waiting = None if self.taking else sums
        if self.taking:
            self.check.got(sums, time=bench.now())


class Take(bench.Agent):
    """Whether residual products are taken: `now` is what the last rising edge saw, 0 wherever there are no codes."""

    def __init__(self, dut: Any) -> None:
        """Attach to res_take_o."""
        self.dut, self.now = dut, 0

    def sample(self) -> None:
        """See one cycle."""
        self.now = to_int(self.dut.res_take_o)
        assert to_int(self.dut.code_valid_i) or not self.now, f"res_take_o without codes at {bench.now()}"


class ShiftAdd(bench.Bench):
    """Code driver, partial-sum source and sink; `acc` is the model's state, int64[phases, n_lanes]."""

    def __init__(self, dut: Any, rng: np.random.Generator, *, idle: float = 0.0, busy: float = 0.0) -> None:
        """Wire everything; `idle` for codes and partial sums, `busy` for the sink."""
        self.cfg = cfg = bench.config()
        self.rng, self.idle = rng, idle
        self.source = StreamSource(dut, "psum", {"data_i": cfg.psum_bits}, idle=pauses(rng, idle))
        self.sink = SumSink(dut, cfg, pauses(rng, busy) if busy else never())
        self.acc = np.zeros((cfg.cols_per_adc, cfg.n_lanes), dtype=np.int64)
        self.used = 0  # partial sums that accumulators started from
        self.take = Take(dut)
        super().__init__(dut, self.source, self.sink, self.take)

    async def start(self) -> None:
        """Reset with every input at rest; partial sums that wait are lost."""
        self.used = self.source.sent
        await self.reset(psum_data_i=0, code_i=0, res_full_i=0, res_product_i=0, **dict.fromkeys(PINS, 0))
        self.rest()

    def rest(self) -> None:
        """No codes: what comes with them is X or random."""
        self.dut.code_valid_i.value = 0
        for name in WITH_CODES:
            junk(getattr(self.dut, name), self.rng)

    async def run_rounds(self, works: Iterable[Work]) -> None:
        """All partial sums are on offer; those of the next round collect while the last codes of this one pass."""
        rounds = list(works)
        for work in rounds:
            if work.psums is not None:
                beats = work.psums.reshape(-1)[: (work.phases - 1) * self.cfg.n_lanes + work.lanes]
                self.source.send({"data_i": int(value) % (1 << self.cfg.psum_bits)} for value in beats)
        for n, work in enumerate(rounds, start=1):
            waiting = [self.due(after, 0) for after in rounds[n : n + 1] if after.psums is not None]
            await self.run_round(work, ahead=sum(waiting))

    def due(self, work: Work, phase: int) -> int:
        """Columns of a phase."""
        return work.lanes if phase == work.phases - 1 else self.cfg.n_lanes

    async def run_round(self, work: Work, *, ahead: int) -> None:
        """Model and device side by side; `ahead` partial sums of the next round are due."""
        phases = work.phases
        if work.psums is not None:
            self.acc[:phases] = work.psums
        elif work.start is Start.ZERO:
            self.acc[:phases] = 0
        if work.products is not None:
            self.acc[:phases] += work.products
        for n, turn in enumerate(work.turns):
            final = work.final and n == len(work.turns) - 1
            total = np.full(phases, turn.word_line_sum)
            acc = self.acc[:phases]
            own, reference = turn.codes[:, self.cfg.ref_cols :], turn.codes[:, :1] if self.cfg.ref_cols else None
            change = {"p": turn.p, "step": turn.step}
            self.acc[:phases] = shift_add.accumulate(self.cfg, acc, own, total, reference, **change)
            soon = ahead if n == len(work.turns) - 1 else 0
            for phase in range(phases):
                await self.codes(work, turn, phase, first=n == 0, final=final, ahead=soon)

    async def codes(self, work: Work, turn: Turn, phase: int, *, first: bool, final: bool, ahead: int) -> None:
        """Offer the codes of one phase until they are taken; its partial sums, or the next round's, may come before."""
        cfg, dut = self.cfg, self.dut
        psum = first and work.psums is not None
        dut.psum_want_i.value = int(psum or ahead > 0)
        dut.psum_lanes_i.value = self.due(work, phase) if psum else ahead
        self.sink.lanes = self.due(work, phase)
        if final:
            self.sink.check.expect(self.acc[phase, : self.sink.lanes].tolist())
        while self.rng.random() < self.idle:
            await self.cycle()
        pins = weights(cfg, turn.p, turn.step) | {
            "position_i": phase,
            "first_i": int(first),
            "keep_i": int(work.start is Start.LAST),
            "psum_i": int(work.psums is not None),
            "residual_i": int(work.products is not None),
            "final_i": int(final),
            "wl_sum_i": turn.word_line_sum,
            "code_i": pack(turn.codes[phase].tolist(), cfg.code_bits),
        }
        for name, value in pins.items():
            getattr(dut, name).value = value
        dut.code_valid_i.value = 1
        products = work.products[phase] if first and work.products is not None else None
        await self.taken(products, due=self.due(work, phase) if psum else 0, final=final)
        self.rest()
        dut.psum_want_i.value = int(ahead > 0 and not psum)

    async def taken(self, products: NDArray[np.int64] | None, *, due: int, final: bool) -> None:
        """Cycles until the codes are taken, which they are in the first one in which nothing is missing."""
        dut, late = self.dut, 0
        while products is not None and self.rng.random() < self.idle:
            late += 1
        while True:
            if late or products is None:
                junk(dut.res_product_i, self.rng)  # not in yet, or not these codes'
                dut.res_full_i.value = 0 if products is not None else int(self.rng.integers(2))
            else:
                dut.res_product_i.value, dut.res_full_i.value = pack(products.tolist(), self.cfg.residual_bits), 1
            missing = due > self.source.sent - self.used or (late > 0 and products is not None)
            ready = await self.cycle("code_ready_o")
            assert self.take.now == int(ready and products is not None), (
                f"res_take_o = {self.take.now} at {bench.now()}"
            )
            if ready:
                break
            late = max(late - 1, 0)
            assert missing or (final and not self.sink.taking), f"codes that lack nothing wait at {bench.now()}"
        self.used += due

    async def finish(self) -> None:
        """Nothing may be left."""
        await self.cycle()
        assert self.source.empty, "partial sums left over"
        self.sink.check.finish()
        cocotb.log.info("%d phases of sums compared", self.sink.check.compared)


def weights(cfg: Config, p: Pass, step: int) -> dict[str, int]:
    """Pins that say what a code of a pass counts."""
    code, x_shift = step_code(step), 0 if cfg.analog_slices else p.x_slice * cfg.dac_bits
    top = cfg.weight_encoding == "twos_complement" and p.w_slice == cfg.w_slices - 1
    return {
        "step_shift_i": code >> 1,
        "step_three_i": code & 1,
        "slice_shift_i": x_shift + p.w_slice * cfg.cell_bits,
        "negate_i": int(top != bool(p.phase)),
        "offset_i": int(cfg.weight_encoding == "offset" and p.w_slice == 0),
        "x_shift_i": x_shift,
    }


def every_code(cfg: Config, rng: np.random.Generator) -> Iterator[Work]:
    """Every code with every step, converted slice, weight slice and sign, from zero and out at once."""
    codes = np.arange(cfg.code_min, cfg.code_max + 1, dtype=np.int16)
    lanes = np.resize(codes, (-(-codes.size // cfg.n_adcs), cfg.n_adcs))
    for step, i, j, s in product(cfg.steps, converted_slices(cfg), range(cfg.w_slices), range(2)):
        for n in range(0, len(lanes), cfg.cols_per_adc):
            total = int(rng.integers(0, most_word_lines(cfg) + 1))
            turn = Turn(Pass(0, i, j, s), step, lanes[n : n + cfg.cols_per_adc], total)
            yield Work(Start.ZERO, [turn], final=True, lanes=cfg.n_lanes)


def most_word_lines(cfg: Config) -> int:
    """Largest sum of the word-line codes that one conversion sees."""
    return cfg.active_rows * ((1 << (cfg.input_bits if cfg.analog_slices else cfg.dac_bits)) - 1)


def converted_slices(cfg: Config) -> range:
    """Input slices that are converted: each, or with analog accumulation one for all."""
    return range(1 if cfg.analog_slices else cfg.x_slices)


def random_rounds(cfg: Config, rng: np.random.Generator, count: int) -> Iterator[Work]:
    """Chains of rounds of one width: any start, some of the passes, ends that hold or leave."""
    groups = range(-(-cfg.rows // cfg.active_rows))
    all_passes = [Pass(*p) for p in product(groups, converted_slices(cfg), range(cfg.w_slices), range(2))]
    most = 1 << (cfg.residual_bits - 2)  # the smallest code times the smallest multiplier
    while count > 0:
        phases, lanes = int(rng.integers(1, cfg.cols_per_adc + 1)), int(rng.integers(1, cfg.n_lanes + 1))
        for n in range(int(rng.integers(1, cfg.max_rounds + 1))):
            start = Start(rng.choice([Start.ZERO, Start.PSUM] if n == 0 else list(Start)))
            turns = [
                Turn(
                    all_passes[k],
                    int(rng.choice(cfg.steps)),
                    rng.integers(cfg.code_min, cfg.code_max + 1, (phases, cfg.n_adcs)).astype(np.int16),
                    int(rng.integers(0, most_word_lines(cfg) + 1)),
                )
                for k in rng.permutation(len(all_passes))[: int(rng.integers(1, 5))]
            ]
            limit = 1 << (cfg.psum_bits - 1)
            psums = rng.integers(-limit, limit, (phases, cfg.n_lanes)) if start is Start.PSUM else None
            adds = start is not Start.LAST and rng.random() < 0.5
            products = rng.integers(-most, most, (phases, cfg.n_lanes)) if adds else None
            yield Work(start, turns, final=bool(rng.random() < 0.6), lanes=lanes, psums=psums, products=products)
            count -= 1


def longest_chain(cfg: Config, *, up: bool) -> Iterator[Work]:
    """The chain that goes furthest: extreme partial sum and residual, then every pass of every round at its extreme."""
    shape, limit = (cfg.cols_per_adc, cfg.n_lanes), 1 << (cfg.psum_bits - 1)
    most = 1 << (cfg.residual_bits - 2)  # the smallest code times the smallest multiplier
    groups = range(-(-cfg.rows // cfg.active_rows))
    for n in range(cfg.max_rounds):
        turns = []
        for g, i, j, s in product(groups, converted_slices(cfg), range(cfg.w_slices), range(2)):
            top = cfg.weight_encoding == "twos_complement" and j == cfg.w_slices - 1
            negative = top != bool(s)
            code = cfg.code_max if up != negative else cfg.code_min
            total = most_word_lines(cfg) if up == bool(s) else 0
            codes = np.full((cfg.cols_per_adc, cfg.n_adcs), code, dtype=np.int16)
            if cfg.ref_cols:  # the reference at the other end
                codes[:, 0] = cfg.code_min + cfg.code_max - code
            turns.append(Turn(Pass(g, i, j, s), cfg.steps[-1], codes, total))
        psums = np.full(shape, limit - 1 if up else -limit) if n == 0 else None
        products = np.full(shape, most if up else -most) if n == 0 else None
        start = Start.LAST if n else Start.PSUM
        last = n == cfg.max_rounds - 1
        yield Work(start, turns, final=last, lanes=cfg.n_lanes, psums=psums, products=products)


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated block is what the configuration says."""
    bench.parameters_equal_configuration(dut, "shift_add")


@cocotb.test
async def every_code_step_and_slice_weighs_as_in_golden(dut: Any) -> None:
    """Exhaustive under every configuration: code, step, input slice, weight slice, sign; random word-line sums."""
    rng = bench.generator("codes")
    adder = ShiftAdd(dut, rng)
    await adder.start()
    await adder.run_rounds(every_code(adder.cfg, rng))
    await adder.finish()


@cocotb.test
async def rounds_of_any_start_match_golden_at_full_rate(dut: Any) -> None:
    """Zero, last and partial-sum starts, residuals, holds between, some lanes or all; nobody waits."""
    rng = bench.generator("full rate")
    adder = ShiftAdd(dut, rng)
    await adder.start()
    await adder.run_rounds(random_rounds(adder.cfg, rng, 60))
    await adder.finish()


@cocotb.test
async def rounds_of_any_start_match_golden_under_random_traffic(dut: Any) -> None:
    """The same with late codes, partial sums and residual products, and back-pressure on the sums."""
    rng = bench.generator("traffic")
    adder = ShiftAdd(dut, rng, idle=0.4, busy=0.5)
    await adder.start()
    await adder.run_rounds(random_rounds(adder.cfg, rng, 60))
    await adder.finish()


@cocotb.test
async def the_longest_chain_does_not_overflow(dut: Any) -> None:
    """Extreme partial sum, residual, codes, steps and word-line sums, both signs: what acc_bits is proven for."""
    adder = ShiftAdd(dut, bench.generator("longest"))
    await adder.start()
    for up in (True, False):
        await adder.run_rounds(longest_chain(adder.cfg, up=up))
        assert abs(int(adder.acc[0, 0])) < 1 << (adder.cfg.acc_bits - 1)
    await adder.finish()


@cocotb.test
async def no_ready_or_valid_depends_on_its_partner(dut: Any) -> None:
    """psum_valid_i and sum_ready_i toggle within the cycle, at random inputs: psum_ready_o and sum_valid_o stay."""
    adder = ShiftAdd(dut, bench.generator("partners"), idle=0.5, busy=0.5)
    await adder.start()
    pins = ("code_valid_i", "first_i", "psum_i", "final_i", "psum_want_i", "residual_i", "res_full_i")
    dut.psum_lanes_i.value = adder.cfg.n_lanes
    adder.sink.reset()
    adder.agents = ()
    for n in range(400):
        for k, name in enumerate(pins):
            getattr(dut, name).value = n >> k & 1
        dut.psum_valid_i.value, dut.sum_ready_i.value = (int(bit) for bit in adder.rng.integers(0, 2, 2))
        await bench.settle()
        await adder.independent("psum_ready_o", "psum_valid_i")
        await adder.independent("sum_valid_o", "sum_ready_i")
        await adder.cycle()


@cocotb.test
async def reset_drops_partial_sums_that_wait(dut: Any) -> None:
    """A reset with some lanes' partial sums in: the next round collects all of its own."""
    rng = bench.generator("reset")
    adder = ShiftAdd(dut, rng)
    await adder.start()
    adder.source.send([{"data_i": 1}])
    dut.psum_want_i.value, dut.psum_lanes_i.value = 1, adder.cfg.n_lanes
    await adder.cycle()
    await adder.cycle()
    dut.rst_ni.value = 0
    await bench.settle()
    assert not uncleared(dut), f"registers {uncleared(dut)} are not 0 under reset"
    await adder.start()
    await adder.run_rounds(random_rounds(adder.cfg, rng, 10))
    await adder.finish()
