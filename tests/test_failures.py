# SPDX-License-Identifier: Apache-2.0
"""What goes wrong ends with one clear sentence, a non-zero exit status and nothing half-written."""

import os
import re
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine, InProcess, listing, mutated, shared_command_line, stand_in
from torch import nn
from twinor import cli, models, session
from twinor.config import load
from twinor.die import sample_die
from twinor.die_file import save_die
from twinor.quantize import fitting

pytestmark = pytest.mark.rtl

COSIM = ("cosim", "--images", "1")
INSTALL = "install it with `apt-get install iverilog` (Icarus Verilog 11 or newer)"


@pytest.fixture
def twinor(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return shared_command_line(tmp_path, tmp_path_factory)


@pytest.fixture
def inside(twinor: CommandLine) -> CommandLine:
    """The same without the cost of a child process, for what does not depend on one."""
    return InProcess(folder=twinor.folder, shared=twinor.shared)


def fails(twinor: CommandLine, *args: object, **environment: str) -> str:
    """The sentence of a command that must leave every file as it was."""
    before, cached = _contents(twinor.folder), _cached(twinor)
    sentence = twinor(*args, **environment).sentence()
    assert _contents(twinor.folder) == before | {twinor.folder / "tmp": b""}
    assert cached.items() <= _cached(twinor).items()
    return sentence


def _cached(twinor: CommandLine) -> dict[Path, bytes]:
    """Trained networks, to which another worker of this run may add folds."""
    return {path: path.read_bytes() for path in (twinor.shared / "cache").glob("digits-*.npz")}


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for path in listing(folder)}


# The simulator //


@pytest.mark.parametrize("missing", ["iverilog", "vvp"])
def test_a_missing_simulator_is_named_before_anything_long_starts(missing: str, twinor: CommandLine) -> None:
    tools = twinor.folder / "bin"
    tools.mkdir()
    for name in {"iverilog", "vvp"} - {missing}:
        (tools / name).symlink_to(str(shutil.which(name)))
    untrained = str(twinor.folder / "cache")
    sentence = fails(twinor, *COSIM, PATH=str(tools), TWINOR_CACHE=untrained, TWINOR_BUILD=str(twinor.folder / "build"))
    assert sentence == f"{missing} is not installed: {INSTALL}"


def test_a_compiler_that_fails_is_told_with_the_tail_of_its_log(twinor: CommandLine) -> None:
    lines = "; ".join(f"echo line {n}" for n in range(1, 31))
    script = f"""{lines}
      while [ "$1" != -o ]; do shift; done; echo half a model > "$2"; exit 3"""
    path = stand_in(twinor.folder / "bin", "iverilog", script)
    twinor_build = twinor.folder / "build"
    (twinor_build / "icarus").mkdir(parents=True)
    sentence = fails(twinor, *COSIM, PATH=path, TWINOR_BUILD=str(twinor_build))
    first, *log = sentence.splitlines()
    assert first == "Icarus Verilog could not compile (iverilog exit status 3); its log ends:"
    assert log[-1] == "  line 30" and "  line 1" not in log and 5 <= len(log) <= 20


FAILED, ENDED = "the simulation failed (vvp exit status ", "the simulation ended before its last output; "
CRASHES = {
    "exit": ("echo assertion failed; exit 134", FAILED + "134); its log ends:\n  assertion failed"),
    "signal": ("kill -SEGV $$", FAILED + "-11); it printed nothing"),
    "silence": ("exit 0", ENDED + "it printed nothing"),
    "early": ("echo twinor: cannot open words.hex", ENDED + "its log ends:\n  twinor: cannot open words.hex"),
}


@pytest.mark.parametrize("crash", CRASHES)
def test_a_simulator_that_crashes_is_told_with_the_tail_of_its_log(crash: str, inside: CommandLine) -> None:
    script, said = CRASHES[crash]
    assert fails(inside, *COSIM, PATH=stand_in(inside.folder / "bin", "vvp", script)) == said


