# SPDX-License-Identifier: Apache-2.0
"""Networks whose graph is not what it looks like: branches, names, in-place operations, signs, tails."""

from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from plain_networks import plain
from torch import nn
from torch.nn import functional
from twinor.errors import PlacementError, UnsupportedLayer
from twinor.network import IntegerNetwork, MaxPool
from twinor.network_file import load_network, save_network
from twinor.quantize import deterministic, quantize, to_integer
from twinor.quantize.requant import integer_rule, with_shortcut
from twinor.quantize.thresholds import Phase
from twinor.shapes import check_graph

pytestmark = pytest.mark.fast

SHAPE = (3, 8, 8)


@pytest.fixture(autouse=True)
def _own_generator():
    with deterministic(5):
        yield


class Calls(nn.Module):
    """Layers by name, and a forward pass that is given as a function of the module and the images."""

    def __init__(self, call, **layers):  # noqa: D107
        super().__init__()
        self.call = call
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):  # noqa: D102
        return self.call(self, x)


def conv(inputs=3, outputs=3):
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.normal_(layer.weight, std=0.5)
    return layer


def near(call, *, shape=SHAPE, least=0.9, **layers):
    """The quantized network of a call: its integers are the oracle's, and its logits follow the float network's."""
    model = Calls(call, **layers).eval()
    images = torch.randint(0, 16, (48, *shape), dtype=torch.uint8)
    with torch.no_grad():
        real = model(images / 8).flatten(1)  # before quantize, which must not change the model
        quant = quantize(model, input_shape=shape, input_step=1 / 8, calibration=images)
        coded, values = quant(images).flatten(1), quant.codes(images).values.numpy()
    network = to_integer(quant)
    check_graph(network)
    expected = oracle.logits(plain(network), images.numpy())
    assert np.array_equal(values.reshape(len(values), -1), expected.reshape(len(values), -1))
    together = torch.corrcoef(torch.stack([(real - real.mean(0)).ravel(), (coded - coded.mean(0)).ravel()]))[0, 1]
    assert together > least, f"float and 4-bit logits go together by {together:.2f}"
    return quant, network


def test_a_relu_stays_a_relu_where_its_layer_joins_a_signed_one():
    def call(m, x):
        return torch.cat([functional.relu(m.a(x)), m.b(x)], 1)

    _, network = near(lambda m, x: m.c(call(m, x)), a=conv(), b=conv(), c=conv(6))
    assert [layer.requant.lo for layer in network.weight_layers()][:2] == [0, -8]
    quant, _ = near(lambda m, x: m.c(functional.avg_pool2d(call(m, x), 2)), a=conv(), b=conv(), c=conv(6))
    pool = next(layer for layer in quant.layers if type(layer).__name__ == "QuantAvgPool")
    assert (pool.input_min, pool.lowest) == (-8, -8)


def test_a_relu6_among_joined_layers_limits_itself_alone():
    big = conv()
    with torch.no_grad():
        big.weight.mul_(20)

    def call(m, x):
        return m.c(torch.cat([functional.relu6(m.a(x)), functional.relu(m.b(x))], 1))

    quant, network = near(call, a=conv(), b=big, c=conv(6))
    six, other = list(network.weight_layers())[:2]
    step = float(next(quant.weight_layers()).clip.step())
    assert other.requant.hi == 15 and six.requant.hi == int(6 / step + 0.5) < 15


def test_what_is_returned_counts_not_what_was_computed_last():
    def call(m, x):
        y = m.fc(torch.flatten(x, 1))
        m.unused = functional.relu(y)  # a hook, a log, an auxiliary head
        m.other = torch.sigmoid(y)  # nothing that the macro has, and nobody needs it
        return y

    _, network = near(call, fc=nn.Linear(192, 5))
    assert [layer.name for layer in network.layers] == ["flatten1", "fc"]
    assert network.layers[-1].requant.lo < 0


