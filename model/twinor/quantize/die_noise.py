# SPDX-License-Identifier: Apache-2.0
"""Noise of dies in the loop of training: column quantities spread as they do on dies that a preset describes.

    q' = q + share * std(q) * N(0, 1)        share = std(q_die - gain * q) / std(q), measured on a sampled die

Programming errors, mismatch of word lines, wires, traps and read noise all grow with the cells that are driven, as the
quantity's own spread does, so one share serves layers of any size. What is the same for all columns, the gain, is left
to calibration. Every call draws anew: the network is trained for all dies, not for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from twinor.die import ideal_die, sample_die
from twinor.fast import Engine
from twinor.rounds import Round

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from twinor.config import Config

__all__ = ["column_share", "die_noise"]

VECTORS = 64
"""Random vectors on which the share is measured."""


def column_share(config: Config, *, seed: int) -> float:
    """Standard deviation of a column quantity's error on a die, as a share of the quantity's own.

    Args:
        config: the macro.
        seed: of the die, its cells and the vectors.

    Example:
        >>> from twinor.config import load, replace
        >>> share = column_share(load("nor40_int4"), seed=0)
        >>> 0.01 < share < column_share(replace(load("nor40_int4"), cell_sigma=0.05), seed=0) < 0.3
        True
    """
    rng = np.random.default_rng([seed, 0])
    levels = rng.integers(0, 1 << config.cell_bits, (1, config.rows, config.bit_lines)).astype(np.uint8)
    steps = ((1,) * config.w_slices,) * config.x_slices
    rnd = Round(row_base=0, row_count=config.active_rows, col_base=0, col_count=config.out_cols, steps=steps)
    x = rng.integers(0, 1 << config.input_bits, (VECTORS, config.active_rows))
    dies = ideal_die(config, levels), sample_die(config, levels, seed=seed)
    exact, real = (torch.cat([q.flatten() for _, q, _ in Engine(config, die).held(0, rnd, x)]).double() for die in dies)
    gain = (exact * real).sum() / exact.square().sum()
    return float((real - gain * exact).std() / exact.std())


def die_noise(config: Config, *, seed: int, epoch: int) -> Callable[[Tensor], Tensor]:
    """What a macro in the loop adds to its column quantities.

    Args:
        config: the macro.
        seed: of training.
        epoch: draws differ from epoch to epoch, and not after a killed run goes on.
    """
    share, generators = column_share(config, seed=seed), dict[torch.device, torch.Generator]()

    def disturb(q: Tensor) -> Tensor:
        if q.device not in generators:
            generators[q.device] = torch.Generator(q.device).manual_seed(seed * 1_000_003 + epoch)
        drawn = torch.randn(q.shape, generator=generators[q.device], device=q.device, dtype=q.dtype)
        return drawn * (share * q.std())

    return disturb
