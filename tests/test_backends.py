# SPDX-License-Identifier: Apache-2.0
"""One test body over all engines: golden, fast and the Verilog in Icarus give the same integers."""

import numpy as np
import pytest
from layers import conv2d, max_pool2d
from twinor.config import Config, load, replace
from twinor.die import sample_die
from twinor.errors import SimulatorError
from twinor.network import Flatten, IntegerNetwork, Linear, Requant
from twinor.place import place
from twinor.run import BACKENDS, chain_runner, forward

pytestmark = pytest.mark.rtl

CONFIG = replace(load("tiny"), psum_bits=16)


def _network(config: Config) -> IntegerNetwork:
    rng = np.random.default_rng(1)

    def rule(channels: int, top: int) -> Requant:
        mult, add = rng.integers(20, 90, channels), rng.integers(-900, 900, channels)
        return Requant(mult=mult.astype(np.int16), add=add.astype(np.int32), shift=8, lo=0, hi=top)

    def weights(*shape: int) -> np.ndarray:
        return rng.integers(config.weight_min, config.weight_max + 1, shape).astype(np.int8)

    layers = (
        conv2d(name="conv", weight=weights(5, 2, 3, 3), padding=(1, 1), requant=rule(5, 3)),
        max_pool2d(name="pool", kernel=(2, 2), stride=(2, 2)),
        Flatten(name="flatten"),
        Linear(name="linear", weight=weights(6, 20), requant=rule(6, 400)),
    )
    return IntegerNetwork(input_shape=(2, 4, 4), input_bits=2, layers=layers)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_engine_gives_the_same_logits_on_a_varied_die(backend: str) -> None:
    network = _network(CONFIG)
    placement = place(CONFIG, network)
    die = sample_die(CONFIG, placement.levels, seed=5)
    images = np.random.default_rng(2).integers(0, 4, (3, 2, 4, 4))
    logits = forward(network, placement, images, chain_runner(CONFIG, die, backend=backend))
    wanted = forward(network, placement, images, chain_runner(CONFIG, die, backend="golden"))
    assert len(np.unique(wanted)) > 3
    assert np.array_equal(logits, wanted)


def test_an_unknown_output_of_the_verilog_is_no_logit(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _network(CONFIG)
    placement = place(CONFIG, network)
    die = sample_die(CONFIG, placement.levels, seed=5)
    runner = chain_runner(CONFIG, die, backend="rtl")
    monkeypatch.setattr("twinor.cosim.files.words_hex", lambda *_: "")  # without words nothing ever leaves
    with pytest.raises(SimulatorError, match="the Verilog drove X, or nothing"):
        forward(network, placement, np.ones((1, 2, 4, 4), dtype=np.int64), runner)
