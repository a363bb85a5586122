# SPDX-License-Identifier: Apache-2.0
"""Column correction: a gain and an offset for each physical column, in integers.

    code' = clip((code * gain + offset) >> 8, code_min, code_max)          arithmetic shift; gain 256 is 1.0

Verilog twin: rtl/column_correct.v
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config

__all__ = ["GAIN_BITS", "GAIN_ONE", "OFFSET_BITS", "correct"]

GAIN_BITS, OFFSET_BITS = 10, 16
"""An unsigned gain, a signed offset."""
GAIN_ONE = 256
"""The gain that changes nothing."""


def correct(
    config: Config, codes: NDArray[np.int16], gain: NDArray[np.int32], offset: NDArray[np.int32]
) -> NDArray[np.int16]:
    """Corrected codes; as they are if the configuration has no correction.

    Args:
        config: gives the range of codes.
        codes: raw codes, int16[..., columns].
        gain: 0 .. 1023, int32[columns], of the physical columns that were converted.
        offset: in 1/256 LSB, int32[columns]; 128 makes the shift round.

    Returns:
        int16[..., columns].

    Example:
        >>> from twinor.config import load, replace
        >>> cfg = replace(load("tiny"), column_correction=True)
        >>> correct(cfg, np.array([-8, -1, 5]), np.array([256, 300, 300]), np.array([0, 128, 128])).tolist()
        [-8, -1, 6]
    """
    if not config.column_correction:
        return codes
    exact = (codes.astype(np.int64) * gain + offset) >> 8
    corrected: NDArray[np.int16] = np.clip(exact, config.code_min, config.code_max).astype(np.int16)
    return corrected
