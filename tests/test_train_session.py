# SPDX-License-Identifier: Apache-2.0
"""`twinor train` reads its own results again and nobody else's, and refuses options that have no effect."""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer.testing
from twinor import session_train
from twinor.cli import app
from twinor.config import load
from twinor.die import Die
from twinor.die_file import save_die
from twinor.errors import ConfigError
from twinor.quantize.recipe import SEED_MAX

SHORT = "width: 0.2\nfloat_epochs: 1\nquant_epochs: 2\nsample_steps: 5\n"
AGAIN = "holds this training; delete it to train again"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "short.yaml").write_text(SHORT, encoding="utf-8")
    return tmp_path


def train(folder: Path, *arguments: str, report: bool = False) -> Any:
    options = ["--recipe", str(folder / "short.yaml"), "--out", str(folder / "out"), "--device", "cpu"]
    call = ["train", *options, "--report" if report else "--no-report", *arguments]
    return typer.testing.CliRunner().invoke(app, call)


def test_only_the_whole_result_of_this_very_training_is_read_again(folder: Path) -> None:
    assert AGAIN not in train(folder).output
    result = folder / "out" / "short.json"
    whole = json.loads(result.read_text(encoding="utf-8"))
    assert AGAIN in train(folder).output
    for content in (
        "{",
        "[]",
        "\x00",
        json.dumps(whole | {"key": "0" * 64}),
        json.dumps({"key": whole["key"], "accuracy": whole["accuracy"]}),
        json.dumps(whole | {"accuracy": [1.0]}),
        json.dumps(whole | {"accuracy": {"int4": "good"}}),
    ):
        result.write_text(content, encoding="utf-8")
        said = train(folder)
        assert said.exit_code == 0 and AGAIN not in said.output, content
        told = json.loads(result.read_text(encoding="utf-8"))
        assert told["accuracy"] == whole["accuracy"] and told["history"] == whole["history"]


def test_a_result_that_is_read_again_has_its_page_too(folder: Path) -> None:
    train(folder)
    page = folder / "out" / "short.html"
    assert not page.exists()
    said = train(folder, report=True)
    assert AGAIN in said.output and f"wrote {page}" in said.output.replace("\n", "")
    assert "Learning curves" in page.read_text(encoding="utf-8")


def test_the_programmed_die_belongs_to_the_result(folder: Path) -> None:
    save_die(folder / "chip.npz", Die.sample(load("nor40_int4"), seed=3, macros=5))
    options = ("--macro", "nor40_int4", "--die", str(folder / "chip.npz"))
    assert train(folder, *options).exit_code == 0
    written = folder / "out" / "short-nor40_int4-chip-programmed.npz"
    content = written.read_bytes()
    assert AGAIN in train(folder, *options).output
    written.unlink()
    assert AGAIN not in train(folder, *options).output
    assert written.read_bytes() == content


def test_the_device_that_it_runs_on_is_part_of_the_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not `auto`, which is another device elsewhere."""
    seen = []

    class Seen(Exception):
        pass

    def spy(*_: Any, device: str, **__: Any) -> str:
        seen.append(device)
        raise Seen

    monkeypatch.setattr(session_train, "content_key", spy)
    for there, wanted in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr("torch.cuda.is_available", lambda there=there: there)
        assert isinstance(train(folder, "--device", "auto").exception, Seen) and seen.pop() == wanted


def test_the_seconds_of_a_result_are_those_of_all_its_processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed after its last epoch, and goes on much later, by a clock that ticks when it is asked."""
    fit, clock = session_train._fit, itertools.chain(range(4), itertools.count(10**6))

    class Killed(Exception):
        pass

    def killed(*arguments: Any, **options: Any) -> Any:
        fit(*arguments, **options)
        raise Killed

    monkeypatch.setattr("twinor.quantize.progress.time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(session_train, "_fit", killed)
    assert isinstance(train(folder).exception, Killed)  # began at 0 and kept three epochs
    monkeypatch.setattr(session_train, "_fit", fit)
    assert train(folder).exit_code == 0
    told = json.loads((folder / "out" / "short.json").read_text(encoding="utf-8"))
    assert told["seconds"] == 3 + 1


# What has no effect, or comes too late //


def test_a_folder_for_the_digits_is_refused(folder: Path) -> None:
    said = train(folder, "--data-dir", str(folder))
    assert isinstance(said.exception, ConfigError) and not (folder / "out").exists()
    assert str(said.exception).startswith(f"--data-dir {folder} has no effect on digits, which come with scikit-learn")


def test_seeds_that_end_beyond_the_largest_are_refused_before_the_first(folder: Path) -> None:
    said = train(folder, "--seed", str(SEED_MAX), "--seeds", "2")
    assert isinstance(said.exception, ConfigError) and not (folder / "out").exists()
    assert str(said.exception) == f"recipe: seed must be in 0..{SEED_MAX}, got {SEED_MAX + 1}"
    said = train(folder, "--seed", str(10**30))
    assert isinstance(said.exception, ConfigError) and "seed must be in 0.." in str(said.exception)
