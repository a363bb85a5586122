# SPDX-License-Identifier: Apache-2.0
"""What can be quantized, and one clear sentence for everything else."""

import re
from collections import OrderedDict

import pytest
import torch
from torch import nn
from twinor.errors import ConfigError, NonFinite, UnsupportedLayer
from twinor.quantize import Recipe, quantize, to_integer
from twinor.quantize.modules import QuantConv2d, QuantFlatten, QuantLinear, QuantMaxPool2d

pytestmark = pytest.mark.fast

TAIL = (nn.Flatten(), nn.Linear(4 * 64, 10))
SHAPE = (1, 8, 8)


def refusal(*layers, shape=SHAPE):
    with pytest.raises(UnsupportedLayer) as caught:
        quantize(nn.Sequential(*layers), input_shape=shape)
    message = str(caught.value)
    assert "\n" not in message
    return message


def good():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, (3, 2), stride=(1, 2)),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(20, 7),
        nn.ReLU(),
        nn.Linear(7, 3),
    )


def test_layers_are_grouped_and_named():
    layers = list(quantize(good(), input_shape=SHAPE).layers)
    kinds = [QuantConv2d, QuantMaxPool2d, QuantConv2d, QuantFlatten, QuantLinear, QuantLinear]
    assert [type(layer) for layer in layers] == kinds
    assert [layer.name for layer in layers] == ["conv1", "pool1", "conv2", "flatten1", "linear1", "linear2"]
    assert [layer.clip is None for layer in layers if hasattr(layer, "clip")] == [False, False, False, True]
    assert (layers[2].stride, layers[2].padding) == ((1, 2), (0, 0))


def test_names_of_the_float_network_are_kept():
    named = nn.Sequential(OrderedDict(stem=nn.Conv2d(1, 4, 3, padding=1), act=nn.ReLU(), flat=TAIL[0], out=TAIL[1]))
    assert [layer.name for layer in quantize(named, input_shape=SHAPE).layers] == ["stem", "flat", "out"]


def test_the_float_network_is_left_as_it_was():
    model = good()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    quant = quantize(model, input_shape=SHAPE)
    quant(torch.randint(0, 16, (6, *SHAPE))).sum().backward()
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("layer", [nn.AvgPool2d(2), nn.GELU(), nn.Conv1d(1, 1, 1), nn.Sequential(nn.ReLU())])
def test_an_unknown_layer_is_named_with_what_is_supported(layer):
    message = refusal(nn.Conv2d(1, 4, 3), layer, *TAIL)
    assert message.startswith(f"layer 1 ({type(layer).__name__}): this type is not supported;")
    assert "Conv2d, BatchNorm2d, ReLU, MaxPool2d, Flatten, Linear" in message


def test_a_subclass_may_compute_anything_and_is_refused():
    class Shifted(nn.Linear):
        pass

    assert "layer 1 (Shifted)" in refusal(nn.Flatten(), Shifted(64, 3))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Conv2d(2, 4, 3, padding=1, groups=2), "groups is 2; supported: 1"),
        (nn.Conv2d(2, 4, 3, padding=2, dilation=2), "dilation is (2, 2); supported: (1, 1)"),
        (nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), "padding_mode is reflect; supported: zeros"),
        (nn.Conv2d(2, 4, 3, padding="same"), "padding is 'same'; supported: by number"),
    ],
)
def test_options_of_convolutions_are_named(layer, words):
    assert f"layer 0 (Conv2d): {words}" in refusal(layer, nn.ReLU(), *TAIL, shape=(2, 8, 8))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.MaxPool2d(3, stride=1, padding=1), "(MaxPool2d): padding is (1, 1); supported: (0, 0)"),
        (nn.MaxPool2d(2, stride=1, dilation=2), "(MaxPool2d): dilation is (2, 2)"),
        (nn.MaxPool2d(3, ceil_mode=True), "(MaxPool2d): ceil_mode is True; supported: False"),
        (nn.MaxPool2d(2, return_indices=True), "(MaxPool2d): return_indices is True"),
        (nn.Flatten(0), "(Flatten): start_dim is 0; supported: 1"),
        (nn.Flatten(1, 2), "(Flatten): end_dim is 2; supported: -1"),
    ],
)
def test_options_of_host_layers_are_named(layer, words):
    assert words in refusal(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), layer, *TAIL)


