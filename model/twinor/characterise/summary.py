# SPDX-License-Identifier: Apache-2.0
"""What was measured as short tables of text, each at most 80 characters wide, and as plain values for JSON."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twinor.characterise.adcs import AdcFigures
    from twinor.characterise.cells import CellTransfer
    from twinor.characterise.mac import MacFigures
    from twinor.characterise.noise import NoiseFigures
    from twinor.characterise.stress import Moved, Sweep
    from twinor.characterise.suite import Characterisation
    from twinor.characterise.wires import WireDrop
    from twinor.characterise.yields import Yield

FEW, MANY = 1e-3, 1e-2
HEADROOM = "* more than 0.1 % of the cells carry more than the behavioural array has room for, twice the top level"
CLIPPED = "^ more than 1 % of the products have a conversion at an end of an ADC's range"

__all__ = ["Grid", "decibel", "fixed", "grids", "outcome", "plain", "shown_levels", "told"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table of text; the first column names the row."""

    section: str
    """Which measurement it belongs to."""
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    """What a sign in it means."""


def decibel(value: float) -> str:
    """Decibels, of which there are infinitely many where nothing is wrong.

    Example:
        >>> decibel(22.31), decibel(float("inf"))
        ('22.3', 'exact')
    """
    return f"{value:.1f}" if isfinite(value) else "exact"


def fixed(value: float, digits: int = 2, sign: str = "") -> str:
    """A figure with so many digits; no zero is negative.

    Example:
        >>> fixed(-0.001), fixed(0.125, 3, "+")
        ('0.00', '+0.125')
    """
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"


def grids(found: Characterisation) -> list[Grid]:
    """The tables of all measurements, in their order; what is left out has none."""
    tables = [_cells(found.cells), _adcs(found.adcs), _macs(found.macs)]
    if found.noise:
        tables.append(_noise(found.noise))
    if found.drift:
        tables += _sweep("drift", f"drift at {found.bake_celsius:g} C", "h", found.drift)
    if found.heat:
        tables += _sweep("temperature", "temperature", "C", found.heat)
    if found.wires:
        tables.append(_wires(found.wires))
    if found.yields:
        tables.append(_yield(found.yields))
    return tables


def outcome(found: Characterisation) -> str:
    """All in one line."""
    mac = found.macs[-1]
    said = f"worst INL {found.adcs.worst_inl:.2f} LSB, SNR {decibel(mac.snr)} dB, MAC error {mac.error:.2f} LSB rms"
    if found.yields:
        said += f", {found.yields.counts['all']} of {len(found.yields.dies)} dies good"
    return said


