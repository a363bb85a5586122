# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/cim_axi.v in tb/axi_sim.v: whole chains through the buses; `golden.cim_macro` is the model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cocotb
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge, Timer
from cocotbext.axi import AxiResp
from twinor.driver import DriverError
from twinor.golden.round_check import RoundError
from twinor.registers import REGISTERS, WINDOW
from twinor.rounds import ROUND_STRIDE, End, Start, pack

from tb.common import bench
from tb.common.axi import Shell
from tb.common.stimulus import random_chain
from tb.common.stream import pauses
from tb.common.values import to_int

if TYPE_CHECKING:
    import numpy as np
    from twinor.config import Config
    from twinor.rounds import Chain

SHARES = (0.3, 0.0, 0.7, 0.5)
"""Shares of paused cycles, from chain to chain."""


def some_chain(cfg: Config, rng: np.random.Generator) -> Chain:
    """A random chain, short on a large macro."""
    return random_chain(cfg, rng, rounds=None if cfg.rows <= 16 else int(rng.integers(1, 3)))


def effort(cfg: Config) -> tuple[int, int]:
    """Chains and vectors of one test."""
    return (10, 3) if cfg.rows <= 16 else (2, 1)


async def started(dut: Any, label: str) -> Shell:
    """A macro out of reset."""
    shell = Shell(dut, bench.die(), bench.generator(label))
    await shell.start()
    return shell


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated macro is what the configuration says, and what the registers read."""
    bench.parameters_equal_configuration(dut, "cim_axi")
    shell = await started(dut, "identify")
    await shell.drive(shell.driver.identify, shell.cfg)
    with_more = replace(shell.cfg, settle_cycles=shell.cfg.settle_cycles + 1)
    try:
        await shell.drive(shell.driver.identify, with_more)
    except DriverError as error:
        assert "conversion.settle_cycles" in str(error)
    else:
        raise AssertionError("another macro was taken for this one")


@cocotb.test
async def chains_under_random_pauses_match_golden(dut: Any) -> None:
    """Words, vectors and partial sums, paused on all channels; results, tlast, clip counters and interrupt."""
    shell = await started(dut, "chains")
    chains, count = effort(shell.cfg)
    await shell.drive(shell.driver.interrupts, "chain_done")
    results = 0
    for n in range(chains):
        shell.pause(SHARES[n % len(SHARES)])
        chain = some_chain(shell.cfg, shell.rng)
        await shell.drive(shell.driver.clear_clips)
        await shell.drive(shell.driver.load, shell.cfg, chain)
        assert not to_int(dut.irq_o), "an interrupt before the first result"
        traces = shell.send(chain, count)
        results += await shell.compare(traces, count)
        assert to_int(dut.irq_o), "no interrupt after a chain"
        await shell.drive(shell.driver.wait, "chain_done", polls=1)
        assert not to_int(dut.irq_o), "the interrupt stays after it was cleared"
        expected = tuple(sum(trace.clips[n] for trace in traces) for n in (0, 1))
        assert await shell.drive(shell.driver.clips) == expected
    cocotb.log.info("%d results", results)


@cocotb.test
async def results_leave_in_every_cycle_when_nobody_waits(dut: Any) -> None:
    """The sink always takes: between two results of the same lanes no cycle is lost."""
    shell = await started(dut, "rate")
    cfg = shell.cfg
    chain = random_chain(cfg, shell.rng, rounds=1)
    rnd = replace(chain.rounds[0], col_base=0, col_count=cfg.out_cols, end=End.RAW)
    chain = replace(chain, rounds=(rnd,))
    await shell.drive(shell.driver.load, cfg, chain)
    traces = shell.send(chain, 1)
    while not to_int(dut.m_axis_out_tvalid):
        await RisingEdge(dut.clk_i)
    for _ in range(min(cfg.n_lanes, cfg.out_cols)):
        assert to_int(dut.m_axis_out_tvalid), f"a bubble at {bench.now()}"
        await RisingEdge(dut.clk_i)
    await shell.compare(traces, 1)


def waiting(chain: Chain) -> Chain:
    """The chain with a first round that cannot end before its partial sums come."""
    return replace(chain, rounds=(replace(chain.rounds[0], start=Start.PSUM), *chain.rounds[1:]))


@cocotb.test
async def words_are_refused_while_a_chain_runs(dut: Any) -> None:
    """A chain that waits for partial sums: each word of another one gets SLVERR, and the outputs stay golden's."""
    shell = await started(dut, "refused")
    for n in range(effort(shell.cfg)[0]):
        shell.pause(SHARES[n % len(SHARES)])
        chain, other = waiting(some_chain(shell.cfg, shell.rng)), some_chain(shell.cfg, shell.rng)
        await shell.drive(shell.driver.load, shell.cfg, chain)
        shell.psum.clear_pause_generator()
        shell.psum.pause = True
        traces = shell.send(chain, 1)
        while (await shell.drive(shell.driver.read, "status"))["words"]:
            pass
        assert (await shell.drive(shell.driver.read, "status"))["busy"]
        words = pack(shell.cfg, other).tolist()
        for address, data in [words[k] for k in shell.rng.permutation(len(words))[:12]]:
            response = await shell.respond(WINDOW + 4 * address, data)
            assert response == AxiResp.SLVERR, f"word 0x{address:04X} got {response!r} during a chain"
        shell.psum.pause = False
        await shell.compare(traces, 1)
        await shell.drive(shell.driver.wait, "chain_done")


