# SPDX-License-Identifier: Apache-2.0
"""Layers that compute on integer codes in training and evaluation alike, and know their integer rule.

    acc = conv(input codes, weight codes)                    integers, exact in float32 below 2**24
    y   = clip((acc * mult + add) >> shift, lo, hi)          forward
    y   ~ clip(scale * acc + offset, lo, hi)                 backward

Scale and offset are real numbers made of steps and batch norm; mult, add and shift are made of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from twinor.quantize.clip import ACTIVATION_MAX, LearnableClip
from twinor.quantize.requant import IntegerRule, integer_rule, logits_rule, straight_through
from twinor.quantize.thresholds import WEIGHT_MAX, Phase, WeightThreshold

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Codes",
    "QuantConv2d",
    "QuantFlatten",
    "QuantLayer",
    "QuantLinear",
    "QuantMaxPool2d",
    "QuantNetwork",
]


class Codes(NamedTuple):
    """Integer-valued activations and what one count is worth."""

    values: Tensor
    """float32[N, C, ...], integer-valued."""
    step: Tensor
    """float32[]: real value of code 1."""


class QuantLayer(nn.Module):
    """Weights, batch norm, threshold and clip of one layer; subclasses say how they accumulate.

    Attributes:
        name: unique in the network.
        weight: float32[out, in, ...], trained; the macro sees its codes.
        bias: float32[out] or None.
        norm: batch norm whose figures end up in requantization, or None.
        clip: learnable clip of the ReLU, or None for the logits.
        input_max: largest code that comes in.
    """

    def __init__(
        self,
        layer: nn.Conv2d | nn.Linear,
        norm: nn.BatchNorm2d | None,
        *,
        name: str,
        logits: bool,
        input_max: int,
    ) -> None:
        """Take over the parameters of a float layer; the float layer itself is left as it is.

        Args:
            layer: convolution or linear layer.
            norm: the batch norm after it, if any.
            name: unique in the network.
            logits: whether its outputs are the logits: one threshold for all channels, no clip.
            input_max: largest code that comes in.
        """
        super().__init__()
        self.name = name
        self.weight = nn.Parameter(layer.weight.detach().float().clone())
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().float().clone())
        self.norm = None if norm is None else _copy(norm)
        self.threshold = WeightThreshold(len(self.weight), common=logits)
        self.clip = None if logits else LearnableClip()
        self.input_max = input_max

    @property
    def acc_max(self) -> int:
        """Bound of |acc|: every weight and every input at its largest code."""
        return self.input_max * WEIGHT_MAX * (self.weight.numel() // len(self.weight))

    def accumulate(self, values: Tensor, weight: Tensor) -> Tensor:
        """Dot products of codes with weight codes, float32[N, out, ...], integer-valued."""
        raise NotImplementedError

    def forward(self, x: Codes) -> Codes:
        """Codes in, codes out, by the integer rule; gradients by the real one."""
        weight, weight_step = self.threshold(self.weight)
        acc = self.accumulate(x.values, weight)
        unit = weight_step.double() * x.step.double()
        if self.clip is None:
            return Codes(self._logits(acc, unit), unit.float().squeeze())
        scale, offset = self._real(unit, acc)
        shape = [1, -1] + [1] * (acc.dim() - 2)
        if self.training and self.clip.phase is Phase.SAMPLE:
            self.clip.observe(acc * scale.float().view(shape) + offset.float().view(shape))
        step = self.clip.step()
        scale, offset = scale / step.double(), offset / step.double()
        path = acc * scale.float().view(shape) + offset.float().view(shape)
        value = self._hidden_rule(scale, offset)(acc)
        return Codes(straight_through(value, path.clamp(0, ACTIVATION_MAX)), step)

    @torch.no_grad()
    def rule(self, input_step: Tensor) -> tuple[IntegerRule, Tensor]:
        """The integer rule in evaluation, number for number what `forward` applies then, and the output step.

        Args:
            input_step: float32[], what code 1 of the input is worth.
        """
        unit = self.threshold.step().double() * input_step.double()
        if self.clip is None:
            return logits_rule(self._bias() / unit), unit.float().squeeze()
        scale, offset = self._real(unit, None)
        step = self.clip.step()
        return self._hidden_rule(scale / step.double(), offset / step.double()), step

    def _logits(self, acc: Tensor, unit: Tensor) -> Tensor:
        counts = self._bias() / unit
        path = acc + counts.float().view([1, -1] + [1] * (acc.dim() - 2))
        return straight_through(logits_rule(counts)(acc), path)

    def _hidden_rule(self, scale: Tensor, offset: Tensor) -> IntegerRule:
        return integer_rule(scale, offset, acc_max=self.acc_max, lo=0, hi=ACTIVATION_MAX)

    def _bias(self) -> Tensor:
        if self.bias is None:
            return torch.zeros(len(self.weight), dtype=torch.float64, device=self.weight.device)
        return self.bias.double()

    def _real(self, unit: Tensor, acc: Tensor | None) -> tuple[Tensor, Tensor]:
        """Scale and offset, float64[C], of the value before the ReLU: `z = scale * acc + offset`."""
        unit = unit.expand(len(self.weight))
        if self.norm is None:
            return unit, self._bias()
        mean, var = self._statistics(unit, acc)
        slope = torch.rsqrt(var + self.norm.eps)
        offset = (self._bias() - mean) * slope
        if self.norm.affine:
            gamma, beta = self.norm.weight.double(), self.norm.bias.double()
            slope, offset = slope * gamma, offset * gamma + beta
        return unit * slope, offset

    def _statistics(self, unit: Tensor, acc: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and variance of `unit * acc + bias`: of this batch while training, else the running ones."""
        norm = self.norm
        assert norm is not None and norm.running_mean is not None and norm.running_var is not None
        if acc is None or not self.training or self.threshold.phase is Phase.FREEZE:
            return norm.running_mean.double(), norm.running_var.double()
        axes = [0, *range(2, acc.dim())]
        var, mean = torch.var_mean(acc, dim=axes, unbiased=False)
        mean, var = mean.double() * unit + self._bias(), var.double() * unit.square()
        with torch.no_grad():
            count = acc.numel() / acc.shape[1]
            momentum = 0.1 if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean.float(), momentum)
            norm.running_var.lerp_((var * count / max(count - 1, 1)).float(), momentum)
        return mean, var


