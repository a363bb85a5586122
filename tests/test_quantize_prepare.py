# SPDX-License-Identifier: Apache-2.0
"""What can be quantized, and one clear sentence for everything else."""

import re
from collections import OrderedDict

import pytest
import torch
from torch import nn
from twinor import integer
from twinor.errors import ConfigError, NonFinite, UnsupportedLayer
from twinor.quantize import Recipe, new_head, quantize, to_integer, train_quantized
from twinor.quantize.hosted import QuantFlatten, QuantMaxPool
from twinor.quantize.modules import QuantConv, QuantLinear

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
    kinds = [QuantConv, QuantMaxPool, QuantConv, QuantFlatten, QuantLinear, QuantLinear]
    assert [type(layer) for layer in layers] == kinds
    assert [layer.name for layer in layers] == ["conv1", "pool1", "conv2", "flatten1", "linear1", "linear2"]
    assert [layer.clip is None for layer in layers if hasattr(layer, "clip")] == [False, False, False, True]
    assert (layers[2].window.stride, layers[2].window.padding) == ((1, 2), ((0, 0), (0, 0)))


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


@pytest.mark.parametrize("layer", [nn.GELU(), nn.PReLU(), nn.InstanceNorm2d(4), nn.ConvTranspose2d(4, 4, 1)])
def test_an_unknown_layer_is_named_with_what_is_supported(layer):
    message = refusal(nn.Conv2d(1, 4, 3, padding=1), layer, *TAIL)
    assert message.startswith(f"layer '1' ({type(layer).__name__}): this operation is not supported; supported: Conv1d")
    assert "max, average and adaptive pooling" in message


def test_a_subclass_may_compute_anything_and_is_refused():
    class Shifted(nn.Linear):
        def forward(self, x):
            return nn.functional.linear(x, self.weight, self.bias) + 1

    message = refusal(nn.Flatten(), Shifted(64, 3))
    assert re.match(r"operation '_1_weight' \(1\.weight.*\): this operation is not supported", message)


