# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/cim_macro.v in rtl/sim/macro_sim.v: random rounds, any traffic; `golden.cim_macro` is the model."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from twinor.golden import cim_macro, clip_count
from twinor.rounds import End, Start

from tb.common import bench
from tb.common.beats import activation_beats, chain_words, die_words
from tb.common.checker import Checker
from tb.common.stimulus import random_chain, random_vectors
from tb.common.stream import StreamSink, StreamSource, never, pauses
from tb.common.values import lanes, signed, to_int, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twinor.config import Config
    from twinor.rounds import Chain
    from twinor.trace import RoundTrace

SEAMS = ("word lines", "codes", "partial sums", "outputs and last")

PARTNERS = (
    ("in_ready_o", "in_valid_i"),
    ("psum_ready_o", "psum_valid_i"),
    ("round_ready_o", "round_valid_i"),
    ("out_valid_o", "out_ready_i"),
)
"""An output, and the input of the same stream that it must not follow within a cycle."""


class Clearing(bench.Agent):
    """Clears the clip counters in the cycles that `when` says."""

    def __init__(self, dut: Any) -> None:
        """Never."""
        self.dut, self.when = dut, never()

    def reset(self) -> None:
        """Clear nothing."""
        self.dut.clip_clear_i.value = 0

    def drive(self) -> None:
        """A new decision each cycle."""
        self.dut.clip_clear_i.value = int(next(self.when))


class SeamMonitor(bench.Agent):
    """Sees word lines when columns are held, codes and sums when shift-add takes them, clip counters in every cycle."""

    def __init__(self, dut: Any, cfg: Config, checks: dict[str, Checker[Any]]) -> None:
        """Attach to the macro's inside."""
        self.dut, self.inside, self.cfg, self.checks = dut, dut.u_cim_macro, cfg, checks
        self.lanes: list[int] = []  # columns in use of the phases to come
        self.cycle = 0
        self.clips, self.cleared = (0, 0), 0  # counters, and what clears have forgotten
        self.holds: list[int] = []
        self.codes: list[int] = []

    def reset(self) -> None:
        """Forget what was to come."""
        self.lanes, self.holds, self.codes, self.clips = [], [], [], (0, 0)

    def sample(self) -> None:
        """See one cycle."""
        self.cycle += 1
        cfg, inside = self.cfg, self.inside
        self._counters()
        if to_int(inside.hold_o) and not to_int(self.dut.prog_busy_o):
            lines = unpack(to_int(self.dut.wl), cfg.dac_bits, cfg.rows)
            self.checks["word lines"].got(lines, time=bench.now())
            self.holds.append(self.cycle)
        if to_int(inside.code_valid) and to_int(inside.code_ready):
            assert self.lanes, f"codes at {bench.now()} that no pass owes"
            count = self.lanes.pop(0)
            self.checks["codes"].got(lanes(inside.code, cfg.code_bits, count), time=bench.now())
            raw = inside.raw_code if cfg.column_correction else inside.code  # a netlist keeps one name of the two
            codes = np.array(lanes(raw, cfg.code_bits, count))
            self.clips = clip_count.count(cfg, codes, before=self.clips)
            self.checks["partial sums"].got(lanes(inside.sum, cfg.acc_bits, count), time=bench.now())
            self.codes.append(self.cycle)

    def _counters(self) -> None:
        """What was taken before this cycle is counted; a clear forgets it."""
        counted = to_int(self.dut.clip_low_o), to_int(self.dut.clip_high_o)
        assert counted == self.clips, f"clip counters at {bench.now()}: expected {self.clips}, got {counted}"
        if to_int(self.dut.clip_clear_i):
            self.cleared += sum(self.clips)
            self.clips = (0, 0)


