# SPDX-License-Identifier: Apache-2.0
"""Tests of the pyuvm environment that must fail, each for one of the ways in which pyuvm would stay green."""

from __future__ import annotations

import logging

import pyuvm

from tb.uvm.items import Held
from tb.uvm.stimulus import corner_chain
from tb.uvm.tests import MacroTest


@pyuvm.test()
class AComponentOnlyLogsAnError(MacroTest):
    """As a scoreboard does that reports and goes on."""

    async def stimulus(self) -> None:
        """Log."""
        self.env.scoreboard.logger.error("expected 3, got 4")


@pyuvm.test()
class ARegisterMirrorDiffers(MacroTest):
    """`mirror(UVM_CHECK)` of pyuvm logs to this logger and returns."""

    async def stimulus(self) -> None:
        """Log."""
        logging.getLogger("RegModel").error("mirror differs")


@pyuvm.test()
class NobodyObjectsToTheEnd(MacroTest):
    """Without an objection the run phase is over before it has begun."""

    async def run_phase(self) -> None:
        """Do nothing."""


@pyuvm.test()
class AnObjectionIsDroppedTwice(MacroTest):
    """The phase ends although somebody still works."""

    async def stimulus(self) -> None:
        """Drop one, the frame drops the other."""
        self.drop_objection()


@pyuvm.test()
class AMonitorSeesOneValueMore(MacroTest):
    """Word lines that no pass owes."""

    async def stimulus(self) -> None:
        """Run a chain with an event more than golden has."""
        lines = Held(self.env.clocking.cycle, [0] * self.config.rows)
        chain = corner_chain(self.config, self.rng)
        self.env.scoreboard.checks["word_lines"].got(lines.word_lines)
        await self.run(chain, vectors=1)


@pyuvm.test()
class AMonitorIsNotConnected(MacroTest):
    """Golden's outputs come, the macro's never reach the scoreboard."""

    def connect_phase(self) -> None:
        """Take one wire away."""
        self.env.sink.monitor.moved.subscribers.clear()

    async def stimulus(self) -> None:
        """Run a chain."""
        await self.run(corner_chain(self.config, self.rng), vectors=1)
