# SPDX-License-Identifier: Apache-2.0
"""Running an integer network on placed macros: the host's integers around one engine's chains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twinor.errors import SimulatorError, TwinorError
from twinor.golden import cim_macro
from twinor.host import layer_vectors, narrow, positions_last, walk
from twinor.trace import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.die import Die
    from twinor.network import IntegerNetwork, WeightLayer
    from twinor.place import PlacedChain, PlacedLayer, Placement

    Ints = NDArray[np.integer]
    Inputs = Sequence[Ints]
    RunChain = Callable[[PlacedLayer, PlacedChain, Inputs, Ints | None, Ints | None, int], NDArray[np.int64]]
    """Layer, chain, inputs, partial sums, residuals, and the index of the first vector in the whole run."""

__all__ = ["BACKENDS", "chain_runner", "check_images", "forward", "forward_batched", "run_layer"]

BATCH = 100
"""Images at a time where there are many."""

BACKENDS = ("golden", "fast", "rtl")
"""Engines: the definition, the same integers from torch, the Verilog in Icarus (compared by `twinor.cosim`)."""


def chain_runner(config: Config, die: Die, *, backend: str) -> RunChain:
    """The function that runs one chain on an engine and returns what leaves the macro."""
    if backend not in BACKENDS:
        raise TwinorError(f"unknown backend {backend!r}: expected one of {', '.join(BACKENDS)}")
    if backend == "golden":
        return lambda _, c, *streams: cim_macro.outputs(cim_macro.run_chain(config, die, c.chain, *streams))
    if backend == "fast":
        from twinor.fast import Engine  # torch and Icarus are needed only by the engines that use them

        engine = Engine(config, die)
        return lambda _, c, *streams: engine.run_chain(c.chain, *streams)
    from twinor.cosim import icarus
    from twinor.cosim.chain import Job, simulate

    model = icarus.build(config)

    def in_icarus(
        _: PlacedLayer, c: PlacedChain, inputs: Inputs, psums: Ints | None, residuals: Ints | None, first: int
    ) -> NDArray[np.int64]:
        job = Job(config, die, c.chain, inputs, psums, residuals, first)
        y = cim_macro.outputs(simulate(job, model).traces)
        if np.any(y <= MISSING):
            raise SimulatorError(f"tile {c.tile}: the Verilog drove X, or nothing; `twinor cosim` finds where")
        return y

    return in_icarus


def forward(
    network: IntegerNetwork,
    placement: Placement,
    images: NDArray[np.integer],
    run_chain: RunChain,
    *,
    first: int = 0,
) -> NDArray[np.int64]:
    """Logits of a batch of images.

    Args:
        network: the integer network.
        placement: where its layers lie.
        images: codes, [images, *input_shape].
        run_chain: the engine.
        first: index of the first image in the whole run, which noise is drawn by.

    Returns:
        int64[images, classes].
    """
    check_images(network, images)
    y = walk(network, images, lambda layer, x, codes: run_layer(layer, x, codes, placement, run_chain, first=first))
    return y.astype(np.int64)


def forward_batched(
    network: IntegerNetwork, placement: Placement, images: NDArray[np.integer], run_chain: RunChain
) -> NDArray[np.int64]:
    """Logits of any number of images, `BATCH` at a time; arguments as of `forward`."""
    parts = range(0, len(images), BATCH)
    return np.concatenate([forward(network, placement, images[n : n + BATCH], run_chain, first=n) for n in parts])


def check_images(network: IntegerNetwork, images: NDArray[np.integer]) -> None:
    """Refuse images that the network was not made for.

    Raises:
        TwinorError: names the shape or range and what is expected.
    """
    if images.shape[1:] != network.input_shape:
        raise TwinorError(f"images of shape {images.shape[1:]}: the network takes {network.input_shape}")
    low = -(1 << (network.input_bits - 1)) if network.input_signed else 0
    high = low + (1 << network.input_bits) - 1
    if images.size and (images.min() < low or images.max() > high):
        raise TwinorError(f"image codes {images.min()} .. {images.max()}: the network takes {low} .. {high}")


def run_layer(
    layer: WeightLayer,
    x: Ints,
    codes: Ints | None,
    placement: Placement,
    run_chain: RunChain,
    *,
    first: int = 0,
) -> Ints:
    """One layer with weights through the chains of its tiles; `codes` come through its shortcut."""
    placed = placement.layers[layer.name]
    added = None if codes is None else np.moveaxis(codes, 1, -1).reshape(-1, codes.shape[1])
    vectors = layer_vectors(layer, x)
    y = _run_chains(placed, vectors, added, run_chain, first * (len(vectors) // len(x)))
    return positions_last(layer, x, narrow(layer.requant, y))


def _run_chains(placed: PlacedLayer, x: Ints, codes: Ints | None, run_chain: RunChain, first: int) -> NDArray[np.int64]:
    results: list[NDArray[np.int64]] = []
    y = np.zeros((x.shape[0], placed.layer.weight.shape[0]), dtype=np.int64)
    for c in placed.chains:
        inputs = [x[:, top:bottom] for top, bottom in c.rows]
        psums = None if c.psum_from is None else results[c.psum_from]
        added = codes[:, slice(*c.cols)] if codes is not None and c.chain.rounds[0].residual else None
        results.append(run_chain(placed, c, inputs, psums, added, first))
        y[:, slice(*c.cols)] = results[-1]  # a later chain of the same columns overwrites raw accumulators
    return y
