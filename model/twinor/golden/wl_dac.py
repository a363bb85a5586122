# SPDX-License-Identifier: Apache-2.0
"""Word-line DACs: activations become word-line codes, one row group and one input slice at a time.

    wl[r] = (x[r - row_base] >> (i * dac_bits)) mod 2**dac_bits    for r in row group g, else 0 (word line off)

Verilog twin: rtl/wl_dac.v
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.rounds import Round

__all__ = ["word_line_sum", "word_lines"]


def word_lines(config: Config, rnd: Round, x: NDArray[np.integer], *, group: int, x_slice: int) -> NDArray[np.uint8]:
    """Word-line codes of one pass.

    Args:
        config: the macro.
        rnd: the round; gives the rows.
        x: activations, unsigned, [vectors, row_count].
        group: row group, counted from `row_base`.
        x_slice: input slice, 0 is the least significant.

    Returns:
        uint8[vectors, rows].

    Raises:
        ValueError: an activation is negative or needs more than `input_bits`.

    Example:
        >>> from twinor.config import load
        >>> from twinor.rounds import Round
        >>> rnd = Round(row_base=2, row_count=3, col_base=0, col_count=1, steps=((1,), (1,)))
        >>> word_lines(load("tiny"), rnd, np.array([[3, 1, 2]]), group=0, x_slice=1)
        array([[0, 0, 1, 0, 1, 0, 0, 0]], dtype=uint8)
    """
    if x.size and (x.min() < 0 or x.max() >> config.input_bits):
        raise ValueError(f"activations {x.min()} .. {x.max()} do not fit {config.input_bits} unsigned bits")
    first = group * config.active_rows
    count = min(config.active_rows, rnd.row_count - first)
    codes = (x[:, first : first + count] >> (x_slice * config.dac_bits)) & ((1 << config.dac_bits) - 1)
    lines = np.zeros((x.shape[0], config.rows), dtype=np.uint8)
    lines[:, rnd.row_base + first : rnd.row_base + first + count] = codes
    return lines


def word_line_sum(lines: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Sum of the word-line codes, int64[vectors]: what offset encoding has to take back."""
    total: NDArray[np.int64] = lines.sum(axis=1, dtype=np.int64)
    return total
