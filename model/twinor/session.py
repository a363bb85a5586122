# SPDX-License-Identifier: Apache-2.0
"""What the verbs of the command line do: the digits network through training, placement and an engine, as tables."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from twinor import data as data_module
from twinor import tables
from twinor.calibrate import calibrate
from twinor.config import load
from twinor.die import ideal_die, load_die, sample_die, save_die
from twinor.errors import TwinorError
from twinor.params import RTL
from twinor.place import place
from twinor.quantize import Recipe, trained_digits
from twinor.quantize import crossval as run_folds
from twinor.quantize import total as sum_folds
from twinor.run import BACKENDS, chain_runner, forward
from twinor.store import write_text

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from twinor.config import Config
    from twinor.die import Die
    from twinor.network import IntegerNetwork
    from twinor.place import Placement, Steps
    from twinor.store import Trained

__all__ = ["cosim", "crossval", "run", "trained", "write_die"]

CALIBRATION_IMAGES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A trained network on placed macros and the test images it is to classify."""

    config: Config
    network: IntegerNetwork
    key: str
    """Content key of the trained network."""
    steps: dict[str, Steps]
    placement: Placement
    die: Die
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    accuracy: dict[str, float]
    """Float and fake-quantized accuracy on these images, in percent."""

    def percent(self, logits: NDArray[np.integer]) -> float:
        """Accuracy of an engine's logits."""
        return _percent(logits.argmax(axis=1), self.labels)

    def title(self) -> str:
        """Preset and die, for file names: a varied die does not overwrite the ideal one's result."""
        return self.config.name + ("" if self.die.seed is None else f"-die{self.die.seed}")

    def applied(self) -> dict[str, Any]:
        """What a result has to say about its origin."""
        return {
            "preset": self.config.name,
            "config": self.config.digest(),
            "network": self.key,
            "die_seed": self.die.seed,
            "images": len(self.labels),
            "steps": self.steps,
        }


def trained(*, seed: int, fold: int, console: Console) -> Trained:
    """The digits network of a seed and test fold; trains with a progress bar if it is not cached."""
    with tables.Progress(console) as progress:

        def report(stage: str, epoch: int, epochs: int, loss: float, accuracy: float) -> None:
            note = f"loss {loss:.3f}  accuracy {100 * accuracy:.1f} %"
            progress.show(f"train {stage}", epoch, epochs, note=note)

        return trained_digits(recipe=Recipe(seed=seed), fold=fold, progress=report)


def prepare(preset: str, *, images: int, seed: int, die_seed: int | None, die: Path | None, console: Console) -> Bench:
    """Train (or read), calibrate, place and draw the die; prints what was applied. Mistakes show before training."""
    if die is not None and die_seed is not None:
        raise TwinorError("give either --die or --die-seed, not both")
    if die is not None and not die.is_file():
        raise TwinorError(f"no die file {die}; write one with `twinor die`")
    config = load(preset)
    dataset = data_module.digits()
    available = len(data_module.split(dataset.labels).test)
    if images > available:
        raise TwinorError(f"--images {images}: the test part has {available} images")
    net = trained(seed=seed, fold=0, console=console)
    steps, placement = _placed(config, net.network, dataset.images[net.train_index])
    chips = _die(config, placement, die_seed=die_seed, die=die)
    console.print(
        f"preset {config.name} ({config.digest()[:12]})  training seed {seed}  network {net.key[:12]}  "
        f"die {'ideal' if chips.seed is None else f'seed {chips.seed}'}  macros {len(placement.levels)}",
        soft_wrap=True,
    )
    test = net.test_index[:images]
    labels = dataset.labels[test]
    return Bench(
        config=config,
        network=net.network,
        key=net.key,
        steps=steps,
        placement=placement,
        die=chips,
        images=dataset.images[test],
        labels=labels,
        accuracy={
            "float": _percent(net.float_predictions[:images], labels),
            "fake-quantized": _percent(net.fake_quant_predictions[:images], labels),
        },
    )


