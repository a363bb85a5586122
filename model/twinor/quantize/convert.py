# SPDX-License-Identifier: Apache-2.0
"""From a trained quantized network to integer arrays and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from twinor.errors import ConfigError
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

__all__ = ["LOGIT_STEP", "integers_of", "to_integer"]

LOGIT_STEP = "logit_step"
"""Key of the provenance under which the real value of one count of the logits stands."""


def to_integer(model: QuantNetwork, *, provenance: dict[str, str] | None = None) -> IntegerNetwork:
    """Read weight codes and integer rules out of a quantized network.

    The integer network computes what `model.codes` computes in evaluation mode, number for number.
    Its classes are those of the largest logits; where probabilities are wanted, the host has them as

        probabilities = softmax(logit_step * logits)

    with `logit_step = float(network.provenance["logit_step"])`, one number for all classes.

    Args:
        model: trained or calibrated; put into evaluation mode here.
        provenance: where it comes from, kept with the network beside the step of the logits.

    Returns:
        int8 weights, int16 multipliers, int32 addends; no float anywhere but in the provenance.

    Raises:
        ConfigError: if the model was neither trained nor calibrated.
        NonFinite: if a parameter, statistic, threshold or clip is NaN or infinite.

    Example:
        >>> from twinor.quantize import quantize
        >>> images = torch.arange(16, dtype=torch.uint8).reshape(4, 4)
        >>> float_net = torch.nn.Sequential(torch.nn.Linear(4, 2))
        >>> net = to_integer(quantize(float_net, input_shape=(4,), calibration=images))
        >>> sorted(net.provenance), float(net.provenance["logit_step"]) > 0
        (['logit_step'], True)
    """
    for module in model.layers:
        check_finite(f"layer {module.name!r}", module)
        _check_set(module)
    return integers_of(model, provenance=provenance)


@torch.no_grad()
def integers_of(model: QuantNetwork, *, provenance: dict[str, str] | None = None) -> IntegerNetwork:
    """`to_integer` of a network as it is, in the midst of its training too.

    Args:
        model: put into evaluation mode here.
        provenance: as in `to_integer`.

    Raises:
        NonFinite: as in `to_integer`.
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
        provenance=dict(provenance or {}) | {LOGIT_STEP: repr(float(step))},
    )


def _check_set(module: nn.Module) -> None:
    """Refuse a threshold or a clip that nothing has set: neither samples nor a file."""
    for key in ("threshold", "clip"):
        part = getattr(module, key, None)
        if part is not None and any(p.requires_grad for p in part.parameters()) and int(part.samples) == 0:
            raise ConfigError(
                f"layer {module.name!r}: its {key} was never set, for the network was neither calibrated nor trained; "
                "give `quantize` calibration images, or train it with `train_quantized` first"
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
