# SPDX-License-Identifier: Apache-2.0
"""Every verb as a user types it: exit status, tables, JSON and files."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command_line import REPO, CommandLine, InProcess, Said, listing, mutated, shared_command_line
from twinor.config import load
from twinor.trace import SEAMS

pytestmark = pytest.mark.rtl

VERBS = (
    *("params", "train", "convert", "table", "run", "cosim", "replay", "die", "program"),
    *("montecarlo", "crossval", "characterise"),
)
LAYERS = {"conv1": (9, 32, 1, 64), "conv2": (288, 96, 4, 16), "linear": (384, 10, 2, 1)}
"""Rows, columns, tiles and vectors of one image."""
ENGINES = ("float", "fake-quantized", "golden", "rtl")


@pytest.fixture
def twinor(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return shared_command_line(tmp_path, tmp_path_factory)


@pytest.fixture
def inside(twinor: CommandLine) -> CommandLine:
    """The same without the cost of a child process."""
    return InProcess(folder=twinor.folder, shared=twinor.shared)


def result(twinor: CommandLine, name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((twinor.folder / "build" / name).read_text(encoding="utf-8"))
    return told


def table(said: Said, title: str) -> list[list[str]]:
    """Rows of the table under a title, the header first."""
    after = said.out.split(f"{title}\n", 1)[1].split("\n\n", 1)[0].splitlines()
    rows = [re.split(r"\s{2,}", line.strip()) for line in after]
    return [row for row in rows if len(row) == len(rows[0])]


# What there is //


def test_without_a_verb_the_help_lists_all_verbs(twinor: CommandLine) -> None:
    bare, asked = twinor(), twinor("--help")
    assert (bare.out + bare.err).strip() == asked.out.strip() and asked.status == 0
    assert re.findall(r"^│ (\w+)  ", asked.out, flags=re.MULTILINE) == list(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_and_its_options(verb: str, twinor: CommandLine) -> None:
    said = twinor(verb, "--help")
    assert said.status == 0 and not said.err
    options = [line for line in said.out.splitlines() if line.startswith("│ --")]
    assert all(len(line.strip("│ ").split("  ")) > 1 for line in options)
    if verb not in ("train", "convert", "replay"):
        assert "--preset" in said.out
    if verb in ("run", "cosim", "die", "program", "crossval", "train"):
        assert "--seed" in said.out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["sweeep"], "No such command 'sweeep'"),
        (["run", "--images", "0"], "'--images': Input should be greater than or equal to 1"),
        (["cosim", "--images", "few"], "'--images'"),
        (["cosim", "--timeout", "0"], "'--timeout'"),
        (["run", "--die-seed", "-1"], "'--die-seed'"),
        (["run", "--presett", "tiny"], "No such option"),
        (["replay"], "Missing argument 'folder'"),
        (["die"], "Missing argument 'file'"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_refused(args: list[str], words: str, twinor: CommandLine) -> None:
    before = listing(twinor.folder)
    said = twinor(*args)
    assert said.status == 2 and "Traceback" not in said.err
    assert words in " ".join(said.err.replace("│", " ").split())
    assert listing(twinor.folder) - {twinor.folder / "tmp"} == before


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["run", "--backend", "verilog"], "unknown --backend verilog: expected one of golden, fast, rtl"),
        (["cosim", "--images", "361"], "--images 361: the test part has 360 images"),
        (["cosim", "--die", "a.npz", "--die-seed", "3"], "give either --die or --die-seed, not both"),
        (["run", "--die", "a.npz"], "no die file a.npz; write one with `twinor die`"),
        (
            ["run", "--compensate", "luck"],
            "unknown --compensate luck: expected some of tracking, weights, columns, batch_norm",
        ),
        (["run", "--compensate", "weights"], "--compensate weights: preset nor40_int4 searches in binary weights"),
        (["run", "--compensate", "tracking"], "--compensate tracking: preset nor40_int4 has no EKV cells"),
        (["run", "--compensate", "columns"], "--compensate columns: preset nor40_int4 has no column correction"),
        (["die", "a.npz", "--hours", "5"], "preset nor40_int4 has no device: its cells neither age nor heat"),
        (["die", "a.npz", "--bake", "85"], "--bake 85 has no effect without --hours"),
        (["montecarlo", "--preset", "tiny"], "preset tiny has no device: its cells are Gaussian"),
    ],
)
def test_options_that_cannot_be_met_are_refused_before_training(
    args: list[str], sentence: str, inside: CommandLine, tmp_path: Path
) -> None:
    said = inside(*args, TWINOR_CACHE=str(tmp_path / "cache"))
    assert said.sentence().startswith(sentence) and not said.out
    assert listing(tmp_path) == {tmp_path / "tmp"}


# params //


def test_params_writes_and_checks_the_generated_verilog(twinor: CommandLine, tmp_path: Path) -> None:
    """In a copy of the checkout, which is found by where the package lies."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPO / "model" / "twinor", tmp_path / "model" / "twinor", ignore=ignored)
    shutil.copytree(REPO / "rtl", tmp_path / "rtl")
    copy = {"PYTHONPATH": str(tmp_path / "model"), "PYTHONDONTWRITEBYTECODE": "1"}
    header = tmp_path / "rtl" / "macro_params.vh"
    original = header.read_text(encoding="utf-8")

    same = twinor("params", "--check", **copy)
    assert (same.status, same.out) == (0, "rtl/macro_params.vh follows preset nor40_int4\n")
    header.write_text(original.replace("ROWS            = 256", "ROWS            = 255"), encoding="utf-8")
    drifted = header.read_text(encoding="utf-8")
    sentence = twinor("params", "--check", **copy).sentence()
    assert re.match(r"macro_params\.vh does not follow preset nor40_int4: line \d+ is .* = 255,", sentence)
    assert sentence.endswith("run `twinor params --preset nor40_int4`")
    assert header.read_text(encoding="utf-8") == drifted  # a check changes nothing

    wrote = twinor("params", **copy)
    assert wrote.status == 0
    assert wrote.out.splitlines() == [
        "wrote macro_params.vh from preset nor40_int4",
        "wrote macro_params_inst.vh from preset nor40_int4",
    ]
    assert header.read_text(encoding="utf-8") == original
    assert twinor("params", "--preset", "tiny", **copy).status == 0
    assert "preset nor40_int4: line" in twinor("params", "--check", **copy).sentence()
    assert twinor("params", "--check", "--preset", "tiny", **copy).status == 0


