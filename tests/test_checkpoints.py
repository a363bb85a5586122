# SPDX-License-Identifier: Apache-2.0
"""The packed networks of the repository: what they reach on real test images, where the data set is there."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from twinor import integer
from twinor.calibrate import calibrate
from twinor.config import load
from twinor.datasets import Parts
from twinor.network_file import load_network
from twinor.quantize.recipe import recipe_of
from twinor.session_table import CHECKPOINTS, on_macro
from twinor.session_train import parts_of

from tb.common.sources import REPO

DATA = REPO.parent / "shared" / "data"
RIGHT = {"cifar10_alexnet_cpu": 431, "cifar10_vgg7": 448}
"""Of the first 500 test images, by checkpoint: integers are the same on every machine."""


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official files, unpacked from the strips beside the repository."""
    if not (DATA / "unpack_cifar10.py").is_file():
        pytest.skip(f"no CIFAR-10: {DATA} is not there")
    folder = tmp_path_factory.mktemp("cifar10")
    subprocess.run([sys.executable, DATA / "unpack_cifar10.py", folder], check=True, capture_output=True)
    return folder


def parts(name: str, folder: Path) -> Parts:
    return parts_of(recipe_of(load_network(CHECKPOINTS / f"{name}.npz").provenance), folder)


def test_every_checkpoint_has_its_figure_and_says_where_it_comes_from() -> None:
    assert {path.stem for path in CHECKPOINTS.iterdir()} == RIGHT.keys()
    for name in RIGHT:
        network = load_network(CHECKPOINTS / f"{name}.npz")
        assert recipe_of(network.provenance).data == "cifar10" and float(network.provenance["float"]) > 80
        assert all(np.abs(layer.weight).max() <= 7 for layer in network.layers if hasattr(layer, "weight"))


@pytest.mark.parametrize("name", RIGHT)
def test_500_images_are_read_as_well_as_ever(name: str, cifar10: Path) -> None:
    network, test = load_network(CHECKPOINTS / f"{name}.npz"), parts(name, cifar10).test
    found = integer.logits(network, test.images[:500]).argmax(axis=1)
    assert int(np.count_nonzero(found == test.labels[:500])) == RIGHT[name]


@pytest.mark.parametrize("name", RIGHT)
def test_engines_agree_on_the_macro(name: str, cifar10: Path) -> None:
    """Three images on golden and fast; `twinor table cifar10 --golden 200` compares 200."""
    config, network, data = load("nor40_int4"), load_network(CHECKPOINTS / f"{name}.npz"), parts(name, cifar10)
    steps = calibrate(config, network, data.train.images[:32])
    fast, golden = (on_macro(config, network, steps, data.test.images[:3], backend=b) for b in ("fast", "golden"))
    assert np.array_equal(fast, golden)
