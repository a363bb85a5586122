# SPDX-License-Identifier: Apache-2.0
"""An integer network: int4 weights, 4-bit activations and one requantization rule, numpy alone.

Every forward pass is integers only. A layer with weights ends in

    y = clip((acc * mult + add) >> shift, lo, hi)

with `acc` the exact dot product (or what the macro's ADC made of it) plus, where a shortcut comes in, its codes times
an integer per output channel.
Layers stand in an order in which they can be computed; each names the layers whose outputs it takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = [
    "IMAGES",
    "PADDING_MODES",
    "AvgPool",
    "Concat",
    "Conv",
    "Flatten",
    "IntegerNetwork",
    "Layer",
    "Linear",
    "MaxPool",
    "Requant",
    "Shortcut",
    "Sides",
    "WeightLayer",
]

IMAGES = "images"
"""Source of a layer that takes the network's images."""

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
"""What stands beside an image, by PyTorch's names."""

Sides = tuple[tuple[int, int], ...]
"""Padding before and after the image, by dimension."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requant:
    """Parameters of `y = clip((acc * mult + add) >> shift, lo, hi)` for C output channels."""

    mult: NDArray[np.int16]
    """int16[C]: signed multiplier per output channel."""
    add: NDArray[np.int32]
    """int32[C]: bias, batch norm and the rounding half `1 << (shift - 1)`."""
    shift: int
    """Arithmetic right shift, at least 1."""
    lo: int
    hi: int

    def __call__(self, acc: NDArray[np.integer]) -> NDArray[np.int64]:
        """The rule on accumulators [N, C, ...], exactly.

        Example:
            >>> one = np.array([1])
            >>> half = Requant(mult=one.astype(np.int16), add=one.astype(np.int32), shift=1, lo=0, hi=9)
            >>> half(np.array([[3], [40]])).ravel().tolist()
            [2, 9]
        """
        shape = (1, -1) + (1,) * (acc.ndim - 2)
        mult, add = (table.astype(np.int64).reshape(shape) for table in (self.mult, self.add))
        y: NDArray[np.int64] = np.clip((acc.astype(np.int64) * mult + add) >> self.shift, self.lo, self.hi)
        return y


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """Codes that are added to the accumulator of a layer, each times the integer of its output channel."""

    source: str
    """Name of the layer whose outputs they are, of the shape of this layer's outputs."""
    mult: NDArray[np.int16]
    """int16[C]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """Convolution of any rank: 1d, 2d, 3d, grouped, strided, dilated, padded."""

    name: str
    weight: NDArray[np.int8]
    """int8[out, in / groups, *kernel]."""
    stride: tuple[int, ...]
    padding: Sides
    dilation: tuple[int, ...]
    groups: int = 1
    padding_mode: str = "zeros"
    requant: Requant
    sources: tuple[str, ...] = ()
    shortcut: Shortcut | None = None

    @property
    def kernel(self) -> tuple[int, ...]:
        """Size of the window, by dimension."""
        return self.weight.shape[2:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """Fully connected layer; int8[out, in]."""

    name: str
    weight: NDArray[np.int8]
    requant: Requant
    sources: tuple[str, ...] = ()
    shortcut: Shortcut | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool:
    """Maximum over codes, on the host; what pads a window never wins."""

    name: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Sides
    dilation: tuple[int, ...]
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AvgPool:
    """Sum over windows of codes, on the host; padding counts as code 0.

    The rule (one mult and add for all channels) makes codes of the sums; without one they leave as they are.
    """

    name: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Sides
    requant: Requant | None
    sources: tuple[str, ...] = ()

    @property
    def dilation(self) -> tuple[int, ...]:
        """Windows have no gaps."""
        return (1,) * len(self.kernel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat:
    """Channels of several layers one behind the other, on the host; their codes are worth the same."""

    name: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten:
    """(N, C, ...) -> (N, C * ...), on the host."""

    name: str
    sources: tuple[str, ...] = ()


WeightLayer = Conv | Linear
Layer = Conv | Linear | MaxPool | AvgPool | Concat | Flatten
Codes = tuple[int, int]
"""Lowest and highest code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerNetwork:
    """Layers in an order in which they can be computed; the last one's outputs are the logits.

    Attributes:
        input_shape: shape of one image, channels first.
        input_bits: bits of an input code; images are codes below `2**input_bits`.
        input_signed: images are codes in two's complement, -2**(input_bits - 1) and up.
        layers: names are unique, and none is `images`; a layer without sources takes what the one before puts out.
    """

    input_shape: tuple[int, ...]
    input_bits: int
    input_signed: bool = False
    layers: tuple[Layer, ...]
    provenance: dict[str, str] = field(default_factory=dict)

    def sources(self) -> dict[str, tuple[str, ...]]:
        """Names of the layers, or `images`, whose outputs each layer takes; a shortcut's comes last."""
        result, before = {}, IMAGES
        for layer in self.layers:
            shortcut = getattr(layer, "shortcut", None)
            result[layer.name] = (layer.sources or (before,)) + ((shortcut.source,) if shortcut else ())
            before = layer.name
        return result

    def weight_layers(self) -> Iterator[WeightLayer]:
        """Those that lie on macros, in order."""
        return (layer for layer in self.layers if isinstance(layer, Conv | Linear))

    def ranges(self) -> dict[str, Codes]:
        """Lowest and highest code that each layer, and `images`, can put out."""
        low = -(1 << (self.input_bits - 1)) if self.input_signed else 0
        result, sources = {IMAGES: (low, low + (1 << self.input_bits) - 1)}, self.sources()
        for layer in self.layers:
            came = [result[name] for name in sources[layer.name]]
            rule = getattr(layer, "requant", None)
            if rule is not None:
                result[layer.name] = (rule.lo, rule.hi)
            elif isinstance(layer, AvgPool):
                size = prod(layer.kernel)
                result[layer.name] = (min(0, came[0][0] * size), came[0][1] * size)
            else:
                result[layer.name] = (min(low for low, _ in came), max(high for _, high in came))
        return result

    def input_ranges(self) -> dict[str, Codes]:
        """Lowest and highest activation that each layer with weights can see, by name."""
        ranges, sources = self.ranges(), self.sources()
        return {layer.name: ranges[sources[layer.name][0]] for layer in self.weight_layers()}
