# SPDX-License-Identifier: Apache-2.0
"""`twinor characterise`: one chip, all measurements, as tables, JSON and a page; what it refuses."""

import json
from collections.abc import Iterator
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
import plotly.offline
import pytest
from command_line import InProcess
from report_page import Page
from twinor.characterise import Characterisation, Chip, Limits, Settings, characterise
from twinor.characterise.adcs import trimmed
from twinor.characterise.summary import grids, told
from twinor.config import PRESETS, load, replace
from twinor.die import Die, ideal_die
from twinor.die_file import save_die
from twinor.errors import ConfigError, TwinorError
from twinor.report.characterise import build_characterisation

from tb.common.configs import NOR40

SMALL: dict[str, Any] = {"rows": 32, "active_rows": 32, "cols": 8, "cols_per_adc": 4}
VOLTAGE = replace(load("nor55_subthreshold"), name="voltage", **SMALL)
FEW = {"vectors": 200, "sweep_vectors": 64, "inputs": 2, "repeats": 256, "wire_inputs": 2}

# The verb //


@pytest.fixture(scope="module")
def found() -> Characterisation:
    """A small chip, everything that there is, and not every die good."""
    limits = Limits(max_inl=0.22)
    return characterise(Chip(config=VOLTAGE, seed=7), Settings(**FEW | {"dies": 4}, limits=limits))


def test_equal_seeds_give_equal_figures_and_others_do_not(found: Characterisation) -> None:
    again = characterise(found.chip, found.settings)
    assert told(again) == told(found)
    other = characterise(found.chip, changed(found.settings, seed=1, dies=0))
    assert other.macs[-1].snr != found.macs[-1].snr and other.adcs.worst_inl == found.adcs.worst_inl
    assert found.yields is not None and [die.seed for die in found.yields.dies] == [7, 8, 9, 10]


def test_tables_fit_the_console_and_json_holds_every_number(found: Characterisation) -> None:
    for grid in grids(found):
        width = sum(2 + max(len(row[k]) for row in (grid.head, *grid.rows)) for k in range(len(grid.head)))
        assert width - 2 <= 80 and {len(row) for row in grid.rows} == {len(grid.head)}, grid.title
    result = json.loads(json.dumps(told(found), allow_nan=False))
    assert result["die_seed"] == 7 and len(result["yields"]["dies"]) == 4 and len(result["drift"]["curves"]) == 4
    assert not found.left_out and result["wire_figures"]["error_most"] <= found.wires.bound  # type: ignore[union-attr]


@pytest.fixture
def twinor(tmp_path: Path) -> InProcess:
    return InProcess(folder=tmp_path, shared=tmp_path)


def test_the_verb_writes_tables_json_and_page(twinor: InProcess, tmp_path: Path) -> None:
    said = twinor("characterise", "--preset", "tiny", "--dies", "3", "--max-inl", "0.01")
    assert said.status == 0, said.err
    assert "preset tiny has no table `device`: noise, drift, temperature and wire drop are left out\n" in said.out
    assert "0 of 3 dies good" in said.out and "characterise   100 %" in said.out
    files = {path.name for path in (tmp_path / "build").iterdir()}
    assert files == {"characterise-tiny-die0.json", "characterise-tiny-die0.html"}
    result = json.loads((tmp_path / "build" / "characterise-tiny-die0.json").read_text(encoding="utf-8"))
    assert result["noise"] is result["drift"] is result["wires"] is None and result["yield_counts"]["INL"] == 0


