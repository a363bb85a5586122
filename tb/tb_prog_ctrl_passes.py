# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/prog_ctrl.v, continued: what its streams may depend on, and where an operation ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cocotb

from tb.common import bench
from tb.common.programming import random_operation
from tb.tb_prog_ctrl import Controller, small


@cocotb.test
async def no_ready_or_valid_depends_on_its_partner(dut: Any) -> None:
    """The partners of both streams toggle within every cycle of an operation under traffic."""
    rng = bench.generator("partners")
    controller = Controller(dut, rng, traffic=True)
    cfg = controller.cfg
    await controller.begin()
    golden = await controller.offer(small(cfg, random_operation(cfg, rng, erase=True, write=True)))
    for _ in range(20 * golden.cycles + 100):
        await controller.independent("prog_target_ready_o", "prog_target_valid_i")
        await controller.independent("prog_status_valid_o", "prog_status_ready_i")
        await controller.cycle()
        if controller.watch.seen["prog_done_o"]:
            break
    assert controller.watch.seen["prog_done_o"] == 1, "the operation does not end"
    controller.status.finish()


@cocotb.test
async def a_pass_that_mends_its_cells_ends_the_operation(dut: Any) -> None:
    """Over-programmed in one pass, not in the next, tries left: no third pass."""
    rng = bench.generator("mended")
    controller = Controller(dut, rng, traffic=False)
    cfg = controller.cfg
    await controller.begin()
    for _ in range(2000):
        op = small(cfg, random_operation(cfg, rng, erase=True, write=True))
        op = replace(op, rows=op.rows[:1], settings=replace(op.settings, retries=2))
        if len(op.golden(cfg, controller.die).passes) == 2:
            break
    else:
        raise AssertionError("no such operation")
    await controller.operate(op, exact=True)
