# SPDX-License-Identifier: Apache-2.0
"""Training on a GPU that a device of our own stands for: all that a GPU does but its speed and its order of sums."""

import json
import os
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import typer.testing
from pretended_gpu import pretended_gpu
from test_train_resumes import Killed, layers
from torch import nn
from twinor import integer, models
from twinor.calibrate import calibrate
from twinor.cli import app
from twinor.config import load
from twinor.config import replace as replace_config
from twinor.data import Dataset, digits
from twinor.die import Die, ideal_die
from twinor.network_file import load_network
from twinor.place import place
from twinor.quantize import (
    Checkpoint,
    Macro,
    Recipe,
    deterministic,
    fit,
    new_head,
    predict,
    quantize,
    to_integer,
    train_float,
    train_quantized,
)
from twinor.run import chain_runner, forward

SHORT = Recipe(width=0.1, float_epochs=1, quant_epochs=2, sample_steps=2, average=0.9)
MACRO = replace(SHORT, macro="nor40_int4")
CASES = {
    "plain": SHORT,
    "changed images": replace(SHORT, flip=True, cutout_pixels=3, shift_pixels=2),
    "sgd": replace(SHORT, optimizer="sgd", float_rate=1e-2),
    "literal": replace(SHORT, literal=True),
    "8-bit ends": replace(SHORT, end_weight_bits=8),
    "dies": replace(MACRO, die_noise=True),
    "one die": MACRO,
}
SHAPES = {"digits": (1, 8, 8), "audio": (1, 1024), "video": (1, 8, 16, 16)}
WIDTHS = {"vgg16": 0.05, "resnet18": 0.05, "resnet20": 0.2}


@pytest.fixture
def gpu(monkeypatch):
    with pretended_gpu(monkeypatch) as device:
        yield device


def small(shape=(1, 8, 8), *, count=64, bits=4):
    """Digits, or images of noise."""
    if shape == SHAPES["digits"]:
        data = digits()
        return replace(data, images=data.images[:count], labels=data.labels[:count])
    rng = np.random.default_rng(3)
    images = rng.integers(0, 1 << bits, (count, *shape), dtype=np.uint8)
    return Dataset(images=images, labels=np.arange(count) % 10, input_bits=bits)


def places(fitted):
    return {value.device.type for net in (fitted.teacher, fitted.model) for value in net.state_dict().values()}


# What the device refuses //


def test_the_device_refuses_what_a_gpu_refuses(gpu):
    there, here = torch.ones(3, device="cuda"), torch.ones(3)
    with pytest.raises(RuntimeError, match="expected all tensors to be on the same device"):
        there + here
    with pytest.raises(RuntimeError, match="expected all tensors to be on the same device"):
        here[torch.tensor([0], device="cuda")]
    with pytest.raises((RuntimeError, TypeError), match="numpy"):
        there.numpy()
    with pytest.raises(RuntimeError, match="expected a generator of the device"):
        torch.rand(3, device="cuda", generator=torch.Generator())
    assert (there + torch.ones(())).cpu().tolist() == [2, 2, 2] and there[torch.tensor([0])].shape == (1,)
    with pytest.raises(RuntimeError, match="expected all tensors to be on the same device"):
        torch.ones(()).add_(there.sum())
    fine, one = torch.tensor([[[1025.0]]], device="cuda"), torch.ones(1, 1, 1, device="cuda")
    assert torch.conv1d(fine * 3, one).item() == 3076 and gpu.calls


# Training //


@pytest.mark.parametrize("case", CASES)
def test_the_bits_are_those_of_the_cpu(case, monkeypatch):
    """The device computes as the CPU does, so that a tensor left behind or a draw of its own would be seen."""
    chip = Die.sample(load("nor40_int4"), seed=3, macros=3) if case == "one die" else None
    expected = fit(CASES[case], small(), die=chip)
    with pretended_gpu(monkeypatch, inexact=False):
        lenient = []
        tell = {"progress": lambda *_: lenient.append(torch.is_deterministic_algorithms_warn_only_enabled())}
        found = fit(CASES[case], small(), die=chip, device="cuda", **tell)
        assert places(found) == {"pretended"} and lenient == [True, True, True]
    assert all(np.array_equal(a, b) for a, b in zip(layers(expected.network), layers(found.network), strict=True))
    assert found.network.provenance["device"] == "cuda"


