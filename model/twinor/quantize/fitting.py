# SPDX-License-Identifier: Apache-2.0
"""From data and a recipe to a float network and its 4-bit twin; goes on where a killed run stopped."""

from __future__ import annotations

import copy
import json
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from twinor import models
from twinor.errors import ConfigError
from twinor.quantize.convert import to_integer
from twinor.quantize.prepare import calibrate_clips, quantize
from twinor.quantize.progress import Checkpoint, Progress
from twinor.quantize.train import calibrated_macro, check_die, deterministic, train_float, train_quantized

if TYPE_CHECKING:
    from torch import nn

    from twinor.data import Dataset
    from twinor.die import Die
    from twinor.network import IntegerNetwork
    from twinor.quantize.network import QuantNetwork
    from twinor.quantize.recipe import Recipe

__all__ = ["Fitted", "fit", "input_step"]

FEW = 2
"""Images of the first pass, which shows before training whether everything fits."""


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
        On a CPU the same bits for a processor type, a number of threads and a version of torch, killed or not; on a
        GPU as far as torch has deterministic algorithms there.

    Raises:
        ConfigError: there is no such network, it does not take the images at this width, or the recipe's macro or the
            given die does not go with it; before anything is trained.
        PlacementError: the network does not fit the recipe's macro; before anything is trained.
        NonFinite: if training diverges.
        CorruptFile: the checkpoint is damaged or of another training.
    """
    check_die(recipe, die)
    images, labels = torch.from_numpy(train.images).to(device), torch.from_numpy(train.labels)
    kept = checkpoint or Checkpoint()
    kept.read()
    step, classes = input_step(train.input_bits), int(train.labels.max()) + 1
    with deterministic(recipe.seed, threads=threads, device=device):
        teacher = _built(recipe, images, classes)
        _ready(teacher, images)
        _rehearse(teacher, images, train, recipe, die)
        if "teacher" in kept.state:
            teacher.load_state_dict(kept.state["teacher"])
        else:
            train_float(teacher, images, labels, input_step=step, recipe=recipe, progress=progress, checkpoint=kept)
            kept.keep_float(teacher.state_dict())
        model = _quantized(teacher, images, train, recipe)
        options: dict[str, Any] = {"recipe": recipe, "progress": progress, "checkpoint": kept, "die": die}
        train_quantized(model, teacher, images, labels, **options)
        origin = {"data": recipe.data, "torch": torch.__version__, "threads": str(threads), "device": device}
        origin["recipe"] = json.dumps(asdict(recipe), sort_keys=True)
        network = to_integer(model, provenance=origin | (provenance or {}))
    teacher.eval()
    return Fitted(teacher=teacher, model=model, network=network, input_step=step)


def _built(recipe: Recipe, images: torch.Tensor, classes: int) -> nn.Module:
    """The float network with fresh weights, after a first pass of few images through a copy of it; no more is drawn."""
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of layers without channels
            net = models.build(recipe.arch, channels=images.shape[1], classes=classes, width=recipe.width)
        if not all(parameter.numel() for parameter in net.parameters()):
            raise ValueError("a layer has no channels left")
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            copy.deepcopy(net).train()(images[: min(FEW, recipe.batch_size)].cpu().float())
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise ConfigError(
            f"network {recipe.arch} cannot be trained at width {recipe.width} and batch_size {recipe.batch_size} on "
            f"images of {' x '.join(str(n) for n in images.shape[1:])}, channels first "
            f"({str(error).splitlines()[0]}): choose another arch, width, batch_size or data"
        ) from error
    return net


def _quantized(teacher: nn.Module, images: torch.Tensor, train: Dataset, recipe: Recipe) -> QuantNetwork:
    """The network on codes that takes over the float network's parameters, on the device of the images."""
    bits = train.input_bits
    facts: dict[str, Any] = {key: getattr(recipe, key) for key in ("literal", "end_weight_bits", "residual")}
    facts |= {"input_bits": bits, "input_step": input_step(bits)}
    model = quantize(teacher, input_shape=train.images.shape[1:], **facts)
    _ready(model, images)
    return model


def _rehearse(teacher: nn.Module, images: torch.Tensor, train: Dataset, recipe: Recipe, die: Die | None) -> None:
    """Put an untrained copy on codes, and the macro into its loop, so that what cannot work is refused now.

    Nothing is drawn.
    """
    with torch.random.fork_rng(devices=[]):
        model = _quantized(copy.deepcopy(teacher), images, train, recipe)
        if recipe.macro:
            calibrate_clips(model, images[:FEW])
            calibrated_macro(model, images[:FEW], recipe, epoch=0, die=die)


def _ready(net: nn.Module, images: torch.Tensor) -> None:
    """On the device of the images, channels last where images have two dimensions."""
    net.to(images.device)
    if images.dim() == 4:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
