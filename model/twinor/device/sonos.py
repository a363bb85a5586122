# SPDX-License-Identifier: Apache-2.0
"""Measured statistics of a flash-class cell: 40 nm SONOS, 128 thousand devices, up to five days after programming.

    sigma(I, days) = A(days) * (1 - exp(-I / B(days)))      spread of the currents of cells programmed to I
    read_sigma(I)  = A_read * (1 - exp(-I / B_read))        noise of a read, fresh in each
    programmed     = I + drift(I, days) + sigma(I, days) * N(0, 1), at least 0

Currents are nanoamperes. A and B were fitted on each of the days 0 .. 5; between two of them they are linear in
ln(1 + days), because A itself grows so: by 8.2 nA per unit up to day 1, and by 8.2 on average up to day 5. The mean
drift is the published fit evaluated at six currents on days 1 and 5, here linear in the current and in ln(1 + days)
between them; a cell that is off stays off. Nothing is known beyond 1600 nA and day 5, so that is refused.

Source: V. Agrawal et al., "Subthreshold operation of SONOS analog memory to enable accurate low-power neural network
inference", IEDM 2022, 21.7; constants as fitted in CrossSim, devices/custom/SONOS.py. There the spread is taken at the
drifted current, here at the programmed one: by day 5 they differ by 0.5 nA at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twinor.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["DAYS", "PROGRAMMED", "READ", "TOP_NA", "drift", "programmed", "read_sigma", "sigma"]

DAYS = (0, 1, 2, 3, 4, 5)
"""Days after programming on which the cells were measured."""

PROGRAMMED = (
    (19.88665, 176.3115),
    (25.59102, 186.85544),
    (28.72753, 193.56834),
    (31.04318, 198.90332),
    (33.76214, 204.77023),
    (34.57909, 207.34309),
)
"""A and B of the programmed currents by day, in nA."""

READ = (12.58037, 215.36557)
"""A and B of the read noise, in nA; it does not depend on the day."""

TOP_NA = 1600.0
"""The largest current that a level may have."""

DRIFT_NA = (0.0, 50.0, 100.0, 200.0, 400.0, 800.0, TOP_NA)
DRIFT_DAYS = (0, 1, 5)
DRIFT = (
    (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    (0.0, 1.7, 1.7, 1.0, 0.6, -3.8, -11.5),
    (0.0, 3.6, 4.1, 2.6, -1.5, -15.2, -40.7),
)
"""Mean drift in nA, by day of `DRIFT_DAYS` and by programmed current of `DRIFT_NA`."""


def sigma(current_nA: ArrayLike, days: float) -> Floats:
    """Standard deviation of the currents of cells that were programmed to a current, in nA.

    Args:
        current_nA: programmed current, float64[...], 0 .. `TOP_NA`.
        days: since programming, 0 .. 5.

    Raises:
        ConfigError: current or days out of range.

    Example:
        >>> sigma([0.0, 50.0, 1600.0], 0).round(1).tolist(), sigma([50.0, 1600.0], 5).round(1).tolist()
        ([0.0, 4.9, 19.9], [7.4, 34.6])
    """
    top, knee = (_in_log_time(days, DAYS, column) for column in zip(*PROGRAMMED, strict=True))
    return _saturating(_level(current_nA), top, knee)


def drift(current_nA: ArrayLike, days: float) -> Floats:
    """How far the mean current of cells has moved, in nA: low levels creep up, high ones fall.

    Args and errors as for `sigma`.

    Example:
        >>> drift([0.0, 100.0, 1600.0], 1).tolist(), drift([0.0, 100.0, 1600.0], 5).round(6).tolist()
        ([0.0, 1.7, -11.5], [0.0, 4.1, -40.7])
    """
    at_knots = [_in_log_time(days, DRIFT_DAYS, column) for column in zip(*DRIFT, strict=True)]
    return np.asarray(np.interp(_level(current_nA), DRIFT_NA, at_knots))


def programmed(current_nA: ArrayLike, days: float, normal: ArrayLike) -> Floats:
    """Currents of cells some days after they were programmed, in nA.

    Args:
        current_nA: programmed current, float64[...], 0 .. `TOP_NA`.
        days: since programming, 0 .. 5.
        normal: a standard normal draw per cell; the same one at another age is the same cell, aged.

    Raises:
        ConfigError: current or days out of range.

    Example:
        >>> programmed([100.0, 1600.0], 0, [1.0, 0.0]).round(1).tolist(), programmed(1600.0, 5, 0.0).round(1).tolist()
        ([108.6, 1600.0], 1559.3)
    """
    mean = np.asarray(current_nA, dtype=np.float64) + drift(current_nA, days)
    return np.asarray(np.maximum(mean + sigma(current_nA, days) * np.asarray(normal, dtype=np.float64), 0.0))


def read_sigma(current_nA: ArrayLike) -> Floats:
    """Standard deviation of one read of a cell that carries a current of at least 0, in nA.

    Example:
        >>> read_sigma([0.0, 50.0, 800.0]).round(1).tolist()
        [0.0, 2.6, 12.3]
    """
    return _saturating(np.asarray(current_nA, dtype=np.float64), *READ)


def _saturating(current_nA: Floats, top: float, knee: float) -> Floats:
    return np.asarray(-top * np.expm1(-current_nA / knee))


def _in_log_time(days: float, known: tuple[int, ...], values: tuple[float, ...]) -> float:
    """A measured figure on a day, linear in ln(1 + days) between the days on which it is known."""
    if not 0 <= days <= DAYS[-1]:
        raise ConfigError(f"SONOS cells were measured on days 0 .. {DAYS[-1]} after programming, not on day {days}")
    return float(np.interp(np.log1p(days), np.log1p(known), values))


def _level(current_nA: ArrayLike) -> Floats:
    current = np.asarray(current_nA, dtype=np.float64)
    if not np.all((current >= 0.0) & (current <= TOP_NA)):
        raise ConfigError(
            f"a SONOS cell cannot be programmed to {current.min():g} .. {current.max():g} nA: "
            f"expected 0 .. {TOP_NA:g} nA, which is what was measured"
        )
    return current
