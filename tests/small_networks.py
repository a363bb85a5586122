# SPDX-License-Identifier: Apache-2.0
"""Integer networks that fit small macros: every kind of layer, tiles in both directions, chains with partial sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from builders import random_weights
from layers import conv2d, max_pool2d
from twinor.config import replace
from twinor.network import Conv, Flatten, IntegerNetwork, Linear, Requant

from tb.common.configs import OFFSET, PULSED, RAGGED, REFERENCED, SLICED, TINY, TWOS

if TYPE_CHECKING:
    from builders import Rng
    from twinor.config import Config
    from twinor.place import Steps

__all__ = ["CONFIGS", "SHIFTS", "plain_logits", "random_steps", "small_images", "tiled_network"]

SHARED = replace(
    TINY,
    name="tiny_shared",
    rows=10,
    cols=3,
    active_rows=3,
    cols_per_adc=3,
    in_lanes=5,
    weight_bits=4,
    cell_bits=3,
    max_rounds=2,
)
"""One ADC for all columns."""

CONFIGS = [replace(config, psum_bits=14) for config in (TINY, OFFSET, TWOS, SLICED, RAGGED, SHARED, PULSED, REFERENCED)]
"""Every encoding and slicing on small macros, with room for the partial sums of `tiled_network`."""

SHIFTS = {"conv1": 9, "conv2": 10, "fc1": 11, "fc2": 1}
"""Requantization shift of each layer: in the Verilog it tells which layer runs."""


def _requant(config: Config, rng: Rng, channels: int, rows: int, *, shift: int) -> Requant:
    """Outputs over the whole range of the next layer's inputs, some of them clipped at either end."""
    top = (1 << config.input_bits) - 1
    spread = np.sqrt(rows) * config.weight_max * top / 3
    mult = (rng.uniform(0.5, 1.5, channels) * (top << shift) / (1.5 * spread)).astype(np.int16) + 1
    mult[1::4] *= -1
    add = rng.uniform(-0.2, 0.6, channels) * (top << shift)
    return Requant(mult=mult, add=add.astype(np.int32), shift=shift, lo=0, hi=top)


def plain_logits(config: Config, rng: Rng, channels: int) -> Requant:
    """Accumulator plus bias, clipped to the accumulator's range."""
    bias, limit = rng.integers(-9, 10, channels), 1 << config.acc_bits - 1
    mult = np.full(channels, 2, dtype=np.int16)
    return Requant(mult=mult, add=(2 * bias + 1).astype(np.int32), shift=SHIFTS["fc2"], lo=-limit, hi=limit - 1)


def tiled_network(config: Config, rng: Rng) -> IntegerNetwork:
    """Two convolutions with uneven kernels, strides and paddings, a pool, and two linear layers.

    The widths follow the macro: every layer but the last has more columns than fit, and all have more rows.
    """
    wide, rows = config.out_cols + max(1, config.n_lanes // 2), config.rows

    def weight(channels: int, *shape: int) -> np.ndarray:
        flat = random_weights(config, rng, int(np.prod(shape)), channels)
        return flat.T.reshape(channels, *shape).astype(np.int8)

    first = 1 + rows // 6  # input channels of a 3 x 2 kernel: just more rows than fit
    second = -(-wide // 2)
    layers = (
        conv2d(
            name="conv1",
            weight=weight(wide, first, 3, 2),
            stride=(2, 1),
            padding=(1, 0),
            requant=_requant(config, rng, wide, first * 6, shift=SHIFTS["conv1"]),
        ),
        conv2d(
            name="conv2",
            weight=weight(second, wide, 1, 3),
            padding=(0, 1),
            requant=_requant(config, rng, second, wide * 3, shift=SHIFTS["conv2"]),
        ),
        max_pool2d(name="pool", kernel=(2, 2), stride=(1, 2)),
        Flatten(name="flatten"),
        Linear(
            name="fc1",
            weight=weight(rows + 1, 4 * second),
            requant=_requant(config, rng, rows + 1, 4 * second, shift=SHIFTS["fc1"]),
        ),
        Linear(name="fc2", weight=weight(3, rows + 1), requant=plain_logits(config, rng, 3)),
    )
    return IntegerNetwork(input_shape=(first, 5, 5), input_bits=config.input_bits, layers=layers)


def random_steps(config: Config, network: IntegerNetwork, rng: Rng) -> dict[str, Steps]:
    """Any steps that the hardware can set; one conversion for all input slices has one."""
    names = [layer.name for layer in network.layers if isinstance(layer, Conv | Linear)]
    rows, repeats = (1, config.x_slices) if config.analog_slices else (config.x_slices, 1)
    chosen = {name: rng.choice(config.steps, (rows, config.w_slices)).tolist() * repeats for name in names}
    return {name: tuple(map(tuple, steps)) for name, steps in chosen.items()}


def small_images(config: Config, network: IntegerNetwork, rng: Rng, *, count: int) -> np.ndarray:
    """Random images over the whole range of input codes."""
    return rng.integers(0, 1 << config.input_bits, (count, *network.input_shape))
