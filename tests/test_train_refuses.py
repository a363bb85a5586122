# SPDX-License-Identifier: Apache-2.0
"""A training that cannot work is refused before its first epoch, in one sentence, and looking draws nothing."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from twinor import models
from twinor.config import PRESETS, load
from twinor.data import digits
from twinor.die import Die
from twinor.errors import ConfigError, PlacementError, TwinorError
from twinor.quantize import Recipe, deterministic, fit, fitting, key, predict, quantize, train_quantized
from twinor.quantize.key import content_key

SHORT = Recipe(float_epochs=1, quant_epochs=2, sample_steps=2)


def small(count=128):
    data = digits()
    return replace(data, images=data.images[:count], labels=data.labels[:count])


def refused(recipe, kind=ConfigError, **options):
    """The sentence; nothing may have been trained."""

    def trained(*now):
        raise AssertionError(f"trained: {now[:2]}")

    with pytest.raises(kind) as told:
        fit(recipe, small(), progress=trained, **options)
    assert "\n" not in str(told.value)
    return str(told.value)


# Networks and images //


@pytest.mark.parametrize("arch", ["audio", "video", "alexnet", "vgg16"])
def test_a_network_that_does_not_take_the_images_is_named(arch):
    said = refused(replace(SHORT, arch=arch))
    assert said.startswith(f"network {arch} cannot be trained at width 1.0 and batch_size 64 on images of 1 x 8 x 8, ")
    assert said.endswith("): choose another arch, width, batch_size or data")


@pytest.mark.parametrize(("arch", "width"), [("digits", 0.01), ("resnet20", 0.01), ("vgg7", 1e9), ("digits", 1e300)])
def test_a_width_that_leaves_no_channel_or_far_too_many_is_named(arch, width):
    said = refused(replace(SHORT, arch=arch, width=width))
    assert said.startswith(f"network {arch} cannot be trained at width {width} and ")
    assert width > 1 or "(a layer has no channels left)" in said


def test_a_batch_that_batch_norm_cannot_take_is_named():
    said = refused(replace(SHORT, arch="resnet18", width=0.1, batch_size=1))
    assert "batch_size 1 " in said and "more than 1 value per channel" in said


# A macro in the loop //


@pytest.mark.parametrize(
    ("preset", "kind", "words"),
    [
        ("wtm2101", ConfigError, "preset wtm2101: bias_rows is 16; a macro in the training loop has none"),
        ("tiny", PlacementError, "the network's input has 4 bits, preset tiny takes 2"),
    ],
)
def test_a_macro_that_cannot_be_in_the_loop_is_refused_before_training(preset, kind, words):
    assert refused(replace(SHORT, macro=preset), kind).startswith(words)


def test_a_network_that_does_not_fit_its_macro_is_refused_before_training(tmp_path):
    text = (PRESETS / "nor40_int4.yaml").read_text(encoding="utf-8")
    (tmp_path / "narrow.yaml").write_text(re.sub(r"psum_bits: \d+", "psum_bits: 8", text), encoding="utf-8")
    said = refused(replace(SHORT, macro=str(tmp_path / "narrow.yaml")), PlacementError)
    assert said.startswith("layer conv2: partial sums of 288 rows reach ")


def test_a_die_with_too_few_macros_is_refused_before_training():
    chip = Die.sample(load("nor40_int4"), seed=3, macros=1)
    assert "this die has cells (1, 256, 128)" in refused(replace(SHORT, macro="nor40_int4"), die=chip)
    assert "a given die needs macro, its preset" in refused(SHORT, die=chip)


def test_looking_first_changes_no_bit(monkeypatch):
    """Neither the first pass nor the rehearsal moves a parameter or the generator that dropout draws from."""
    recipe = replace(SHORT, width=0.1, macro="nor40_int4", die_noise=True)

    def trained():
        states = []
        network = fit(recipe, small(), progress=lambda *_: states.append(torch.get_rng_state().numpy())).network
        rules = [array for x in network.weight_layers() for array in (x.weight, x.requant.mult, x.requant.add)]
        return states + rules

    def built(recipe, images, classes):
        return models.build(recipe.arch, channels=images.shape[1], classes=classes, width=recipe.width)

    looked = trained()
    monkeypatch.setattr(fitting, "_rehearse", lambda *_: None)
    monkeypatch.setattr(fitting, "_built", built)
    assert all(np.array_equal(a, b) for a, b in zip(looked, trained(), strict=True))


# Without a teacher //


def test_labels_alone_train_a_network_without_a_teacher():
    """The same bits as with a teacher that has no share in the loss, which is not asked."""
    data = small()
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    recipe = replace(SHORT, distillation=0.0, batch_size=16, quant_epochs=20, quant_rate=1e-2, shift_pixels=0)

    class Silent(nn.Module):
        def forward(self, x):
            raise AssertionError("asked")

    found = []
    for teacher in (None, Silent()):
        with deterministic(1):
            model = quantize(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), input_shape=(1, 8, 8), input_step=1 / 8)
            train_quantized(model, teacher, images, labels, recipe=recipe)
            found.append(model.state_dict())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    assert (predict(model, images) == labels).float().mean() > 0.3
    with pytest.raises(
        ConfigError, match=r"distillation = 0\.7 compares with a float network, and no teacher is given"
    ):
        train_quantized(model, None, images, labels, recipe=SHORT)


# Without torch //


@pytest.mark.fast
@pytest.mark.parametrize("verb", ["train", "run", "table cifar10", "montecarlo"])
def test_without_torch_a_verb_says_what_to_install(verb, tmp_path):
    code = f"import sys; sys.modules['torch'] = None; sys.argv[1:] = {verb.split()}; import twinor.cli as c; c.main()"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert said.stderr == "twinor: this verb needs torch, which is not installed; install twinor[torch]\n"
    assert said.returncode == 1 and not list(tmp_path.iterdir())


@pytest.mark.fast
def test_without_torch_the_key_of_a_training_is_refused_too(monkeypatch):
    def absent(name):
        raise key.PackageNotFoundError(name)

    monkeypatch.setattr(key, "version", absent)
    with pytest.raises(TwinorError, match=r"training needs torch, which is not installed; install twinor\[torch\]"):
        content_key(small(), recipe=SHORT)
