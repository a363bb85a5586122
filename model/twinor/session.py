# SPDX-License-Identifier: Apache-2.0
"""What the verbs of the command line do: the digits network through training, placement and an engine, as tables."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from twinor import data as data_module
from twinor.calibrate import calibrate
from twinor.config import load
from twinor.die import ideal_die, load_die, sample_die, save_die
from twinor.errors import TwinorError
from twinor.params import RTL
from twinor.place import place
from twinor.quantize import Recipe, trained_digits
from twinor.quantize import crossval as run_folds
from twinor.quantize import total as sum_folds
from twinor.run import chain_runner, forward

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from twinor.config import Config
    from twinor.cosim.network import CosimResult, LayerResult
    from twinor.die import Die
    from twinor.network import IntegerNetwork
    from twinor.place import Placement, Steps
    from twinor.store import Trained

__all__ = ["cosim", "crossval", "run", "trained", "write_die"]

CALIBRATION_IMAGES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A trained network on placed macros, ready for an engine."""

    config: Config
    trained: Trained
    steps: dict[str, Steps]
    placement: Placement
    die: Die
    images: NDArray[np.uint8]
    """Test images, in the order of `labels`."""
    labels: NDArray[np.int64]

    def accuracies(self, count: int) -> dict[str, float]:
        """Float and fake-quantized accuracy on the first test images, in percent."""
        right = {
            "float": self.trained.float_predictions[:count] == self.labels[:count],
            "fake-quantized": self.trained.fake_quant_predictions[:count] == self.labels[:count],
        }
        return {name: 100.0 * float(r.mean()) for name, r in right.items()}


def trained(*, seed: int, fold: int, console: Console) -> Trained:
    """The digits network of a seed and test fold; trains with a progress bar if it is not cached."""
    with _progress(console) as bar:
        task: dict[str, Any] = {}

        def report(stage: str, epoch: int, epochs: int, loss: float, accuracy: float) -> None:
            if stage not in task:
                task[stage] = bar.add_task(f"train {stage}", total=epochs, note="")
            note = f"loss {loss:.3f}  accuracy {100 * accuracy:.1f} %"
            bar.update(task[stage], completed=epoch, note=note)

        return trained_digits(recipe=Recipe(seed=seed), fold=fold, progress=report)


def prepare(preset: str, *, seed: int, die_seed: int | None, die: Path | None, console: Console) -> Bench:
    """Train (or read), calibrate, place and draw the die; prints what was applied."""
    if die is not None and die_seed is not None:
        raise TwinorError("give either --die or --die-seed, not both")
    config = load(preset)
    network = trained(seed=seed, fold=0, console=console)
    dataset = data_module.digits()
    steps, placement = _placed(config, network.network, dataset.images[network.train_index])
    if die is not None:
        tables = load_die(die, config, macros=len(placement.levels))
    elif die_seed is not None:
        tables = sample_die(config, placement.levels, seed=die_seed)
    else:
        tables = ideal_die(config, placement.levels)
    console.print(
        f"preset {config.name} ({config.digest()[:12]})  training seed {seed}  network {network.key[:12]}  "
        f"die {'ideal' if tables.seed is None else f'seed {tables.seed}'}  macros {len(placement.levels)}",
        soft_wrap=True,
    )
    test = network.test_index
    return Bench(
        config=config,
        trained=network,
        steps=steps,
        placement=placement,
        die=tables,
        images=dataset.images[test],
        labels=dataset.labels[test],
    )


def _placed(
    config: Config, network: IntegerNetwork, training: NDArray[np.integer]
) -> tuple[dict[str, Steps], Placement]:
    steps = calibrate(config, network, training[:CALIBRATION_IMAGES])
    return steps, place(config, network, steps)


def run(
    preset: str,
    *,
    backend: str,
    images: int,
    die_seed: int | None,
    die: Path | None,
    seed: int,
    out: Path,
    console: Console,
) -> None:
    """Accuracy on an engine of this process, as a table and as `run-<preset>.json`."""
    bench = prepare(preset, seed=seed, die_seed=die_seed, die=die, console=console)
    count = _count(images, bench)
    runner = chain_runner(bench.config, bench.die, backend=backend)
    logits = forward(bench.trained.network, bench.placement, bench.images[:count], runner)
    scores = bench.accuracies(count) | {backend: _percent(logits, bench.labels[:count])}
    _print("accuracy", _accuracy_table(scores, count), console)
    _write_json(out / f"run-{bench.config.name}.json", _applied(bench, count) | {"accuracy": scores}, console)


def cosim(
    preset: str,
    *,
    images: int,
    die_seed: int | None,
    die: Path | None,
    seed: int,
    rtl: Path | None,
    timeout: float,
    out: Path,
    console: Console,
) -> None:
    """Every layer through the Verilog; a table per layer, accuracies, and `cosim-<preset>.json`."""
    from twinor.cosim import icarus
    from twinor.cosim.network import cosim as run_cosim

    rtl = rtl or RTL
    icarus.build(load(preset), rtl=rtl)  # a missing simulator shows before anything long starts
    bench = prepare(preset, seed=seed, die_seed=die_seed, die=die, console=console)
    count = _count(images, bench)
    began = time.monotonic()
    with _progress(console) as bar:
        tasks = {name: bar.add_task(f"cosim {name}", total=1.0, note="") for name in bench.placement.layers}
        result = run_cosim(
            bench.config,
            bench.trained.network,
            bench.placement,
            bench.die,
            bench.images[:count],
            rtl=rtl,
            timeout=timeout,
            reproducers=out.resolve() / "reproducers",
            progress=lambda layer, part: bar.advance(tasks[layer], part),  # type: ignore[arg-type] # exact sums
        )
    seconds = time.monotonic() - began
    labels = bench.labels[:count]
    scores = bench.accuracies(count)
    scores |= {"golden": _percent(result.golden_logits, labels), "rtl": _percent(result.rtl_logits, labels)}
    _print("golden and rtl, layer by layer", _layer_table(result.layers), console)
    _print("mismatches per seam", _seam_table(result.layers), console)
    _print("accuracy", _accuracy_table(scores, count), console)
    _say_outcome(result, count, seconds, console)
    layers = [asdict(layer) | {"cycles_over_floor": layer.cycles / layer.floor_cycles} for layer in result.layers]
    report = _applied(bench, count) | {"seconds": seconds, "layers": layers, "accuracy": scores}
    _write_json(out / f"cosim-{bench.config.name}.json", report, console)


