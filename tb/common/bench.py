# SPDX-License-Identifier: Apache-2.0
"""The frame of every bench: what it is to test, and clock cycles in which its agents drive and sample.

One cycle runs from falling edge to falling edge: the test and the drivers set inputs, everything settles, the
monitors sample what the rising edge will see, and registers have their new values when the cycle returns.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, Timer
from cocotb.utils import get_sim_time
from twinor.config import load
from twinor.die_file import load_die

from tb.common.sources import declared_parameters, expected_parameters
from tb.common.values import to_int

if TYPE_CHECKING:
    from collections.abc import Callable

    from twinor.config import Config
    from twinor.die import Die

__all__ = ["Agent", "Bench", "config", "die", "generator", "now", "parameters_equal_configuration", "settle"]

PERIOD_NS = 10

CYCLE_LIMIT = 200_000
"""A bench that runs longer hangs."""


def config() -> Config:
    """The configuration under test: TWINOR_PRESET is a preset's name or file."""
    return load(os.environ["TWINOR_PRESET"])


def die() -> Die:
    """The die under test: TWINOR_DIE is its file."""
    return load_die(Path(os.environ["TWINOR_DIE"]), config())


def generator(label: str) -> np.random.Generator:
    """The random generator of one test, and its seed in the log; TWINOR_SEED repeats a run."""
    seed = int(os.environ["TWINOR_SEED"])
    cocotb.log.info("%s: random stimulus of TWINOR_SEED=%d", label, seed)
    return np.random.default_rng([seed, zlib.crc32(label.encode())])


def now() -> str:
    """Simulation time, for messages."""
    return f"{get_sim_time('ns'):.0f} ns"


def parameters_equal_configuration(dut: Any, block: str) -> None:
    """Fail unless every parameter of the elaborated top module is what the configuration says."""
    names = declared_parameters(block, Path(os.environ["TWINOR_RTL"]))
    assert names, f"{block}: no parameters found in its source"
    for name, expected in expected_parameters(config(), names).items():
        got = int(getattr(dut, name).value)
        assert got == expected, f"parameter {name}: expected {expected}, elaborated {got}"


async def settle() -> None:
    """Let writes reach everything combinational, without time passing for registers."""
    await Timer(1, "ns")


class Agent:
    """A driver or a monitor; each overrides what it needs."""

    def reset(self) -> None:
        """Forget everything under way and drive idle inputs."""

    def drive(self) -> None:
        """Set inputs for the coming rising edge."""

    def sample(self) -> None:
        """Read what the coming rising edge will see."""


class Bench:
    """Clock, reset and agents of one device."""

    def __init__(self, dut: Any, *agents: Agent) -> None:
        """Start the clock."""
        self.dut = dut
        self.agents = agents
        self.cycles = 0
        if hasattr(dut, "prog_start_i"):
            dut.prog_start_i.value = 0  # a bench that programs says so itself
        Clock(dut.clk_i, PERIOD_NS, unit="ns", impl="gpi").start()

    async def reset(self, **inputs: int) -> None:
        """Set inputs, then hold the reset, if there is one, for two cycles."""
        resets = [self.dut.rst_ni] if hasattr(self.dut, "rst_ni") else []
        for signal in resets:
            signal.value = 0
        for agent in self.agents:
            agent.reset()
        for name, value in inputs.items():
            getattr(self.dut, name).value = value
        for _ in range(2):
            await FallingEdge(self.dut.clk_i)
        for signal in resets:
            signal.value = 1

    async def cycle(self, see: str = "") -> int:
        """One clock cycle; the caller's own writes before it belong to it.

        Returns:
            What the rising edge saw on the port `see`, 0 without one.
        """
        for agent in self.agents:
            agent.drive()
        await ReadOnly()
        for agent in self.agents:
            agent.sample()
        seen = self.read(see) if see else 0
        await FallingEdge(self.dut.clk_i)
        self.cycles += 1
        assert self.cycles < CYCLE_LIMIT, "the bench does not come to an end"
        return seen

    async def run(self, until: Callable[[], bool], *, limit: int) -> int:
        """Cycles until a condition holds, at most `limit`; returns how many."""
        for count in range(limit):
            if until():
                return count
            await self.cycle()
        assert until(), f"not done after {limit} cycles, at {now()}"
        return limit

    async def independent(self, output: str, *inputs: str) -> None:
        """Fail if an output follows any of the one-bit inputs within the cycle; they get their values back."""
        for name in inputs:
            pin = getattr(self.dut, name)
            before, seen = self.read(name), self.read(output)
            pin.value = 1 - before
            await Timer(1, "ps")  # many of these still end before the rising edge
            flipped = self.read(output)
            pin.value = before
            await Timer(1, "ps")
            assert flipped == seen, f"{output} follows {name} within the cycle at {now()}: {seen}, then {flipped}"

    def read(self, name: str) -> int:
        """The value of a port; X is a failure."""
        return to_int(getattr(self.dut, name))
