# SPDX-License-Identifier: Apache-2.0
"""SAR ADC: a search from the first trial down against a threshold table.

    trial  = kept | 1 << b;  kept = trial when  q >= threshold[trial] * step         b = trials - 1 .. 0
    result = min(sum of the weights of the kept trials, 2**adc_bits - 1)
    code   = result - 2**(adc_bits - 1) for a signed conversion, else result

For binary weights and a monotone table this is `#{c : q >= threshold[c] * step}`; else it is the path that counts.
Verilog twin: rtl/sar_adc.v; the comparator is golden/adc_frontend.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twinor.golden.adc_frontend import compare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config

__all__ = ["clipped", "convert", "outside"]


def convert(
    config: Config,
    q: NDArray[np.int64],
    thresholds: NDArray[np.int32],
    *,
    step: int,
    fine: bool = False,
    weights: NDArray[np.int32] | None = None,
) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    """Convert column quantities.

    Args:
        config: gives `adc_bits`, trials and the sign.
        q: int64[..., columns] in `2**(-2 * frac_bits)` array units.
        thresholds: int32[columns, 2**trials], the table of each column's ADC in `2**(-2 * frac_bits)` LSB.
        step: array units per LSB, or sixteenths of one.
        fine: the step counts sixteenths, for verify reads.
        weights: int32[trials], first trial first; the configuration's if None.

    Returns:
        codes int16[..., columns] and trials uint16[..., columns, trials], first trial first.

    Example:
        >>> from twinor.config import load
        >>> from twinor.die import ideal_thresholds
        >>> cfg = load("tiny")
        >>> codes, trials = convert(cfg, np.array([3 << 12]), ideal_thresholds(cfg)[:1], step=2)
        >>> codes.tolist(), trials.tolist()
        ([2], [[8, 12, 10, 11]])
    """
    kept, result = np.zeros(q.shape, dtype=np.int64), np.zeros(q.shape, dtype=np.int64)
    trials = np.empty((*q.shape, config.trials), dtype=np.uint16)
    for n, weight in enumerate(config.weights if weights is None else weights.tolist()):
        trial = kept | 1 << (config.trials - 1 - n)
        trials[..., n] = trial
        keep = compare(q, thresholds, trial, step=step, fine=fine)
        kept, result = np.where(keep, trial, kept), np.where(keep, result + weight, result)
    result = np.minimum(result, (1 << config.adc_bits) - 1)
    return (result + config.code_min).astype(np.int16), trials


def clipped(config: Config, q: NDArray[np.int64], *, step: int) -> int:
    """How many column quantities an ideal conversion would give a code outside the range.

    Example:
        >>> from twinor.config import load
        >>> clipped(load("tiny"), np.array([15 << 11, (15 << 11) - 1, -17 << 11]), step=1)
        1
    """
    below, above = outside(config, q, step=step)
    return int(np.count_nonzero(below | above))


def outside(config: Config, q: NDArray[np.int64], *, step: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which column quantities lie below the range of codes, and which above: by half a step, or a whole one truncated.

    Example:
        >>> from twinor.config import load, replace
        >>> cfg, q = replace(load("tiny"), adc_rounding="toward_zero"), np.array([8 << 12, (8 << 12) - 1, -9 << 12])
        >>> [side.tolist() for side in outside(cfg, q, step=1)]
        [[False, False, True], [True, False, False]]
    """
    half = step << (2 * config.frac_bits - 1)  # half a step in units of q
    if config.adc_rounding == "toward_zero":
        return q <= (2 * config.code_min - 2) * half, q >= (2 * config.code_max + 2) * half
    return q < (2 * config.code_min - 1) * half, q >= (2 * config.code_max + 1) * half