def write_die(file: Path, preset: str, *, die_seed: int, seed: int, console: Console) -> None:
    """Draw a die for the digits network and write it."""
    bench = prepare(preset, seed=seed, die_seed=die_seed, die=None, console=console)
    save_die(file, bench.die)
    console.print(f"wrote {file}: {len(bench.placement.levels)} macros, seed {die_seed}", soft_wrap=True)


def crossval(preset: str, *, seed: int, out: Path, console: Console) -> None:
    """5-fold cross-validation on `fast`, as a table and as `crossval-<preset>.json`."""
    config = load(preset)

    def evaluate(
        network: IntegerNetwork, test: NDArray[np.integer], training: NDArray[np.integer]
    ) -> NDArray[np.integer]:
        _, placement = _placed(config, network, training)
        runner = chain_runner(config, ideal_die(config, placement.levels), backend="fast")
        classes: NDArray[np.integer] = forward(network, placement, test, runner).argmax(axis=1)
        return classes

    for fold in range(data_module.FOLDS):
        trained(seed=seed, fold=fold, console=console)  # each with its progress bar; the folds below are then cached
    results = run_folds(Recipe(seed=seed), evaluate)
    table = _table("fold", "images", "float", "fake-quantized", "int4")
    for name, result in [*((str(k), r) for k, r in enumerate(results)), ("all", sum_folds(results))]:
        table.add_row(name, str(result.images), *(f"{p:.2f}" for p in result.percent()))
    _print(f"digits, 5 folds, int4 on fast with preset {config.name}", table, console)
    scores = dict(zip(("float", "fake-quantized", "int4"), sum_folds(results).percent(), strict=True))
    folds = [asdict(r) for r in results]
    report = {
        "preset": config.name,
        "config": config.digest(),
        "seed": seed,
        "accuracy": scores,
        "folds": folds,
    }
    _write_json(out / f"crossval-{config.name}.json", report, console)


def _count(images: int, bench: Bench) -> int:
    if images > len(bench.labels):
        raise TwinorError(f"--images {images}: the test part has {len(bench.labels)} images")
    return images


def _percent(logits: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    return 100.0 * float((logits.argmax(axis=1) == labels).mean())


def _applied(bench: Bench, count: int) -> dict[str, Any]:
    return {
        "preset": bench.config.name,
        "config": bench.config.digest(),
        "network": bench.trained.key,
        "die_seed": bench.die.seed,
        "images": count,
        "steps": bench.steps,
    }


def _table(*columns: str) -> Table:
    """A table that fits 80 characters: first column left, figures right, nothing wrapped."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    return table


def _print(title: str, table: Table, console: Console) -> None:
    console.print(f"\n{title}")
    console.print(table)


def _layer_table(layers: Sequence[LayerResult]) -> Table:
    columns = ("layer", "rows x cols", "tiles", "rounds", "conversions", "clipped", "cycles", "/ floor")
    table = _table(*columns)
    for layer in layers:
        counts = (layer.tiles, layer.rounds, layer.conversions, layer.clipped, layer.cycles)
        over = f"{layer.cycles / layer.floor_cycles:.3f}"
        table.add_row(layer.name, f"{layer.rows} x {layer.cols}", *(f"{n:,}" for n in counts), over)
    return table


def _seam_table(layers: Sequence[LayerResult]) -> Table:
    table = _table("layer", *layers[0].mismatches)
    for layer in layers:
        table.add_row(layer.name, *map(str, layer.mismatches.values()))
    return table


def _accuracy_table(scores: dict[str, float], count: int) -> Table:
    table = _table("images", *scores)
    table.add_row(str(count), *(f"{score:.2f} %" for score in scores.values()))
    return table


def _say_outcome(result: CosimResult, count: int, seconds: float, console: Console) -> None:
    different = sum(sum(layer.mismatches.values()) for layer in result.layers)
    conversions = sum(layer.conversions for layer in result.layers)
    cycles = sum(layer.cycles for layer in result.layers)
    console.print()
    if all(layer.exact for layer in result.layers):
        console.print("every accumulator equals PyTorch's integer arithmetic")
    console.print(
        f"{count} images, {len(result.layers)} layers, {conversions:,} conversions, {cycles:,} cycles in "
        f"{seconds:.0f} s: {different} mismatches at {len(result.layers[0].mismatches)} seams",
        soft_wrap=True,
    )


def _write_json(path: Path, content: dict[str, Any], console: Console) -> None:
    """Whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f".{path.name}.{os.getpid()}")
        half.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        half.replace(path)
    except OSError as error:
        raise TwinorError(f"cannot write {path}: {error.strerror}; choose another folder with --out") from None
    console.print(f"wrote {path}", soft_wrap=True)


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description:<14}"), BarColumn(24), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TextColumn("{task.fields[note]}"), TimeElapsedColumn(), console=console) as bar:
        yield bar
