# SPDX-License-Identifier: Apache-2.0
"""What a cell holds after it was programmed to a target: two models of the error; `sonos.py` has what was measured.

    relative   target + sigma * top * N(0, 1), at least 0                    a verify window, whatever the device
    ispp       pulses of one step until a read is at the target or above     incremental step pulse programming

A pulse of `ispp` moves a cell by `step * (1 + slope * N) + sqrt(electron * step) * N'`, and never back. The second term
is the shot noise of the injected charge: step / electron electrons, give or take the square root of that; `electron` is
what one of them moves. The overshoot is therefore close to uniform in 0 .. step, wider by the noise of the pulses:
its mean is `(step**2 + v) / (2 * step)` and its mean square `(step**2 + 3 * v) / 3` for a pulse's variance v.

Source of the shot noise: S. Tkachev et al., IMW 2023, doi 10.1109/IMW56887.2023.10145932 (injected electrons are
Poisson); the figures of slope and electron are those of the project's pilot simulation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.device.ageing import program_disturb
from twinor.device.ranges import check_ranges
from twinor.errors import TwinorError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["Ispp", "ispp", "relative"]

PULSES = 10_000
"""Most pulses that a cell gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ispp:
    """Incremental step pulse programming.

    Raises:
        ConfigError: a value is not a number in its range.

    Example:
        >>> Ispp(step_mV=0)
        Traceback (most recent call last):
        twinor.errors.ConfigError: ispp: step_mV = 0 is not allowed: expected 0.01 .. 1000
    """

    step_mV: float
    """By how much a pulse moves a threshold on average."""
    slope: float = 0.1
    """Standard deviation of a pulse's move, as a fraction of the step."""
    electron_mV: float = 0.5
    """What one electron moves: q / Cpp."""
    verify_mV: float = 0.0
    """Noise of a verify read, standard deviation."""

    def __post_init__(self) -> None:
        """Check every value."""
        allowed = {
            "step_mV": (0.01, 1000.0),
            "slope": (0.0, 1.0),
            "electron_mV": (0.0, 100.0),
            "verify_mV": (0.0, 100.0),
        }
        check_ranges("ispp", self, allowed)


def relative(target: ArrayLike, *, top: float, sigma: float, normal: ArrayLike) -> Floats:
    """Currents, or any strength, with an error of a fraction of the top level.

    Args:
        target: float64[...], at least 0.
        top: what the top level carries, in the unit of the target.
        sigma: standard deviation as a fraction of `top`.
        normal: a standard normal draw per cell.

    Example:
        >>> relative([0.0, 50.0], top=100.0, sigma=0.01, normal=[-1.0, 2.0]).tolist()
        [0.0, 52.0]
    """
    error = sigma * top * np.asarray(normal, dtype=np.float64)
    return np.asarray(np.maximum(np.asarray(target, dtype=np.float64) + error, 0.0))


def ispp(
    settings: Ispp, target_mV: Floats, *, start_mV: Floats, rng: np.random.Generator, disturb_mV: float = 0.0
) -> tuple[Floats, NDArray[np.int32]]:
    """Thresholds after write-verify, and the pulses that it took.

    Args:
        settings: of the pulses.
        target_mV: float64[...].
        start_mV: thresholds before, of the same shape; a cell that reads at its target or above gets no pulse.
        rng: draws for every cell in every pulse, so a cell's error does not depend on when others are done.
        disturb_mV: by how much a pulse raises every other cell of its word line, the last axis.

    Returns:
        float64[...] in mV and int32[...].

    Raises:
        TwinorError: a cell is not there after 10,000 pulses.

    Example:
        >>> exact = Ispp(step_mV=10.0, slope=0.0, electron_mV=0.0)
        >>> targets, start = np.array([5.0, 20.0, -5.0]), np.zeros(3)
        >>> threshold, pulses = ispp(exact, targets, start_mV=start, rng=np.random.default_rng(0))
        >>> threshold.tolist(), pulses.tolist()
        ([10.0, 20.0, 0.0], [1, 2, 0])
    """
    threshold, pulses = start_mV.astype(np.float64), np.zeros(target_mV.shape, dtype=np.int32)
    wanting = np.ones(target_mV.shape, dtype=bool)
    sigma = math.hypot(settings.slope * settings.step_mV, math.sqrt(settings.electron_mV * settings.step_mV))
    for _ in range(PULSES):
        verify, injected = rng.standard_normal((2, *target_mV.shape))
        wanting &= threshold + settings.verify_mV * verify < target_mV  # a cell that has passed is not read again
        if not wanting.any():
            return threshold, pulses
        threshold += np.where(wanting, np.maximum(settings.step_mV + sigma * injected, 0.0), 0.0)
        threshold += program_disturb(wanting, per_pulse_mV=disturb_mV)
        pulses += wanting
    raise TwinorError(
        f"ispp: {int(wanting.sum()):,} cells are below their targets after {PULSES:,} pulses of "
        f"{settings.step_mV:g} mV: expected every target less than {PULSES * settings.step_mV:g} mV above its cell"
    )
