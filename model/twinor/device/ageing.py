# SPDX-License-Identifier: Apache-2.0
"""What time and use do to thresholds: retention through any series of bakes, read disturb and program disturb.

    Vt(t, T)  = Vt - r * (Vt - Vneutral) * log10(1 + t / t0) * a(T)         one bake of a fresh cell
    a(T)      = exp(-(Ea / k) * (1 / T - 1 / Tref))                          1 at the reference temperature

The factor `log10(1 + t / t0) * a(T)` is the dose of a bake, in decades: the dose D is also that of the equivalent time
`t0 * (10**D - 1)` at the reference temperature. A dose is all that a cell remembers. A bake at T goes on where a cell
would be that had got its dose at T alone, after `u = t0 * (10**(D / a(T)) - 1)` seconds; it ends at

    D' = a(T) * log10(1 + (u + t) / t0)

so two bakes at one temperature are one of their added time, and bakes at different temperatures count in the order
in which they come. No cell crosses its neutral threshold: a dose of 1 / r and more ends there.

Thresholds are millivolts. The law and its typical figures are common knowledge of floating-gate memories, not taken
from one publication; a(T) multiplies what is lost and not the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from twinor.device.ranges import check_ranges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["Bake", "Disturb", "Retention", "dose", "program_disturb", "read_disturb", "retained"]

BOLTZMANN_EV = 8.617333262e-5
"""Boltzmann's constant in eV / K."""