def test_batch_norm_must_keep_running_statistics():
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    message = refusal(nn.Conv2d(1, 4, 3, padding=1), norm, nn.ReLU(), *TAIL)
    assert "layer 1 (BatchNorm2d): track_running_stats is False" in message


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ((nn.Conv2d(1, 4, 3, padding=1), *TAIL), "layer 0 (Conv2d): [BatchNorm2d,] ReLU must follow"),
        (
            (
                nn.Conv2d(1, 4, 3, padding=1),
                nn.BatchNorm2d(4),
                nn.MaxPool2d(2),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(64, 2),
            ),
            "got MaxPool2d at 2",
        ),
        ((nn.ReLU(), *TAIL[:1], nn.Linear(64, 2)), "layer 0 (ReLU): it must follow Conv2d or Linear"),
        ((nn.Flatten(), nn.Linear(64, 2), nn.ReLU()), "layer 2 (ReLU): it must follow"),
        ((nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)), "layer 1 (BatchNorm2d): it must follow"),
        ((nn.Linear(8, 2),), "layer 0 (Linear): its input has shape (1, 8, 8); put Flatten before it"),
        ((nn.Flatten(), nn.Linear(63, 2)), "layer 1 (Linear): it does not take an input of shape (64,)"),
        (
            (nn.Conv2d(3, 4, 3), nn.ReLU(), *TAIL),
            "layer 0 (Conv2d): it does not take an input of shape (1, 8, 8)",
        ),
        (
            (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(5), nn.ReLU(), *TAIL),
            "layer 1 (BatchNorm2d): num_features is 5",
        ),
        (
            (nn.Flatten(), nn.Linear(64, 2), nn.BatchNorm2d(2), nn.ReLU()),
            "layer 2 (BatchNorm2d): num_features",
        ),
        ((nn.MaxPool2d(2), nn.Flatten()), "no Conv2d and no Linear"),
        ((), "no Conv2d and no Linear"),
    ],
)
def test_layers_out_of_place_are_named(layers, words):
    assert words in refusal(*layers)


def test_accumulators_beyond_exact_floats_are_refused():
    wide = nn.Linear(160_000, 2, device="meta").to_empty(device="cpu")
    wide.weight.data.zero_(), wide.bias.data.zero_()
    message = refusal(nn.Flatten(), wide, shape=(1, 400, 400))
    assert "layer 1 (Linear): its accumulator can reach 16800000; supported: below 16777216" in message


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["0.weight", "1.running_var", "4.bias"])
def test_non_finite_parameters_are_named_before_training(bad, key):
    model = good()
    model.state_dict()[key].view(-1)[0] = bad
    index, tensor = key.split(".")
    with pytest.raises(NonFinite, match=rf"layer '{index}': 1 of \d+ values of {tensor} are NaN or infinite"):
        quantize(model, input_shape=SHAPE)


@pytest.mark.parametrize("tensor", ["weight", "bias", "norm.running_mean", "threshold.log2_t", "clip.log2_alpha"])
def test_non_finite_parameters_are_named_at_conversion(tensor):
    model = quantize(good(), input_shape=SHAPE)
    dict(model.layers[0].state_dict())[tensor].view(-1)[0] = float("nan")
    with pytest.raises(NonFinite, match=rf"layer 'conv1': 1 of \d+ values of {re.escape(tensor)} are NaN"):
        to_integer(model)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"quant_epochs": 0}, "quant_epochs must be above 0, got 0"),
        ({"float_rate": float("nan")}, "float_rate must be above 0, got nan"),
        ({"channels": (32, 0)}, r"channels must be above 0, got \(32, 0\)"),
        ({"distillation": 1.5}, r"distillation must be in 0\.\.1, got 1\.5"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_recipes_that_cannot_run_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        Recipe(**change)