@pytest.mark.parametrize("tail", ["pool", "conv"])
def test_logits_before_a_last_flatten_are_not_cut_to_4_bits(tail):
    if tail == "pool":
        net, last = nn.Sequential(conv(3, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 2
    else:
        net, last = nn.Sequential(nn.Conv2d(3, 5, 8), nn.Flatten()), 0
    _, network = near(lambda m, x: m.net(x), net=net)
    rule = network.layers[-2].requant
    assert rule is None if last else rule.hi > 1000


def test_an_operation_in_place_is_seen_by_all_who_hold_its_operand():
    near(lambda m, x: m.c(m.relu(y := m.a(x))) + y, a=conv(), c=conv(), relu=nn.ReLU(inplace=True))

    def add(m, x):
        kept = m.a(x)
        x = kept
        x += m.b(x)
        return m.c(functional.relu(x)) + kept

    with pytest.raises(UnsupportedLayer, match=r"a tensor that \+= changes in place is used elsewhere too"):
        quantize(Calls(add, a=conv(), b=conv(), c=conv()), input_shape=SHAPE)


def test_a_frozen_float_network_is_quantized_as_any_other():
    model = nn.Sequential(conv(3, 6), nn.ReLU(), nn.Flatten(), nn.Linear(384, 4)).requires_grad_(False)
    quant = quantize(model, input_shape=SHAPE)
    layers = list(quant.weight_layers())
    assert layers[0].threshold.log2_t.shape == (6,)
    assert all(parameter.requires_grad for layer in layers for parameter in layer.parameters())


def test_a_batch_norm_that_stands_alone_is_trained_as_any_other():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), conv(), nn.Flatten(), nn.Linear(192, 4))
    quant = quantize(model, input_shape=SHAPE).train()
    alone = next(quant.weight_layers())
    before = alone.norm.running_mean.clone()
    for phase, moves in ((Phase.SAMPLE, True), (Phase.TRAIN, True), (Phase.FREEZE, False)):
        quant.set_phase(phase)
        quant(torch.randint(0, 16, (16, *SHAPE)))
        assert torch.equal(alone.norm.running_mean, before) is not moves
        before = alone.norm.running_mean.clone()
    assert torch.equal(alone.threshold.log2_t, torch.zeros_like(alone.threshold.log2_t))


def test_a_closed_channel_lets_its_shortcut_through():
    scale = torch.tensor([3.9, 0.01, 0.4 / 8191, 0.0, -1e-9], dtype=torch.float64)
    rule = integer_rule(scale, torch.zeros(5), acc_max=500, lo=-8, hi=7)
    for gain in (0.4, 1.0, 3.0):
        opened, r = with_shortcut(rule, torch.tensor(gain))
        passed = r * opened.mult * torch.exp2(-opened.shift)
        assert (passed[1:] / gain - 1).abs().max() < 0.02 and r.abs().max() <= 8191
        assert torch.equal(opened.mult[:2], rule.mult[:2])
    block = nn.BatchNorm2d(3)
    nn.init.zeros_(block.weight)  # as residual branches often begin
    near(
        lambda m, x: m.c(functional.relu(m.n(m.b(y := functional.relu(m.a(x)))) + y)),
        a=conv(),
        b=conv(),
        n=block,
        c=conv(),
    )


def test_images_may_be_joined_with_themselves_and_with_others():
    _, network = near(lambda m, x: m.c(torch.cat([x, x, x], 1)), c=conv(9))
    names = [layer.name for layer in network.layers]
    assert len(set(names)) == len(names) == 3
    near(
        lambda m, x: m.c(torch.cat([x, functional.relu(m.b(torch.cat([x, functional.relu(m.a(x))], 1)))], 1)),
        a=conv(), b=conv(6), c=conv(6),
    )  # fmt: skip
    near(
        lambda m, x: m.b(torch.cat([x, functional.relu(m.a(x))], 1)), shape=(8,), a=nn.Linear(8, 4), b=nn.Linear(12, 3)
    )


def test_samples_look_through_the_final_clip_of_joined_layers():
    small, large = conv(), conv()
    with torch.no_grad():
        large.weight.mul_(8)
    near(
        lambda m, x: m.c(torch.cat([functional.relu(m.a(x)), functional.relu(m.b(x))], 1)), a=small, b=large, c=conv(6)
    )