def _placed(
    config: Config, network: IntegerNetwork, training: NDArray[np.integer]
) -> tuple[dict[str, Steps], Placement]:
    steps = calibrate(config, network, training[:CALIBRATION_IMAGES])
    return steps, place(config, network, steps)


def _die(config: Config, placement: Placement, *, die_seed: int | None, die: Path | None) -> Die:
    if die is not None:
        return load_die(die, config, levels=placement.levels)
    if die_seed is not None:
        return sample_die(config, placement.levels, seed=die_seed)
    return ideal_die(config, placement.levels)


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
    """Accuracy on one engine, as a table and as `run-<preset>[-die<seed>].json`."""
    if backend not in BACKENDS:
        raise TwinorError(f"unknown --backend {backend}: expected one of {', '.join(BACKENDS)}")
    bench = prepare(preset, images=images, seed=seed, die_seed=die_seed, die=die, console=console)
    runner = chain_runner(bench.config, bench.die, backend=backend)
    scores = bench.accuracy | {backend: bench.percent(forward(bench.network, bench.placement, bench.images, runner))}
    tables.show("accuracy", tables.accuracy(scores, images), console)
    _write_json(out / f"run-{bench.title()}.json", bench.applied() | {"accuracy": scores}, console)


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
    """Every layer through the Verilog; a table per layer, accuracies, and `cosim-<preset>[-die<seed>].json`."""
    from twinor.cosim import icarus
    from twinor.cosim.network import cosim as run_cosim

    icarus.build(load(preset), rtl=rtl or RTL)  # a missing simulator shows before anything long starts
    bench = prepare(preset, images=images, seed=seed, die_seed=die_seed, die=die, console=console)
    began = time.monotonic()
    with tables.Progress(console) as progress:
        result = run_cosim(
            bench.config,
            bench.network,
            bench.placement,
            bench.die,
            bench.images,
            rtl=rtl or RTL,
            timeout=timeout,
            reproducers=out.resolve() / "reproducers",
            progress=lambda layer, done, total: progress.show(f"cosim {layer}", done, total),
        )
    seconds = time.monotonic() - began
    scores = bench.accuracy
    scores |= {"golden": bench.percent(result.golden_logits), "rtl": bench.percent(result.rtl_logits)}
    tables.show("golden and rtl, layer by layer", tables.layers(result.layers), console)
    tables.show("mismatches per seam", tables.seams(result.layers), console)
    tables.show("accuracy", tables.accuracy(scores, images), console)
    tables.outcome(result.layers, images=images, seconds=seconds, console=console)
    layers = [asdict(layer) | {"cycles_over_floor": layer.cycles / layer.floor_cycles} for layer in result.layers]
    report = bench.applied() | {"seconds": seconds, "layers": layers, "accuracy": scores}
    _write_json(out / f"cosim-{bench.title()}.json", report, console)


def write_die(file: Path, preset: str, *, die_seed: int, seed: int, console: Console) -> None:
    """Draw a die for the digits network and write it."""
    bench = prepare(preset, images=1, seed=seed, die_seed=die_seed, die=None, console=console)
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
    whole = sum_folds(results)
    title = f"digits, {len(results)} folds, int4 on fast with preset {config.name}"
    tables.show(title, tables.folds(results, whole), console)
    scores = dict(zip(("float", "fake-quantized", "int4"), whole.percent(), strict=True))
    folds = [asdict(r) for r in results]
    report = {"preset": config.name, "config": config.digest(), "seed": seed, "accuracy": scores, "folds": folds}
    _write_json(out / f"crossval-{config.name}.json", report, console)


def _percent(classes: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    return 100.0 * float((classes == labels).mean())


def _write_json(path: Path, content: dict[str, Any], console: Console) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")
    console.print(f"wrote {path}", soft_wrap=True)
