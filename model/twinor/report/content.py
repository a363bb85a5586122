# SPDX-License-Identifier: Apache-2.0
"""What a page is made of: sections with sentences, figures and tables."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import plotly.graph_objects as go

__all__ = ["Figure", "Section", "Table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart with its title and the sentence that says how to read it."""

    name: str
    """Identifier in the page."""
    title: str
    caption: str
    chart: go.Figure

    @property
    def spec(self) -> dict[str, Any]:
        """What plotly.js draws."""
        spec: dict[str, Any] = json.loads(self.chart.to_json())
        return spec

    @property
    def height(self) -> int:
        """Pixels, so that the page does not jump when the chart is drawn."""
        return int(self.chart.layout.height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells as text; the first column names the row, columns in `words` are left-aligned, all others are figures."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One heading of the page; a sentence or two first, then figures, then tables."""

    name: str
    title: str
    sentence: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