def test_a_die_of_a_file_is_measured_as_it_is(twinor: InProcess, tmp_path: Path) -> None:
    text = (PRESETS / "nor_triode_pwm.yaml").read_text(encoding="utf-8")
    small = (
        text.replace("rows: 64", "rows: 16").replace("  cols: 32", "  cols: 8").replace("adc_bits: 8", "adc_bits: 6")
    )
    (tmp_path / "small.yaml").write_text(small, encoding="utf-8")
    save_die(tmp_path / "aged.npz", Die.sample(load(tmp_path / "small.yaml"), seed=5).age(hours=1000, celsius=125))
    said = twinor("characterise", "--die", "aged.npz", "--preset", "small.yaml", "--dies", "0", "--no-report")
    assert said.status == 0 and "die seed 5, 1000 h at 125 C, now at 25 C" in said.out, said.err
    assert "no dies were asked for: yield is left out" in said.out
    result = json.loads((tmp_path / "build" / "characterise-small-die5.json").read_text(encoding="utf-8"))
    assert result["bakes"] == [{"seconds": 3.6e6, "celsius": 125}] and result["yields"] is None


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--backend", "rtl"], "unknown --backend rtl: expected one of golden, fast"),
        (["--die", "a.npz"], "no die file a.npz; write one with `twinor die`"),
        (["--die", "a.npz", "--die-seed", "3"], "give either --die or --die-seed, not both"),
        (["--max-inl", "0"], "limits: max_inl = 0.0 is not allowed: expected 0.001 .. 1e+06"),
        (["--bake-celsius", "999"], "bake: celsius = 999.0 is not allowed: expected -55 .. 300"),
        (
            ["--preset", "sonos40", "--bake-celsius", "85"],
            "--bake-celsius 85: cells of preset sonos40 were measured at 25 C, and nothing is known of them elsewhere",
        ),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(args: list[str], sentence: str, twinor: InProcess) -> None:
    assert twinor("characterise", *args).sentence() == sentence
    assert not (twinor.folder / "build").exists()


def test_a_die_of_another_preset_is_refused(twinor: InProcess, tmp_path: Path) -> None:
    save_die(tmp_path / "tiny.npz", ideal_die(load("tiny"), np.zeros((1, 8, 8), dtype=np.uint8)))
    assert "tiny.npz" in twinor("characterise", "--die", "tiny.npz").sentence()
    for wrong in ({"dies": -1}, {"seed": -1}, {"vectors": 0}):
        with pytest.raises(ConfigError, match="is not allowed: expected"):
            Settings(**wrong)
    config = replace(NOR40, name="corrected", column_correction=True)
    with pytest.raises(TwinorError, match="needs gain"):
        trimmed(Chip(config=config, seed=None), 10.0 * np.arange(-127.5, 127.0)[None].repeat(8, axis=0))


# The page //


@pytest.fixture(scope="module")
def pages(found: Characterisation) -> Iterator[tuple[str, str]]:
    """A page of everything, and one of a preset without physics; without Plotly's 5 MB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plotly.offline, "get_plotlyjs", lambda: "/* plotly.js */")
        bare = characterise(Chip(config=load("tiny"), seed=None), Settings(**FEW | {"dies": 0}))
        yield build_characterisation(found, date="today"), build_characterisation(bare, date="today")


def test_the_page_shows_every_measurement_and_loads_nothing(pages: tuple[str, str], found: Characterisation) -> None:
    for html, sections, charts in ((pages[0], 8, 13), (pages[1], 3, 6)):
        shown = Page(html)
        assert html.count("<section id=") == 1 + sections and len(shown.specs) == charts
        assert all(caption.endswith(".") and caption.count(". ") == 0 for caption in shown.captions)
        loading = {"src", "href", "action", "data", "poster", "srcset"}
        assert all(value.startswith("#") for _, name, value in shown.attributes if name in loading)
        assert not any("//" in value for _, _, value in shown.attributes)
    full, bare = (Page(html) for html in pages)
    assert "twinor characterise voltage, die 7" in full.text and "left out the die is ideal" not in full.text
    assert "left out preset tiny has no table `device`" in bare.text
    assert len(full.tables["ADC by ADC"]) == 3 and len(full.tables["Die by die"]) == 5
    dots = full.specs["chart-yield"]["data"]
    good = sum(len(of["x"]) for of in dots if of["name"] == "keeps to the limit")
    assert found.yields is not None and 4 <= good < 12 and good == sum(list(found.yields.counts.values())[:3])
