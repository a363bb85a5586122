# SPDX-License-Identifier: Apache-2.0
"""The original's parameters taken literally: asymmetric 4-bit weights per layer, 4-bit biases; for comparison.

    weights   code = clip(floor(w / s + 1/2) + zero, 0, 15) - zero
              s = (high - low) / 15,  zero = floor(-low / s + 1/2)
    biases    b = s_b * clip(floor(b / s_b + 1/2), -8, 7),  s_b = max |b| / 7

A code minus its zero point needs up to 5 bits, so such a network runs in integers (`twinor.integer`), and placement on
macros of 4 bits refuses it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from twinor.quantize.requant import straight_through
from twinor.quantize.thresholds import SMALLEST, Phase, WeightThreshold

__all__ = ["LITERAL_MAX", "AsymmetricThreshold", "bias_codes"]

LITERAL_MAX = 15
"""Largest magnitude of a code minus its zero point."""


class AsymmetricThreshold(WeightThreshold):
    """One range for all weights of a layer, from the lowest to the highest; its width is trained as a logarithm.

    Attributes:
        zero: float32[], the code of weight 0.
    """

    zero: Tensor

    def __init__(self, *, window: int = 16) -> None:
        """Make a range of 1 around 0, to be sampled before use."""
        super().__init__(1, common=True, window=window)
        self.largest = LITERAL_MAX
        self.register_buffer("zero", torch.tensor(8.0))

    @torch.no_grad()
    def observe(self, weight: Tensor) -> None:
        """Move the range towards that of the weights."""
        low, high = weight.min().clamp(max=0), weight.max().clamp(min=0)
        width = (high - low).clamp_min(SMALLEST)
        self.samples += 1
        share = 1.0 / min(int(self.samples), self.window)
        self.log2_t.lerp_(width.log2().reshape(1), share)
        self.zero.copy_(torch.floor(-low / width * LITERAL_MAX + 0.5))

    def step(self) -> Tensor:
        """Weight that one code is worth, float32[1]; carries gradient in `Phase.TRAIN` alone."""
        step = torch.exp2(self.log2_t) / LITERAL_MAX
        return step if self.phase is Phase.TRAIN else step.detach()

    def forward(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of the weights minus the zero point, and the step they are worth.

        Args:
            weight: float32[C, ...].

        Returns:
            Integer-valued float32[C, ...], -zero .. 15 - zero, and float32[1].

        Example:
            >>> threshold = AsymmetricThreshold()
            >>> codes, step = threshold(torch.tensor([[-0.5, 0.0, 1.0]]))
            >>> codes.tolist(), round(step.item(), 6)
            ([[-5.0, 0.0, 10.0]], 0.1)
        """
        if self.training and self.phase is Phase.SAMPLE:
            self.observe(weight)
        step = self.step()
        clipped = (weight / step).clamp(-self.zero, LITERAL_MAX - self.zero)
        return straight_through(torch.floor(clipped + 0.5), clipped), step


def bias_codes(offset: Tensor) -> Tensor:
    """Biases [C] as multiples of one step, 4 bits each; gradients pass straight through.

    Example:
        >>> bias_codes(torch.tensor([7.0, -3.1, 0.2])).tolist()
        [7.0, -3.0, 0.0]
    """
    step = offset.detach().abs().max().clamp_min(SMALLEST) / 7
    rounded = step * torch.floor(offset / step + 0.5).clamp(-8, 7)
    return straight_through(rounded, offset)
