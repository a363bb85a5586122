# SPDX-License-Identifier: Apache-2.0
"""The current of one NOR cell in every regime: the EKV equation, its derivatives and its inversions.

    UT = k T / q        Vp = (Vg - Vt + dibl (Vd - Vs)) / n        F(u) = ln(1 + exp(u / 2))
    I  = Is (F((Vp - Vs) / UT)**2 - F((Vp - Vd) / UT)**2) (1 + channel_modulation (Vd - Vs)) + leak
    Is(T) = Is(25 C) (T / 298.15 K)**(2 + mobility_exponent)       Vt(T) = Vt(25 C) + threshold_mv_per_k (T - 298.15 K)
    leak  = off_current tanh((Vd - Vs) / (2 UT))                   what a cell lets through that its gate holds off

Voltages are volts against the grounded bulk, currents nanoamperes into the drain, temperatures degrees Celsius; every
argument broadcasts against the others. Source: C. Enz, F. Krummenacher, E. Vittoz, "An Analytical MOS Transistor Model
Valid in All Regions of Operation", Analog Integrated Circuits and Signal Processing 8:83-114, 1995. DIBL, channel
length modulation and the leak are added to it, as above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twinor.device.ranges import check_ranges
from twinor.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "REFERENCE_K",
    "Ekv",
    "OperatingPoint",
    "current",
    "gate_for",
    "inversion",
    "operating_point",
    "specific_current",
    "thermal_voltage",
    "threshold_for",
]

REFERENCE_K = 298.15
"""Kelvin at which a cell's threshold and specific current are stated: 25 C."""

BOLTZMANN_V_PER_K = 1.380649e-23 / 1.602176634e-19
"""Boltzmann's constant over the elementary charge, exact in the SI."""

ALLOWED = {
    "slope": (1.0, 3.0),
    "specific_current_nA": (1e-3, 1e6),
    "dibl": (0.0, 0.5),
    "channel_modulation": (0.0, 1.0),
    "threshold_mv_per_k": (-5.0, 5.0),
    "mobility_exponent": (-3.0, 0.0),
    "off_current_pA": (0.0, 1e6),
}

CELSIUS = (-100.0, 300.0)
"""Temperatures at which the equation is evaluated."""

STEPS = 60
"""Newton steps of an inversion at most: two in saturation, a dozen deep in the triode regime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ekv:
    """A kind of cell; thresholds belong to the single cell and are arguments.

    Raises:
        ConfigError: a value is not a number in its range.

    Example:
        >>> Ekv(slope=0.5)
        Traceback (most recent call last):
        twinor.errors.ConfigError: cell: slope = 0.5 is not allowed: expected 1 .. 3
    """

    slope: float = 1.4
    """Slope factor n, coupling of the floating gate included."""
    specific_current_nA: float = 300.0
    """Is = 2 n beta UT**2 at 25 C."""
    dibl: float = 0.03
    """Drain-induced barrier lowering: volts of threshold per volt of drain."""
    channel_modulation: float = 0.05
    """Channel-length modulation, per volt."""
    threshold_mv_per_k: float = -1.0
    """Drift of the threshold with temperature."""
    mobility_exponent: float = -1.5
    """Mobility goes with T to this power."""
    off_current_pA: float = 5.0
    """What a cell that is off lets through."""

    def __post_init__(self) -> None:
        """Check every value."""
        check_ranges("cell", self, ALLOWED)


class OperatingPoint(NamedTuple):
    """Current of cells in nA and its derivatives by each terminal's voltage in nA/V, float64 of one shape."""

    current: Floats
    gate: Floats
    drain: Floats
    source: Floats


class _Point(NamedTuple):
    """What the equation is made of, at one set of voltages."""

    ut: Floats
    forward: Floats
    reverse: Floats
    scale: Floats
    modulation: Floats
    leak: Floats


def _kelvin(celsius: ArrayLike) -> Floats:
    """Temperature in kelvin, checked.

    Raises:
        ConfigError: outside of `CELSIUS`.
    """
    values = np.asarray(celsius, dtype=np.float64)
    if not np.all((values >= CELSIUS[0]) & (values <= CELSIUS[1])):
        raise ConfigError(f"temperature {celsius!r} C is not allowed: expected {CELSIUS[0]:g} .. {CELSIUS[1]:g}")
    return np.asarray(values + 273.15)


def thermal_voltage(celsius: ArrayLike) -> Floats:
    """UT = k T / q in volts.

    Raises:
        ConfigError: the temperature is out of range.

    Example:
        >>> float(thermal_voltage(26.85).round(6))
        0.025852
    """
    return np.asarray(BOLTZMANN_V_PER_K * _kelvin(celsius))