class Macro(bench.Bench):
    """Three sources, a sink, a monitor of the seams, and golden's trace of every chain."""

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        """Wire everything at full rate."""
        self.cfg, self.die, self.rng = bench.config(), bench.die(), rng
        cfg = self.cfg
        self.words = StreamSource(dut, "round", {"addr_i": 16, "data_i": 32})
        self.beats = StreamSource(dut, "in", {"data_i": cfg.in_lanes * cfg.input_bits})
        self.psums = StreamSource(dut, "psum", {"data_i": cfg.psum_bits})
        self.sink = StreamSink(dut, "out", ("data_o", "last_o"), self.took)
        self.checks: dict[str, Checker[Any]] = {}
        self.seams = SeamMonitor(dut, cfg, self.checks)
        self.outs: list[int] = []
        self.clearing = Clearing(dut)
        super().__init__(dut, self.words, self.beats, self.psums, self.sink, self.clearing, self.seams)

    async def start(self) -> None:
        """Reset; nothing is expected yet."""
        self.checks.update({name: Checker(name) for name in SEAMS})
        self.outs.clear()
        await self.reset()

    def traffic(self, idle: float, busy: float) -> None:
        """Shares of cycles in which sources offer nothing and the sink takes nothing."""
        for source in (self.words, self.beats, self.psums):
            source.idle = pauses(self.rng, idle) if idle else never()
        self.sink.backpressure = pauses(self.rng, busy) if busy else never()

    def took(self, beat: dict[str, int]) -> None:
        """One output has left."""
        value = signed(beat["data_o"], self.cfg.acc_bits)
        self.checks["outputs and last"].got((value, beat["last_o"]), time=bench.now())
        self.outs.append(self.seams.cycle + 1)

    def waits_behind(self, count: int) -> bool:
        """True if `count` outputs have left and the next one is on offer."""
        return len(self.outs) == count and bool(self.read("out_valid_o"))

    def send_words(self, chain: Chain) -> None:
        """Offer the die's words, the column table, as far as it is read, and the round words."""
        self.words.send(die_words(self.cfg, self.die))
        self.words.send(chain_words(self.cfg, chain))

    def send_vectors(self, chain: Chain, count: int) -> list[RoundTrace]:
        """Offer activations and partial sums, expect what golden says; returns its trace."""
        cfg = self.cfg
        inputs, psums = random_vectors(cfg, chain, self.rng, count=count)
        starts = any(rnd.start is Start.PSUM for rnd in chain.rounds)
        traces = cim_macro.run_chain(cfg, self.die, chain, inputs, psums if starts else None)
        for v in range(count):
            for x, trace in zip(inputs, traces, strict=True):
                self.beats.send(activation_beats(cfg, x[v].tolist()))
                self._expect(trace, v)
        self.psums.send({"data_i": int(p) & ((1 << cfg.psum_bits) - 1)} for p in psums.reshape(-1))
        return traces

    def _expect(self, trace: RoundTrace, v: int) -> None:
        columns = range(0, trace.rnd.col_count + self.cfg.n_adcs, self.cfg.n_adcs)
        for p in range(len(trace.passes)):
            self.checks["word lines"].expect(trace.word_lines[v, p].tolist())
            for first, past in pairwise(columns):
                self.checks["codes"].expect(trace.codes[v, p, first:past].tolist())
                self.checks["partial sums"].expect(trace.partial_sums[v, p, first:past].tolist())
                self.seams.lanes.append(min(past, trace.rnd.col_count) - first)
        flags = trace.last_flags[v].tolist()
        self.checks["outputs and last"].expect(*zip(trace.outputs[v].tolist(), flags, strict=True))

    def send_timed(self, chain: Chain, count: int) -> tuple[list[RoundTrace], int]:
        """Offer vectors whose events are to be timed; returns golden's trace and the cycle of the first beat."""
        self.seams.holds, self.seams.codes, self.outs = [], [], []
        return self.send_vectors(chain, count), self.seams.cycle + 1

    def compare_cycles(self, traces: list[RoundTrace], first: int) -> None:
        """Fail unless every hold, code and output came in the cycle that golden states, counted from `first`."""
        vectors, width = range(len(traces[0].outputs)), self.cfg.n_adcs
        wanted = {
            "hold": [c for v in vectors for t in traces for c in t.hold_cycles[v].tolist()],
            "code": [c for v in vectors for t in traces for p in t.code_cycles[v] for c in p[::width].tolist()],
            "out": [c for v in vectors for t in traces for c in t.out_cycles[v].tolist()],
        }
        seen = {"hold": self.seams.holds, "code": self.seams.codes, "out": self.outs}
        for name, cycles in wanted.items():
            assert [c - first for c in seen[name]] == cycles, f"{name} cycles differ from golden's"

    async def drain(self) -> None:
        """Until everything expected has come; then nothing may be left anywhere."""
        checks = self.checks.values()
        await self.run(lambda: not any(check.outstanding for check in checks), limit=150_000)
        for _ in range(4):
            await self.cycle()
        assert self.beats.empty and self.psums.empty, "activations or partial sums were not taken"
        for check in checks:
            check.finish()

    async def run_chain(self, chain: Chain, count: int) -> None:
        """Words, then vectors, then wait for everything."""
        self.send_words(chain)
        await self.run(lambda: self.words.empty, limit=10_000)
        self.send_vectors(chain, count)
        await self.drain()