@pytest.mark.parametrize("arch", ["alexnet", "resnet8", "audio", "video"])
def test_every_kind_of_network_trains_there(arch, gpu):
    data = small(SHAPES.get(arch, (3, 32, 32)), count=16)
    assert places(fit(replace(SHORT, arch=arch, batch_size=16), data, device="cuda")) == {"pretended"}


def test_a_new_head_is_on_the_gpu(gpu):
    with deterministic():
        net = models.build("digits", channels=1, classes=10, width=0.2).to("cuda")
    images = torch.from_numpy(small().images)
    model = quantize(net, input_shape=(1, 8, 8), input_step=1 / 8, calibration=images)
    new_head(model, 3)
    options = {"recipe": replace(SHORT, distillation=0.0), "images": images, "labels": torch.arange(64) % 3}
    train_quantized(model, None, **options)
    assert {value.device.type for value in model.state_dict().values()} == {"pretended"}


def test_images_on_the_cpu_train_a_network_on_the_gpu_for_a_die(gpu):
    images = torch.from_numpy(small().images)
    with deterministic():
        net = models.build("digits", channels=1, classes=10, width=0.1).to("cuda")
    model = quantize(net, input_shape=(1, 8, 8), input_step=1 / 8)
    chip = Die.sample(load("nor40_int4"), seed=3, macros=3)
    train_quantized(model, net, images, torch.from_numpy(small().labels), recipe=MACRO, die=chip)
    assert to_integer(model)


def test_what_has_no_deterministic_algorithm_runs_on_a_gpu_in_silence(monkeypatch):
    """On the CPU it is refused; on a GPU some pools have no other."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    values, first, one = torch.zeros(3), torch.tensor([0]), torch.ones(1)
    with warnings.catch_warnings(action="error"):
        with deterministic(), pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
            values.put_(first, one)
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
        with deterministic(device="cuda"):
            assert torch.are_deterministic_algorithms_enabled() and os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
            values.put_(first, one)
    assert values.tolist() == [1, 0, 0]


# Integers //


def settled(arch, images):
    """A network whose batch norms have seen the images."""
    with deterministic(), torch.no_grad():
        net = models.build(arch, channels=images.shape[1], classes=10, width=WIDTHS.get(arch, 0.1))
        for _ in range(20):
            net(images.float() / 8)
    return net.eval()


@pytest.mark.parametrize("arch", models.ARCHS)
@pytest.mark.parametrize("options", [{}, {"input_bits": 8, "residual": "codes"}], ids=["4 bits", "8 bits"])
def test_what_convolutions_leave_changes_no_integer(arch, options, gpu):
    """Codes are computed in whole float32 and rounded, whatever precision is left to the float network."""
    images = torch.from_numpy(small(SHAPES.get(arch, (3, 32, 32)), count=16, bits=options.get("input_bits", 4)).images)
    if "resnet" not in arch:
        options = {key: value for key, value in options.items() if key != "residual"}
    net = settled(arch, images).to("cuda")
    model = quantize(net, input_shape=images.shape[1:], input_step=1 / 8, calibration=images, **options)
    with torch.no_grad():
        logits = model.codes(images.to("cuda")).values.cpu().numpy()
    assert len(np.unique(logits, axis=0)) > len(images) // 2, "too few different logits to tell"
    assert (logits == integer.logits(to_integer(model), images.numpy())).all()
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_a_network_on_the_gpu_is_converted_there(where, monkeypatch):
    """Images come from either device."""
    images = torch.from_numpy(small((3, 32, 32), count=16).images)
    networks = []
    with pretended_gpu(monkeypatch, inexact=False):
        for device, given in (("cpu", images), ("cuda", images.to(where))):
            net = settled("resnet8", images).to(device)
            model = quantize(net, input_shape=(3, 32, 32), input_step=1 / 8, calibration=given)
            assert model.input_step.device == next(net.parameters()).device
            networks.append(to_integer(model))
        assert (predict(model, images).numpy() == integer.logits(networks[1], images.numpy()).argmax(axis=1)).all()
    assert all(np.array_equal(a, b) for a, b in zip(*map(layers, networks), strict=True))


def test_the_macro_in_the_loop_is_the_macro(gpu):
    """Its converters see whole numbers, whatever the convolution leaves behind the point: an ADC step is even."""
    config = replace_config(load("nor40_int4"), adc_bits=5)
    images = torch.from_numpy(small().images)
    with deterministic():
        net = models.build("digits", channels=1, classes=10, width=0.5).to("cuda")
    model = quantize(net, input_shape=(1, 8, 8), input_step=1 / 8, calibration=images)
    network = to_integer(model)
    steps = calibrate(config, network, images.numpy())
    placement = place(config, network, steps)
    runner = chain_runner(config, ideal_die(config, placement.levels), backend="fast")
    model.set_macro(Macro(config=config, steps=steps))
    with torch.no_grad():
        found = model.codes(images.to("cuda")).values.cpu().numpy()
    assert (found == forward(network, placement, images.numpy(), runner)).all()


# Going on //


def dropping(device):
    """A network with dropout, of the same weights each time."""
    with deterministic(5):
        first, second = nn.Linear(64, 12), nn.Linear(12, 10)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.2), first, nn.ReLU(), nn.Dropout(), second).to(device)


def trained(device, checkpoint=None, progress=None):
    """Float weights after training."""
    data, net, recipe = small(), dropping(device), replace(SHORT, float_epochs=3)
    images = torch.from_numpy(data.images).to(device)
    options = {"recipe": recipe, "checkpoint": checkpoint, "progress": progress, "input_step": 1 / 8}
    train_float(net, images, torch.from_numpy(data.labels), **options)
    return {name: value.cpu() for name, value in net.state_dict().items()}


def drawn():
    """What the caller's generators give next, on either device."""
    return torch.cat([torch.rand(3), torch.rand(3, device="cuda").cpu()])


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_dropout_goes_on_where_it_was(device, gpu, tmp_path):
    """Whatever was drawn before, on the CPU and on the GPU, and after kills; what the caller draws stays as it was."""
    torch.manual_seed(1)
    expected = trained(device)
    after = drawn()
    torch.manual_seed(1)
    assert torch.equal(drawn(), after)

    def stop(stage, epoch, *_):
        if epoch < 3:
            raise Killed

    def again(progress):
        kept = Checkpoint(path=tmp_path / "run.checkpoint", key="k")
        kept.read()
        return trained(device, kept, progress)

    for _ in range(2):
        with pytest.raises(Killed):
            again(stop)
    found = again(stop)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_each_epoch_draws_its_own():
    """Of what layers draw, nothing comes twice, with no seed."""

    class Drawing(nn.Dropout):
        def forward(self, x):
            if self.training:
                firsts.append(torch.rand(()).item())
            return x

    firsts = []
    data = small()
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    for seed in (0, 1):
        with deterministic():
            net = nn.Sequential(nn.Flatten(), Drawing(), nn.Linear(64, 10))
        train_float(net, images, labels, input_step=1 / 8, recipe=replace(SHORT, float_epochs=3, seed=seed))
    with deterministic():
        firsts.append(torch.rand(()).item())
    assert len(set(firsts)) == len(firsts) == 7