def specific_current(cell: Ekv, celsius: ArrayLike) -> Floats:
    """Is at a temperature, in nA.

    Example:
        >>> specific_current(Ekv(), [25.0, 85.0]).round(2).tolist()
        [300.0, 328.8]
    """
    return np.asarray(cell.specific_current_nA * (_kelvin(celsius) / REFERENCE_K) ** (2.0 + cell.mobility_exponent))


def inversion(cell: Ekv, current: ArrayLike, *, celsius: ArrayLike) -> Floats:
    """Inversion coefficient I / Is: weak below 0.1, strong above 10.

    Example:
        >>> inversion(Ekv(), [3.0, 300.0], celsius=25.0).tolist()
        [0.01, 1.0]
    """
    return np.asarray(np.asarray(current, dtype=np.float64) / specific_current(cell, celsius))


def _drift(cell: Ekv, celsius: ArrayLike) -> Floats:
    """Volts by which every threshold differs from the one at 25 C."""
    return np.asarray(1e-3 * cell.threshold_mv_per_k * (_kelvin(celsius) - REFERENCE_K))


def _softplus(u: Floats) -> Floats:
    """F(u) = ln(1 + exp(u / 2)) without overflow."""
    return np.asarray(np.logaddexp(0.0, 0.5 * u))


