# SPDX-License-Identifier: Apache-2.0
"""Clip counters: how many codes lie at either end of the ADC's range.

    low = #{codes == code_min}, high = #{codes == code_max}         of all columns in use, saturating at 2**32 - 1

A reference column that is clipped spoils the columns beside it, so it counts too.

Verilog twin: rtl/clip_count.v
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config

__all__ = ["COUNT_MAX", "count"]

COUNT_MAX = (1 << 32) - 1
"""Where a counter stays until it is cleared."""


def count(config: Config, codes: NDArray[np.integer], *, before: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """Both counters after some more conversions.

    Args:
        config: gives the range of codes.
        codes: raw codes of the columns in use, any shape.
        before: both counters before.

    Returns:
        Codes at `code_min` and codes at `code_max`.

    Example:
        >>> from twinor.config import load
        >>> count(load("tiny"), np.array([[-8, 7, 0], [7, 6, -7]]), before=(0, 4))
        (1, 6)
    """
    ends = (config.code_min, config.code_max)
    low, high = (old + int(np.count_nonzero(codes == end)) for old, end in zip(before, ends, strict=True))
    return min(low, COUNT_MAX), min(high, COUNT_MAX)