@cocotb.test
async def narrow_and_misplaced_words_are_refused(dut: Any) -> None:
    """Some strobes low, or an address between words: SLVERR, and the chain that was there runs as golden says."""
    shell = await started(dut, "narrow")
    for _ in range(effort(shell.cfg)[0]):
        chain, other = (some_chain(shell.cfg, shell.rng) for _ in range(2))
        await shell.drive(shell.driver.load, shell.cfg, chain)
        words = pack(shell.cfg, other).tolist()
        for address, data in [words[k] for k in shell.rng.permutation(len(words))[:12]]:
            where, strobes = WINDOW + 4 * address, int(shell.rng.integers(0, 15))
            assert await shell.strobed(where, data, strobes) == AxiResp.SLVERR
            assert await shell.strobed(where + int(shell.rng.integers(1, 4)), data, 0xF) == AxiResp.SLVERR
            assert await shell.ask(WINDOW + 4 * address) == (AxiResp.SLVERR, 0)
        await shell.compare(shell.send(chain, 1), 1)
        await shell.drive(shell.driver.wait, "chain_done")


@cocotb.test
async def every_address_and_bit_of_the_window_reaches_the_port(dut: Any) -> None:
    """Random words at random addresses, both ends and single bits included: address and data as they were written."""
    shell = await started(dut, "window")
    port, seen = dut.u_cim_axi.u_cim_macro, []

    async def watch() -> None:
        while True:
            await RisingEdge(dut.clk_i)
            if to_int(port.round_valid_i) and to_int(port.round_ready_o):
                seen.append((to_int(port.round_addr_i), to_int(port.round_data_i)))

    cocotb.start_soon(watch())
    shell.pause(0.4)
    addresses = [0, 0xFFFF, *(1 << n for n in range(16)), *shell.rng.integers(0, 1 << 16, 40).tolist()]
    sent = [(address, int(shell.rng.integers(0, 1 << 32))) for address in addresses]
    for address, data in sent:
        await shell.write(WINDOW + 4 * address, data)
    assert seen == sent


@cocotb.test
async def activations_wait_until_the_macro_is_enabled(dut: Any) -> None:
    """With enable at 0 no beat is taken, between vectors and within one; with 1 the run goes on as golden says."""
    shell = await started(dut, "enable")
    for _ in range(effort(shell.cfg)[0]):
        chain = some_chain(shell.cfg, shell.rng)
        await shell.drive(shell.driver.load, shell.cfg, chain)
        shell.act.set_pause_generator(pauses(shell.rng, 0.8))
        traces = shell.send(chain, 2)
        await ClockCycles(dut.clk_i, int(shell.rng.integers(0, 30)))
        await shell.drive(shell.driver.enable, False)
        for _ in range(20):
            await RisingEdge(dut.clk_i)
            assert not to_int(dut.s_axis_act_tready), f"a beat was taken at {bench.now()}"
        await shell.drive(shell.driver.enable)
        await shell.compare(traces, 2)


