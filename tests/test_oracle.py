# SPDX-License-Identifier: Apache-2.0
"""Golden and fast on a lossless macro against an oracle that shares no code with the package."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import oracle
import pytest
from builders import Ints, configs, lossless, seeds
from hypothesis import given, settings
from plain_networks import plain
from random_networks import random_images, random_network
from twinor.config import Config
from twinor.data import digits
from twinor.die import ideal_die
from twinor.network import IntegerNetwork
from twinor.place import place
from twinor.quantize import trained_digits
from twinor.run import chain_runner, forward

from tb.common.configs import EXACT


def on_macros(config: Config, network: IntegerNetwork, images: Ints, backend: str) -> Ints:
    """Logits of the network on ideal macros."""
    placement = place(config, network)
    runner = chain_runner(config, ideal_die(config, placement.levels), backend=backend)
    return forward(network, placement, images, runner)


# The oracle itself //

ALONE = """
import sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("twinor", "tb", "builders"):
            raise ImportError(f"the oracle imports {name}")

sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv[1])
import numpy as np
import oracle
rule = dict(mult=np.array([3, -3]), add=np.array([8, 8]), shift=4, lo=-9, hi=15)
weight = np.array([[[[1, 2]]], [[[0, 1]]]])
conv = dict(kind="conv", weight=weight, stride=(1, 2), padding=((0, 0), (1, 1)), **rule)
last = dict(kind="linear", weight=np.array([[1, 2, -1, 1]]), mult=[2], add=[1], shift=1, lo=-99, hi=99)
image = np.array([[[[15, 4, 9]]]])
print(oracle.logits([conv, dict(kind="flatten")], image).tolist())
print(oracle.logits([conv, dict(kind="max", kernel=(1, 2), stride=(1, 1)), dict(kind="flatten")], image).tolist())
print(oracle.logits([conv, dict(kind="flatten"), last], image).tolist())
print(any(name.partition(".")[0] == "twinor" for name in sys.modules))
"""


def test_the_oracle_computes_hand_made_logits_without_the_package() -> None:
    """The image is 0 15 4 9 0 with its padding: two windows, 0 15 and 4 9, under a stride of 2."""
    command = [sys.executable, "-c", ALONE, str(Path(oracle.__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    # channel 0 adds up to 30, 22 and gives 98 / 16, 74 / 16; channel 1 to 15, 9 and gives -37 / 16, -19 / 16
    assert done.stdout.splitlines() == ["[[6, 4, -3, -2]]", "[[6, -2]]", "[[15]]", "False"]


@pytest.mark.fast
def test_the_oracle_names_no_module_of_ours() -> None:
    tree = ast.parse(Path(oracle.__file__).read_text(encoding="utf-8"))
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    standard = {"__future__", "collections.abc", "fractions", "math", "typing"}
    assert named == standard | {"numpy", "numpy.typing", "torch", "torch.nn"}


# Against it //


@settings(max_examples=25)
@given(configs(psum_bits=28), seeds)
def test_random_networks_on_any_lossless_macro_give_the_oracles_logits(config: Config, seed: int) -> None:
    config, rng = lossless(config), np.random.default_rng(seed)
    network = random_network(config, rng)
    images = random_images(network, rng, 2)
    assert np.array_equal(on_macros(config, network, images, "golden"), oracle.logits(plain(network), images))


def test_the_trained_digits_network_gives_the_oracles_logits_on_every_test_image() -> None:
    """All images of the fold on `fast`, the first ones on golden; the classes are those that training saw."""
    trained = trained_digits()
    network, images = trained.network, digits().images[trained.test_index]
    expected = oracle.logits(plain(network), images)
    assert np.array_equal(expected.argmax(axis=1), trained.fake_quant_predictions)
    assert np.array_equal(on_macros(EXACT, network, images, "fast"), expected)
    assert np.array_equal(on_macros(EXACT, network, images[:10], "golden"), expected[:10])
