# SPDX-License-Identifier: Apache-2.0
"""Shift-add: ADC codes of all passes become one accumulator per column, in array units.

    acc += sign * sign_j * 2**(i * dac_bits + j * cell_bits) * step * code
    acc -= sign * offset * 2**(i * dac_bits) * (sum of the word-line codes)   offset encoding, once per (g, i): at j = 0

With reference columns, whose cells hold the offset, `code` is what a column's code has above the reference's instead.
`sign` is -1 in the phase of negative activations. One conversion for all input slices counts as slice i = 0.
Verilog twin: rtl/shift_add.v
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.rounds import Pass

__all__ = ["accumulate"]


def accumulate(
    config: Config,
    acc: NDArray[np.int64],
    codes: NDArray[np.int16],
    word_line_sum: NDArray[np.int64],
    reference: NDArray[np.int16] | None = None,
    *,
    p: Pass,
    step: int,
) -> NDArray[np.int64]:
    """Accumulators after one pass.

    Args:
        config: gives the weights of the slices.
        acc: int64[vectors, columns] before the pass.
        codes: int16[vectors, columns].
        word_line_sum: int64[vectors], sum of the word-line codes that the conversion saw.
        reference: int16[vectors, columns], code of the reference column of each column's position, where there is one.
        p: row group, input slice, weight slice and phase.
        step: ADC step of the pass in array units.

    Returns:
        int64[vectors, columns].

    Example:
        >>> from twinor.config import load, replace
        >>> from twinor.rounds import Pass
        >>> one = np.zeros((1, 1), dtype=np.int64)
        >>> accumulate(load("nor40_int4"), one, np.array([[-5]]), np.array([9]), p=Pass(0, 1, 0), step=6)
        array([[-120]])
        >>> cfg = replace(load("nor40_int4_exact"), ref_cols=True)
        >>> accumulate(cfg, one, np.array([[9]]), np.array([9]), np.array([[4]]), p=Pass(0, 1, 0), step=1)
        array([[10]])
    """
    assert (reference is not None) == config.ref_cols, "there is a reference with ref_cols, and only then"
    x_shift = 0 if config.analog_slices else p.x_slice * config.dac_bits
    weight = step << (x_shift + p.w_slice * config.cell_bits)
    if config.weight_encoding == "twos_complement" and p.w_slice == config.w_slices - 1:
        weight = -weight
    change = codes.astype(np.int64) * weight
    if reference is not None:
        change = change - reference.astype(np.int64) * weight
    elif p.w_slice == 0:
        change = change - (config.digital_offset << x_shift) * word_line_sum[:, None]
    return acc - change if p.phase else acc + change