class Calls(nn.Module):
    """A forward pass that is given as a function of the module and the images."""

    def __init__(self, call):  # noqa: D107
        super().__init__()
        self.call, self.conv, self.fc = call, nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * 64, 10)
        self.drop = nn.Dropout()

    def forward(self, x):  # noqa: D102
        return self.call(self, x)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, x: torch.sigmoid(m.conv(x)).flatten(1), "(sigmoid, test_quantize_prepare.py:"),
        (lambda m, x: m.conv(x).softmax(1).flatten(1), "a softmax can only be the last operation"),
        (lambda m, x: m.conv(x) * 2, "(mul, test_quantize_prepare.py:"),
        (lambda m, x: m.conv(x) + 1, "only the sum of two results of one shape can be mapped"),
        (lambda m, x: torch.add(m.conv(x), x, alpha=2), "only the sum of two results of one shape"),
        (lambda m, x: torch.cat([m.conv(x), x], 2), "it does not take an input of shape (4, 8, 8), (1, 8, 8)"),
        (lambda m, x: torch.cat([x, m.conv(x)[:, :1]], 1), "(getitem, test_quantize_prepare.py:"),
        (lambda m, x: torch.cat([m.conv(x), m.conv(x)], 3), "it joins dimension 3; only channels, dimension 1"),
        (lambda m, x: m.conv(x).view(-1, 2, 128), "it makes (2, 128) of (4, 8, 8); only all of an image"),
        (lambda m, x: m.conv(x).mean(1), "it takes the mean over 1; only over all positions"),
        (lambda m, x: m.conv(x) if x.sum() > 0 else x, "cannot be followed"),
        (lambda m, x: (m.conv(x), x), "the network gives more than one result; expected one tensor, the logits"),
        (lambda m, x: nn.functional.conv2d(x, m.conv.weight), "'conv_weight' (conv.weight"),
        (lambda m, x: nn.functional.dropout(m.conv(x)), "(dropout, test_quantize_prepare.py:"),
        (
            lambda m, x: nn.functional.dropout2d(m.conv(x), 0.1, True),
            "too, where training is not given; write training=",
        ),
        (lambda m, x: torch.dropout(m.conv(x), 0.5, True), "'dropout' (dropout"),
        (lambda m, x: m.fc(m.drop.train()(m.conv(x)).flatten(1)), "Calls computes something else each time, even in"),
    ],
)
def test_operations_that_cannot_be_mapped_are_named_with_their_line(call, words):
    with pytest.raises(UnsupportedLayer) as caught:
        quantize(Calls(call), input_shape=SHAPE)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_names_and_order_of_arguments_do_not_matter():
    def call(m, x):
        x = nn.functional.dropout(p=0.3, training=m.training, input=nn.functional.dropout(m.conv(x), 0.0))
        x = nn.functional.max_pool2d(kernel_size=(2, 2), input=x)
        return m.fc(torch.cat(dim=1, tensors=[x, x, x, x]).flatten(1))

    layers = quantize(Calls(call), input_shape=SHAPE).layers
    assert [layer.name for layer in layers] == ["conv", "pool1", "cat1", "flatten1", "fc"]
    assert layers[2].sources == ("pool1",) * 4 and layers[1].window.kernel == (2, 2)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.MaxPool2d(2, return_indices=True), "layer '2' (MaxPool2d): it gives more than one tensor"),
        (nn.AvgPool2d(3, ceil_mode=True), "layer '2' (AvgPool2d): ceil_mode makes windows that are cut off"),
        (nn.AvgPool2d(3, padding=1, count_include_pad=False), "layer '2' (AvgPool2d): count_include_pad is False"),
        (
            nn.AdaptiveAvgPool2d(3),
            "layer '2' (AdaptiveAvgPool2d): (8, 8) positions cannot be divided",
        ),
        (nn.Flatten(0), "layer '2' (Flatten): it makes () of (4, 8, 8)"),
        (nn.Flatten(1, 2), "layer '2' (Flatten): it makes (32, 8) of (4, 8, 8)"),
        (nn.BatchNorm2d(4, track_running_stats=False), "layer '2' (BatchNorm2d): track_running_stats is False"),
    ],
)
def test_options_that_cannot_be_mapped_are_named(layer, words):
    with pytest.raises(UnsupportedLayer) as caught:
        quantize(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), layer), input_shape=SHAPE)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ((nn.Linear(8, 2),), "layer '0' (Linear): its input has shape (1, 8, 8); put Flatten before it"),
        ((nn.Flatten(), nn.Linear(63, 2)), "layer '1' (Linear): it does not take an input of shape (64,)"),
        ((nn.Conv2d(3, 4, 3), nn.ReLU(), *TAIL), "layer '0' (Conv2d): it does not take an input of shape (1, 8, 8)"),
        ((nn.Conv2d(1, 4, 3), nn.BatchNorm2d(5), *TAIL), "layer '1' (BatchNorm2d): it does not take an input"),
        ((nn.MaxPool2d(2), nn.Flatten()), "no convolution and no linear layer"),
        ((), "no convolution and no linear layer"),
    ],
)
def test_layers_out_of_place_are_named(layers, words):
    assert words in refusal(*layers)


def test_accumulators_beyond_exact_floats_are_refused():
    wide = nn.Linear(160_000, 2, device="meta").to_empty(device="cpu")
    wide.weight.data.zero_(), wide.bias.data.zero_()
    message = refusal(nn.Flatten(), wide, shape=(1, 400, 400))
    assert "layer '1' (Linear): its accumulator can reach 16800000, more than the 16777216 that float32" in message


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["0.weight", "1.running_var", "4.bias"])
def test_non_finite_parameters_are_named_before_training(bad, key):
    model = good()
    model.state_dict()[key].view(-1)[0] = bad
    index, tensor = key.split(".")
    with pytest.raises(NonFinite, match=rf"layer '{index}' \(\w+\): 1 of \d+ values of {tensor} are NaN or infinite"):
        quantize(model, input_shape=SHAPE)


@pytest.mark.parametrize("tensor", ["weight", "bias", "norm.running_mean", "threshold.log2_t", "clip.log2_alpha"])
def test_non_finite_parameters_are_named_at_conversion(tensor):
    model = quantize(good(), input_shape=SHAPE)
    dict(model.layers[0].state_dict())[tensor].view(-1)[0] = float("nan")
    with pytest.raises(NonFinite, match=rf"layer 'conv1': 1 of \d+ values of {re.escape(tensor)} are NaN"):
        to_integer(model)


