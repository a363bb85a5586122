# SPDX-License-Identifier: Apache-2.0
"""Tables and progress of the command line; everything fits 80 characters."""

from __future__ import annotations

from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.progress import TaskID

    from twinor.cosim.network import LayerResult
    from twinor.montecarlo import Outcome
    from twinor.program import LevelResult, MacroResult
    from twinor.quantize import FoldResult
    from twinor.session_ablation import Priced
    from twinor.session_table import Row

__all__ = [
    "Progress",
    "accuracy",
    "folds",
    "layers",
    "networks",
    "networks_varied",
    "outcome",
    "outcomes",
    "published",
    "pulses",
    "reached",
    "seams",
    "show",
    "spreads",
]


def _table(*columns: str) -> Table:
    """First column left, figures right, nothing wrapped."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    return table


def show(title: str, table: Table, console: Console) -> None:
    """Print a table under its title."""
    console.print(f"\n{title}")
    console.print(table)


def layers(results: Sequence[LayerResult]) -> Table:
    """What every layer did."""
    table = _table("layer", "rows x cols", "tiles", "rounds", "conversions", "clipped", "cycles", "/ floor")
    for layer in results:
        counts = (layer.tiles, layer.rounds, layer.conversions, layer.clipped, layer.cycles)
        over = f"{layer.over_floor:.3f}"
        table.add_row(layer.name, f"{layer.rows} x {layer.cols}", *(f"{n:,}" for n in counts), over)
    return table


def seams(results: Sequence[LayerResult]) -> Table:
    """Values that differ, by layer and seam."""
    table = _table("layer", *results[0].mismatches)
    for layer in results:
        table.add_row(layer.name, *map(str, layer.mismatches.values()))
    return table


def accuracy(scores: dict[str, float], images: int) -> Table:
    """Percentages by engine."""
    table = _table("images", *scores)
    table.add_row(str(images), *(f"{score:.2f} %" for score in scores.values()))
    return table


def folds(results: Sequence[FoldResult], whole: FoldResult) -> Table:
    """Cross-validation, fold by fold and all together."""
    table = _table("fold", "images", "float", "fake-quantized", "int4")
    for name, result in [*((str(k), r) for k, r in enumerate(results)), ("all", whole)]:
        table.add_row(name, str(result.images), *(f"{p:.2f} %" for p in result.percent()))
    return table


def networks(rows: Sequence[Row]) -> Table:
    """Accuracies of checkpoints: float, integers alone, on the macro; differences where all are of the same images."""
    table = _table("network", "image", "float", "int4", "int4 - float", "macro", "macro - float")
    for row in rows:
        losses = [f"{x - row.trained:+.2f}" if row.whole else "" for x in (row.int4, row.macro)]
        figures = (f"{row.int4:.2f}", losses[0], f"{row.macro:.2f}", losses[1])
        table.add_row(row.name, row.image, f"{row.trained:.2f}", *figures)
    return table


def networks_varied(rows: Sequence[Row]) -> Table:
    """Mean and deviation over varied dies, and accuracy by bits of the ADC."""
    table = _table("network", "dies", *(f"{bits} bits" for bits in rows[0].bits))
    for row in rows:
        table.add_row(row.name, spread(row.dies), *(f"{x:.2f}" for x in row.bits.values()))
    return table


def ablation(rows: Sequence[Priced]) -> Table:
    """Accuracies by change of a recipe: float, integers alone, on the macro where it holds them."""
    table = _table("change", "float", "int4", "int4 - float", "macro", "macro - float")
    for row in rows:
        on_macro = ("", "") if row.macro is None else (f"{row.macro:.2f}", f"{row.macro - row.trained:+.2f}")
        table.add_row(row.change, f"{row.trained:.2f}", f"{row.int4:.2f}", f"{row.int4 - row.trained:+.2f}", *on_macro)
    return table


def spreads(scores: Sequence[dict[str, float]]) -> Table:
    """Mean and deviation by network over several trainings."""
    table = _table("seeds", *scores[0])
    table.add_row(str(len(scores)), *(spread([one[name] for one in scores]) for name in scores[0]))
    return table


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation.

    Example:
        >>> spread([90.0, 92.0]), spread([])
        ('91.00 +- 1.41', '')
    """
    return f"{mean(values):.2f} +- {stdev(values) if len(values) > 1 else 0:.2f}" if values else ""


