# SPDX-License-Identifier: Apache-2.0
"""What 4 bits cost where others have more: end layers of 8 bits, sums of codes, and `twinor train --ablate`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
import torch
import typer.testing
from plain_networks import plain
from test_ordinary_networks import check, settled
from twinor import integer, session_ablation
from twinor.cli import app
from twinor.errors import ConfigError, PlacementError
from twinor.network_file import load_network
from twinor.place import place
from twinor.quantize import Recipe, deterministic, fitting, new_head, quantize, to_integer
from twinor.quantize.recipe import RESIDUALS

from tb.common.configs import NOR40

SHORT = "width: 0.2\nfloat_epochs: 1\nquant_epochs: 2\nsample_steps: 5\n"


@pytest.fixture(autouse=True)
def _own_generator():
    with deterministic():
        yield


def largest(network) -> list[int]:
    return [int(np.abs(layer.weight).max()) for layer in network.weight_layers()]


# Layers at the ends //


def test_the_first_and_the_last_layer_alone_have_more_bits():
    model, images = settled("lenet5")
    quant = quantize(model, input_shape=(1, 20, 20), input_step=1 / 8, calibration=images, end_weight_bits=8)
    network = to_integer(quant)
    first, *inner, last = largest(network)
    assert 60 < first <= 127 and 60 < last <= 127 and max(inner) == 7
    with torch.no_grad():
        fake = quant.codes(images).values.numpy()
    assert np.array_equal(fake, check_integers(network, images))
    with pytest.raises(PlacementError, match=r"preset nor40_int4 holds -7 \.\. 7"):
        place(NOR40, network)


def check_integers(network, images):
    expected = oracle.logits(plain(network), images.numpy())
    assert np.array_equal(integer.logits(network, images.numpy()), expected)
    return expected


def test_a_new_head_has_as_many_bits_as_the_old_one():
    model, images = settled("lenet5")
    quant = quantize(model, input_shape=(1, 20, 20), input_step=1 / 8, calibration=images, end_weight_bits=8)
    new_head(quant, 3)
    assert [layer.threshold.largest for layer in quant.weight_layers()][-2:] == [7, 127]


# Sums //


def test_sums_of_codes_are_layers_of_their_own_and_give_the_same_integers_everywhere():
    model, images = settled("resnet")
    accumulated = quantize(model, input_shape=(3, 16, 16), input_step=1 / 8, calibration=images)
    summed = quantize(model, input_shape=(3, 16, 16), input_step=1 / 8, calibration=images, residual="codes")
    sums = [layer for layer in accumulated.weight_layers() if layer.shortcut]
    added = [layer for layer in summed.weight_layers() if layer.shortcut]
    assert len(added) == len(sums) > 1
    assert all(layer.weight.requires_grad for layer in sums) and not any(layer.weight.requires_grad for layer in added)
    check(summed, images)


# Refusals //


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"end_weight_bits": 3}, "end_weight_bits is 3; expected a whole number in 4 .. 8"),
        ({"end_weight_bits": 8.0}, "end_weight_bits is 8.0; expected"),
        ({"end_weight_bits": 8, "literal": True}, "no effect on literal parameters"),
        ({"residual": "rounded"}, "residual is 'rounded'; expected one of accumulated, codes"),
        ({"residual": "codes"}, "no effect on a network without sums"),
    ],
)
def test_what_cannot_be_or_has_no_effect_is_refused(options: dict[str, Any], message: str):
    model, _ = settled("lenet5")
    with pytest.raises(ConfigError, match=message):
        quantize(model, input_shape=(1, 20, 20), **options)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"end_weight_bits": 9}, "end_weight_bits must be in 4..8, got 9"),
        ({"residual": "sums"}, f"residual must be one of {', '.join(RESIDUALS)}"),
        ({"literal": True, "end_weight_bits": 8}, "no effect on literal parameters"),
    ],
)
def test_a_recipe_refuses_them_too(fields: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        Recipe(**fields)


# The table //


def train(folder: Path, *arguments: str, recipe: str = SHORT, name: str = "short") -> Any:
    (folder / f"{name}.yaml").write_text(recipe, encoding="utf-8")
    options = ["--recipe", str(folder / f"{name}.yaml"), "--out", str(folder / "out"), "--device", "cpu"]
    return typer.testing.CliRunner().invoke(app, ["train", *options, "--no-report", *arguments])


@pytest.fixture(scope="module")
def ablated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, list[int]]:
    """An ablation of the digits network, what it said, and the float epochs that it trained."""
    folder, trained, real = tmp_path_factory.mktemp("ablation"), [], fitting.train_float
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "train_float", lambda *a, **k: trained.append(k["recipe"].seed) or real(*a, **k))
        said = train(folder, "--ablate")
    assert said.exit_code == 0, said.output
    return folder, said, trained


def test_every_change_is_a_row_or_left_out_with_its_reason(ablated: tuple[Path, Any, list[int]]):
    folder, said, _ = ablated
    told = json.loads((folder / "out" / "short-ablation.json").read_text(encoding="utf-8"))
    rows = {row["change"]: row for row in told["rows"]}
    assert list(rows) == ["none", "8-bit end weights", "ADC in the loop", "no distillation"]
    assert rows["8-bit end weights"]["macro"] is None
    assert all(row["macro"] > 50 for name, row in rows.items() if name != "8-bit end weights")
    assert {row["trained"] for row in told["rows"]} == {rows["none"]["trained"]}
    assert "no effect on a network without sums" in told["left_out"]["sums of codes"]
    missing = {change for change in session_ablation.CHANGES if change not in rows and change not in told["left_out"]}
    assert missing == {"upper nibble alone", "no ADC in the loop"}  # the recipe itself has them
    assert "left out: sums of codes (" in said.output


def test_one_float_network_serves_all(ablated: tuple[Path, Any, list[int]]):
    folder, _, trained = ablated
    assert len(trained) == 1 and len(list((folder / "out").glob("float-*.checkpoint"))) == 1


@pytest.mark.parametrize(
    ("change", "line"),
    [("distillation-0", "distillation: 0.0"), ("end_weight_bits-8", "end_weight_bits: 8")],
)
def test_a_row_is_the_training_of_the_changed_recipe(
    ablated: tuple[Path, Any, list[int]], tmp_path: Path, change: str, line: str
):
    folder, _, _ = ablated
    assert train(tmp_path, recipe=f"{SHORT}{line}\n", name="alone").exit_code == 0
    one, alone = (load_network(path) for path in (folder / "out" / f"short-{change}.npz", tmp_path / "out/alone.npz"))
    assert one.provenance == alone.provenance
    for a, b in zip(one.weight_layers(), alone.weight_layers(), strict=True):
        assert np.array_equal(a.weight, b.weight) and np.array_equal(a.requant.mult, b.requant.mult)
        assert np.array_equal(a.requant.add, b.requant.add)


def test_sums_of_codes_are_refused_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fitting, "train_float", lambda *a, **k: pytest.fail("trained"))
    said = train(tmp_path, recipe=f"{SHORT}residual: codes\n")
    assert said.exit_code != 0 and isinstance(said.exception, ConfigError)


@pytest.mark.parametrize("options", [("--seeds", "2"), ("--die", "chip.npz")])
def test_options_that_do_not_go_with_it_are_refused(tmp_path: Path, options: tuple[str, str]):
    said = train(tmp_path, "--ablate", *options)
    assert isinstance(said.exception, ConfigError) and "leave --seeds and --die out" in str(said.exception)


def test_a_float_network_of_another_recipe_is_not_taken():
    first = Recipe(quant_epochs=3, macro="nor40_int4", residual="codes", distillation=0.0, end_weight_bits=8)
    assert first.float_part == Recipe() == Recipe().float_part
    assert Recipe(average=0.9, seed=2).float_part == Recipe(average=0.9, seed=2)