def some_chain(cfg: Config, rng: np.random.Generator) -> Chain:
    """A random chain, short on a large macro."""
    return random_chain(cfg, rng, rounds=None if cfg.rows <= 16 else int(rng.integers(1, 4)))


def effort(cfg: Config) -> tuple[int, int]:
    """Chains and vectors of one test."""
    if cfg.rows <= 16:
        return 24, 3
    return (8, 3) if cfg.rows == cfg.active_rows else (3, 1)


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated macro is what the configuration says."""
    bench.parameters_equal_configuration(dut, "cim_macro")


@cocotb.test
async def chains_at_full_rate_match_golden_in_every_cycle(dut: Any) -> None:
    """Nobody waits; the next chain's words are on offer during the run. All seams, and the cycle of each event."""
    rng = bench.generator("full rate")
    dev = Macro(dut, rng)
    await dev.start()
    chains, count = effort(dev.cfg)
    chain = some_chain(dev.cfg, rng)
    dev.send_words(chain)
    for _ in range(chains):
        await dev.run(lambda: dev.words.empty, limit=10_000)
        traces, first = dev.send_timed(chain, count)
        await dev.cycle()
        chain = some_chain(dev.cfg, rng)
        dev.send_words(chain)
        await dev.drain()
        dev.compare_cycles(traces, first)
    cocotb.log.info("%s", {name: check.compared for name, check in dev.checks.items()})


@cocotb.test
async def chains_under_random_traffic_match_golden(dut: Any) -> None:
    """Idle words, beats and partial sums, back-pressure on the outputs, from light to heavy; new words between."""
    rng = bench.generator("traffic")
    dev = Macro(dut, rng)
    await dev.start()
    chains, count = effort(dev.cfg)
    for n in range(chains):
        dev.traffic(*[(0.3, 0.3), (0.8, 0.0), (0.0, 0.9), (0.6, 0.7)][n % 4])
        await dev.run_chain(some_chain(dev.cfg, rng), count)
    cocotb.log.info("%s", {name: check.compared for name, check in dev.checks.items()})


@cocotb.test
async def clip_counters_follow_every_conversion_and_every_clear(dut: Any) -> None:
    """Smallest steps, so that many codes lie at the ends; clears in random cycles, those of conversions too."""
    rng = bench.generator("clips")
    dev = Macro(dut, rng)
    await dev.start()
    for n in range(24 if dev.cfg.rows <= 16 else 3):
        dev.clearing.when = [never(), pauses(rng, 0.05), pauses(rng, 0.6)][n % 3]
        chain = some_chain(dev.cfg, rng)
        steps = ((dev.cfg.steps[0],) * dev.cfg.w_slices,) * dev.cfg.x_slices
        chain = replace(chain, rounds=tuple(replace(rnd, steps=steps) for rnd in chain.rounds))
        await dev.run_chain(chain, 2)
    seen = dev.seams.cleared + sum(dev.seams.clips)
    cocotb.log.info("%d codes at an end, %d forgotten", seen, dev.seams.cleared)


