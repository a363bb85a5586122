# SPDX-License-Identifier: Apache-2.0
"""Training on a GPU that a device of our own stands for: all that a GPU does but its speed and its order of sums."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import typer.testing
from pretended_gpu import pretended_gpu
from torch import nn
from twinor import integer, models
from twinor.cli import app
from twinor.config import load
from twinor.data import Dataset, digits
from twinor.die import Die
from twinor.network_file import load_network
from twinor.quantize import Checkpoint, Recipe, deterministic, fit, predict, quantize, to_integer, train_float

SHORT = Recipe(width=0.1, float_epochs=1, quant_epochs=2, sample_steps=2, average=0.9)
CHANGED = replace(SHORT, flip=True, cutout_pixels=3, shift_pixels=2)
MACRO = replace(SHORT, macro="nor40_int4")
CASES = {
    "plain": SHORT,
    "changed images": CHANGED,
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


def rules(network):
    """Every integer of the layers with weights."""
    return [np.ravel(values) for x in network.weight_layers() for values in (x.weight, x.requant.mult, x.requant.add)]


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
    fine = torch.tensor([[[1 + 2**-11]]], device="cuda")
    assert torch.conv1d(fine, torch.ones(1, 1, 1, device="cuda")).item() == 1 + 2**-10
    assert gpu.calls


# Training //


@pytest.mark.parametrize("case", CASES)
def test_the_bits_are_those_of_the_cpu(case, monkeypatch):
    """The device computes as the CPU does, so that a tensor left behind or a draw of its own would be seen."""
    chip = Die.sample(load("nor40_int4"), seed=3, macros=3) if case == "one die" else None
    expected = fit(CASES[case], small(), die=chip)
    with pretended_gpu(monkeypatch, tf32=False) as device:
        found = fit(CASES[case], small(), die=chip, device="cuda")
        assert places(found) == {"pretended"} and device.calls > 5_000
    assert all(np.array_equal(a, b) for a, b in zip(rules(expected.network), rules(found.network), strict=True))
    assert found.network.provenance["device"] == "cuda"


def same_integers(fitted, images):
    """Whether the network on codes gives on the GPU what its integers give without torch."""
    with torch.no_grad():
        logits = fitted.model.eval().codes(torch.from_numpy(images).float().to("cuda")).values
    return (logits.cpu().numpy() == integer.logits(fitted.network, images)).all()


@pytest.mark.parametrize("arch", models.ARCHS)
def test_reduced_precision_changes_no_integer(arch, gpu):
    """Convolutions of ten bits change the training, and not what its network computes: codes are exact in them."""
    data = small(SHAPES.get(arch, (3, 32, 32)), count=16)
    found = fit(replace(SHORT, arch=arch, width=WIDTHS.get(arch, 0.1), batch_size=16), data, device="cuda")
    assert same_integers(found, data.images)


@pytest.mark.parametrize("residual", ["accumulated", "codes"])
def test_images_of_8_bits_are_exact_too(residual, gpu):
    data = small((3, 32, 32), count=16, bits=8)
    recipe = replace(SHORT, arch="resnet8", data="cifar10", image="slices", batch_size=16, residual=residual)
    assert same_integers(fit(recipe, data, device="cuda"), data.images)


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_a_network_on_the_gpu_is_converted_there(where, gpu):
    """Without training; images come from either device."""
    with deterministic():
        net = models.build("resnet8", channels=3, classes=10, width=0.1)
    images = torch.from_numpy(small((3, 32, 32), count=16).images)
    networks = []
    for device, given in (("cpu", images), ("cuda", images.to(where))):
        model = quantize(net.to(device), input_shape=(3, 32, 32), input_step=1 / 8, calibration=given)
        assert model.input_step.device == next(net.parameters()).device
        networks.append(to_integer(model))
    assert (integer.logits(networks[0], images.numpy()) == integer.logits(networks[1], images.numpy())).mean() > 0.9
    assert (predict(model, images).numpy() == integer.logits(networks[1], images.numpy()).argmax(axis=1)).all()


# Going on //


class Killed(Exception):
    """The end of a process, without the process."""


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
    assert len(set(firsts)) == len(firsts) == 6


# The command //


def test_auto_takes_the_gpu(gpu, tmp_path):
    """`twinor train` says where it trains, and writes what a CPU can read."""
    recipe = tmp_path / "short.yaml"
    recipe.write_text("width: 0.1\nfloat_epochs: 1\nquant_epochs: 2\nsample_steps: 5\n", encoding="utf-8")
    call = ["train", "--recipe", str(recipe), "--out", str(tmp_path / "out"), "--no-report"]
    told = typer.testing.CliRunner().invoke(app, call)
    assert told.exit_code == 0, told.output
    assert "seed 0, cuda, 1 thread" in told.output and gpu.calls > 10_000
    assert load_network(tmp_path / "out/short.npz").provenance["device"] == "cuda"
    scores = json.loads((tmp_path / "out/short.json").read_text())["accuracy"]
    assert scores["fake-quantized"] == scores["int4"]
