# SPDX-License-Identifier: Apache-2.0
"""Static tests of ADCs by IEEE 1241: transition levels, exact or from histograms, and what they say.

    T[k]   = q0 + total length of the inputs above q0 whose code is below k         q0 is below every transition
    INL[k] = G * T[k] + V - (k - 1/2)         DNL[k] = G * (T[k + 1] - T[k]) - 1    in LSB

An ideal ADC has T[k] = k - 1/2 for k = code_min + 1 .. code_max. Where codes rise with the input, T[k] is the input at
which code k begins. They always do in a search by binary weights, which can only miss codes. In a redundant one whose
weights are not those of its capacitors, codes can fall (`reversals`); T[k] is then what a histogram sees: a code is as
wide as all the inputs that give it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.errors import ConfigError, TwinorError
from twinor.golden.sar_adc import convert

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config

__all__ = [
    "Linearity", "linearity", "ramp_transitions", "reversals", "sine_samples", "sine_transitions", "transfer",
    "transitions",
]  # fmt: skip

Z99 = 2.576
"""Standard deviations that 99 % of a normal distribution stay within."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linearity:
    """Static figures of ADCs; NaN at levels that no input crosses.

    Attributes:
        gain: codes per LSB, float64[adcs]; G above.
        offset: code at an input of 0, in LSB, float64[adcs]; V above.
        dnl: float64[adcs, 2**adc_bits - 2], of every code but the two at the ends.
        inl: float64[adcs, 2**adc_bits - 1], of every level.
        missing: bool[adcs, 2**adc_bits]: no input gives the code.
    """

    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    dnl: NDArray[np.float64]
    inl: NDArray[np.float64]
    missing: NDArray[np.bool_]


