# SPDX-License-Identifier: Apache-2.0
"""Random telegraph noise: a cell whose threshold jumps between two values, as a trap in its oxide fills and empties.

    traps of a cell      Poisson(per_cell)
    amplitude of a trap  Exp(mean_mV)                   threshold rises by it while the trap is filled
    times of a trap      log-uniform, shortest .. longest: one mean time to capture, one to emission
    occupancy            emission / (capture + emission)

What is kept of this, for engines that hold one amplitude and one bit per cell:

* the strongest trap alone. It is drawn directly, as the largest of Poisson(m) exponentials:
  P(amplitude <= x) = exp(-m * exp(-x / mean)), so a cell without a trap has amplitude 0. It carries 94, 89 and 81 % of
  the variance of all traps at 0.5, 1 and 2 traps per cell.
* each read finds the trap filled with the probability of its occupancy, whatever the last read found: right for traps
  faster than the time between reads. Slower ones would stay for several reads; their mean and variance are right.

Figures: common knowledge of 65 to 40 nm NOR memories; exponential amplitudes as measured in subthreshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.device.ranges import check_ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Telegraph", "Traps", "draw_telegraph"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traps:
    """The traps of a kind of cell.

    Raises:
        ConfigError: a value is not a number in its range.

    Example:
        >>> Traps(per_cell=-1)
        Traceback (most recent call last):
        twinor.errors.ConfigError: traps: per_cell = -1 is not allowed: expected 0 .. 20
    """

    per_cell: float = 1.0
    """Mean number of traps."""
    mean_mV: float = 3.0
    """Mean amplitude of a trap."""
    decades: float = 6.0
    """Decades from the shortest to the longest mean time: 1 us .. 1 s."""

    def __post_init__(self) -> None:
        """Check every value."""
        check_ranges("traps", self, {"per_cell": (0.0, 20.0), "mean_mV": (0.0, 100.0), "decades": (0.0, 12.0)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Telegraph:
    """The telegraph noise of the cells of one macro.

    Attributes:
        amplitude_mV: float64[rows, bit_lines], rise of the threshold while the trap is filled; 0 without a trap.
        occupancy: float64[rows, bit_lines], probability that a read finds the trap filled.
    """

    amplitude_mV: Floats
    occupancy: Floats


def draw_telegraph(traps: Traps, shape: tuple[int, int], rng: np.random.Generator) -> Telegraph:
    """Draw the telegraph noise of an array.

    Args:
        traps: their statistics.
        shape: rows and bit lines.
        rng: gives three draws per cell, whatever the statistics.

    Example:
        >>> noise = draw_telegraph(Traps(per_cell=0.0), (2, 3), np.random.default_rng(0))
        >>> noise.amplitude_mV.tolist(), noise.occupancy.shape
        ([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], (2, 3))
    """
    # As many traps are stronger than the strongest as a unit exponential says, on average; never 0, which is infinity.
    stronger = np.maximum(rng.standard_exponential(shape), np.finfo(np.float64).tiny)
    capture, emission = rng.random((2, *shape))
    return Telegraph(
        amplitude_mV=traps.mean_mV * np.log(np.maximum(traps.per_cell / stronger, 1.0)),
        occupancy=1.0 / (1.0 + 10.0 ** (traps.decades * (capture - emission))),
    )
