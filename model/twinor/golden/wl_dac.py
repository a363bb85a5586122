# SPDX-License-Identifier: Apache-2.0
"""Word-line DACs: activations become word-line codes, one row group and one input slice at a time.

    wl[r] = (m[r - row_base] >> (i * dac_bits)) mod 2**dac_bits    for r in row group g, else 0 (word line off)

`m` is the activation, unsigned; of signed ones phase 0 drives the positive and phase 1 the magnitudes of the negative.
Bias rows follow the activations and are driven with their one code, in phase 0.

Verilog twin: rtl/wl_dac.v
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.rounds import Pass, Round

__all__ = ["magnitudes", "word_line_sum", "word_lines"]


def magnitudes(rnd: Round, x: NDArray[np.integer], *, phase: int) -> NDArray[np.int16]:
    """What the rows of a round are driven with in one phase, int16[vectors, driven_rows].

    Example:
        >>> from twinor.rounds import Round
        >>> bias = {"signed": True, "bias_rows": 1, "bias_code": 3}
        >>> rnd = Round(row_base=0, row_count=2, col_base=0, col_count=1, steps=((1,),), **bias)
        >>> [magnitudes(rnd, np.array([[2, -1]]), phase=s).tolist() for s in (0, 1)]
        [[[2, 0, 3]], [[0, 1, 0]]]
    """
    narrow = x.astype(np.int16)
    driven: NDArray[np.int16] = np.maximum(-narrow if phase else narrow, 0)
    return np.pad(driven, ((0, 0), (0, rnd.bias_rows)), constant_values=0 if phase else rnd.bias_code)


def word_lines(config: Config, rnd: Round, x: NDArray[np.integer], p: Pass) -> NDArray[np.uint8]:
    """Word-line codes of one pass.

    Args:
        config: the macro.
        rnd: the round; gives the rows.
        x: activations, [vectors, row_count], unsigned unless the round says signed.
        p: row group (counted from `row_base`), input slice (0 is the least significant) and phase.

    Returns:
        uint8[vectors, rows].

    Example:
        >>> from twinor.config import load
        >>> from twinor.rounds import Pass, Round
        >>> rnd = Round(row_base=2, row_count=3, col_base=0, col_count=1, steps=((1,), (1,)))
        >>> word_lines(load("tiny"), rnd, np.array([[3, 1, 2]]), Pass(group=0, x_slice=1, w_slice=0))
        array([[0, 0, 1, 0, 1, 0, 0, 0]], dtype=uint8)
    """
    first = p.group * config.active_rows
    driven = magnitudes(rnd, x, phase=p.phase)[:, first : first + config.active_rows]
    codes, count = (driven >> (p.x_slice * config.dac_bits)) & ((1 << config.dac_bits) - 1), driven.shape[1]
    lines = np.zeros((x.shape[0], config.rows), dtype=np.uint8)
    lines[:, rnd.row_base + first : rnd.row_base + first + count] = codes
    return lines


def word_line_sum(lines: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Sum of the word-line codes, int64[vectors]: what offset encoding has to take back."""
    total: NDArray[np.int64] = lines.sum(axis=1, dtype=np.int64)
    return total