CODES = torch.arange(256, dtype=torch.uint8).reshape(4, *SHAPE) % 16


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"input_bits": 0}, "input_bits is 0; expected the bits of an image code, a whole number in 1 .. 8"),
        ({"input_bits": 12}, "input_bits is 12; expected"),
        ({"input_bits": 4.0}, "input_bits is 4.0; expected"),
        ({"input_step": 0.0}, "input_step is 0.0; expected the real value of image code 1, above 0 and finite"),
        ({"input_step": -0.1}, "input_step is -0.1; expected"),
        ({"input_step": float("nan")}, "input_step is nan; expected"),
        ({"input_step": float("inf")}, "input_step is inf; expected"),
        ({"input_step": 1e-60}, "input_step is 1e-60; expected"),
        ({"calibration": CODES / 15}, "images are of torch.float32; expected a tensor of whole numbers"),
        ({"calibration": CODES.numpy()}, "images are of ndarray; expected a tensor of whole numbers"),
        ({"calibration": CODES[:0]}, "images have shape (0, 1, 8, 8); expected (n, 1, 8, 8) with at least one image"),
        ({"calibration": CODES[:, 0]}, "images have shape (4, 8, 8); expected (n, 1, 8, 8)"),
        ({"calibration": torch.tensor(3)}, "images have shape (); expected (n, 1, 8, 8)"),
        ({"calibration": CODES * 17}, "images hold codes 0 .. 255; expected 0 .. 15 for input_bits of 4"),
        ({"calibration": CODES.int() - 1}, "images hold codes -1 .. 14; expected 0 .. 15"),
        ({"calibration": CODES, "input_bits": 3}, "images hold codes 0 .. 15; expected 0 .. 7 for input_bits of 3"),
    ],
)
def test_arguments_that_are_not_what_they_must_be_are_refused(given, words):
    with pytest.raises(ConfigError) as caught:
        quantize(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), *TAIL), input_shape=SHAPE, **given)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_network_that_was_neither_calibrated_nor_trained_has_no_integers():
    model = quantize(good(), input_shape=SHAPE)
    with pytest.raises(
        ConfigError, match=r"layer 'conv1': its threshold was never set, .* calibration images, or train"
    ):
        to_integer(model)
    model(CODES)
    assert to_integer(model).layers[0].name == "conv1"
    new_head(model, 5)
    with pytest.raises(ConfigError, match="layer 'linear2': its threshold was never set"):
        to_integer(model)


def test_a_macro_may_be_in_the_loop_before_anything_is_sampled():
    model = quantize(good(), input_shape=SHAPE)
    recipe = Recipe(
        macro="nor40_int4",
        macro_share=1.0,
        quant_epochs=1,
        sample_steps=1,
        batch_size=4,
        shift_pixels=0,
        distillation=0.0,
    )
    train_quantized(model, None, CODES, torch.tensor([0, 1, 2, 0]), recipe=recipe)
    assert to_integer(model).layers[0].name == "conv1"


def test_a_clip_that_was_never_sampled_is_told():
    model = quantize(good(), input_shape=SHAPE, calibration=CODES)
    model.layers[2].clip.samples.zero_()
    with pytest.raises(ConfigError, match="layer 'conv2': its clip was never set"):
        to_integer(model)


@pytest.mark.parametrize("tail", ["linear", "pool", "norm"])
def test_the_host_makes_probabilities_of_the_logits(tail):
    """Softmax of the integers times the step in the provenance is the softmax of the quantized network."""
    tails = {
        "linear": TAIL,
        "pool": (nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "norm": (*TAIL, nn.BatchNorm1d(10), nn.Softmax(1)),
    }
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), *tails[tail])
    model = quantize(net, input_shape=SHAPE, calibration=CODES)
    network = to_integer(model, provenance={"made by": "a test", "logit_step": "of another"})
    assert network.provenance.keys() == {"made by", "logit_step"} and network.provenance["made by"] == "a test"
    logits = torch.from_numpy(integer.logits(network, CODES.numpy())).flatten(1)
    with torch.no_grad():
        expected = model(CODES).flatten(1).softmax(1)
    found = (float(network.provenance["logit_step"]) * logits).softmax(1)
    assert torch.allclose(found, expected.to(found.dtype), atol=1e-6) and expected.std() > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"quant_epochs": 0}, "quant_epochs must be above 0, got 0"),
        ({"float_rate": float("nan")}, "float_rate must be above 0, got nan"),
        ({"width": 0.0}, "width must be above 0, got 0.0"),
        ({"distillation": 1.5}, r"distillation must be in 0\.\.1, got 1\.5"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_recipes_that_cannot_run_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        Recipe(**change)
