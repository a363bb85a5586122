# SPDX-License-Identifier: Apache-2.0
"""The flash array: weights become cell levels, driven word lines become bit-line currents, pulses move thresholds.

    current[b] = sum over rows r of strength[r, b] * drive[r, wl[r]]        in 2**(-2 * frac_bits) array units
    current[b] = sum over rows r of cell[r, wl[r], b]                       cells that do not separate so
    threshold' = threshold -+ (move[kind, level] * speed >> 8)              erase lowers, coarse and fine pulses raise

Behavioural Verilog twin: rtl/sim/flash_array.v
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.die import Die

__all__ = [
    *("COARSE", "ERASE", "FINE", "LEVELS", "SPEED_BITS", "SPEED_MAX", "THRESHOLD_MAX"),
    *("CellTables", "Cells", "cell_currents", "currents", "levels", "moved", "of_die"),
]

ERASE, COARSE, FINE = range(3)
"""Kinds of pulses."""

LEVELS = 256
"""Levels of a pulse."""

SPEED_BITS = 8
"""Fraction bits of a cell's speed: 256 moves as the table says."""

SPEED_MAX = (1 << 14) - 1
"""Largest speed: the largest move times it fits 31 bits."""

THRESHOLD_MAX = (1 << 14) - 1
"""Largest threshold of a cell; a pulse stops there, and at 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTables:
    """How cells answer to pulses, the same for every cell of a macro.

    Attributes:
        move: int32[3, 256], change of the threshold by kind and level of the pulse, below 2**17.
        disturb: change that a coarse or fine pulse brings to every other cell of its word line.
        strength: int32[2**14], strength by threshold, in `2**-frac_bits` levels; must not rise.
    """

    move: NDArray[np.int32]
    disturb: int
    strength: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Cells of one macro that can be programmed.

    Attributes:
        tables: how they answer to pulses.
        threshold: int32[rows, bit_lines], 0 .. `THRESHOLD_MAX`.
        speed: int32[rows, bit_lines], in `2**-SPEED_BITS`, 0 .. `SPEED_MAX`; 0 is a stuck cell.
    """

    tables: CellTables
    threshold: NDArray[np.int32]
    speed: NDArray[np.int32]

    @property
    def strength(self) -> NDArray[np.int32]:
        """What the cells add per drive level, int32[rows, bit_lines]."""
        return self.tables.strength[self.threshold]


def moved(
    tables: CellTables, threshold: NDArray[np.int32], speed: NDArray[np.int32], *, kind: int, level: int
) -> NDArray[np.int32]:
    """Thresholds after one pulse.

    Args:
        tables: how cells answer.
        threshold: int32[...] of the cells that the pulse reaches.
        speed: int32[...] of the same cells.
        kind: `ERASE`, `COARSE` or `FINE`.
        level: level of the pulse.

    Returns:
        int32[...].

    Example:
        >>> flat = CellTables(move=np.full((3, 256), 10, np.int32), disturb=0, strength=np.zeros(1, np.int32))
        >>> moved(flat, np.array([4, 100]), np.array([256, 384]), kind=ERASE, level=0)
        array([ 0, 85])
    """
    step = tables.move[kind, level] * speed >> SPEED_BITS
    after: NDArray[np.int32] = np.clip(threshold + (-step if kind == ERASE else step), 0, THRESHOLD_MAX)
    return after


def levels(config: Config, weights: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Cell levels that encode weights.

    Column c, weight slice j, line s (0 plus, 1 minus) is bit line `(c * w_slices + j) * lines_per_cell + s`.

    Args:
        config: gives encoding, slices and range.
        weights: signed, [rows, cols] or a part of it.

    Returns:
        uint8[rows, cols * w_slices * lines_per_cell].

    Raises:
        ValueError: a weight is outside `weight_min .. weight_max`.

    Example:
        >>> from twinor.config import load
        >>> levels(load("nor40_int4"), np.array([[3, -7]]))
        array([[3, 0, 0, 7]], dtype=uint8)
    """
    w = weights.astype(np.int64)
    if w.size and (w.min() < config.weight_min or w.max() > config.weight_max):
        raise ValueError(f"weights {w.min()} .. {w.max()} exceed {config.weight_min} .. {config.weight_max}")
    if config.weight_encoding == "differential":
        lines = np.stack([np.maximum(w, 0), np.maximum(-w, 0)], axis=-1)
    elif config.weight_encoding == "offset":
        lines = (w + config.weight_offset)[..., None]
    else:
        lines = (w & ((1 << config.weight_bits) - 1))[..., None]
    shifts = np.arange(config.w_slices, dtype=np.int64)[:, None] * config.cell_bits
    sliced = (lines[:, :, None, :] >> shifts) & ((1 << config.cell_bits) - 1)
    return sliced.reshape(w.shape[0], -1).astype(np.uint8)


def currents(strength: NDArray[np.int32], drive: NDArray[np.int32], lines: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Bit-line currents of one pass.

    Args:
        strength: cell strengths, int32[rows, bit_lines].
        drive: drive level of each row's DAC by code, int32[rows, 2**dac_bits]; code 0 drives nothing.
        lines: word-line codes, uint8[vectors, rows].

    Returns:
        int64[vectors, bit_lines] in `2**(-2 * frac_bits)` array units.

    Example:
        >>> currents(np.array([[5], [2]]), np.array([[0, 1], [0, 3]]), np.array([[1, 1], [0, 1]], dtype=np.uint8))
        array([[11],
               [ 6]])
    """
    on = np.flatnonzero(lines.any(axis=0))  # a word line at code 0 carries no current
    driven = drive[on, lines[:, on]].astype(np.int64)
    return driven @ strength[on].astype(np.int64)


def cell_currents(cells: NDArray[np.integer], lines: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Bit-line sums of one pass where each cell has a value of its own for every word-line code.

    Args:
        cells: currents, or variances, [rows, 2**dac_bits, bit_lines]; code 0 has none.
        lines: word-line codes, uint8[vectors, rows].

    Returns:
        int64[vectors, bit_lines] in the unit of `cells`.

    Example:
        >>> cells = np.array([[[0, 0], [1, 2], [5, 7]], [[0, 0], [10, 20], [30, 40]]])
        >>> cell_currents(cells, np.array([[1, 1], [2, 0]], dtype=np.uint8))
        array([[11, 22],
               [ 5,  7]])
    """
    total: NDArray[np.int64] = np.zeros((len(lines), cells.shape[2]), dtype=np.int64)
    for code in range(1, cells.shape[1]):
        on = np.flatnonzero((lines == code).any(axis=0))
        total += (lines[:, on] == code).astype(np.int64) @ cells[on, code].astype(np.int64)
    return total


def of_die(die: Die, macro: int, lines: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Bit-line currents of one pass on a macro of a die, without noise, int64[vectors, bit_lines]."""
    if die.cells is not None:
        return cell_currents(die.cells.current[macro], lines)
    return currents(die.strength[macro], die.drive[macro], lines)
