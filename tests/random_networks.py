# SPDX-License-Identifier: Apache-2.0
"""Random integer networks: any kernels, strides, paddings and pools, any weights and rules that a macro takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from builders import random_weights
from layers import conv2d, max_pool2d
from twinor.network import Conv, Flatten, IntegerNetwork, Layer, Linear, Requant

if TYPE_CHECKING:
    from builders import Ints, Rng
    from twinor.config import Config

__all__ = ["random_images", "random_network"]

SHIFT = 11


def random_network(config: Config, rng: Rng) -> IntegerNetwork:
    """One or two convolutions, pools between them or not, and one or two linear layers that end in logits."""
    shape = (int(rng.integers(1, 4)), int(rng.integers(3, 7)), int(rng.integers(3, 7)))
    image, layers = shape, list[Layer]()
    for n in range(int(rng.integers(1, 3))):
        conv, shape = _conv(config, rng, f"conv{n}", shape)
        layers.append(conv)
        if rng.random() < 0.5:
            kernel = tuple(int(rng.integers(1, min(size, 3) + 1)) for size in shape[1:])
            stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
            layers.append(max_pool2d(name=f"pool{n}", kernel=kernel, stride=stride))
            shape = (shape[0], *((size - k) // s + 1 for size, k, s in zip(shape[1:], kernel, stride, strict=True)))
    layers.append(Flatten(name="flatten"))
    width = int(np.prod(shape))
    for n, channels in enumerate(rng.integers(1, 6, int(rng.integers(2))).tolist()):
        weight = _weight(config, rng, channels, width)
        layers.append(Linear(name=f"hidden{n}", weight=weight, requant=_hidden(config, rng, channels, width)))
        width = channels
    classes = int(rng.integers(1, 5))
    weight = _weight(config, rng, classes, width)
    layers.append(Linear(name="logits", weight=weight, requant=_logits(config, rng, classes)))
    signed = bool(rng.random() < 0.3)
    return IntegerNetwork(input_shape=image, input_bits=config.input_bits, input_signed=signed, layers=tuple(layers))


def random_images(network: IntegerNetwork, rng: Rng, count: int) -> Ints:
    """Codes over the whole range; the first image is all at the top, or at the bottom where codes are signed."""
    images = rng.integers(0, 1 << network.input_bits, (count, *network.input_shape))
    if network.input_signed:
        images -= 1 << network.input_bits - 1
    images[0] = images.min() if network.input_signed else (1 << network.input_bits) - 1
    return images


def _conv(config: Config, rng: Rng, name: str, shape: tuple[int, ...]) -> tuple[Conv, tuple[int, ...]]:
    channels = int(rng.integers(1, 6))
    padding = (int(rng.integers(3)), int(rng.integers(3)))
    stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    padded = [size + 2 * p for size, p in zip(shape[1:], padding, strict=True)]
    kernel = tuple(int(rng.integers(1, min(size, 3) + 1)) for size in padded)
    weight = _weight(config, rng, channels, shape[0], *kernel)
    rule = _hidden(config, rng, channels, int(np.prod(weight.shape[1:])))
    sizes = ((size - k) // s + 1 for size, k, s in zip(padded, kernel, stride, strict=True))
    return conv2d(name=name, weight=weight, stride=stride, padding=padding, requant=rule), (channels, *sizes)


def _weight(config: Config, rng: Rng, channels: int, *shape: int) -> Ints:
    return random_weights(config, rng, int(np.prod(shape)), channels).T.reshape(channels, *shape).astype(np.int8)


def _hidden(config: Config, rng: Rng, channels: int, rows: int) -> Requant:
    """Outputs over the whole range of the next layer's inputs, signed or not, some of them clipped at either end."""
    top = (1 << config.input_bits) - 1
    low = -(1 << config.input_bits - 1) if rng.random() < 0.3 else 0
    mult = rng.uniform(0.5, 2, channels) * (1 << SHIFT) / (np.sqrt(rows) * max(config.weight_max, -config.weight_min))
    mult = np.maximum(mult.astype(np.int16), 1) * rng.choice([1, 1, -1], channels).astype(np.int16)
    add = rng.uniform(-0.3, 0.7, channels) * (top << SHIFT) + (low << SHIFT)
    return Requant(mult=mult, add=add.astype(np.int32), shift=SHIFT, lo=low, hi=top + low)


def _logits(config: Config, rng: Rng, channels: int) -> Requant:
    """Accumulator plus bias, clipped to the accumulator's range."""
    bias, limit = rng.integers(-9, 10, channels), 1 << config.acc_bits - 1
    mult = np.full(channels, 2, dtype=np.int16)
    return Requant(mult=mult, add=(2 * bias + 1).astype(np.int32), shift=1, lo=-limit, hi=limit - 1)
