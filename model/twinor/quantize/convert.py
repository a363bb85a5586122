# SPDX-License-Identifier: Apache-2.0
"""From a trained quantized network to integer arrays and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from twinor.network import Conv2d, Flatten, IntegerNetwork, Layer, Linear, MaxPool2d, Requant
from twinor.quantize.modules import QuantConv2d, QuantLayer, QuantMaxPool2d, QuantNetwork
from twinor.quantize.prepare import check_finite

if TYPE_CHECKING:
    from twinor.quantize.requant import IntegerRule

__all__ = ["to_integer"]


@torch.no_grad()
def to_integer(model: QuantNetwork, *, provenance: dict[str, str] | None = None) -> IntegerNetwork:
    """Read weight codes and integer rules out of a quantized network.

    The integer network computes what `model.codes` computes in evaluation mode, number for number.

    Args:
        model: trained; put into evaluation mode here.
        provenance: where it comes from, kept with the network.

    Returns:
        int8 weights, int16 multipliers, int32 addends; no float anywhere.

    Raises:
        NonFinite: if a parameter, statistic, threshold or clip is NaN or infinite.
    """
    model.eval()
    step = model.input_step
    layers: list[Layer] = []
    for layer in model.layers:
        if isinstance(layer, QuantLayer):
            check_finite(layer.name, layer)
            rule, step = layer.rule(step)
            layers.append(_weight_layer(layer, _requant(rule)))
        elif isinstance(layer, QuantMaxPool2d):
            layers.append(MaxPool2d(name=layer.name, kernel=layer.kernel, stride=layer.stride))
        else:
            layers.append(Flatten(name=str(layer.name)))
    return IntegerNetwork(
        input_shape=model.input_shape,
        input_bits=model.input_bits,
        layers=tuple(layers),
        provenance=dict(provenance or {}),
    )


def _weight_layer(layer: QuantLayer, requant: Requant) -> Conv2d | Linear:
    codes = layer.threshold(layer.weight)[0].cpu().numpy().astype(np.int8)
    if isinstance(layer, QuantConv2d):
        return Conv2d(name=layer.name, weight=codes, stride=layer.stride, padding=layer.padding, requant=requant)
    return Linear(name=layer.name, weight=codes, requant=requant)


def _requant(rule: IntegerRule) -> Requant:
    return Requant(
        mult=rule.mult.cpu().numpy().astype(np.int16),
        add=rule.add.cpu().numpy().astype(np.int32),
        shift=int(rule.shift),
        lo=rule.lo,
        hi=rule.hi,
    )
