# SPDX-License-Identifier: Apache-2.0
"""Layers that compute on integer codes in training and evaluation alike, and know their integer rule.

    acc = conv(input codes, weight codes) + r * shortcut codes      integers, exact in float32 below 2**24
    y   = clip((acc * mult + add) >> shift, lo, hi)                 forward
    y   ~ clip(scale * acc + offset, lo, hi)                        backward

Scale and offset are real numbers made of steps and batch norm; mult, add, shift and r are made of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from twinor.quantize.clip import ACTIVATION_MAX
from twinor.quantize.literal import AsymmetricThreshold, bias_codes
from twinor.quantize.requant import (
    LOGIT_MAX,
    SHORTCUT_MAX,
    IntegerRule,
    at_least,
    integer_rule,
    logits_rule,
    matched,
    requantize,
    shaped,
    straight_through,
    with_shortcut,
)
from twinor.quantize.thresholds import WEIGHT_BITS, Phase, WeightThreshold

if TYPE_CHECKING:
    from twinor.quantize.clip import LearnableClip
    from twinor.quantize.macro import Macro
    from twinor.quantize.windows import Window

__all__ = ["Codes", "QuantConv", "QuantLayer", "QuantLinear", "sides_of"]

CONVOLVE = (functional.conv1d, functional.conv2d, functional.conv3d)


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
        sources: names of the layers, or `images`, that it takes; a shortcut's comes last.
        weight: float32[out, in, ...], trained; the macro sees its codes.
        bias: float32[out] or None.
        norm: batch norm whose figures end up in requantization, or None.
        clip: learnable clip, shared where layers are joined, or None for the logits.
        relu: whether outputs below 0 are cut off.
        limit: largest real output, None for any.
        phase: what the batch norm uses: statistics of the batch, until `Phase.FREEZE`.
        input_min: lowest code that comes in.
        input_max: largest magnitude of a code that comes in.
        shortcut_max: largest magnitude of a code of the shortcut, 0 without one.
        groups: of a convolution.
        matched: outputs begin at exactly the accumulators at which those of the real rule do; for networks that
            were trained elsewhere.
        macro: computes the accumulators as a macro's ADCs would; None for exact ones.
    """

    groups = 1

    def __init__(
        self,
        layer: nn.Module,
        norm: nn.Module | None,
        *,
        name: str,
        sources: tuple[str, ...],
        clip: LearnableClip | None,
        relu: bool = False,
        limit: float | None = None,
        shortcut: bool = False,
        fixed: bool = False,
        literal: bool = False,
        weight_bits: int = WEIGHT_BITS,
    ) -> None:
        """Take over the parameters of a float layer; the float layer itself is left as it is.

        Args:
            layer: convolution or linear layer.
            norm: the batch norm after it, if any.
            name: unique in the network.
            sources: names of the layers that it takes.
            clip: of its outputs; None for the logits, which have one threshold for all channels.
            relu: whether outputs are cut off at 0.
            limit: largest real output, that of a ReLU6; None for any.
            shortcut: whether a shortcut comes in.
            fixed: weights of 1, which stay.
            literal: weights and biases as the original has them, see `literal`.
            weight_bits: of the codes of its weights.
        """
        super().__init__()
        assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear)
        self.name, self.sources, self.relu, self.limit = name, sources, relu, limit
        self.weight = nn.Parameter(layer.weight.detach().float().clone(), requires_grad=not fixed)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().float().clone())
        self.norm = None if norm is None else _copy(norm)
        self.clip = clip
        plain = clip is None and norm is None and not shortcut
        self.threshold = WeightThreshold(len(self.weight), common=plain or fixed, bits=weight_bits)
        self.literal = literal and not fixed
        if self.literal:
            self.threshold = AsymmetricThreshold()
        if fixed:
            self.threshold.log2_t.requires_grad_(False)
        self.shortcut, self.phase = shortcut, Phase.SAMPLE
        self.input_min, self.input_max, self.shortcut_max = 0, ACTIVATION_MAX, 0
        self.macro: Macro | None = None
        self.matched = False

    @property
    def acc_max(self) -> int:
        """Bound of |acc|: every weight, every input and every residual code at its largest."""
        return self.input_max * self.threshold.largest * self.weight[0].numel() + SHORTCUT_MAX * self.shortcut_max

    @property
    def plain(self) -> bool:
        """True for logits that are the accumulator plus a bias: one threshold makes those of all classes comparable."""
        alone = self.clip is None and self.norm is None and not self.shortcut
        return alone and self.threshold.log2_t.numel() == 1

    def accumulate(self, values: Tensor, weight: Tensor) -> Tensor:
        """Dot products of codes with weight codes, float32[N, out, ...], as the macro gives them if there is one.

        Gradients are those of the exact products.
        """
        acc = self.dot(values, weight)
        return acc if self.macro is None else straight_through(self.macro(self, values, weight), acc)

    def padded(self, values: Tensor) -> Tensor:
        """Codes with what stands beside the image."""
        return values

    def dot(self, values: Tensor, weight: Tensor) -> Tensor:
        """Exact dot products, integer-valued."""
        raise NotImplementedError

    def dot_dense(self, padded: Tensor, weight: Tensor) -> Tensor:
        """The same of codes that are padded, with weights for all their channels, whatever the groups."""
        raise NotImplementedError

    def forward(self, x: Codes, shortcut: Codes | None = None) -> Codes:
        """Codes in, codes out, by the integer rule; gradients by the real one."""
        weight, weight_step = self.threshold(self.weight)
        acc = self.accumulate(x.values, weight)
        scale, offset = self._real(weight_step.double() * x.step.double(), acc)
        if self.clip is not None and (self.clip.observing or (self.training and self.clip.phase is Phase.SAMPLE)):
            z = torch.addcmul(shaped(offset.float(), acc), acc, shaped(scale.float(), acc))
            self.clip.observe(z if shortcut is None else z + shortcut.values * shortcut.step)
        step = self._step(scale)
        per_count, offset = scale / step.double(), offset / step.double()
        if shortcut is None:
            rule = self._rule(per_count, offset, step)
            return Codes(requantize(acc, per_count, offset, rule, exact=not self.training), step)
        gain = shortcut.step / step
        rule, r = with_shortcut(self._rule(at_least(per_count, gain), offset, step), gain)
        added = (shortcut.values, gain, r)
        return Codes(requantize(acc, per_count, offset, rule, shortcut=added, exact=not self.training), step)

    @torch.no_grad()
    def rule(
        self, input_step: Tensor, shortcut_step: Tensor | None = None
    ) -> tuple[IntegerRule, Tensor | None, Tensor]:
        """The integer rule in evaluation, number for number what `forward` applies then.

        Args:
            input_step: float32[], what code 1 of the input is worth.
            shortcut_step: the same of the shortcut, if there is one.

        Returns:
            The rule, the multipliers of the shortcut's codes, and what one output code is worth.
        """
        scale, offset = self._real(self.threshold.step().double() * input_step.double(), None)
        step = self._step(scale)
        per_count, offset = scale / step.double(), offset / step.double()
        if shortcut_step is None:
            return self._rule(per_count, offset, step), None, step
        gain = shortcut_step / step
        rule, r = with_shortcut(self._rule(at_least(per_count, gain), offset, step), gain)
        return rule, r, step

    @property
    def lowest(self) -> int:
        """Lowest code that it puts out."""
        if self.relu:
            return 0
        return -LOGIT_MAX - 1 if self.clip is None else self.clip.lo

    def _step(self, scale: Tensor) -> Tensor:
        """What one output code is worth; one count of logits is worth the largest scale."""
        return scale.detach().abs().max().float() if self.clip is None else self.clip.step()

    def _rule(self, per_count: Tensor, offset: Tensor, step: Tensor) -> IntegerRule:
        highest = LOGIT_MAX if self.clip is None else self.clip.hi
        if self.limit is not None:
            highest = min(highest, int(self.limit / float(step.detach()) + 0.5))
        if self.plain:
            return logits_rule(offset, lo=self.lowest)._replace(hi=highest)
        rule = integer_rule(per_count, offset, acc_max=self.acc_max, lo=self.lowest, hi=highest)
        exact = self.matched and self.clip is not None and not self.shortcut
        return matched(rule, per_count, offset, acc_max=self.acc_max) if exact else rule

    def _bias(self) -> Tensor:
        if self.bias is None:
            return torch.zeros(len(self.weight), dtype=torch.float64, device=self.weight.device)
        return self.bias.double()

    def _real(self, unit: Tensor, acc: Tensor | None) -> tuple[Tensor, Tensor]:
        """Scale and offset, float64[C], of the value before clip and shortcut: `z = scale * acc + offset`."""
        scale, offset = self._affine(unit.expand(len(self.weight)), acc)
        return scale, bias_codes(offset) if self.literal else offset

    def _affine(self, unit: Tensor, acc: Tensor | None) -> tuple[Tensor, Tensor]:
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
        if acc is None or not self.training or self.phase is Phase.FREEZE:
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


