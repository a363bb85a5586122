# SPDX-License-Identifier: Apache-2.0
"""Programming over the buses: settings by the driver, targets and statuses as streams; golden does the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiResp
from twinor.cells import blank, settings_of
from twinor.golden.flash_array import SPEED_MAX
from twinor.golden.prog_ctrl import Ramp
from twinor.registers import REGISTERS, WINDOW

from tb.common import bench
from tb.common.axi import Shell
from tb.common.programming import COUNTERS, Operation, beats, place_cells
from tb.common.values import pack, to_int, unpack
from tb.tb_cim_axi import some_chain

if TYPE_CHECKING:
    from twinor.golden.prog_ctrl import Programmed

NONE = Ramp(start=0, step=0, pulses=0)


async def started(dut: Any, label: str) -> Shell:
    """A macro out of reset whose interrupts tell everything about programming."""
    shell = Shell(dut, bench.die(), bench.generator(label))
    await shell.start()
    await shell.drive(shell.driver.interrupts, "program_done", "program_error")
    return shell


def operation(shell: Shell, **changes: Any) -> Operation:
    """Every row of a small macro to random levels, some rows of a larger one, from blank cells."""
    cfg = shell.cfg
    plain: dict[str, Any] = {
        "cells": blank(cfg, macro=0, seed=int(shell.rng.integers(1 << 30))),
        "levels": shell.rng.integers(0, 1 << cfg.cell_bits, (cfg.rows, cfg.bit_lines)).astype(np.uint8),
        "settings": settings_of(cfg, retries=1),
        "rows": range(cfg.rows) if cfg.rows <= 8 else range(3, 5),
    }
    return Operation(**(plain | changes))


async def begin(shell: Shell, op: Operation) -> Programmed:
    """Put the cells there, offer targets, start; returns what golden does."""
    golden = op.golden(shell.cfg, shell.die)
    place_cells(shell.dut.u_analog_sim.u_flash_array, shell.cfg, shell.die, op.cells)
    for beat in op.targets(shell.cfg) * len(golden.passes):
        shell.queue(shell.target, beat["data_i"], shell.cfg.n_adcs * shell.cfg.cell_bits)
    await shell.drive(shell.driver.program, op.settings, op.rows, erase=op.erase, write=op.write)
    return golden


def status_beat(shell: Shell, beat: dict[str, int]) -> int:
    """A status as the bus carries it."""
    cfg = shell.cfg
    codes, states = unpack(beat["code_o"], cfg.code_bits, cfg.n_adcs), unpack(beat["data_o"], 2, cfg.n_adcs)
    wide = [code - ((code >> (cfg.code_bits - 1)) << cfg.code_bits) & 0x3FFF for code in codes]
    lanes = pack([state << 14 | code for state, code in zip(states, wide, strict=True)], 16)
    return lanes << 32 | beat["again_o"] << 16 | beat["fine_o"] << 8 | beat["coarse_o"]


async def finish(shell: Shell, op: Operation, golden: Programmed) -> int:
    """Statuses of every pass, counters, events and thresholds are golden's; returns whether the macro told an error."""
    mask = (1 << shell.statuses.width) - 1
    expected = list(beats(shell.cfg, golden, op.settings.retries))
    for _ in golden.passes:
        got = [beat & mask for beat in await shell.frame(shell.statuses)]
        wanted, expected = expected[: len(got)], expected[len(got) :]
        assert got == [status_beat(shell, beat) for beat in wanted] and wanted[-1]["last_o"]
    assert not expected
    while not to_int(shell.dut.irq_o):
        await ClockCycles(shell.dut.clk_i, 10)
    await ClockCycles(shell.dut.clk_i, 2)
    told = await shell.drive(shell.driver.read, "intr_status")
    assert told["program_done"] and told["erase_done"] == op.erase and not told["chain_done"]
    counts = await shell.drive(shell.driver.program_counts)
    assert counts == {name: getattr(golden, name) for name in COUNTERS}
    thresholds = np.array([to_int(word) & 0xFFFF for word in shell.dut.u_analog_sim.u_flash_array.state_mem])
    assert np.array_equal(thresholds, golden.cells.threshold.ravel()), "thresholds differ from golden's"
    await shell.drive(shell.driver.clear, "program_done", "erase_done", "program_error")
    assert not to_int(shell.dut.irq_o)
    shell.die = replace(shell.die, strength=golden.cells.strength[None])
    return told["program_error"]


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated macro is what the configuration says."""
    bench.parameters_equal_configuration(dut, "cim_axi")


@cocotb.test
async def programming_over_the_buses_matches_golden(dut: Any) -> None:
    """Operations under random pauses, then chains on the cells that they left: statuses, pulses, cells, outputs."""
    shell = await started(dut, "programming")
    for share in (0.0, 0.4):
        shell.pause(share)
        op = operation(shell)
        golden = await begin(shell, op)
        told = await finish(shell, op, golden)
        assert told == bool(golden.passes[-1].status.any())
        chain = some_chain(shell.cfg, shell.rng)
        await shell.drive(shell.driver.load, shell.cfg, chain)
        await shell.compare(shell.send(chain, 1), 1)
        await shell.drive(shell.driver.clear, "chain_done")


@cocotb.test
async def failures_and_refused_starts_raise_the_error(dut: Any) -> None:
    """Ramps without pulses, erasing alone, over-programmed passes that are repeated, rows that do not exist."""
    shell = await started(dut, "failures")
    plain = settings_of(shell.cfg)
    rows = range(1, 2)
    strong, fast = replace(plain.coarse, start=255, pulses=1), blank(shell.cfg, macro=0, seed=1)
    low = np.ones((shell.cfg.rows, shell.cfg.bit_lines), dtype=np.uint8)
    fast = replace(fast, speed=np.full_like(fast.speed, SPEED_MAX))
    for op in (
        operation(shell, rows=rows, settings=replace(plain, fine=NONE, coarse=NONE)),
        operation(shell, rows=rows, settings=replace(plain, erase=NONE), write=False),
        operation(shell, rows=rows, settings=plain, write=False),
        operation(
            shell, rows=rows, cells=fast, levels=low, settings=replace(plain, coarse=strong, margin=0, retries=2)
        ),
        operation(shell, rows=rows, settings=plain),
    ):
        golden = await begin(shell, op)
        bad = bool(golden.passes[-1].status.any()) if op.write else golden.unerased > 0
        assert await finish(shell, op, golden) == bad, f"{op.settings}: expected {bad}"
        assert len(golden.passes) == (0 if not op.write else 3 if op.settings.retries else 1)
    for seed in range(100):
        op = operation(shell, rows=rows, cells=blank(shell.cfg, macro=0, seed=seed), settings=replace(plain, retries=2))
        passes = [bool(p.status.any()) for p in op.golden(shell.cfg, shell.die).passes]
        if len(passes) > 1 and not passes[-1]:
            assert not await finish(shell, op, await begin(shell, op)), "a pass that was repeated counts"
            break
    else:
        assert shell.cfg.name != "tiny", "no pass was mended"
    for rows in (range(shell.cfg.rows, shell.cfg.rows + 1), range(0)):
        await shell.drive(shell.driver.program, plain, rows)
        await shell.drive(shell.driver.wait, "program_error", polls=4)
        told = await shell.drive(shell.driver.read, "status")
        assert not told["prog_busy"] and told["words"]


@cocotb.test
async def settings_and_words_are_refused_during_an_operation(dut: Any) -> None:
    """Every register of the settings, and the window: SLVERR, values stay, and the operation ends as golden says."""
    shell = await started(dut, "held")
    settings = [name for name in REGISTERS if name.startswith("prog_") and REGISTERS[name] < 0x140]
    op = operation(shell, rows=range(1, 2))
    shell.target.pause = True
    golden = await begin(shell, op)
    assert (await shell.drive(shell.driver.read, "status"))["prog_busy"]
    for name in settings:
        before = await shell.read(REGISTERS[name])
        assert await shell.respond(REGISTERS[name], ~before) == AxiResp.SLVERR, f"{name} was taken"
        assert await shell.read(REGISTERS[name]) == before
    assert await shell.respond(WINDOW, 0) == AxiResp.SLVERR and len(settings) == 11
    assert await shell.respond(REGISTERS["prog_unerased"], 0) == AxiResp.SLVERR
    shell.target.pause = False
    await finish(shell, op, golden)
    assert await shell.respond(REGISTERS["prog_rows"], 1) == AxiResp.OKAY
