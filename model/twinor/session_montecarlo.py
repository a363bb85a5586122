# SPDX-License-Identifier: Apache-2.0
"""What `twinor montecarlo` does: the digits network on many dies, as a table, JSON and page."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from twinor import report as pages
from twinor import tables
from twinor.config import load
from twinor.montecarlo import Life, effects, run
from twinor.report.montecarlo import write_montecarlo
from twinor.run import chain_runner, forward
from twinor.session import prepare, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from twinor.montecarlo import Effect, Outcome
    from twinor.workbench import Workbench

__all__ = ["montecarlo"]


def montecarlo(
    preset: str,
    *,
    dies: int,
    each: int,
    life: Life,
    images: int,
    seed: int,
    processes: int | None,
    out: Path,
    report: bool,
    console: Console,
) -> None:
    """Accuracy over dies, all effects together and one at a time; `montecarlo-<preset>`, JSON and page."""
    config = load(preset)
    chosen = effects(config, life)  # a preset without a device is refused before anything long starts
    if report:
        pages.require()
    bench = prepare(preset, images=images, seed=seed, die_seed=None, die=None, console=console)
    runner = chain_runner(config, bench.die, backend="fast")
    ideal = bench.percent(forward(bench.trained.network, bench.placement, bench.images, runner))
    outcomes = _outcomes(bench, chosen, dies, each, processes or os.cpu_count() or 1, console)
    title = f"{images:,} images, {ideal:.2f} % on the ideal die"
    tables.show(title, tables.outcomes(outcomes, ideal), console)
    result = {
        "preset": config.name,
        "config": config.digest(),
        "network": bench.trained.key,
        "images": images,
        "life": asdict(life),
        "ideal": ideal,
        "effects": {o.name: list(o.accuracies) for o in outcomes},
        "deviations": {o.name: list(o.deviations) for o in outcomes},
    }
    write_json(out / f"montecarlo-{config.name}.json", result, console)
    if report:
        write_montecarlo(out / f"montecarlo-{config.name}.html", result)
        console.print(f"wrote {out / f'montecarlo-{config.name}.html'}", soft_wrap=True)


def _outcomes(
    bench: Workbench, chosen: Sequence[Effect], dies: int, each: int, processes: int, console: Console
) -> list[Outcome]:
    with tables.Progress(console) as progress:

        def show(done: int, total: int) -> None:
            progress.show("dies", done, total)

        return run(bench, chosen, dies=dies, each=each, processes=processes, progress=show)
