# SPDX-License-Identifier: Apache-2.0
"""Training in float, then on integer codes; the same seed gives the same bits on any number of cores."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from twinor.errors import NonFinite
from twinor.quantize.clip import LearnableClip
from twinor.quantize.thresholds import Phase, WeightThreshold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twinor.quantize.network import QuantNetwork
    from twinor.quantize.recipe import Recipe

__all__ = ["Progress", "deterministic", "predict", "train_float", "train_quantized"]

Progress = Callable[[str, int, int, float, float], None]
"""Called after each epoch with stage, epoch (from 1), epochs, mean loss, accuracy on the training images."""

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


@contextmanager
def deterministic(seed: int = 0) -> Iterator[None]:
    """One thread, deterministic algorithms and a seeded CPU generator inside; all three come back after.

    Sums of floats depend on how threads share them, so one thread makes the result independent of the cores.

    Args:
        seed: of the generator that initializes layers built inside.
    """
    threads, enabled = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.set_num_threads(threads)


def train_float(
    model: nn.Sequential,
    images: Tensor,
    labels: Tensor,
    *,
    input_step: float,
    recipe: Recipe,
    progress: Progress | None = None,
) -> None:
    """Train a float network in place.

    Args:
        model: takes real images, `input_step * codes`.
        images: uint8[n, C, H, W] codes.
        labels: int64[n].
        input_step: real value of image code 1.
        recipe: hyperparameters.
        progress: called after each epoch.

    Raises:
        NonFinite: if the loss becomes NaN or infinite.
    """

    def loss(codes: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)

    optimizer = _optimizer(model, recipe.float_rate, recipe)
    run = _Run(stage="float", epochs=recipe.float_epochs, images=images, labels=labels, recipe=recipe)
    run.go(model, optimizer, loss, progress=progress, input_step=input_step)


def train_quantized(
    model: QuantNetwork,
    teacher: nn.Sequential,
    images: Tensor,
    labels: Tensor,
    *,
    recipe: Recipe,
    progress: Progress | None = None,
) -> None:
    """Train a quantized network in place: sample, train by gradient, freeze.

    Args:
        model: from `quantize`.
        teacher: the float network; its outputs are part of the loss.
        images: uint8[n, C, H, W] codes.
        labels: int64[n].
        recipe: hyperparameters.
        progress: called after each epoch.

    Raises:
        NonFinite: if the loss becomes NaN or infinite.
    """
    teacher.eval()
    soft, share = recipe.temperature, recipe.distillation

    def loss(codes: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            goal = functional.log_softmax(teacher(codes * model.input_step) / soft, dim=1)
        near = functional.kl_div(
            functional.log_softmax(logits / soft, dim=1), goal, reduction="batchmean", log_target=True
        )
        return share * soft**2 * near + (1 - share) * functional.cross_entropy(logits, targets)

    optimizer = _optimizer(model, recipe.quant_rate, recipe)
    run = _Run(stage="int4", epochs=recipe.quant_epochs, images=images, labels=labels, recipe=recipe)
    freeze = run.steps - round(recipe.frozen_share * run.steps)

    def phase(step: int) -> None:
        if step in (0, recipe.sample_steps, freeze):
            sampling, training = step < recipe.sample_steps, step < freeze
            model.set_phase(Phase.SAMPLE if sampling else Phase.TRAIN if training else Phase.FREEZE)

    run.go(model, optimizer, loss, progress=progress, before_step=phase)
    model.set_phase(Phase.FREEZE)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, *, input_step: float = 1.0, batch_size: int = 512) -> Tensor:
    """Classes of images in evaluation mode; of equal logits the lowest class.

    Args:
        model: takes `input_step * codes`.
        images: uint8[n, C, H, W] codes.
        input_step: for a float network the real value of code 1; a quantized one takes codes.
        batch_size: images at a time.

    Returns:
        int64[n].
    """
    model.eval()
    return torch.cat([model(part.float() * input_step).argmax(1) for part in images.split(batch_size)])


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
        *,
        progress: Progress | None,
        input_step: float = 1.0,
        before_step: Callable[[int], None] = lambda step: None,
    ) -> None:
        """Step over shuffled, shifted batches; raise NonFinite at the first bad loss."""
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        model.train()
        for epoch in range(self.epochs):
            order = torch.randperm(len(self.images), generator=self.generator)
            total, right, seen = 0.0, 0, 0
            for batch in range(self.batches):
                before_step(epoch * self.batches + batch)
                chosen = order[batch :: self.batches]
                codes, targets = self._shifted(self.images[chosen]).float(), self.labels[chosen]
                logits = model(codes * input_step)
                value = loss(codes, logits, targets)
                if not math.isfinite(value.item()):
                    raise NonFinite(
                        f"{self.stage} training, epoch {epoch + 1}, step {batch + 1}: the loss "
                        f"is {value.item()}; expected a finite number; lower the learning rate"
                    )
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                schedule.step()
                total, seen = total + value.item() * len(chosen), seen + len(chosen)
                right += int((logits.argmax(1) == targets).sum())
            if progress is not None:
                progress(self.stage, epoch + 1, self.epochs, total / seen, right / seen)

    def _rate(self, step: int) -> float:
        rise = max(1, round(WARM_UP * self.steps))
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, self.steps - rise))))

    def _shifted(self, images: Tensor) -> Tensor:
        """Each image moved by up to `shift_pixels`, code 0 entering at the edge."""
        most = self.recipe.shift_pixels
        if most == 0:
            return images
        padded = functional.pad(images, (most, most, most, most))
        n, _, height, width = images.shape
        down, right = torch.randint(0, 2 * most + 1, (2, n, 1), generator=self.generator)
        rows = (down + torch.arange(height))[:, :, None]
        columns = (right + torch.arange(width))[:, None, :]
        return padded[torch.arange(n)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)


def _optimizer(model: nn.Module, rate: float, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW with decay on weights alone and a rate of its own for thresholds and clips."""
    kinds = (WeightThreshold, LearnableClip)
    scales = [p for module in model.modules() if isinstance(module, kinds) for p in module.parameters()]
    known = {id(p) for p in scales}
    others = [p for p in model.parameters() if id(p) not in known]
    groups = [
        {"params": [p for p in others if p.dim() > 1], "lr": rate, "weight_decay": recipe.weight_decay},
        {"params": [p for p in others if p.dim() <= 1], "lr": rate, "weight_decay": 0.0},
        {"params": scales, "lr": recipe.threshold_rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]])
