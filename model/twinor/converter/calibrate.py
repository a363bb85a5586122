# SPDX-License-Identifier: Apache-2.0
"""Calibration of ADCs in the integers that the macro applies: gain and offset of a column, weights of SAR trials.

    code'   = (code * gain + offset) >> 8         least squares of `ideal - code'` before the shift rounds
    weights = round(C[k] * sum(nominal weights) / sum(C))           whole LSB, as the registers are

Weights take up how capacitors differ from each other; the gain that all have in common is left to the column.
A macro has one register per trial for all its ADCs, so they hold the mean: what ADCs do not share stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twinor.errors import ConfigError, TwinorError
from twinor.golden.adc_frontend import adc_of_column
from twinor.golden.column_correct import GAIN_BITS, GAIN_ONE, OFFSET_BITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config

__all__ = ["capacitors", "code_centres", "fit_correction", "fit_offset", "fit_weights"]

HALF = GAIN_ONE // 2
"""Makes the shift of the correction round."""


def code_centres(config: Config, level: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pairs for a fit from transition levels: the input in the middle of each code, and the code.

    Where an ideal conversion truncates, the input is moved by half an LSB toward zero, so that rounding it truncates.

    Args:
        config: gives the range of codes, which ADC converts a column, and how an ideal one rounds.
        level: float64[n_adcs, 2**adc_bits - 1], in LSB.

    Returns:
        Inputs in LSB and codes, both float64[2**adc_bits - 2, cols] by physical column; NaN where no input gives it.

    Example:
        >>> from twinor.config import load
        >>> ideal, measured = code_centres(load("tiny"), np.arange(-7.5, 7.0)[None].repeat(2, axis=0) + 2)
        >>> ideal[0].tolist(), measured[0].tolist()
        ([-5.0, -5.0, -5.0, -5.0], [-7.0, -7.0, -7.0, -7.0])
    """
    finite = np.where(np.isfinite(level), level, np.nan)
    width = np.diff(finite)
    middle = np.where(width > 0, finite[:, :-1] + width / 2, np.nan)
    if config.adc_rounding == "toward_zero":
        middle = np.sign(middle) * np.maximum(np.abs(middle) - 0.5, 0.0)
    ideal = middle[adc_of_column(config, np.arange(config.cols))].T
    codes = np.arange(config.code_min + 1, config.code_max, dtype=np.float64)
    return ideal, np.broadcast_to(codes[:, None], ideal.shape)


