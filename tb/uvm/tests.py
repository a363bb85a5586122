# SPDX-License-Identifier: Apache-2.0
"""The tests of the environment, in order; the last one fails if a coverage goal is missed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cocotb
import pyuvm
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, Timer
from twinor.rounds import End
from twinor.trace import SEAMS

from tb.common import bench
from tb.common.stimulus import Vectors
from tb.common.values import to_int
from tb.uvm.agents import Clocking
from tb.uvm.coverage import hits
from tb.uvm.env import MacroEnv
from tb.uvm.guard import LogGuard
from tb.uvm.seams import states
from tb.uvm.sequences import ChainSequence
from tb.uvm.stimulus import code_ramp, corner_chain, corner_vectors, directed_chains

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twinor.rounds import Chain

COMPARED = dict.fromkeys(SEAMS, 0)
"""Values compared by seam, over all tests of the run."""

CHAINS_TO_CLOSE = 400
"""Random chains after which an open goal counts as missed."""

LONGEST = {"timeout_time": 10, "timeout_unit": "ms"}
"""A million cycles: a test that runs longer hangs."""

SILENT = (
    "out_valid_o",
    "in_ready_o",
    "psum_ready_o",
    "res_ready_o",
    "busy_o",
    "round_done_o",
    "chain_done_o",
    "error_valid_o",
    "prog_busy_o",
    "prog_done_o",
)
"""Outputs that a reset holds low."""


class MacroTest(pyuvm.uvm_test):
    """Environment, clock and reset; a subclass's `stimulus` is the test."""

    def build_phase(self) -> None:
        """Make the environment."""
        self.guard = LogGuard().__enter__()
        self.dut: Any = cocotb.top
        self.config, self.rng = bench.config(), bench.generator(type(self).__name__)
        self.env = MacroEnv("env", self)
        self.env.config, self.env.die, self.env.clocking = self.config, bench.die(), Clocking(self.dut)
        self.env.compared = COMPARED

    def end_of_elaboration_phase(self) -> None:
        """Drivers need a traffic before they run."""
        self.env.traffic(self.rng, 0.0, 0.0)

    async def run_phase(self) -> None:
        """Reset, stimulus."""
        self.raise_objection()
        dut = self.dut
        dut.rst_ni.value, dut.prog_start_i.value = 0, 0
        Clock(dut.clk_i, bench.PERIOD_NS, unit="ns", impl="gpi").start()
        for _ in range(2):
            await FallingEdge(dut.clk_i)
        dut.rst_ni.value, dut.clip_clear_i.value = 1, 0
        await self.stimulus()
        self.drop_objection()

    async def stimulus(self) -> None:
        """Overridden by every test."""
        raise NotImplementedError

    def final_phase(self) -> None:
        """What was only logged fails the test."""
        self.guard.__exit__(None, None, None)
        assert not self.guard.said, f"logged: {self.guard.said}"

    @property
    def small(self) -> bool:
        """True for a macro that simulates quickly."""
        return self.config.rows <= 16

    async def run(self, chain: Chain, *, vectors: int, words: bool = True, then: Chain | None = None) -> None:
        """Vectors at the corners through a chain."""
        streams = corner_vectors(self.config, chain, self.rng, count=vectors)
        await ChainSequence(self.env, chain, streams, words=words, then=then).start()


@pyuvm.test(stage=1, **LONGEST)
class DirectedChains(MacroTest):
    """Every step, start, end and chain length, saturation on both sides; nobody waits."""

    async def stimulus(self) -> None:
        """Every code, then each chain twice, the second time without new words."""
        chain, ramp = code_ramp(self.config)
        await ChainSequence(self.env, chain, Vectors(inputs=[ramp], psums=None, residuals=None)).start()
        for chain in directed_chains(self.config, self.rng):
            for words in (True, False):
                await self.run(chain, vectors=1, words=words)


@pyuvm.test(stage=1, **LONGEST)
class FullRate(MacroTest):
    """Vectors back to back: the cycle of every hold, code and output is golden's."""

    async def stimulus(self) -> None:
        """Random chains."""
        for _ in range(24 if self.small else 6):
            chain = corner_chain(self.config, self.rng)
            self.env.reset()
            await self.run(chain, vectors=3)
            self.env.scoreboard.check_cycles(chain, 3)


@pyuvm.test(stage=1, **LONGEST)
class RandomTraffic(MacroTest):
    """Idle sources and a stalling sink, from light to heavy; X on every field that is not valid."""

    async def stimulus(self) -> None:
        """Random chains, each twice: once without new words, then with those of the next one on offer."""
        chain = corner_chain(self.config, self.rng)
        for n in range(24 if self.small else 8):
            self.env.traffic(self.rng, *[(0.3, 0.3), (0.8, 0.0), (0.0, 0.9), (0.6, 0.7), (0.0, 0.0)][n % 5])
            await self.run(chain, vectors=1, words=n == 0)
            following = corner_chain(self.config, self.rng)
            await self.run(chain, vectors=2, words=False, then=following)
            chain = following


