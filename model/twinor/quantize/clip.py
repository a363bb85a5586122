# SPDX-License-Identifier: Apache-2.0
"""Activations to uint4: a ReLU with a learnable clip and the gradient that knows about rounding.

    y = s * code,  code = clip(floor(z / s + 1/2), 0, 15),  s = alpha / 15
    dy / d(alpha) = { 0 below;  (code - z / s) / 15 inside;  1 above }

The clipping itself is part of the layer's integer rule; here are alpha and how it is found.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twinor.quantize.thresholds import SMALLEST, Phase, best_threshold

__all__ = ["ACTIVATION_MAX", "LearnableClip"]

ACTIVATION_MAX = 15
"""Largest activation code."""

SAMPLED_VALUES = 8192
"""Activations that one sample of the clip looks at."""


class LearnableClip(nn.Module):
    """Clip of one layer's activations: alpha becomes code 15; kept positive as a logarithm.

    Attributes:
        log2_alpha: float32[].
        phase: as in `WeightThreshold`.
    """

    samples: Tensor

    def __init__(self, *, window: int = 16) -> None:
        """Make a clip at 1, to be sampled before use.

        Args:
            window: steps that the running mean of the samples covers.
        """
        super().__init__()
        self.log2_alpha = nn.Parameter(torch.zeros(()))
        self.register_buffer("samples", torch.zeros((), dtype=torch.int64))
        self.window = window
        self.phase = Phase.SAMPLE

    @torch.no_grad()
    def observe(self, z: Tensor) -> None:
        """Sample the clip of least squared error and move the running mean of its log2 towards it.

        Args:
            z: float[...] values before the ReLU.
        """
        flat = z.flatten()
        stride = max(1, flat.numel() // SAMPLED_VALUES) | 1  # odd, so that it visits every channel
        sample = best_threshold(flat[None, ::stride], levels=ACTIVATION_MAX, signed=False)[0]
        self.samples += 1
        share = 1.0 / min(int(self.samples), self.window)
        self.log2_alpha.lerp_(sample.clamp_min(SMALLEST).log2(), share)

    def step(self) -> Tensor:
        """Activation that one code is worth, float32[]; carries gradient in `Phase.TRAIN` alone."""
        step = torch.exp2(self.log2_alpha) / ACTIVATION_MAX
        return step if self.phase is Phase.TRAIN else step.detach()
