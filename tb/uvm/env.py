# SPDX-License-Identifier: Apache-2.0
"""The environment: five stream agents, the seam monitor, scoreboard and coverage around one macro."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cocotb.triggers import FallingEdge, ReadOnly
from pyuvm import uvm_env

from tb.common.stream import never, pauses
from tb.common.values import to_int
from tb.uvm.agents import Clocking, SinkAgent, SourceAgent
from tb.uvm.coverage import Coverage
from tb.uvm.scoreboard import Scoreboard
from tb.uvm.seams import SeamMonitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from twinor.config import Config
    from twinor.die import Die

__all__ = ["MacroEnv"]


class MacroEnv(uvm_env):
    """Agents `words`, `activations`, `psums`, `residuals`, `outputs`; `sample` drives every monitor, once a cycle."""

    config: Config
    die: Die
    clocking: Clocking
    compared: dict[str, int]

    def build_phase(self) -> None:
        """Make every component."""
        cfg = self.config
        fields = {
            "words": ("round", {"addr_i": 16, "data_i": 32}),
            "activations": ("in", {"data_i": cfg.in_lanes * cfg.input_bits}),
            "psums": ("psum", {"data_i": cfg.psum_bits}),
            "residuals": ("res", {"data_i": cfg.input_bits + 1}),
        }
        self.sources = {name: SourceAgent(name, self) for name in fields}
        for name, (prefix, widths) in fields.items():
            agent = self.sources[name]
            agent.clocking, agent.prefix, agent.fields = self.clocking, prefix, widths
        self.sink = SinkAgent("outputs", self)
        self.sink.clocking = self.clocking
        self.seams = SeamMonitor("seams", self)
        self.seams.clocking, self.seams.config = self.clocking, cfg
        self.scoreboard = Scoreboard("scoreboard", self)
        self.scoreboard.config, self.scoreboard.die, self.scoreboard.compared = cfg, self.die, self.compared
        self.coverage = Coverage("coverage", self)
        self.coverage.config, self.coverage.die = cfg, self.die

    def connect_phase(self) -> None:
        """Monitors to scoreboard and coverage."""
        exports, went = self.scoreboard.exports, self.coverage.went
        for name, agent in self.sources.items():
            agent.monitor.moved.connect(exports[name])
            agent.monitor.went.connect(went[{"psums": "partial sums", "residuals": "residual codes"}.get(name, name)])
        self.sink.monitor.moved.connect(exports["outputs"])
        self.sink.monitor.went.connect(went["outputs"])
        self.seams.held.connect(exports["held"])
        self.seams.converted.connect(exports["converted"])
        self.scoreboard.predicted.connect(self.coverage.predicted)

    @property
    def patience(self) -> int:
        """Cycles without any event after which the macro must have stalled, whatever the traffic."""
        cfg = self.config
        return 2000 + 10 * (cfg.wl_cycles + cfg.settle_cycles + cfg.conversion_cycles + cfg.out_cols)

    @property
    def monitors(self) -> list[Any]:
        """Everything that samples a cycle, inputs before outputs."""
        return [*(agent.monitor for agent in self.sources.values()), self.seams, self.sink.monitor]

    async def run_phase(self) -> None:
        """Sample every cycle out of reset, after the drivers wrote and before the rising edge."""
        dut = self.clocking.dut
        while True:
            await FallingEdge(dut.clk_i)
            await ReadOnly()
            if to_int(dut.rst_ni):
                for monitor in self.monitors:
                    monitor.sample()
                self.clocking.cycle += 1
                quiet = self.clocking.cycle - self.clocking.moved
                assert quiet < self.patience, f"nothing moved for {quiet} cycles: the macro stalled"

    def traffic(self, rng: np.random.Generator, idle: float, busy: float) -> None:
        """Shares of cycles in which sources offer nothing and the sink takes nothing."""

        def generator(share: float) -> Iterator[bool]:
            return pauses(rng, share) if share else never()

        for agent in self.sources.values():
            agent.driver.pauses = generator(idle)
        self.sink.driver.pauses = generator(busy)

    def reset(self) -> None:
        """What was under way is void, for monitors and scoreboard."""
        for monitor in self.monitors:
            monitor.reset()
        self.scoreboard.reset()
