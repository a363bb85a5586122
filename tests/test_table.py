# SPDX-License-Identifier: Apache-2.0
"""The table of checkpoints: each figure is what the engines give, and what is missing is told."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from twinor import integer, session_ablation, session_table, tables
from twinor.calibrate import calibrate
from twinor.config import replace as other
from twinor.data import digits, split
from twinor.errors import ConfigError, TwinorError
from twinor.network_file import save_network
from twinor.quantize import Recipe, fit
from twinor.session_ablation import Priced
from twinor.session_table import Row, on_macro, table
from twinor.workbench import percent

from tb.common.configs import NOR40

SHORT = Recipe(width=0.2, float_epochs=4, quant_epochs=3, sample_steps=10)
OPTIONS = {
    "preset": "nor40_int4",
    "images": 60,
    "dies": 2,
    "few": 20,
    "adc_bits": (4, 8),
    "golden": 0,
    "data_dir": None,
}


@pytest.fixture(scope="module")
def trained():
    data = digits()
    parts = split(data.labels)
    train = replace(data, images=data.images[parts.train], labels=data.labels[parts.train])
    return fit(SHORT, train).network, train, data.images[parts.test], data.labels[parts.test]


def show(folder, data="digits", **options):
    """What the table says, and its JSON."""
    said = io.StringIO()
    console = Console(file=said, width=80, highlight=False)
    table(data, checkpoints=folder, out=folder / "out", console=console, **(OPTIONS | options))
    return said.getvalue(), json.loads((folder / "out" / f"table-{data}.json").read_text())


def test_every_figure_is_what_the_engines_give(trained, tmp_path):
    network, train, images, labels = trained
    save_network(tmp_path / "digits_net.npz", replace(network, provenance=network.provenance | {"float": "97.50"}))
    said, told = show(tmp_path)
    (row,) = told["networks"]
    assert (row["name"], row["image"], row["trained"]) == ("net", "upper", 97.5)
    assert row["int4"] == percent(integer.logits(network, images[:60]).argmax(axis=1), labels[:60])
    calibration = train.images[:128]
    steps = calibrate(NOR40, network, calibration)

    def score(config, chosen, count, **die):
        return percent(on_macro(config, network, chosen, images[:count], **die).argmax(axis=1), labels[:count])

    assert row["macro"] == score(NOR40, steps, 60)
    assert row["dies"] == [score(NOR40, steps, 20, die_seed=seed) for seed in (0, 1)]
    for bits in (4, 8):
        config = other(NOR40, name="bits", adc_bits=bits)
        assert row["bits"][str(bits)] == score(config, calibrate(config, network, calibration), 20)
    assert "digits, 60 test images, preset nor40_int4" in said and "20 test images" in said
    assert not row["whole"] and "+" not in line(said) and "published" not in said
    assert all(len(line.rstrip()) <= 80 for line in said.splitlines() if not line.startswith("wrote"))


def test_no_figure_is_cut_off():
    """With the longest name of a checkpoint, and of a change, that come with twinor."""
    name = max((path.stem.split("_", 1)[1] for path in session_table.CHECKPOINTS.iterdir()), key=len)
    row = Row(name=name, image="nibbles", trained=85.0, int4=85.0, macro=85.0, dies=[85.1, 84.2])
    row.bits = dict.fromkeys(range(5, 11), 85.0)
    changes = [Priced(change=change, trained=85.0, int4=85.0, macro=85.0) for change in session_ablation.CHANGES]
    for shown in (tables.networks([row]), tables.networks_varied([row]), tables.ablation(changes)):
        said = io.StringIO()
        tables.show("title", shown, Console(file=said, width=80, highlight=False))
        assert "\N{HORIZONTAL ELLIPSIS}" not in said.getvalue() and "85.00" in said.getvalue()


def line(said):
    """The first line of the table of networks that has figures of one."""
    return next(text for text in said.splitlines() if text.startswith("net ") and "upper" in text)


@pytest.mark.parametrize("images", [None, 10_000])
def test_differences_are_of_all_test_images_alone(trained, tmp_path, images):
    """What training measured in float is of all of them; a part of them says nothing against it."""
    network, _, pictures, labels = trained
    save_network(tmp_path / "net.npz", replace(network, provenance=network.provenance | {"float": "10.00"}))
    said, told = show(tmp_path, images=images, dies=0, adc_bits=())
    (row,) = told["networks"]
    assert row["whole"] and row["int4"] == percent(integer.logits(network, pictures).argmax(axis=1), labels)
    figures = ("10.00", f"{row['int4']:.2f}", f"{row['int4'] - 10:+.2f}", f"{row['macro']:.2f}")
    assert line(said).split() == ["net", "upper", *figures, f"{row['macro'] - 10:+.2f}"]


def test_bits_that_no_adc_has_are_refused_before_anything_is_evaluated(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(session_table, "_Work", None)
    save_network(tmp_path / "net.npz", replace(trained[0], provenance=trained[0].provenance | {"float": "97.50"}))
    with pytest.raises(ConfigError, match=r"preset nor40_int4_99: adc_bits = 99 is not allowed: expected an integer 2"):
        show(tmp_path, adc_bits=(8, 99))


def test_golden_gives_the_same_classes(trained):
    network, train, images, _ = trained
    steps = calibrate(NOR40, network, train.images[:64])
    fast, golden = (on_macro(NOR40, network, steps, images[:3], die_seed=1, backend=b) for b in ("fast", "golden"))
    assert np.array_equal(fast, golden)


def test_golden_is_asked_about_as_many_images_as_are_wished(trained, tmp_path, monkeypatch):
    save_network(tmp_path / "net.npz", replace(trained[0], provenance=trained[0].provenance | {"float": "97.50"}))
    said, told = show(tmp_path, images=5, few=2, dies=0, adc_bits=(), golden=3)
    assert "net: 3 images on golden and fast: equal logits" in said and told["networks"][0]["golden"] == 3
    monkeypatch.setattr(session_table, "on_macro", lambda *_, backend="fast", **__: np.array([[backend == "fast", 0]]))
    with pytest.raises(TwinorError, match="net: golden and fast differ"):
        show(tmp_path, images=1, few=1, dies=0, adc_bits=(), golden=1)


def test_a_folder_without_checkpoints_of_the_data_is_told(trained, tmp_path):
    network = trained[0]
    with pytest.raises(ConfigError, match=r"no checkpoint of digits in .*: expected packed networks of `twinor train`"):
        show(tmp_path)
    save_network(tmp_path / "net.npz", network)
    with pytest.raises(ConfigError, match="no checkpoint of cifar10"):
        show(tmp_path, "cifar10")
    with pytest.raises(TwinorError, match="checkpoint net does not say what its float network reached: train it again"):
        show(tmp_path)
    save_network(tmp_path / "net.npz", replace(network, provenance={"data": "digits"}))
    with pytest.raises(ConfigError, match="the network does not say by which recipe it was trained"):
        show(tmp_path)