def _logistic(u: Floats) -> Floats:
    """1 / (1 + exp(-u / 2)) without overflow; the derivative of F(u) is half of it."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.25 * u)))


def _point(
    cell: Ekv, gate: ArrayLike, drain: ArrayLike, source: ArrayLike, threshold: ArrayLike, celsius: ArrayLike
) -> _Point:
    vg, vd, vs, vt = (np.asarray(v, dtype=np.float64) for v in (gate, drain, source, threshold))
    ut = thermal_voltage(celsius)
    vp = (vg - vt - _drift(cell, celsius) + cell.dibl * (vd - vs)) / cell.slope
    return _Point(
        ut=ut,
        forward=np.asarray((vp - vs) / ut),
        reverse=np.asarray((vp - vd) / ut),
        scale=specific_current(cell, celsius),
        modulation=np.asarray(1.0 + cell.channel_modulation * (vd - vs)),
        leak=np.asarray(1e-3 * cell.off_current_pA * np.tanh((vd - vs) / (2.0 * ut))),
    )


def current(
    cell: Ekv, *, gate: ArrayLike, drain: ArrayLike, source: ArrayLike, threshold: ArrayLike, celsius: ArrayLike
) -> Floats:
    """Current into the drain in nA, float64 of the shape that the arguments broadcast to.

    Args:
        cell: the kind of cell.
        gate: volts against the bulk, as the next two are.
        drain: volts.
        source: volts.
        threshold: volts, as at 25 C.
        celsius: temperature.

    Raises:
        ConfigError: the temperature is out of range.

    Example:
        >>> cell = Ekv(dibl=0.0, channel_modulation=0.0, off_current_pA=0.0)
        >>> current(cell, gate=[0.8, 1.0, 1.2], drain=0.3, source=0.0, threshold=1.0, celsius=25.0).round(3).tolist()
        [1.087, 144.133, 2419.572]
    """
    p = _point(cell, gate, drain, source, threshold, celsius)
    channel = p.scale * (_softplus(p.forward) ** 2 - _softplus(p.reverse) ** 2)
    return np.asarray(channel * p.modulation + p.leak)


def operating_point(
    cell: Ekv, *, gate: ArrayLike, drain: ArrayLike, source: ArrayLike, threshold: ArrayLike, celsius: ArrayLike
) -> OperatingPoint:
    """Current and its analytic derivatives; arguments and errors as of `current`.

    Example:
        >>> at = operating_point(Ekv(), gate=1.0, drain=0.3, source=0.0, threshold=1.1, celsius=25.0)
        >>> [round(float(value), 3) for value in at]
        [18.826, 463.277, 14.833, -663.422]
    """
    p = _point(cell, gate, drain, source, threshold, celsius)
    ahead, back = _softplus(p.forward), _softplus(p.reverse)
    channel = p.scale * (ahead**2 - back**2)
    # Derivatives of Is (F**2 - F**2) by u of either end; F' is half a logistic, so 2 F F' is F times it.
    by_forward = p.scale * ahead * _logistic(p.forward) / p.ut * p.modulation
    by_reverse = p.scale * back * _logistic(p.reverse) / p.ut * p.modulation
    gate_slope = (by_forward - by_reverse) / cell.slope
    span = cell.dibl * gate_slope + cell.channel_modulation * channel + _leak_slope(cell, p)
    return OperatingPoint(
        current=np.asarray(channel * p.modulation + p.leak),
        gate=np.asarray(gate_slope),
        drain=np.asarray(span + by_reverse),
        source=np.asarray(-span - by_forward),
    )


def _leak_slope(cell: Ekv, p: _Point) -> Floats:
    """Derivative of the leak by Vd - Vs, in nA/V."""
    off = 1e-3 * cell.off_current_pA
    if off == 0.0:
        return np.zeros_like(p.leak)
    return np.asarray(off * (1.0 - (p.leak / off) ** 2) / (2.0 * p.ut))


def threshold_for(
    cell: Ekv,
    current: ArrayLike,
    *,
    gate: ArrayLike,
    drain: ArrayLike,
    source: ArrayLike = 0.0,
    celsius: ArrayLike,
) -> Floats:
    """The threshold in volts, as at 25 C, of a cell that carries a current at a gate voltage: what is programmed.

    `Vt = Vg + dibl Vds - n Vp - drift`, with `Vp = Vs + 2 UT ln(exp(sqrt(I / Is)) - 1)` where the drain end is off and
    Newton's steps from there where it is not; exact with DIBL, channel-length modulation and the leak.

    Raises:
        ConfigError: the drain is not above the source, or a current is not above the cell's leak.

    Example:
        >>> vt = threshold_for(Ekv(), [10.0, 100.0], gate=1.0, drain=0.3, celsius=25.0)
        >>> vt.round(4).tolist()
        [1.1253, 1.0275]
        >>> current(Ekv(), gate=1.0, drain=0.3, source=0.0, threshold=vt, celsius=25.0).round(9).tolist()
        [10.0, 100.0]
    """
    vg, span = np.asarray(gate, dtype=np.float64), np.subtract(drain, source, dtype=np.float64)
    vp = _pinch_off(cell, current, drain, source, celsius)
    return np.asarray(vg + cell.dibl * span - cell.slope * vp - _drift(cell, celsius))


def gate_for(
    cell: Ekv,
    current: ArrayLike,
    *,
    threshold: ArrayLike,
    drain: ArrayLike,
    source: ArrayLike = 0.0,
    celsius: ArrayLike,
) -> Floats:
    """The gate voltage at which a cell carries a current: the word-line voltage of a logarithmic DAC.

    Raises:
        ConfigError: as `threshold_for`.

    Example:
        >>> gate_for(Ekv(), [10.0, 100.0], threshold=1.1, drain=0.3, celsius=25.0).round(4).tolist()
        [0.9747, 1.0725]
    """
    vt, span = np.asarray(threshold, dtype=np.float64), np.subtract(drain, source, dtype=np.float64)
    vp = _pinch_off(cell, current, drain, source, celsius)
    return np.asarray(vt + _drift(cell, celsius) - cell.dibl * span + cell.slope * vp)


def _pinch_off(cell: Ekv, current: ArrayLike, drain: ArrayLike, source: ArrayLike, celsius: ArrayLike) -> Floats:
    """Vp at which a cell carries a current: Newton's steps on ln(F**2 - F**2), which is concave and so not overshot."""
    vs, span = np.asarray(source, dtype=np.float64), np.subtract(drain, source, dtype=np.float64)
    if not np.all(span > 0.0):
        raise ConfigError(f"drain {drain!r} V, source {source!r} V: expected every drain above its source")
    ut = thermal_voltage(celsius)
    leak = 1e-3 * cell.off_current_pA * np.tanh(span / (2.0 * ut))
    wanted = np.asarray(current, dtype=np.float64)
    if not np.all(wanted > leak):
        raise ConfigError(
            f"current {float(wanted.min()):g} nA is not above the leak of {float(np.max(leak)):g} nA: "
            "expected more, or a cell with a smaller off_current_pA"
        )
    target = (wanted - leak) / (specific_current(cell, celsius) * (1.0 + cell.channel_modulation * span))
    root = np.sqrt(target)
    u = 2.0 * (root + np.log(-np.expm1(-root)))  # ln(exp(root) - 1) without overflow
    for _ in range(STEPS):
        ahead, back = _softplus(u), _softplus(u - span / ut)
        difference = ahead**2 - back**2
        slope = (ahead * _logistic(u) - back * _logistic(u - span / ut)) / difference
        step = np.log(target / difference) / slope
        u = u + step
        if np.all(np.abs(step) <= 1e-9 * np.maximum(np.abs(u), 1.0)):  # the next one would be below rounding
            break
    return np.asarray(vs + ut * u)
