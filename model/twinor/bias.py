# SPDX-License-Identifier: Apache-2.0
"""Bias rows: word lines whose cells hold a layer's bias, driven with the same code in every vector.

    acc += bias_code * sum over bias rows r of w[r, c]        bias_code = 2**input_bits - 1, or as configured

What the rows cannot hold, a remainder below half a code or a bias beyond their range, stays in the addend, so that

    (acc + bias_code * total) * mult + (add - bias_code * total * mult) = acc * mult + add

and a lossless macro gives the same outputs with bias rows and without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.network import Requant

__all__ = ["bias_code", "bias_rows"]


def bias_code(config: Config) -> int:
    """What drives a bias row: the largest code of an activation, unless the configuration has another.

    Example:
        >>> from twinor.config import load
        >>> bias_code(load("nor40_int4"))
        15
    """
    return config.bias_code if isinstance(config.bias_code, int) else (1 << config.input_bits) - 1


def bias_rows(config: Config, rule: Requant) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """Weights of the bias rows of a layer, and the addends that remain.

    Args:
        config: gives the number of rows, what drives them and the range of a weight, of which int8 is used.
        rule: requantization of C output channels.

    Returns:
        int8[bias_rows, C] and int32[C].

    Example:
        >>> from twinor.config import load, replace
        >>> from twinor.network import Requant
        >>> mult, add = np.array([2], dtype=np.int16), np.array([164], dtype=np.int32)
        >>> rule = Requant(mult=mult, add=add, shift=4, lo=0, hi=15)
        >>> weights, rest = bias_rows(replace(load("nor40_int4"), bias_rows=2), rule)
        >>> weights.tolist(), rest.tolist()
        ([[3], [2]], [14])
    """
    count, code = config.bias_rows, bias_code(config)
    mult, add = rule.mult.astype(np.int64), rule.add.astype(np.int64)
    bias = (add - (1 << (rule.shift - 1))) / np.where(mult == 0, 1, mult) * (mult != 0)
    low, high = max(config.weight_min, -128), min(config.weight_max, 127)
    total = np.clip(np.rint(bias / code), count * low, count * high).astype(np.int64)
    each, more = np.divmod(total, max(count, 1))
    weights = each + (np.arange(count)[:, None] < more)
    return weights.astype(np.int8), (add - total * code * mult).astype(np.int32)
