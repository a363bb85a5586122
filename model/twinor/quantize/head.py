# SPDX-License-Identifier: Apache-2.0
"""Another task for a trained network: transfer learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from twinor.errors import UnsupportedLayer
from twinor.quantize.modules import QuantConv, QuantLayer, QuantLinear
from twinor.quantize.thresholds import Phase

if TYPE_CHECKING:
    from twinor.quantize.network import QuantNetwork

__all__ = ["new_head"]


def new_head(network: QuantNetwork, classes: int, *, freeze: bool = True) -> None:
    """Give a quantized network a last layer with fresh weights for another task: transfer learning.

    Args:
        network: trained; changed in place and put into the phase in which thresholds and clips are sampled, then
            trained; train it on as any other (`train_quantized`).
        classes: logits of the new task.
        freeze: whether everything but the last layer stays as it is.

    Raises:
        UnsupportedLayer: the last layer with weights is no plain linear layer or convolution that makes the logits.

    Example:
        >>> import torch
        >>> from twinor.quantize import quantize
        >>> net = quantize(nn.Sequential(nn.Flatten(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3)), input_shape=(8,))
        >>> new_head(net, 7)
        >>> net(torch.zeros(2, 8)).shape, [p.requires_grad for p in net.layers[0].parameters()]
        (torch.Size([2, 7]), [False, False, False, False])
    """
    last = network.layers[-1]
    if not isinstance(last, QuantLayer) or not last.plain or last.groups > 1:
        raise UnsupportedLayer("the last layer is no plain linear layer or convolution, so no new one takes its place")
    fresh = nn.Linear(last.weight[0].numel(), classes, device=last.weight.device)
    facts: dict[str, Any] = {"name": last.name, "sources": last.sources, "clip": None, "literal": last.literal}
    facts["weight_bits"] = last.threshold.bits
    if isinstance(last, QuantConv):
        conv = nn.Conv2d(1, 1, 1)  # only its weights, groups and padding are read
        conv.weight = nn.Parameter(fresh.weight.detach().view(classes, *last.weight.shape[1:]))
        conv.bias, conv.padding_mode = fresh.bias, last.padding_mode
        made: QuantLayer = QuantConv(conv, None, last.window, **facts)
    else:
        made = QuantLinear(fresh, None, **facts)
    made.input_min, made.input_max = last.input_min, last.input_max
    if freeze:
        network.requires_grad_(False)
    network.layers[-1] = made.to(last.weight.device)
    network.train()
    for layer in network.weight_layers():
        phase = Phase.SAMPLE if layer is made or not freeze else Phase.FREEZE
        layer.threshold.phase = phase
        if layer.clip is not None:
            layer.clip.phase = phase
