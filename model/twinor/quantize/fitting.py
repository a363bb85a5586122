# SPDX-License-Identifier: Apache-2.0
"""From data and a recipe to a float network and its 4-bit twin; goes on where a killed run stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from twinor import models
from twinor.quantize.convert import to_integer
from twinor.quantize.prepare import quantize
from twinor.quantize.progress import Checkpoint, Progress
from twinor.quantize.train import deterministic, train_float, train_quantized

if TYPE_CHECKING:
    from torch import nn

    from twinor.data import Dataset
    from twinor.die import Die
    from twinor.network import IntegerNetwork
    from twinor.quantize.network import QuantNetwork
    from twinor.quantize.recipe import Recipe

__all__ = ["Fitted", "fit", "input_step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A float network, the quantized one made of it, and its integers; both in evaluation mode."""

    teacher: nn.Module
    model: QuantNetwork
    network: IntegerNetwork
    input_step: float


def input_step(input_bits: int) -> float:
    """Real value of image code 1; keeps the mean square of an image near 1.

    Example:
        >>> input_step(4), input_step(8)
        (0.125, 0.0078125)
    """
    return float(2.0 ** (1 - input_bits))


def fit(
    recipe: Recipe,
    train: Dataset,
    *,
    provenance: dict[str, str] | None = None,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
    threads: int = 1,
    device: str = "cpu",
    die: Die | None = None,
) -> Fitted:
    """Train in float, then in 4 bits; the last epoch counts.

    Args:
        recipe: network and hyperparameters.
        train: training images alone; nothing else decides anything.
        provenance: kept with the network, beside recipe, data and versions.
        progress: called after each epoch.
        checkpoint: where a killed run goes on, and where this one keeps its state.
        threads: of torch on the CPU.
        device: `cpu` or `cuda`.
        die: the die that will run it, in the loop with the recipe's macro.

    Returns:
        On a CPU the same bits for a processor type, a number of threads and a version of torch, killed or not.

    Raises:
        ConfigError: there is no such network, or a die that the recipe does not go with.
        NonFinite: if training diverges.
        CorruptFile: the checkpoint is damaged or of another training.
    """
    images, labels = torch.from_numpy(train.images).to(device), torch.from_numpy(train.labels)
    kept = checkpoint or Checkpoint()
    kept.read()
    step, classes = input_step(train.input_bits), int(train.labels.max()) + 1
    with deterministic(recipe.seed, threads=threads, strict=device == "cpu"):
        teacher = models.build(recipe.arch, channels=images.shape[1], classes=classes, width=recipe.width)
        _ready(teacher, images)
        if kept.state.get("stage") == "int4":
            teacher.load_state_dict(kept.state["teacher"])
        else:
            train_float(teacher, images, labels, input_step=step, recipe=recipe, progress=progress, checkpoint=kept)
        kept.state["teacher"] = teacher.state_dict()
        model = quantize(
            teacher,
            input_shape=train.images.shape[1:],
            input_bits=train.input_bits,
            input_step=step,
            literal=recipe.literal,
        )
        _ready(model, images)
        options: dict[str, Any] = {"recipe": recipe, "progress": progress, "checkpoint": kept, "die": die}
        train_quantized(model, teacher, images, labels, **options)
        origin = {"data": recipe.data, "torch": torch.__version__, "threads": str(threads), "device": device}
        origin["recipe"] = json.dumps(asdict(recipe), sort_keys=True)
        network = to_integer(model, provenance=origin | (provenance or {}))
    teacher.eval()
    return Fitted(teacher=teacher, model=model, network=network, input_step=step)


def _ready(net: nn.Module, images: torch.Tensor) -> None:
    """On the device of the images, channels last where images have two dimensions."""
    net.to(images.device)
    if images.dim() == 4:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