def test_a_simulator_that_hangs_is_ended_by_the_time_limit(twinor: CommandLine) -> None:
    pids = twinor.folder / "pids"
    pids.mkdir()
    script = f"echo reached cycle 12345; : > {twinor.folder}/pids/$$; sleep 6; : > {twinor.folder}/late; exec sleep 300"
    path = stand_in(twinor.folder / "bin", "vvp", script)
    said = twinor(*COSIM, "--timeout", "1", PATH=path)
    assert said.sentence() == "vvp did not end within 1 s; its log ends:\n  reached cycle 12345"
    assert not (twinor.folder / "late").exists()
    started = [int(path.name) for path in pids.iterdir()]
    assert started
    for pid in started:  # no process stays behind
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not listing(twinor.folder / "tmp") and not (twinor.folder / "build").exists()


def test_a_simulator_that_claims_to_be_done_is_not_believed(inside: CommandLine) -> None:
    """No output at all is a divergence, not a pass."""
    path = stand_in(inside.folder / "bin", "vvp", "echo twinor: done after 0 cycles")
    sentence = inside(*COSIM, PATH=path).sentence()
    assert sentence.startswith("divergence at seam word_lines: layer conv1, tile rows 0..8, columns 0..31, vector 0, ")
    assert "word line 0: golden 0, rtl nothing\n" in sentence
    assert not listing(inside.folder / "tmp")


def test_a_damaged_model_of_the_simulator_is_told(twinor: CommandLine) -> None:
    build = twinor.folder / "build"
    command = {"TWINOR_BUILD": str(build)}
    mutated(twinor.folder, "shift_add.v", "start + added + (negate_i", "start + added + 1 + (negate_i")
    assert "divergence" in twinor(*COSIM, "--rtl", "rtl", **command).sentence()
    (model,) = (build / "icarus").iterdir()
    model.write_bytes(model.read_bytes()[:2000])
    assert fails(twinor, *COSIM, "--rtl", "rtl", **command).startswith("the simulation failed (vvp exit status ")


def test_verilog_that_is_not_there_is_told(inside: CommandLine) -> None:
    (inside.folder / "empty").mkdir()
    for name in ("empty", "missing"):
        sentence = fails(inside, *COSIM, "--rtl", name)
        assert sentence.startswith(str(inside.folder / name)) and "rtl.f" in sentence and "full checkout" in sentence


def test_verilog_with_an_error_is_told_with_its_line(twinor: CommandLine) -> None:
    mutated(twinor.folder, "shift_add.v", "assign sum_valid_o ", "asign sum_valid_o ")
    sentence = fails(twinor, *COSIM, "--rtl", "rtl", TWINOR_BUILD=str(twinor.shared / "other build"))
    assert sentence.startswith("Icarus Verilog could not compile (iverilog exit status ")
    assert re.search(rf"{twinor.folder}/rtl/shift_add\.v:\d+: .*error", sentence)


# Presets, dies, caches, reproducers //


