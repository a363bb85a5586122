# SPDX-License-Identifier: Apache-2.0
"""How a network is trained: every number of it, in one frozen object that can be hashed."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from twinor.errors import ConfigError

__all__ = ["Recipe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Hyperparameters of float training and of the 4-bit training that follows.

    Raises:
        ConfigError: if a number is out of range.

    Example:
        >>> Recipe(seed=1).seed
        1
    """

    seed: int = 0
    """Of initial weights, order of images and shifts."""
    channels: tuple[int, int] = (32, 96)
    """Output channels of the two convolutions of the digits network."""
    batch_size: int = 64
    """Images per step."""
    shift_pixels: int = 1
    """Largest shift of an image in training, in pixels, each way."""
    weight_decay: float = 1e-2
    """Decoupled decay of weights; none on batch norm, biases, thresholds and clips."""
    label_smoothing: float = 0.05
    """Share of the target given to all classes, in float training."""

    float_epochs: int = 40
    """Passes over the training part in float."""
    float_rate: float = 4e-3
    """Peak learning rate in float; rises for a tenth of the steps, then falls as a cosine."""

    quant_epochs: int = 30
    """Passes on 4-bit codes."""
    quant_rate: float = 1e-3
    """Peak learning rate of weights and batch norm on codes."""
    threshold_rate: float = 5e-3
    """Peak learning rate of the logarithms of thresholds and clips."""
    sample_steps: int = 40
    """First steps on codes, in which statistics set thresholds and clips."""
    frozen_share: float = 0.25
    """Last share of the steps on codes, in which thresholds, clips and batch statistics stay."""
    distillation: float = 0.7
    """Share of the loss that compares with the float network; the rest compares with the labels."""
    temperature: float = 2.0
    """Softening of both outputs in that comparison."""

    def __post_init__(self) -> None:
        """Refuse numbers with which training could not run."""
        lowest = {"seed": 0, "shift_pixels": 0, "weight_decay": 0.0}
        shares = ("label_smoothing", "frozen_share", "distillation")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in shares:
                good, wanted = 0 <= value <= 1, "in 0..1"
            elif field.name in lowest:
                good, wanted = 0 <= value < math.inf, "at least 0"
            else:
                numbers = value if isinstance(value, tuple) else (value,)
                good, wanted = all(0 < number < math.inf for number in numbers), "above 0"
            if not good:
                raise ConfigError(f"recipe: {field.name} must be {wanted}, got {value}")