def fit_correction(
    config: Config, ideal: NDArray[np.float64], measured: NDArray[np.floating] | NDArray[np.integer]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Gain and offset of each column, as `golden.column_correct` takes them.

    Args:
        config: a macro with column correction.
        ideal: what each conversion should have given, in LSB, float64[points, columns]; NaN: no such pair.
        measured: the raw code it gave; the smallest and largest may be clipped and do not count.

    Returns:
        gain and offset, int32[columns].

    Raises:
        ConfigError: the macro has no column correction.
        TwinorError: a column has fewer than two codes, or needs more than its registers hold.

    Example:
        >>> from twinor.config import load, replace
        >>> cfg = replace(load("tiny"), column_correction=True)
        >>> codes = np.arange(-7, 7)[:, None]
        >>> fit_correction(cfg, codes * 1.25 + 0.5, codes)
        (array([320], dtype=int32), array([256], dtype=int32))
    """
    weight, x, y = _checked(config, ideal, measured)
    points = weight.sum(axis=0)
    away = weight * (x - (weight * x).sum(axis=0) / points)
    spread = (away**2).sum(axis=0)
    for c in np.flatnonzero(spread == 0):
        raise TwinorError(f"column {c}: its pairs have one code: expected codes from all over the range")
    gain = _register("gain", GAIN_ONE * (away * y).sum(axis=0) / spread, 0, (1 << GAIN_BITS) - 1)
    return gain, _offset(gain, weight, x, y)


def fit_offset(
    config: Config, ideal: NDArray[np.float64], measured: NDArray[np.floating] | NDArray[np.integer]
) -> NDArray[np.int32]:
    """The offset of each column at a gain of 1.0: whole codes, so that none is lost; arguments as of `fit_correction`.

    Raises:
        ConfigError: the macro has no column correction.
        TwinorError: a column has no code, or needs more than its register holds.

    Example:
        >>> from twinor.config import load, replace
        >>> cfg = replace(load("tiny"), column_correction=True)
        >>> codes = np.arange(-7, 7)[:, None]
        >>> fit_offset(cfg, codes - 1.75, codes).tolist()  # -2 codes: (code * 256 - 320) >> 8
        [-320]
    """
    weight, x, y = _checked(config, ideal, measured)
    return _offset(np.full(x.shape[1], GAIN_ONE, dtype=np.int32), weight, x, y)


def _checked(
    config: Config, ideal: NDArray[np.float64], measured: NDArray[np.floating] | NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Weight of each pair (0 or 1), its code, and what the code should be."""
    if not config.column_correction:
        raise ConfigError(f"preset {config.name} has no column correction: expected `column_correction: true`")
    if ideal.ndim != 2 or ideal.shape != measured.shape:
        raise TwinorError(f"ideal {ideal.shape} and measured {measured.shape}: expected pairs [points, columns]")
    counts = np.isfinite(ideal) & (measured > config.code_min) & (measured < config.code_max)
    for c in np.flatnonzero(~counts.any(axis=0)):
        raise TwinorError(
            f"column {c}: none of its {len(ideal)} pairs has a code inside the range; measure more inputs"
        )
    return counts.astype(np.float64), measured.astype(np.float64), np.where(counts, ideal, 0.0)


def _offset(
    gain: NDArray[np.int32], weight: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.int32]:
    """The best offset for a gain that is already an integer."""
    exact = (weight * (GAIN_ONE * y - gain * x)).sum(axis=0) / weight.sum(axis=0) + HALF
    return _register("offset", exact, -(1 << OFFSET_BITS - 1), (1 << OFFSET_BITS - 1) - 1)


def _register(name: str, exact: NDArray[np.float64], least: int, most: int) -> NDArray[np.int32]:
    value = np.rint(exact)
    for c in np.flatnonzero((value < least) | (value > most)):
        raise TwinorError(
            f"column {c} needs {name} {value[c]:.0f}, its register holds {least} .. {most}: not an ADC's error"
        )
    return value.astype(np.int32)


def capacitors(config: Config, thresholds: NDArray[np.int32]) -> NDArray[np.float64]:
    """What each trial adds to the CDAC's level, from threshold tables.

    Patterns that keep the last trial share the place of their threshold, whatever else they keep.

    Args:
        config: gives the trials.
        thresholds: int32[adcs, 2**trials], in `2**(-2 * frac_bits)` LSB.

    Returns:
        float64[adcs, trials] in LSB, first trial first.

    Example:
        >>> from twinor.config import load
        >>> from twinor.die import ideal_thresholds
        >>> capacitors(load("tiny"), ideal_thresholds(load("tiny"))).tolist()
        [[8.0, 4.0, 2.0, 1.0], [8.0, 4.0, 2.0, 1.0]]
    """
    lsb = thresholds.astype(np.float64) / (1 << 2 * config.frac_bits)
    first = lsb[:, 1 + (1 << np.arange(config.trials - 1, 0, -1))] - lsb[:, 1:2]
    last = lsb[:, 3:4] - lsb[:, 2:3]  # a trial before the last weighs 1 or 2, so its threshold is never moved
    return np.concatenate([first, last], axis=1)


def fit_weights(config: Config, measured: NDArray[np.float64]) -> NDArray[np.int32]:
    """The macro's weight registers for measured capacitors.

    Args:
        config: gives the nominal weights.
        measured: capacitors of each ADC, float64[n_adcs, trials], first trial first, in any unit.

    Returns:
        int32[trials], first trial first.

    Raises:
        TwinorError: a capacitor is not above 0, or needs more than its register holds.

    Example:
        >>> from twinor.config import load
        >>> fit_weights(load("tiny"), np.array([[9.6, 4.2, 2.0, 1.0], [9.2, 4.2, 2.0, 1.0]]))
        array([8, 4, 2, 1], dtype=int32)
    """
    if measured.ndim != 2 or measured.shape[1] != config.trials:
        raise TwinorError(
            f"capacitors {measured.shape}: expected one of each of {config.trials} trials, [ADCs, trials]"
        )
    for adc, trial in np.argwhere(~(np.isfinite(measured) & (measured > 0))):
        raise TwinorError(f"ADC {adc}: the capacitor of trial {trial} is {measured[adc, trial]}: expected above 0")
    share = (measured / measured.sum(axis=1, keepdims=True)).mean(axis=0)
    weights: NDArray[np.int32] = np.rint(share * sum(config.weights)).astype(np.int32)
    most = (1 << config.adc_bits) - 1
    for trial in np.flatnonzero(weights > most):
        raise TwinorError(f"trial {trial} needs weight {weights[trial]}, its register holds 0 .. {most}")
    return weights