@cocotb.test
async def an_event_is_not_lost_to_a_clear_in_its_cycle(dut: Any) -> None:
    """Clears and masks in any cycle of short chains: the line is high while an event was not cleared and is enabled."""
    shell = await started(dut, "event")
    inside, both = dut.u_cim_axi, [0, 0]

    async def watch() -> None:
        raised = False
        while True:
            await RisingEdge(dut.clk_i)
            assert to_int(dut.irq_o) == (raised and to_int(inside.u_regs.field_storage_intr_enable_chain_done_value))
            address = to_int(inside.aw_addr_q)
            clear = to_int(inside.write) and address == REGISTERS["intr_status"] and to_int(inside.w_data_q) & 2
            event = to_int(inside.out_valid) and to_int(inside.out_ready) and to_int(inside.out_last)
            both[0] += bool(event and clear)
            both[1] += bool(event)
            raised = bool(event or (raised and not clear))

    chain = random_chain(shell.cfg, shell.rng, rounds=1)
    rnd = replace(chain.rounds[0], row_count=1, col_count=1, steps=chain.rounds[0].steps[:1], start=Start.ZERO)
    await shell.drive(shell.driver.load, shell.cfg, replace(chain, rounds=(rnd,)))
    cocotb.start_soon(watch())
    shell.pause(0.2)
    for n in range(200):
        traces = shell.send(replace(chain, rounds=(rnd,)), 3)
        while shell.sink.count() < 3:
            name = "intr_status" if shell.rng.random() < 0.8 else "intr_enable"
            await shell.write(REGISTERS[name], 2 if name == "intr_status" else n & 2)
        await shell.compare(traces, 3)
        if both[0] >= 3:
            break
    assert both[0] >= 3, f"only {both[0]} of {both[1]} events met a clear"


@cocotb.test
async def a_bad_descriptor_raises_the_error_and_stops_the_chain(dut: Any) -> None:
    """A first or a second round without columns: interrupt, rule, place, words again; the next chain is golden."""
    shell = await started(dut, "errors")
    await shell.drive(shell.driver.interrupts, "error")
    for n in range(effort(shell.cfg)[0]):
        shell.pause(SHARES[n % len(SHARES)])
        place = int(shell.rng.integers(0, min(2, shell.cfg.max_rounds)))
        chain = random_chain(shell.cfg, shell.rng, rounds=place + 1)
        first = replace(chain.rounds[0], start=Start.ZERO, residual=False, end=End.HOLD)
        if place:
            chain = replace(chain, rounds=(first, replace(chain.rounds[1], start=Start.ZERO)))
        await shell.drive(shell.driver.enable, False)
        for address, data in pack(shell.cfg, chain).tolist():
            bad = address == place * ROUND_STRIDE + 1
            await shell.write(WINDOW + 4 * address, data & 0xFFFF if bad else data)
        await shell.drive(shell.driver.enable)
        if place:
            shell.send_activations(shell.rng.integers(0, 1 << shell.cfg.input_bits, first.row_count).tolist())
        await shell.drive(shell.driver.wait, "error", polls=2000)
        assert await shell.drive(shell.driver.error) == (RoundError.COLUMNS, place) and not to_int(dut.irq_o)
        if place:
            await shell.drive(shell.driver.wait, "round_done", polls=2000)
        assert not (await shell.drive(shell.driver.read, "intr_status"))["round_done"]
        chain = some_chain(shell.cfg, shell.rng)
        await shell.drive(shell.driver.load, shell.cfg, chain)
        await shell.compare(shell.send(chain, 1), 1)
        told = await shell.drive(shell.driver.read, "intr_status")
        assert told["round_done"] and told["chain_done"] and not told["error"]
        await shell.drive(shell.driver.clear, "round_done", "chain_done")


