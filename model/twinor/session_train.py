# SPDX-License-Identifier: Apache-2.0
"""What `twinor train` does: data and recipe to a packed integer network, with learning curves; resumable."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from twinor import models, tables
from twinor import report as pages
from twinor.calibrate import calibrate
from twinor.config import load
from twinor.data import digits, split
from twinor.datasets import Parts, load_parts
from twinor.die_file import load_die, save_die
from twinor.errors import ConfigError
from twinor.network_file import load_network, save_network
from twinor.place import place
from twinor.quantize.key import content_key
from twinor.quantize.progress import Checkpoint
from twinor.run import chain_runner, forward_batched
from twinor.session import write_json
from twinor.store import make_folder
from twinor.workbench import CALIBRATION_IMAGES, percent

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from twinor.data import Dataset
    from twinor.die import Die
    from twinor.quantize.fitting import Fitted
    from twinor.quantize.recipe import Recipe

__all__ = ["parts_of", "train", "train_seeds"]

DEVICES = ("auto", "cpu", "cuda")

RESULT = frozenset(("recipe", "history", "key", "seconds", "images", "accuracy"))
"""What the JSON of a training says."""


def parts_of(recipe: Recipe, data_dir: Path | None) -> Parts:
    """Training and test images of a recipe; the digits are divided as everywhere, fold 0 is tested.

    Args:
        recipe: names the data set and how its images enter.
        data_dir: folder of the official files, as in `load_parts`; None for the digits.

    Raises:
        ConfigError: an unknown data set, or a folder for the digits.
        TwinorError: data are missing.
    """
    if recipe.data != "digits":
        return load_parts(recipe.data, folder=data_dir, image=recipe.image)
    if data_dir is not None:
        raise ConfigError(f"--data-dir {data_dir} has no effect on digits, which come with scikit-learn: leave it out")
    data = digits()
    chosen = split(data.labels)

    def part(index: NDArray[np.int64]) -> Dataset:
        return type(data)(images=data.images[index], labels=data.labels[index], input_bits=data.input_bits)

    return Parts(name="digits", train=part(chosen.train), test=part(chosen.test))


def train(
    recipe: Recipe,
    name: str,
    *,
    data_dir: Path | None,
    threads: int,
    device: str,
    die: Path | None,
    out: Path,
    report: bool,
    console: Console,
    share_float: bool = False,
) -> dict[str, float]:
    """Train, convert, and classify the test images once; `<name>.npz`, `<name>.json` and the learning curves.

    With a die in the loop, its file with the network in its cells is `<name>-programmed.npz`; `share_float` keeps the
    float network, as `float-<key>.checkpoint`, for recipes that differ from this one on codes alone.

    Returns:
        Accuracy by network, in percent.

    Raises:
        ConfigError: no such device, or a die that does not go with the recipe.
        TwinorError: data are missing, a file cannot be written, training diverges.
    """
    chosen = _ready(recipe, device, report=report)
    chip = _chip(recipe, die)
    parts = parts_of(recipe, data_dir)
    make_folder(out)
    where: dict[str, Any] = {"threads": threads, "device": chosen}
    key = content_key(parts.train, recipe=recipe, die=die.read_bytes() if die else b"", **where)
    console.print(
        f"{recipe.arch} on {recipe.data}, {len(parts.train.labels):,} training images of {parts.train.input_bits} "
        f"bits, seed {recipe.seed}, {chosen}, {threads} thread{'s' * (threads > 1)}",
        soft_wrap=True,
    )
    done = _done(out / name, key, programmed=chip is not None)
    if done is not None:
        return _shown_again(done, out / name, len(parts.test.labels), console, report=report)
    float_key = content_key(parts.train, recipe=recipe.float_part, **where) if share_float else ""
    checkpoint = Checkpoint(path=out / f"{name}.checkpoint", key=key, float_key=float_key)
    fitted = _fit(recipe, parts, checkpoint, console, die=chip, **where)
    scores = _scores(fitted, parts.test)
    if chip is not None:
        scores["int4 on the die"] = _on_die(recipe, fitted, parts, chip, out / f"{name}-programmed.npz", console)
    _show(scores, len(parts.test.labels), console)
    _save(fitted, scores, out / f"{name}.npz", console)
    _tell(recipe, scores, len(parts.test.labels), checkpoint, out / name, console, report=report)
    checkpoint.remove()
    return scores


def train_seeds(recipe: Recipe, name: str, seeds: int, *, out: Path, console: Console, **options: Any) -> None:
    """Train with so many seeds, from the recipe's own upwards; mean and spread, and `<name>-seeds.json`.

    Args:
        recipe: all but the seed.
        name: of the files; each training adds its seed.
        seeds: how many.
        out: folder of the results.
        console: gets the tables.
        options: as `train` takes them.

    Raises:
        ConfigError: as `train`; a seed is too large, before the first training.
        TwinorError: as `train`.
    """
    recipes = [replace(recipe, seed=seed) for seed in range(recipe.seed, recipe.seed + seeds)]
    scores = [train(one, f"{name}-seed{one.seed}", out=out, console=console, **options) for one in recipes]
    tables.show(f"mean and standard deviation over {seeds} seeds", tables.spreads(scores), console)
    write_json(out / f"{name}-seeds.json", {"recipe": asdict(recipe), "seeds": seeds, "accuracy": scores}, console)


def _tell(
    recipe: Recipe,
    scores: dict[str, float],
    images: int,
    checkpoint: Checkpoint,
    stem: Path,
    console: Console,
    *,
    report: bool,
) -> None:
    """Write the JSON of a training, and its page."""
    told = {"key": checkpoint.key, "seconds": checkpoint.seconds, "images": images, "accuracy": scores}
    result = {"recipe": asdict(recipe), "history": _history(checkpoint)} | told
    write_json(stem.with_name(f"{stem.name}.json"), result, console)
    if report:
        _write_page(stem.with_name(f"{stem.name}.html"), result, console)


def _write_page(path: Path, result: dict[str, Any], console: Console) -> None:
    pages.write_training(path, result)
    console.print(f"wrote {path}", soft_wrap=True)


def _history(checkpoint: Checkpoint) -> list[dict[str, object]]:
    heads = ("stage", "epoch", "loss", "accuracy")
    return [dict(zip(heads, entry, strict=True)) for entry in checkpoint.history]


def _save(fitted: Fitted, scores: dict[str, float], path: Path, console: Console) -> None:
    """Write the packed network; its provenance says what was reached."""
    reached = {engine: f"{score:.2f}" for engine, score in scores.items()}
    save_network(path, replace(fitted.network, provenance=fitted.network.provenance | reached))
    console.print(f"wrote {path}", soft_wrap=True)


def _ready(recipe: Recipe, device: str, *, report: bool) -> str:
    """Refuse before anything long starts; the device, of which `auto` is a GPU where there is one."""
    import torch

    if report:
        pages.require()
    models.check(recipe.arch)
    there = torch.cuda.is_available()
    if device not in DEVICES or (device == "cuda" and not there):
        raise ConfigError(f"--device {device}: expected one of {', '.join(DEVICES)}; cuda needs a GPU")
    return ("cuda" if there else "cpu") if device == "auto" else device


def _chip(recipe: Recipe, die: Path | None) -> Die | None:
    """The die that will run the network."""
    if die is None:
        return None
    if not recipe.macro or recipe.die_noise:
        raise ConfigError("--die needs a macro, in the recipe or by --macro, and no die_noise, which is for all dies")
    if not die.is_file():
        raise ConfigError(f"no die file {die}; write one with `twinor die`")
    return load_die(die, load(recipe.macro))


def _on_die(recipe: Recipe, fitted: Fitted, parts: Parts, chip: Die, file: Path, console: Console) -> float:
    """Program the network into the die and write that; its accuracy there, in percent."""
    config = load(recipe.macro)
    steps = calibrate(config, fitted.network, parts.train.images[:CALIBRATION_IMAGES])
    placement = place(config, fitted.network, steps)
    held = chip.holding(config, placement.levels)
    save_die(file, held)
    console.print(f"wrote {file}", soft_wrap=True)
    runner = chain_runner(config, held, backend="fast")
    found = forward_batched(fitted.network, placement, parts.test.images, runner).argmax(axis=1)
    return percent(found, parts.test.labels)


def _fit(
    recipe: Recipe, parts: Parts, checkpoint: Checkpoint, console: Console, *, die: Die | None, **where: Any
) -> Fitted:
    """Train with a progress bar."""
    from twinor.quantize.fitting import fit

    with tables.Progress(console) as progress:

        def show(stage: str, epoch: int, epochs: int, loss: float, accuracy: float) -> None:
            progress.show(f"train {stage}", epoch, epochs, note=f"loss {loss:.3f}  accuracy {100 * accuracy:.1f} %")

        origin = {"key": checkpoint.key}
        return fit(recipe, parts.train, provenance=origin, progress=show, checkpoint=checkpoint, die=die, **where)


def _done(stem: Path, key: str, *, programmed: bool) -> dict[str, Any] | None:
    """The JSON result of this very training, if all its files are there; one that is damaged counts as absent."""
    ends = (".npz", ".json", "-programmed.npz") if programmed else (".npz", ".json")
    network, result, *_ = files = [stem.with_name(stem.name + end) for end in ends]
    if not all(path.is_file() for path in files) or load_network(network).provenance.get("key") != key:
        return None
    try:
        told = json.loads(result.read_text(encoding="utf-8"))
        figures = all(isinstance(score, float) for score in told["accuracy"].values())
        complete = figures and told["key"] == key and RESULT <= told.keys()
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return dict(told) if complete else None


def _shown_again(done: dict[str, Any], stem: Path, images: int, console: Console, *, report: bool) -> dict[str, float]:
    """Show the result of a training that was done before, with its page; its accuracies."""
    _show(done["accuracy"], images, console)
    if report:
        _write_page(stem.with_name(stem.name + ".html"), done, console)
    console.print(f"{stem}.npz holds this training; delete it to train again", soft_wrap=True)
    return dict(done["accuracy"])


def _show(scores: dict[str, float], images: int, console: Console) -> None:
    tables.show("accuracy on the test images", tables.accuracy(scores, images), console)


def _scores(fitted: Fitted, test: Dataset) -> dict[str, float]:
    """Accuracy of the float network, of the quantized torch network, and of the integers alone, in percent."""
    import torch

    from twinor import integer
    from twinor.quantize.train import predict

    images = torch.from_numpy(test.images)
    classes = {
        "float": predict(fitted.teacher, images, input_step=fitted.input_step).numpy(),
        "fake-quantized": predict(fitted.model, images).numpy(),
        "int4": integer.logits(fitted.network, test.images).argmax(axis=1),
    }
    return {engine: percent(found, test.labels) for engine, found in classes.items()}
