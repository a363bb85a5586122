# SPDX-License-Identifier: Apache-2.0
"""The report: its numbers equal an independent recount, its page is whole, safe and the same every time."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace as changed
from pathlib import Path

import numpy as np
import plotly.offline
import pytest
from report_page import Page
from report_runs import SMALL, TRAINING, cosim_run, golden_traces, logits_of, plain_run, small_bench
from twinor import report
from twinor.config import Config, replace
from twinor.cosim import icarus
from twinor.die import ideal_die, sample_die
from twinor.errors import TwinorError
from twinor.golden import sar_adc
from twinor.place import place
from twinor.report import page, palette
from twinor.report import sweep as sweeps
from twinor.report.codes import count_codes
from twinor.report.confusion import confusion
from twinor.report.converter import converter
from twinor.report.coverage import coverage
from twinor.report.run import Run
from twinor.report.sections import functional_coverage
from twinor.report.sweep import points, sweep
from twinor.trace import SEAMS
from twinor.workbench import Workbench

from tb.common.configs import NOR40, OFFSET, TWOS

DATE = "2026-01-02 03:04 UTC"
UNIT = replace(SMALL, name="small_unit", step="unit", adc_bits=5)
"""Holds 4 active rows without loss, not 8."""


@pytest.fixture(scope="module", autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Pages without Plotly's 5 MB, and without the checkout's build folder; returns the one that is read instead."""
    folder = tmp_path_factory.mktemp("report") / "build"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(icarus, "BUILD", folder)
        patch.setattr(plotly.offline, "get_plotlyjs", lambda: "/* plotly.js */")
        yield folder


@pytest.fixture(scope="module")
def bench() -> Workbench:
    return small_bench(die_seed=4)


@pytest.fixture(scope="module")
def compared(bench: Workbench) -> Run:
    return cosim_run(bench, mismatches=3)


@pytest.fixture(scope="module")
def html(compared: Run) -> str:
    return report.build(compared, date=DATE)


@pytest.fixture(scope="module")
def shown(html: str) -> Page:
    return Page(html)


@pytest.fixture(scope="module")
def ideal() -> Page:
    """Page of `twinor run` for one image on an ideal die of the lossless macro."""
    return Page(report.build(plain_run(small_bench(UNIT, count=1)), date=DATE))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep of two points, the preset's own and one more."""
    monkeypatch.setattr(sweeps, "points", lambda _config: [("adc_bits", 4), ("active_rows", 8)])


# Numbers //


@pytest.mark.parametrize("die_seed", [None, 4])
@pytest.mark.parametrize("config", [SMALL, *(replace(c, psum_bits=14) for c in (OFFSET, TWOS))], ids=lambda c: c.name)
def test_codes_and_clipping_equal_a_recount_of_golden(config: Config, die_seed: int | None) -> None:
    bench = small_bench(config, die_seed=die_seed)
    traces, counted = golden_traces(bench), count_codes(bench)
    assert [layer.name for layer in counted] == list(traces)
    for layer in counted:
        own = traces[layer.name]
        assert (layer.tiles, layer.rounds) == (len(own), sum(len(t.codes) for t in own))
        assert layer.clipped == sum(t.clipped for t in own)
        for s in layer.slices:
            codes = [
                t.codes[:, k].ravel()
                for t in own
                for k, p in enumerate(t.passes)
                if (p.x_slice, p.w_slice) == (s.x_slice, s.w_slice)
            ]
            expected = np.bincount(np.concatenate(codes).astype(int) - config.code_min, minlength=1 << config.adc_bits)
            assert np.array_equal(s.counts, expected)
            assert s.step == bench.steps[layer.name][s.x_slice][s.w_slice]
    assert sum(layer.clipped for layer in counted) > 0 or config is not SMALL


def test_clipped_conversions_are_told_apart_by_end() -> None:
    """An ideal die: what is clipped low has the least code, what is clipped high the greatest."""
    bench = small_bench(SMALL)
    slices = [s for layer in count_codes(bench) for s in layer.slices]
    assert any(s.low for s in slices) and any(s.high for s in slices)
    assert all(s.low <= s.counts[0] and s.high <= s.counts[-1] for s in slices)


def test_the_diagonal_of_the_confusion_matrix_is_the_accuracy(bench: Workbench) -> None:
    run = plain_run(bench)
    matrix = confusion(run.logits, bench.labels)
    assert 100 * np.trace(matrix) / matrix.sum() == pytest.approx(run.scores["golden"])
    assert matrix.sum(axis=1).tolist() == np.bincount(bench.labels, minlength=3).tolist()
    assert matrix.sum(axis=0).tolist() == np.bincount(run.logits.argmax(axis=1), minlength=3).tolist()


