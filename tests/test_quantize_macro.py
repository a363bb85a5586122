# SPDX-License-Identifier: Apache-2.0
"""The macro in the training loop gives the integers of the engines, and gradients of the exact products."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from ordinary_networks import NETWORKS
from test_ordinary_networks import STEP, settled
from torch import nn
from twinor.calibrate import calibrate
from twinor.config import load, replace
from twinor.device.array import device_of
from twinor.die import Die, ideal_die, sample_die
from twinor.errors import ConfigError
from twinor.place import place
from twinor.quantize import Macro, Recipe, deterministic, quantize, to_integer, train_quantized
from twinor.quantize.die_noise import column_share, deviations, die_noise, share_left
from twinor.run import chain_runner, forward

from tb.common.configs import EXACT, NOR40, REFERENCED

WIDE = {"psum_bits": 24, "max_rounds": 8}
MACROS = [
    replace(NOR40, name="nor40_coarse", adc_bits=5),
    replace(NOR40, name="nor40_groups", active_rows=60, adc_bits=5),
    replace(NOR40, name="nor40_shared", slice_accumulation="analog", adc_bits=6),
    replace(NOR40, name="nor40_truncating", adc_rounding="toward_zero", adc_bits=5),
    replace(NOR40, name="nor40_sliced", cell_bits=2, dac_bits=1, adc_bits=6, rows=104, active_rows=104),
    replace(EXACT, name="offset_coarse", step="calibrated", adc_bits=5, active_rows=64, dac_bits=2, **WIDE),
    replace(EXACT, name="twos", weight_encoding="twos_complement", cell_bits=1, step="calibrated", adc_bits=4, **WIDE),
]


@pytest.fixture(autouse=True)
def _own_generator():
    with deterministic():
        yield


def in_loop(config, name, *, count=6):
    """A calibrated quantized network with the macro in its loop, its integers, and images."""
    model, images = settled(name)
    quant = quantize(model, input_shape=tuple(images.shape[1:]), input_step=STEP, calibration=images)
    network, some = to_integer(quant), images[:count]
    steps = calibrate(config, network, some.numpy())
    quant.set_macro(Macro(config=config, steps=steps))
    return quant, network, steps, some


@pytest.mark.parametrize("config", MACROS, ids=lambda config: config.name)
@pytest.mark.parametrize("name", ["resnet", "mobilenet_v2", "dilated", "m5"])
def test_the_macro_in_the_loop_is_the_macro(name, config):
    """Shortcuts, signed codes, depthwise and grouped convolutions; ADCs that round and clip."""
    quant, network, steps, images = in_loop(config, name)
    placement = place(config, network, steps)
    runner = chain_runner(config, ideal_die(config, placement.levels), backend="fast")
    expected = forward(network, placement, images.numpy(), runner)
    with torch.no_grad():
        assert np.array_equal(quant.codes(images).values.numpy(), expected)
        quant.set_macro(None)
        rounded = any(step > 2 for of_layer in steps.values() for row in of_layer for step in row)
        assert not (rounded and np.array_equal(quant.codes(images).values.numpy(), expected))  # the ADC is felt


def test_every_ordinary_network_runs_with_the_default_macro_in_the_loop():
    for name in NETWORKS:
        quant, _, _, images = in_loop(NOR40, name, count=2)
        assert quant.codes(images).values.isfinite().all()


def test_gradients_pass_the_converters_straight_through():
    quant, _, _, images = in_loop(NOR40, "resnet")
    layer = next(quant.weight_layers())
    values, weight = images.float(), layer.threshold(layer.weight)[0].detach().requires_grad_()
    upstream = torch.randn_like(layer.dot(values, weight))
    (layer.accumulate(values, weight) * upstream).sum().backward()
    seen, weight.grad = weight.grad, None
    (layer.dot(values, weight) * upstream).sum().backward()
    torch.testing.assert_close(seen, weight.grad)


def test_a_disturbance_is_added_before_the_conversion():
    quant, _, steps, images = in_loop(NOR40, "resnet")
    calm = quant.codes(images).values
    seen = []

    def lifted(q):
        seen.append(q.shape)
        return torch.full_like(q, 1000.0)

    quant.set_macro(Macro(config=NOR40, steps=steps, disturb=lifted))
    layer = next(quant.weight_layers())
    acc = layer.accumulate(images.float(), layer.threshold(layer.weight)[0])
    slices = steps[layer.name]
    assert acc.unique().tolist() == [127 * sum(step[0] << 2 * i for i, step in enumerate(slices))]
    assert len(seen) == 2
    assert not torch.equal(quant.codes(images).values, calm)


@pytest.mark.parametrize("config", [replace(NOR40, bias_rows=4), REFERENCED], ids=["bias_rows", "ref_cols"])
def test_what_belongs_to_placement_is_refused(config):
    with pytest.raises(ConfigError, match=r"a macro in the training loop has none: train with it at 0"):
        Macro(config=config, steps={})


def test_training_through_the_macro_lowers_its_loss():
    """A coarse converter changes the logits; a few steps with it in the loop bring them back towards the old ones."""
    coarse = replace(NOR40, name="coarse", adc_bits=5)
    quant, _, steps, images = in_loop(coarse, "lenet5", count=48)
    quant.set_macro(None)
    target = quant(images).detach()
    quant.set_macro(Macro(config=coarse, steps=steps))
    quant.train()
    optimizer = torch.optim.Adam(quant.parameters(), lr=3e-4)
    losses = []
    for _ in range(40):
        loss = nn.functional.mse_loss(quant(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.85 * losses[0]


def test_a_recipe_brings_the_macro_into_the_last_epochs():
    """Steps are calibrated anew for each of them, from training images, and are steps that the hardware can set."""
    model, images = settled("lenet5")
    seen = []
    quant = quantize(model, input_shape=tuple(images.shape[1:]), input_step=STEP)
    recipe = Recipe(batch_size=32, quant_epochs=4, sample_steps=2, macro="nor40_int4", macro_share=0.5, shift_pixels=0)
    labels = torch.randint(0, 4, (len(images),))
    layer = next(quant.weight_layers())
    train_quantized(quant, model, images, labels, recipe=recipe, progress=lambda *_: seen.append(layer.macro))
    assert [macro is None for macro in seen] == [True, True, False, False]
    assert seen[2] is not seen[3] and seen[3].config == NOR40
    assert all(step in NOR40.steps for of_layer in seen[3].steps.values() for row in of_layer for step in row)
    assert layer.macro is None  # what is converted and evaluated is exact again


def test_noise_of_dies_is_as_large_as_it_is_measured_and_begins_anew_with_every_epoch():
    share = column_share(NOR40, seed=2)
    q = torch.arange(-200.0, 201.0).repeat(500, 1)
    first, again, other = (die_noise(share, seed=2, epoch=epoch)(q) for epoch in (4, 4, 5))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert abs(first.std().item() / (share * q.std().item()) - 1) < 0.01


def test_a_recipe_brings_the_noise_of_dies_with_its_macro():
    model, images = settled("lenet5")
    quant = quantize(model, input_shape=tuple(images.shape[1:]), input_step=STEP)
    recipe = Recipe(batch_size=32, quant_epochs=2, sample_steps=2, macro="nor40_int4", die_noise=True, shift_pixels=0)
    seen, layer = [], next(quant.weight_layers())
    labels = torch.randint(0, 4, (len(images),))
    train_quantized(quant, model, images, labels, recipe=recipe, progress=lambda *_: seen.append(layer.macro))
    assert [macro is not None and macro.disturb is not None for macro in seen] == [False, True]
    with pytest.raises(ConfigError, match="die_noise has no effect without macro"):
        Recipe(die_noise=True)


def quiet(name):
    """A preset with physics whose cells and converters make no noise."""
    device = device_of(load(name))
    still = dataclasses.replace(device.converter, comparator_noise=0.0, unit_capacitor_ff=math.inf)
    return replace(load(name), device=dataclasses.replace(device, traps=None, read_sigma=0.0, converter=still))


DIES = [
    replace(NOR40, name="nor40_spread", cell_sigma=0.05, capacitor_sigma=0.05, comparator_sigma=2.0),
    replace(NOR40, name="nor40_grouped", cell_sigma=0.05, comparator_sigma=2.0, rows=104, active_rows=60),
    replace(EXACT, name="offset", step="calibrated", cell_sigma=0.03, active_rows=64, dac_bits=2, **WIDE),
    replace(NOR40, name="nor40_two_slices", cell_bits=2, dac_bits=1, cell_sigma=0.05, slice_accumulation="analog"),
    quiet("nor40_iscas2021"),
]
CASES = [(name, config) for name in ("resnet", "mobilenet_v2", "dilated", "m5") for config in DIES]
CASES.remove(("m5", DIES[-1]))  # quantities of a few units, where what is no product counts most


@pytest.mark.parametrize(("name", "config"), CASES, ids=[f"{name}-{config.name}" for name, config in CASES])
def test_a_given_die_in_the_loop_is_that_die(name, config):
    """Its deviations take most of the difference from an ideal die away; what is left is noise and rounding."""
    quant, network, steps, images = in_loop(config, name)
    placement = place(config, network, steps)
    die = sample_die(config, placement.levels, seed=9)
    shown = deviations(config, placement, die)
    found = {}
    for engine, one in (("die", die), ("ideal", ideal_die(config, placement.levels))):
        runner = chain_runner(config, one, backend="fast")
        found[engine] = forward(network, placement, images.numpy(), runner).astype(float)
    quant.set_macro(Macro(config=config, steps=steps, deviations=shown))
    with torch.no_grad():
        found["loop"] = quant.codes(images).values.numpy()
    error, before = (np.abs(found["die"] - found[other]).mean() for other in ("loop", "ideal"))
    assert error < 0.5 * before


def test_a_corrected_die_keeps_its_correction_in_the_loop():
    """Gain and offset of the registers act after those of the ADC; a fraction that is dropped counts as half a code."""
    config = replace(DIES[0], column_correction=True)
    quant, network, steps, images = in_loop(config, "resnet")
    placement = place(config, network, steps)
    die = sample_die(config, placement.levels, seed=9)
    rng = np.random.default_rng(5)
    trimmed = {"gain": rng.integers(230, 280, die.gain.shape), "offset": rng.integers(-900, 900, die.offset.shape)}
    die = dataclasses.replace(die, **{key: table.astype(np.int32) for key, table in trimmed.items()})
    runner = chain_runner(config, die, backend="fast")
    expected = forward(network, placement, images.numpy(), runner)
    errors = []
    for one in (die, dataclasses.replace(die, gain=np.full_like(die.gain, 256), offset=np.zeros_like(die.offset))):
        quant.set_macro(Macro(config=config, steps=steps, deviations=deviations(config, placement, one)))
        with torch.no_grad():
            errors.append(np.abs(quant.codes(images).values.numpy() - expected).mean())
    assert errors[0] < 0.5 * errors[1]


def test_what_deviations_leave_of_a_die_is_its_noise():
    """Nothing where every current is a product; of a noisy chip less than it is from the ideal one."""
    for config, low, high in ((NOR40, 0.0, 1e-9), (load("nor40_iscas2021"), 0.01, 0.2)):
        _, network, steps, _ = in_loop(config, "lenet5")
        placement = place(config, network, steps)
        assert low <= share_left(config, placement, sample_die(config, placement.levels, seed=9), seed=0) <= high


def test_training_for_a_given_die_holds_the_weights_of_every_epoch():
    model, images = settled("lenet5")
    quant = quantize(model, input_shape=tuple(images.shape[1:]), input_step=STEP)
    recipe = Recipe(batch_size=32, quant_epochs=3, sample_steps=2, macro="nor40_int4", macro_share=0.7, shift_pixels=0)
    seen, layer = [], next(quant.weight_layers())
    labels = torch.randint(0, 4, (len(images),))
    options = {"recipe": recipe, "progress": lambda *_: seen.append(layer.macro)}
    train_quantized(quant, model, images, labels, die=Die.sample(NOR40, seed=9, macros=8), **options)
    held = [macro.deviations.cells[layer.name] for macro in seen if macro is not None]
    assert len(held) == 2 and not torch.equal(*held)  # the weights have moved, and the levels with them
    assert layer.macro is None
    for wrong, die in ((Recipe(), 8), (dataclasses.replace(recipe, die_noise=True), 8)):
        with pytest.raises(ConfigError, match="a given die needs macro, its preset, and no die_noise"):
            train_quantized(quant, model, images, labels, recipe=wrong, die=Die.sample(NOR40, seed=9, macros=die))
    with pytest.raises(ConfigError, match=r"this die has cells \(1, 256, 128\)"):
        train_quantized(quant, model, images, labels, recipe=recipe, die=Die.sample(NOR40, seed=9))