@pyuvm.test(stage=1, **LONGEST)
class ColumnTableWaits(MacroTest):
    """The sink stops with a chain's last columns in the output lanes: the next chain's words wait, and so does y."""

    async def stimulus(self) -> None:
        """Requantizing chains with two columns or more in their last phase, each with a column table of its own."""
        chain = self._chain()
        for n in range(8 if self.small else 2):
            following = self._chain()
            columns = [rnd.col_count for rnd in chain.rounds if rnd.end is not End.HOLD]
            early = sum(columns) - (columns[-1] - 1) % self.config.n_lanes - 1  # outputs before the last phase's
            outs, open_now = self.env.scoreboard.seen["out"], [False]
            self.env.sink.driver.pauses = stop_after(outs, len(outs) + early, open_now)
            before = len(outs)
            run = cocotb.start_soon(self.run(chain, vectors=1, words=n == 0, then=following))
            while len(outs) < before + early or not to_int(self.dut.out_valid_o):
                await FallingEdge(self.dut.clk_i)
            for _ in range(2 * self.config.out_cols + 4):
                await FallingEdge(self.dut.clk_i)
            open_now[0] = True
            await run
            chain = following

    def _chain(self) -> Chain:
        while True:
            chain = corner_chain(self.config, self.rng)
            *rounds, last = chain.rounds
            if (last.col_count - 1) % self.config.n_lanes:
                return replace(chain, rounds=(*rounds, replace(last, end=End.REQUANT)))


def stop_after(outs: list[int], count: int, open_now: list[bool]) -> Iterator[bool]:
    """A sink that takes outputs up to `count`, and the rest once `open_now` says so."""
    while True:
        yield not open_now[0] and len(outs) >= count


@pyuvm.test(stage=1, **LONGEST)
class ResetInEveryState(MacroTest):
    """A reset at any moment of a cycle voids everything under way; the next chain matches at every seam."""

    async def stimulus(self) -> None:
        """Aim at one open state after the other."""
        for _ in range(CHAINS_TO_CLOSE):
            missed = self.env.coverage.open.get("reset", [])
            if not missed:
                return
            self.env.traffic(self.rng, *[(0.3, 0.5), (0.0, 0.8), (0.7, 0.2)][int(self.rng.integers(3))])
            await self._reset_in(missed[0])
            self.env.traffic(self.rng, 0.0, 0.0)
            await self.run(corner_chain(self.config, self.rng, rounds=1), vectors=1)

    async def _reset_in(self, state: str) -> None:
        """Run a chain until the state holds, then reset at some nanosecond of the cycle."""
        dut, clocking = self.dut, self.env.clocking
        chain = corner_chain(self.config, self.rng)
        if state == "disarmed":
            await self._reset()
        run = cocotb.start_soon(self.run(chain, vectors=2))
        while not run.done():
            await FallingEdge(dut.clk_i)
            await ReadOnly()
            if state in self._states():
                break
        await Timer(int(self.rng.choice([1, 2, 3, 4, 6, 7, 8, 9])), "ns")
        clocking.flush = not run.done()
        await self._reset()
        await run
        clocking.flush = False

    def _states(self) -> set[str]:
        return states(self.dut, words_taken=self.env.scoreboard.predictor.words_taken)

    async def _reset(self) -> None:
        """Assert now, release at a falling edge; nothing valid leaves and nothing is taken meanwhile."""
        dut = self.dut
        self.env.coverage.hit("reset", *self._states())
        dut.rst_ni.value = 0
        for _ in range(int(self.rng.integers(1, 4))):
            await Timer(1, "ns")
            for name in SILENT:
                assert to_int(getattr(dut, name)) == 0, f"{name} is high in reset"
            await FallingEdge(dut.clk_i)
        self.env.reset()
        dut.rst_ni.value = 1


@pyuvm.test(stage=2, **LONGEST)
class Closure(MacroTest):
    """Random chains under random traffic until every goal is met."""

    async def stimulus(self) -> None:
        """Stop at the last open bin."""
        for n in range(CHAINS_TO_CLOSE):
            if not self.env.coverage.open:
                return
            self.env.traffic(self.rng, *[(0.0, 0.0), (0.3, 0.3), (0.6, 0.6)][n % 3])
            await self.run(corner_chain(self.config, self.rng), vectors=2)


@cocotb.test(stage=3)
async def every_coverage_goal_is_met(_: Any) -> None:
    """Every bin of every goal was hit and every seam compared; writes `coverage.json` first."""
    found = hits()
    Path("coverage.json").write_text(json.dumps({"hits": found, "compared": COMPARED}), encoding="utf-8")
    missed = [f"{goal}: {name}" for goal, bins in found.items() for name, count in bins.items() if not count]
    assert not missed, f"goals missed: {'; '.join(missed)}"
    assert all(COMPARED.values()), f"a seam was never compared: {COMPARED}"