# train, run, die //


def test_training_shows_progress_once_and_is_then_read(twinor: CommandLine) -> None:
    said = twinor("train", "--out", "trained")
    assert (said.status, said.err) == (0, "")
    first = said.out
    for stage in ("train float", "train int4"):
        lines = [line for line in first.splitlines() if line.startswith(stage)]
        assert len(lines) >= 2 and "100 %" in lines[-1]
        assert re.search(r"loss \d\.\d+  accuracy \d+\.\d %", lines[-1])
    assert sorted(path.name for path in (twinor.folder / "trained").iterdir()) == [
        "digits.html",
        "digits.json",
        "digits.npz",
    ]
    again = twinor("train", "--out", "trained")
    assert (again.status, again.err) == (0, "") and "train float" not in again.out
    assert table(again, "accuracy on the test images") == table(said, "accuracy on the test images")
    assert again.out.endswith("trained/digits.npz holds this training; delete it to train again\n")
    assert not listing(twinor.folder / "tmp")


def test_several_seeds_give_a_mean_and_a_spread(twinor: CommandLine) -> None:
    (twinor.folder / "short.yaml").write_text("float_epochs: 2\nquant_epochs: 2\nwidth: 0.2\n", encoding="utf-8")
    said = twinor("train", "--recipe", "short.yaml", "--seeds", "2", "--out", "trained", "--no-report")
    assert (said.status, said.err) == (0, "")
    told = json.loads((twinor.folder / "trained" / "short-seeds.json").read_text(encoding="utf-8"))
    each = [json.loads((twinor.folder / "trained" / f"short-seed{k}.json").read_text()) for k in (0, 1)]
    assert told["accuracy"] == [one["accuracy"] for one in each] and told["accuracy"][0] != told["accuracy"][1]
    header, row = table(said, "mean and standard deviation over 2 seeds")
    assert header == ["seeds", "float", "fake-quantized", "int4"]
    scores = [one["int4"] for one in told["accuracy"]]
    assert row[-1] == f"{sum(scores) / 2:.2f} +- {abs(scores[0] - scores[1]) / 2**0.5:.2f}"


