# SPDX-License-Identifier: Apache-2.0
"""From a trained quantized network to integer arrays and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from twinor.network import (
    IMAGES,
    AvgPool,
    Concat,
    Conv,
    Flatten,
    IntegerNetwork,
    Layer,
    Linear,
    MaxPool,
    Requant,
    Shortcut,
)
from twinor.quantize.hosted import QuantAvgPool, QuantConcat, QuantMaxPool
from twinor.quantize.modules import QuantConv, QuantLayer
from twinor.quantize.prepare import check_finite

if TYPE_CHECKING:
    from torch import Tensor, nn

    from twinor.quantize.network import QuantNetwork
    from twinor.quantize.requant import IntegerRule

__all__ = ["to_integer"]


@torch.no_grad()
def to_integer(model: QuantNetwork, *, provenance: dict[str, str] | None = None) -> IntegerNetwork:
    """Read weight codes and integer rules out of a quantized network.

    The integer network computes what `model.codes` computes in evaluation mode, number for number.

    Args:
        model: trained or calibrated; put into evaluation mode here.
        provenance: where it comes from, kept with the network.

    Returns:
        int8 weights, int16 multipliers, int32 addends; no float anywhere.

    Raises:
        NonFinite: if a parameter, statistic, threshold or clip is NaN or infinite.
    """
    model.eval()
    steps = {IMAGES: model.input_step}
    layers: list[Layer] = []
    for module in model.layers:
        check_finite(f"layer {module.name!r}", module)
        layer, step = _layer(module, steps)
        layers.append(layer)
        steps[layer.name] = step
    return IntegerNetwork(
        input_shape=model.input_shape,
        input_bits=model.input_bits,
        layers=tuple(layers),
        provenance=dict(provenance or {}),
    )


def _layer(module: nn.Module, steps: dict[str, Tensor]) -> tuple[Layer, Tensor]:
    """A layer and what one of its output codes is worth."""
    names: tuple[str, ...] = module.sources  # type: ignore[assignment]
    facts: dict[str, Any] = {"name": module.name, "sources": names}
    step = steps[names[0]]
    if isinstance(module, QuantLayer):
        return _weight_layer(module, steps)
    if isinstance(module, QuantMaxPool):
        w = module.window
        return MaxPool(kernel=w.kernel, stride=w.stride, padding=w.padding, dilation=w.gaps, **facts), step
    if isinstance(module, QuantAvgPool):
        w = module.window
        rule, step = module.rule(step)
        requant = None if rule is None else _requant(rule)
        return AvgPool(kernel=w.kernel, stride=w.stride, padding=w.padding, requant=requant, **facts), step
    return (Concat if isinstance(module, QuantConcat) else Flatten)(**facts), step


def _weight_layer(module: QuantLayer, steps: dict[str, Tensor]) -> tuple[Layer, Tensor]:
    main, *shortcut = module.sources
    rule, mult, step = module.rule(steps[main], steps[shortcut[0]] if shortcut else None)
    codes = module.threshold(module.weight)[0].cpu().numpy().astype(np.int8)
    facts: dict[str, Any] = {"name": module.name, "sources": (main,), "weight": codes, "requant": _requant(rule)}
    if mult is not None:
        facts["shortcut"] = Shortcut(source=shortcut[0], mult=mult.cpu().numpy().astype(np.int16))
    if not isinstance(module, QuantConv):
        return Linear(**facts), step
    w = module.window
    place: dict[str, Any] = {"stride": w.stride, "padding": w.padding, "dilation": w.gaps}
    return Conv(groups=module.groups, padding_mode=module.padding_mode, **place, **facts), step


def _requant(rule: IntegerRule) -> Requant:
    return Requant(
        mult=rule.mult.cpu().numpy().astype(np.int16),
        add=rule.add.cpu().numpy().astype(np.int32),
        shift=int(rule.shift),
        lo=rule.lo,
        hi=rule.hi,
    )
