# SPDX-License-Identifier: Apache-2.0
"""Activations to 4 bits: a learnable clip and the gradient that knows about rounding.

    y = s * code,  code = clip(floor(z / s + 1/2), lo, hi),  s = alpha / hi
    dy / d(alpha) = { lo / hi below;  (code - z / s) / hi inside;  1 above }

Behind a ReLU codes are 0 .. 15, elsewhere -8 .. 7.
The clipping itself is part of the layer's integer rule; here are alpha and how it is found.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from twinor.quantize.thresholds import SMALLEST, Phase, best_threshold

__all__ = ["ACTIVATION_MAX", "LearnableClip"]

ACTIVATION_MAX = 15
"""Largest activation code behind a ReLU."""

SAMPLED_VALUES = 8192
"""Activations that one sample of the clip looks at."""


class LearnableClip(nn.Module):
    """Clip of one layer's activations, or of several that are joined; kept positive as a logarithm.

    Attributes:
        log2_alpha: float32[]; alpha becomes the largest code.
        phase: as in `WeightThreshold`.
        signed: codes -8 .. 7 instead of 0 .. 15.
        limit: largest alpha, that of a ReLU6; None for any.
        joined: several layers share it; then the largest sample counts, not their mean, so that none is cut off.
        settled: it is not sampled any more.
        observing: every forward pass samples, whatever the phase; for calibration without training.
    """

    samples: Tensor

    def __init__(self, *, signed: bool = False, limit: float | None = None, window: int = 16) -> None:
        """Make a clip at 1, to be sampled before use.

        Args:
            signed: whether negative values have codes.
            limit: largest alpha.
            window: steps that the running mean of the samples covers.
        """
        super().__init__()
        self.log2_alpha = nn.Parameter(torch.zeros(()))
        self.register_buffer("samples", torch.zeros((), dtype=torch.int64))
        self.signed, self.limit, self.window = signed, limit, window
        self.phase = Phase.SAMPLE
        self.observing = self.joined = self.settled = False

    @property
    def lo(self) -> int:
        """Lowest code."""
        return -((ACTIVATION_MAX + 1) // 2) if self.signed else 0

    @property
    def hi(self) -> int:
        """Largest code."""
        return ACTIVATION_MAX // 2 if self.signed else ACTIVATION_MAX

    @torch.no_grad()
    def observe(self, z: Tensor) -> None:
        """Sample the clip of least squared error and move the running mean of its log2 towards it.

        Args:
            z: float[...] values before the clip.
        """
        if self.settled:
            return
        flat = z.flatten()
        stride = max(1, flat.numel() // SAMPLED_VALUES) | 1  # odd, so that it visits every channel
        sample = best_threshold(flat[None, ::stride], levels=self.hi, signed=self.signed)[0]
        log2 = sample.clamp_min(SMALLEST).log2()
        self.samples += 1
        share = 1.0 / min(int(self.samples), self.window)
        if self.joined and self.samples > 1:
            self.log2_alpha.copy_(torch.maximum(self.log2_alpha, log2))
        else:
            self.log2_alpha.lerp_(log2, share)

    def step(self) -> Tensor:
        """Activation that one code is worth, float32[]; carries gradient in `Phase.TRAIN` alone."""
        log2 = self.log2_alpha if self.limit is None else self.log2_alpha.clamp(max=math.log2(self.limit))
        step = torch.exp2(log2) / self.hi
        return step if self.phase is Phase.TRAIN else step.detach()
