# SPDX-License-Identifier: Apache-2.0
"""Shapes of what the layers of an integer network put out, and the first layer that cannot take what comes in."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from twinor.errors import PlacementError, UnsupportedLayer
from twinor.network import IMAGES, AvgPool, Concat, Conv, Flatten, Linear, MaxPool

if TYPE_CHECKING:
    from twinor.network import IntegerNetwork, Layer

__all__ = ["check_graph", "output_shapes"]

Shape = tuple[int, ...]


def check_graph(network: IntegerNetwork) -> None:
    """Refuse names that stand twice, sources that stand nowhere before, and shapes that do not fit.

    Raises:
        UnsupportedLayer: a layer is of no kind that an integer network has.
        PlacementError: names the layer and what is wrong.
    """
    for layer in network.layers:
        if not isinstance(layer, Conv | Linear | MaxPool | AvgPool | Concat | Flatten):
            raise UnsupportedLayer(
                f"layer {getattr(layer, 'name', '?')} is a {type(layer).__name__}: "
                "supported are Conv, Linear, MaxPool, AvgPool, Concat and Flatten"
            )
    names = [IMAGES, *(layer.name for layer in network.layers)]
    for name in names:
        if names.count(name) > 1:
            raise PlacementError(f"layer name {name} stands twice" + " (it means the images)" * (name == IMAGES))
    if not network.layers:
        raise PlacementError("the network has no layers")
    known, sources = {IMAGES}, network.sources()
    for layer in network.layers:
        if len(layer.sources) > 1 and not isinstance(layer, Concat):
            raise PlacementError(
                f"layer {layer.name} takes {len(layer.sources)} layers: expected one and, if any, a shortcut"
            )
        for source in sources[layer.name]:
            if source not in known:
                raise PlacementError(f"layer {layer.name} takes the outputs of {source}, which is no layer before it")
        known.add(layer.name)
    output_shapes(network)


def output_shapes(network: IntegerNetwork) -> dict[str, Shape]:
    """Shape of one image behind every layer, and of `images`.

    Raises:
        PlacementError: a layer does not take what its sources give.
    """
    shapes: dict[str, Shape] = {IMAGES: network.input_shape}
    sources = network.sources()
    for layer in network.layers:
        came = [shapes[name] for name in sources[layer.name]]
        shapes[layer.name] = _output_shape(layer, came)
        shortcut = getattr(layer, "shortcut", None)
        if shortcut and came[-1] != shapes[layer.name]:
            raise PlacementError(
                f"layer {layer.name} puts out shape {shapes[layer.name]}, its shortcut {shortcut.source} has {came[-1]}"
            )
    return shapes


def _output_shape(layer: Layer, came: list[Shape]) -> Shape:
    shape = came[0]
    if isinstance(layer, Flatten):
        return (prod(shape),)
    if isinstance(layer, Concat):
        if any(other[1:] != shape[1:] for other in came):
            raise PlacementError(f"layer {layer.name} joins shapes {came}: expected them to differ in channels alone")
        return (sum(other[0] for other in came), *shape[1:])
    if isinstance(layer, Linear):
        wanted = (layer.weight.shape[1],)
        if shape != wanted:
            raise PlacementError(f"layer {layer.name} takes images of shape {wanted}, the layer before gives {shape}")
        return (layer.weight.shape[0],)
    return _window_shape(layer, shape)


def _window_shape(layer: Conv | MaxPool | AvgPool, shape: Shape) -> Shape:
    if not 1 <= len(layer.kernel) <= 3:
        raise PlacementError(f"layer {layer.name} has {len(layer.kernel)} dimensions: expected 1, 2 or 3")
    channels = layer.weight.shape[1] * layer.groups if isinstance(layer, Conv) else shape[0]
    reach = [(k - 1) * d + 1 for k, d in zip(layer.kernel, layer.dilation, strict=True)]
    least = [r - sum(sides) for r, sides in zip(reach, layer.padding, strict=True)]
    fits = len(shape) == 1 + len(reach) and shape[0] == channels
    if not fits or any(n < smallest for n, smallest in zip(shape[1:], least, strict=True)):
        names = {1: ["length"], 2: ["height", "width"]}.get(len(reach), ["depth", "height", "width"])
        wanted = f"({channels}, {', '.join(names)}) of at least {' x '.join(str(max(n, 1)) for n in least)}"
        raise PlacementError(f"layer {layer.name} takes images of shape {wanted}, the layer before gives {shape}")
    if not isinstance(layer, Conv) and any(max(sides) >= r for sides, r in zip(layer.padding, reach, strict=True)):
        raise PlacementError(f"layer {layer.name}: padding {layer.padding} makes windows with nothing in them")
    if isinstance(layer, Conv) and layer.padding_mode in ("reflect", "circular"):
        most = [n - (layer.padding_mode == "reflect") for n in shape[1:]]
        if any(max(sides) > n for sides, n in zip(layer.padding, most, strict=True)):
            raise PlacementError(
                f"layer {layer.name}: {layer.padding_mode} padding {layer.padding} is wider than {shape}"
            )
    sizes = [
        (n + sum(sides) - r) // s + 1
        for n, sides, r, s in zip(shape[1:], layer.padding, reach, layer.stride, strict=True)
    ]
    return (layer.weight.shape[0] if isinstance(layer, Conv) else channels, *sizes)
