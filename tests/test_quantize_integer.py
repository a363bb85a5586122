# SPDX-License-Identifier: Apache-2.0
"""The integer network computes what the quantized torch network does, on random and on trained networks."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from twinor import network
from twinor.config import load
from twinor.data import digits
from twinor.errors import CorruptFile, NonFinite, TwinorError
from twinor.models import build
from twinor.quantize import Recipe, crossval, deterministic, quantize, to_integer, total, trained_digits
from twinor.quantize.cache import cache_path
from twinor.quantize.key import PACKAGE, content_key, sources
from twinor.quantize.thresholds import Phase

SHORT = Recipe(width=0.25, float_epochs=8, quant_epochs=4, sample_steps=10)


def oracle(net, images):
    """Forward pass in int64 (products of codes in float64, which is exact), written for this test alone."""
    x = torch.from_numpy(images.astype(np.int64))
    for layer in net.layers:
        if isinstance(layer, network.MaxPool):
            x = functional.max_pool2d(x.double(), layer.kernel, layer.stride).long()
        elif isinstance(layer, network.Flatten):
            x = x.flatten(1)
        else:
            weight = torch.from_numpy(layer.weight).double()
            if isinstance(layer, network.Conv):
                padding = tuple(before for before, _ in layer.padding)
                acc = functional.conv2d(x.double(), weight, stride=layer.stride, padding=padding)
            else:
                acc = x.double() @ weight.T
            rule, shape = layer.requant, [1, -1] + [1] * (x.dim() - 2)
            mult, add = (torch.from_numpy(v.astype(np.int64)).view(shape) for v in (rule.mult, rule.add))
            x = ((acc.long() * mult + add) >> rule.shift).clamp(rule.lo, rule.hi)
    return x.numpy()


def classes(net, images, calibration):
    return oracle(net, images).argmax(axis=1)


def random_model(seed):
    """Convolutions with and without batch norm, stride, hidden linear layer, negative and zero gamma."""
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(6, affine=seed != 2)
    if norm.affine:
        norm.weight.data = torch.tensor([1.0, -0.8, 0.0, 2.0, -1.5, 0.3])
        norm.bias.data = torch.randn(6)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=seed % 2 == 0),
        norm,
        nn.ReLU(),
        nn.MaxPool2d((2, 3), stride=(1, 2)),
        nn.Conv2d(6, 7, (2, 3), stride=(2, 1), padding=(1, 0)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(7 * 4 * 1, 9),
        nn.ReLU(),
        nn.Linear(9, 4, bias=seed != 1),
    )
    return quantize(model, input_shape=(2, 7, 7), input_bits=4, input_step=0.11)


@pytest.fixture(autouse=True)
def _own_generator():
    with deterministic():
        yield


@pytest.mark.fast
@pytest.mark.parametrize("seed", range(6))
def test_random_networks_convert_without_a_differing_code(seed):
    model = random_model(seed)
    images = torch.randint(0, 16, (64, 2, 7, 7), dtype=torch.uint8)
    for _ in range(3):
        model(images)
    net = to_integer(model)
    with torch.no_grad():
        fake = model.codes(images)
    logits = oracle(net, images.numpy())
    assert np.array_equal(fake.values.numpy(), logits)
    assert len(np.unique(logits)) > 20  # not a dead network


@pytest.mark.fast
def test_negative_gamma_converts_to_negative_multipliers():
    model = random_model(0)
    model(torch.randint(0, 16, (64, 2, 7, 7)))
    mult = to_integer(model).layers[0].requant.mult
    assert np.sign(mult).tolist() == [1, -1, 0, 1, -1, 1]


@pytest.mark.fast
def test_an_integer_network_holds_integers_of_the_fixed_formats():
    model = random_model(3)
    model(torch.randint(0, 16, (64, 2, 7, 7)))
    net = to_integer(model, provenance={"from": "a test"})
    weights = [layer for layer in net.layers if isinstance(layer, network.WeightLayer)]
    for layer in weights:
        assert layer.weight.dtype == np.int8
        assert np.abs(layer.weight).max() == 7
        assert layer.requant.mult.dtype == np.int16
        assert layer.requant.add.dtype == np.int32
        assert 1 <= layer.requant.shift <= 31
    assert [(layer.requant.lo, layer.requant.hi) for layer in weights] == [(0, 15)] * 3 + [(-(2**19), 2**19 - 1)]
    assert (weights[-1].requant.mult == 2).all()
    assert weights[-1].requant.shift == 1
    assert (net.input_shape, net.input_bits, net.provenance["from"]) == ((2, 7, 7), 4, "a test")


@pytest.mark.fast
def test_batch_norm_leaves_weight_codes_alone():
    model = random_model(4)
    model(torch.randint(0, 16, (64, 2, 7, 7)))
    before = to_integer(model).layers[0]
    with torch.no_grad():
        model.layers[0].norm.weight.mul_(-3)
        model.layers[0].norm.running_var.mul_(5)
    after = to_integer(model).layers[0]
    assert np.array_equal(before.weight, after.weight)
    assert not np.array_equal(before.requant.mult, after.requant.mult)


@pytest.mark.fast
def test_training_computes_on_codes_and_integer_rules():
    model = random_model(5).train()
    model.set_phase(Phase.SAMPLE)
    seen = []
    for layer in model.weight_layers():
        layer.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0].values, output.values)))
    model(torch.randint(0, 16, (32, 2, 7, 7)))
    for inputs, outputs in seen:
        assert torch.equal(inputs, inputs.round())
        assert torch.equal(outputs, outputs.round())
        assert inputs.min() >= 0
        assert inputs.max() <= 15


@pytest.mark.fast
def test_the_digits_network_needs_tiles_on_both_sides():
    images = torch.from_numpy(digits().images[:8])
    net = to_integer(quantize(build("digits", channels=1, classes=10), input_shape=(1, 8, 8), calibration=images))
    matrices = [layer.weight.reshape(len(layer.weight), -1).T.shape for layer in net.layers if hasattr(layer, "weight")]
    assert matrices == [(9, 32), (288, 96), (384, 10)]


@pytest.mark.fast
def test_the_key_depends_on_everything_that_decides_the_result():
    data = digits()
    base = content_key(data, recipe=SHORT, fold=0)
    assert base == content_key(digits(), recipe=Recipe(**{n: getattr(SHORT, n) for n in SHORT.__slots__}), fold=0)
    darker = type(data)(images=data.images // 2, labels=data.labels, input_bits=4)
    others = {
        content_key(data, recipe=SHORT, fold=1),
        content_key(data, recipe=Recipe(), fold=0),
        content_key(darker, recipe=SHORT, fold=0),
        content_key(data, recipe=SHORT, fold=0, threads=2),
        content_key(data, recipe=SHORT, fold=0, device="cuda"),
        content_key(data, recipe=SHORT, fold=0, die=b"chip"),
        content_key(type(data)(images=data.images, labels=data.labels, input_bits=8), recipe=SHORT, fold=0),
    }
    assert len(others | {base}) == 8


@pytest.mark.fast
@pytest.mark.parametrize("macro", ["", "nor40_int4"])
def test_the_key_depends_on_every_source_that_decides_the_result(macro, tmp_path, monkeypatch):
    """A macro in the loop brings placement, dies and physics in; without one they have no say."""
    shutil.copytree(PACKAGE, tmp_path / "twinor", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("twinor.quantize.key.PACKAGE", tmp_path / "twinor")
    monkeypatch.setattr("twinor.quantize.key.load", lambda preset: load("nor40_int4"))
    always = ["quantize/train.py", "models/plain.py", "data.py", "network.py", "config.py", "limits.py"]
    looped = ["calibrate.py", "die.py", "fast.py", "golden/bitline.py", "device/ekv.py", "converter/cdac.py"]
    never = ["report/page.py", "cosim/chain.py"]
    recipe, data = replace(SHORT, macro=macro), digits()
    before, moved = content_key(data, recipe=recipe), []
    for name in always + looped + never:
        path = tmp_path / "twinor" / name
        content = path.read_bytes()
        path.write_bytes(content + b"#")
        moved += [name] * (content_key(data, recipe=recipe) != before)
        path.write_bytes(content)
    assert moved == always + looped * bool(macro)


@pytest.mark.fast
def test_a_training_with_a_macro_imports_no_source_that_its_key_leaves_out():
    code = (
        "import sys, twinor.quantize.fitting, twinor.quantize.cache, twinor.die_file\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'twinor'), sep='\\n')"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    used = {Path(line) for line in said.stdout.split()}
    assert len(used) > 60 and used <= set(sources(macro=True))


@pytest.mark.fast
def test_reading_needs_no_torch():
    code = "import sys; sys.modules['torch'] = None; import twinor.quantize.cache, twinor.quantize.validate"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.fast
def test_a_diverging_loss_is_named_and_nothing_is_kept(tmp_path):
    recipe = Recipe(width=0.06, float_epochs=2, quant_epochs=1, float_rate=1e30)
    with pytest.raises(NonFinite, match=r"^float training, epoch 1, step \d+: the loss is .*; lower the learning"):
        trained_digits(recipe=recipe, cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fast
def test_a_cache_folder_that_cannot_be_made_stops_before_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TwinorError, match=r"cache folder .* cannot be made .*TWINOR_CACHE"):
        trained_digits(recipe=SHORT, cache_dir=tmp_path / "file" / "cache")


def test_training_twice_gives_the_same_bytes_and_leaves_torch_alone(tmp_path):
    torch.set_num_threads(2)
    epochs: list[tuple[str, int, int]] = []
    state = torch.get_rng_state()
    first = trained_digits(recipe=SHORT, cache_dir=tmp_path / "a", progress=lambda *now: epochs.append(now[:3]))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    torch.set_num_threads(1)
    trained_digits(recipe=SHORT, cache_dir=tmp_path / "b")
    files = [next((tmp_path / name).iterdir()) for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert epochs == [("float", e, 8) for e in range(1, 9)] + [("int4", e, 4) for e in range(1, 5)]
    torch.set_num_threads(2)
    trained_digits(recipe=SHORT, fold=1, cache_dir=tmp_path / "c")
    assert torch.get_num_threads() == 2
    assert torch.are_deterministic_algorithms_enabled()  # as the fixture set it
    assert first.network.provenance["data"] == "scikit-learn digits"


def test_a_trained_network_converts_without_a_differing_prediction(tmp_path):
    data = digits()
    trained = trained_digits(recipe=SHORT, cache_dir=tmp_path)
    predictions = classes(trained.network, data.images[trained.test_index], None)
    assert np.array_equal(predictions, trained.fake_quant_predictions)
    labels = data.labels[trained.test_index]
    assert (trained.float_predictions == labels).mean() > 0.8
    assert (predictions == labels).mean() > 0.8


def test_a_cached_result_is_read_and_a_damaged_one_is_refused(tmp_path):
    first = trained_digits(recipe=SHORT, cache_dir=tmp_path)

    def no_training(*now):
        raise AssertionError("trained again")

    again = trained_digits(recipe=SHORT, cache_dir=tmp_path, progress=no_training)
    assert np.array_equal(first.fake_quant_predictions, again.fake_quant_predictions)
    path = cache_path(first.key, cache_dir=tmp_path)
    content = bytearray(path.read_bytes())
    content[1000] ^= 4
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match=r"is damaged .*; delete it to retrain$"):
        trained_digits(recipe=SHORT, cache_dir=tmp_path)


def test_a_result_under_the_wrong_name_is_refused(tmp_path):
    first = trained_digits(recipe=SHORT, cache_dir=tmp_path)
    other = cache_path(content_key(digits(), recipe=SHORT, fold=1), cache_dir=tmp_path)
    cache_path(first.key, cache_dir=tmp_path).rename(other)
    with pytest.raises(CorruptFile, match="holds another result"):
        trained_digits(recipe=SHORT, fold=1, cache_dir=tmp_path)


def test_cross_validation_tests_every_image_once(tmp_path):
    recipe = Recipe(width=0.125, float_epochs=2, quant_epochs=1, sample_steps=5)
    results = crossval(recipe, classes, cache_dir=tmp_path)
    summed = total(results)
    assert [result.images for result in results] == [360, 360, 359, 359, 359]
    assert summed.images == 1797
    assert summed.differing == 0
    assert summed.integer_right == summed.fake_quant_right > 900


def test_four_bits_cost_at_most_half_a_point_on_fold_zero():
    data = digits()
    trained = trained_digits()
    labels = data.labels[trained.test_index]
    predictions = classes(trained.network, data.images[trained.test_index], None)
    float_percent = 100 * (trained.float_predictions == labels).mean()
    percent = 100 * (predictions == labels).mean()
    assert percent >= 98
    assert percent >= float_percent - 0.5
