# SPDX-License-Identifier: Apache-2.0
"""What `twinor characterise` does: one chip on the bench, its figures as tables, JSON and a page."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.table import Table

from twinor import report as pages
from twinor import tables
from twinor.characterise import Characterisation, Chip, Settings, chip_of
from twinor.characterise import characterise as measure
from twinor.characterise.summary import grids, outcome, told
from twinor.config import load
from twinor.die_file import load_die
from twinor.errors import TwinorError
from twinor.session import write_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

    from twinor.characterise.summary import Grid
    from twinor.config import Config

__all__ = ["characterise"]

TRIMMED = "products: columns are corrected, by gain and offset from the levels of their ADCs"


def characterise(
    preset: str,
    *,
    die_seed: int | None,
    die: Path | None,
    settings: Settings,
    out: Path,
    report: bool,
    console: Console,
) -> Characterisation:
    """Measure a chip; tables, and `characterise-<preset>[-die<seed>]`, JSON and page.

    Args:
        preset: the macro.
        die_seed: of the chip, 0 if neither it nor a file is given.
        die: file of a die, whose converters, age and temperature the chip has.
        settings: what is measured.
        out: folder of the result.
        report: write the page too.
        console: gets the tables.

    Raises:
        ConfigError: an option cannot be met.
        TwinorError: a file cannot be read or written, or the chip cannot be measured.
    """
    chip = _chip(load(preset), die_seed, die)
    if report:
        pages.require()
    console.print(_said(chip, settings), soft_wrap=True)
    with tables.Progress(console) as progress, _one_thread():
        found = measure(chip, settings, progress=lambda n, of, what: progress.show("characterise", n, of, note=what))
    for sentence in (*found.left_out, *([TRIMMED] if found.trimmed else [])):
        console.print(sentence, soft_wrap=True)
    for grid in grids(found):
        tables.show(grid.title, _table(grid), console)
        if grid.note:
            console.print(grid.note, soft_wrap=True)
    console.print(f"\n{outcome(found)}", soft_wrap=True)
    write_json(out / f"{found.name}.json", told(found), console)
    if report:
        from twinor.report.characterise import write_characterisation  # Plotly is imported only to draw

        path = write_characterisation(found, out)
        console.print(f"wrote {path}", soft_wrap=True)
    return found


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread: products are small, and threads would wait for each other more than they work."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _chip(config: Config, die_seed: int | None, die: Path | None) -> Chip:
    if die is None:
        return Chip(config=config, seed=0 if die_seed is None else die_seed)
    if die_seed is not None:
        raise TwinorError("give either --die or --die-seed, not both")
    if not die.is_file():
        raise TwinorError(f"no die file {die}; write one with `twinor die`")
    return chip_of(config, load_die(die, config))


def _said(chip: Chip, settings: Settings) -> str:
    """What is applied, in one line."""
    config = chip.config
    lived = [f"{bake.seconds / 3600.0:g} h at {bake.celsius:g} C" for bake in chip.bakes]
    lived += [f"{chip.reads:,} reads"] if chip.reads else []
    life = "".join(f", {one}" for one in lived) + (f", now at {chip.celsius:g} C" if chip.physical else "")
    die = "ideal" if chip.seed is None else f"seed {chip.seed}"
    return (
        f"preset {config.name} ({config.digest()[:12]})  die {die}{life}  pattern seed {settings.seed}  "
        f"engine {settings.backend}  dies {settings.dies}"
    )


def _table(grid: Grid) -> Table:
    """First column left, figures right, nothing wrapped."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for index, column in enumerate(grid.head):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    for row in grid.rows:
        table.add_row(*row)
    return table
