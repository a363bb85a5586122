# SPDX-License-Identifier: Apache-2.0
"""Requantization, the one rule of the whole project.

    y = clip((acc * mult + add) >> shift, lo, hi)          arithmetic shift

Verilog twin: rtl/requantize.v
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["requantize"]


def requantize(
    acc: NDArray[np.int64],
    mult: NDArray[np.integer],
    add: NDArray[np.integer],
    *,
    shift: int,
    lo: int,
    hi: int,
) -> NDArray[np.int64]:
    """Outputs of a layer.

    Args:
        acc: int64[..., channels], array units; at most 47 magnitude bits, so that the product fits 64.
        mult: signed 16-bit multiplier by channel.
        add: signed 32-bit addend by channel: bias, batch norm and the rounding half.
        shift: 1 .. 31.
        lo: smallest output.
        hi: largest output.

    Returns:
        int64[..., channels].

    Example:
        >>> requantize(np.array([[37, -5]]), np.array([3, 3]), np.array([8, 8]), shift=4, lo=0, hi=15)
        array([[7, 0]])
    """
    wide: NDArray[np.int64] = acc.astype(np.int64) * mult.astype(np.int64) + add.astype(np.int64)
    y: NDArray[np.int64] = np.clip(wide >> shift, lo, hi)
    return y