def transfer(
    config: Config, thresholds: NDArray[np.int32], *, weights: NDArray[np.int32] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """All that ADCs do: each input at which a comparator's answer can change, and the code from there to the next.

    Args:
        config: gives `adc_bits`, trials and the sign.
        thresholds: int32[adcs, 2**trials], in `2**(-2 * frac_bits)` LSB.
        weights: int32[trials], first trial first; the configuration's if None.

    Returns:
        Inputs int64[2**trials, adcs] in `2**(-2 * frac_bits)` LSB, rising, the first below all thresholds; their codes
        int16[2**trials, adcs].

    Example:
        >>> from twinor.config import load
        >>> from twinor.die import ideal_thresholds
        >>> q, codes = transfer(load("tiny"), ideal_thresholds(load("tiny"))[:1])
        >>> (q[1:4, 0] / (1 << 12)).tolist(), codes[:4, 0].tolist()
        ([-7.5, -6.5, -5.5], [-8, -7, -6, -5])
    """
    rising = np.sort(thresholds[:, 1:].astype(np.int64), axis=1).T
    q = np.concatenate([rising[:1] - 1, rising])
    return q, convert(config, q, thresholds, step=1, weights=weights)[0]


def transitions(config: Config, q: NDArray[np.int64], codes: NDArray[np.int16]) -> NDArray[np.float64]:
    """Exact transition levels of a transfer.

    Args:
        config: gives the range of codes.
        q: rising inputs, int64[points, adcs], in `2**(-2 * frac_bits)` LSB.
        codes: the code from each input to the next, int16[points, adcs], raw or corrected.

    Returns:
        float64[adcs, 2**adc_bits - 1] in LSB: -inf for codes that every input reaches, inf for those that none does.

    Example:
        >>> from twinor.config import load
        >>> from twinor.die import ideal_thresholds
        >>> transitions(load("tiny"), *transfer(load("tiny"), ideal_thresholds(load("tiny"))[:1]))[0, :3].tolist()
        [-7.5, -6.5, -5.5]
    """
    count = 1 << config.adc_bits
    length = np.append(np.diff(q, axis=0).astype(np.float64), np.full((1, q.shape[1]), np.inf), axis=0)
    cell = np.arange(q.shape[1]) * count + codes - config.code_min  # of ADC and code
    width = np.bincount(cell.ravel(), weights=length.ravel(), minlength=q.shape[1] * count).reshape(-1, count)
    passed = np.cumsum(width, axis=1)[:, :-1]
    level: NDArray[np.float64] = (q[0][:, None] + passed) / (1 << 2 * config.frac_bits)
    level[np.arange(config.code_min + 1, config.code_max + 1) <= codes[0][:, None]] = -np.inf
    return level


def reversals(codes: NDArray[np.int16]) -> NDArray[np.int64]:
    """How often the code of a transfer falls while its input rises, int64[adcs].

    Example:
        >>> reversals(np.array([[0], [2], [1], [2]], dtype=np.int16))
        array([1])
    """
    falls: NDArray[np.int64] = np.count_nonzero(np.diff(codes.astype(np.int64), axis=0) < 0, axis=0)
    return falls


def linearity(config: Config, level: NDArray[np.float64], *, line: str = "end_points") -> Linearity:
    """Gain, offset, DNL, INL and missing codes of transition levels.

    Args:
        config: gives the range of codes.
        level: float64[adcs, 2**adc_bits - 1], in LSB.
        line: what INL is measured from: `end_points`, through the first and last level, or `best_fit`, least squares.

    Raises:
        ConfigError: another line.
        TwinorError: an ADC has fewer than two levels.

    Example:
        >>> from twinor.config import load
        >>> figures = linearity(load("tiny"), np.arange(-7.0, 8.0)[None] / 1.25)  # half an LSB high, 25 % steep
        >>> figures.gain.round(3).tolist(), figures.offset.round(3).tolist(), round(float(abs(figures.inl).max()), 9)
        ([1.25], [-0.5], 0.0)
    """
    if line not in ("end_points", "best_fit"):
        raise ConfigError(f"line = {line!r} is not allowed: expected end_points or best_fit")
    ideal = np.arange(config.code_min + 1, config.code_max + 1) - 0.5
    crossed = np.isfinite(level)
    finite = np.where(crossed, level, np.nan)
    for adc in np.flatnonzero(~(np.diff(finite) > 0).any(axis=1)):
        raise TwinorError(f"ADC {adc} gives fewer than three codes: expected a table whose levels differ")
    used = crossed if line == "best_fit" else crossed & _ends(crossed)
    points, t = used.sum(axis=1), np.where(used, finite, 0.0)
    mean_t, mean_ideal = t.sum(axis=1) / points, used @ ideal / points
    away = np.where(used, finite - mean_t[:, None], 0.0)
    gain = away @ ideal / (away**2).sum(axis=1)
    offset = mean_ideal - gain * mean_t
    missing = np.concatenate([level[:, :1] == -np.inf, level[:, 1:] == level[:, :-1], level[:, -1:] == np.inf], axis=1)
    return Linearity(
        gain=gain,
        offset=offset,
        dnl=gain[:, None] * np.diff(finite) - 1.0,
        inl=gain[:, None] * finite + offset[:, None] - ideal,
        missing=missing,
    )


def _ends(crossed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The first and the last level that is crossed; none between them is not."""
    position, first = np.arange(crossed.shape[1]), np.argmax(crossed, axis=1)[:, None]
    ends: NDArray[np.bool_] = (position == first) | (position == first + crossed.sum(axis=1, keepdims=True) - 1)
    return ends


# Histograms //


def ramp_transitions(
    config: Config, codes: NDArray[np.integer], *, low: float, high: float, within: float = 0.1
) -> NDArray[np.float64]:
    """Transition levels from the histogram of a ramp: `T[k] = low + (high - low) * CH[k - 1] / samples`.

    CH[k - 1] counts the samples below code k, so `linearity` of these levels has `DNL[k] = H[k] / mean(H) - 1`.

    Args:
        config: gives the range of codes.
        codes: int[samples, adcs] of a ramp from `low` to `high` LSB that leaves the range at both ends.
        low: where the ramp begins, in LSB.
        high: where it ends.
        within: resolution that is asked for, in LSB.

    Returns:
        float64[adcs, 2**adc_bits - 1], in LSB.

    Raises:
        ConfigError: fewer samples than one per `within` LSB.
        TwinorError: the ramp does not reach an end of the range, or there are codes outside it.

    Example:
        >>> from twinor.config import load
        >>> codes = np.repeat(np.arange(-8, 8), 10)[:, None]
        >>> ramp_transitions(load("tiny"), codes, low=-8.5, high=7.5)[0, :3].tolist()
        [-7.5, -6.5, -5.5]
    """
    _check_samples("a ramp histogram", len(codes), math.ceil((high - low) / within), within)
    return low + (high - low) * _share_below(config, codes)


def sine_transitions(
    config: Config, codes: NDArray[np.integer], *, centre: float, amplitude: float, within: float = 0.1
) -> NDArray[np.float64]:
    """Transition levels from the histogram of a sine: `T[k] = centre - amplitude * cos(pi * CH[k - 1] / samples)`.

    Args:
        config: gives the range of codes.
        codes: int[samples, adcs] of a coherent sine that leaves the range at both ends, by a little.
        centre: of the sine, in LSB; an error of it is one of the offset.
        amplitude: of the sine, in LSB; an error of it is one of the gain, and DNL and INL see neither.
        within: uncertainty of a level that is asked for, in LSB, at 99 % confidence.

    Returns:
        float64[adcs, 2**adc_bits - 1], in LSB.

    Raises:
        ConfigError: fewer than `sine_samples`.
        TwinorError: the sine does not reach an end of the range, or there are codes outside it.

    Example:
        >>> from twinor.config import load
        >>> wave = 7.9 * np.sin(2 * np.pi * np.arange(20000) * 7 / 20000) - 0.5
        >>> codes = np.rint(wave).astype(int)[:, None]
        >>> sine_transitions(load("tiny"), codes, centre=-0.5, amplitude=7.9)[0, :3].round(2).tolist()
        [-7.5, -6.5, -5.5]
    """
    _check_samples("a sine histogram", len(codes), sine_samples(config, within=within), within)
    return centre - amplitude * np.cos(np.pi * _share_below(config, codes))


def sine_samples(config: Config, *, within: float) -> int:
    """Samples of a sine histogram whose levels are known within so many LSB at 99 %: `pi * 2**(B-1) * (Z / within)**2`.

    Example:
        >>> from twinor.config import load
        >>> sine_samples(load("nor40_int4"), within=0.1)
        266841
    """
    return math.ceil(math.pi * (1 << config.adc_bits - 1) * (Z99 / within) ** 2)


def _check_samples(test: str, samples: int, least: int, within: float) -> None:
    if samples < least:
        raise ConfigError(f"{test} of {samples} samples: expected at least {least} to know levels within {within} LSB")


def _share_below(config: Config, codes: NDArray[np.integer]) -> NDArray[np.float64]:
    """The part of the samples that is below each code but the smallest, float64[adcs, 2**adc_bits - 1]."""
    low, high = int(codes.min()), int(codes.max())
    if low < config.code_min or high > config.code_max:
        raise TwinorError(f"codes {low} .. {high}: expected {config.code_min} .. {config.code_max} of {config.name}")
    for code in (config.code_min, config.code_max):
        for adc in np.flatnonzero(~np.any(codes == code, axis=0)):
            raise TwinorError(
                f"ADC {adc} never gives code {code}: the input has to leave the range at both ends; raise its amplitude"
            )
    levels = np.arange(config.code_min + 1, config.code_max + 1)
    below = np.stack([np.searchsorted(np.sort(column), levels) for column in codes.T])
    share: NDArray[np.float64] = below / len(codes)
    return share