def test_an_ideal_table_steps_where_the_converter_does() -> None:
    c = converter(NOR40, ideal_die(NOR40, np.zeros((1, NOR40.rows, NOR40.bit_lines), dtype=np.uint8)))
    q = np.rint(c.ideal * (1 << 2 * NOR40.frac_bits)).astype(np.int64)
    table = np.tile((c.actual[0] * (1 << 2 * NOR40.frac_bits)).astype(np.int32), (len(q), 1))
    table = np.concatenate([np.zeros((len(q), 1), dtype=np.int32), table], axis=1)
    assert sar_adc.convert(NOR40, q, table, step=1)[0].tolist() == c.codes.tolist()
    assert sar_adc.convert(NOR40, q - 1, table, step=1)[0].tolist() == (c.codes - 1).tolist()
    assert not c.deviation.any()


def test_deviations_are_those_of_every_adc_of_macro_0(bench: Workbench) -> None:
    c, lsb = converter(bench.config, bench.die), 1 << 2 * bench.config.frac_bits
    assert c.deviation.shape == (bench.config.n_adcs, (1 << bench.config.adc_bits) - 1)
    for adc in range(bench.config.n_adcs):
        for trial in range(1, 1 << bench.config.adc_bits):
            ideal = trial + bench.config.code_min - 0.5
            assert c.deviation[adc, trial - 1] == bench.die.threshold[0, adc, trial] / lsb - ideal
    assert np.abs(c.deviation[c.worst]).max() == np.abs(c.deviation).max() > 0


# Sweep //


def test_the_sweep_covers_bits_5_to_10_rows_and_the_preset_itself() -> None:
    assert points(NOR40) == [("adc_bits", b) for b in range(5, 11)] + [
        ("active_rows", r) for r in (16, 32, 64, 128, 256)
    ]
    assert points(SMALL)[0] == ("adc_bits", 4) and ("active_rows", 4) in points(SMALL)


def test_every_point_of_the_sweep_equals_a_run_of_its_own(bench: Workbench) -> None:
    """On golden, with steps from training images and a die of the run's seed."""
    seen: list[tuple[int, int]] = []
    found = sweep(bench, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k + 1, len(found)) for k in range(len(found))]
    assert [(p.key, p.value) for p in found] == points(bench.config)
    assert [p.value for p in found if p.own] == [bench.config.adc_bits, bench.config.active_rows]
    test = bench.trained.test_index
    for p in (found[0], found[2], found[-1]):
        macro = small_bench(replace(SMALL, **{p.key: p.value}), die_seed=4)
        assert p.steps == macro.steps
        classes = logits_of(macro, bench.dataset.images[test]).argmax(axis=1)
        assert p.right == int((classes == bench.dataset.labels[test]).sum())
    assert len({p.right for p in found}) > 1


def test_steps_of_the_sweep_know_no_test_image(bench: Workbench, short: None) -> None:
    images = bench.dataset.images.copy()
    images[TRAINING:] = 0
    blind = changed(bench, dataset=changed(bench.dataset, images=images))
    steps = [[p.steps for p in sweep(b, progress=lambda *_: None)] for b in (bench, blind)]
    assert steps[0] == steps[1]


def test_the_preset_s_own_point_runs_on_the_run_s_die(bench: Workbench, short: None) -> None:
    dead = changed(bench, die=changed(bench.die, strength=bench.die.strength * 0))
    own, other = [{p.value: p.right for p in sweep(b, progress=lambda *_: None) if p.own} for b in (bench, dead)]
    zero = logits_of(dead, bench.dataset.images[bench.trained.test_index]).argmax(axis=1)
    assert set(other.values()) == {int((zero == bench.dataset.labels[bench.trained.test_index]).sum())}
    assert own != other


def test_a_point_that_is_refused_is_listed_with_the_reason(ideal: Page) -> None:
    rows = {row[0]: row for row in ideal.tables["Accuracy against active rows"]}
    assert rows["8"][1] == "refused" and rows["8"][-1] == (
        "preset small_unit: step = unit needs an ADC that holds a full column: 24 array units against code 15"
    )
    assert rows["4"][-1] == "this preset" and rows["4"][1].endswith(" %")
    refused = [t for t in ideal.specs["chart-sweep-active_rows"]["data"] if t["name"] == "refused"]
    assert refused[0]["customdata"] == [8]


# The page //


def test_the_page_says_what_was_applied(bench: Workbench, shown: Page, ideal: Page) -> None:
    for words in (
        "twinor cosim: small-die4",
        "preset small follows No published macro: small enough",
        f"configuration digest {bench.config.digest()}",
        f"network key {'5' * 64}",
        "training seed 3",
        "die varied, seed 4",
        "test images 5",
        f"Verilog digest {icarus.digest()}",
        f"numpy {np.__version__}",
        f"Python {sys.version.split()[0]}",
        "Icarus Verilog ",
        f"date {DATE}",
    ):
        assert words in shown.text
    assert "die ideal" in ideal.text


