# SPDX-License-Identifier: Apache-2.0
"""What the host does between macros, in golden integers: im2col, pooling, concatenation, flattening."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from twinor.network import IMAGES, AvgPool, Concat, Conv, Flatten, Linear, MaxPool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from twinor.network import IntegerNetwork, Layer, Requant, WeightLayer

    Ints = NDArray[np.integer]
    Compute = Callable[[WeightLayer, Ints, Ints | None], Ints]

__all__ = ["host_layer", "im2col", "layer_vectors", "narrow", "positions_last", "walk", "windows"]

NUMPY_PADDING = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
LOWEST = np.iinfo(np.int64).min
"""Below every code."""


def walk(network: IntegerNetwork, images: Ints, compute: Compute) -> Ints:
    """Every layer in order; values that no later layer takes are let go.

    Args:
        network: the integer network.
        images: codes, [images, *input_shape].
        compute: gives the outputs of a layer with weights for its inputs and the codes of its shortcut, if any.

    Returns:
        What the last layer puts out.
    """
    sources = network.sources()
    last_use = {name: index for index, layer in enumerate(network.layers) for name in sources[layer.name]}
    values: dict[str, Ints] = {IMAGES: images}
    for index, layer in enumerate(network.layers):
        came = [values[name] for name in sources[layer.name]]
        if isinstance(layer, Conv | Linear):
            values[layer.name] = compute(layer, came[0], came[-1] if layer.shortcut else None)
        else:
            values[layer.name] = host_layer(layer, came)
        for name in sources[layer.name]:
            if last_use[name] == index:
                values.pop(name, None)
    return values[network.layers[-1].name]


def host_layer(layer: Layer, inputs: Sequence[Ints]) -> Ints:
    """A layer without weights."""
    x = inputs[0]
    if isinstance(layer, MaxPool):
        pooled = windows(layer, x.astype(np.int64), outside=LOWEST).max(axis=_window_axes(layer))
        return np.asarray(pooled, dtype=x.dtype)
    if isinstance(layer, AvgPool):
        total = windows(layer, x, outside=0).sum(axis=_window_axes(layer), dtype=np.int64)
        return total if layer.requant is None else narrow(layer.requant, layer.requant(total))
    if isinstance(layer, Concat):
        return np.concatenate(inputs, axis=1)
    assert isinstance(layer, Flatten)
    return x.reshape(x.shape[0], -1)


def windows(layer: Conv | MaxPool | AvgPool, x: Ints, *, outside: int = 0) -> Ints:
    """All windows of a layer as a view, [images, channels, *positions, *kernel]; `outside` is what pads."""
    rank = len(layer.kernel)
    mode = NUMPY_PADDING[layer.padding_mode if isinstance(layer, Conv) else "zeros"]
    if any(side for sides in layer.padding for side in sides):
        fill = {"constant_values": outside} if mode == "constant" else {}
        x = np.pad(x, ((0, 0), (0, 0), *layer.padding), mode=mode, **fill)  # type: ignore[call-overload]
    reach = tuple((k - 1) * d + 1 for k, d in zip(layer.kernel, layer.dilation, strict=True))
    every = sliding_window_view(x, reach, axis=tuple(range(2, 2 + rank)))
    strides = tuple(slice(None, None, s) for s in layer.stride)
    gaps = tuple(slice(None, None, d) for d in layer.dilation)
    view: Ints = every[(slice(None), slice(None), *strides, *gaps)]
    return view


def narrow(rule: Requant, y: Ints) -> Ints:
    """Outputs of a rule in 16 bits, where they fit, so that images stay small."""
    return y.astype(np.int16 if rule.lo >= -(1 << 15) and rule.hi < 1 << 15 else np.int64)


def _window_axes(layer: MaxPool | AvgPool) -> tuple[int, ...]:
    return tuple(range(-len(layer.kernel), 0))


def im2col(layer: Conv, x: Ints) -> Ints:
    """Unfold images into the vectors that a convolution's word lines see.

    Args:
        layer: gives kernel, stride, dilation and padding.
        x: [images, channels, *sizes].

    Returns:
        [images, *positions, channels * kernel].
    """
    view, rank = windows(layer, x), len(layer.kernel)
    ordered = view.transpose(0, *range(2, 2 + rank), 1, *range(2 + rank, 2 + 2 * rank))
    return ordered.reshape(*ordered.shape[: 1 + rank], -1)


def layer_vectors(layer: WeightLayer, x: Ints) -> Ints:
    """Every vector that a layer's word lines see, [vectors, K]; K counts the inputs of all groups."""
    if isinstance(layer, Linear):
        return x
    unfolded = im2col(layer, x)
    return unfolded.reshape(-1, unfolded.shape[-1])


def positions_last(layer: WeightLayer, x: Ints, y: Ints) -> Ints:
    """Outputs [vectors, C] of images x as [images, C, *positions]."""
    if isinstance(layer, Linear):
        return y
    rank = len(layer.kernel)
    sizes = windows(layer, x[:1]).shape[2 : 2 + rank]
    return y.reshape(x.shape[0], *sizes, -1).transpose(0, 1 + rank, *range(1, 1 + rank))