def _copy(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    twin = nn.BatchNorm2d(norm.num_features, eps=norm.eps, momentum=norm.momentum, affine=norm.affine)
    twin.load_state_dict(norm.state_dict())
    return twin.to(norm.running_mean.device if norm.running_mean is not None else None)


class QuantConv2d(QuantLayer):
    """Convolution of codes, zero padding, no groups, no dilation."""

    def __init__(
        self, layer: nn.Conv2d, norm: nn.BatchNorm2d | None, *, name: str, logits: bool, input_max: int
    ) -> None:
        """As `QuantLayer`, with the stride and padding of `layer`."""
        super().__init__(layer, norm, name=name, logits=logits, input_max=input_max)
        self.stride = _pair(layer.stride)
        self.padding = _pair(layer.padding)

    def accumulate(self, values: Tensor, weight: Tensor) -> Tensor:
        """float32[N, in, H, W] and float32[out, in, kh, kw] to float32[N, out, H', W']."""
        return functional.conv2d(values, weight, stride=self.stride, padding=self.padding)


class QuantLinear(QuantLayer):
    """Matrix product of codes."""

    def accumulate(self, values: Tensor, weight: Tensor) -> Tensor:
        """float32[N, in] and float32[out, in] to float32[N, out]."""
        return functional.linear(values, weight)


class QuantMaxPool2d(nn.Module):
    """Maximum over codes, without padding."""

    def __init__(self, *, name: str, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        """Keep the window and the distance between windows, in pixels."""
        super().__init__()
        self.name, self.kernel, self.stride = name, kernel, stride

    def forward(self, x: Codes) -> Codes:
        """Codes[N, C, H, W] to Codes[N, C, H', W'] of the same step."""
        return Codes(functional.max_pool2d(x.values, self.kernel, self.stride), x.step)


class QuantFlatten(nn.Module):
    """(N, C, H, W) to (N, C*H*W)."""

    def __init__(self, *, name: str) -> None:
        """Keep the name."""
        super().__init__()
        self.name = name

    def forward(self, x: Codes) -> Codes:
        """Codes[N, C, H, W] to Codes[N, C*H*W] of the same step."""
        return Codes(x.values.flatten(1), x.step)


class QuantNetwork(nn.Module):
    """Quantized layers in order.

    Attributes:
        input_shape: (channels, height, width).
        input_bits: bits of an image code.
        input_step: float32[], real value of image code 1.
    """

    input_step: Tensor

    def __init__(
        self,
        layers: list[nn.Module],
        *,
        input_shape: tuple[int, int, int],
        input_bits: int,
        input_step: float,
    ) -> None:
        """Chain the layers; `quantize` makes them from a float network."""
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.input_shape, self.input_bits = input_shape, input_bits
        self.register_buffer("input_step", torch.tensor(input_step))

    def weight_layers(self) -> Iterator[QuantLayer]:
        """Convolutions and linear layers, first to last."""
        return (layer for layer in self.layers if isinstance(layer, QuantLayer))

    def set_phase(self, phase: Phase) -> None:
        """Tell every threshold and clip what sets it from now on."""
        for module in self.modules():
            if isinstance(module, WeightThreshold | LearnableClip):
                module.phase = phase

    def codes(self, images: Tensor) -> Codes:
        """Logits as integer counts, with their step.

        Args:
            images: uint8 or float[N, C, H, W], integer-valued codes.
        """
        x = Codes(images.float(), self.input_step)
        for layer in self.layers:
            x = layer(x)
        return x

    def forward(self, images: Tensor) -> Tensor:
        """Real logits float32[N, classes] of image codes [N, C, H, W]."""
        logits = self.codes(images)
        return logits.values * logits.step


def _pair(value: int | tuple[int, ...] | str) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    assert not isinstance(value, str), "prepare refuses padding by name"
    return value[0], value[1]