def test_the_outcome_is_one_line(compared: Run, shown: Page) -> None:
    run = compared
    assert run.layers is not None
    conversions, cycles = (sum(getattr(layer, key) for layer in run.layers) for key in ("conversions", "cycles"))
    line = f"5 images, 4 layers, {conversions:,} conversions, {cycles:,} cycles: 12 mismatches at 7 seams"
    assert page.outcome(run) == line and line in shown.text
    exact = changed(run, layers=[changed(layer, exact=True) for layer in run.layers])
    assert page.outcome(exact).endswith("seams; every accumulator equals PyTorch's integer arithmetic")
    alone = plain_run(small_bench(count=1))
    assert page.outcome(alone) == f"1 image on golden: {alone.scores['golden']:.2f} % read correctly"


def test_sections_stand_in_order_and_every_figure_explains_itself(html: str, shown: Page) -> None:
    order = ["applied", "layers", "codes", "converter", "confusion", "accuracy", "coverage"]
    assert re.findall(r'<section id="(\w+)">', html) == order
    assert len(shown.specs) == len(shown.captions) == 4 + 2 + 1 + 2
    assert all(caption.endswith(".") and caption.count(". ") == 0 for caption in shown.captions)
    for name, spec in shown.specs.items():
        titles = [
            axis.get("title", {}).get("text") for key, axis in spec["layout"].items() if re.match(r"[xy]axis", key)
        ]
        assert any("code" in (t or "") or "class" in (t or "") or "(%)" in (t or "") for t in titles), name
    ids = [value for _, key, value in shown.attributes if key == "id"]
    assert len(ids) == len(set(ids)) and {f"chart-{name}" for name in ("confusion", "transfer")} <= set(ids)


def test_the_tables_of_layers_say_what_the_run_found(compared: Run, shown: Page, ideal: Page) -> None:
    run, bench, tables = compared, compared.bench, shown.tables
    head, *rows = tables["What every layer did"]
    assert head[-3:] == ["cycles", "cycles / floor", "steps"]
    for row, layer in zip(rows, run.layers or (), strict=True):
        counts = (layer.tiles, layer.rounds, layer.conversions, layer.clipped)
        rate = f"{100 * layer.clipped / layer.conversions:.3f} %"
        steps = ", ".join(str(k) for of_input in bench.steps[layer.name] for k in of_input)
        expected = [layer.name, f"{layer.rows} x {layer.cols}", *(f"{n:,}" for n in counts), rate]
        assert row == [*expected, f"{layer.cycles:,}", f"{layer.cycles / layer.floor_cycles:.3f}", steps]
    head, *rows = tables["Mismatches per seam, golden against Verilog"]
    assert head == ["layer", *SEAMS] and all(row[1:] == ["0", "0", "3", "0", "0", "0", "0"] for row in rows)
    assert ideal.tables["What every layer did"][0][-2:] == ["floor cycles", "steps"]
    assert "Mismatches per seam, golden against Verilog" not in ideal.tables


def test_bars_of_the_histograms_add_up_to_the_conversions(shown: Page) -> None:
    head, *rows = shown.tables["Codes and clipping by slice"]
    bars = [trace for n in range(4) for trace in shown.specs[f"chart-codes-{n}"]["data"]]
    for trace, row in zip(bars, rows, strict=True):
        heights = dict(zip(trace["x"], trace["y"], strict=True))
        used = [code for code, n in heights.items() if n]
        assert f"{sum(n or 0 for n in heights.values()):,}" == row[head.index("conversions")]
        assert [str(used[0]), str(used[-1])] == [row[head.index("least code")], row[head.index("greatest code")]]
        ends = (("clipped low", 0), ("clipped high", -1))
        for name, end in ends:
            orange = trace["marker"]["color"][end] == palette.LIGHT["accent"]
            assert orange == (row[head.index(name)] != "0")


def test_a_varied_die_shows_every_adc_and_an_ideal_one_says_so(bench: Workbench, shown: Page, ideal: Page) -> None:
    assert len(shown.specs["chart-deviation"]["data"]) == bench.config.n_adcs
    assert len(shown.tables["Deviation from the ideal table, ADCs of macro 0"]) == 1 + bench.config.n_adcs
    assert "chart-deviation" not in ideal.specs and "The die is ideal: every ADC" in ideal.text