def _copy(norm: nn.Module) -> nn.BatchNorm2d:
    """The same figures as a batch norm of one type; only its figures are used."""
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
    twin = nn.BatchNorm2d(norm.num_features, eps=norm.eps, momentum=norm.momentum, affine=norm.affine)
    twin.load_state_dict(norm.state_dict())
    return twin.to(norm.running_mean.device if norm.running_mean is not None else None)


class QuantConv(QuantLayer):
    """Convolution of codes, of any rank."""

    def __init__(self, layer: nn.Module, norm: nn.Module | None, window: Window, **facts: object) -> None:
        """As `QuantLayer`, with the groups and padding mode of `layer` and the window that `conv_window` made of it."""
        super().__init__(layer, norm, **facts)  # type: ignore[arg-type]
        assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        self.window, self.groups, self.padding_mode = window, layer.groups, layer.padding_mode

    def padded(self, values: Tensor) -> Tensor:
        """float32[N, in, ...] with what stands beside the image."""
        if not any(map(any, self.window.padding)):
            return values
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return functional.pad(values, sides_of(self.window), mode=mode)

    def dot(self, values: Tensor, weight: Tensor) -> Tensor:
        """float32[N, in, ...] and float32[out, in / groups, ...] to float32[N, out, ...]."""
        padding = self.window.padding
        if self.padding_mode == "zeros" and all(before == after for before, after in padding):
            return self._convolve(values, weight, self.groups, tuple(before for before, _ in padding))
        return self._convolve(self.padded(values), weight, self.groups)

    def dot_dense(self, padded: Tensor, weight: Tensor) -> Tensor:
        """float32[N, C, ...] and float32[out, C, ...] to float32[N, out, ...]."""
        return self._convolve(padded, weight, 1)

    def _convolve(self, values: Tensor, weight: Tensor, groups: int, padding: tuple[int, ...] | int = 0) -> Tensor:
        w = self.window
        result: Tensor = CONVOLVE[len(w.kernel) - 1](values, weight, None, w.stride, padding, w.gaps, groups)
        return result


class QuantLinear(QuantLayer):
    """Matrix product of codes."""

    def dot(self, values: Tensor, weight: Tensor) -> Tensor:
        """float32[N, in] and float32[out, in] to float32[N, out]."""
        return functional.linear(values, weight)

    def dot_dense(self, padded: Tensor, weight: Tensor) -> Tensor:
        """float32[N, in] and float32[out, in] to float32[N, out]."""
        return functional.linear(padded, weight)


def sides_of(window: Window) -> list[int]:
    """Padding as `torch.nn.functional.pad` takes it: the last dimension first."""
    return [n for pair in reversed(window.padding) for n in pair]
