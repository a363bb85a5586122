# SPDX-License-Identifier: Apache-2.0
"""A network that could not be read again is not written."""

from dataclasses import replace

import numpy as np
import pytest
from twinor.errors import TwinorError
from twinor.network import Conv, Flatten, IntegerNetwork, Linear, Requant, Shortcut
from twinor.network_file import Trained, load_network, save_network, save_trained

pytestmark = pytest.mark.fast

NONE = np.zeros(0)


def rule(channels, **changes):
    mult, add = np.full(channels, 3, dtype=np.int16), np.ones(channels, dtype=np.int32)
    return Requant(**{"mult": mult, "add": add, "shift": 1, "lo": 0, "hi": 15} | changes)


CONV = Conv(
    name="conv",
    weight=np.ones((2, 1, 3, 3), dtype=np.int8),
    stride=(1, 1),
    padding=((1, 1), (1, 1)),
    dilation=(1, 1),
    requant=rule(2),
)
LINEAR = Linear(name="fc", weight=np.ones((3, 32), dtype=np.int8), requant=rule(3))
NETWORK = IntegerNetwork(input_shape=(1, 4, 4), input_bits=4, layers=(CONV, Flatten(name="flat"), LINEAR))


def with_conv(**changes):
    return replace(NETWORK, layers=(replace(CONV, **changes), *NETWORK.layers[1:]))


def test_the_network_as_it_is_comes_back(tmp_path):
    save_network(tmp_path / "net.npz", NETWORK)
    assert [layer.name for layer in load_network(tmp_path / "net.npz").layers] == ["conv", "flat", "fc"]


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (replace(NETWORK, input_bits=16), r"input_bits 16, input_signed False: expected 1 \.\. 8"),
        (replace(NETWORK, input_shape=(1, 0, 4)), r"\[1, 0, 4\]: expected integers of at least 1"),
        (replace(NETWORK, layers=()), "the network has no layers"),
        (replace(NETWORK, layers=(CONV, LINEAR)), r"layer fc takes images of shape \(32,\)"),
        (with_conv(name="fc"), "layer name fc stands twice"),
        (with_conv(sources=("gone",)), "layer conv takes the outputs of gone, which is no layer before it"),
        (with_conv(shortcut=Shortcut(source="images", mult=np.ones(2, np.int16))), "its shortcut images has"),
        (with_conv(requant=rule(3)), "layer 0 has 2 channels, 3 mult and 3 add"),
        (with_conv(requant=rule(2, shift=0)), "layer 0: shift 0, lo 0, hi 15"),
        (with_conv(requant=rule(2, hi=np.int64(3))), "int64 is not JSON serializable"),
        (with_conv(padding_mode="mirror"), "layer 0: padding_mode mirror"),
        (with_conv(weight=np.ones((2, 1, 3, 3))), "."),
    ],
)
def test_a_network_that_could_not_be_read_is_not_written(tmp_path, network, words):
    trained = Trained(
        network=network, key="", fold=0, train_index=NONE, test_index=NONE, float_predictions=NONE,
        fake_quant_predictions=NONE,
    )  # fmt: skip
    for save, what in ((save_network, network), (save_trained, trained)):
        with pytest.raises(TwinorError, match=rf"not written, for it could not be read \(.*{words}") as caught:
            save(tmp_path / "net.npz", what)
        assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())
