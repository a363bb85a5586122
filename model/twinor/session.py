# SPDX-License-Identifier: Apache-2.0
"""What the verbs of the command line do: the digits network through training, placement and an engine, as tables."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from twinor import data as data_module
from twinor import report as pages
from twinor import tables
from twinor.calibrate import calibrate
from twinor.compensate import KINDS, columns_corrected, norms_estimated, tracked, weighed
from twinor.config import load
from twinor.die import ideal_die, sample_die
from twinor.die_file import load_die
from twinor.errors import TwinorError
from twinor.params import RTL
from twinor.place import place
from twinor.program import program_die, programmed_die
from twinor.quantize import Recipe, trained_digits
from twinor.quantize import crossval as run_folds
from twinor.quantize import total as sum_folds
from twinor.run import BACKENDS, chain_runner, forward
from twinor.store import write_text
from twinor.workbench import CALIBRATION_IMAGES, Workbench

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from twinor.config import Config
    from twinor.cosim.network import CosimResult, LayerResult
    from twinor.die import Die
    from twinor.network import IntegerNetwork
    from twinor.network_file import Trained
    from twinor.place import Placement, Steps

__all__ = ["cosim", "crossval", "prepare", "run", "trained", "write_json"]


def trained(*, seed: int, fold: int, console: Console) -> Trained:
    """The digits network of a seed and test fold; trains with a progress bar if it is not cached."""
    with tables.Progress(console) as progress:

        def report(stage: str, epoch: int, epochs: int, loss: float, accuracy: float) -> None:
            note = f"loss {loss:.3f}  accuracy {100 * accuracy:.1f} %"
            progress.show(f"train {stage}", epoch, epochs, note=note)

        return trained_digits(recipe=Recipe(seed=seed), fold=fold, progress=report)


def prepare(
    preset: str,
    *,
    images: int,
    seed: int,
    die_seed: int | None,
    die: Path | None,
    console: Console,
    programmed: bool = False,
) -> Workbench:
    """Train (or read), calibrate, place and draw the die; prints what was applied. Mistakes show before training."""
    _check_die(die, die_seed, programmed)
    config = load(preset)
    dataset = data_module.digits()
    available = len(data_module.split(dataset.labels).test)
    if images > available:
        raise TwinorError(f"--images {images}: the test part has {available} images")
    net = trained(seed=seed, fold=0, console=console)
    steps, placement = _placed(config, net.network, dataset.images[net.train_index])
    chips = _die(config, placement, die_seed=0 if programmed and die_seed is None else die_seed, die=die)
    if programmed:
        chips = _programmed(config, chips, placement, console)
    console.print(
        f"preset {config.name} ({config.digest()[:12]})  training seed {seed}  network {net.key[:12]}  "
        f"die {'ideal' if chips.seed is None else f'seed {chips.seed}'}  macros {len(placement.levels)}",
        soft_wrap=True,
    )
    return Workbench(
        config=config,
        seed=seed,
        dataset=dataset,
        trained=net,
        steps=steps,
        placement=placement,
        die=chips,
        programmed=programmed,
        count=images,
    )


def _check_die(die: Path | None, die_seed: int | None, programmed: bool) -> None:
    if programmed and die is not None:
        raise TwinorError("give either --die or --programmed, not both; the die of `twinor program` is programmed")
    if die is not None and die_seed is not None:
        raise TwinorError("give either --die or --die-seed, not both")
    if die is not None and not die.is_file():
        raise TwinorError(f"no die file {die}; write one with `twinor die`")


def _programmed(config: Config, die: Die, placement: Placement, console: Console) -> Die:
    """The die after the program-verify controller has brought all its cells to their levels."""
    with tables.Progress(console) as progress:
        show = partial(progress.show, "program")
        results = program_die(config, die, placement.levels, seed=die.seed, progress=show)
    return programmed_die(config, die, results, seed=die.seed)


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
    compensate: tuple[str, ...],
    out: Path,
    report: bool,
    console: Console,
) -> None:
    """Accuracy on one engine, as a table and as `run-<preset>[-die<seed>]`, JSON and page."""
    _check_kinds(compensate, load(preset))
    if backend not in BACKENDS:
        raise TwinorError(f"unknown --backend {backend}: expected one of {', '.join(BACKENDS)}")
    if report:
        pages.require()
    bench = prepare(preset, images=images, seed=seed, die_seed=die_seed, die=die, console=console)
    logits = forward(
        bench.trained.network,
        bench.placement,
        bench.images,
        chain_runner(bench.config, bench.die, backend=backend),
    )
    scores = bench.references() | {backend: bench.percent(logits)} | _compensated(bench, compensate, backend)
    tables.show("accuracy", tables.accuracy(scores, images), console)
    done = pages.Run(verb="run", bench=bench, engine=backend, logits=logits, scores=scores)
    write_json(out / f"{done.name}.json", bench.applied() | {"accuracy": scores}, console)
    if report:
        _write_page(done, out, console)


def _check_kinds(compensate: Sequence[str], config: Config) -> None:
    for kind in compensate:
        if kind not in KINDS:
            raise TwinorError(f"unknown --compensate {kind}: expected some of {', '.join(KINDS)}, with commas between")
    if "columns" in compensate and not config.column_correction:
        raise TwinorError(f"--compensate columns: preset {config.name} has no column correction (column_correction)")
    if "weights" in compensate and config.sar_weights == "binary":
        raise TwinorError(f"--compensate weights: preset {config.name} searches in binary weights (sar_weights)")
    if "tracking" in compensate and (config.device is None or config.device.cell is None):
        raise TwinorError(
            f"--compensate tracking: preset {config.name} has no EKV cells, which references would follow"
        )
    if "batch_norm" in compensate and config.bias_rows:
        raise TwinorError(f"--compensate batch_norm: preset {config.name} keeps biases in cells (bias_rows)")


def _compensated(bench: Workbench, compensate: Sequence[str], backend: str) -> dict[str, float]:
    """Accuracy after each correction in turn, with those before it; without tracking first, if that is asked for."""
    config, network, die = bench.config, bench.trained.network, bench.die
    scores: dict[str, float] = {}
    for kind in [kind for kind in KINDS if kind in compensate]:
        if kind == "tracking":
            without = chain_runner(config, tracked(die, on=False), backend=backend)
            scores["- tracking"] = bench.percent(forward(network, bench.placement, bench.images, without))
            die = tracked(die, on=True)
        elif kind == "weights":
            die = weighed(config, die)
        elif kind == "columns":
            die = columns_corrected(config, network, bench.placement, die, bench.calibration)
        else:
            network = norms_estimated(config, network, bench.steps, die, bench.calibration)
        placement = place(config, network, bench.steps)
        logits = forward(network, placement, bench.images, chain_runner(config, die, backend=backend))
        scores[f"+ {kind}"] = bench.percent(logits)
    return scores


def cosim(
    preset: str,
    *,
    images: int,
    programmed: bool,
    die_seed: int | None,
    die: Path | None,
    seed: int,
    rtl: Path | None,
    simulator: str,
    timeout: float,
    out: Path,
    report: bool,
    console: Console,
) -> None:
    """Every layer through the Verilog; tables, and `cosim-<preset>[-die<seed>]`, JSON and page."""
    _compile(preset, rtl or RTL, simulator)  # a missing simulator shows before anything long starts
    if report:
        pages.require()
    chosen = partial(prepare, preset, images=images, seed=seed, die_seed=die_seed, die=die)
    bench = chosen(programmed=programmed, console=console)
    began = time.monotonic()
    result = _through_verilog(bench, rtl=rtl or RTL, simulator=simulator, timeout=timeout, out=out, console=console)
    seconds = time.monotonic() - began
    scores = bench.references()
    scores |= {"golden": bench.percent(result.golden_logits), "rtl": bench.percent(result.rtl_logits)}
    _show_layers(result.layers, scores, images, console)
    tables.outcome(result.layers, images=images, seconds=seconds, console=console)
    more = {"simulator": simulator, "seconds": seconds, "layers": _entries(result.layers), "accuracy": scores}
    done = pages.Run(
        verb="cosim",
        bench=bench,
        engine="rtl",
        logits=result.rtl_logits,
        scores=scores,
        layers=result.layers,
        rtl=rtl or RTL,
    )
    write_json(out / f"{done.name}.json", bench.applied() | more, console)
    if report:
        _write_page(done, out, console)


def _compile(preset: str, rtl: Path, simulator: str) -> None:
    from twinor.cosim.network import BUILDERS

    if simulator not in BUILDERS:
        raise TwinorError(f"unknown --simulator {simulator}: expected one of {', '.join(BUILDERS)}")
    BUILDERS[simulator](load(preset), rtl=rtl)


def _show_layers(layers: Sequence[LayerResult], scores: dict[str, float], images: int, console: Console) -> None:
    tables.show("golden and rtl, layer by layer", tables.layers(layers), console)
    tables.show("mismatches per seam", tables.seams(layers), console)
    tables.show("accuracy", tables.accuracy(scores, images), console)


def _entries(layers: Sequence[LayerResult]) -> list[dict[str, Any]]:
    return [asdict(layer) | {"cycles_over_floor": layer.over_floor} for layer in layers]


def _through_verilog(
    bench: Workbench, *, rtl: Path, simulator: str, timeout: float, out: Path, console: Console
) -> CosimResult:
    from twinor.cosim.network import cosim as run_cosim

    with tables.Progress(console) as progress:
        return run_cosim(
            bench.config,
            bench.trained.network,
            bench.placement,
            bench.die,
            bench.images,
            rtl=rtl,
            simulator=simulator,
            timeout=timeout,
            reproducers=out.resolve() / "reproducers",
            progress=lambda layer, done, total: progress.show(f"cosim {layer}", done, total),
        )


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
    write_json(out / f"crossval-{config.name}.json", report, console)


def write_json(path: Path, content: dict[str, Any], console: Console) -> None:
    """Write a result, whole or not at all, and say so."""
    write_text(path, json.dumps(content, indent=2) + "\n")
    console.print(f"wrote {path}", soft_wrap=True)


def _write_page(done: pages.Run, out: Path, console: Console) -> None:
    with tables.Progress(console) as progress:
        path = pages.write(done, out, progress=lambda step, steps: progress.show("report", step, steps))
    console.print(f"wrote {path}", soft_wrap=True)
