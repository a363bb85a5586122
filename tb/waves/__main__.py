# SPDX-License-Identifier: Apache-2.0
"""`make waves TEST=sar_adc PRESET=tiny`: run a bench with waves, say where it failed, open the waves there."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from twinor.config import load
from twinor.cosim import icarus
from twinor.cosim.gtkwave import save_view, show
from twinor.cosim.view import Focus
from twinor.die import sample_die
from twinor.die_file import load_die
from twinor.errors import SimulatorError, TwinorError
from twinor.paste import near

from tb.common.results import read_results
from tb.common.runner import BenchFailed, BuildFailed, run_bench
from tb.common.sources import RTL, expected_parameters, needs_die, top_of
from tb.uvm.run import DIE_SEED
from tb.uvm.stimulus import levels
from tb.waves.choice import Choice, choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twinor.config import Config
    from twinor.die import Die

    from tb.common.results import Outcome

NOTE = 60
"""Characters of a message that fit beside the wave."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; an empty option counts as none, so that make can pass what it has."""
    parser = argparse.ArgumentParser(prog="make waves", description="Run a bench with waves and open its saved view.")
    parser.add_argument("test", help="a bench, or BENCH.PATTERN with a part of a test's name")
    parser.add_argument("--preset", default="tiny", help="preset name, or path of a .yaml file (default: tiny)")
    parser.add_argument("--rtl", type=Path, default=RTL, help="another folder of Verilog")
    parser.add_argument("--die", type=Path, help="die file, for benches with an array; without it a varied die")
    parser.add_argument("--open", action=argparse.BooleanOptionalAction, help="GTKWave; by default only at a display")
    return parser.parse_args(argv)


def run(choice: Choice, config: Config, workdir: Path, *, rtl: Path, die: Die | None) -> list[Outcome]:
    """Run a bench with waves; a failed test is an outcome, not an error.

    Raises:
        SimulatorError: the Verilog does not compile, or the simulator left no results or no waves.
    """
    shutil.rmtree(workdir, ignore_errors=True)
    tests, module = choice.tests, choice.module
    try:
        with suppress(BenchFailed):
            run_bench(choice.block, config, workdir, rtl=rtl, die=die, tests=tests, module=module, waves=True)
    except BuildFailed as error:
        raise SimulatorError(str(error)) from None
    outcomes = read_results(workdir / "results.xml")
    if not outcomes:
        raise SimulatorError(f"the simulator left no results; {icarus.tail(_log(workdir))}")
    if not _wave(choice, workdir).is_file():
        raise SimulatorError(f"{choice.bench}: what ran took no simulation time, so it left no waves")
    return outcomes


def focus(outcomes: Sequence[Outcome]) -> Focus:
    """The first failure, with the seam that its message starts with on top; the beginning if nothing failed."""
    failed = next((outcome for outcome in outcomes if outcome.message is not None), None)
    if failed is None:
        return Focus()
    message = failed.message or ""
    said = [part[:NOTE] for part in re.split(": (?=expected)", message)]
    notes = (failed.name, *said, f"the marker is at {failed.time:.0f} ns")
    return Focus(marker=failed.time, seam=re.split(":| and | at ", message)[0], notes=notes)


def report(choice: Choice, config: Config, outcomes: Sequence[Outcome], workdir: Path) -> list[str]:
    """Whether the bench passed, and where each test failed."""
    failed = [outcome for outcome in outcomes if outcome.message is not None]
    what = f"{choice.bench} ({config.name}, TWINOR_SEED={_seed()})"
    if not failed:
        return [f"{what}: {len(outcomes)} of {len(outcomes)} tests passed"]
    lines = [f"{what}: {len(failed)} of {len(outcomes)} tests failed"]
    lines += [f"  {outcome.sentence()}" for outcome in failed]
    return [*lines, f"log: {near(workdir / 'sim.log')}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, report, open; returns the exit status."""
    given = arguments(argv)
    choice, config = choose(given.test), load(given.preset)
    workdir = icarus.BUILD / "waves" / f"{choice.bench}-{config.name}"
    outcomes = run(choice, config, workdir, rtl=given.rtl.resolve(), die=_die(choice, config, given.die))
    parameters = config.parameters() | expected_parameters(config, ["Q_BITS"])
    save_view(
        _wave(choice, workdir),
        template=choice.block,
        model=workdir / "sim.vvp",
        counts=parameters,
        focus=focus(outcomes),
    )
    for line in [*report(choice, config, outcomes, workdir), *show(_wave(choice, workdir), open_it=given.open)]:
        print(line)
    return int(any(outcome.message is not None for outcome in outcomes))


def _wave(choice: Choice, workdir: Path) -> Path:
    return workdir / f"{top_of(choice.block)}.fst"


def _log(workdir: Path) -> str:
    path = workdir / "sim.log"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _die(choice: Choice, config: Config, path: Path | None) -> Die | None:
    """The die given, or the one on which the pyuvm environment runs with this seed."""
    if not needs_die(choice.block):
        return None
    if path is not None:
        return load_die(path, config)
    return sample_die(config, levels(config, np.random.default_rng(_seed())), seed=DIE_SEED)


def _seed() -> int:
    return int(os.environ.get("TWINOR_SEED", "1"))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TwinorError as error:
        sys.exit(f"twinor: {error}")
