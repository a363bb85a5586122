# SPDX-License-Identifier: Apache-2.0
"""Multiply-accumulate: what columns give against ideal dot products, column by column and all together.

    measured = gain * ideal + offset + residual              least squares of each column
    SNR      = 10 log10( mean of (gain * sigma(ideal))**2 / mean square of residuals )
    measured = gain * ideal + offset + INL(ideal) + residual  least squares, INL in bins and the same for all columns

The line of a column is what a trim could take off; the residual is what stays: cells, wires, ADC, noise, clipping.
Conversions whose code is at an end of the range do not count for the line, and count for all else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.characterise.bench import lsb
from twinor.golden import adc_frontend
from twinor.golden.column_correct import correct
from twinor.rounds import Round

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.characterise.bench import Pattern, Reading
    from twinor.config import Config
    from twinor.die import Die

    Floats = NDArray[np.float64]

__all__ = ["Lines", "MacFigures", "compare", "decibels", "fit_lines", "inside", "mac_figures", "unclipped"]

SHOWN = 1500
"""Products that are kept one by one."""

BINS, ENOUGH, TURNS = 24, 50, 20
"""Bins of ideal products for INL, products that a bin has at least, and turns of the fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """A line for every column, float64[C] each, in array units."""

    gain: Floats
    offset: Floats

    def at(self, ideal: NDArray[np.integer] | Floats) -> Floats:
        """What the lines give, float64[V, C]."""
        return np.asarray(self.gain * ideal + self.offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class MacFigures:
    """Figures of C columns, of one conversion or of whole accumulators.

    Attributes:
        name: `input slice 0`, ..., or `MAC`.
        lsb: array units of one code.
        gain: float64[C].
        offset, sigma: of the lines and of the residuals, in LSB, float64[C].
        snr_db: of each column, float64[C]; infinite where nothing is left.
        snr: of all columns.
        error: rms of measured less ideal, as it comes and no line taken off, in LSB.
        bias: mean of that, in LSB.
        mean_at, mean: ideal products and the mean error there, as it comes, in LSB.
        inl: what is bent there in all columns alike, in LSB; no line is in it.
        clipped: part of the conversions at an end of the range.
        shown_ideal, shown_error: some products as they come, evenly picked: ideal in array units, measured less ideal
            in LSB.
    """

    name: str
    lsb: int
    gain: Floats
    offset: Floats
    sigma: Floats
    snr_db: Floats
    snr: float
    error: float
    bias: float
    mean_at: Floats
    mean: Floats
    inl: Floats
    clipped: float
    shown_ideal: NDArray[np.int64]
    shown_error: Floats

    @property
    def worst_inl(self) -> float:
        """Largest INL, in LSB."""
        return float(np.abs(self.inl).max(initial=0.0))

    @property
    def residual(self) -> float:
        """Rms of all residuals, in LSB."""
        return float(np.sqrt(np.mean(self.sigma**2)))


def fit_lines(
    ideal: NDArray[np.integer] | Floats, measured: NDArray[np.integer] | Floats, within: NDArray[np.bool_]
) -> Lines:
    """Least squares of every column, [V, C] each; a column whose products are all equal has gain 1.

    Example:
        >>> x = np.arange(8)[:, None]
        >>> line = fit_lines(x, 3 * x - 2, np.full(x.shape, True))
        >>> line.gain.tolist(), line.offset.tolist()
        ([3.0], [-2.0])
    """
    weight, count = within.astype(np.float64), np.maximum(within.sum(axis=0), 1)
    mean_x, mean_y = (weight * ideal).sum(axis=0) / count, (weight * measured).sum(axis=0) / count
    away = weight * (ideal - mean_x)
    spread = (away**2).sum(axis=0)
    gain = np.where(spread > 0, (away * measured).sum(axis=0) / np.where(spread > 0, spread, 1.0), 1.0)
    return Lines(gain=gain, offset=np.asarray(mean_y - gain * mean_x))


def decibels(signal: float | Floats, noise: float | Floats) -> Floats:
    """Powers to decibels; infinite where there is no noise.

    Example:
        >>> decibels(np.array([100.0, 1.0]), np.array([1.0, 0.0])).tolist()
        [20.0, inf]
    """
    power, rest = np.asarray(signal, dtype=np.float64), np.asarray(noise, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(rest > 0, 10.0 * np.log10(power / rest), np.inf))


def compare(
    name: str,
    ideal: NDArray[np.integer],
    measured: NDArray[np.integer],
    *,
    lsb: int,
    within: NDArray[np.bool_] | None = None,
) -> MacFigures:
    """Figures of columns.

    Args:
        name: of the comparison.
        ideal: int[V, C] in array units.
        measured: int[V, C] in array units.
        lsb: array units of a code.
        within: bool[V, C], False for what the ADC may have clipped.

    Example:
        >>> ideal = np.random.default_rng(0).integers(-100, 100, (400, 5))
        >>> found = compare("MAC", ideal, 2 * ideal + 6, lsb=3)
        >>> found.gain.round(9).tolist(), found.offset.round(9).tolist(), found.worst_inl < 1e-9
        ([2.0, 2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0, 2.0], True)
    """
    sound = np.full(ideal.shape, True) if within is None else within
    lines = fit_lines(ideal, measured, sound)
    left = (measured - lines.at(ideal)) / lsb
    left[np.abs(left) < 1e-9] = 0.0  # rounding of the fit
    power, signal = (left**2).mean(axis=0), (lines.gain * ideal.std(axis=0) / lsb) ** 2
    error = (measured - ideal) / lsb
    at, mean, inl = _by_product(ideal / lsb, measured / lsb, sound)
    return MacFigures(
        name=name,
        lsb=lsb,
        gain=lines.gain,
        offset=lines.offset / lsb,
        sigma=np.sqrt(power),
        snr_db=decibels(signal, power),
        snr=float(decibels(signal.mean(), power.mean())),
        error=float(np.sqrt((error**2).mean())),
        bias=float(error.mean()),
        mean_at=at,
        mean=mean,
        inl=inl,
        clipped=float(1.0 - sound.mean()),
        shown_ideal=ideal.ravel()[:: -(-ideal.size // SHOWN)].astype(np.int64),
        shown_error=error.ravel()[:: -(-ideal.size // SHOWN)].round(4),
    )


def _by_product(ideal: Floats, measured: Floats, within: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """Mean ideal product, mean error and INL of bins that have enough; columns' lines and bins are fitted in turn."""
    edges = np.linspace(ideal.min(), ideal.max() + 1, BINS + 1)
    place = np.digitize(ideal, edges) - 1
    count = np.bincount(place.ravel(), minlength=BINS)
    full = count >= ENOUGH

    def binned(values: Floats) -> Floats:
        return np.bincount(place.ravel(), weights=values.ravel(), minlength=BINS) / np.maximum(count, 1)

    at, weight = binned(ideal), np.sqrt(count)
    line = np.stack([weight, weight * at], axis=1)
    inl = np.zeros(BINS)
    for _ in range(TURNS):
        lines = fit_lines(ideal, measured - inl[place], within)
        inl = binned(measured - lines.at(ideal))
        inl -= (line @ np.linalg.lstsq(line, weight * inl)[0]) / np.maximum(weight, 1.0)
    inl[np.abs(inl) < 1e-9] = 0.0  # rounding of the fit
    return at[full], binned(measured - ideal)[full], inl[full]


def unclipped(config: Config, die: Die, codes: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Codes that lie within what a column can give, bool[V, C]; 0 of an ADC without sign is no clipped one.

    Args:
        config: the macro.
        die: gives the column correction.
        codes: int[V, C] of the output columns, corrected.
    """
    rnd = Round(row_base=0, row_count=1, col_base=0, col_count=config.out_cols, steps=((1,),))
    columns = adc_frontend.converted_columns(config, rnd)[: config.out_cols]
    ends = np.array([[config.code_min], [config.code_max]], dtype=np.int16).repeat(len(columns), axis=1)
    low, high = correct(config, ends, die.gain[0, columns], die.offset[0, columns])
    return np.asarray((codes < high) & ((codes > low) | (not config.bipolar)))


def inside(config: Config, die: Die, got: Reading) -> NDArray[np.bool_]:
    """Products of which no conversion was clipped, bool[V, C]."""
    return np.asarray(np.all([unclipped(config, die, codes) for codes in got.codes.values()], axis=0))


def mac_figures(config: Config, die: Die, known: Pattern, got: Reading) -> list[MacFigures]:
    """Figures of every conversion, the last one of the whole accumulators.

    Args:
        config: the macro.
        die: what was measured.
        known: what was programmed and driven.
        got: what came out.

    Example:
        >>> from twinor.characterise.bench import pattern, read
        >>> from twinor.config import load
        >>> from twinor.die import ideal_die
        >>> config = load("nor40_int4_exact")
        >>> known = pattern(config, seed=0, vectors=100)
        >>> die = ideal_die(config, known.levels[None])
        >>> exact = read(config, die, known.steps, known.activations)
        >>> [(found.name, found.error, found.snr) for found in mac_figures(config, die, known, exact)][-1]
        ('MAC', 0.0, inf)
    """
    figures = []
    for (i, j), codes in got.codes.items():
        step, within = known.steps[i][j], unclipped(config, die, codes)
        name = f"input slice {i}" if not config.analog_slices else "all input slices"
        name += f", weight slice {j}" if config.w_slices > 1 else ""
        figures.append(compare(name, known.ideal[i, j], codes * step, lsb=step, within=within))
    whole = compare("MAC", known.dot, got.mac, lsb=lsb(config, known.steps), within=inside(config, die, got))
    return [*figures, whole]