def test_text_of_a_run_cannot_become_markup(bench: Workbench, short: None) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>`<b>`&\"'"
    network = bench.trained.network
    layers = tuple(changed(layer, name=evil) if layer.name == "fc1" else layer for layer in network.layers)
    trained = changed(bench.trained, key=evil, network=changed(network, layers=layers))
    config = replace(bench.config, follows=evil, name=evil.replace("/", ""))
    steps = {evil if name == "fc1" else name: step for name, step in bench.steps.items()}
    placement = place(config, trained.network, steps)
    die = sample_die(config, placement.levels, seed=4)
    hostile = changed(bench, config=config, trained=trained, steps=steps, placement=placement, die=die)
    shown = Page(report.build(plain_run(hostile), date=DATE))
    assert shown.text.count(evil) >= 4
    assert not {tag for tag, *_ in shown.attributes} & {"img", "b"}
    assert not any(name.startswith("on") for _, name, _ in shown.attributes)
    assert sum(tag == "script" for tag, *_ in shown.attributes) == 3 * (len(shown.specs)) + 2


def test_nothing_is_loaded_from_anywhere(html: str, shown: Page) -> None:
    loading = {"src", "href", "action", "data", "poster", "srcset", "formaction", "background", "ping"}
    found = {value for _, name, value in shown.attributes if name in loading}
    assert found and all(value.startswith("#") for value in found)
    assert not any(re.search(r"(https?:)?//|url\(", value) for _, _, value in shown.attributes)
    policy = next(value for _, name, value in shown.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; ") and "http" not in policy
    styles = re.findall(r"<style>.*?</style>", html, flags=re.DOTALL)
    assert styles and not any("url(" in style or "@import" in style for style in styles)


def test_equal_runs_give_equal_pages_apart_from_the_date(html: str) -> None:
    again = cosim_run(small_bench(die_seed=4), mismatches=3)
    assert report.build(again, date="another day").replace("another day", DATE) == html
    assert html.count(DATE) == 1


def test_the_page_is_written_whole_or_not_at_all(
    bench: Workbench, short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plain_run(bench)
    steps: list[tuple[int, int]] = []
    path = report.write(run, tmp_path, progress=lambda *step: steps.append(step))
    assert path == tmp_path / "run-small-die4.html" and path.read_text(encoding="utf-8").endswith("</html>\n")
    assert steps[-1][0] == steps[-1][1] == len(steps)
    before = path.read_bytes()
    monkeypatch.setattr(page, "confusion", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.write(run, tmp_path)
    monkeypatch.undo()
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    blocked = tmp_path / "blocked" / path.name
    blocked.mkdir(parents=True)
    with pytest.raises(TwinorError, match=r"blocked/run-small-die4\.html cannot be written"):
        report.write(run, blocked.parent)
    assert list(blocked.parent.iterdir()) == [blocked] and not list(blocked.iterdir())


def test_a_missing_library_is_named_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    report.require()
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(TwinorError, match=r"the report needs plotly; install twinor\[report\], or say --no-report"):
        report.require()


# Coverage //

GOALS = [
    {"goal": "adc_code", "bins": 16, "hit": 15, "missed": ["code -8"]},
    {"goal": "x", "bins": 4, "hit": 4, "missed": []},
]


def told(**changes: object) -> dict[str, object]:
    whole = {"preset": "small", "config": SMALL.digest(), "rtl": icarus.digest(), "seed": 9}
    return whole | {"goals": GOALS, "coverage": 95.0} | changes


def test_coverage_of_this_macro_and_verilog_is_shown_by_goal(alone: Path) -> None:
    path = alone / "uvm-small.json"
    path.write_text(json.dumps(told()), encoding="utf-8")
    section = functional_coverage(coverage(SMALL, rtl=icarus.digest(), folder=alone))
    path.unlink()
    assert section.tables[0].rows == [["adc_code", "16", "15", "code -8"], ["x", "4", "4", "none"]]
    assert section.sentence.startswith("19 of 20 bins of 2 goals were hit, 95.00 %, with seed 9; ")


REFUSED = {
    "": "There is no uvm-small.json in build/; ",
    json.dumps(told(config="0" * 64)): "measured with another configuration (000000000000, this run has ",
    json.dumps(told(rtl="1" * 64)): "measured with another Verilog (111111111111, this run has ",
    "{": "uvm-small.json is not what `make uvm` writes (JSONDecodeError",
    "[]": "uvm-small.json is not what `make uvm` writes (TypeError",
    json.dumps(told(goals=[{"goal": "a"}])): "uvm-small.json is not what `make uvm` writes (KeyError: 'bins')",
}


@pytest.mark.parametrize("content", REFUSED)
def test_coverage_that_does_not_belong_here_is_told_with_the_command(content: str, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    folder.mkdir()
    if content:
        (folder / "uvm-small.json").write_text(content, encoding="utf-8")
    found = coverage(SMALL, rtl=icarus.digest(), folder=folder)
    assert REFUSED[content] in found.absent and not found.goals
    assert found.absent.endswith("; run `make uvm PRESET=small`, then this command again.")


def test_a_page_without_coverage_names_the_command(html: str, shown: Page) -> None:
    assert "run <code>make uvm PRESET=small</code>, then this command again." in html
    assert "Goals" not in shown.tables
