# SPDX-License-Identifier: Apache-2.0
"""An integer network: int4 weights, 4-bit activations and one requantization rule, numpy alone.

Every forward pass is integers only. A layer with weights ends in

    y = clip((acc * mult + add) >> shift, lo, hi)

with `acc` the exact dot product (or what the macro's ADC made of it), `mult` and `add` per output channel.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Conv2d", "Flatten", "IntegerNetwork", "Layer", "Linear", "MaxPool2d", "Requant", "WeightLayer"]

Ints = NDArray[np.integer]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv2d:
    """Convolution, zero padding, no groups, no dilation."""

    name: str
    weight: NDArray[np.int8]
    """int8[out, in, kernel_h, kernel_w]."""
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    requant: Requant


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """Fully connected layer; int8[out, in]."""

    name: str
    weight: NDArray[np.int8]
    requant: Requant


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool2d:
    """Maximum over codes, on the host; no padding."""

    name: str
    kernel: tuple[int, int]
    stride: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten:
    """(N, C, H, W) -> (N, C*H*W), on the host."""

    name: str


WeightLayer = Conv2d | Linear
Layer = Conv2d | Linear | MaxPool2d | Flatten


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerNetwork:
    """Layers in order; the last one's outputs are the logits.

    Attributes:
        input_shape: (channels, height, width) of one image.
        input_bits: bits of an input code; images are codes below `2**input_bits`.
        input_signed: images are codes in two's complement, -2**(input_bits - 1) and up.
        layers: names are unique.
    """

    input_shape: tuple[int, int, int]
    input_bits: int
    input_signed: bool = False
    layers: tuple[Layer, ...]
    provenance: dict[str, str] = field(default_factory=dict)

    def signed_inputs(self) -> dict[str, bool]:
        """Whether a layer with weights sees signed activations, by name: signed images or outputs below 0 come in."""
        signed, result = self.input_signed, {}
        for layer in self.layers:
            if isinstance(layer, Conv2d | Linear):
                result[layer.name] = signed
                signed = layer.requant.lo < 0
        return result
