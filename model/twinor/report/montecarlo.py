# SPDX-License-Identifier: Apache-2.0
"""The page of a Monte-Carlo run: accuracies of the dies, and which non-ideality costs most."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from twinor.montecarlo import ALL, Outcome
from twinor.report.content import Figure, Section, Table
from twinor.report.page import render
from twinor.store import write_text

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["build_montecarlo", "write_montecarlo"]


def write_montecarlo(path: Path, result: dict[str, Any]) -> None:
    """Write the page whole or not at all.

    Args:
        path: the file.
        result: what `twinor montecarlo` writes as JSON.

    Raises:
        TwinorError: the file cannot be written; what was there stays.
    """
    write_text(path, build_montecarlo(result, date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")))


def build_montecarlo(result: dict[str, Any], *, date: str) -> str:
    """The page as HTML; equal results and dates give equal bytes."""
    from twinor.report import figures  # Plotly is imported only to draw

    off = result["deviations"]
    outcomes = [Outcome(name, tuple(found), tuple(off[name])) for name, found in result["effects"].items()]
    whole, ideal, life = outcomes[0], result["ideal"], result["life"]
    facts = [("date", date), ("preset", f"{result['preset']} ({result['config'][:12]})")]
    facts += [("network", result["network"][:12]), ("images", f"{result['images']:,}")]
    facts += [("life", f"{life['hours']:g} h at {life['bake']:g} C, then at {life['celsius']:g} C")]
    rows: list[list[str]] = []
    for o in outcomes:
        figures_of = (f"{o.mean:.2f} %", f"{o.sigma:.2f}", f"{min(o.accuracies):.2f} %", f"{o.mean - ideal:+.2f}")
        rows.append([o.name, str(len(o.accuracies)), *figures_of, f"{o.deviation:.2f} %"])
    head = ["effect", "dies", "mean", "sigma", "worst", "against ideal", "logits off"]
    spread = Figure(
        name="dies",
        title=f"Accuracy of {len(whole.accuracies)} dies",
        caption=f"All effects together; the line is the ideal die, {ideal:.2f} %.",
        chart=figures.die_accuracies(whole.accuracies, ideal),
    )
    costs = Figure(
        name="costs",
        title="How far each effect alone moves the logits",
        caption="Root mean square against the ideal die, in percent of the logits' own spread; mean over the dies.",
        chart=figures.effect_costs(outcomes),
    )
    worst = max((o for o in outcomes if o.name != ALL), key=lambda o: o.deviation)
    table = Table(title="Accuracy by effect", head=head, rows=rows)
    content = [
        Section(name="dies", title="Dies", sentence=SENTENCE, figures=[spread]),
        Section(name="effects", title="Effects", figures=[costs]),
        Section(name="table", title="In numbers", tables=[table]),
    ]
    said = (
        f"{whole.mean:.2f} +- {whole.sigma:.2f} % on {len(whole.accuracies)} dies, {whole.mean - ideal:+.2f} points "
        f"from the ideal die; alone, {worst.name} moves the logits most: by {worst.deviation:.2f} %"
    )
    return render(f"twinor montecarlo: {result['preset']}", facts, said, content)


SENTENCE = (
    "Every die is drawn with its own seed, lives the same life and classifies the same images. Single effects are the "
    "same dies with everything else switched off; `cells` is what is left then: the equation of the cell itself."
)
