# SPDX-License-Identifier: Apache-2.0
"""Residual: codes of a shortcut, each times its column's integer, enter the accumulators.

    start[c] += code[c] * residual_mult[c]

The sum is exact: a shortcut is never rounded to a code of its own scale before the layer's one requantization.
Verilog twin: rtl/residual.v
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["products"]


def products(codes: NDArray[np.integer], mult: NDArray[np.integer]) -> NDArray[np.int64]:
    """What residual codes add to accumulators.

    Args:
        codes: signed codes of at most `input_bits + 1` bits, [vectors, columns].
        mult: signed 16-bit multiplier by column.

    Returns:
        int64[vectors, columns], array units.

    Example:
        >>> products(np.array([[3, -2]]), np.array([10, 7]))
        array([[ 30, -14]])
    """
    result: NDArray[np.int64] = codes.astype(np.int64) * mult.astype(np.int64)
    return result