PRESETS = {
    "nor40_int5": (None, "unknown preset 'nor40_int5': expected one of nor40_int4, "),
    "away.yaml": (None, "no preset file away.yaml"),
    "range.yaml": (
        ("  rows: 256", "  rows: 0"),
        "preset range: rows = 0 is not allowed: expected an integer 1 .. 4096",
    ),
    "key.yaml": (("  rows: 256", "  lines: 256"), "key.yaml: unknown key digital.lines = 256: expected "),
    "syntax.yaml": (("digital:", "digital: ["), "syntax.yaml: not a YAML file: "),
    "contradiction.yaml": (
        ("cols_per_adc: 8", "cols_per_adc: 7"),
        "preset contradiction: cols_per_adc = 7 must divide",
    ),
    "narrow.yaml": (("input_bits: 4", "input_bits: 3"), "the network's input has 4 bits, preset narrow takes 3"),
    "light.yaml": (("weight_bits: 4", "weight_bits: 3"), "preset light: cell_bits = 3 exceeds the 2 bits"),
    "coarse.yaml": (
        ("weight_bits: 4\n  cell_bits: 3", "weight_bits: 3\n  cell_bits: 2"),
        "layer conv1: weights -7 .. 7, preset coarse holds -3 .. 3",
    ),
    "psum.yaml": (("psum_bits: 24", "psum_bits: 10"), "layer conv2: partial sums of 288 rows reach "),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_wrong_preset_is_told(preset: str, inside: CommandLine) -> None:
    change, said = PRESETS[preset]
    if change is not None:
        text = (Path(session.__file__).parent / "presets" / "nor40_int4.yaml").read_text(encoding="utf-8")
        assert text.count(change[0]) == 1
        (inside.folder / preset).write_text(text.replace(*change), encoding="utf-8")
    sentence = fails(inside, "run", "--images", "1", "--preset", preset)
    assert sentence.startswith(said) and "\n" not in sentence


def test_a_damaged_cache_is_told_and_left_alone(twinor: CommandLine) -> None:
    cache = twinor.folder / "cache"
    cache.mkdir()
    for file, content in _cached(twinor).items():
        middle = len(content) // 2
        (cache / file.name).write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    sentence = fails(twinor, "run", "--images", "1", TWINOR_CACHE=str(cache))
    damaged = " is damaged or cut short (its checksum differs); delete it to retrain"
    assert sentence.endswith(damaged) and Path(sentence.removesuffix(damaged)) in cache.iterdir()


def test_a_cache_folder_that_cannot_be_made_is_told_before_training(twinor: CommandLine) -> None:
    (twinor.folder / "file").write_text("", encoding="utf-8")
    said = twinor("run", TWINOR_CACHE=str(twinor.folder / "file" / "cache"))
    assert said.sentence().startswith(f"the cache folder {twinor.folder}/file/cache cannot be made (")
    assert "set the environment variable TWINOR_CACHE" in said.sentence() and not said.out


def test_training_is_told_of_a_bad_folder_device_recipe_or_data_set_first(twinor: CommandLine) -> None:
    (twinor.folder / "file").write_text("", encoding="utf-8")
    for arguments, words in (
        (("--out", "file/here"), "the folder file/here cannot be made (Not a directory); choose another --out"),
        (("--device", "tpu"), "--device tpu: expected one of auto, cpu, cuda; cuda needs a GPU"),
        (("--recipe", "none"), "no recipe none: expected one of "),
        (("--data", "imagenet"), "unknown --data imagenet: expected one of digits, cifar10, mnist"),
        (("--data", "mnist", "--data-dir", "file"), "file does not hold mnist: expected the four idx files"),
        (("--arch", "vgg99"), "unknown --arch vgg99: expected one of digits, vgg4, vgg7, alexnet, "),
    ):
        assert fails(twinor, "train", *arguments).startswith(words)


def test_conversions_of_networks_are_told_what_they_take(twinor: CommandLine) -> None:
    (twinor.folder / "net.npz").write_bytes(b"PK")
    assert fails(twinor, "convert", "net.npz", "net.txt") == (
        "net.npz to net.txt: expected .npz to .onnx, or .onnx to .npz"
    )
    assert fails(twinor, "convert", "net.npz", "net.onnx").startswith("net.npz is damaged or cut short")
    assert fails(twinor, "convert", "none.onnx", "net2.npz").startswith("none.onnx is no ONNX model (")


def test_a_die_that_does_not_fit_is_told(inside: CommandLine) -> None:
    assert inside("die", "chip.npz", "--die-seed", "1").status == 0
    chip = inside.folder / "chip.npz"
    sentence = fails(inside, "run", "--images", "1", "--die", "chip.npz", "--preset", "nor40_int4_dac4")
    assert sentence.startswith("chip.npz was made for another configuration than preset nor40_int4_dac4; ")
    config = load("nor40_int4")
    levels = np.zeros((5, config.rows, config.bit_lines), dtype=np.uint8)
    save_die(inside.folder / "blank.npz", sample_die(config, levels, seed=1))
    sentence = fails(inside, "run", "--images", "1", "--die", "blank.npz")
    assert sentence.startswith("blank.npz ") and "weights" in sentence and "sample it again" in sentence
    chip.write_bytes(chip.read_bytes()[:-1000])
    sentence = fails(inside, *COSIM, "--die", "chip.npz")
    assert sentence == "chip.npz is damaged or cut short (its checksum differs); sample it again with `twinor die`"


def test_a_folder_that_is_no_reproducer_is_told(inside: CommandLine) -> None:
    (inside.folder / "old").mkdir()
    sentence = fails(inside, "replay", "old", "--waves")
    assert sentence == "old/job.npz cannot be read (No such file or directory); expected a twinor reproducer file"
    (inside.folder / "old" / "job.npz").write_bytes(b"PK")
    assert "old/job.npz is damaged or cut short" in fails(inside, "replay", "old")


def test_a_result_that_cannot_be_written_leaves_nothing(inside: CommandLine) -> None:
    (inside.folder / "full" / "run-nor40_int4.json").mkdir(parents=True)
    sentence = fails(inside, "run", "--images", "1", "--out", "full")
    assert re.search(r"full/run-nor40_int4\.json.*(Is a directory|directory not empty)", sentence, flags=re.IGNORECASE)
    (inside.folder / "file").write_text("", encoding="utf-8")
    assert "file" in fails(inside, "run", "--images", "1", "--out", "file")
    assert "file/chip.npz" in fails(inside, "die", "file/chip.npz")


def test_generated_verilog_that_cannot_be_written_is_told(twinor: CommandLine) -> None:
    """A package that was installed without its checkout has no rtl/."""
    package = Path(session.__file__).parent
    shutil.copytree(package, twinor.folder / "a" / "b" / "twinor", ignore=shutil.ignore_patterns("__pycache__"))
    (twinor.folder / "a" / "rtl").write_text("", encoding="utf-8")
    bare = {"PYTHONPATH": str(twinor.folder / "a" / "b"), "PYTHONDONTWRITEBYTECODE": "1"}
    assert "macro_params.vh" in fails(twinor, "params", **bare)
    assert "macro_params.vh does not follow preset nor40_int4" in fails(twinor, "params", "--check", **bare)


# Networks //


def _train(monkeypatch: pytest.MonkeyPatch, cache: Path, network: nn.Module) -> int:
    """Run `twinor train` here, with another float network and a short training."""
    monkeypatch.setenv("TWINOR_CACHE", str(cache))
    monkeypatch.setattr(models, "build", lambda *_, **__: network)
    recipe = cache.with_name("short.yaml")
    recipe.write_text("float_epochs: 1\nquant_epochs: 1\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["twinor", "train", "--recipe", str(recipe), "--out", str(cache)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not list(cache.glob("*.npz")) + list(cache.glob("*.json"))
    return int(end.value.code or 0)


def test_an_unsupported_layer_is_named_with_what_is_supported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.GELU(), nn.Linear(16, 10))
    assert _train(monkeypatch, tmp_path / "cache", network) == 1
    said = capfd.readouterr().err
    assert said.startswith(
        "twinor: layer '2' (GELU): this operation is not supported; supported: Conv1d, Conv2d, Conv3d, "
    )
    assert said.count("\n") == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(
    value: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    layer = nn.Linear(64, 10)
    network = nn.Sequential(nn.Flatten(), layer)

    def ruin(*_: object, **__: object) -> None:
        layer.weight.data[3, 5] = value

    monkeypatch.setattr(fitting, "train_float", ruin)
    assert _train(monkeypatch, tmp_path / "cache", network) == 1
    assert capfd.readouterr().err == (
        "twinor: layer '1' (Linear): 1 of 640 values of weight are NaN or infinite; expected finite numbers; "
        "train again, with a lower learning rate if this repeats\n"
    )


def test_a_training_that_diverges_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    layer = nn.Linear(64, 10)
    network = nn.Sequential(nn.Flatten(), layer)
    layer.weight.data.fill_(3e38)  # finite; products are not
    assert _train(monkeypatch, tmp_path / "cache", network) == 1
    said = capfd.readouterr().err
    assert said.startswith("twinor: float training, epoch 1, step 1: the loss is nan; ") and said.count("\n") == 1


def test_an_interrupted_run_leaves_nothing(twinor: CommandLine) -> None:
    """Ctrl-C while the simulator runs: no traceback, no result, no temporary file."""
    script = f"mkdir {twinor.folder}/started && kill -INT $PPID; sleep 1; echo twinor: done"
    said = twinor(*COSIM, PATH=stand_in(twinor.folder / "bin", "vvp", script))
    assert (twinor.folder / "started").exists()
    assert said.status not in (0, 1 + signal.SIGINT) and "Traceback" not in said.err
    assert not (twinor.folder / "build").exists() and not listing(twinor.folder / "tmp")
