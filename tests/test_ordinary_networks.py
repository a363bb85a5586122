# SPDX-License-Identifier: Apache-2.0
"""Ordinary networks become integer networks without an edit, and golden computes the oracle's integers."""

import numpy as np
import oracle
import pytest
import torch
from ordinary_networks import NETWORKS
from plain_networks import plain
from torch import nn
from twinor import integer
from twinor.die import ideal_die
from twinor.place import place
from twinor.quantize import Recipe, deterministic, quantize, to_integer, train_quantized
from twinor.run import chain_runner, forward

from tb.common.configs import EXACT

IMAGES = 64
STEP = 1 / 8
LEAST = {"mobilenet": 0.7, "squeezenet": 0.3}
"""Least correlation of float and 4-bit logits without training, where it is less than the usual."""


def smooth_images(shape):
    """Blobs of every brightness and contrast, as images are, not noise whose mean is all that a network sees."""
    coarse = torch.rand(IMAGES, shape[0], *(2 + n // 5 for n in shape[1:])) * torch.rand(IMAGES, *(1,) * len(shape))
    mode = ("linear", "bilinear", "trilinear")[len(shape) - 2]
    return (16 * nn.functional.interpolate(coarse, size=shape[1:], mode=mode)).floor().to(torch.uint8)


def settled(name):
    """A network with weights of He et al. and batch norms that have seen images, and the images."""
    make, shape = NETWORKS[name]
    torch.manual_seed(1)
    model = make()
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(module.weight, -0.5, 1.5)  # some channels upside down
            nn.init.normal_(module.bias, std=0.3)
    images = smooth_images(shape)
    with torch.no_grad():
        for _ in range(20):
            model(images * STEP)
    return model.eval(), images


@pytest.fixture(autouse=True)
def _own_generator():
    with deterministic():
        yield


def check(quant, images, *, onto=20):
    """Fake quantization, exact integers, the oracle and golden on a lossless macro: the same numbers."""
    network = to_integer(quant)
    with torch.no_grad():
        fake = quant.codes(images).values.numpy()
    expected = oracle.logits(plain(network), images.numpy())
    assert np.array_equal(fake, expected)
    assert np.array_equal(integer.logits(network, images.numpy()), expected)
    placement = place(EXACT, network)
    golden = chain_runner(EXACT, ideal_die(EXACT, placement.levels), backend="golden")
    assert np.array_equal(forward(network, placement, images[:onto].numpy(), golden), expected[:onto])
    assert len(np.unique(expected)) > 5  # not a dead network


@pytest.mark.parametrize("name", NETWORKS)
def test_ordinary_networks_convert_unedited_after_training(name):
    model, images = settled(name)
    quant = quantize(model, input_shape=tuple(images.shape[1:]), input_step=STEP, calibration=images)
    check(quant, images)
    with torch.no_grad():
        real, coded = model(images * STEP).flatten(1), quant(images).flatten(1)
    if name in ("allconv", "m5"):  # a softmax at the end stays on the host
        coded = torch.softmax(coded, 1) if name == "allconv" else torch.log_softmax(coded, 1)
    together = torch.corrcoef(torch.stack([(real - real.mean(0)).ravel(), (coded - coded.mean(0)).ravel()]))[0, 1]
    assert together > LEAST.get(name, 0.75), f"correlation of float and 4-bit logits {together:.2f}"


@pytest.mark.parametrize("name", NETWORKS)
def test_ordinary_networks_convert_unedited_with_training(name):
    """Four short epochs: samples, gradients and frozen figures have all been at work."""
    model, images = settled(name)
    labels = torch.randint(0, 4, (IMAGES,))
    quant = quantize(model, input_shape=tuple(images.shape[1:]), input_step=STEP)
    recipe = Recipe(batch_size=16, quant_epochs=4, sample_steps=4, shift_pixels=0)
    teacher = nn.Sequential(model, nn.Flatten())
    train_quantized(quant, teacher, images, labels, recipe=recipe)
    check(quant, images, onto=2)


def test_training_and_evaluation_differ_at_ties_alone():
    """The forward pass of training is in float32: at most 1e-4 of its codes differ, each by one step."""
    model, images = settled("resnet")
    quant = quantize(model, input_shape=tuple(images.shape[1:]), input_step=STEP, calibration=images)
    seen = []
    for layer in quant.layers:
        layer.register_forward_hook(lambda _, __, output: seen[-1].append(output.values.detach()))
    for training in (False, True):
        quant.train(training)
        seen.append([])
        quant(images)
    total = sum(codes.numel() for codes in seen[0])
    gaps = [(a - b).abs() for a, b in zip(*seen, strict=True)]
    assert sum(int((gap > 0).sum()) for gap in gaps) <= 1e-4 * total
    assert max(float(gap.max()) for gap in gaps[:-1]) <= 1
