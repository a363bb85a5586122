# SPDX-License-Identifier: Apache-2.0
"""Bit lines: the columns of one weight slice, the two lines of a pair subtracted.

    q[c] = current[c, j, plus] - current[c, j, minus]      differential pair
    q[c] = current[c, j]                                    offset and two's-complement columns
    q[c] = current[c, j, plus]  or  current[c, j, minus]    one line alone: verify reads

Behavioural Verilog twin: rtl/sim/bitline.v
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from twinor.config import Config

__all__ = ["column_quantity", "column_total"]


def column_quantity(
    config: Config, current: NDArray[np.int64], *, w_slice: int, line_sel: int = 0
) -> NDArray[np.int64]:
    """Column quantities of one weight slice.

    Args:
        config: gives the order of the bit lines.
        current: int64[vectors, bit_lines].
        w_slice: weight slice that the bit-line multiplexer selects.
        line_sel: 0 both lines of a pair subtracted, 1 plus line alone, 2 minus line alone; without pairs no matter.

    Returns:
        int64[vectors, cols] in `2**(-2 * frac_bits)` array units.

    Example:
        >>> import numpy as np
        >>> from twinor.config import load
        >>> column_quantity(load("tiny"), np.array([[9, 2, 0, 5, 1, 1, 3, 0]]), w_slice=0)
        array([[ 7, -5,  0,  3]])
        >>> column_quantity(load("tiny"), np.array([[9, 2, 0, 5, 1, 1, 3, 0]]), w_slice=0, line_sel=2)
        array([[2, 5, 1, 0]])
    """
    lines = current.reshape(-1, config.cols, config.w_slices, config.lines_per_cell)[:, :, w_slice]
    if config.lines_per_cell == 1:
        return lines[..., 0]
    return lines[..., line_sel - 1] if line_sel else lines[..., 0] - lines[..., 1]


def column_total(config: Config, lines: NDArray[np.int64], *, w_slice: int) -> NDArray[np.int64]:
    """Both lines of a pair added, as their variances add; arguments as `column_quantity`.

    Example:
        >>> import numpy as np
        >>> from twinor.config import load
        >>> column_total(load("tiny"), np.array([[9, 2, 0, 5, 1, 1, 3, 0]]), w_slice=0)
        array([[11,  5,  2,  3]])
    """
    of_slice = lines.reshape(-1, config.cols, config.w_slices, config.lines_per_cell)[:, :, w_slice]
    total: NDArray[np.int64] = of_slice.sum(axis=-1)
    return total
