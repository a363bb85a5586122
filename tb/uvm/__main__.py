# SPDX-License-Identifier: Apache-2.0
"""Runs the pyuvm environment and prints every coverage goal: `python -m tb.uvm --preset tiny`."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from twinor.config import load
from twinor.cosim import icarus
from twinor.errors import TwinorError
from twinor.params import RTL
from twinor.store import write_text

from tb.common.runner import BenchFailed, BuildFailed
from tb.uvm.run import read_result, run_uvm

if TYPE_CHECKING:
    from twinor.config import Config

    from tb.uvm.run import UvmResult

PRESETS = ["tiny", "nor40_int4"]
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False)


@app.command()
def main(
    preset: Annotated[list[str], typer.Option(help="Preset name or file; may be given more than once.")] = PRESETS,
    seed: Annotated[int, typer.Option(min=0, help="Seed of stimulus and weights.")] = 1,
    rtl: Annotated[Path | None, typer.Option(help="Another folder of Verilog.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of uvm-<preset>.json.")] = Path("build"),
) -> None:
    """Run constrained-random and directed sequences through the macro until every coverage goal is met."""
    for config in [load(name) for name in preset]:
        _run(config, seed=seed, rtl=rtl or RTL, out=out)


def _run(config: Config, *, seed: int, rtl: Path, out: Path) -> None:
    console.print(f"preset {config.name} ({config.digest()[:12]})  seed {seed}  Verilog {icarus.digest(rtl)[:12]}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="twinor-uvm-") as folder:
        try:
            result = run_uvm(config, Path(folder), seed=seed, rtl=rtl)
        except BenchFailed:
            _goals(read_result(Path(folder) / "coverage.json"))
            raise
    _goals(result)
    report = {"preset": config.name, "config": config.digest(), "rtl": icarus.digest(rtl), "seed": seed}
    report |= asdict(result) | {"coverage": result.coverage}
    path = out / f"uvm-{config.name}.json"
    write_text(path, json.dumps(report, indent=2) + "\n")
    console.print(f"wrote {path}", soft_wrap=True)
    values, bins = sum(result.compared.values()), sum(goal.bins for goal in result.goals)
    console.print(
        f"cim_macro on {config.name}: {values:,} values compared at {len(result.compared)} seams, 0 mismatches; "
        f"{len(result.goals)} goals, {bins} bins, {result.coverage:.1f} % covered in {time.monotonic() - began:.0f} s",
        soft_wrap=True,
    )


def _goals(result: UvmResult) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("goal", "bins", "hit", "hits", "coverage"):
        table.add_column(name, justify="right" if name != "goal" else "left", no_wrap=True)
    table.add_column("missed")
    for g in result.goals:
        share = f"{100 * g.hit / g.bins:.1f} %"
        table.add_row(g.goal, str(g.bins), str(g.hit), f"{g.hits:,}", share, ", ".join(g.missed))
    if result.goals:
        console.print(table)


if __name__ == "__main__":
    try:
        app()
    except (BenchFailed, BuildFailed, TwinorError) as error:
        print(f"twinor: {error}", file=sys.stderr)
        raise SystemExit(1) from None