ZERO_CELSIUS = 273.15
"""0 degrees Celsius in kelvin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How a kind of cell loses its charge.

    Raises:
        ConfigError: a value is not a number in its range.

    Example:
        >>> Retention(neutral_mV=200.0, activation_eV=-1.0)
        Traceback (most recent call last):
        twinor.errors.ConfigError: retention: activation_eV = -1.0 is not allowed: expected 0 .. 3
    """

    neutral_mV: float
    """Vneutral: the threshold without charge, towards which every cell goes."""
    loss: float = 0.003
    """r: part of the distance to the neutral threshold that a median cell loses per decade at the reference."""
    spread: float = 0.0
    """Standard deviation of ln r among cells: r is lognormal, so no cell gains charge."""
    onset_s: float = 3600.0
    """t0: time after which the loss is logarithmic."""
    activation_eV: float = 1.2
    """Ea."""
    reference_celsius: float = 125.0
    """Tref: temperature of the bake for which r is stated."""

    def __post_init__(self) -> None:
        """Check every value."""
        allowed = {
            "neutral_mV": (-10_000.0, 10_000.0),
            "loss": (0.0, 1.0),
            "spread": (0.0, 2.0),
            "onset_s": (1e-6, 1e9),
            "activation_eV": (0.0, 3.0),
            "reference_celsius": (-55.0, 300.0),
        }
        check_ranges("retention", self, allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bake:
    """A time at one temperature.

    Raises:
        ConfigError: a value is not a number in its range.
    """

    seconds: float
    celsius: float

    def __post_init__(self) -> None:
        """Check every value."""
        check_ranges("bake", self, {"seconds": (0.0, 1e10), "celsius": (-55.0, 300.0)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturb:
    """By how much the use of other cells raises a cell's threshold.

    Raises:
        ConfigError: a value is not a number in its range.

    Example:
        >>> Disturb(per_pulse_mV=-0.05)
        Traceback (most recent call last):
        twinor.errors.ConfigError: disturb: per_pulse_mV = -0.05 is not allowed: expected 0 .. 10
    """

    per_read_mV: float = 0.0
    """Rise by one read of the cell's word line; negligible below 0.6 V of drain bias."""
    per_pulse_mV: float = 0.0
    """Rise by one program pulse of another cell of the word line; 0.05 in an array that is not built against it."""

    def __post_init__(self) -> None:
        """Check every value."""
        check_ranges("disturb", self, {"per_read_mV": (0.0, 1.0), "per_pulse_mV": (0.0, 10.0)})


def dose(retention: Retention, bakes: Sequence[Bake]) -> float:
    """Decades at the reference temperature that a series of bakes amounts to, the first one first.

    Neighbours of one temperature are added before anything is computed, so splitting a bake changes no bit of the dose.

    Example:
        >>> cell = Retention(neutral_mV=200.0)
        >>> hot, cold = Bake(seconds=9 * 3600, celsius=125), Bake(seconds=9 * 3600, celsius=25)
        >>> dose(cell, [hot]), round(dose(cell, [hot, Bake(seconds=90 * 3600, celsius=125)]), 6)
        (1.0, 2.0)
        >>> dose(cell, [cold]) < 1e-5, dose(cell, [hot, cold]) == 1.0
        (True, True)
    """
    decades = 0.0
    for celsius, together in groupby(bakes, key=lambda bake: bake.celsius):
        scale = _acceleration(retention, celsius)
        seconds = math.fsum(bake.seconds for bake in together)
        # log10(1 + (u + t) / t0) written by the decades before, because 10**(D / a) overflows where a is small
        before = decades / scale
        decades = scale * (before + math.log1p(seconds / retention.onset_s * 10.0**-before) / math.log(10.0))
    return decades


def _acceleration(retention: Retention, celsius: float) -> float:
    """a(T)."""
    inverse = 1.0 / (celsius + ZERO_CELSIUS) - 1.0 / (retention.reference_celsius + ZERO_CELSIUS)
    return math.exp(-retention.activation_eV / BOLTZMANN_EV * inverse)


def retained(retention: Retention, threshold_mV: ArrayLike, *, dose: float, normal: ArrayLike) -> Floats:
    """Thresholds after a dose, in mV.

    Args:
        retention: how the cells lose charge.
        threshold_mV: as programmed, before any bake, float64[...].
        dose: decades, from `dose`.
        normal: a standard normal draw per cell, of the same shape; a cell keeps it for life.

    Example:
        >>> cell = Retention(neutral_mV=200.0, loss=0.01)
        >>> retained(cell, [100.0, 200.0, 400.0], dose=2.0, normal=0.0).tolist()
        [102.0, 200.0, 396.0]
    """
    fresh = np.asarray(threshold_mV, dtype=np.float64)
    lost = retention.loss * np.exp(retention.spread * np.asarray(normal, dtype=np.float64)) * dose
    return np.asarray(fresh - np.minimum(lost, 1.0) * (fresh - retention.neutral_mV))


def read_disturb(reads: ArrayLike, *, per_read_mV: float = 0.0) -> Floats:
    """Rise of thresholds by reads, in mV: negligible below 0.6 V of drain bias, hence 0 unless it was measured.

    Args:
        reads: how often the word line of each cell was driven, [...].
        per_read_mV: rise by one read.

    Example:
        >>> read_disturb([0, 1_000_000], per_read_mV=1e-6).tolist()
        [0.0, 1.0]
    """
    return np.asarray(np.asarray(reads, dtype=np.float64) * per_read_mV)


def program_disturb(pulses: NDArray[np.integer] | NDArray[np.bool_], *, per_pulse_mV: float) -> Floats:
    """Rise of thresholds by the program pulses of the other cells of a word line, in mV.

    Args:
        pulses: program pulses that each cell got, [..., bit_lines].
        per_pulse_mV: rise by one pulse; 0 in an array that is built against it, 0.05 in one that is not.

    Returns:
        float64[..., bit_lines].

    Example:
        >>> program_disturb(np.array([[30, 10, 0], [0, 0, 0]]), per_pulse_mV=0.05).tolist()
        [[0.5, 1.5, 2.0], [0.0, 0.0, 0.0]]
    """
    return np.asarray((pulses.sum(axis=-1, keepdims=True) - pulses.astype(np.int64)) * per_pulse_mV)
