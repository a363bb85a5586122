# SPDX-License-Identifier: Apache-2.0
"""ADC front end: charge sharing of input slices, the column multiplexer, and the comparator with its threshold table.

    held = sum over input slices i of 2**(i * dac_bits) * q[i]        analog slice accumulation, else the one slice
    column c of the array  ->  ADC c mod n_adcs at multiplexer position c div n_adcs
    cmp = q >= threshold[adc, trial] * step                  16 * q >= threshold * step in a verify read

Verilog twin: rtl/sim/adc_frontend.v
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.rounds import Round

__all__ = [
    "FINE_BITS", "adc_of_column", "array_columns", "compare", "converted_columns", "positions", "ref_columns", "share",
]  # fmt: skip

FINE_BITS = 4
"""A verify read's step counts sixteenths of an array unit."""


def share(config: Config, shared: NDArray[np.int64], q: NDArray[np.int64], *, x_slice: int) -> NDArray[np.int64]:
    """Charge after one more input slice of one weight slice.

    Args:
        config: gives the weight of the slice, and whether slices come together here at all.
        shared: int64[..., columns] of the slices before; slice 0 starts anew.
        q: int64[..., columns] of this slice.
        x_slice: this slice; slices come in ascending order.

    Example:
        >>> from twinor.config import load, replace
        >>> cfg = replace(load("tiny"), slice_accumulation="analog")
        >>> share(cfg, np.array([5]), np.array([3]), x_slice=1), share(cfg, np.array([5]), np.array([3]), x_slice=0)
        (array([11]), array([3]))
    """
    if not config.analog_slices or x_slice == 0:
        return q
    return shared + (q << (x_slice * config.dac_bits))


def array_columns(config: Config, columns: NDArray[np.integer]) -> NDArray[np.integer]:
    """Columns of the array that hold output columns; with reference columns, the first of each position is one.

    Example:
        >>> from twinor.config import load, replace
        >>> cfg = replace(load("nor40_int4_exact"), cols=16, cols_per_adc=4, ref_cols=True)
        >>> array_columns(cfg, np.arange(6)), ref_columns(cfg, np.arange(6))
        (array([1, 2, 3, 5, 6, 7]), array([0, 0, 0, 4, 4, 4]))
    """
    return columns // config.n_lanes * config.n_adcs + columns % config.n_lanes + config.ref_cols


def ref_columns(config: Config, columns: NDArray[np.integer]) -> NDArray[np.integer]:
    """The reference column beside each output column: that of its multiplexer position."""
    return columns // config.n_lanes * config.n_adcs


def positions(config: Config, rnd: Round) -> NDArray[np.integer]:
    """Multiplexer position of each output column of a round, counted from its first."""
    return np.arange(rnd.col_count) // config.n_lanes


def converted_columns(config: Config, rnd: Round) -> NDArray[np.integer]:
    """Columns of the array that a round converts: its output columns, then the reference column of each position."""
    columns = np.arange(rnd.col_base, rnd.col_base + rnd.col_count)
    own = array_columns(config, columns)
    return np.concatenate([own, ref_columns(config, columns[:: config.n_lanes])]) if config.ref_cols else own


def adc_of_column(config: Config, columns: NDArray[np.integer]) -> NDArray[np.integer]:
    """Which ADC converts a column of the array.

    Example:
        >>> from twinor.config import load
        >>> adc_of_column(load("nor40_int4"), np.array([0, 7, 8, 9]))
        array([0, 7, 0, 1])
    """
    return columns % config.n_adcs


def compare(
    q: NDArray[np.int64], thresholds: NDArray[np.int32], trial: NDArray[np.int64], *, step: int, fine: bool = False
) -> NDArray[np.bool_]:
    """What the comparators answer to one trial each.

    Args:
        q: int64[..., columns] in `2**(-2 * frac_bits)` array units.
        thresholds: int32[columns, 2**trials], the table of each column's ADC in `2**(-2 * frac_bits)` LSB.
        trial: int64[..., columns], kept trials and the one under trial, as bits.
        step: array units per LSB, or sixteenths of one.
        fine: the step counts sixteenths, for verify reads.

    Returns:
        bool[..., columns]: the column quantity reaches the threshold.

    Example:
        >>> table = np.array([[-100, 5, 15]])
        >>> compare(np.array([[30], [29]]), table, np.array([[2], [2]]), step=2).tolist()
        [[True], [False]]
    """
    columns = np.arange(q.shape[-1])
    answer: NDArray[np.bool_] = q << (FINE_BITS if fine else 0) >= thresholds[columns, trial].astype(np.int64) * step
    return answer
