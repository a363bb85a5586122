# SPDX-License-Identifier: Apache-2.0
"""Digits as word-line codes, and folds that use every image once."""

import numpy as np
import pytest
from twinor.data import digits, folds, split

pytestmark = pytest.mark.fast


def test_images_are_all_1797_digits_as_4_bit_codes():
    data = digits()
    assert data.images.shape == (1797, 1, 8, 8)
    assert data.images.dtype == np.uint8
    assert data.labels.dtype == np.int64
    assert data.images.max() == 2**data.input_bits - 1
    assert np.bincount(data.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_only_level_16_is_changed():
    from sklearn.datasets import load_digits

    levels = load_digits().data.reshape(-1, 1, 8, 8)
    changed = digits().images != levels
    assert set(levels[changed]) == {16.0}
    assert (digits().images[changed] == 15).all()


def test_every_image_is_tested_exactly_once():
    labels = digits().labels
    tested = np.concatenate([split(labels, fold=fold).test for fold in range(5)])
    assert np.array_equal(np.sort(tested), np.arange(1797))


def test_training_and_test_images_are_disjoint_and_complete():
    parts = split(digits().labels, fold=3)
    assert np.array_equal(np.sort(np.concatenate([parts.train, parts.test])), np.arange(1797))


def test_folds_are_stratified_and_of_equal_size():
    labels = digits().labels
    table = np.zeros((5, 10), dtype=int)
    np.add.at(table, (folds(labels), labels), 1)
    assert np.ptp(table, axis=0).max() <= 1
    assert np.ptp(table.sum(axis=1)) <= 1


def test_folds_repeat_and_depend_on_the_seed():
    labels = digits().labels
    assert np.array_equal(folds(labels, seed=4), folds(labels, seed=4))
    assert not np.array_equal(folds(labels, seed=4), folds(labels, seed=5))


def test_folds_do_not_touch_the_global_generator():
    before = np.random.get_state()[1].copy()
    folds(digits().labels, seed=4)
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("n", [0, 1, 7])
def test_impossible_numbers_of_folds_are_refused(n):
    with pytest.raises(ValueError, match=rf"folds must be 2\.\.6 .*, got {n}"):
        folds(np.arange(6), n=n)


@pytest.mark.parametrize("fold", [-1, 5])
def test_folds_that_do_not_exist_are_refused(fold):
    with pytest.raises(ValueError, match=rf"fold must be 0\.\.4, got {fold}"):
        split(np.arange(60), fold=fold)
