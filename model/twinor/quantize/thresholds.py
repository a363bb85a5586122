# SPDX-License-Identifier: Apache-2.0
"""Weights to int4 by dynamically adjusted thresholds: sampled first, then trained as a logarithm.

    code = clip(floor(w / s + 1/2), -7, 7),  s = T / 7
    d(s * code) / d(log2 T) = s * ln 2 * { code - w / s  inside;  -7 below;  7 above }

The second line follows from the first when rounding passes gradients straight through.
"""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor, nn

from twinor.quantize.requant import straight_through

__all__ = ["WEIGHT_BITS", "Phase", "WeightThreshold", "best_threshold"]

WEIGHT_BITS = 4
"""Of a weight code; the lowest one is left out, so that codes are symmetric: -7 .. 7."""

SMALLEST = 2.0**-24
"""Threshold of a channel whose weights are all zero."""

SEARCH = 36
"""Candidate thresholds of the search, evenly from 0.3 to 1 times the largest magnitude."""


class Phase(Enum):
    """Where training stands: what sets the thresholds and the clips."""

    SAMPLE = "sample"
    """Statistics of every step set them; batch norm uses the batch."""
    TRAIN = "train"
    """Gradients set them; batch norm uses the batch."""
    FREEZE = "freeze"
    """They stay; batch norm uses its running statistics."""


class WeightThreshold(nn.Module):
    """Thresholds of one layer's weights, one per output channel or one for all.

    Attributes:
        log2_t: float32[C], or float32[1] if common; log2 of the magnitude that becomes the largest code.
        bits: of a code.
        largest: code, 7 with 4 bits.
        phase: in `Phase.SAMPLE` a forward pass in training mode samples; in `Phase.TRAIN` gradients flow.
    """

    samples: Tensor

    def __init__(self, channels: int, *, common: bool = False, window: int = 16, bits: int = WEIGHT_BITS) -> None:
        """Make thresholds of 1, to be sampled before use.

        Args:
            channels: output channels of the layer.
            common: one threshold for all channels, which the logits need to stay comparable.
            window: steps that the running mean of the samples covers.
            bits: of a code, its sign included.
        """
        super().__init__()
        self.bits, self.largest = bits, (1 << (bits - 1)) - 1
        self.log2_t = nn.Parameter(torch.zeros(1 if common else channels))
        self.register_buffer("samples", torch.zeros((), dtype=torch.int64))
        self.window = window
        self.phase = Phase.SAMPLE

    @torch.no_grad()
    def observe(self, weight: Tensor) -> None:
        """Sample the threshold of least squared error and move the running mean of its log2 towards it.

        Args:
            weight: float32[C, ...].
        """
        sample = best_threshold(weight.reshape(self.log2_t.numel(), -1), levels=self.largest, signed=True)
        self.samples += 1
        share = 1.0 / min(int(self.samples), self.window)
        self.log2_t.lerp_(sample.clamp_min(SMALLEST).log2(), share)

    def step(self) -> Tensor:
        """Weight that one code is worth, float32[C] or [1]; carries gradient in `Phase.TRAIN` alone."""
        step = torch.exp2(self.log2_t) / self.largest
        return step if self.phase is Phase.TRAIN else step.detach()

    def forward(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of the weights and the step they are worth.

        Args:
            weight: float32[C, ...].

        Returns:
            Integer-valued float32[C, ...], -largest .. largest, and the step.

        Example:
            >>> codes, step = WeightThreshold(1).eval()(torch.tensor([[0.6, -2.0, 0.01]]))
            >>> codes.tolist(), round(step.item() * 7, 6)
            ([[4.0, -7.0, 0.0]], 1.0)
        """
        if self.training and self.phase is Phase.SAMPLE:
            self.observe(weight)
        step = self.step()
        scaled = weight / step.view([-1] + [1] * (weight.dim() - 1))
        clipped = scaled.clamp(-self.largest, self.largest)
        return straight_through(torch.floor(clipped + 0.5), clipped), step


def best_threshold(values: Tensor, *, levels: int, signed: bool) -> Tensor:
    """Threshold of least squared quantization error for each row, by search.

    Args:
        values: float32[rows, n].
        levels: largest code.
        signed: codes -levels..levels, else 0..levels.

    Returns:
        float32[rows]; zero for a row without any (positive) value.

    Example:
        >>> best_threshold(torch.tensor([[-7.0, 3.0, 1.0]]), levels=7, signed=True).tolist()
        [7.0]
    """
    lowest = -levels if signed else 0
    top = values.abs().amax(dim=1) if signed else values.amax(dim=1).clamp_min(0)
    target = values if signed else values.clamp_min(0)
    best, least = top, torch.full_like(top, torch.inf)
    for share in torch.linspace(1.0, 0.3, SEARCH).tolist():
        step = (share * top / levels).clamp_min(SMALLEST)[:, None]
        error = (step * (target / step + 0.5).floor_().clamp_(lowest, levels) - target).square_().sum(dim=1)
        better = error < least
        best, least = torch.where(better, share * top, best), torch.where(better, error, least)
    return best
