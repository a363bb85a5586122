# SPDX-License-Identifier: Apache-2.0
"""Another task for a trained network, the original's parameters taken literally, and 8-bit images."""

import numpy as np
import oracle
import pytest
import torch
from plain_networks import plain
from test_ordinary_networks import settled, smooth_images
from torch import nn
from twinor import integer
from twinor.calibrate import calibrate
from twinor.config import replace
from twinor.die import ideal_die
from twinor.errors import PlacementError, UnsupportedLayer
from twinor.place import place
from twinor.quantize import Phase, Recipe, deterministic, new_head, quantize, to_integer, train_quantized
from twinor.quantize.literal import AsymmetricThreshold, bias_codes
from twinor.run import chain_runner, forward

from tb.common.configs import EXACT, NOR40


@pytest.fixture(autouse=True)
def _own_generator():
    with deterministic():
        yield


# Another task //


def test_a_new_last_layer_learns_another_task_and_the_rest_stays():
    model, images = settled("resnet")
    quant = quantize(model, input_shape=(3, 16, 16), input_step=1 / 8, calibration=images)
    before = {name: value.clone() for name, value in quant.state_dict().items()}
    new_head(quant, 3)
    bright = images.float().mean((1, 2, 3))
    labels = torch.bucketize(bright, bright.quantile(torch.tensor([1 / 3, 2 / 3])))
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 3))
    recipe = Recipe(batch_size=16, quant_epochs=30, sample_steps=4, shift_pixels=0, quant_rate=1e-2, distillation=0.0)
    train_quantized(quant, teacher, images, labels, recipe=recipe)
    network = to_integer(quant)
    logits = integer.logits(network, images.numpy())
    assert logits.shape == (len(images), 3)
    assert (logits.argmax(1) == labels.numpy()).mean() > 0.8
    for name, value in quant.state_dict().items():
        last = name.startswith(f"layers.{len(quant.layers) - 1}.")
        if not last:
            assert torch.equal(value, before[name]), name


def test_without_freezing_everything_is_trained_on():
    model, images = settled("lenet5")
    quant = quantize(model, input_shape=(1, 20, 20), input_step=1 / 8, calibration=images)
    new_head(quant, 4, freeze=False)
    assert all(parameter.requires_grad for parameter in quant.parameters())
    assert {layer.threshold.phase for layer in quant.weight_layers()} == {Phase.SAMPLE}


def test_convolutional_logits_have_a_new_head_too():
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, (2, 1), padding=(1, 0)))
    quant = quantize(net, input_shape=(2, 8, 8))
    before = quant.codes(torch.zeros(1, 2, 8, 8)).values.shape
    new_head(quant, 7)
    assert quant.codes(torch.zeros(1, 2, 8, 8)).values.shape == (1, 7, *before[2:])


def test_a_network_whose_end_is_no_layer_with_weights_is_refused():
    quant = quantize(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)), input_shape=(1, 8, 8))
    with pytest.raises(UnsupportedLayer, match="the last layer is no plain linear layer or convolution"):
        new_head(quant, 3)


# The original, literally //


def test_asymmetric_codes_cover_the_whole_range_of_a_layer():
    weight = torch.linspace(-0.3, 1.2, 61)[None]
    threshold = AsymmetricThreshold()
    codes, step = threshold(weight)
    assert (codes.min(), codes.max(), float(threshold.zero)) == (-3, 12, 3)
    assert step.item() == pytest.approx(0.1)
    assert (codes * step - weight).abs().max() <= 0.0501
    threshold.phase = Phase.TRAIN
    codes, step = threshold(weight)
    (codes * step).sum().backward()
    assert threshold.log2_t.grad.abs().item() > 0


def test_biases_have_sixteen_values_at_most():
    offset = torch.randn(300, dtype=torch.float64)
    coded = bias_codes(offset)
    steps = coded / (offset.abs().max() / 7)
    assert torch.allclose(steps, steps.round()) and len(steps.round().unique()) <= 16


@pytest.mark.parametrize("name", ["resnet", "lenet5", "mobilenet_v2"])
def test_the_literal_original_computes_its_integers_and_fits_no_macro(name):
    model, images = settled(name)
    shape = tuple(images.shape[1:])
    quant = quantize(model, input_shape=shape, input_step=1 / 8, calibration=images, literal=True)
    network = to_integer(quant)
    with torch.no_grad():
        fake = quant.codes(images).values.numpy()
    assert np.array_equal(fake, oracle.logits(plain(network), images.numpy()))
    assert np.array_equal(fake, integer.logits(network, images.numpy()))
    weights = [layer.weight for layer in network.weight_layers()]
    assert all(weight.max() - weight.min() <= 15 for weight in weights)
    with pytest.raises(PlacementError, match=r"weights -?\d+ \.\. -?\d+, preset nor40_int4 holds -7 \.\. 7"):
        place(NOR40, network)


# 8-bit images //


def test_an_8_bit_image_enters_as_more_input_slices_of_the_same_weights():
    """The first layer has four slices of 2 bits, the others two; golden on a lossless macro gives the integers."""
    model, images = settled("resnet")
    images = (16 * smooth_images((3, 16, 16)).int() + torch.randint(0, 16, images.shape)).to(torch.uint8)
    quant = quantize(model, input_shape=(3, 16, 16), input_bits=8, input_step=1 / 128, calibration=images)
    network = to_integer(quant)
    expected = integer.logits(network, images.numpy())
    wide = replace(NOR40, name="nor40_8_bits", input_bits=8)
    steps = calibrate(wide, network, images[:8].numpy())
    assert [len(of_layer) for of_layer in steps.values()] == [4] + [2] * (len(steps) - 1)
    lossless = replace(EXACT, name="exact_8_bits", input_bits=8, psum_bits=28)
    placement = place(lossless, network)
    assert [len(placed.steps) for placed in placement.layers.values()] == [8] + [4] * (len(steps) - 1)
    golden = chain_runner(lossless, ideal_die(lossless, placement.levels), backend="golden")
    assert np.array_equal(forward(network, placement, images[:4].numpy(), golden), expected[:4])
    with pytest.raises(PlacementError, match="the network's input has 8 bits, preset nor40_int4 takes 4"):
        place(NOR40, network)
