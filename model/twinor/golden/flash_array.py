# SPDX-License-Identifier: Apache-2.0
"""The flash array: weights become cell levels, and driven word lines become bit-line currents.

    current[b] = sum over rows r of strength[r, b] * drive[r, wl[r]]        in 2**(-2 * frac_bits) array units

Behavioural Verilog twin: rtl/sim/flash_array.v
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config

__all__ = ["currents", "levels"]


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
