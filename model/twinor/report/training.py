# SPDX-License-Identifier: Apache-2.0
"""The page of a training: what was applied, learning curves, accuracies."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from twinor.report.content import Figure, Section, Table
from twinor.report.page import render
from twinor.store import write_text

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["build_training", "write_training"]


def write_training(path: Path, result: dict[str, Any]) -> None:
    """Write the page of a training whole or not at all.

    Args:
        path: the file.
        result: what `twinor train` writes as JSON: recipe, key, seconds, images, accuracy and history.

    Raises:
        TwinorError: the file cannot be written; what was there stays.
    """
    write_text(path, build_training(result, date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")))


def build_training(result: dict[str, Any], *, date: str) -> str:
    """The page as HTML; equal results and dates give equal bytes."""
    from twinor.report import figures  # Plotly is imported only to draw

    recipe, scores, history = result["recipe"], result["accuracy"], result["history"]
    facts = [("date", date), ("key", result["key"]), ("seconds", f"{result['seconds']:.0f}")]
    facts += [(name.replace("_", " "), str(value)) for name, value in recipe.items()]
    curves = Figure(
        name="learning",
        title="Loss and accuracy by epoch",
        caption="On the training images as they were changed; the loss on codes compares with the float network.",
        chart=figures.learning(history),
    )
    rows = []
    for n, e in enumerate(history, start=1):
        rows.append([str(n), e["stage"], str(e["epoch"]), f"{e['loss']:.4f}", f"{100 * e['accuracy']:.2f} %"])
    epochs = Table(title="Epochs", head=["epoch", "stage", "of stage", "loss", "accuracy"], rows=rows)
    tested = Table(
        title=f"Accuracy on {result['images']:,} test images",
        head=["network", "accuracy"],
        rows=[[name, f"{score:.2f} %"] for name, score in scores.items()],
    )
    content = [
        Section(name="accuracy", title="Accuracy", sentence=SENTENCE, tables=[tested]),
        Section(name="learning", title="Learning curves", figures=[curves], tables=[epochs]),
    ]
    loss = scores["int4"] - scores["float"]
    said = (
        f"{scores['int4']:.2f} % in 4 bits and integers alone, {loss:+.2f} points from {scores['float']:.2f} % in float"
    )
    return render(f"twinor train: {recipe['arch']} on {recipe['data']}", facts, said, content)


SENTENCE = (
    "The last epoch counts: nothing was chosen by the test images, which were classified once. `int4` is the integer "
    "network without a macro; `fake-quantized` is the torch network that was trained on codes."
)