def test_a_checkpoint_of_a_gpu_goes_on_without_one(tmp_path, monkeypatch):
    """Its file says that its tensors were there."""

    def stop(*_):
        raise Killed

    kept = Checkpoint(path=tmp_path / "run.checkpoint", key="k")
    with monkeypatch.context() as there:
        there.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        with pytest.raises(Killed):
            fit(SHORT, small(), checkpoint=kept, progress=stop)
    kept = Checkpoint(path=tmp_path / "run.checkpoint", key="k")
    found = fit(SHORT, small(), checkpoint=kept).network
    assert len(kept.history) == 3
    assert all(np.array_equal(a, b) for a, b in zip(layers(found), layers(fit(SHORT, small()).network), strict=True))


# The command //


def test_auto_takes_the_gpu(gpu, tmp_path):
    """`twinor train` says where it trains, and writes what a CPU can read."""
    recipe = tmp_path / "short.yaml"
    recipe.write_text("width: 0.1\nfloat_epochs: 1\nquant_epochs: 2\nsample_steps: 5\n", encoding="utf-8")
    call = ["train", "--recipe", str(recipe), "--out", str(tmp_path / "out"), "--no-report"]
    told = typer.testing.CliRunner().invoke(app, call)
    assert told.exit_code == 0, told.output
    assert "seed 0, cuda, 1 thread" in told.output and gpu.calls
    assert load_network(tmp_path / "out/short.npz").provenance["device"] == "cuda"
    scores = json.loads((tmp_path / "out/short.json").read_text())["accuracy"]
    assert scores["fake-quantized"] == scores["int4"]
