# SPDX-License-Identifier: Apache-2.0
"""The charts. Colours are the light palette's; the page's script turns them dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from twinor.report.palette import LIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.report.codes import LayerCodes, SliceCodes
    from twinor.report.converter import Converter
    from twinor.report.sweep import Point

__all__ = ["code_histograms", "confusion_matrix", "deviations", "sweep", "transfer"]

MARGIN = {"l": 8, "r": 12, "t": 26, "b": 8}  # axes make their own room


def _style(chart: go.Figure, *, height: int, **layout: Any) -> go.Figure:
    chart.update_layout(
        template="none",
        height=height,
        margin=MARGIN,
        paper_bgcolor=LIGHT["page"],
        plot_bgcolor=LIGHT["page"],
        font={"color": LIGHT["ink"], "size": 12},
        hoverlabel={"bgcolor": LIGHT["panel"], "bordercolor": LIGHT["grid"], "font": {"color": LIGHT["ink"]}},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "bgcolor": LIGHT["page"]},
        **layout,
    )
    axis = {
        "automargin": True,
        "gridcolor": LIGHT["grid"],
        "linecolor": LIGHT["muted"],
        "tickfont": {"color": LIGHT["muted"]},
        "title_font": {"size": 12, "color": LIGHT["ink"]},
        "title_standoff": 8,
        "zeroline": False,
    }
    chart.update_xaxes(axis | {"ticks": "outside", "tickcolor": LIGHT["muted"]})
    chart.update_yaxes(axis)
    return chart


def code_histograms(config: Config, layer: LayerCodes) -> go.Figure:
    """Conversions by ADC code, one panel per slice, on a common logarithmic axis."""
    titles = [slice_title(config, s) for s in layer.slices]
    panels = len(titles)
    height = 90 + 130 * panels
    chart = make_subplots(rows=panels, cols=1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=30 / height)
    codes = range(config.code_min, config.code_max + 1)
    for row, s in enumerate(layer.slices, start=1):
        ends = [config.code_min] * bool(s.low) + [config.code_max] * bool(s.high)
        colours = [LIGHT["accent"] if code in ends else LIGHT["series"] for code in codes]
        heights = [count or None for count in s.counts.tolist()]  # a logarithmic axis has no 0
        hover = "code %{x}: %{y:,} conversions<extra></extra>"
        bars = go.Bar(x=list(codes), y=heights, marker={"color": colours, "line_width": 0}, hovertemplate=hover)
        chart.add_trace(bars, row=row, col=1)
    _style(chart, height=height, bargap=0, showlegend=False)
    chart.update_annotations(font={"size": 12, "color": LIGHT["ink"]}, x=0, xanchor="left")
    top = max(int(s.counts.max()) for s in layer.slices)
    chart.update_yaxes(type="log", range=[-0.3, len(str(top)) - 0.4], tickformat="~s", dtick=1, nticks=5)
    chart.update_yaxes(title_text="conversions", row=(panels + 1) // 2, col=1)
    chart.update_xaxes(range=[config.code_min - 1, config.code_max + 1], showgrid=False)
    chart.update_xaxes(title_text="ADC code (LSB)", row=panels, col=1)
    return chart


def slice_title(config: Config, s: SliceCodes) -> str:
    """Name of a slice; weight slices are named only where there are several.

    Example:
        >>> from types import SimpleNamespace as Some
        >>> slice_title(Some(w_slices=1), Some(x_slice=1, w_slice=0, step=3))
        'input slice 1, step 3'
    """
    weight = f", weight slice {s.w_slice}" if config.w_slices > 1 else ""
    return f"input slice {s.x_slice}{weight}, step {s.step}"


def transfer(config: Config, c: Converter, *, varied: bool) -> go.Figure:
    """ADC code against the column quantity, ideal and of every ADC of the macro."""
    chart = go.Figure()
    ends = [float(c.ideal[0]) - 1, float(c.ideal[-1]) + 1]
    codes = [config.code_min, *c.codes.tolist(), config.code_max]

    def add(thresholds: NDArray[np.float64], name: str, colour: str, **more: Any) -> None:
        x = [ends[0], *thresholds.tolist(), ends[1]]
        line = {"shape": "hv", "color": colour, "width": 1.5}
        hover = f"{name}<br>%{{x:.2f}} LSB: code %{{y}}<extra></extra>"
        chart.add_scatter(x=x, y=codes, name=name, mode="lines", line=line, hovertemplate=hover, **more)

    if varied:
        for adc, thresholds in enumerate(c.actual):
            shown = {"legendgroup": "adcs", "showlegend": adc == 0}
            add(thresholds, f"ADCs 0 to {len(c.actual) - 1} of macro 0", LIGHT["thin"], **shown)
    add(c.ideal, "ideal table", LIGHT["series"])
    _style(chart, height=360, hovermode="closest", showlegend=varied)
    chart.update_xaxes(title_text="column quantity (LSB)", range=ends)
    chart.update_yaxes(title_text="ADC code")
    return chart


def deviations(c: Converter) -> go.Figure:
    """Threshold minus ideal threshold of every ADC; the worst one stands out."""
    chart = go.Figure()
    order = [adc for adc in range(len(c.actual)) if adc != c.worst] + [c.worst]
    for place, adc in enumerate(order):
        worst = adc == c.worst
        chart.add_scatter(
            x=c.codes.tolist(),
            y=c.deviation[adc].round(4).tolist(),
            name=f"ADC {adc}, the worst" if worst else "other ADCs of macro 0",
            legendgroup=str(worst),
            showlegend=worst or place == 0,
            mode="lines",
            line={"color": LIGHT["accent"] if worst else LIGHT["thin"], "width": 1.8 if worst else 1.2},
            hovertemplate=f"ADC {adc}, code %{{x}}: %{{y:+.3f}} LSB<extra></extra>",
        )
    _style(chart, height=360, hovermode="closest")
    chart.update_xaxes(title_text="ADC code", range=[int(c.codes[0]) - 1, int(c.codes[-1]) + 1])
    chart.update_yaxes(title_text="deviation (LSB)", zeroline=True, zerolinecolor=LIGHT["muted"])
    return chart


def confusion_matrix(matrix: NDArray[np.int64]) -> go.Figure:
    """Images by class and reading: right ones in one colour, wrong ones in another, nothing where there are none."""
    chart = go.Figure()
    classes = [str(k) for k in range(len(matrix))]
    for name, colour, right in (("right", LIGHT["series"], True), ("wrong", LIGHT["accent"], False)):
        z = [
            [int(n) if n and (row == column) is right else None for column, n in enumerate(line)]
            for row, line in enumerate(matrix)
        ]
        chart.add_heatmap(
            x=classes,
            y=classes,
            z=z,
            name=name,
            colorscale=[[0, colour], [1, colour]],
            showscale=False,
            texttemplate="%{z}",
            textfont={"color": LIGHT["page"], "size": 12},
            xgap=2,
            ygap=2,
            hoverongaps=False,
            hovertemplate=f"class %{{y}} read as %{{x}}: %{{z}} images, {name}<extra></extra>",
        )
    _style(chart, height=400)
    chart.update_xaxes(title_text="read as (class)", type="category", constrain="domain", showgrid=True)
    chart.update_yaxes(title_text="true class", type="category", autorange="reversed", scaleanchor="x")
    chart.update_yaxes(constrain="domain")
    return chart


def sweep(points: Sequence[Point], references: Mapping[str, float], *, images: int, axis: str) -> go.Figure:
    """Accuracy against one key, with references as lines and the preset's own point marked."""
    chart = go.Figure()
    run = [p for p in points if p.steps is not None]
    labels = [str(p.value) for p in points]  # a category each: active rows double from point to point
    percents = {p.value: 100 * p.right / images for p in run}
    for (name, percent), dash in zip(references.items(), ("dash", "dot"), strict=True):
        line = {"color": LIGHT["muted"] if dash == "dot" else LIGHT["third"], "dash": dash, "width": 1.5}
        hover = f"{name} {percent:.2f} %<extra></extra>"
        chart.add_scatter(x=labels, y=[percent] * len(labels), name=name, mode="lines", line=line, hovertemplate=hover)
    hover = f"{axis} %{{x}}: %{{y:.2f}} %<extra></extra>"
    chart.add_scatter(
        x=[str(p.value) for p in run],
        y=[percents[p.value] for p in run],
        name="macro",
        mode="lines+markers",
        line={"color": LIGHT["series"], "width": 2},
        marker={"size": 8},
        hovertemplate=hover,
    )
    low = min([*percents.values(), *references.values()])
    low, high = (low - 0.12 * (100 - low) - 0.5, 100.4)
    own = [p for p in run if p.own]
    ring = {"size": 15, "symbol": "circle-open", "color": LIGHT["accent"], "line": {"width": 2.5}}
    _points(chart, [str(p.value) for p in own], [percents[p.value] for p in own], "this preset", ring, hover)
    refused = [str(p.value) for p in points if p.steps is None]
    cross = {"size": 10, "symbol": "x-thin", "line": {"width": 2.5, "color": LIGHT["accent"]}}
    hover = f"{axis} %{{x}}: refused, see the table<extra></extra>"
    _points(chart, refused, [low + 0.06 * (high - low)] * len(refused), "refused", cross, hover)
    _style(chart, height=340, hovermode="closest")
    chart.update_xaxes(title_text=axis, type="category", categoryorder="array", categoryarray=labels, showgrid=False)
    chart.update_xaxes(range=[-0.5, len(labels) - 0.5])
    chart.update_yaxes(title_text="accuracy (%)", range=[low, high])
    return chart


def _points(
    chart: go.Figure, x: Sequence[str], y: Sequence[float], name: str, marker: dict[str, Any], hover: str
) -> None:
    if x:
        chart.add_scatter(x=x, y=y, name=name, mode="markers", marker=marker, hovertemplate=hover)
