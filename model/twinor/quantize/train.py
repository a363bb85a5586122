# SPDX-License-Identifier: Apache-2.0
"""Training in float, then on integer codes; the same seed and number of threads give the same bits."""

from __future__ import annotations

import math
import os
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from twinor.calibrate import calibrate
from twinor.config import load
from twinor.errors import ConfigError, NonFinite
from twinor.place import place
from twinor.quantize.augment import augmented
from twinor.quantize.clip import LearnableClip
from twinor.quantize.convert import integers_of
from twinor.quantize.die_noise import column_share, deviations, die_noise, share_left
from twinor.quantize.macro import Macro
from twinor.quantize.progress import Checkpoint, Progress
from twinor.quantize.thresholds import Phase, WeightThreshold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twinor.die import Die
    from twinor.quantize.network import QuantNetwork
    from twinor.quantize.recipe import Recipe

    Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

__all__ = ["calibrated_macro", "check_die", "deterministic", "predict", "train_float", "train_quantized"]

CALIBRATION_IMAGES = 128
"""Training images on which the steps of a macro in the loop are calibrated."""

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""


@contextmanager
def deterministic(seed: int = 0, *, threads: int = 1, device: str = "cpu") -> Iterator[None]:
    """Deterministic algorithms, a seeded CPU generator and so many threads inside; all three come back after.

    Sums of floats depend on how threads share them, so one thread makes the result independent of the cores. An
    algorithm that is not deterministic is refused on the CPU; on a GPU, where some pools have no other, it runs.

    Args:
        seed: of the generator that initializes layers built inside.
        threads: of torch.
        device: where what is inside runs.
    """
    before, enabled = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            if device != "cpu":
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch calls products deterministic then
                warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation")
            torch.default_generator.manual_seed(seed)
            yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.set_num_threads(before)