@cocotb.test
async def a_reset_in_mid_transfer_leaves_no_trace(dut: Any) -> None:
    """Reset during words, beats, results and responses: nothing on offer, registers reset, the next chain golden."""
    shell = await started(dut, "reset")
    for n in range(effort(shell.cfg)[0]):
        shell.pause(SHARES[n % len(SHARES)])
        chain = some_chain(shell.cfg, shell.rng)
        await shell.drive(shell.driver.interrupts, "chain_done")
        await shell.drive(shell.driver.load, shell.cfg, chain)
        shell.send(chain, 2)
        for _ in range(3):
            cocotb.start_soon(shell.respond(WINDOW, 0))
        await ClockCycles(dut.clk_i, int(shell.rng.integers(1, 150)))
        dut.rst_ni.value = 0
        await Timer(1, "ns")
        for name in ("s_axil_bvalid", "s_axil_rvalid", "m_axis_out_tvalid", "irq_o", "s_axis_act_tready"):
            assert not to_int(getattr(dut, name)), f"{name} is high in reset"
        await shell.reset()
        assert await shell.read(REGISTERS["control"]) == 0
        assert await shell.read(REGISTERS["intr_status"]) == 0
        assert await shell.read(REGISTERS["intr_enable"]) == 0
        await shell.drive(shell.driver.load, shell.cfg, chain)
        await shell.compare(shell.send(chain, 1), 1)


@cocotb.test
async def a_soft_reset_abandons_the_chain(dut: Any) -> None:
    """control.reset during a run: words are refused meanwhile, the counters are 0, and the next chain is golden."""
    shell = await started(dut, "soft reset")
    for n in range(effort(shell.cfg)[0]):
        shell.pause(SHARES[n % len(SHARES)])
        chain = some_chain(shell.cfg, shell.rng)
        await shell.drive(shell.driver.load, shell.cfg, chain)
        shell.send(chain, 2)
        await ClockCycles(dut.clk_i, int(shell.rng.integers(1, 150)))
        await shell.drive(shell.driver.write, "control", reset=1)
        assert await shell.respond(WINDOW, 0) == AxiResp.SLVERR
        assert not (await shell.drive(shell.driver.read, "status"))["words"]
        assert await shell.drive(shell.driver.clips) == (0, 0)
        await shell.drive(shell.driver.reset)
        shell.sink.pause = False
        shell.sink.clear_pause_generator()
        await ClockCycles(dut.clk_i, 4)
        shell.flush()
        assert not to_int(dut.m_axis_out_tvalid) and not to_int(dut.s_axis_act_tready)
        await shell.drive(shell.driver.clear, "chain_done")
        await shell.drive(shell.driver.load, shell.cfg, chain)
        await shell.compare(shell.send(chain, 1), 1)


INPUTS = (
    *("s_axil_awvalid", "s_axil_wvalid", "s_axil_bready", "s_axil_arvalid", "s_axil_rready"),
    *("s_axis_act_tvalid", "s_axis_psum_tvalid", "s_axis_res_tvalid", "m_axis_out_tready"),
)
OUTPUTS = (
    *("s_axil_awready", "s_axil_wready", "s_axil_bvalid", "s_axil_arready", "s_axil_rvalid", "irq_o"),
    *(
        "s_axis_act_tready",
        "s_axis_psum_tready",
        "s_axis_res_tready",
        "m_axis_out_tvalid",
        "m_axis_out_tdata",
        "m_axis_out_tlast",
    ),
)


@cocotb.test
async def no_output_of_a_bus_follows_an_input_within_the_cycle(dut: Any) -> None:
    """In the low half of each cycle of a run under random pauses every valid and ready that comes in is toggled."""
    shell = await started(dut, "paths")
    shell.pause(0.5)
    chain = some_chain(shell.cfg, shell.rng)
    await shell.drive(shell.driver.load, shell.cfg, chain)
    traces = shell.send(chain, 2)
    for n in range(400):
        cocotb.start_soon(shell.ask(0)) if n % 8 == 0 else None
        await FallingEdge(dut.clk_i)
        for name in INPUTS:
            pin = getattr(dut, name)
            before, seen = to_int(pin), [str(getattr(dut, output).value) for output in OUTPUTS]
            pin.value = 1 - before
            await Timer(1, "ps")
            flipped = [str(getattr(dut, output).value) for output in OUTPUTS]
            pin.value = before
            await Timer(1, "ps")
            assert flipped == seen, f"an output follows {name} at {bench.now()}: {seen}, then {flipped}"
    await shell.compare(traces, 2)
