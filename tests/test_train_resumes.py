# SPDX-License-Identifier: Apache-2.0
"""A training that is killed goes on to the same bits, and refuses to go on from what is not its own."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from command_line import REPO
from twinor.data import digits
from twinor.errors import CorruptFile
from twinor.quantize import Checkpoint, Recipe, fit, load_recipe
from twinor.quantize.recipe import recipe_of

RECIPE = """
width: 0.25
float_epochs: 6
quant_epochs: 6
average: 0.9
flip: true
"""
KILLS = 10


def start(folder, out):
    """`twinor train` in a process of its own."""
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(REPO / "model"))
    command = [sys.executable, "-m", "twinor", "train", "--recipe", "short.yaml", "--out", out, "--no-report"]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_no_bit(tmp_path):
    """Each process lives a moment longer than it takes to start; what it leaves is whole."""
    (tmp_path / "short.yaml").write_text(RECIPE, encoding="utf-8")
    began = time.monotonic()
    whole = start(tmp_path, "whole")
    assert whole.wait(timeout=200) == 0, whole.stderr.read()
    seconds = time.monotonic() - began
    chance, kills = random.Random(4), 0
    while True:
        process = start(tmp_path, "killed")
        try:
            # the first kills come before anything is kept, the later ones while epochs are written
            process.wait(timeout=seconds * chance.uniform(0.3, 0.45) if kills < KILLS else 200)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0, process.stderr.read()
        break
    assert kills == KILLS
    files = [tmp_path / name / "short.npz" for name in ("whole", "killed")]
    assert files[0].read_bytes() == files[1].read_bytes()
    told = [json.loads(path.with_suffix(".json").read_text()) for path in files]
    assert told[0]["history"] == told[1]["history"] and len(told[0]["history"]) == 12
    assert told[0]["accuracy"] == told[1]["accuracy"]
    left = sorted(path.name for path in (tmp_path / "killed").iterdir() if not path.name.endswith(".partial"))
    assert left == ["short.json", "short.npz"]


class Killed(Exception):
    """The end of a process, without the process."""


SHORT = Recipe(width=0.1, float_epochs=2, quant_epochs=3, sample_steps=5, average=0.9)


def small(count=256):
    data = digits()
    return replace(data, images=data.images[:count], labels=data.labels[:count])


def fitted(checkpoint=None, progress=None):
    return fit(SHORT, small(), checkpoint=checkpoint, progress=progress).network


def layers(network):
    """Every integer of the network's layers with weights."""
    rules = [(layer.weight, layer.requant.mult, layer.requant.add) for layer in network.weight_layers()]
    return [np.concatenate([values.ravel() for values in rule]) for rule in rules]


def test_every_epoch_is_a_place_to_go_on_from(tmp_path):
    expected, seen = fitted(), []
    path, epochs = tmp_path / "run.checkpoint", []

    def stop(*now):
        epochs.append(now[:2])
        raise Killed

    for _ in range(SHORT.float_epochs + SHORT.quant_epochs):
        with pytest.raises(Killed):
            fitted(Checkpoint(path=path, key="k"), stop)
    assert epochs == [("float", 1), ("float", 2), ("int4", 1), ("int4", 2), ("int4", 3)]
    network = fitted(Checkpoint(path=path, key="k"), lambda *now: seen.append(now))
    assert seen == []  # nothing was left to do
    assert all(np.array_equal(a, b) for a, b in zip(layers(network), layers(expected), strict=True))


def test_the_seconds_of_killed_processes_are_kept(tmp_path, monkeypatch):
    """Up to the last whole epoch; a process that begins counts from what it finds."""
    path, clock = tmp_path / "run.checkpoint", [100.0]
    monkeypatch.setattr("twinor.quantize.progress.time", SimpleNamespace(monotonic=lambda: clock[0]))
    first = Checkpoint(path=path, key="k")
    clock[0] = 130.0
    first.write(stage="float")
    clock[0] = 170.0  # killed here, in the next epoch
    second = Checkpoint(path=path, key="k")
    second.read()
    clock[0] = 175.0
    assert second.seconds == 35.0
    second.write(stage="float")
    third = Checkpoint(path=path, key="k")
    third.read()
    assert third.seconds == 35.0


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "run.checkpoint"
    fitted(Checkpoint(path=path, key="one"))
    with pytest.raises(CorruptFile, match=r"run\.checkpoint is of another training .*; delete it to start again"):
        fitted(Checkpoint(path=path, key="two"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"\x80\x04K\x01."])
def test_a_damaged_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "run.checkpoint"
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match=r"run\.checkpoint is no checkpoint \(.*\); delete it to start again"):
        fitted(Checkpoint(path=path, key="one"))


def test_a_checkpoint_runs_no_code(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.system, ("touch bomb",)

    path = tmp_path / "run.checkpoint"
    torch.save({"key": "one", "history": [], "extra": Bomb()}, path)
    with pytest.raises(CorruptFile, match="is no checkpoint"):
        fitted(Checkpoint(path=path, key="one"))


def test_the_recipe_is_kept_with_the_network():
    network = fitted()
    assert recipe_of(network.provenance) == SHORT
    assert load_recipe("digits", seed=2).seed == 2
    assert network.provenance["data"] == "digits"
