# SPDX-License-Identifier: Apache-2.0
"""X and reset in rtl/cim_macro.v: what must not count is X, and a reset strikes in every state of every stage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from cocotb.handle import Force, Release
from cocotb.triggers import FallingEdge, ReadOnly, Timer
from cocotb.types import LogicArray
from twinor.golden import cim_macro
from twinor.rounds import End, Start

from tb.common import bench
from tb.common.beats import activation_beats
from tb.common.probes import AT_REST, Memories, Outputs, States, registers, spoil
from tb.common.stimulus import random_chain
from tb.common.stream import never
from tb.common.values import UnknownValue, needs_four_states, partly, signed, to_int
from tb.tb_cim_macro import Macro, effort, some_chain

if TYPE_CHECKING:
    from collections.abc import Callable

    from twinor.config import Config
    from twinor.rounds import Chain


class Device(Macro):
    """The macro of the main bench, with every output read in every cycle, its states, and its memories."""

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        """Wire everything at full rate."""
        super().__init__(dut, rng)
        self.outputs, self.states, self.memories = (
            Outputs(dut),
            States(dut, self.cfg),
            Memories(dut, self.cfg, self.die),
        )
        self.agents = (*self.agents, self.outputs, self.states)
        self.registers = list(registers(dut.u_cim_macro))

    async def strike(self, *, edge: bool) -> None:
        """A reset at a random point of the half cycle before the rising edge, or behind it, without one."""
        await Timer(int(self.rng.integers(6, 9) if edge else self.rng.integers(1, 6)), "ns")
        self.dut.rst_ni.value = 0
        await bench.settle()
        await ReadOnly()
        seen = self.outputs.read()
        assert seen == AT_REST, f"outputs {seen} under reset at {bench.now()}: expected {AT_REST}"
        kept = [register._name for register in self.registers if to_int(register)]
        assert not kept, f"registers {kept} are not 0 under reset at {bench.now()}"
        await FallingEdge(self.dut.clk_i)
        self.checks.update({name: type(check)(name) for name, check in self.checks.items()})
        for agent in self.agents:
            agent.reset()
        self.memories.forget()
        self.outs = []
        if not edge:
            await FallingEdge(self.dut.clk_i)
        self.dut.rst_ni.value = 1

    async def nothing_moves(self) -> None:
        """Beats, partial sums and residual codes on offer before any word: none is taken, and nothing leaves."""
        self.traffic(0.0, 0.0)
        self.beats.send([{"data_i": 0}])
        self.psums.send([{"data_i": 0}])
        self.residuals.send([{"data_i": 0}])
        for _ in range(4):
            await self.cycle()
            assert self.outputs.read() == AT_REST, f"the macro is not at rest at {bench.now()}"
        assert not any(source.empty for source in self.sources[1:]) and not self.outs
        for source in self.sources[1:]:
            source.reset()

    async def run_timed(self, chain: Chain, count: int) -> None:
        """Words, then vectors at full rate: every seam and every cycle."""
        self.traffic(0.0, 0.0)
        self.memories.leave(chain)
        self.send_words(chain)
        await self.run(lambda: self.words.empty, limit=10_000)
        traces, first = self.send_timed(chain, count)
        await self.drain()
        self.compare_cycles(traces, first)

    async def run_until(self, wanted: list[str]) -> str:
        """Cycles until the coming rising edge finds a wanted state; stops before that edge. Empty if all has come."""
        while any(check.outstanding for check in self.checks.values()):
            for agent in self.agents:
                agent.drive()
            await ReadOnly()
            for agent in self.agents:
                agent.sample()
            found = [name for name in wanted if name in self.states.now]
            if found:
                return found[0]
            await FallingEdge(self.dut.clk_i)
        return ""


class Texts(bench.Agent):
    """Takes every output and keeps its bits, X included."""

    def __init__(self, dut: Any) -> None:
        """Nothing yet."""
        self.dut, self.seen = dut, list[str]()

    def drive(self) -> None:
        """Always ready."""
        self.dut.out_ready_i.value = 1

    def sample(self) -> None:
        """See whether an output leaves."""
        if to_int(self.dut.out_valid_o):
            self.seen.append(str(self.dut.out_data_o.value).upper())


@dataclass(frozen=True)
class Injected:
    """An X that counts: the signal on which a bench must notice it first, and the columns whose outputs it reaches."""

    signal: str
    columns: set[int]
    spoil: Callable[[], None] = lambda: None
    """Makes a word of a memory X."""
    beat: int = -1
    psum: int = -1
    residual: int = -1
    """The activation, partial sum or residual code of which one bit is X."""
    decision: bool = False
    """One answer of the comparator of the only column is X."""


class Injection:
    """One round over one row group and all columns, from partial sums to requantized outputs, and an X in it."""

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        """A round in which everything that can be used is: every row at the top activation."""
        self.dev, self.texts, self.rng = Device(dut, rng), Texts(dut), rng
        dev, cfg = self.dev, self.dev.cfg
        self.cfg, self.watched = cfg, dev.agents
        self.blind = (*dev.sources, self.texts)
        plain = {"signed": False, "bias_rows": 0, "residual": True}
        whole = plain | {"row_base": 0, "row_count": cfg.active_rows, "col_base": 0, "col_count": cfg.out_cols}
        table = random_chain(cfg, rng, rounds=1)
        rnd = replace(table.rounds[0], **whole, start=Start.PSUM, end=End.REQUANT)
        self.chain = replace(table, rounds=(rnd,))
        self.x = [(1 << cfg.input_bits) - 1] * cfg.active_rows
        top = 1 << cfg.psum_bits - 1
        self.psums = rng.integers(-top, top, (1, cfg.out_cols))
        code = 1 << cfg.input_bits
        self.residuals = rng.integers(-code, code, (1, cfg.out_cols))

    def kinds(self) -> dict[str, Injected]:
        """One of each, at a random row and column."""
        cfg, dev, table = self.cfg, self.dev, self.dev.dut.u_cim_macro.u_requantize
        added = self.dev.dut.u_cim_macro.u_residual
        row, column = int(self.rng.integers(cfg.active_rows)), int(self.rng.integers(cfg.out_cols))
        lane, every = column % cfg.n_lanes, set(range(cfg.out_cols))
        thresholds = dev.memories.thresholds
        cell = dev.memories.cells[((row + 1) << cfg.dac_bits) - 1][0]
        first, reference = (thresholds[(2 * a + 1) << cfg.trials - 1][0] for a in (lane + cfg.ref_cols, 0))  # trial 0
        beside = {"a threshold of the reference": Injected("code", every, lambda: spoil(reference))}
        return (beside if cfg.ref_cols else {}) | {
            "a cell": Injected("code", every, lambda: spoil(cell)),
            "a threshold": Injected("code", {c for c in every if c % cfg.n_lanes == lane}, lambda: spoil(first)),
            "a decision": Injected("code", {column}, decision=True),
            "an activation": Injected("wl", every, beat=row),
            "a partial sum": Injected("sum", {column}, psum=column),
            "a residual code": Injected("sum", {column}, residual=column),
            "residual mult": Injected("sum", {column}, lambda: spoil(added.mult_mem[column])),
            "mult": Injected("out_data_o", {column}, lambda: spoil(table.mult_mem[column])),
            "add": Injected("out_data_o", {column}, lambda: spoil(table.add_mem[column])),
        }

    async def begin(self, what: Injected | None) -> None:
        """Words, then the beats of one vector with the X in its place."""
        dev, cfg = self.dev, self.cfg
        dev.agents = self.watched
        await dev.start()
        dev.memories.leave(self.chain)
        dev.send_words(self.chain)
        await dev.run(lambda: dev.words.empty, limit=10_000)
        self.texts.seen.clear()
        beats, width = list(activation_beats(cfg, self.x)), cfg.in_lanes * cfg.input_bits
        psums = [{"data_i": partly(int(p), cfg.psum_bits, -1)} for p in self.psums[0]]
        if what and what.beat >= 0:
            n, bit = what.beat // cfg.in_lanes, what.beat % cfg.in_lanes * cfg.input_bits
            beats[n] = {"data_i": partly((1 << width) - 1, width, ~(1 << bit))}
        codes = [{"data_i": partly(int(r), cfg.input_bits + 1, -1)} for r in self.residuals[0]]
        if what and what.residual >= 0:
            codes[what.residual] = {"data_i": partly(int(self.residuals[0, what.residual]), cfg.input_bits + 1, ~1)}
        if what and what.psum >= 0:
            value = int(self.psums[0, what.psum])
            psums[what.psum] = {"data_i": partly(value, cfg.psum_bits, ~1)}
        dev.beats.send(beats)
        dev.psums.send(psums)
        dev.residuals.send(codes)
        if what:
            what.spoil()

    async def force(self, column: int) -> None:
        """X from one comparator in one trial of a column, in any pass."""
        dut, cfg = self.dev.dut, self.cfg
        passes = cfg.x_slices and len(self.chain.rounds[0].steps) * cfg.w_slices
        skip, trial = int(self.rng.integers(passes)), int(self.rng.integers(cfg.trials))
        while True:
            await ReadOnly()
            here = to_int(dut.sample) and to_int(dut.mux) == column // cfg.n_lanes
            await FallingEdge(dut.clk_i)
            if here and not skip:
                break
            skip -= here
        for _ in range(trial):
            await FallingEdge(dut.clk_i)
        answers = list(str(dut.cmp.value))
        answers[-1 - cfg.ref_cols - column % cfg.n_lanes] = "X"
        dut.cmp.value = Force(LogicArray("".join(answers)))
        await FallingEdge(dut.clk_i)
        dut.cmp.value = Release()

    async def outputs(self, what: Injected | None) -> list[str]:
        """The bits of every output, in order."""
        await self.begin(what)
        self.dev.agents = self.blind
        forced = cocotb.start_soon(self.force(min(what.columns))) if what and what.decision else None
        await self.dev.run(lambda: len(self.texts.seen) == self.cfg.out_cols, limit=10_000)
        if forced:
            await forced
        return self.texts.seen

    async def noticed(self, what: Injected) -> str:
        """What the bench says when it meets the X; empty if it ends without a word."""
        await self.begin(what)
        forced = cocotb.start_soon(self.force(min(what.columns))) if what.decision else None
        self.dev.seams.lanes = [self.cfg.n_lanes] * 10_000
        said = ""
        try:
            await self.dev.run(lambda: self.dev.beats.empty and len(self.dev.outs) == self.cfg.out_cols, limit=10_000)
        except UnknownValue as error:
            said = str(error)
            await FallingEdge(self.dev.dut.clk_i)
        if forced:
            await forced
        return said


def harmless(chain: Chain, rng: np.random.Generator, cfg: Config, n: int) -> Chain:
    """The chain, every other one on few columns so that ADCs idle, every third one raw so that it has no table."""
    width = int(rng.integers(1, cfg.n_lanes + 1))
    rounds = [replace(rnd, col_count=width) if n % 2 else rnd for rnd in chain.rounds]
    raw = [replace(rnd, end=End.RAW) if rnd.end is End.REQUANT else rnd for rnd in rounds]
    return replace(chain, rounds=tuple(rounds if n % 3 else raw))


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated macro is what the configuration says."""
    bench.parameters_equal_configuration(dut, "cim_macro")


