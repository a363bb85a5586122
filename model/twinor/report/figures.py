# SPDX-License-Identifier: Apache-2.0
"""The charts. Colours are the light palette's; the page's script turns them dark."""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from twinor.report.palette import LIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.montecarlo import Outcome
    from twinor.report.codes import LayerCodes, SliceCodes
    from twinor.report.converter import Converter
    from twinor.report.sweep import Point

__all__ = [
    *("code_histograms", "confusion_matrix", "deviations", "die_accuracies", "effect_costs"),
    *("learning", "sweep", "transfer"),
]

MIDDLE = 6
"""Codes on each side of mid-range that the transfer curve shows a second time."""
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
    _place_titles(chart)
    top = max(int(s.counts.max()) for s in layer.slices)
    chart.update_yaxes(type="log", range=[-0.3, log10(max(top, 10)) + 0.15], tickformat="~s", dtick=1, nticks=5)
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
    """ADC code against the column quantity, ideal and of every ADC of the macro; the middle codes once more, larger."""
    whole = slice(0, len(c.codes))
    middle = slice(max(0, len(c.codes) // 2 - MIDDLE), len(c.codes) // 2 + MIDDLE)
    panels = [whole] if middle == whole else [whole, middle]
    titles = ["all codes", "the middle codes"][: len(panels)]
    height = 75 + 250 * len(panels)
    chart = make_subplots(rows=len(panels), cols=1, subplot_titles=titles, vertical_spacing=95 / height)
    for row, part in enumerate(panels, start=1):
        if varied:
            name = f"ADCs 0 to {len(c.actual) - 1} of macro 0"
            for adc, thresholds in enumerate(c.actual):
                steps = _steps(c.codes[part], thresholds[part], f"ADC {adc}", LIGHT["thin"])
                legend = {"name": name, "legendgroup": "adcs", "showlegend": row == 1 and adc == 0}
                chart.add_trace(steps.update(legend), row=row, col=1)
        ideal = _steps(c.codes[part], c.ideal[part], "ideal", LIGHT["series"])
        legend = {"name": "ideal table", "legendgroup": "ideal", "showlegend": row == 1}
        chart.add_trace(ideal.update(legend), row=row, col=1)
        chart.update_xaxes(range=[c.ideal[part][0] - 1, c.ideal[part][-1] + 1], row=row, col=1)
    _style(chart, height=height, hovermode="closest", showlegend=varied)
    _place_titles(chart)
    chart.update_layout(legend={"y": 1 + 22 / height}, margin=MARGIN | {"t": 50 if varied else 26})
    chart.update_xaxes(title_text="column quantity (LSB)")
    chart.update_yaxes(title_text="ADC code")
    return chart


def _steps(codes: NDArray[np.int64], thresholds: NDArray[np.float64], name: str, colour: str) -> go.Scatter:
    """A staircase that reaches each code at its threshold, one LSB longer at both ends."""
    return go.Scatter(
        x=[float(thresholds[0]) - 1, *thresholds.tolist(), float(thresholds[-1]) + 1],
        y=[int(codes[0]) - 1, *codes.tolist(), int(codes[-1])],
        mode="lines",
        line={"shape": "hv", "color": colour, "width": 1.5},
        hovertemplate=f"{name}: code %{{y}} from %{{x:.2f}} LSB<extra></extra>",
    )


def _place_titles(chart: go.Figure) -> None:
    """Titles of panels at the left, where they cannot meet a number."""
    chart.update_annotations(font={"size": 12, "color": LIGHT["ink"]}, x=0, xanchor="left")


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
    at = {p.value: place for place, p in enumerate(points)}  # evenly spaced: active rows double from point to point
    run = [p for p in points if p.steps is not None]
    percents = {p.value: 100 * p.right / images for p in run}
    ends = [-0.5, len(points) - 0.5]
    for (name, percent), dash, colour in zip(references.items(), ("dash", "dot"), ("third", "muted"), strict=True):
        line = {"color": LIGHT[colour], "dash": dash, "width": 2}
        hover = f"{name} {percent:.2f} %<extra></extra>"
        chart.add_scatter(x=ends, y=[percent] * 2, name=name, mode="lines", line=line, hovertemplate=hover)
    low = min([98.5, *percents.values(), *references.values()]) - 0.5
    marker = {"size": 8, "color": LIGHT["series"]}
    hover = f"{axis} %{{customdata}}: %{{y:.2f}} %<extra></extra>"
    _points(chart, at, percents, "macro", marker, hover, line={"color": LIGHT["series"], "width": 2})
    ring = {"size": 15, "symbol": "circle-open", "color": LIGHT["accent"], "line": {"width": 2.5}}
    _points(chart, at, {p.value: percents[p.value] for p in run if p.own}, "this preset", ring, hover)
    cross = {"size": 10, "symbol": "x-thin", "line": {"width": 2.5, "color": LIGHT["accent"]}}
    hover = f"{axis} %{{customdata}}: refused, see the table<extra></extra>"
    refused = {p.value: low + 0.05 * (100.4 - low) for p in points if p.steps is None}
    _points(chart, at, refused, "refused", cross, hover)
    _style(chart, height=340, hovermode="closest")
    ticks = {"tickvals": list(at.values()), "ticktext": [str(value) for value in at]}
    chart.update_xaxes(title_text=axis, range=ends, showgrid=False, **ticks)
    chart.update_yaxes(title_text="accuracy (%)", range=[low, 100.4])
    return chart


def learning(epochs: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Loss and accuracy on the training images by epoch: first in float, then on codes."""
    chart = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    for stage, colour in (("float", LIGHT["third"]), ("int4", LIGHT["series"])):
        places = [n for n, epoch in enumerate(epochs, start=1) if epoch["stage"] == stage]
        for row, (name, scale, unit) in enumerate((("loss", 1, ""), ("accuracy", 100, " %")), start=1):
            chart.add_scatter(
                x=places,
                y=[scale * epochs[n - 1][name] for n in places],
                name=stage,
                legendgroup=stage,
                showlegend=row == 1,
                mode="lines+markers",
                line={"color": colour, "width": 2},
                marker={"size": 6, "color": colour},
                hovertemplate=f"{stage}, epoch %{{x}}: {name} %{{y:.3f}}{unit}<extra></extra>",
                row=row,
                col=1,
            )
    _style(chart, height=420, hovermode="closest")
    chart.update_xaxes(title_text="epoch", row=2, col=1)
    chart.update_yaxes(title_text="loss", rangemode="tozero", row=1, col=1)
    chart.update_yaxes(title_text="accuracy (%)", row=2, col=1)
    return chart


def die_accuracies(accuracies: Sequence[float], ideal: float) -> go.Figure:
    """How many dies have which accuracy, with the ideal die as a line."""
    chart = go.Figure()
    chart.add_histogram(
        x=list(accuracies),
        marker={"color": LIGHT["series"]},
        name="dies",
        nbinsx=20,
        hovertemplate="%{x} %: %{y} dies<extra></extra>",
    )
    chart.add_vline(x=ideal, line={"color": LIGHT["accent"], "dash": "dash", "width": 2})
    _style(chart, height=300, showlegend=False, bargap=0.05)
    chart.update_xaxes(title_text="accuracy (%)", showgrid=False)
    chart.update_yaxes(title_text="dies")
    return chart


def effect_costs(outcomes: Sequence[Outcome]) -> go.Figure:
    """How far each effect moves the logits, the largest at the top."""
    ordered = sorted(outcomes, key=lambda o: o.deviation)
    chart = go.Figure()
    chart.add_bar(
        x=[o.deviation for o in ordered],
        y=[o.name for o in ordered],
        orientation="h",
        marker={"color": LIGHT["series"]},
        hovertemplate="%{y}: %{x:.2f} %<extra></extra>",
    )
    _style(chart, height=60 + 28 * len(ordered), showlegend=False)
    chart.update_xaxes(title_text="logits off (% of their spread)")
    chart.update_yaxes(showgrid=False)
    return chart


def _points(
    chart: go.Figure,
    at: Mapping[int, int],
    heights: Mapping[int, float],
    name: str,
    marker: dict[str, Any],
    hover: str,
    **more: Any,
) -> None:
    """Markers at the places of their values, joined if a line is given."""
    if heights:
        chart.add_scatter(
            x=[at[value] for value in heights],
            y=list(heights.values()),
            customdata=list(heights),
            name=name,
            mode="lines+markers" if more else "markers",
            marker=marker,
            hovertemplate=hover,
            **more,
        )
