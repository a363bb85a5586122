# SPDX-License-Identifier: Apache-2.0
"""What is done about an imperfect die: each correction undoes what it is for, in integers, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from twinor import compensate
from twinor.calibrate import calibrate
from twinor.config import Config, load
from twinor.config import replace as changed
from twinor.data import digits, split
from twinor.die import Die, ideal_die
from twinor.errors import ConfigError
from twinor.network import Conv, IntegerNetwork, Linear
from twinor.place import Placement, place
from twinor.quantize import Recipe, fit
from twinor.run import chain_runner, forward
from twinor.workbench import percent

pytestmark = pytest.mark.fast

CONFIG = changed(load("nor40_int4"), column_correction=True, rows=64, active_rows=64, cols=16, cols_per_adc=4)
SHORT = Recipe(width=0.25, float_epochs=6, quant_epochs=4, sample_steps=10)


@pytest.fixture(scope="module")
def trained():
    data = digits()
    parts = split(data.labels)
    train = replace(data, images=data.images[parts.train], labels=data.labels[parts.train])
    network = fit(SHORT, train).network
    steps = calibrate(CONFIG, network, train.images[:64])
    return network, steps, train.images[:64], data.images[parts.test], data.labels[parts.test]


def flawed(config: Config, placement: Placement, *, gain: float, offset: float) -> Die:
    """An ideal die whose ADCs see a gain and an offset, the latter in LSB and of changing sign."""
    die, one = ideal_die(config, placement.levels), 1 << 2 * config.frac_bits
    sign = np.where(np.arange(config.n_adcs) % 2, -1, 1)[:, None]
    threshold = np.rint(die.threshold[..., 1:] * gain + sign * offset * one)
    return replace(die, threshold=np.concatenate([die.threshold[..., :1], threshold.astype(np.int32)], axis=-1))


def accuracy(network: IntegerNetwork, die: Die, trained) -> float:
    _, steps, _, images, labels = trained
    runner = chain_runner(CONFIG, die, backend="fast")
    return percent(forward(network, place(CONFIG, network, steps), images, runner).argmax(axis=1), labels)


def test_column_correction_takes_gain_and_offset_back(trained) -> None:
    network, steps, calibration, _, _ = trained
    placement = place(CONFIG, network, steps)
    ideal, die = ideal_die(CONFIG, placement.levels), flawed(CONFIG, placement, gain=1.25, offset=6.0)
    corrected = compensate.columns_corrected(CONFIG, network, placement, die, calibration)
    used = (corrected.gain != 256) | (corrected.offset != 0)
    assert np.array_equal(corrected.threshold, die.threshold) and used.mean() > 0.5
    assert abs(np.median(corrected.gain[used]) / 256 - 1.25) < 0.02
    scores = [accuracy(network, chip, trained) for chip in (ideal, die, corrected)]
    assert scores[1] < scores[0] - 5 and scores[2] > scores[0] - 1.5


def test_a_perfect_die_needs_no_correction(trained) -> None:
    network, steps, calibration, _, _ = trained
    placement = place(CONFIG, network, steps)
    die = compensate.columns_corrected(CONFIG, network, placement, ideal_die(CONFIG, placement.levels), calibration)
    assert np.median(np.abs(die.gain - 256)) <= 2
    again = compensate.norms_estimated(CONFIG, network, steps, ideal_die(CONFIG, placement.levels), calibration)
    for before, after in zip(network.layers, again.layers, strict=True):
        if isinstance(before, Conv | Linear) and isinstance(after, Conv | Linear):
            assert np.array_equal(before.requant.mult, after.requant.mult)
            assert np.max(np.abs(before.requant.add.astype(np.int64) - after.requant.add)) <= 1


def test_norms_keep_the_mean_and_the_spread_of_every_channel(trained) -> None:
    """Currents of every column 30 % down: multipliers rise by as much, and the accuracy comes back."""
    network, steps, calibration, _, _ = trained
    placement = place(CONFIG, network, steps)
    ideal = ideal_die(CONFIG, placement.levels)
    weak = replace(ideal, strength=np.rint(ideal.strength * 0.7).astype(np.int32))
    again = compensate.norms_estimated(CONFIG, network, steps, weak, calibration)
    first, was = again.layers[0], network.layers[0]
    assert isinstance(first, Conv) and isinstance(was, Conv)
    assert np.array_equal(first.weight, was.weight)
    assert abs(np.median(first.requant.mult / was.requant.mult) - 1 / 0.7) < 0.02
    scores = [accuracy(net, chip, trained) for net, chip in ((network, ideal), (network, weak), (again, weak))]
    assert scores[1] < scores[0] - 1 and scores[2] > scores[0] - 1


def test_what_a_macro_cannot_do_is_refused(trained) -> None:
    network, steps, calibration, _, _ = trained
    bare, biased = changed(CONFIG, column_correction=False), changed(CONFIG, bias_rows=2)
    placement = place(bare, network, steps)
    with pytest.raises(ConfigError, match="no column correction"):
        compensate.columns_corrected(bare, network, placement, ideal_die(bare, placement.levels), calibration)
    placement = place(biased, network, steps)
    with pytest.raises(ConfigError, match="bias_rows"):
        compensate.norms_estimated(biased, network, steps, ideal_die(biased, placement.levels), calibration)


def test_reference_cells_are_switched_on_and_off_without_drawing_the_die_again() -> None:
    config = changed(load("nor40_iscas2021"), rows=16, active_rows=8, cols=8, cols_per_adc=4)
    levels = np.full((1, config.rows, config.bit_lines), 7, dtype=np.uint8)
    hot = Die.sample(config, seed=3).program(levels).at(celsius=85.0)
    without = compensate.tracked(hot, on=False)
    assert hot.cells is not None and without.cells is not None
    warm = without.cells.current[:, :, -1].mean() / hot.cells.current[:, :, -1].mean()
    assert 1.5 < warm < 2.5  # most cells end at the headroom
    again = compensate.tracked(without, on=True)
    assert again.cells is not None and np.array_equal(again.cells.current, hot.cells.current)
    assert without.config_digest == hot.config_digest and np.array_equal(without.threshold, hot.threshold)
    for bad in (ideal_die(CONFIG, levels[:, :, :8]), Die.sample(load("sonos40"), seed=0)):
        with pytest.raises(ConfigError, match="tracking: this die has no reference cells"):
            compensate.tracked(bad, on=True)


def test_calibration_images_have_noise_of_their_own(trained, monkeypatch) -> None:
    """Vectors past those of any test: their draws are never seen again."""
    network, steps, calibration, _, _ = trained
    placement, seen = place(CONFIG, network, steps), []
    die = ideal_die(CONFIG, placement.levels)
    real = compensate.forward
    monkeypatch.setattr(compensate, "forward", lambda *a, **k: (seen.append(k["first"]), real(*a, **k))[1])
    compensate.columns_corrected(CONFIG, network, placement, die, calibration[:8])
    compensate.norms_estimated(CONFIG, network, steps, die, calibration[:8])
    assert seen == [compensate.CALIBRATION_FIRST] * 3


def test_weight_registers_follow_the_capacitors_of_a_redundant_search() -> None:
    """A twelfth more in the first capacitor asks for more in its register; a binary search has nothing to correct."""
    config = changed(CONFIG, sar_weights=[120, 64, 34, 18, 9, 5, 3, 1, 1], capacitor_sigma=0.0, comparator_sigma=0.0)
    die = ideal_die(config, np.zeros((2, config.rows, config.bit_lines), dtype=np.uint8))
    one = 1 << 2 * config.frac_bits
    kept = np.arange(1 << config.trials) >> config.trials - 1 & 1
    raised = np.where((kept == 1) & (np.arange(len(kept)) != 1 << config.trials - 1), 10 * one, 0)
    alone = np.where(np.arange(len(kept)) == 1 << config.trials - 1, 10 * one, 0)
    skewed = replace(die, threshold=die.threshold + (raised + alone).astype(np.int32))
    found = compensate.weighed(config, skewed)
    assert found.weight.shape == (2, config.trials) and found.weight[0, 0] > config.weights[0]
    assert np.array_equal(compensate.weighed(config, die).weight[0], config.weights)
    with pytest.raises(ConfigError, match="searches in binary weights"):
        compensate.weighed(CONFIG, ideal_die(CONFIG, np.zeros((1, 64, CONFIG.bit_lines), dtype=np.uint8)))
