# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/cim_macro.v in rtl/sim/macro_sim.v: random rounds, any traffic; `golden.cim_macro` is the model."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import cocotb
from twinor.cosim.files import thresholds_hex
from twinor.golden import cim_macro
from twinor.golden.round_check import RoundError
from twinor.rounds import End, converts

from tb.common import bench
from tb.common.beats import activation_beats, by_position, chain_words, die_words
from tb.common.checker import Checker
from tb.common.macro_agents import Clearing, Pulses, SeamMonitor
from tb.common.stimulus import random_chain, random_vectors
from tb.common.stream import StreamSink, StreamSource, never, pauses
from tb.common.values import signed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from twinor.config import Config
    from twinor.die import Die
    from twinor.rounds import Chain
    from twinor.trace import RoundTrace

SEAMS = ("word lines", "codes", "partial sums", "outputs and last")

PARTNERS = (
    ("in_ready_o", "in_valid_i"),
    ("psum_ready_o", "psum_valid_i"),
    ("res_ready_o", "res_valid_i"),
    ("round_ready_o", "round_valid_i"),
    ("out_valid_o", "out_ready_i"),
)
"""An output, and the input of the same stream that it must not follow within a cycle."""


class Macro(bench.Bench):
    """Four sources, a sink, a monitor of the seams, and golden's trace of every chain."""

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        """Wire everything at full rate."""
        self.cfg, self.die, self.rng = bench.config(), bench.die(), rng
        cfg = self.cfg
        self.words = StreamSource(dut, "round", {"addr_i": 16, "data_i": 32})
        self.beats = StreamSource(dut, "in", {"data_i": cfg.in_lanes * cfg.input_bits})
        self.psums = StreamSource(dut, "psum", {"data_i": cfg.psum_bits})
        self.residuals = StreamSource(dut, "res", {"data_i": cfg.input_bits + 1})
        self.sources = (self.words, self.beats, self.psums, self.residuals)
        self.sink = StreamSink(dut, "out", ("data_o", "last_o"), self.took)
        self.checks: dict[str, Checker[Any]] = {}
        self.seams = SeamMonitor(dut, cfg, self.checks)
        self.outs: list[int] = []
        self.clearing = Clearing(dut)
        self.pulses = Pulses(dut)
        super().__init__(dut, *self.sources, self.sink, self.clearing, self.seams, self.pulses)

    async def start(self) -> None:
        """Reset; nothing is expected yet."""
        self.checks.update({name: Checker(name) for name in SEAMS})
        self.outs.clear()
        await self.reset()

    def traffic(self, idle: float, busy: float) -> None:
        """Shares of cycles in which sources offer nothing and the sink takes nothing."""
        for source in self.sources:
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
        """Offer activations, partial sums and residual codes, expect what golden says; returns its trace."""
        cfg = self.cfg
        sent = random_vectors(cfg, chain, self.rng, count=count)
        traces = cim_macro.run_chain(cfg, self.die, chain, sent.inputs, sent.psums, sent.residuals)
        for v in range(count):
            for x, trace in zip(sent.inputs, traces, strict=True):
                self.beats.send(activation_beats(cfg, x[v].tolist()))
                self._expect(trace, v)
        self.psums.send(columns(sent.psums, cfg.psum_bits))
        self.residuals.send(columns(sent.residuals, cfg.input_bits + 1))
        return traces

    def _expect(self, trace: RoundTrace, v: int) -> None:
        for p, where in enumerate(trace.passes):
            self.checks["word lines"].expect(trace.word_lines[v, p].tolist())
            if not converts(self.cfg, trace.rnd, where):
                continue
            seams = (trace.codes[v, p], trace.partial_sums[v, p])
            for codes, sums in zip(*(by_position(self.cfg, trace.rnd, seam) for seam in seams), strict=True):
                self.checks["codes"].expect(codes.tolist())
                self.checks["partial sums"].expect(sums.tolist())
                self.seams.lanes.append(len(sums))
        flags = trace.last_flags[v].tolist()
        self.checks["outputs and last"].expect(*zip(trace.outputs[v].tolist(), flags, strict=True))

    def send_timed(self, chain: Chain, count: int) -> tuple[list[RoundTrace], int]:
        """Offer vectors whose events are to be timed; returns golden's trace and the cycle of the first beat."""
        self.seams.holds, self.seams.codes, self.outs = [], [], []
        return self.send_vectors(chain, count), self.seams.cycle + 1

    def compare_cycles(self, traces: list[RoundTrace], first: int) -> None:
        """Fail unless every hold, code and output came in the cycle that golden states, counted from `first`."""
        vectors, width = range(len(traces[0].outputs)), self.cfg.n_lanes
        wanted = {
            "hold": [c for v in vectors for t in traces for c in t.hold_cycles[v].tolist()],
            "code": [
                c
                for v in vectors
                for t in traces
                for p, when in zip(t.passes, t.code_cycles[v], strict=True)
                if converts(self.cfg, t.rnd, p)
                for c in when[: t.rnd.col_count : width].tolist()
            ],
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
        assert all(source.empty for source in self.sources[1:]), "activations, sums or residuals were not taken"
        for check in checks:
            check.finish()

    async def run_chain(self, chain: Chain, count: int) -> None:
        """Words, then vectors, then wait for everything."""
        self.send_words(chain)
        await self.run(lambda: self.words.empty, limit=10_000)
        self.send_vectors(chain, count)
        await self.drain()


def columns(values: NDArray[np.int64] | None, bits: int) -> Iterator[dict[str, int]]:
    """One beat a column, in two's complement."""
    return ({"data_i": int(value) & ((1 << bits) - 1)} for value in ([] if values is None else values.reshape(-1)))


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
    threshold = dev.die.threshold.copy()
    threshold[0, 0, 1:], threshold[0, -1, 1:] = 0, (1 << 31) - 1  # codes at the ends
    own, dev.die = dev.die, replace(dev.die, threshold=threshold)
    write_thresholds(dut, dev.die)
    for n in range(24 if dev.cfg.rows <= 16 else 3):
        dev.clearing.when = [never(), pauses(rng, 0.05), pauses(rng, 0.6)][n % 3]
        chain = some_chain(dev.cfg, rng)
        steps = ((dev.cfg.steps[0],) * dev.cfg.w_slices,) * dev.cfg.x_slices
        chain = replace(chain, rounds=tuple(replace(rnd, steps=steps) for rnd in chain.rounds))
        await dev.run_chain(chain, 2)
    seen = dev.seams.cleared + sum(dev.seams.clips)
    write_thresholds(dut, own)
    assert dev.seams.cleared, f"{seen} codes at an end, none forgotten"


def write_thresholds(dut: Any, die: Die) -> None:
    """Give the comparators the thresholds of a die."""
    memory = dut.u_analog_sim.u_adc_frontend.threshold_mem
    for word, line in zip(memory, thresholds_hex(die, 0).splitlines(), strict=True):
        word.value = int(line, 16)


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
        early = sum(columns) - (columns[-1] - 1) % dev.cfg.n_lanes - 1  # outputs before those of the last phase
        open_now = [False]
        dev.sink.backpressure = stop_after(dev.outs, early, open_now)
        dev.send_vectors(chain, 1)
        await dev.run(partial(dev.waits_behind, early), limit=20_000)
        chain, sent = waiting_chain(dev.cfg, rng), dev.words.sent
        dev.send_words(chain)
        for _ in range(2 * dev.cfg.out_cols + 4):
            await dev.cycle()
        moved = dev.words.sent - sent
        open_now[0] = True
        await dev.drain()
        assert not moved, f"{moved} words moved while outputs waited"


def waiting_chain(cfg: Config, rng: np.random.Generator) -> Chain:
    """A random chain that ends in requantized outputs, two or more in its last phase: one leaves the lanes at once."""
    assert cfg.n_lanes > 1, "with one lane no output waits for its requantization"
    while True:
        chain = some_chain(cfg, rng)
        *rounds, last = chain.rounds
        if (last.col_count - 1) % cfg.n_lanes:
            return replace(chain, rounds=(*rounds, replace(last, end=End.REQUANT)))


def stop_after(outs: list[int], count: int, open_now: list[bool]) -> Iterator[bool]:
    """A sink that takes `count` outputs, and the rest once `open_now` says so."""
    while True:
        yield not open_now[0] and len(outs) >= count


@cocotb.test
async def status_pins_tell_rounds_chains_and_a_bad_descriptor(dut: Any) -> None:
    """One pulse a round and one a chain; then a descriptor without rows stops the chain, and new words run."""
    rng = bench.generator("status")
    dev = Macro(dut, rng)
    await dev.start()
    for _ in range(4 if dev.cfg.rows <= 16 else 1):
        chain, count = some_chain(dev.cfg, rng), 2
        dev.traffic(0.2, 0.2)
        dev.pulses.seen.clear()
        await dev.run_chain(chain, count)
        rounds = count * len(chain.rounds)
        assert dev.pulses.seen == Counter(round_done_o=rounds, chain_done_o=count), f"{dev.pulses.seen}"
        assert not dev.read("busy_o")
        words = list(chain_words(dev.cfg, chain))
        first = next(word for word in words if word["addr_i"] == 0)
        dev.words.send([word if word is not first else first | {"data_i": 0} for word in words])
        await dev.run(lambda: dev.words.empty, limit=10_000)
        for _ in range(4):
            await dev.cycle()
        assert dev.pulses.seen["error_valid_o"] == 1 and dev.pulses.error == (RoundError.ROWS, 0)
        assert not dev.read("in_ready_o") and not dev.read("busy_o")
    await dev.run_chain(some_chain(dev.cfg, rng), 1)


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
        quiet = ("out_valid_o", "in_ready_o", "psum_ready_o", "res_ready_o", "busy_o", "error_valid_o")
        assert not any(dev.read(name) for name in quiet)
        await dev.start()
        dev.beats.send([{"data_i": 0}])
        for _ in range(3):
            await dev.cycle()
        assert not dev.beats.empty, "a beat was taken without round words"
        await dev.start()
        await dev.run_chain(some_chain(dev.cfg, rng), 1)
