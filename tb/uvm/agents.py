# SPDX-License-Identifier: Apache-2.0
"""Agents of the valid-ready streams: drivers that hold every offer, monitors that see every beat and every wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cocotb.triggers import FallingEdge, ReadOnly
from pyuvm import uvm_agent, uvm_analysis_port, uvm_driver, uvm_monitor, uvm_sequencer

from tb.common.values import to_int, unknown
from tb.uvm.items import Beat

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Clocking", "SinkAgent", "SourceAgent", "StreamMonitor"]


class Clocking:
    """The macro's clock as its agents share it: cycle count, traffic, and whether drivers must drop what they have.

    One cycle runs from falling edge to falling edge: drivers write at the falling edge, monitors read after it what the
    rising edge will see.
    """

    def __init__(self, dut: Any) -> None:
        """Everybody drives."""
        self.dut = dut
        self.cycle = 0
        self.moved = 0  # the last cycle in which a beat moved or a column was held or converted
        self.flush = False


class SourceDriver(uvm_driver):
    """Offers the beats of an item in order; a beat once offered stays; fields hold X while none is."""

    clocking: Clocking
    prefix: str
    fields: dict[str, int]
    pauses: Iterator[bool]

    async def run_phase(self) -> None:
        """Items back to back, as the sequencer hands them out."""
        dut = self.clocking.dut
        self.valid, self.ready = getattr(dut, f"{self.prefix}_valid_i"), getattr(dut, f"{self.prefix}_ready_o")
        self.ports = {name: getattr(dut, f"{self.prefix}_{name}") for name in self.fields}
        self.idle()
        while True:
            item = await self.seq_item_port.get_next_item()
            for beat in item.beats:
                await self.offer(beat)
            self.idle()
            self.seq_item_port.item_done()

    def idle(self) -> None:
        """Offer nothing."""
        self.valid.value = 0
        for name, width in self.fields.items():
            self.ports[name].value = unknown(width)

    async def offer(self, beat: dict[str, Any]) -> None:
        """One beat, after the cycles in which the traffic pauses."""
        while not self.clocking.flush and next(self.pauses):
            self.idle()
            await FallingEdge(self.clocking.dut.clk_i)
        taken = self.clocking.flush
        if not taken:
            self.valid.value = 1
            for name, value in beat.items():
                self.ports[name].value = value
        while not taken:
            await ReadOnly()
            taken = bool(to_int(self.ready))
            await FallingEdge(self.clocking.dut.clk_i)
            taken |= self.clocking.flush


class SinkDriver(uvm_driver):
    """Takes what is offered, unless the traffic says no."""

    clocking: Clocking
    pauses: Iterator[bool]

    async def run_phase(self) -> None:
        """A new decision each cycle."""
        dut = self.clocking.dut
        while True:
            dut.out_ready_i.value = int(not next(self.pauses))
            await FallingEdge(dut.clk_i)


class StreamMonitor(uvm_monitor):
    """Publishes every beat that moves, and how each cycle went; fails if an offer is withdrawn or changed."""

    clocking: Clocking
    prefix: str
    fields: tuple[str, ...]
    source: bool

    def build_phase(self) -> None:
        """Find the signals."""
        dut, out, back = self.clocking.dut, "io"[not self.source], "oi"[not self.source]
        self.moved = uvm_analysis_port("moved", self)
        self.went = uvm_analysis_port("went", self)
        self.valid, self.ready = getattr(dut, f"{self.prefix}_valid_{out}"), getattr(dut, f"{self.prefix}_ready_{back}")
        self.ports = {name: getattr(dut, f"{self.prefix}_{name}") for name in self.fields}
        self.reset()

    def reset(self) -> None:
        """Nothing is on offer and nothing went before."""
        self.waiting: dict[str, str] | None = None
        self.before = ""

    def sample(self) -> None:
        """See one cycle."""
        if not to_int(self.valid):
            assert self.waiting is None, f"{self.prefix}: an offered beat was withdrawn: {self.waiting}"
            self.before = "pause" if self.before else ""
            to_int(self.ready)  # never X, whether anything is on offer or not
            return
        bits = {name: str(port.value) for name, port in self.ports.items()}
        assert self.waiting in (None, bits), f"{self.prefix}: waiting beat {self.waiting} became {bits}"
        if not to_int(self.ready):
            self.waiting = bits
            self.went.write("stalled")
            return
        if self.before:
            self.went.write({"moved": "back to back", "pause": "after a pause"}[self.before])
        self.waiting, self.before = None, "moved"
        self.clocking.moved = self.clocking.cycle
        self.moved.write(Beat(self.clocking.cycle, bits))


class SourceAgent(uvm_agent):
    """Sequencer, driver and monitor of a stream into the macro."""

    clocking: Clocking
    prefix: str
    fields: dict[str, int]

    def build_phase(self) -> None:
        """Make all three."""
        super().build_phase()
        self.sequencer = uvm_sequencer("sequencer", self)
        self.driver = SourceDriver("driver", self)
        self.driver.clocking, self.driver.prefix, self.driver.fields = self.clocking, self.prefix, self.fields
        self.monitor = StreamMonitor("monitor", self)
        self.monitor.clocking, self.monitor.prefix, self.monitor.source = self.clocking, self.prefix, True
        self.monitor.fields = tuple(self.fields)

    def connect_phase(self) -> None:
        """Driver to sequencer."""
        self.driver.seq_item_port.connect(self.sequencer.seq_item_export)


class SinkAgent(uvm_agent):
    """Driver and monitor of the stream out of the macro."""

    clocking: Clocking

    def build_phase(self) -> None:
        """Make both."""
        super().build_phase()
        self.driver = SinkDriver("driver", self)
        self.driver.clocking = self.clocking
        self.monitor = StreamMonitor("monitor", self)
        self.monitor.clocking, self.monitor.prefix, self.monitor.source = self.clocking, "out", False
        self.monitor.fields = ("data_o", "last_o")
