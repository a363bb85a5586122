# SPDX-License-Identifier: Apache-2.0
"""Cells that do not work: which ones a die has, and what they carry instead of their level.

STUCK_ON    cannot be programmed: carries the current of an erased cell
STUCK_OFF   cannot be erased: carries the leak of a cell that is off
MISSING     is not connected to its bit line: carries nothing
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.device.ranges import check_ranges
from twinor.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["GOOD", "MISSING", "STUCK_OFF", "STUCK_ON", "DefectRates", "draw_defects", "with_defects"]

GOOD, STUCK_ON, STUCK_OFF, MISSING = range(4)
"""States of a cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefectRates:
    """The part of the cells with each defect; a cell has one at most.

    Raises:
        ConfigError: a rate is not a number in 0 .. 1, or they add up to more than 1.

    Example:
        >>> DefectRates(stuck_on=0.6, missing=0.5)
        Traceback (most recent call last):
        twinor.errors.ConfigError: defects: stuck_on + stuck_off + missing = 1.1 is not allowed: expected 0 .. 1
    """

    stuck_on: float = 0.0
    stuck_off: float = 0.0
    missing: float = 0.0

    def __post_init__(self) -> None:
        """Check every rate and their sum."""
        check_ranges("defects", self, dict.fromkeys(("stuck_on", "stuck_off", "missing"), (0.0, 1.0)))
        total = self.stuck_on + self.stuck_off + self.missing
        if round(total, 9) > 1.0:  # rates that add up to 1 may be a rounding above
            raise ConfigError(f"defects: stuck_on + stuck_off + missing = {total:g} is not allowed: expected 0 .. 1")


def draw_defects(rates: DefectRates, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The state of every cell of one macro: `GOOD`, `STUCK_ON`, `STUCK_OFF` or `MISSING`.

    Args:
        rates: of the defects.
        shape: rows and bit lines.
        rng: gives one uniform draw per cell, whatever the rates.

    Returns:
        uint8[rows, bit_lines].

    Example:
        >>> draw_defects(DefectRates(stuck_off=1.0), (1, 3), np.random.default_rng(0)).tolist()
        [[2, 2, 2]]
    """
    bounds = np.cumsum([rates.stuck_on, rates.stuck_off, rates.missing])
    state = np.array([STUCK_ON, STUCK_OFF, MISSING, GOOD], dtype=np.uint8)
    return state[np.searchsorted(bounds, rng.random(shape), side="right")]


def with_defects(current_nA: Floats, state: NDArray[np.uint8], *, on_nA: ArrayLike, off_nA: ArrayLike) -> Floats:
    """Currents of cells, defective ones included, in nA.

    Args:
        current_nA: what the cells would carry if they were good, float64[rows, bit_lines].
        state: of every cell, from `draw_defects`.
        on_nA: current of an erased cell.
        off_nA: leak of a cell that is off; both of any shape that broadcasts.

    Returns:
        float64[rows, bit_lines].

    Example:
        >>> with_defects(np.full(4, 50.0), np.arange(4, dtype=np.uint8), on_nA=200.0, off_nA=0.005).tolist()
        [50.0, 200.0, 0.005, 0.0]
    """
    return np.asarray(np.choose(state, [current_nA, on_nA, off_nA, 0.0]))