@cocotb.test
async def an_unknown_that_must_not_count_reaches_no_output(dut: Any) -> None:
    """X in accumulators, held columns and the table, in cells, thresholds, lanes and word bits that nothing uses.

    Raw chains have no column table at all, others their own columns alone; at full rate and under random traffic
    every seam, output and cycle is golden's, and no output is X in any cycle.
    """
    rng = bench.generator("harmless")
    dev = Device(dut, rng)
    await dev.start()
    chains, count = effort(dev.cfg)
    for n in range(chains):
        chain = harmless(some_chain(dev.cfg, rng), rng, dev.cfg, n)
        dev.memories.forget()
        await dev.run_timed(chain, count)
        dev.memories.forget()
        dev.traffic(0.4, 0.4)
        await dev.run_chain(chain, 1)
    cocotb.log.info("%s", {name: check.compared for name, check in dev.checks.items()})


@cocotb.test
@needs_four_states
async def an_unknown_that_counts_reaches_its_outputs_and_is_noticed(dut: Any) -> None:
    """X in a used cell, threshold, decision, activation, partial sum, mult or add: in its columns, and in no others."""
    rng = bench.generator("counts")
    test = Injection(dut, rng)
    width, clean = test.cfg.acc_bits, cim_macro.run_chain
    streams = [np.array([test.x])], test.psums, test.residuals
    golden = clean(test.cfg, test.dev.die, test.chain, *streams)[0].outputs[0].tolist()
    for _ in range(3):
        for name, what in test.kinds().items():
            texts = await test.outputs(what)
            seen = {c for c, text in enumerate(texts) if not set(text) <= {"0", "1"}}
            assert seen == what.columns, f"X in {name} reached columns {seen}: expected {what.columns}"
            known = {c: signed(int(text, 2), width) for c, text in enumerate(texts) if c not in seen}
            assert known == {c: golden[c] for c in known}, f"X in {name} changed other columns"
            said = await test.noticed(what)
            assert said.startswith(f"{what.signal} = "), f"X in {name} was noticed as: {said}"
        texts = await test.outputs(None)
        assert [signed(int(text, 2), width) for text in texts] == golden


