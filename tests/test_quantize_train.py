# SPDX-License-Identifier: Apache-2.0
"""The phases of training on codes, shifts of images, and global state that comes back."""

import itertools

import pytest
import torch
from torch import nn
from twinor.errors import NonFinite
from twinor.quantize import Recipe, deterministic, predict, quantize, train_float, train_quantized
from twinor.quantize.augment import augmented

pytestmark = pytest.mark.fast

RECIPE = Recipe(batch_size=16, quant_epochs=4, sample_steps=4, frozen_share=0.5, float_epochs=2)


@pytest.fixture
def batch():
    """64 images of 6 x 6 pixels whose class is their brighter half."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 16, (64, 1, 6, 6), generator=generator, dtype=torch.uint8)
    return images, (images[:, 0, :3].float().mean((1, 2)) > images[:, 0, 3:].float().mean((1, 2))).long()


@pytest.fixture
def model():
    with deterministic(3):
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
        )


def test_thresholds_are_sampled_then_trained_then_frozen(model, batch):
    images, labels = batch
    quant = quantize(model, input_shape=(1, 6, 6))
    conv = next(quant.weight_layers())
    seen = []

    def snapshot(*now):
        tensors = (conv.threshold.log2_t, conv.clip.log2_alpha, conv.norm.running_mean, conv.weight)
        seen.append([tensor.detach().clone() for tensor in tensors])

    with deterministic():
        train_quantized(quant, model, images, labels, recipe=RECIPE, progress=snapshot)  # 4 epochs of 4 steps
    changed = [[not torch.equal(a, b) for a, b in zip(*pair, strict=True)] for pair in itertools.pairwise(seen)]
    assert changed == [[True] * 4, [False, False, False, True], [False, False, False, True]]
    assert int(conv.threshold.samples) == int(conv.clip.samples) == 4


def test_float_training_learns_and_reports(model, batch):
    images, labels = batch
    reports = []
    with deterministic():
        recipe = Recipe(batch_size=16, float_epochs=15, shift_pixels=0, float_rate=2e-2)
        train_float(model, images, labels, input_step=0.1, recipe=recipe, progress=lambda *now: reports.append(now))
        right = (predict(model, images, input_step=0.1) == labels).float().mean()
    assert [report[:3] for report in reports] == [("float", epoch, 15) for epoch in range(1, 16)]
    assert reports[-1][3] < reports[0][3]
    assert right > 0.9


def test_a_bad_loss_names_stage_epoch_and_step(model, batch):
    images, labels = batch
    quant = quantize(model, input_shape=(1, 6, 6))
    with torch.no_grad():
        next(quant.weight_layers()).weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(NonFinite, match=r"^int4 training, epoch 1, step 1: the loss is nan; expected a finite number"):
        train_quantized(quant, model, images, labels, recipe=RECIPE)


def test_shifts_move_images_and_bring_in_code_zero(batch):
    images, _ = batch
    moved = augmented(images, RECIPE, torch.Generator().manual_seed(1))
    found = set()
    for image, original in zip(moved[:, 0], images[:, 0], strict=True):
        padded = nn.functional.pad(original, (1, 1, 1, 1))
        places = [(r, c) for r in range(3) for c in range(3) if torch.equal(image, padded[r : r + 6, c : c + 6])]
        assert len(places) == 1
        found |= set(places)
    assert len(found) == 9


def test_half_of_the_images_are_mirrored(batch):
    images, _ = batch
    recipe = Recipe(flip=True, shift_pixels=0)
    changed = augmented(images, recipe, torch.Generator().manual_seed(1))
    mirrored = (changed == images.flip(3)).all(dim=(1, 2, 3))
    assert ((changed == images).all(dim=(1, 2, 3)) ^ mirrored).all()
    assert 16 < mirrored.sum() < 48


def test_cutout_blanks_one_square_of_each_image():
    images = torch.ones(200, 2, 8, 10, dtype=torch.uint8)
    changed = augmented(images, Recipe(shift_pixels=0, cutout_pixels=4), torch.Generator().manual_seed(1))
    holes = (changed == 0).sum(dim=(2, 3))
    assert torch.equal(holes[:, 0], holes[:, 1])
    assert int(holes.max()) == 16 and int(holes.min()) >= 4  # at a border half a side may lie outside
    rows = (changed[:, 0] == 0).any(dim=2).sum(dim=1)
    columns = (changed[:, 0] == 0).any(dim=1).sum(dim=1)
    assert torch.equal(rows * columns, holes[:, 0])  # a rectangle


def test_the_same_seed_gives_the_same_changes_of_images(batch):
    images, _ = batch
    recipe = Recipe(flip=True, shift_pixels=2, cutout_pixels=3)
    once, again, other = (augmented(images, recipe, torch.Generator().manual_seed(k)) for k in (1, 1, 2))
    assert torch.equal(once, again) and not torch.equal(once, other)


def test_global_state_of_torch_comes_back_even_after_an_error():
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(False)
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError), deterministic(7):
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
        torch.rand(3)
        raise RuntimeError
    assert torch.get_num_threads() == 2
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    torch.set_num_threads(1)


def test_of_equal_logits_the_lowest_class_wins():
    images = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    assert predict(nn.Flatten(), images).tolist() == [0, 0, 0]
