# SPDX-License-Identifier: Apache-2.0
"""Layers without weights, which the host computes on codes: pools, concatenation, flattening."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from twinor.quantize.clip import ACTIVATION_MAX
from twinor.quantize.modules import Codes, sides_of
from twinor.quantize.requant import IntegerRule, integer_rule, requantize
from twinor.quantize.thresholds import Phase

if TYPE_CHECKING:
    from twinor.quantize.clip import LearnableClip
    from twinor.quantize.windows import Window

__all__ = ["QuantAvgPool", "QuantConcat", "QuantFlatten", "QuantMaxPool"]

MAX_POOL = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
BELOW_ALL = -1024.0
"""What pads a maximum: below every code."""


class QuantMaxPool(nn.Module):
    """Maximum over codes."""

    def __init__(self, window: Window, *, name: str, sources: tuple[str, ...]) -> None:
        """Keep the window."""
        super().__init__()
        self.window, self.name, self.sources = window, name, sources

    def forward(self, x: Codes) -> Codes:
        """Codes[N, C, ...] to Codes of the same step."""
        w = self.window
        padded = functional.pad(x.values, sides_of(w), value=BELOW_ALL) if any(map(any, w.padding)) else x.values
        pooled = MAX_POOL[len(w.kernel) - 1](padded, w.kernel, w.stride, 0, w.gaps)
        return Codes(pooled, x.step)


class QuantAvgPool(nn.Module):
    """Sum over windows of codes, requantized by one rule for all channels; sums leave as they are for the logits.

    Attributes:
        clip: of its outputs, or None for the logits.
        input_min: lowest code that comes in.
        input_max: largest magnitude of a code that comes in.
    """

    def __init__(self, window: Window, *, name: str, sources: tuple[str, ...], clip: LearnableClip | None) -> None:
        """Keep the window and the clip."""
        super().__init__()
        self.window, self.name, self.sources, self.clip = window, name, sources, clip
        self.input_min, self.input_max = 0, ACTIVATION_MAX

    def forward(self, x: Codes) -> Codes:
        """Codes[N, C, ...] to Codes of a step of their own."""
        w = self.window
        padded = functional.pad(x.values, sides_of(w)) if any(map(any, w.padding)) else x.values
        total = _sums(padded, w)
        unit = x.step / w.divisor
        if self.clip is None:
            return Codes(total, unit)
        if self.clip.observing or (self.training and self.clip.phase is Phase.SAMPLE):
            self.clip.observe(total * unit)
        step = self.clip.step()
        scale = (unit / step).double().reshape(1)
        offset = torch.zeros_like(scale)
        return Codes(requantize(total, scale, offset, self._rule(scale), exact=not self.training), step)

    @torch.no_grad()
    def rule(self, input_step: Tensor) -> tuple[IntegerRule | None, Tensor]:
        """The integer rule in evaluation, None for the logits, and what one output code is worth."""
        unit = input_step / self.window.divisor
        if self.clip is None:
            return None, unit
        step = self.clip.step()
        return self._rule((unit / step).double().reshape(1)), step

    def _rule(self, scale: Tensor) -> IntegerRule:
        assert self.clip is not None
        return integer_rule(scale, torch.zeros_like(scale), acc_max=self.acc_max, lo=self.lowest, hi=self.clip.hi)

    @property
    def acc_max(self) -> int:
        """Bound of |sum|."""
        return self.input_max * prod(self.window.kernel)

    @property
    def lowest(self) -> int:
        """Lowest code that it puts out."""
        return 0 if self.input_min >= 0 or self.clip is None else self.clip.lo


def _sums(padded: Tensor, w: Window) -> Tensor:
    """Sums over windows, exact; PyTorch divides by 1 in two and three dimensions alone."""
    if len(w.kernel) == 1:
        total = functional.avg_pool2d(padded[:, :, None], (1, *w.kernel), (1, *w.stride), divisor_override=1)
        return total[:, :, 0]
    pool = functional.avg_pool2d if len(w.kernel) == 2 else functional.avg_pool3d
    result: Tensor = pool(padded, w.kernel, w.stride, divisor_override=1)
    return result


class QuantConcat(nn.Module):
    """Channels of several layers one behind the other; their clip is one, so their codes are worth the same."""

    def __init__(self, *, name: str, sources: tuple[str, ...]) -> None:
        """Keep the names."""
        super().__init__()
        self.name, self.sources = name, sources

    def forward(self, *inputs: Codes) -> Codes:
        """Codes[N, C, ...] each to Codes[N, sum of C, ...]."""
        return Codes(torch.cat([x.values for x in inputs], dim=1), inputs[0].step)


class QuantFlatten(nn.Module):
    """(N, C, ...) to (N, C * ...)."""

    def __init__(self, *, name: str, sources: tuple[str, ...]) -> None:
        """Keep the names."""
        super().__init__()
        self.name, self.sources = name, sources

    def forward(self, x: Codes) -> Codes:
        """Codes[N, C, ...] to Codes[N, C * ...] of the same step."""
        return Codes(x.values.flatten(1), x.step)