def train_float(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    input_step: float,
    recipe: Recipe,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train a float network in place.

    Args:
        model: takes real images, `input_step * codes`.
        images: uint8[n, *input_shape] codes.
        labels: int64[n].
        input_step: real value of image code 1.
        recipe: hyperparameters.
        progress: called after each epoch.
        checkpoint: where it stands, kept after each epoch.

    Raises:
        NonFinite: if the loss becomes NaN or infinite.
    """

    def loss(codes: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)

    run = _Run(stage="float", epochs=recipe.float_epochs, images=images, labels=labels, recipe=recipe)
    groups = _groups(model, recipe.float_rate, recipe.threshold_rate, recipe.weight_decay)
    run.go(model, _optimizer(recipe.optimizer, groups), loss, progress, checkpoint, input_step=input_step)


def train_quantized(
    model: QuantNetwork,
    teacher: nn.Module | None,
    images: Tensor,
    labels: Tensor,
    *,
    recipe: Recipe,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
    die: Die | None = None,
) -> None:
    """Train a quantized network in place: sample, train by gradient, freeze.

    Args:
        model: from `quantize`.
        teacher: the float network, whose outputs are part of the loss; None with `distillation` 0, for labels alone.
        images: uint8[n, *input_shape] codes.
        labels: int64[n].
        recipe: hyperparameters.
        progress: called after each epoch.
        checkpoint: where it stands, kept after each epoch.
        die: the die that will run it, in the loop with the recipe's macro.

    Raises:
        ConfigError: a die is given, and the recipe has no macro or means all dies; no teacher is given, and the recipe
            compares with one.
        NonFinite: if the loss becomes NaN or infinite.
    """
    check_die(recipe, die)
    loss = _distilled(model, teacher, recipe)
    run = _Run(stage="int4", epochs=recipe.quant_epochs, images=images, labels=labels, recipe=recipe)
    freeze = run.steps - round(recipe.frozen_share * run.steps)

    with_macro = run.steps - recipe.macro_epochs * run.batches

    def phase(step: int) -> None:
        sampling, training = step < recipe.sample_steps, step < freeze
        model.set_phase(Phase.SAMPLE if sampling else Phase.TRAIN if training else Phase.FREEZE)
        if recipe.macro and step >= with_macro and step % run.batches == 0:
            calibrated_macro(model, images, recipe, epoch=step // run.batches, die=die)

    groups = _groups(model, recipe.quant_rate, recipe.threshold_rate, recipe.quant_decay)
    run.go(model, _optimizer("adamw", groups), loss, progress, checkpoint, before_step=phase)
    model.set_phase(Phase.FREEZE)
    model.set_macro(None)


def _distilled(model: QuantNetwork, teacher: nn.Module | None, recipe: Recipe) -> Loss:
    """The loss on codes: what differs from the float network's outputs, and from the labels."""
    soft, share = recipe.temperature, recipe.distillation
    if teacher is None and share:
        raise ConfigError(
            f"recipe: distillation = {share} compares with a float network, and no teacher is given: "
            "give one, or train with distillation = 0"
        )
    if teacher is None or not share:
        return lambda codes, logits, targets: functional.cross_entropy(logits, targets)
    known = teacher.eval()

    def loss(codes: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            goal = functional.log_softmax(known(codes * model.input_step) / soft, dim=1)
        near = functional.kl_div(
            functional.log_softmax(logits / soft, dim=1), goal, reduction="batchmean", log_target=True
        )
        return share * soft**2 * near + (1 - share) * functional.cross_entropy(logits, targets)

    return loss


def check_die(recipe: Recipe, die: Die | None) -> None:
    """Refuse a given die that the recipe does not go with.

    Raises:
        ConfigError: the recipe has no macro or means all dies.
    """
    if die is not None and (not recipe.macro or recipe.die_noise):
        raise ConfigError("recipe: a given die needs macro, its preset, and no die_noise, which is for all dies")


def calibrated_macro(
    model: QuantNetwork, images: Tensor, recipe: Recipe, *, epoch: int, die: Die | None = None
) -> None:
    """Put a macro into the loop, its ADC steps calibrated on training images for the network as it is now.

    Args:
        model: from `quantize`; in training mode afterwards.
        images: uint8[n, *input_shape] codes, of which the first are calibrated on.
        recipe: has a macro.
        epoch: of the training on codes; noise of dies differs from epoch to epoch.
        die: the die that will run it.

    Raises:
        ConfigError: the macro cannot be trained through, or the die has fewer macros than the network needs.
        PlacementError: the network does not fit the macro.
    """
    config, network, found, share = load(recipe.macro), integers_of(model), None, 0.0
    steps = calibrate(config, network, images[:CALIBRATION_IMAGES].cpu().numpy())
    if die is not None:
        placement = place(config, network, steps)
        held = die.holding(config, placement.levels)
        found = deviations(config, placement, held, device=str(model.input_step.device))
        share = share_left(config, placement, held, seed=recipe.seed)
    elif recipe.die_noise:
        share = column_share(config, seed=recipe.seed)
    disturb = die_noise(share, seed=recipe.seed, epoch=epoch) if share else None
    model.set_macro(Macro(config=config, steps=steps, disturb=disturb, deviations=found))
    model.train()


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, *, input_step: float = 1.0, batch_size: int = 512) -> Tensor:
    """Classes of images in evaluation mode; of equal logits the lowest class.

    Args:
        model: takes `input_step * codes`.
        images: uint8[n, *input_shape] codes.
        input_step: for a float network the real value of code 1; a quantized one takes codes.
        batch_size: images at a time.

    Returns:
        int64[n], on the CPU.
    """
    model.eval()
    device = next(model.parameters(), torch.zeros(())).device
    parts = images.split(batch_size)
    return torch.cat([model(_real(part.to(device), input_step)).argmax(1).cpu() for part in parts])


def _real(codes: Tensor, step: float) -> Tensor:
    """Values of codes, channels last where there are two dimensions, which convolutions compute fastest."""
    real = codes.float() * step
    return real.contiguous(memory_format=torch.channels_last) if real.dim() == 4 else real


class _Run:
    """The loop both stages share."""

    def __init__(self, *, stage: str, epochs: int, images: Tensor, labels: Tensor, recipe: Recipe) -> None:
        self.stage, self.epochs, self.images, self.labels, self.recipe = stage, epochs, images, labels, recipe
        self.batches = max(1, len(images) // recipe.batch_size)
        self.steps = epochs * self.batches
        # A stream per stage: changing the length of one does not change the other's order.
        self.generator = torch.Generator().manual_seed(recipe.seed * 2 + (stage == "int4") + 1)

    def go(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Loss,
        progress: Progress | None,
        checkpoint: Checkpoint | None,
        *,
        input_step: float = 1.0,
        before_step: Callable[[int], None] = lambda step: None,
    ) -> None:
        """Train from the checkpoint's epoch to the last; raise NonFinite at the first bad loss."""
        kept = checkpoint or Checkpoint()
        average = _Average(model, self.recipe.average)
        begin = self._resume(model, optimizer, average, kept)
        model.train()
        for epoch in range(begin, self.epochs):
            with self._drawing(epoch, next(model.parameters()).device):
                figures = self._epoch(epoch, model, optimizer, loss, average, input_step, before_step)
            kept.history.append((self.stage, epoch + 1, *figures))
            others = {key: kept.state[key] for key in ("teacher",) if key in kept.state}
            kept.write(
                stage=self.stage, epoch=epoch + 1, model=model.state_dict(), optimizer=optimizer.state_dict(),
                average=average.values, generator=self.generator.get_state(), **others,
            )  # fmt: skip
            if progress is not None:
                progress(self.stage, epoch + 1, self.epochs, *figures)
        average.take_over(model)

    def _resume(self, model: nn.Module, optimizer: torch.optim.Optimizer, average: _Average, kept: Checkpoint) -> int:
        """Put everything back as it was after the last whole epoch of this stage; the number of those epochs."""
        if kept.state.get("stage") != self.stage:
            return 0
        model.load_state_dict(kept.state["model"])
        optimizer.load_state_dict(kept.state["optimizer"])
        average.restore(kept.state["average"])
        self.generator.set_state(kept.state["generator"])
        return int(kept.state["epoch"])

    @contextmanager
    def _drawing(self, epoch: int, device: torch.device) -> Iterator[None]:
        """Seed what layers draw in an epoch, as dropout does; the caller's generators come back."""
        seed = self.recipe.seed * 1_000_003 + epoch + 1  # 0 has drawn the first weights
        gpus = [] if device.type == "cpu" else [device]
        with torch.random.fork_rng(devices=gpus, device_type=device.type):
            torch.default_generator.manual_seed(seed)
            for gpu in gpus:
                state = torch.Generator(gpu).manual_seed(seed).get_state()
                torch.get_device_module(gpu).set_rng_state(state, gpu)
            yield

    def _epoch(
        self,
        epoch: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Loss,
        average: _Average,
        input_step: float,
        before_step: Callable[[int], None],
    ) -> tuple[float, float]:
        """Step over shuffled, changed batches; mean loss and accuracy."""
        order = torch.randperm(len(self.images), generator=self.generator)
        device = next(model.parameters()).device
        total, right, seen = 0.0, 0, 0
        for batch in range(self.batches):
            step = epoch * self.batches + batch
            before_step(step)
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * self._rate(step)
            chosen = order[batch :: self.batches]
            codes = augmented(self.images[chosen].to(device), self.recipe, self.generator)
            targets = self.labels[chosen].to(device)
            values = _real(codes, 1.0)
            logits = model(values if input_step == 1.0 else values * input_step)
            value = loss(values, logits, targets)
            if not math.isfinite(value.item()):
                raise NonFinite(
                    f"{self.stage} training, epoch {epoch + 1}, step {batch + 1}: the loss "
                    f"is {value.item()}; expected a finite number; lower the learning rate"
                )
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            average.update(model, step)
            total, seen = total + value.item() * len(chosen), seen + len(chosen)
            right += int((logits.argmax(1) == targets).sum())
        return total / seen, right / seen

    def _rate(self, step: int) -> float:
        rise = max(1, round(WARM_UP * self.steps))
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, self.steps - rise))))


