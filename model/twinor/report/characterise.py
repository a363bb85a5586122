# SPDX-License-Identifier: Apache-2.0
"""The page of a characterisation: a section of charts and tables for every measurement."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from twinor.characterise.stress import DIFFERENTIAL
from twinor.characterise.summary import decibel, fixed, grids, outcome, shown_levels
from twinor.report.applied import commit
from twinor.report.content import Figure, Section, Table
from twinor.report.figures import _place_titles as place_titles
from twinor.report.figures import _style as style
from twinor.report.page import render
from twinor.report.palette import LIGHT
from twinor.store import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike

    from twinor.characterise.adcs import AdcFigures
    from twinor.characterise.cells import CellTransfer
    from twinor.characterise.mac import MacFigures
    from twinor.characterise.noise import NoiseFigures
    from twinor.characterise.stress import Curve, Sweep
    from twinor.characterise.suite import Characterisation
    from twinor.characterise.wires import WireDrop
    from twinor.characterise.yields import Yield

__all__ = ["build_characterisation", "write_characterisation"]

TITLES = {
    "cells": "Cells",
    "adcs": "ADCs",
    "products": "Products",
    "noise": "Noise",
    "drift": "Time",
    "temperature": "Temperature",
    "wires": "Wire drop",
    "yield": "Yield",
}


def write_characterisation(found: Characterisation, folder: Path) -> Path:
    """Write `<name>.html` whole or not at all and return its path.

    Raises:
        TwinorError: the file cannot be written; what was there stays.
    """
    path = folder / f"{found.name}.html"
    write_text(path, build_characterisation(found, date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")))
    return path


def build_characterisation(found: Characterisation, *, date: str) -> str:
    """The page as HTML; equal results and dates give equal bytes."""
    charts: dict[str, tuple[str, list[Figure]]] = {
        "cells": _cells(found.cells),
        "adcs": _adcs(found.adcs),
        "products": _products(found.macs),
    }
    if found.noise:
        charts["noise"] = _noise(found.noise)
    if found.drift:
        charts["drift"] = _sweep("drift", found.drift, f"hours at {found.bake_celsius:g} C")
    if found.heat:
        charts["temperature"] = _sweep("temperature", found.heat, "temperature (C)")
    if found.wires:
        charts["wires"] = _wires(found.wires)
    if found.yields:
        charts["yield"] = _yield(found.yields)
    tables = [*grids(found)]
    content = []
    for name, (sentence, figures) in charts.items():
        grid = [grid for grid in tables if grid.section == name]
        own = [Table(title=of.title[0].upper() + of.title[1:], head=of.head, rows=of.rows) for of in grid]
        own += _more(name, found)
        sentence += "".join(f" {of.note[0]} marks {of.note[2:]}." for of in grid if of.note)
        content.append(Section(name=name, title=TITLES[name], sentence=sentence, figures=figures, tables=own))
    title = f"twinor {found.name.replace('-', ' ', 1).replace('-die', ', die ')}"
    return render(title, _applied(found, date), outcome(found), content)


def _applied(found: Characterisation, date: str) -> list[tuple[str, str]]:
    """Names and values of what decides the figures."""
    chip, settings = found.chip, found.settings
    lived = [f"{bake.seconds / 3600.0:g} h at {bake.celsius:g} C" for bake in chip.bakes]
    lived += [f"{chip.reads:,} reads"] if chip.reads else []
    bakes = "; ".join(lived)
    steps = ", ".join(str(step) for of in found.steps for step in of)
    facts = [
        ("preset", chip.config.name),
        ("follows", " ".join(chip.config.follows.split())),
        ("configuration digest", chip.config.digest()),
        ("die", "ideal" if chip.seed is None else f"varied, seed {chip.seed}"),
        ("life of the die", f"{bakes or 'fresh'}, at {chip.celsius:g} C"),
        ("column correction", "from the ADCs' levels" if found.trimmed else "as it came, if there is any"),
        ("pattern seed", str(settings.seed)),
        ("products", f"{settings.vectors:,} vectors, {settings.sweep_vectors:,} at each point and die"),
        ("ADC steps", f"{steps} array units"),
        ("engine", settings.backend),
        ("left out", "; ".join(found.left_out)),
        ("commit", commit() or "not in a git checkout"),
        ("date", date),
    ]
    return [(name, value) for name, value in facts if value]


def _more(name: str, found: Characterisation) -> list[Table]:
    """What the console is too narrow for."""
    if name == "cells":
        c = found.cells
        codes = range(1, c.ideal.shape[1] + 1)
        both = [
            [f"{fixed(m)} +- {fixed(s)}" for m, s in zip(*of, strict=True)] for of in zip(c.mean, c.sigma, strict=True)
        ]
        rows = [[str(level), *both[level]] for level in shown_levels(len(both))]
        return [
            Table(title="Mean and spread by word-line code", head=["level", *(f"code {x}" for x in codes)], rows=rows)
        ]
    if name == "adcs":
        a = found.adcs
        figures = zip(a.gain, a.offset, abs(a.dnl).max(1), abs(a.inl).max(1), a.missing, a.enob, strict=True)
        rows = [
            [str(k), f"{of[0]:.4f}", f"{of[1]:+.3f}", *(f"{x:.3f}" for x in of[2:4]), str(of[4]), _bits(of[5])]
            for k, of in enumerate(figures)
        ]
        head = ["ADC", "gain", "offset (LSB)", "DNL (LSB)", "INL (LSB)", "missing codes", "ENOB"]
        return [Table(title="ADC by ADC", head=head, rows=rows)]
    if name == "yield" and found.yields:
        rows = [[str(d.seed), f"{d.inl:.3f}", decibel(d.snr), f"{d.mac_error:.3f}"] for d in found.yields.dies]
        head = ["die seed", "INL (LSB)", "SNR (dB)", "MAC error (LSB)"]
        return [Table(title="Die by die", head=head, rows=rows)]
    return []


def _bits(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "too few codes"


# Charts //


def _list(values: ArrayLike, digits: int = 4) -> list[float | None]:
    """Numbers for a chart; None where there is none."""
    return [float(v) if np.isfinite(v) else None for v in np.round(np.asarray(values, dtype=float), digits).ravel()]


def _points(x: ArrayLike, y: ArrayLike, name: str, colour: str, hover: str, **more: Any) -> go.Scatter:
    marker = {"size": more.pop("size", 6), "color": LIGHT[colour]}
    hovertemplate = f"{hover}<extra></extra>"
    return go.Scatter(
        x=_list(x), y=_list(y), name=name, mode="markers", marker=marker, hovertemplate=hovertemplate, **more
    )


def _line(x: ArrayLike, y: ArrayLike, name: str, colour: str, hover: str, **more: Any) -> go.Scatter:
    line = {"color": LIGHT[colour], "width": more.pop("width", 2), "dash": more.pop("dash", "solid")}
    return go.Scatter(
        x=_list(x), y=_list(y), name=name, mode="lines", line=line, hovertemplate=f"{hover}<extra></extra>", **more
    )


def _finish(chart: go.Figure, x: str, y: str, *, height: int = 340, **layout: Any) -> go.Figure:
    style(chart, height=height, hovermode="closest", **layout)
    chart.update_xaxes(title_text=x)
    chart.update_yaxes(title_text=y, zeroline=True, zerolinecolor=LIGHT["muted"])
    return chart


def _cells(c: CellTransfer) -> tuple[str, list[Figure]]:
    named = [f"level {k}, code {x + 1}" for k in range(c.ideal.shape[0]) for x in range(c.ideal.shape[1])]
    ends = [0.0, float(c.ideal.max())]
    charts = []
    for y, line in ((c.mean, ends), (c.mean - c.ideal, [0.0, 0.0])):
        chart = go.Figure(_line(ends, line, "ideal product", "muted", "ideal", dash="dot"))
        bars = {"type": "data", "array": _list(c.sigma), "color": LIGHT["thin"], "thickness": 1.5, "width": 3}
        hover = "%{customdata}: %{y:.2f} +- %{error_y.array:.2f}, ideal %{x:.0f}"
        spread = {"error_y": bars, "customdata": named, "showlegend": True}
        chart.add_trace(_points(c.ideal, y, "cells, mean and one sigma", "series", hover, **spread))
        charts.append(_finish(chart, "ideal product (array units)", "current (array units)"))
    charts[1].update_yaxes(title_text="current less ideal (array units)")
    sentence = (
        "One word line is driven, one line of a pair is selected, and the ADC converts at its finest step that fits; "
        "its own gain and offset are taken off, and every cell is read 16 times. "
        f"{int(c.cells.sum()):,} cells were read, {100 * c.clipped:.2f} % of the reads at the largest code."
    )
    texts = ("Current of every level at every word-line code", "Deviation from the ideal product")
    caption = "A point is the mean of all cells of a level at a code, a bar one standard deviation among them."
    names = zip(("cells-transfer", "cells-deviation"), texts, charts, strict=True)
    return sentence, [Figure(name=n, title=t, caption=caption, chart=chart) for n, t, chart in names]


def _adcs(a: AdcFigures) -> tuple[str, list[Figure]]:
    figures = []
    for key, title, values in (("inl", "Integral nonlinearity", a.inl), ("dnl", "Differential nonlinearity", a.dnl)):
        sizes = np.nanmax(np.abs(values), axis=1)
        worst, chart = int(sizes.argmax()), go.Figure()
        for place, adc in enumerate([*(k for k in range(len(values)) if k != worst), worst]):
            marked = adc == worst
            name, colour = (f"ADC {adc}, the worst", "accent") if marked else ("other ADCs", "thin")
            hover = f"ADC {adc}, level %{{x}}: %{{y:+.3f}} LSB"
            more = {"legendgroup": str(marked), "showlegend": marked or place == 0, "width": 1.8 if marked else 1.2}
            chart.add_trace(_line(np.arange(1, values.shape[1] + 1), values[adc], name, colour, hover, **more))
        caption = (
            "A line is one ADC, by transition level or code, counted from the lowest; noise of the histogram is in it."
        )
        _finish(chart, "level" if key == "inl" else "code", f"{key.upper()} (LSB)")
        figures.append(Figure(name=f"adc-{key}", title=f"{title} of every ADC", caption=caption, chart=chart))
    sentence = (
        "A ramp of 512 samples an LSB, each with the noise of its conversion, gives a histogram, and that the levels; "
        "INL is from the line through the end points. ENOB is that of a coherent sine over 98 % of each ADC's range."
    )
    return sentence, figures


def _products(macs: Sequence[MacFigures]) -> tuple[str, list[Figure]]:
    m = macs[-1]
    hover = "ideal %{x:.0f}: %{y:+.2f} LSB"
    chart = go.Figure(_points(m.shown_ideal, m.shown_error, "products as they come", "thin", hover, size=4))
    mean = _line(m.mean_at * m.lsb, m.mean, "mean", "accent", "ideal %{x:.0f}: mean %{y:+.2f} LSB", width=2.5)
    chart.add_trace(mean)
    _finish(chart, "ideal dot product (array units)", "measured less ideal (LSB)")
    columns = np.arange(len(m.snr_db))
    bars = go.Figure(_points(columns, m.snr_db, "a column", "series", "column %{x}: %{y:.1f} dB"))
    ends = [-0.5, len(columns) - 0.5]
    bars.add_trace(_line(ends, [m.snr] * 2, "all columns", "accent", f"all columns: {decibel(m.snr)} dB", dash="dash"))
    _finish(bars, "column", "SNR (dB)")
    sentence = (
        "Random weights and activations, rounded normals and half-normals, through all columns of one row group. "
        "A line is fitted to every column: `gain` and `offset` are its, `sigma` is what it leaves, and SNR is the "
        "power of the line over that of the rest; `error` has no line taken off, and INL is what is bent in all "
        "columns alike."
    )
    return sentence, [
        Figure(
            name="mac-error",
            title="Error of the accumulators",
            caption=f"A point is one product, the line the mean of all; 1 LSB is {m.lsb} array units.",
            chart=chart,
        ),
        Figure(
            name="mac-snr",
            title="SNR by column",
            caption="Signal over what the column's own line leaves; a column without any error has no point.",
            chart=bars,
        ),
    ]


def _noise(noise: Sequence[NoiseFigures]) -> tuple[str, list[Figure]]:
    chart = go.Figure()
    top = 1.05 * max(float(max(n.measured.max(), n.predicted.max())) for n in noise)
    chart.add_trace(_line([0, top], [0, top], "as predicted", "muted", "as predicted", dash="dot"))
    for k, n in enumerate(noise):
        hover = f"{n.name}: %{{y:.3f}} LSB, predicted %{{x:.3f}}"
        colour = ("series", "accent", "third", "thin")[k % 4]
        chart.add_trace(_points(n.predicted, n.measured, n.name, colour, hover, size=5))
    _finish(chart, "predicted sigma (LSB)", "measured sigma (LSB)", height=400)
    sentence = (
        "Each of a few inputs is converted again and again. The prediction takes the variances of the die's tables and "
        "the ADC's own thresholds; a trap keeps its state for 64 vectors, so few states of it are seen."
    )
    caption = "A point is one column and one input; it lies on the line if the tables tell the truth."
    figure = Figure(name="noise", title="Spread of codes, measured and predicted", caption=caption, chart=chart)
    return sentence, [figure]


def _sweep(name: str, s: Sweep, axis: str) -> tuple[str, list[Figure]]:
    decades = s.axis == "hours" and max(s.at) > 1e3
    shown = [k for k, value in enumerate(s.at) if value > 0 or not decades]
    at = [s.at[k] for k in shown]
    modes = list(dict.fromkeys(c.tracking for c in s.curves))
    titles = [{True: "tracked by reference cells", False: "not tracked", None: ""}[mode] for mode in modes]
    height = 75 + 210 * len(modes)
    gain = make_subplots(
        rows=len(modes), cols=1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=46 / height
    )
    snr = go.Figure()
    for c in s.curves:
        row = modes.index(c.tracking) + 1
        line = _curve(c, at, [c.points[k].drift for k in shown], "%{y:+.2f} %")
        gain.add_trace(line.update(name=c.pairing, showlegend=row == 1, line_dash="solid"), row=row, col=1)
        snr.add_trace(_curve(c, at, [c.points[k].snr for k in shown], "%{y:.1f} dB"))
    _finish(gain, "", "gain moved (%)", height=height)
    place_titles(gain)
    gain.update_layout(legend={"y": 1 + 22 / height}, margin={"t": 50})
    gain.update_xaxes(title_text=axis, row=len(modes), col=1)
    _finish(snr, axis, "SNR (dB)", height=400)
    for chart in (gain, snr):
        if decades:
            chart.update_xaxes(type="log", dtick=1, tickformat="~s")
    sentence = (
        "Lines of the columns are fitted on the chip as it came and kept; errors are against them. "
        "A single-ended column is the plus line of a pair alone, at ADC steps of its own."
    )
    captions = (
        "Slope of what is measured by what it should be, less that of the chip as it came.",
        "Power of the ideal products about their column's mean, over that of the errors.",
    )
    both = zip(("gain", "snr"), ("Gain", "SNR"), captions, (gain, snr), strict=True)
    return sentence, [
        Figure(name=f"{name}-{key}", title=f"{title} against {axis}", caption=caption, chart=chart)
        for key, title, caption, chart in both
    ]


def _curve(c: Curve, at: Sequence[float], y: Sequence[float], text: str) -> go.Scatter:
    """Pairs and single lines differ in colour, tracked and untracked ones in the line."""
    colour = "series" if c.pairing == DIFFERENTIAL else "accent"
    line = _line(at, y, c.name, colour, f"{c.name}, %{{x}}: {text}", dash="dash" if c.tracking is False else "solid")
    return line.update(mode="lines+markers", marker={"size": 6, "color": LIGHT[colour]}, legendgroup=c.name)


def _wires(w: WireDrop) -> tuple[str, list[Figure]]:
    every = slice(None, None, -(-w.solved.size // 1500))
    x, chart = w.solved.ravel()[every], go.Figure()
    for name, colour, values in (("as it is", "thin", w.error), ("less a line of each column", "series", w.remaining)):
        hover = f"{name}, solved %{{x:.1f}}: %{{y:+.3f}}"
        chart.add_trace(_points(x, values.ravel()[every], name, colour, hover, size=4))
    _finish(chart, "solved column quantity (array units)", "integers less solved (array units)")
    sentence = (
        "The ladder of bit line and source line is solved for every input and every column, and compared with what the "
        f"integers add up to, which have the drop at one operating point: {w.loss:.2f} % of the current. Single lines "
        f"are off by {w.line:.3f} array units rms. Word lines that are off leak up to {w.leak:.3f} array units into a "
        "line, which the integers do not have and a pair takes off."
    )
    caption = "A point is one column and one input slice."
    title = "What the operating point in the integers leaves"
    return sentence, [Figure(name="wires", title=title, caption=caption, chart=chart)]


def _yield(y: Yield) -> tuple[str, list[Figure]]:
    limits, seeds = y.limits, [die.seed for die in y.dies]
    kinds = (
        ("INL (LSB)", [die.inl for die in y.dies], limits.max_inl),
        ("SNR (dB)", [die.snr for die in y.dies], limits.min_snr),
        ("MAC error (LSB)", [die.mac_error for die in y.dies], limits.max_mac_error),
    )
    chart = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    met = [die.meets(limits) for die in y.dies]
    for row, (name, values, limit) in enumerate(kinds):
        for good, colour in ((True, "series"), (False, "accent")):
            own = [k for k, of in enumerate(met) if of[row] is good]
            first = next((k for k in range(3) if any(of[k] is good for of in met)), 0)
            word, places = "keeps to the limit" if good else "does not", [seeds[k] for k in own]
            dots = _points(places, [values[k] for k in own], word, colour, f"die %{{x}}: %{{y:.3f}} {name}")
            dots.update(legendgroup=word, showlegend=row == first, cliponaxis=False)
            chart.add_trace(dots, row=row + 1, col=1)
        ends = [min(seeds) - 0.5, max(seeds) + 0.5]
        edge = _line(ends, [limit] * 2, "limit", "muted", f"limit {limit:g}", dash="dash", showlegend=row == 0)
        chart.add_trace(edge.update(legendgroup="limit"), row=row + 1, col=1)
    _finish(chart, "", "", height=460)
    for row, (name, *_) in enumerate(kinds, start=1):
        chart.update_yaxes(title_text=name, zeroline=False, row=row, col=1)
    chart.update_xaxes(title_text="die seed", row=3, col=1)
    low, high = y.interval
    sentence = (
        f"{y.counts['all']} of {len(y.dies)} fresh dies at 25 C keep to all limits; at 95 % confidence that is "
        f"{low:.0f} to {high:.0f} % of all dies of this process. INL is the largest of any ADC, SNR and error are of "
        "the products of all columns."
    )
    caption = "A point is one die, trimmed and measured as this one; the dashed line is the limit."
    return sentence, [Figure(name="yield", title="Dies against the limits", caption=caption, chart=chart)]
