# SPDX-License-Identifier: Apache-2.0
"""Calibrated ADC steps are the best that the hardware can set, per layer and slice."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from builders import Ints, linear_network, logits, small_network
from hypothesis import given
from hypothesis import strategies as st
from small_networks import CONFIGS, plain_logits, small_images, tiled_network
from twinor.calibrate import best_step, calibrate
from twinor.config import Config, load, replace
from twinor.die import ideal_die
from twinor.host import host_layer, layer_vectors
from twinor.network import Conv, Linear
from twinor.place import full_steps, place
from twinor.run import chain_runner, run_layer

from tb.common.configs import NOR40, OFFSET, RAGGED, SLICED, TINY, TRUNCATING, ids

pytestmark = pytest.mark.fast

DAC4 = load("nor40_int4_dac4")


def loss(config: Config, q: Ints, step: int) -> Fraction:
    """Exact sum of squares of what a conversion at this step loses."""
    total = Fraction(0)
    for value in q.tolist():
        units = Fraction(value, 1 << 2 * config.frac_bits)
        code = int(units / step) if config.adc_rounding == "toward_zero" else floor(units / step + Fraction(1, 2))
        code = min(max(code, config.code_min), config.code_max)
        total += (code * step - units) ** 2
    return total


def column_quantities(config: Config) -> st.SearchStrategy[list[int]]:
    """Whole array units, as of an ideal die, or any fraction, over a range that some draws leave."""
    span = st.sampled_from([config.column_max // 4 + 1, config.column_max, 2 * config.column_max])
    low = -1 if config.bipolar else 0
    unit = 1 << 2 * config.frac_bits
    whole = span.flatmap(lambda top: st.lists(st.integers(low * top, top).map(lambda u: u * unit), min_size=1))
    fraction = span.flatmap(lambda top: st.lists(st.integers(low * top * unit, top * unit), min_size=1))
    return whole | fraction


@pytest.mark.parametrize("config", [TINY, OFFSET, RAGGED, SLICED, TRUNCATING, NOR40, DAC4], ids=ids)
@given(data=st.data())
def test_the_best_step_is_the_smallest_with_the_least_exact_loss(config: Config, data: st.DataObject) -> None:
    q = np.array(data.draw(column_quantities(config)), dtype=np.int64)
    losses = {step: loss(config, q, step) for step in config.steps}
    least = min(losses.values())
    assert best_step(config, q) == min(step for step in config.steps if losses[step] == least)


def test_small_quantities_take_the_smallest_step_and_full_ones_the_largest() -> None:
    unit = 1 << 2 * NOR40.frac_bits
    assert best_step(NOR40, np.zeros(5, dtype=np.int64)) == 1
    assert best_step(NOR40, np.full(5, 64 * 127 * unit)) == NOR40.steps[-1] == 64
    assert {best_step(NOR40, np.arange(-top, top) * unit) for top in (100, 250, 380, 500, 760)} == {1, 2, 3, 4, 6}


def test_of_equally_good_steps_the_smaller_is_taken() -> None:
    config = replace(TINY, adc_bits=3)  # codes -4 .. 3
    q = np.array([21 << 2 * config.frac_bits - 1])  # 10.5 units: step 3 clips to 9, step 4 rounds to 12
    assert loss(config, q, 3) == loss(config, q, 4) == Fraction(9, 4)
    assert best_step(config, q) == 3


# Networks //


def column_quantities_of(config: Config, layer: Conv | Linear, x: Ints, i: int, j: int) -> Ints:
    """Of input slice i and weight slice j on an ideal die, in array units, from the weights alone."""
    vectors = layer_vectors(layer, x).astype(np.int64) >> i * config.dac_bits & (1 << config.dac_bits) - 1
    matrix = layer.weight.reshape(layer.weight.shape[0], -1).T.astype(np.int64)
    mask = (1 << config.cell_bits) - 1
    if config.weight_encoding == "differential":
        cells = np.sign(matrix) * (np.abs(matrix) >> j * config.cell_bits & mask)
    else:
        cells = matrix + config.weight_offset >> j * config.cell_bits & mask
    q = []
    for tile in range(0, len(cells), config.rows):
        for top in range(tile, min(tile + config.rows, len(cells)), config.active_rows):
            group = slice(top, min(top + config.active_rows, tile + config.rows, len(cells)))
            q.append((vectors[:, group] @ cells[group]).ravel())
    return np.concatenate(q)


def integer_losses(config: Config, units: Ints) -> dict[int, int]:
    """Exact sum of squares of what each step loses on whole array units."""
    losses = {}
    for step in config.steps:
        code = np.clip((2 * units + step) // (2 * step), config.code_min, config.code_max)
        losses[step] = int(((code * step - units) ** 2).sum())
    return losses


@pytest.mark.parametrize("config", [*CONFIGS, NOR40], ids=ids)
def test_each_slice_of_each_layer_gets_the_best_step_for_what_reaches_it(config: Config) -> None:
    rng = np.random.default_rng(8)
    network = tiled_network(config, rng) if config is not NOR40 else small_network(rng)
    x = small_images(config, network, rng, count=1)
    steps = calibrate(config, network, x)
    assert list(steps) == [layer.name for layer in network.layers if isinstance(layer, Conv | Linear)]
    placement = place(config, network, steps)
    runner = chain_runner(config, ideal_die(config, placement.levels), backend="fast")
    for layer in network.layers:
        if isinstance(layer, Conv | Linear):
            assert len(steps[layer.name]) == config.x_slices
            for i, row in enumerate(steps[layer.name]):
                assert len(row) == config.w_slices
                for j, step in enumerate(row):
                    losses = integer_losses(config, column_quantities_of(config, layer, x, i, j))
                    assert losses[step] == min(losses.values()), (layer.name, i, j)
            x = run_layer(layer, x, None, placement, runner)
        else:
            x = host_layer(layer, [x])


def test_slices_with_different_data_get_different_steps() -> None:
    """All inputs are 3 = 0b0011: the lower slice carries 192 * 3 * 7 = 32 * 126, the upper one nothing."""
    network = linear_network(np.full((2, 192), 7), logits(np.random.default_rng(0), 2))
    images = np.full((4, 192, 1, 1), 3)
    assert calibrate(NOR40, network, images)["fc"] == ((32,), (1,))
    assert calibrate(NOR40, network, images << 2)["fc"] == ((1,), (32,))


def test_weight_slices_with_different_data_get_different_steps() -> None:
    """Weights of 3 = 0b0011 in two slices of two bits: four lower cells add 12 = 4 * 3, upper ones 0."""
    config = replace(SLICED, psum_bits=14)
    requant = plain_logits(config, np.random.default_rng(0), 2)
    network = linear_network(np.full((2, 8), 3), requant, input_bits=2)
    assert calibrate(config, network, np.full((2, 8, 1, 1), 3))["fc"] == ((4, 1), (4, 1))
    assert calibrate(config, network, np.full((2, 8, 1, 1), 1))["fc"] == ((4, 1), (1, 1))


def test_unit_steps_are_all_one(exact: Config, rng: np.random.Generator) -> None:
    network = small_network(rng, low=-8)
    steps = calibrate(exact, network, rng.integers(0, 16, (2, *network.input_shape)))
    assert set(steps.values()) == {full_steps(exact)} == {((1,),) * exact.x_slices}


def test_calibration_depends_on_its_arguments_alone(rng: np.random.Generator) -> None:
    network = small_network(rng)
    images = rng.integers(0, 16, (3, *network.input_shape)).astype(np.uint8)
    before, state = images.copy(), str(np.random.get_state())
    assert calibrate(NOR40, network, images) == calibrate(NOR40, network, images.astype(np.int64))
    assert np.array_equal(images, before)
    assert str(np.random.get_state()) == state