class _Average:
    """Moving average of all float figures of a model; early steps weigh more, so that it follows from the start."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in self._figures(model)} if decay else {}

    @staticmethod
    def _figures(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        return ((name, value) for name, value in model.state_dict().items() if value.is_floating_point())

    def restore(self, values: dict[str, Tensor]) -> None:
        """Go on from values that were kept, each on the device of the model's own."""
        self.values = {name: values[name].to(own.device) for name, own in self.values.items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model as it is now."""
        if self.decay:
            share = 1 - min(self.decay, (1 + step) / (10 + step))
            for name, value in self._figures(model):
                self.values[name].lerp_(value, share)

    @torch.no_grad()
    def take_over(self, model: nn.Module) -> None:
        """Put the average in the model's place."""
        if self.decay:
            model.load_state_dict(model.state_dict() | self.values)


def _groups(model: nn.Module, rate: float, threshold_rate: float, decay: float) -> list[dict[str, object]]:
    """Parameters with their peak rates: decay on weights alone, a rate of their own for thresholds and clips."""
    kinds = (WeightThreshold, LearnableClip)
    scales = {id(p): p for module in model.modules() if isinstance(module, kinds) for p in module.parameters()}
    others = [p for p in model.parameters() if id(p) not in scales and p.requires_grad]
    groups: list[dict[str, object]] = [
        {"params": [p for p in others if p.dim() > 1], "peak": rate, "weight_decay": decay},
        {"params": [p for p in others if p.dim() <= 1], "peak": rate, "weight_decay": 0.0},
        {"params": [p for p in scales.values() if p.requires_grad], "peak": threshold_rate, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _optimizer(name: str, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=1.0)
