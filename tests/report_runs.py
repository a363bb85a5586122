# SPDX-License-Identifier: Apache-2.0
"""Small runs to report: a random network with every kind of layer on small macros, without training or simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from placed_networks import Case
from small_networks import small_images, tiled_network
from twinor.calibrate import calibrate
from twinor.config import replace
from twinor.cosim.network import LayerResult
from twinor.data import Dataset
from twinor.die import ideal_die, sample_die
from twinor.golden import macro_ctrl
from twinor.network_file import Trained
from twinor.place import place
from twinor.report import Run
from twinor.run import chain_runner, forward
from twinor.trace import SEAMS
from twinor.workbench import Workbench

from tb.common.configs import TINY

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from twinor.config import Config
    from twinor.trace import RoundTrace

__all__ = ["SMALL", "cosim_run", "golden_traces", "plain_run", "small_bench"]

SMALL = replace(TINY, name="small", psum_bits=14, cell_sigma=0.05, capacitor_sigma=0.05)
"""`tiny` with room for the partial sums of the network, and with variation that shows."""

CLASSES, TRAINING, TEST = 3, 6, 12


def small_bench(config: Config = SMALL, *, die_seed: int | None = None, count: int = 5, seed: int = 3) -> Workbench:
    """A bench of random data; its predictions of reference are right but for the first image."""
    rng = np.random.default_rng(seed)
    network = tiled_network(config, rng)
    images = small_images(config, network, rng, count=TRAINING + TEST).astype(np.uint8)
    labels = rng.integers(0, CLASSES, TRAINING + TEST)
    test = np.arange(TRAINING, TRAINING + TEST)
    right = labels[test].astype(np.int16)
    trained = Trained(
        network=network,
        key="5" * 64,
        fold=0,
        train_index=np.arange(TRAINING),
        test_index=test,
        float_predictions=right,
        fake_quant_predictions=np.concatenate([(right[:1] + 1) % CLASSES, right[1:]]),
    )
    steps = calibrate(config, network, images[:TRAINING])
    placement = place(config, network, steps)
    die = ideal_die(config, placement.levels)
    return Workbench(
        config=config,
        seed=seed,
        dataset=Dataset(images=images, labels=labels, input_bits=config.input_bits),
        trained=trained,
        steps=steps,
        placement=placement,
        die=die if die_seed is None else sample_die(config, placement.levels, seed=die_seed),
        count=count,
    )


def logits_of(bench: Workbench, images: NDArray[np.integer]) -> NDArray[np.int64]:
    """Logits on golden."""
    runner = chain_runner(bench.config, bench.die, backend="golden")
    return forward(bench.trained.network, bench.placement, images, runner)


def plain_run(bench: Workbench, **changes: Any) -> Run:
    """What `twinor run --backend golden` reports."""
    logits = logits_of(bench, bench.images)
    scores = bench.references() | {"golden": bench.percent(logits)}
    return Run(**({"verb": "run", "bench": bench, "engine": "golden", "logits": logits, "scores": scores} | changes))


def golden_traces(bench: Workbench) -> dict[str, list[RoundTrace]]:
    """Golden traces by layer, from an ordinary forward pass."""
    case = Case(
        config=bench.config,
        network=bench.trained.network,
        placement=bench.placement,
        die=bench.die,
        images=bench.images,
    )
    traces: dict[str, list[RoundTrace]] = {}
    for (layer, _), of_chain in case.golden().items():
        traces.setdefault(layer, []).extend(of_chain)
    return traces


def cosim_run(bench: Workbench, *, mismatches: int = 0) -> Run:
    """What `twinor cosim` reports, with cycles that the schedule predicts; `mismatches` codes of each layer differ."""
    layers = []
    for name, placed in bench.placement.layers.items():
        traces = golden_traces(bench)[name]
        vectors = len(traces[0].codes)
        layer = LayerResult(name=name, rows=placed.layer.weight[0].size, cols=len(placed.layer.weight))
        layer.tiles = len(traces)
        layer.rounds = len(traces) * vectors
        layer.conversions = sum(t.codes.size for t in traces)
        layer.clipped = sum(t.clipped for t in traces)
        layer.floor_cycles = sum(vectors * macro_ctrl.floor_cycles(bench.config, c.chain) for c in placed.chains)
        layer.cycles = layer.floor_cycles + 7
        layer.mismatches = dict.fromkeys(SEAMS, 0) | {"codes": mismatches}
        layers.append(layer)
    run = plain_run(bench)
    scores = bench.references() | {"golden": bench.percent(run.logits), "rtl": bench.percent(run.logits)}
    return plain_run(bench, verb="cosim", engine="rtl", layers=layers, scores=scores)