@cocotb.test
async def no_ready_or_valid_depends_on_its_partner(dut: Any) -> None:
    """In the cycles of a run under random traffic, the partner of each output toggles within the cycle."""
    rng = bench.generator("partners")
    dev = Macro(dut, rng)
    await dev.start()
    for _ in range(4 if dev.cfg.rows <= 16 else 1):
        dev.traffic(0.4, 0.6)
        chain = some_chain(dev.cfg, rng)
        dev.send_words(chain)
        sent = False
        for _ in range(500):
            if dev.words.empty and not sent:
                dev.send_vectors(chain, 1)
                sent = True
            for output, partner in PARTNERS:
                await dev.independent(output, partner)
            await dev.cycle()
        await dev.drain()


@cocotb.test
async def a_new_column_table_waits_for_the_outputs_of_the_old_one(dut: Any) -> None:
    """The sink stops with a chain's last columns in the output lanes, new words on offer: they wait, and so does y."""
    rng = bench.generator("column table")
    dev = Macro(dut, rng)
    await dev.start()
    chain = waiting_chain(dev.cfg, rng)
    dev.send_words(chain)
    for _ in range(8 if dev.cfg.rows <= 16 else 2):
        dev.traffic(0.0, 0.0)
        await dev.run(lambda: dev.words.empty, limit=10_000)
        dev.outs = []
        columns = [rnd.col_count for rnd in chain.rounds if rnd.end is not End.HOLD]
        early = sum(columns) - (columns[-1] - 1) % dev.cfg.n_adcs - 1  # outputs before those of the last phase
        open_now = [False]
        dev.sink.backpressure = stop_after(dev.outs, early, open_now)
        dev.send_vectors(chain, 1)
        await dev.run(partial(dev.waits_behind, early), limit=20_000)
        chain, sent = waiting_chain(dev.cfg, rng), dev.words.sent
        dev.send_words(chain)
        for _ in range(2 * dev.cfg.cols + 4):
            await dev.cycle()
        moved = dev.words.sent - sent
        open_now[0] = True
        await dev.drain()
        assert not moved, f"{moved} words moved while outputs waited"


def waiting_chain(cfg: Config, rng: np.random.Generator) -> Chain:
    """A random chain that ends in requantized outputs, two or more in its last phase: one leaves the lanes at once."""
    assert cfg.n_adcs > 1, "with one lane no output waits for its requantization"
    while True:
        chain = some_chain(cfg, rng)
        *rounds, last = chain.rounds
        if (last.col_count - 1) % cfg.n_adcs:
            return replace(chain, rounds=(*rounds, replace(last, end=End.REQUANT)))


def stop_after(outs: list[int], count: int, open_now: list[bool]) -> Iterator[bool]:
    """A sink that takes `count` outputs, and the rest once `open_now` says so."""
    while True:
        yield not open_now[0] and len(outs) >= count


@cocotb.test
async def a_chain_runs_again_without_new_words(dut: Any) -> None:
    """Vectors that come after a pause run through the chain that is already there."""
    rng = bench.generator("again")
    dev = Macro(dut, rng)
    await dev.start()
    chain = some_chain(dev.cfg, rng)
    await dev.run_chain(chain, 1)
    for _ in range(2):
        dev.traffic(0.2, 0.2)
        dev.send_vectors(chain, 1)
        await dev.drain()


@cocotb.test
async def reset_in_the_middle_leaves_no_trace(dut: Any) -> None:
    """A reset at a random moment of a run: outputs stop at once, and the next chain matches from its first cycle."""
    rng = bench.generator("reset")
    dev = Macro(dut, rng)
    await dev.start()
    for _ in range(8 if dev.cfg.rows <= 16 else 2):
        chain = some_chain(dev.cfg, rng)
        dev.traffic(0.2, 0.2)
        dev.send_words(chain)
        await dev.run(lambda: dev.words.empty, limit=10_000)
        dev.send_vectors(chain, 2)
        for _ in range(int(rng.integers(5, 150))):
            await dev.cycle()
        dut.rst_ni.value = 0
        await bench.settle()
        assert not dev.read("out_valid_o") and not dev.read("in_ready_o") and not dev.read("psum_ready_o")
        await dev.start()
        dev.beats.send([{"data_i": 0}])
        for _ in range(3):
            await dev.cycle()
        assert not dev.beats.empty, "a beat was taken without round words"
        await dev.start()
        await dev.run_chain(some_chain(dev.cfg, rng), 1)
