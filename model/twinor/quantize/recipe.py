# SPDX-License-Identifier: Apache-2.0
"""How a network is trained: every number of it, in one frozen object that can be hashed and read from a file."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from twinor.datasets import IMAGE_MODES
from twinor.errors import ConfigError
from twinor.strict_yaml import read_table, record_of

__all__ = ["OPTIMIZERS", "RECIPES", "RESIDUALS", "Recipe", "load_recipe", "recipe_of"]

OPTIMIZERS = ("adamw", "sgd")
"""Of float training; `sgd` has Nesterov momentum of 0.9."""

RECIPES = Path(__file__).parent.parent / "recipes"
"""Recipes that come with twinor, one file each."""

RESIDUALS = ("accumulated", "codes")
"""What a sum adds: a layer's accumulator and the codes of its shortcut; or the 4-bit codes of both, as others do."""

SEED_MAX = 2**32 - 1
"""Largest seed: what it is multiplied by in training stays within the 64 bits of a generator's seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Network, data and hyperparameters of float training and of the 4-bit training that follows.

    Raises:
        ConfigError: if a number is out of range.

    Example:
        >>> Recipe(seed=1).seed
        1
    """

    arch: str = "digits"
    """Name of a network of `twinor.models`."""
    data: str = "digits"
    """Name of a data set."""
    image: str = "upper"
    """How 8-bit images enter: `upper` nibble alone, both `nibbles` as channels, or all bits in more input `slices`."""
    width: float = 1.0
    """Factor on the channels of every hidden layer."""
    seed: int = 0
    """Of initial weights, order of images and their changes."""
    batch_size: int = 64
    """Images per step."""
    shift_pixels: int = 1
    """Largest shift of an image in training, in pixels, each way."""
    flip: bool = False
    """Whether images are mirrored at random."""
    cutout_pixels: int = 0
    """Side of a square that is blanked at a random place."""
    weight_decay: float = 1e-2
    """Decay of weights, decoupled with `adamw`; none on batch norm, biases, thresholds and clips."""
    average: float = 0.0
    """Decay of the moving average of all parameters that the end of each stage takes over; 0 for none."""

    optimizer: str = "adamw"
    """Of float training; on codes it is always `adamw`."""
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
    quant_decay: float = 1e-2
    """Decoupled decay of weights on codes."""
    threshold_rate: float = 5e-3
    """Peak learning rate of the logarithms of thresholds and clips."""
    sample_steps: int = 40
    """First steps on codes, in which statistics set thresholds and clips."""
    frozen_share: float = 0.25
    """Last share of the steps on codes, in which thresholds, clips and batch statistics stay."""
    literal: bool = False
    """Asymmetric weights and 4-bit biases, as the original has them; for comparison, no macro takes them."""
    end_weight_bits: int = 4
    """Bits of the weights of the first and the last layer; 8 for comparison, macros of 4-bit weights refuse those."""
    residual: str = "accumulated"
    """What a sum adds, see `RESIDUALS`."""
    macro: str = ""
    """Preset of a macro whose ADCs are in the loop of the last epochs; none if empty."""
    die_noise: bool = False
    """Whether that macro's column quantities spread as on its dies."""
    macro_share: float = 0.5
    """Last share of the epochs on codes that it is in."""
    distillation: float = 0.7
    """Share of the loss that compares with the float network; the rest compares with the labels."""
    temperature: float = 2.0
    """Softening of both outputs in that comparison."""

    @property
    def float_part(self) -> Recipe:
        """What the float network depends on: all before `quant_epochs`; what begins with the codes is as by default."""
        first = [field.name for field in fields(self)].index("quant_epochs")
        kept: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)[:first]}
        return Recipe(**kept)

    @property
    def macro_epochs(self) -> int:
        """Last epochs on codes that the macro is in."""
        return round(self.macro_share * self.quant_epochs) if self.macro else 0

    def __post_init__(self) -> None:
        """Refuse numbers with which training could not run, and what has no effect."""
        lowest = ("seed", "shift_pixels", "cutout_pixels", "weight_decay", "quant_decay")
        shares = ("label_smoothing", "frozen_share", "macro_share", "distillation", "average")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str | bool):
                continue
            if field.name in shares:
                good, wanted = 0 <= value <= 1, "in 0..1"
            elif field.name in lowest:
                good, wanted = 0 <= value < math.inf, "at least 0"
            else:
                good, wanted = 0 < value < math.inf, "above 0"
            if not good:
                raise ConfigError(f"recipe: {field.name} must be {wanted}, got {value}")
        for broken, message in _contradictions(self):
            if broken:
                raise ConfigError(f"recipe: {message}")


def _contradictions(r: Recipe) -> list[tuple[bool, str]]:
    """Words that are not known and what values say together: whether each rule is broken, and the sentence for it."""
    return [
        (r.seed > SEED_MAX, f"seed must be in 0..{SEED_MAX}, got {r.seed}"),
        (r.optimizer not in OPTIMIZERS, f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {r.optimizer}"),
        (r.image not in IMAGE_MODES, f"image must be one of {', '.join(IMAGE_MODES)}, got {r.image}"),
        (
            r.data == "digits" and r.image != "upper",
            f"image = {r.image} has no effect on data = digits, whose images have 4 bits: leave it out",
        ),
        (not 4 <= r.end_weight_bits <= 8, f"end_weight_bits must be in 4..8, got {r.end_weight_bits}"),
        (r.residual not in RESIDUALS, f"residual must be one of {', '.join(RESIDUALS)}, got {r.residual}"),
        (
            r.literal and r.end_weight_bits != 4,
            f"end_weight_bits = {r.end_weight_bits} has no effect on literal parameters: leave one of them out",
        ),
        (r.die_noise and not r.macro, "die_noise has no effect without macro, the preset whose dies are meant"),
        (
            r.literal and bool(r.macro),
            f"literal parameters are for comparison and no macro takes them: leave literal or macro = {r.macro} out",
        ),
        (
            bool(r.macro) and not r.macro_epochs,
            f"macro = {r.macro} has no effect: macro_share = {r.macro_share} of {r.quant_epochs} quant_epochs is none",
        ),
    ]


def load_recipe(name: str, **changes: Any) -> Recipe:
    """A recipe by name, or from a .yaml file; `changes` replace what it says.

    Raises:
        ConfigError: there is no such recipe, or it is no table of YAML; a key is unknown or stands twice, its value is
            of another type or out of range, or values contradict each other.

    Example:
        >>> load_recipe("digits", seed=3) == Recipe(seed=3)
        True
    """
    path = Path(name) if name.endswith(".yaml") else RECIPES / f"{name}.yaml"
    try:
        content = read_table(path)
    except OSError as error:
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.yaml")))
        raise ConfigError(f"no recipe {name}: expected one of {known}, or a .yaml file ({error.strerror})") from error
    changed = f" with {', '.join(f'{key} = {value}' for key, value in changes.items())}" if changes else ""
    return record_of(Recipe, path.name + changed, "", content | changes)


def recipe_of(provenance: dict[str, str]) -> Recipe:
    """The recipe that an integer network was trained by, as its provenance keeps it.

    Raises:
        ConfigError: it keeps none, or one that this version does not know.
    """
    try:
        return Recipe(**json.loads(provenance["recipe"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"the network does not say by which recipe it was trained ({error})") from error