@cocotb.test
@cocotb.parametrize(edge=[False, True])
async def a_reset_in_every_state_leaves_no_trace(dut: Any, edge: bool) -> None:
    """A reset in each state of each stage, at any point of the cycle: all is off at once, and the next chain is golden.

    Before the rising edge the reset lasts longer than a cycle; behind it, it is over before the next one.
    What has no reset is X from then on, so nothing of the old run can hide.
    """
    rng = bench.generator(f"reset {'behind' if edge else 'before'} the edge")
    dev = Device(dut, rng)
    await dev.start()
    todo, runs = States.names(dev.cfg), 0
    while todo:
        runs += 1
        assert runs < 400, f"states never reached: {todo}"
        chain = some_chain(dev.cfg, rng)
        dev.memories.leave(chain)
        dev.traffic(*[(0.2, 0.2), (0.6, 0.0), (0.0, 0.8)][runs % 3])
        dev.words.idle = never()
        dev.send_words(chain)
        dev.send_vectors(chain, 2)
        found = await dev.run_until(todo)
        if not found:
            await dev.drain()
            continue
        todo.remove(found)
        await dev.strike(edge=edge)
        await dev.nothing_moves()
        await dev.run_timed(some_chain(dev.cfg, rng), 1)
    cocotb.log.info("%d states, %d runs", len(States.names(dev.cfg)), runs)
