# SPDX-License-Identifier: Apache-2.0
"""Bit lines: the columns of one weight slice, the two lines of a pair subtracted.

    q[c] = current[c, j, plus] - current[c, j, minus]      differential pair
    q[c] = current[c, j]                                    offset and two's-complement columns

Behavioural Verilog twin: rtl/sim/bitline.v
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from twinor.config import Config

__all__ = ["column_quantity"]


def column_quantity(config: Config, current: NDArray[np.int64], *, w_slice: int) -> NDArray[np.int64]:
    """Column quantities of one weight slice.

    Args:
        config: gives the order of the bit lines.
        current: int64[vectors, bit_lines].
        w_slice: weight slice that the bit-line multiplexer selects.

    Returns:
        int64[vectors, cols] in `2**(-2 * frac_bits)` array units.

    Example:
        >>> import numpy as np
        >>> from twinor.config import load
        >>> column_quantity(load("tiny"), np.array([[9, 2, 0, 5, 1, 1, 3, 0]]), w_slice=0)
        array([[ 7, -5,  0,  3]])
    """
    lines = current.reshape(-1, config.cols, config.w_slices, config.lines_per_cell)[:, :, w_slice]
    return lines[..., 0] - lines[..., 1] if config.lines_per_cell == 2 else lines[..., 0]
