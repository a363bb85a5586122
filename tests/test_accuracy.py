# SPDX-License-Identifier: Apache-2.0
"""Accuracy on handwritten digits: every image classified once by a network that never saw it."""

import json
from typing import Any

import numpy as np
import pytest
from command_line import CommandLine, InProcess, once, shared_command_line
from twinor import data
from twinor.calibrate import calibrate
from twinor.config import load
from twinor.die import ideal_die, sample_die
from twinor.network_file import Trained
from twinor.place import place
from twinor.quantize import Recipe, trained_digits
from twinor.run import chain_runner, forward

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

IMAGES = 1797


@pytest.fixture(scope="module")
def twinor(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    shared = shared_command_line(tmp_path_factory.mktemp("accuracy"), tmp_path_factory)
    return InProcess(folder=shared.folder, shared=shared.shared)


@pytest.fixture(scope="module")
def crossval(twinor: CommandLine) -> tuple[str, dict[str, Any]]:
    """What `twinor crossval` printed and wrote; trains the folds that are not cached."""
    said = once(twinor, "crossval")
    return said, json.loads((twinor.shared / "crossval" / "crossval-nor40_int4.json").read_text(encoding="utf-8"))


def network_of(twinor: CommandLine, fold: int) -> Trained:
    return trained_digits(recipe=Recipe(), fold=fold, cache_dir=twinor.shared / "cache")


def right(trained: Trained, preset: str, *, die_seed: int | None = None) -> int:
    """Test images that the integer network gets right on `fast`, counted without the command line's code."""
    config, digits = load(preset), data.digits()
    steps = calibrate(config, trained.network, digits.images[trained.train_index[:64]])
    placement = place(config, trained.network, steps)
    levels = placement.levels
    die = ideal_die(config, levels) if die_seed is None else sample_die(config, levels, seed=die_seed)
    images = digits.images[trained.test_index]
    classes = forward(trained.network, placement, images, chain_runner(config, die, backend="fast")).argmax(axis=1)
    return int((classes == digits.labels[trained.test_index]).sum())


def test_int4_on_the_macro_is_within_a_point_of_float(crossval: tuple[str, dict[str, Any]]) -> None:
    _, told = crossval
    scores = told["accuracy"]
    assert list(scores) == ["float", "fake-quantized", "int4"]
    assert scores["int4"] >= 97.0
    assert scores["int4"] >= scores["float"] - 1.0
    assert sum(fold["images"] for fold in told["folds"]) == IMAGES
    whole = {key: sum(fold[key] for fold in told["folds"]) for key in ("float_right", "integer_right")}
    assert scores["float"] == pytest.approx(100 * whole["float_right"] / IMAGES)
    assert scores["int4"] == pytest.approx(100 * whole["integer_right"] / IMAGES)


def test_the_table_of_cross_validation_says_what_the_json_says(crossval: tuple[str, dict[str, Any]]) -> None:
    said, told = crossval
    rows = [line.split() for line in said.splitlines() if line[:3].strip().isdigit() or line.startswith("all ")]
    assert [row[0] for row in rows] == [*"01234", "all"]
    assert [int(row[1]) for row in rows] == [*(fold["images"] for fold in told["folds"]), IMAGES]
    percents = [float(word) for word in rows[-1][2:] if word != "%"]
    assert percents == [pytest.approx(score, abs=0.005) for score in told["accuracy"].values()]


def test_the_folds_test_every_image_once_and_train_on_the_others(twinor: CommandLine, crossval: object) -> None:
    folds = [network_of(twinor, fold) for fold in range(data.FOLDS)]
    assert np.array_equal(np.sort(np.concatenate([fold.test_index for fold in folds])), np.arange(IMAGES))
    for fold in folds:
        assert np.array_equal(np.sort(np.concatenate([fold.test_index, fold.train_index])), np.arange(IMAGES))
    assert len({fold.key for fold in folds}) == data.FOLDS


def test_a_fold_counted_by_hand_gives_what_was_told(twinor: CommandLine, crossval: tuple[str, dict[str, Any]]) -> None:
    _, told = crossval
    trained = network_of(twinor, 3)
    labels = data.digits().labels[trained.test_index]
    assert told["folds"][3]["float_right"] == int((trained.float_predictions == labels).sum())
    assert told["folds"][3]["fake_quant_right"] == int((trained.fake_quant_predictions == labels).sum())
    assert abs(told["folds"][3]["integer_right"] - right(trained, "nor40_int4")) <= 2  # other images to calibrate on


def test_every_macro_of_full_size_keeps_the_accuracy(twinor: CommandLine) -> None:
    """Lossless: exactly the quantized network's. One-shot inputs and varied dies: within a point of it."""
    trained = network_of(twinor, 0)
    labels = data.digits().labels[trained.test_index]
    quantized = int((trained.fake_quant_predictions == labels).sum())
    assert right(trained, "nor40_int4_exact") == quantized
    for preset, die_seed in (("nor40_int4_dac4", None), ("nor40_int4", 1), ("nor40_int4", 2), ("nor40_int4_dac4", 1)):
        assert right(trained, preset, die_seed=die_seed) >= quantized - len(labels) / 100, (preset, die_seed)