def outcomes(results: Sequence[Outcome], ideal: float) -> Table:
    """Accuracy over dies by effect, against the ideal die's."""
    table = _table("effect", "dies", "mean", "sigma", "worst", "- ideal", "logits off")
    for o in results:
        figures = (f"{o.mean:.2f} %", f"{o.sigma:.2f}", f"{min(o.accuracies):.2f} %", f"{o.mean - ideal:+.2f}")
        table.add_row(o.name, str(len(o.accuracies)), *figures, f"{o.deviation:.2f} %")
    return table


def published(rows: Sequence[dict[str, Any]]) -> Table:
    """What others report, and what of their networks is not in 4 bits."""
    table = _table("work", "network", "float", "int4", "not in 4 bits")
    for row in rows:
        table.add_row(row["work"], row["network"], f"{row['float']:.2f}", f"{row['int4']:.2f}", row["exempt"])
    return table


def outcome(results: Sequence[LayerResult], *, images: int, seconds: float, console: Console) -> None:
    """The last word of a co-simulation."""
    console.print()
    if all(layer.exact for layer in results):
        console.print("every accumulator equals PyTorch's integer arithmetic")
    different = sum(sum(layer.mismatches.values()) for layer in results)
    conversions, cycles = (sum(getattr(layer, name) for layer in results) for name in ("conversions", "cycles"))
    console.print(
        f"{images} images, {len(results)} layers, {conversions:,} conversions, {cycles:,} cycles in {seconds:.0f} s: "
        f"{different} mismatches at {len(results[0].mismatches)} seams",
        soft_wrap=True,
    )


def reached(levels: Sequence[LevelResult]) -> Table:
    """Strengths by level, in levels, and statuses of the cells."""
    table = _table("level", "cells", "mean", "sigma", "min", "max", "good", "under", "over", "unerased")
    for row in levels:
        figures = (f"{x:.3f}" for x in (row.mean, row.sigma, row.low, row.high))
        table.add_row(str(row.level), f"{row.cells:,}", *figures, *(f"{n:,}" for n in row.statuses))
    return table


def pulses(macros: Sequence[MacroResult]) -> Table:
    """Pulses, cycles and time by macro."""
    table = _table("macro", "rows", "erase", "coarse", "fine", "reads", "cycles", "time", "defects")
    for m in macros:
        counts = (*m.pulses, m.done.reads, m.done.cycles)
        bad = int((m.status > 0).sum())
        table.add_row(str(m.macro), str(len(m.rows)), *(f"{n:,}" for n in counts), f"{m.seconds:.2f} s", f"{bad:,}")
    return table


class Progress:
    """Bars on a terminal; elsewhere a line at every quarter, so that a log shows life."""

    def __init__(self, console: Console) -> None:
        """Nothing shows before the first step."""
        self.console = console
        columns = (TextColumn("{task.description:<14}"), BarColumn(24), TextColumn("{task.percentage:>3.0f} %"))
        note = TextColumn("{task.fields[note]}")
        self.bars = RichProgress(*columns, note, TimeElapsedColumn(), console=console, disable=not console.is_terminal)
        self.tasks: dict[str, TaskID] = {}
        self.quarters: dict[str, int] = {}

    def __enter__(self) -> Progress:
        """Start the bars."""
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bars as they are."""
        self.bars.stop()

    def show(self, what: str, done: int, total: int, *, note: str = "") -> None:
        """`done` of `total` steps of `what` are done."""
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(what, total=total, note=note)
        self.bars.update(self.tasks[what], completed=done, note=note)
        quarter = 4 * done // total
        if not self.console.is_terminal and quarter > self.quarters.get(what, 0):
            self.quarters[what] = quarter
            self.console.print(f"{what:<14} {100 * done // total:>3} %  {note}".rstrip(), soft_wrap=True)