def test_a_trained_network_becomes_onnx(twinor: CommandLine) -> None:
    (twinor.folder / "short.yaml").write_text("float_epochs: 1\nquant_epochs: 1\nwidth: 0.2\n", encoding="utf-8")
    assert twinor("train", "--recipe", "short.yaml", "--out", "trained", "--no-report").status == 0
    said = twinor("convert", "trained/short.npz", "short.onnx")
    assert (said.status, said.err, said.out) == (0, "", "wrote short.onnx\n")
    assert (twinor.folder / "short.onnx").stat().st_size > 1000


def test_all_engines_give_the_same_accuracy(inside: CommandLine) -> None:
    results = {}
    for backend in ("fast", "golden", "rtl"):
        said = inside("run", "--backend", backend, "--images", "4", "--die-seed", "7", "--no-report")
        assert (said.status, said.err) == (0, "")
        results[backend] = told = result(inside, "run-nor40_int4-die7.json")
        assert list(told["accuracy"]) == ["float", "fake-quantized", backend]
        header, row = table(said, "accuracy")
        assert header == ["images", *told["accuracy"]]
        assert row == ["4", *(f"{score:.2f} %" for score in told["accuracy"].values())]
        assert "die seed 7" in said.out and said.out.endswith("wrote build/run-nor40_int4-die7.json\n")
        told["accuracy"]["engine"] = told["accuracy"].pop(backend)
    assert results["fast"] == results["golden"] == results["rtl"]
    config = load("nor40_int4")
    assert results["fast"]["config"] == config.digest() and results["fast"]["preset"] == config.name
    assert (results["fast"]["die_seed"], results["fast"]["images"]) == (7, 4)


def test_a_die_file_gives_what_its_seed_gives(inside: CommandLine) -> None:
    wrote = inside("die", "chips/a.npz", "--die-seed", "3")
    assert wrote.status == 0 and wrote.out.endswith("wrote chips/a.npz: 5 macros, seed 3\n")
    by_file = inside("cosim", "--images", "1", "--die", "chips/a.npz", "--no-report")
    assert by_file.status == 0 and "die seed 3" in by_file.out
    file_result = result(inside, "cosim-nor40_int4-die3.json")
    by_seed = inside("cosim", "--images", "1", "--die-seed", "3", "--out", "seed", "--no-report")
    assert by_seed.status == 0
    seed_result = json.loads((inside.folder / "seed" / "cosim-nor40_int4-die3.json").read_text(encoding="utf-8"))
    assert file_result.pop("seconds") > 0 and seed_result.pop("seconds") > 0
    assert file_result == seed_result and file_result["die_seed"] == 3
    assert listing(inside.folder / "chips") == {inside.folder / "chips" / "a.npz"}


def test_a_die_lives_and_what_is_done_about_it_shows(inside: CommandLine) -> None:
    life = ("--preset", "nor40_iscas2021", "--hours", "1000", "--bake", "125", "--celsius", "85")
    wrote = inside("die", "old.npz", "--die-seed", "2", *life)
    assert wrote.status == 0 and wrote.out.endswith("seed 2, 1000 h at 125 C, now at 85 C\n")
    chosen = ("--preset", "nor40_iscas2021", "--die", "old.npz", "--images", "60", "--no-report")
    said = inside("run", *chosen, "--compensate", "columns,batch_norm")
    assert (said.status, said.err) == (0, "")
    told = result(inside, "run-nor40_iscas2021-die2-1000h-85C.json")
    assert list(told["accuracy"]) == ["float", "fake-quantized", "fast", "+ columns", "+ batch_norm"]
    assert (told["bakes"], told["celsius"]) == ([[3.6e6, 125.0]], 85.0)
    header, row = table(said, "accuracy")
    assert header == ["images", *told["accuracy"]] and row[1:] == [f"{s:.2f} %" for s in told["accuracy"].values()]


def test_a_measured_die_with_a_wrong_line_is_refused(inside: CommandLine) -> None:
    (inside.folder / "cells.csv").write_text("macro,row,bit_line,current_nA\n0,0,0,oops\n")
    said = inside("die", "a.npz", "--preset", "nor40_iscas2021", "--currents", "cells.csv")
    assert said.status == 1 and "cells.csv, line 2: current_nA is 'oops'; expected a number, 0 .. 400" in said.err
    assert not (inside.folder / "a.npz").exists()


