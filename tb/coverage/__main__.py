# SPDX-License-Identifier: Apache-2.0
"""`python -m tb.coverage`: the regression on Verilator, and which lines and branches of the Verilog it reaches."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from twinor.cosim import icarus, verilator
from twinor.errors import TwinorError
from twinor.paste import near
from twinor.store import write_text

from tb.common.sources import RTL, synthesizable
from tb.coverage.exclusions import FILE, read_exclusions
from tb.coverage.points import read_counts
from tb.coverage.report import measured, table
from tb.regress.work import EVERYTHING, Setting, run_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tb.common.cases import Case
    from tb.coverage.points import Point

SMALL = 16
"""Rows up to which a macro is small: larger ones reach the same lines, in a hundred times the cycles."""

DEMAND = 98.0
"""Percent of lines, and of branches, that a run must reach."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    blocks = synthesizable()
    parser = argparse.ArgumentParser(prog="python -m tb.coverage", description=__doc__)
    parser.add_argument("--block", nargs="+", choices=blocks, help="of these alone, by their own benches alone")
    parser.add_argument("--config", nargs="+", help="names of configurations (default: those of at most 16 rows)")
    parser.add_argument("--exclusions", type=Path, default=FILE, help="another list of what no run can reach")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--build", type=Path, default=icarus.BUILD, help="folder of models and runs (default: build)")
    parser.add_argument("--rtl", type=Path, default=RTL, help="another folder of Verilog")
    options = parser.parse_args(argv)
    options.files = [f"{block}.v" for block in options.block or blocks]
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print a row a file and what was missed; 1 if too little was reached."""
    options, began = arguments(argv), time.monotonic()
    if verilator.lacks():
        raise TwinorError(verilator.lacks())
    rtl, exclusions = options.rtl.resolve(), read_exclusions(options.exclusions)
    counts = _count(_chosen(options), Setting("verilator", rtl, options.build.resolve()), jobs=options.jobs)
    found = measured(counts, options.files, exclusions, rtl)
    Console(highlight=False).print(table(found, options.files))
    print("\n".join(found.missed(rtl)))
    report = {file: {what: asdict(share) for what, share in found.shares(file).items()} for file in options.files}
    path = options.build / "coverage.json"
    write_text(path, json.dumps({"rtl": icarus.digest(rtl), "files": report}, indent=1) + "\n")
    print(f"wrote {near(path)} after {time.monotonic() - began:.0f} s")
    total = found.shares()
    print(f"lines {total['lines']}, branches {total['branches']}, {len(found.excused)} excluded with a reason")
    return int(min(share.percent for share in total.values()) < DEMAND)


def _chosen(options: argparse.Namespace) -> list[Case]:
    cases = [case for case in EVERYTHING if case.bench in (options.block or [case.bench]) and case.bench != "cosim"]
    if options.config:
        return [case for case in cases if case.config.name in options.config]
    return [case for case in cases if case.config.rows <= SMALL]


def _count(cases: Sequence[Case], setting: Setting, *, jobs: int) -> dict[Point, int]:
    """Run the cases and add up what each reached.

    Raises:
        TwinorError: a bench fails, or there is none; what it reached would mean nothing.
    """
    results = run_all(cases, setting, jobs=jobs)
    failures = [f"{result.case.bench} on {result.case}: {result.failure}" for result in results if result.failure]
    if failures or not results:
        raise TwinorError("\n".join(failures) or "no bench runs on these configurations")
    return read_counts((setting.folder(case) / "coverage.dat" for case in cases), setting.rtl)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TwinorError as error:
        sys.exit(f"twinor: {error}")
