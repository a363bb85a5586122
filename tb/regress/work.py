# SPDX-License-Identifier: Apache-2.0
"""Runs the regression's cases on processes and keeps what each came to."""

from __future__ import annotations

import os
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from twinor.errors import TwinorError

from tb.common.cases import CASES, Case, run_case
from tb.common.configs import NOR40, TINY
from tb.common.results import read_results
from tb.common.runner import BenchFailed, BuildFailed
from tb.uvm.run import run_uvm

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["EVERYTHING", "Result", "Setting", "run", "run_all"]

EVERYTHING = [*CASES, Case("uvm", TINY), Case("cosim", NOR40)]
"""The benches, the pyuvm environment, and a trained network through the harness of co-simulation."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How cases run.

    Attributes:
        simulator: `icarus` or `verilator`.
        rtl: folder of the Verilog.
        build: folder of models and runs.
    """

    simulator: str
    rtl: Path
    build: Path

    def folder(self, case: Case) -> Path:
        """Where a case runs and leaves its logs, and on Verilator what it reached."""
        return self.build / "regress" / self.simulator / f"{case.bench}-{case}"


@dataclass(frozen=True, slots=True)
class Result:
    """What a case came to.

    Attributes:
        case: what ran.
        passed: how many cocotb tests passed.
        skipped: names of those that this simulator cannot run.
        failed: names of those that failed.
        seconds: of real time, compiling included.
        failure: what was wrong, empty if all is well.
    """

    case: Case
    passed: int
    skipped: tuple[str, ...]
    failed: tuple[str, ...]
    seconds: float
    failure: str


def run_all(cases: Sequence[Case], setting: Setting, *, jobs: int) -> list[Result]:
    """Run cases on `jobs` processes, the last of the list first because it takes longest; results in the list's order.

    Example:
        >>> from tb.common.sources import RTL
        >>> run_all([], Setting("icarus", RTL, RTL.parent / "build"), jobs=1)
        []
    """
    with ProcessPoolExecutor(jobs, initializer=_quiet) as pool:
        futures = {case: pool.submit(partial(run, setting=setting), case) for case in reversed(cases)}
        for done, _ in enumerate(as_completed(futures.values()), start=1):
            print(f"\r{done} of {len(futures)} runs done", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    return [futures[case].result() for case in cases]


def run(case: Case, setting: Setting) -> Result:
    """Run one case; whatever is wrong is told in the result."""
    folder, began, failure = setting.folder(case), time.monotonic(), ""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _start(case, setting, folder)
    except (BenchFailed, BuildFailed, TwinorError) as error:
        failure = str(error)
    outcomes = read_results(folder / "results.xml") or []
    skipped = tuple(outcome.name for outcome in outcomes if outcome.skipped)
    failed = tuple(outcome.name for outcome in outcomes if outcome.message is not None)
    passed = len(outcomes) - len(skipped) - len(failed)
    return Result(case, passed, skipped, failed, time.monotonic() - began, failure)


def _start(case: Case, setting: Setting, folder: Path) -> None:
    options: dict[str, Any] = {"rtl": setting.rtl, "simulator": setting.simulator, "models": setting.build / "models"}
    options["coverage"] = setting.simulator == "verilator"
    if case.bench == "cosim":
        _cosim(case, setting)
    elif case.bench == "uvm":
        run_uvm(case.config, folder, **options)
    else:
        run_case(case, folder, **options)


def _cosim(case: Case, setting: Setting) -> None:
    """An image through a trained network and `tb/cosim.v`, every layer and seam; a difference is a `Divergence`."""
    from rich.console import Console
    from twinor.cosim.network import cosim
    from twinor.session import prepare

    made = prepare(case.config.name, images=1, seed=0, die_seed=13, die=None, console=Console(quiet=True))
    network, images = made.trained.network, made.images
    cosim(made.config, network, made.placement, made.die, images, rtl=setting.rtl, simulator=setting.simulator)


def _quiet() -> None:
    """Builds and simulators of a worker say nothing; their logs are in files."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