def test_the_pass_of_evaluation_is_what_is_quantized():
    def call(m, x):
        if m.training:
            return m.aux(torch.flatten(x, 1)), m.fc(torch.flatten(x, 1))
        return m.fc(torch.flatten(x, 1))

    model = Calls(call, fc=nn.Linear(192, 5), aux=nn.Linear(192, 7)).train()
    quant = quantize(model, input_shape=SHAPE)
    assert [layer.name for layer in quant.layers] == ["flatten1", "fc"] and model.training and model.aux.training


def test_a_layer_may_be_called_images():
    near(lambda m, x: m.c(functional.relu(m.images(x)) + x), images=conv(), c=conv())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda m, x: x + functional.adaptive_avg_pool2d(x, 1),
            r"it adds shapes \(3, 8, 8\) and \(3, 1, 1\)",
        ),
        (lambda m, x: m.hidden[0](x), "its layers must be submodules"),
        (lambda m, x: m.a(x)[: len(x)], "cannot be followed"),
        (lambda m, x: functional.avg_pool1d(torch.flatten(x, 1), 2), r"its input has shape \(192,\), which has no"),
    ],
)
def test_these_are_refused_with_a_sentence(call, words):
    model = Calls(call, a=conv())
    model.hidden = [conv()]
    with pytest.raises(UnsupportedLayer, match=words):
        quantize(model, input_shape=SHAPE)


def test_sums_and_joins_are_found_however_they_are_written():
    def call(m, x):
        a, b = functional.relu(m.a(x)), functional.relu(m.b(x))
        return m.d(torch.cat(tensors=[torch.add(a, other=b, alpha=1), b], dim=1))

    near(call, a=conv(), b=conv(), d=conv(6))


def test_a_large_average_is_a_sum_of_whole_numbers():
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 3))
    images = torch.randint(0, 256, (2, 1, 200, 250), dtype=torch.uint8)
    quant = quantize(model, input_shape=(1, 200, 250), input_bits=8, input_step=1 / 128, calibration=images)
    expected = oracle.logits(plain(to_integer(quant)), images.numpy())
    assert np.array_equal(quant.codes(images).values.detach().numpy(), expected)
    with pytest.raises(UnsupportedLayer, match="its accumulator can reach 19125000, more than the 16777216"):
        quantize(model, input_shape=(1, 250, 300), input_bits=8)


# Integer networks from elsewhere //


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sources": ("images", "images")}, "layer a takes 2 layers: expected one and, if any, a shortcut"),
        ({"padding_mode": "reflect", "padding": ((8, 8), (1, 1))}, "reflect padding .* is wider than"),
    ],
)
def test_convolutions_that_mean_nothing_are_refused(changes, words):
    _, network = near(lambda m, x: m.c(functional.relu(m.a(x))), a=conv(), c=conv())
    first, last = network.layers
    with pytest.raises(PlacementError, match=words):
        check_graph(replace(network, layers=(replace(first, **changes), last)))


def test_windows_with_nothing_in_them_and_empty_networks_are_refused():
    pool = MaxPool(name="p", kernel=(2,), stride=(1,), padding=((2, 0),), dilation=(1,))
    with pytest.raises(PlacementError, match=r"padding .* makes windows with nothing in them"):
        check_graph(IntegerNetwork(input_shape=(1, 4), input_bits=4, layers=(pool,)))
    with pytest.raises(PlacementError, match="the network has no layers"):
        check_graph(IntegerNetwork(input_shape=(1, 4), input_bits=4, layers=()))


def test_a_network_file_with_a_shortcut_survives_a_round_trip(tmp_path):
    _, network = near(
        lambda m, x: m.c(functional.relu(m.b(y := functional.relu(m.a(x))) + y)), a=conv(), b=conv(), c=conv()
    )
    save_network(tmp_path / "net.npz", network)
    again = load_network(tmp_path / "net.npz")
    images = np.random.default_rng(1).integers(0, 16, (4, *SHAPE)).astype(np.uint8)
    assert np.array_equal(oracle.logits(plain(again), images), oracle.logits(plain(network), images))
    assert np.array_equal(again.layers[1].shortcut.mult, network.layers[1].shortcut.mult)
