# SPDX-License-Identifier: Apache-2.0
"""Programming inside the whole macro: cells of the behavioural array, then a chain on what was programmed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from twinor.cells import blank, settings_of

from tb.common import bench
from tb.common.checker import Checker
from tb.common.probes import junk
from tb.common.programming import COUNTERS, STATUS_FIELDS, Operation, beats, place_cells, setting_ports
from tb.common.stream import StreamSink, StreamSource
from tb.common.values import to_int
from tb.tb_cim_macro import Macro, some_chain

if TYPE_CHECKING:
    from twinor.golden.prog_ctrl import Programmed


class Programmer(Macro):
    """The macro's streams, and those of its program-verify controller."""

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        """Wire both."""
        super().__init__(dut, rng)
        width = self.cfg.n_adcs * self.cfg.cell_bits
        self.targets = StreamSource(dut, "prog_target", {"data_i": width})
        self.status: Checker[dict[str, int]] = Checker("statuses")
        took = self.status.got
        self.statuses = StreamSink(dut, "prog_status", STATUS_FIELDS, lambda beat: took(beat, time=bench.now()))
        self.agents = (*self.agents, self.targets, self.statuses)

    def operation(self, **changes: Any) -> Operation:
        """Every row of a small macro to random levels, some rows of a larger one, from blank cells."""
        cfg = self.cfg
        plain: dict[str, Any] = {
            "cells": blank(cfg, macro=0, seed=int(self.rng.integers(1 << 30))),
            "levels": self.rng.integers(0, 1 << cfg.cell_bits, (cfg.rows, cfg.bit_lines)).astype(np.uint8),
            "settings": settings_of(cfg, retries=1),
            "rows": range(cfg.rows) if cfg.rows <= 8 else range(3, 6),
        }
        return Operation(**(plain | changes))

    async def begin(self, op: Operation) -> Programmed:
        """Put the cells there, offer targets, start; returns what golden does."""
        dut, cfg = self.dut, self.cfg
        golden = op.golden(cfg, self.die)
        place_cells(dut.u_analog_sim.u_flash_array, cfg, self.die, op.cells)
        for name, value in (setting_ports(cfg, op.settings) | op.start()).items():
            getattr(dut, f"prog_{name}").value = value
        self.targets.send(op.targets(cfg) * len(golden.passes))
        self.status.expect(*beats(cfg, golden, op.settings.retries))
        await self.pulse_start()
        return golden

    async def pulse_start(self) -> None:
        """One cycle of start; what counts with it is X afterwards."""
        self.dut.prog_start_i.value = 1
        await self.cycle()
        self.dut.prog_start_i.value = 0
        for name in ("op_i", "row_base_i", "row_count_i"):
            junk(getattr(self.dut, f"prog_{name}"), self.rng)

    async def finish(self, golden: Programmed, *, after: int = 0) -> None:
        """Until the operation is done: statuses, counters, cycles and every threshold are golden's."""
        done = after + await self.run(lambda: bool(self.read("prog_done_o")), limit=golden.cycles + 10)
        assert done == golden.cycles, f"done after {done} cycles, expected {golden.cycles}"
        for name in COUNTERS:
            assert self.read(f"prog_{name}_o") == getattr(golden, name), name
        got = np.array([to_int(word) & 0xFFFF for word in self.dut.u_analog_sim.u_flash_array.state_mem])
        assert np.array_equal(got, golden.cells.threshold.ravel()), "thresholds differ from golden's"
        self.status.finish()
        self.die = replace(self.die, strength=golden.cells.strength[None])


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated macro is what the configuration says."""
    bench.parameters_equal_configuration(dut, "cim_macro")


@cocotb.test
async def a_chain_on_programmed_cells_matches_golden(dut: Any) -> None:
    """Erase and program all rows, then random chains on the reached strengths, then program again."""
    rng = bench.generator("programmed")
    dev = Programmer(dut, rng)
    await dev.start()
    for _ in range(2):
        await dev.finish(await dev.begin(dev.operation()))
        for _ in range(4):
            await dev.run_chain(some_chain(dev.cfg, rng), 2)


@cocotb.test
async def chains_wait_while_cells_are_programmed(dut: Any) -> None:
    """Words, then activations on offer during an operation: neither moves, and afterwards the outputs are golden's."""
    rng = bench.generator("waiting")
    dev = Programmer(dut, rng)
    await dev.start()
    rows = range(1, 2)
    await dev.finish(await dev.begin(dev.operation()))
    for _ in range(2):
        chain = some_chain(dev.cfg, rng)
        golden = await dev.begin(dev.operation(rows=rows))
        dev.send_words(chain)
        sent = dev.words.sent
        for _ in range(50):
            await dev.cycle()
        assert dev.words.sent == sent, "words moved while cells were programmed"
        await dev.finish(golden, after=50)
        await dev.run(lambda: dev.words.empty, limit=10_000)
        golden = await dev.begin(dev.operation(rows=rows))
        dev.die = replace(dev.die, strength=golden.cells.strength[None])
        dev.send_vectors(chain, 1)
        sent = dev.beats.sent
        for _ in range(50):
            await dev.cycle()
        assert dev.beats.sent == sent, "activations moved while cells were programmed"
        await dev.finish(golden, after=50)
        await dev.drain()


@cocotb.test
async def a_start_during_a_chain_is_an_error_and_changes_nothing(dut: Any) -> None:
    """Starts in any cycle of a chain: error, no pulse, and the chain's outputs are golden's."""
    rng = bench.generator("refused")
    dev = Programmer(dut, rng)
    await dev.start()
    await dev.finish(await dev.begin(dev.operation()))
    chain = some_chain(dev.cfg, rng)
    dev.send_words(chain)
    await dev.run(lambda: dev.words.empty, limit=10_000)
    dev.send_vectors(chain, 2)
    await dev.cycle()
    for name, value in dev.operation().start().items():
        getattr(dut, f"prog_{name}").value = value
    refused = 0
    while dev.checks["outputs and last"].outstanding > dev.cfg.n_lanes:
        now = int(rng.random() < 0.3)
        dut.prog_start_i.value = now
        await dev.cycle()
        assert dev.read("prog_error_o") == now and not dev.read("prog_busy_o")
        refused += now
    dut.prog_start_i.value = 0
    assert refused, "no start was tried"
    await dev.drain()
