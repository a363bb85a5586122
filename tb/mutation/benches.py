# SPDX-License-Identifier: Apache-2.0
"""The benches that a mutant has to pass, in order, and what the first failure says."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tb.common.configs import CORRECTED, PULSED, RAGGED, RAGGED_OFFSET, REFERENCED, SHARED, SLICED, TINY, TWOS
from tb.common.dies import make_die
from tb.common.results import read_results
from tb.common.runner import BenchFailed, BuildFailed, run_bench
from tb.common.sources import RTL, needs_die, synthesizable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from twinor.config import Config

__all__ = ["BLOCKS", "CONFIGS", "Kill", "Step", "run_step", "steps_of"]

BLOCKS = (
    *synthesizable(),
    *(path.stem for path in sorted((RTL / "sim").glob("*.v")) if not path.stem.endswith("_sim")),
)
"""The synthesizable blocks, then the behavioural half without what only wires it up."""

CONFIGS = (CORRECTED, RAGGED_OFFSET, TWOS, SLICED, SHARED, TINY, PULSED, REFERENCED)
"""All three encodings, sizes that divide nothing, column correction, slices of every kind, pulses, reference columns.

The sharpest come first.
"""

CPU_SECONDS = 90
"""A simulator that computes longer is in a loop without time, which no cycle limit ends."""


@dataclass(frozen=True, slots=True)
class Step:
    """A bench on a configuration: `tests` restricts it to those that match, `module` is another one than its own."""

    bench: str
    config: Config
    tests: str | None = None
    module: str | None = None


@dataclass(frozen=True, slots=True)
class Kill:
    """What found a mutant: bench, configuration, cocotb test, and the first line of its failure."""

    bench: str
    config: str
    test: str
    message: str


def steps_of(block: str) -> list[Step]:
    """The block's own bench on every configuration, then the macro's others.

    Example:
        >>> [(step.bench, step.config.name) for step in steps_of("sar_adc")][5:7]
        [('sar_adc', 'tiny'), ('sar_adc', 'tiny_pulsed')]
    """
    if block == "cim_axi":  # no other bench has it inside
        benches = [Step(block, RAGGED, module=f"tb.tb_cim_axi_{name}") for name in ("regs", "prog")]
        return [Step(block, RAGGED), *benches, Step(block, TINY)]
    steps = [Step(bench, config) for bench in dict.fromkeys((block, "cim_macro")) for config in CONFIGS]
    more = [Step(block, TINY, module="tb.tb_prog_ctrl_passes")] * (block == "prog_ctrl")
    more += [Step("cim_macro", config, module="tb.tb_cim_macro_words") for config in (CORRECTED, TINY)]
    return [*steps, *more, Step("cim_macro", TINY, module="tb.tb_cim_macro_prog")]


def run_step(step: Step, rtl: Path, workdir: Path) -> Kill | None:
    """Run one bench on a folder of Verilog until its first failure; None if it passes."""
    os.environ["COCOTB_MAX_FAILURES"] = "1"
    die = make_die("unordered", step.config) if needs_die(step.bench) else None
    try:
        with _processor_time(CPU_SECONDS):
            run_bench(step.bench, step.config, workdir, rtl=rtl, die=die, tests=step.tests, module=step.module)
    except BuildFailed:
        return Kill(step.bench, step.config.name, "", f"{step.bench} does not compile with it")
    except BenchFailed:
        outcomes = read_results(workdir / "results.xml") or []
        bad = next((outcome for outcome in outcomes if outcome.message is not None), None)
        test, message = (bad.name, str(bad.message)) if bad else ("", "the simulator did not come to an end")
        return Kill(step.bench, step.config.name, test, message)
    return None


@contextmanager
def _processor_time(seconds: int) -> Iterator[None]:
    """Simulators inherit the limit and start at 0; this process keeps what it has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit = int(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
