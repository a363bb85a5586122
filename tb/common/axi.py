# SPDX-License-Identifier: Apache-2.0
"""The macro on its buses: cocotbext-axi's master, sources and sink, paused on any channel, and what must not change."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import cocotb
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp, AxiStreamBus, AxiStreamSink, AxiStreamSource
from twinor.driver import Driver
from twinor.golden import cim_macro

from tb.common import bench
from tb.common.stimulus import random_vectors
from tb.common.stream import never, pauses
from tb.common.values import pack, signed, to_int

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from twinor.config import Config
    from twinor.die import Die
    from twinor.rounds import Chain
    from twinor.trace import RoundTrace

__all__ = ["Refused", "Shell"]

LIMIT_US = 2000
"""Simulation time that one wait may take."""

OFFERS = {
    "s_axil_b": ("valid", "ready", ("resp",)),
    "s_axil_r": ("valid", "ready", ("resp", "data")),
    "m_axis_out_t": ("valid", "ready", ("data", "last")),
    "m_axis_status_t": ("valid", "ready", ("data", "last")),
}
"""Channels on which the macro offers beats: their names, and what a waiting beat must keep."""


class Refused(Exception):
    """The bus answered with SLVERR."""


class Shell:
    """Clock, reset, an AXI4-Lite master, stream sources and a sink, and the driver on top of the master."""

    def __init__(self, dut: Any, die: Die, rng: np.random.Generator) -> None:
        """Start the clock; everything else waits for `start`."""
        self.dut, self.die, self.rng = dut, die, rng
        self.cfg: Config = bench.config()
        logging.getLogger(f"cocotb.{dut._name}").setLevel(logging.ERROR)
        Clock(dut.clk_i, bench.PERIOD_NS, unit="ns", impl="gpi").start()

    async def start(self) -> None:
        """Reset, with every input known before the first edge, then build the bus agents and watch what is offered."""
        dut = self.dut
        dut.rst_ni.value = 0
        for name in ("s_axil_awvalid", "s_axil_wvalid", "s_axil_bready", "s_axil_arvalid", "s_axil_rready"):
            getattr(dut, name).value = 0
        for name in ("s_axis_act_tvalid", "s_axis_psum_tvalid", "s_axis_res_tvalid", "s_axis_target_tvalid"):
            getattr(dut, name).value = 0
        for name in ("m_axis_out_tready", "m_axis_status_tready"):
            getattr(dut, name).value = 0
        await ClockCycles(dut.clk_i, 2)
        common = (dut.clk_i, dut.rst_ni)
        self.bus = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), *common, reset_active_level=False)
        self.act, self.psum, self.res, self.target = (
            AxiStreamSource(AxiStreamBus.from_prefix(dut, f"s_axis_{name}"), *common, reset_active_level=False)
            for name in ("act", "psum", "res", "target")
        )
        self.sink, self.statuses = (
            AxiStreamSink(AxiStreamBus.from_prefix(dut, f"m_axis_{name}"), *common, reset_active_level=False)
            for name in ("out", "status")
        )
        self.driver = Driver(resume(self.read), resume(self.write))
        self.watches = [_Watch(dut, prefix) for prefix in OFFERS]
        dut.rst_ni.value = 1
        await ClockCycles(dut.clk_i, 2)

    async def reset(self) -> None:
        """Reset at once, in the middle of whatever is under way; nothing that was queued is left."""
        self.dut.rst_ni.value = 0
        self.flush()
        await ClockCycles(self.dut.clk_i, 2)
        self.dut.rst_ni.value = 1
        await ClockCycles(self.dut.clk_i, 2)

    def flush(self) -> None:
        """Drop what sources have queued and half of what the sink has taken."""
        for agent in (self.act, self.psum, self.res, self.target, self.sink, self.statuses):
            agent.clear()
            agent.assert_reset()

    def pause(self, share: float) -> None:
        """Pause every channel in about this share of all cycles."""
        writes, reads = self.bus.write_if, self.bus.read_if
        channels = (writes.aw_channel, writes.w_channel, writes.b_channel, reads.ar_channel, reads.r_channel)
        for channel in (*channels, self.act, self.psum, self.res, self.target, self.sink, self.statuses):
            channel.set_pause_generator(pauses(self.rng, share) if share else never())

    # AXI4-Lite //

    async def respond(self, address: int, value: int, *, width: int = 4) -> AxiResp | None:
        """Write the low `width` bytes at an address; returns the response, None if a reset came first.

        A narrow write has fewer strobes.
        """
        data = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
        done = await with_timeout(self.bus.write(address, data), LIMIT_US, "us")
        return done.resp if done else None

    async def strobed(self, address: int, value: int, strobes: int) -> AxiResp:
        """Write with these strobes at this address, as no master of whole words would; returns the response."""
        writes = self.bus.write_if
        await writes.aw_channel.send(writes.aw_channel._transaction_obj(awaddr=address))
        await writes.w_channel.send(writes.w_channel._transaction_obj(wdata=value, wstrb=strobes))
        return AxiResp(int((await with_timeout(writes.b_channel.recv(), LIMIT_US, "us")).bresp))

    async def ask(self, address: int) -> tuple[AxiResp, int]:
        """Read a word; returns response and value."""
        got = await with_timeout(self.bus.read(address, 4), LIMIT_US, "us")
        return got.resp, int.from_bytes(got.data, "little")

    async def write(self, address: int, value: int) -> None:
        """Write a word.

        Raises:
            Refused: the response is not OKAY.
        """
        response = await self.respond(address, value)
        if response is None or response != AxiResp.OKAY:
            raise Refused(f"write of 0x{value:X} to 0x{address:05X}: {response!r}")

    async def read(self, address: int) -> int:
        """Read a word.

        Raises:
            Refused: the response is not OKAY.
        """
        response, value = await self.ask(address)
        if response != AxiResp.OKAY:
            raise Refused(f"read of 0x{address:05X}: {response.name}")
        return value

    async def drive(self, call: Callable[..., Any], *values: Any, **named: Any) -> Any:
        """Call a method of the driver, which knows nothing of the simulator, in a thread of its own."""
        return await bridge(call)(*values, **named)

    # Streams //

    def send(self, chain: Chain, count: int) -> list[RoundTrace]:
        """Queue vectors and partial sums, with random bits wherever nothing may look; returns golden's trace."""
        sent = random_vectors(self.cfg, chain, self.rng, count=count)
        traces = cim_macro.run_chain(self.cfg, self.die, chain, sent.inputs, sent.psums, sent.residuals)
        for v in range(count):
            for x in sent.inputs:
                self.send_activations(x[v].tolist())
        for source, values, bits in (
            (self.psum, sent.psums, self.cfg.psum_bits),
            (self.res, sent.residuals, self.cfg.input_bits + 1),
        ):
            for value in [] if values is None else values.reshape(-1).tolist():
                self.queue(source, value, bits)
        return traces

    def send_activations(self, x: list[int]) -> None:
        """Queue one vector."""
        lanes, bits = self.cfg.in_lanes, self.cfg.input_bits
        for n in range(0, len(x), lanes):
            some = x[n : n + lanes]
            self.queue(self.act, pack(some, bits), len(some) * bits)

    def queue(self, source: AxiStreamSource, value: int, bits: int) -> None:
        """One beat: the value in its low bits, random ones above."""
        noise = int.from_bytes(self.rng.bytes(source.width // 8), "little")
        beat = noise >> bits << bits | value & ((1 << bits) - 1)
        source.send_nowait(beat.to_bytes(source.width // 8, "little"))

    async def frame(self, sink: AxiStreamSink | None = None) -> list[int]:
        """The beats up to the next tlast, signed, from all bits of the bus; results unless it is another sink."""
        sink = sink or self.sink
        data = bytes((await with_timeout(sink.recv(), LIMIT_US, "us")).tdata)
        size = sink.width // 8
        words = (data[n : n + size] for n in range(0, len(data), size))
        return [signed(int.from_bytes(word, "little"), 8 * size) for word in words]

    async def compare(self, traces: list[RoundTrace], count: int) -> int:
        """Compare a frame per vector with golden, and find nothing behind them; returns how many results there were."""
        seen = 0
        for v in range(count):
            flags = [flag for trace in traces for flag in trace.last_flags[v].tolist()]
            assert flags == [0] * (len(flags) - 1) + [1]
            expected = [value for trace in traces for value in trace.outputs[v].tolist()]
            got = await self.frame()
            assert got == expected, f"outputs of vector {v} at {bench.now()}: expected {expected}, got {got}"
            seen += len(got)
        await ClockCycles(self.dut.clk_i, 2 * self.cfg.out_cols)
        assert self.sink.empty() and not self.sink.active, "more results than golden has"
        assert all(source.empty() for source in (self.act, self.psum, self.res)), "activations or sums were not taken"
        return seen


class _Watch:
    """Fails if a beat that was offered and not taken changes or goes; a reset lifts it."""

    def __init__(self, dut: Any, prefix: str) -> None:
        valid, ready, fields = OFFERS[prefix]
        self._prefix, self._dut = prefix, dut
        self._valid, self._ready = getattr(dut, prefix + valid), getattr(dut, prefix + ready)
        self._fields = [getattr(dut, prefix + name) for name in fields]
        self._waiting: list[int] | None = None
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        while True:
            await RisingEdge(self._dut.clk_i)
            if not to_int(self._dut.rst_ni):
                self._waiting = None
                continue
            beat = [to_int(field) for field in self._fields] if to_int(self._valid) else None
            if self._waiting is not None:
                assert beat == self._waiting, f"{self._prefix}: {self._waiting} became {beat} at {bench.now()}"
            self._waiting = beat if beat is not None and not to_int(self._ready) else None
