# SPDX-License-Identifier: Apache-2.0
"""`twinor train --die`: a network for the chip that will run it, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer.testing
from twinor.calibrate import calibrate
from twinor.cli import app
from twinor.config import PRESETS, load
from twinor.die import Die
from twinor.die_file import load_die, save_die
from twinor.errors import ConfigError, CorruptFile
from twinor.network_file import load_network
from twinor.place import place
from twinor.quantize.recipe import load_recipe
from twinor.run import chain_runner, forward
from twinor.session_train import parts_of
from twinor.workbench import CALIBRATION_IMAGES, percent

RECIPE = {"width": 0.5, "float_epochs": 12, "quant_epochs": 10}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset whose cells spread by 15 % of the top level, one die of it, and a short recipe."""
    out = tmp_path_factory.mktemp("die_training")
    rough = (PRESETS / "nor40_int4.yaml").read_text().replace("cell_sigma: 0.01", "cell_sigma: 0.15")
    (out / "rough.yaml").write_text(rough)
    save_die(out / "chip.npz", Die.sample(load(out / "rough.yaml"), seed=3, macros=5))
    (out / "short.yaml").write_text("".join(f"{key}: {value}\n" for key, value in RECIPE.items()))
    return out


def train(folder: Path, *arguments: str) -> Any:
    call = ["train", "--recipe", str(folder / "short.yaml"), "--out", str(folder / "out"), "--no-report", *arguments]
    return typer.testing.CliRunner().invoke(app, call)


def test_a_network_for_a_die_is_better_there_than_one_for_all(folder: Path) -> None:
    """The last epochs see the die's own cells; the same training without it loses more than a tenth."""
    config, recipe = load(folder / "rough.yaml"), load_recipe(str(folder / "short.yaml"))
    parts, chip = parts_of(recipe, None), load_die(folder / "chip.npz", config)
    told = train(folder, "--macro", str(folder / "rough.yaml"), "--die", str(folder / "chip.npz"))
    assert told.exit_code == 0, told.output
    result = json.loads((folder / "out/short-rough-chip.json").read_text())
    plain = train(folder, "--macro", str(folder / "rough.yaml"))
    assert plain.exit_code == 0, plain.output
    scores = {}
    for name in ("short-rough-chip", "short-rough"):
        network = load_network(folder / f"out/{name}.npz")
        placement = place(config, network, calibrate(config, network, parts.train.images[:CALIBRATION_IMAGES]))
        held = chip.holding(config, placement.levels)
        found = forward(network, placement, parts.test.images, chain_runner(config, held, backend="fast"))
        scores[name] = percent(found.argmax(axis=1), parts.test.labels)
        if name.endswith("chip"):
            written = load_die(folder / "out/short-rough-chip-programmed.npz", config, levels=placement.levels)
            assert (written.strength == held.strength).all() and (
                written.threshold == chip.threshold[: len(written.threshold)]
            ).all()
    assert result["accuracy"]["int4 on the die"] == scores["short-rough-chip"]
    assert scores["short-rough-chip"] > 95 and scores["short-rough-chip"] > scores["short-rough"] + 10


@pytest.mark.fast
def test_dies_that_do_not_go_with_a_recipe_are_refused(folder: Path) -> None:
    rough, chip = str(folder / "rough.yaml"), str(folder / "chip.npz")
    (folder / "all.yaml").write_text(f"macro: {rough}\ndie_noise: true\n")
    for arguments, kind, words in (
        (["--die", chip], ConfigError, "--die needs a macro, in the recipe or by --macro"),
        (["--die", chip, "--recipe", str(folder / "all.yaml")], ConfigError, "no die_noise, which is for all dies"),
        (["--die", str(folder / "no.npz"), "--macro", rough], ConfigError, "write one with `twinor die`"),
        (["--die", chip, "--macro", "nor40_int4"], CorruptFile, "made for another configuration"),
        (["--die", chip, "--macro", "no_such"], ConfigError, "no_such"),
    ):
        told = train(folder, *arguments)
        assert isinstance(told.exception, kind) and words in str(told.exception), arguments
    assert not (folder / "out").exists() or not list((folder / "out").glob("*all*"))
