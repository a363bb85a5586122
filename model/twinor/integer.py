# SPDX-License-Identifier: Apache-2.0
"""Integer networks as they are, without a macro: exact dot products in torch, for whole data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from twinor.fast import exact_dtype
from twinor.host import narrow, walk
from twinor.network import Conv
from twinor.run import check_images

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.network import IntegerNetwork, WeightLayer

    Ints = NDArray[np.integer]

__all__ = ["accumulators", "logits"]

CONVOLVE = (functional.conv1d, functional.conv2d, functional.conv3d)
BATCH = 250
"""Images at a time."""


def logits(network: IntegerNetwork, images: Ints) -> NDArray[np.int64]:
    """What the network puts out, int64[images, classes], if every accumulator is the exact dot product.

    Args:
        network: the integer network.
        images: codes, [images, *input_shape].

    Raises:
        TwinorError: the network does not take such images.
    """
    check_images(network, images)
    ranges = network.input_ranges()

    def compute(layer: WeightLayer, x: Ints, codes: Ints | None) -> Ints:
        acc = accumulators(layer, x, codes, largest=max(map(abs, ranges[layer.name])))
        return narrow(layer.requant, layer.requant(acc))

    parts = [walk(network, images[n : n + BATCH], compute) for n in range(0, max(len(images), 1), BATCH)]
    return np.concatenate(parts).astype(np.int64)


def accumulators(layer: WeightLayer, x: Ints, codes: Ints | None, *, largest: int) -> NDArray[np.int64]:
    """Exact dot products and shortcut, int64[images, channels, *positions].

    Args:
        layer: a layer with weights.
        x: its inputs.
        codes: of its shortcut, if it has one.
        largest: largest magnitude of an input, which decides the float type that holds every sum exactly.
    """
    dtype = exact_dtype(
        largest * int(np.abs(layer.weight.reshape(len(layer.weight), -1).astype(np.int64)).sum(1).max())
    )
    values, weight = torch.from_numpy(x).to(dtype), torch.from_numpy(layer.weight).to(dtype)
    if isinstance(layer, Conv):
        sides = [n for pair in reversed(layer.padding) for n in pair]  # torch pads the last dimension first
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padded = functional.pad(values, sides, mode=mode) if any(sides) else values
        convolve = CONVOLVE[len(layer.kernel) - 1]
        acc = convolve(padded, weight, None, layer.stride, 0, layer.dilation, layer.groups)
    else:
        acc = functional.linear(values, weight)
    result: NDArray[np.int64] = acc.round().to(torch.int64).numpy()
    if layer.shortcut is not None and codes is not None:
        shape = (1, -1) + (1,) * (result.ndim - 2)
        result = result + layer.shortcut.mult.astype(np.int64).reshape(shape) * codes
    return result
