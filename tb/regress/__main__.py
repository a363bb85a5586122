# SPDX-License-Identifier: Apache-2.0
"""`python -m tb.regress`: every bench at every configuration of the tests, on one simulator."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from twinor.cosim import icarus, verilator
from twinor.errors import TwinorError

from tb.common.build import SIMULATORS
from tb.common.sources import RTL
from tb.regress.work import EVERYTHING, Setting, run_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tb.common.cases import Case
    from tb.regress.work import Result

BENCHES = sorted({case.bench for case in EVERYTHING})


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tb.regress", description=__doc__)
    parser.add_argument("--sim", choices=SIMULATORS, default="icarus", help="simulator (default: icarus)")
    parser.add_argument("--bench", nargs="+", choices=BENCHES, default=BENCHES, help="benches (default: all)")
    parser.add_argument("--config", nargs="+", help="names of configurations (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--build", type=Path, default=icarus.BUILD, help="folder of models and runs (default: build)")
    parser.add_argument("--rtl", type=Path, default=RTL, help="another folder of Verilog")
    return parser.parse_args(argv)


def chosen(options: argparse.Namespace) -> list[Case]:
    """The cases of the benches and configurations that were named.

    Raises:
        TwinorError: there is none.
    """
    cases = [case for case in EVERYTHING if case.bench in options.bench]
    known = sorted({case.config.name for case in cases})
    cases = [case for case in cases if options.config is None or case.config.name in options.config]
    if not cases:
        raise TwinorError(f"these benches do not run on {', '.join(options.config)}: expected {', '.join(known)}")
    return cases


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print a row a case and what failed; 1 if anything did."""
    options, began = arguments(argv), time.monotonic()
    if options.sim == "verilator" and verilator.lacks():
        raise TwinorError(verilator.lacks())
    results = run_all(
        chosen(options), Setting(options.sim, options.rtl.resolve(), options.build.resolve()), jobs=options.jobs
    )
    Console(highlight=False).print(_table(results))
    for result in results:
        if result.failure:
            print(f"\n{result.case.bench} on {result.case} failed: {result.failure}")
    skipped = sorted({f"tb_{result.case.bench}.{name}" for result in results for name in result.skipped})
    if skipped:
        print(f"skipped, for {options.sim} has no X, which is their subject: {', '.join(skipped)}")
    print(f"{options.sim}: {figure(results)} in {time.monotonic() - began:.0f} s")
    return int(any(result.failure for result in results))


def _table(results: Sequence[Result]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("bench", "configuration", "result", "seconds", "passed", "skipped", "failed"):
        table.add_column(name, justify="left" if name in ("bench", "configuration", "result") else "right")
    for r in results:
        said = "[bold red]FAILED[/]" if r.failure else "passed"
        counts = (f"{r.seconds:.1f}", r.passed, len(r.skipped), len(r.failed))
        table.add_row(r.case.bench, str(r.case), said, *map(str, counts))
    return table


def figure(results: Sequence[Result]) -> str:
    """Benches that passed, and cocotb tests by what became of them.

    Example:
        >>> figure([])
        '0 of 0 benches passed, 0 cocotb tests passed, 0 skipped, 0 failed'
    """
    good = sum(not result.failure for result in results)
    passed = sum(result.passed for result in results)
    skipped, failed = (sum(len(getattr(r, what)) for r in results) for what in ("skipped", "failed"))
    return f"{good} of {len(results)} benches passed, {passed} cocotb tests passed, {skipped} skipped, {failed} failed"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TwinorError as error:
        sys.exit(f"twinor: {error}")