def plain(value: Any) -> Any:
    """Figures as JSON has them: lists for arrays, null for what is no number or infinite, names for fields.

    Example:
        >>> plain({"a": np.array([1.0, np.nan]), (1, 0): (np.int64(2), float("inf"))})
        {'a': [1.0, None], '1,0': [2, None]}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {key if isinstance(key, str) else ",".join(map(str, key)): plain(of) for key, of in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(of) for of in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def told(found: Characterisation) -> dict[str, Any]:
    """Everything that was measured, for JSON."""
    chip = found.chip
    origin = {
        "preset": chip.config.name,
        "config": chip.config.digest(),
        "die_seed": chip.seed,
        "bakes": chip.bakes,
        "celsius": chip.celsius,
        "reads": chip.reads,
        "trimmed": found.trimmed,
        "settings": found.settings,
        "bake_celsius": found.bake_celsius,
        "steps": found.steps,
        "left_out": found.left_out,
    }
    parts = {
        name: getattr(found, name) for name in ("cells", "adcs", "macs", "noise", "drift", "heat", "wires", "yields")
    }
    more: dict[str, Any] = {"summary": {grid.title: [grid.head, *grid.rows] for grid in grids(found)}}
    if found.yields:
        more["yield_counts"] = found.yields.counts
    if found.wires:
        more["wire_figures"] = found.wires.figures
    content: dict[str, Any] = plain(origin | more | parts)
    return content


def _spread(values: np.ndarray[Any, Any], digits: int) -> list[str]:
    """Least, mean and greatest."""
    good = values[np.isfinite(values)]
    if not good.size:
        return ["none", "none", "none"]
    return [fixed(float(of), digits) for of in (good.min(), good.mean(), good.max())]


def shown_levels(count: int) -> list[int]:
    """Levels that tables show: all up to 16, nine of more.

    Example:
        >>> shown_levels(4), shown_levels(256)
        ([0, 1, 2, 3], [0, 32, 64, 96, 128, 159, 191, 223, 255])
    """
    return list(range(count)) if count <= 16 else np.rint(np.linspace(0, count - 1, 9)).astype(int).tolist()


def _cells(c: CellTransfer) -> Grid:
    code = c.ideal.shape[1]
    rows = []
    for level in shown_levels(len(c.cells)):
        count = int(c.cells[level])
        ideal, mean, sigma = (float(of[level, -1]) for of in (c.ideal, c.mean, c.sigma))
        relative = f"{fixed(100 * (mean / ideal - 1), 1, '+')} %" if ideal else ""
        rows.append([str(level), str(count), f"{ideal:.0f}", fixed(mean), fixed(sigma), relative])
    title = f"cells at word-line code {code}, array units"
    return Grid(
        section="cells", title=title, head=["level", "cells", "ideal", "mean", "sigma", "mean - ideal"], rows=rows
    )


def _adcs(a: AdcFigures) -> Grid:
    largest = {"DNL (LSB), largest size": a.dnl, "INL (LSB), largest size": a.inl}
    rows = [["gain (codes/LSB)", *_spread(a.gain, 4)], ["offset (LSB)", *_spread(a.offset, 3)]]
    rows += [[name, *_spread(np.nanmax(np.abs(of), axis=1), 3)] for name, of in largest.items()]
    rows += [["missing codes", *_spread(a.missing.astype(float), 1)], ["ENOB (bits)", *_spread(a.enob, 2)]]
    rows += [["SINAD (dB)", *_spread(a.sinad_db, 1)]]
    return Grid(section="adcs", title=f"{len(a.gain)} ADCs", head=["figure", "least", "mean", "greatest"], rows=rows)


def _macs(macs: Sequence[MacFigures]) -> Grid:
    head = ["products", "LSB", "gain", "offset", "sigma", "INL", "error", "SNR dB", "least", "clipped"]
    rows = []
    for m in macs:
        figures = (f"{m.gain.mean():.3f}", f"{m.offset.mean():+.2f}", f"{m.residual:.2f}", f"{m.worst_inl:.2f}")
        noise = (f"{m.error:.2f}", decibel(m.snr), decibel(float(m.snr_db.min())), f"{100 * m.clipped:.1f} %")
        rows.append([_short(m.name), str(m.lsb), *figures, *noise])
    return Grid(section="products", title="products of all columns, LSB", head=head, rows=rows)


def _short(name: str) -> str:
    return name.replace("input slice", "slice").replace("weight slice", "weight")


def _noise(noise: Sequence[NoiseFigures]) -> Grid:
    head = ["sigma (LSB)", "measured", "predicted", "ratio", "ADC", "reads", "traps"]
    rows = []
    for n in noise:
        predicted = float(np.sqrt(np.mean(n.predicted**2)))
        figures = (n.sigma, predicted, n.ratio, n.conversion, n.read, n.telegraph)
        rows.append([_short(n.name), *(f"{of:.3f}" for of in figures)])
    return Grid(section="noise", title="noise of one input, converted again and again", head=head, rows=rows)


def _sweep(section: str, title: str, unit: str, s: Sweep) -> list[Grid]:
    """Gain, and SNR, along a sweep."""
    at = [f"{of:g}" for of in s.at]
    short = {True: " tracked", False: " untracked", None: ""}
    names = [c.pairing.replace("differential", "pair").replace("-ended", "") + short[c.tracking] for c in s.curves]

    def rows(text: Any) -> list[list[str]]:
        return [[at[k], *(text(c.points[k], c.headroom[k]) for c in s.curves)] for k in range(len(at))]

    def gain(p: Moved, headroom: float) -> str:
        return f"{fixed(p.drift, 2, '+')}{'*' * (headroom > FEW)}"

    def snr(p: Moved, _: float) -> str:
        return f"{decibel(p.snr)}{'^' * (p.clipped > MANY)}"

    beyond = HEADROOM if any(max(c.headroom) > FEW for c in s.curves) else ""
    clipped = CLIPPED if any(p.clipped > MANY for c in s.curves for p in c.points) else ""
    return [
        Grid(section=section, title=f"{title}: gain moved (%)", head=[unit, *names], rows=rows(gain), note=beyond),
        Grid(section=section, title=f"{title}: SNR (dB)", head=[unit, *names], rows=rows(snr), note=clipped),
    ]


def _wires(w: WireDrop) -> Grid:
    f = w.figures
    kinds = ("rms", "most", "lsb_rms", "lsb_most")
    rows = [
        ["as it is", *(f"{f[f'error_{kind}']:.3f}" for kind in kinds)],
        ["less a line of each column", *(f"{f[f'remaining_{kind}']:.3f}" for kind in kinds)],
        ["bound for any input", "", f"{w.bound:.3f}", "", f"{w.bound_lsb:.3f}"],
    ]
    head = ["error of the wire drop", "rms (units)", "most", "rms (LSB)", "most"]
    return Grid(section="wires", title="solved columns against the integers", head=head, rows=rows)


def _yield(y: Yield) -> Grid:
    limits, counts = y.limits, y.counts
    asked = {"INL": f"<= {limits.max_inl:g} LSB", "SNR": f">= {limits.min_snr:g} dB"}
    asked |= {"MAC error": f"<= {limits.max_mac_error:g} LSB", "all": ""}
    worst = {"INL": f"{max(d.inl for d in y.dies):.2f}", "SNR": decibel(min(d.snr for d in y.dies))}
    worst |= {"MAC error": f"{max(d.mac_error for d in y.dies):.2f}", "all": ""}
    total = len(y.dies)
    rows = [[k, asked[k], worst[k], f"{n} of {total}", f"{100 * n / total:.1f} %"] for k, n in counts.items()]
    return Grid(section="yield", title="yield", head=["limit", "asked", "worst", "good", "share"], rows=rows)