def test_montecarlo_writes_its_table_json_and_page(inside: CommandLine) -> None:
    said = inside("montecarlo", "--images", "4", "--dies", "2", "--each", "1", "--processes", "1")
    assert (said.status, said.err) == (0, "")
    told = result(inside, "montecarlo-nor40_iscas2021.json")
    assert len(told["effects"]["all together"]) == 2 and len(told["effects"]["cells"]) == 1
    rows = table(said, f"4 images, {told['ideal']:.2f} % on the ideal die")
    assert [row[0] for row in rows] == ["effect", *told["effects"]]
    assert "all together" in (inside.folder / "build" / "montecarlo-nor40_iscas2021.html").read_text(encoding="utf-8")


# cosim and replay //


def _check_cosim(twinor: CommandLine, said: Said, preset: str, *, images: int) -> dict[str, Any]:
    config, told = load(preset), result(twinor, f"cosim-{preset}.json")
    assert (said.status, said.err) == (0, "")
    assert {key: told[key] for key in ("preset", "config", "images")} == {
        "preset": preset,
        "config": config.digest(),
        "images": images,
    }
    assert [layer["name"] for layer in told["layers"]] == list(LAYERS) == list(told["steps"])
    for layer in told["layers"]:
        rows, cols, tiles, vectors = LAYERS[layer["name"]]
        groups = sum(-(-min(256, rows - top) // config.active_rows) for top in range(0, rows, 256))
        counts = {
            "rows": rows,
            "cols": cols,
            "tiles": tiles,
            "rounds": images * vectors * tiles,
            "conversions": images * vectors * groups * config.x_slices * config.w_slices * cols,
            "mismatches": dict.fromkeys(SEAMS, 0),
        }
        assert {key: layer[key] for key in counts} == counts
        assert layer["floor_cycles"] < layer["cycles"] and layer["steady_floor_cycles"] < layer["floor_cycles"]
        if layer["steady_floor_cycles"]:
            assert layer["cycles_over_floor"] == layer["steady_cycles"] / layer["steady_floor_cycles"]
            assert 1 <= layer["cycles_over_floor"] <= 1.05
        else:  # every run had one vector
            assert layer["cycles_over_floor"] == layer["cycles"] / layer["floor_cycles"] > 1
    assert list(told["accuracy"]) == list(ENGINES) and told["accuracy"]["golden"] == told["accuracy"]["rtl"] == 100
    return told


def _check_tables(said: Said, told: dict[str, Any]) -> None:
    """The tables say what the JSON says, within 80 characters."""
    head, *rows = table(said, "golden and rtl, layer by layer")
    assert head == ["layer", "rows x cols", "tiles", "rounds", "conversions", "clipped", "cycles", "/ floor"]
    for row, layer in zip(rows, told["layers"], strict=True):
        counts = [f"{layer[key]:,}" for key in ("tiles", "rounds", "conversions", "clipped", "cycles")]
        over = f"{layer['cycles_over_floor']:.3f}"
        assert row == [layer["name"], f"{layer['rows']} x {layer['cols']}", *counts, over]
    head, *rows = table(said, "mismatches per seam")
    assert head == ["layer", *SEAMS] and rows == [[layer, *["0"] * len(SEAMS)] for layer in LAYERS]
    head, row = table(said, "accuracy")
    assert head == ["images", *ENGINES] and row[1:] == [f"{told['accuracy'][name]:.2f} %" for name in ENGINES]
    for layer in LAYERS:
        percents = [int(p) for p in re.findall(rf"^cosim {layer} +(\d+) %$", said.out, flags=re.MULTILINE)]
        assert len(percents) > 1 and percents == sorted(set(percents)) and percents[-1] == 100
    tables = said.out[said.out.index("golden and rtl") : said.out.index("images, 3 layers")]
    assert max(len(line.rstrip()) for line in tables.splitlines()) <= 80


def test_cosim_of_digits_prints_and_writes_every_figure(twinor: CommandLine) -> None:
    said = twinor("cosim", "--images", "2")
    told = _check_cosim(twinor, said, "nor40_int4", images=2)
    _check_tables(said, told)
    assert told["die_seed"] is None and "PyTorch" not in said.out
    assert not any(layer["exact"] for layer in told["layers"])
    assert "0 mismatches at 7 seams" in said.out
    wrote = [line for line in said.out.splitlines() if line.startswith("wrote ")]
    assert wrote == ["wrote build/cosim-nor40_int4.json", "wrote build/cosim-nor40_int4.html"]
    progress = [int(p) for p in re.findall(r"^report +(\d+) %$", said.out, flags=re.MULTILINE)]
    assert len(progress) > 1 and progress == sorted(set(progress)) and progress[-1] == 100
    page = (twinor.folder / "build" / "cosim-nor40_int4.html").read_text(encoding="utf-8")
    conversions = sum(layer["conversions"] for layer in told["layers"])
    assert f"2 images, 3 layers, {conversions:,} conversions" in page and told["config"] in page
    assert listing(twinor.folder) == {twinor.folder / name for name in ("tmp", "build", *(line[6:] for line in wrote))}


def test_cosim_of_the_lossless_preset_is_compared_with_pytorch(twinor: CommandLine) -> None:
    said = twinor("cosim", "--preset", "nor40_int4_exact", "--images", "1", "--no-report")
    told = _check_cosim(twinor, said, "nor40_int4_exact", images=1)
    assert all(layer["exact"] and layer["clipped"] == 0 for layer in told["layers"])
    assert "every accumulator equals PyTorch's integer arithmetic" in said.out
    assert told["accuracy"]["rtl"] == told["accuracy"]["fake-quantized"]


def test_a_divergence_stops_the_run_and_its_reproducer_replays_with_waves(twinor: CommandLine, tmp_path: Path) -> None:
    mutated(tmp_path, "shift_add.v", "start + added + (negate_i", "start + added - (negate_i")  # --rtl is relative here
    said = twinor("cosim", "--images", "1", "--rtl", "rtl")
    sentence, command = said.sentence().split("\n")
    assert re.fullmatch(
        r"divergence at seam partial_sums: layer conv1, tile rows 0\.\.8, columns 0\.\.31, vector \d+, round 0, "
        r"row group 0, input slice [01], weight slice 0, column \d+: golden -?\d+, rtl -?\d+ at \d+ ns",
        sentence,
    )
    pasted = re.fullmatch(r"replay it with waves: (\S*twinor replay (\S+) --waves)", command)
    assert pasted and not Path(pasted[2]).is_absolute()
    folder = tmp_path / pasted[2]
    assert folder == tmp_path / "build" / "reproducers" / "conv1-rows0_8-columns0_31-partial_sums"
    assert not (tmp_path / "build" / "cosim-nor40_int4.json").exists() and "mismatches" not in said.out
    assert listing(tmp_path / "build") == {folder.parent, folder, folder / "job.npz", folder / "divergence.txt"}

    shell = {"PATH": "/usr/bin:/bin", "TWINOR_BUILD": str(twinor.shared / "build"), "HOME": str(tmp_path)}
    line = pasted[1]
    typed = subprocess.run(line, shell=True, cwd=tmp_path, env=shell, check=False, capture_output=True, text=True)
    assert typed.returncode == 1 and "divergence at seam partial_sums" in typed.stderr, typed.stderr
    near = folder.relative_to(tmp_path)
    assert f"open them: gtkwave {near}/cosim.fst {near}/cosim.gtkw" in typed.stdout

    elsewhere = CommandLine(folder=tmp_path / "elsewhere", shared=twinor.shared)
    elsewhere.folder.mkdir()
    again = elsewhere("replay", folder, "--waves")
    where = re.search(r"row group.*rtl -?\d+", sentence)
    assert where and where[0] in again.sentence() and again.sentence().startswith("divergence at seam partial_sums: ")
    wave, view = folder / "cosim.fst", folder / "cosim.gtkw"
    told = again.out.splitlines()
    assert told[:2] == [f"waves: {wave}", f"open them: gtkwave {wave} {view}"]
    assert re.fullmatch(rf"after a repair: \S*twinor replay {folder}", told[-1])
    assert wave.stat().st_size > 1000 and "-seam partial_sums" in view.read_text(encoding="utf-8")
    fixed = elsewhere("replay", folder, "--rtl", REPO / "rtl")
    assert (fixed.status, fixed.out, fixed.err) == (0, "no difference: golden and rtl agree at every seam\n", "")
