# SPDX-License-Identifier: Apache-2.0
"""Running an integer network on placed macros: the host's integers around one engine's chains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from twinor.errors import SimulatorError, TwinorError
from twinor.golden import cim_macro
from twinor.network import Conv2d, Flatten, Linear, MaxPool2d
from twinor.trace import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.die import Die
    from twinor.network import IntegerNetwork, Layer, WeightLayer
    from twinor.place import PlacedChain, PlacedLayer, Placement

    Inputs = Sequence[NDArray[np.integer]]
    RunChain = Callable[[PlacedLayer, PlacedChain, Inputs, NDArray[np.integer] | None], NDArray[np.int64]]

__all__ = [
    "BACKENDS",
    "chain_runner",
    "check_images",
    "forward",
    "host_layer",
    "im2col",
    "layer_vectors",
    "max_pool",
    "run_layer",
]

BACKENDS = ("golden", "fast", "rtl")
"""Engines: the definition, the same integers from torch, the Verilog in Icarus (compared by `twinor.cosim`)."""


def im2col(layer: Conv2d, x: NDArray[np.integer]) -> NDArray[np.integer]:
    """Unfold images into the vectors that a convolution's word lines see.

    Args:
        layer: gives kernel, stride and zero padding.
        x: [images, channels, height, width].

    Returns:
        [images, out_height, out_width, channels * kernel_h * kernel_w].
    """
    (kh, kw), (sh, sw), (ph, pw) = layer.weight.shape[2:], layer.stride, layer.padding
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    windows = sliding_window_view(padded, (kh, kw), axis=(2, 3))[:, :, ::sh, ::sw]
    n, _, h, w = windows.shape[:4]
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(n, h, w, -1)


def max_pool(layer: MaxPool2d, x: NDArray[np.integer]) -> NDArray[np.integer]:
    """Maximum of each window, [images, channels, height, width]."""
    (kh, kw), (sh, sw) = layer.kernel, layer.stride
    pooled: NDArray[np.integer] = sliding_window_view(x, (kh, kw), axis=(2, 3))[:, :, ::sh, ::sw].max(axis=(4, 5))
    return pooled


def chain_runner(config: Config, die: Die, *, backend: str) -> RunChain:
    """The function that runs one chain on an engine and returns what leaves the macro."""
    if backend not in BACKENDS:
        raise TwinorError(f"unknown backend {backend!r}: expected one of {', '.join(BACKENDS)}")
    if backend == "golden":
        return lambda _, c, inputs, psums: cim_macro.outputs(cim_macro.run_chain(config, die, c.chain, inputs, psums))
    if backend == "fast":
        from twinor.fast import Engine  # torch and Icarus are needed only by the engines that use them

        engine = Engine(config, die)
        return lambda _, c, inputs, psums: engine.run_chain(c.chain, inputs, psums)
    from twinor.cosim import icarus
    from twinor.cosim.chain import Job, simulate

    model = icarus.build(config)

    def in_icarus(
        _: PlacedLayer, c: PlacedChain, inputs: Inputs, psums: NDArray[np.integer] | None
    ) -> NDArray[np.int64]:
        job = Job(config=config, die=die, chain=c.chain, inputs=inputs, psums=psums)
        y = cim_macro.outputs(simulate(job, model).traces)
        if np.any(y <= MISSING):
            raise SimulatorError(f"tile {c.tile}: the Verilog drove X, or nothing; `twinor cosim` finds where")
        return y

    return in_icarus


def forward(
    network: IntegerNetwork, placement: Placement, images: NDArray[np.integer], run_chain: RunChain
) -> NDArray[np.int64]:
    """Logits of a batch of images.

    Args:
        network: the integer network.
        placement: where its layers lie.
        images: codes, [images, channels, height, width].
        run_chain: the engine.

    Returns:
        int64[images, classes].
    """
    check_images(network, images)
    x: NDArray[np.integer] = images
    for layer in network.layers:
        x = run_layer(layer, placement, x, run_chain)
    return x.astype(np.int64)


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


def host_layer(layer: Flatten | MaxPool2d, x: NDArray[np.integer]) -> NDArray[np.integer]:
    """A layer without weights, in integers on the host."""
    return max_pool(layer, x) if isinstance(layer, MaxPool2d) else x.reshape(x.shape[0], -1)


def layer_vectors(layer: WeightLayer, x: NDArray[np.integer]) -> NDArray[np.integer]:
    """Every vector that a layer's word lines see, [vectors, K]."""
    return im2col(layer, x).reshape(-1, layer.weight[0].size) if isinstance(layer, Conv2d) else x


def run_layer(layer: Layer, placement: Placement, x: NDArray[np.integer], run_chain: RunChain) -> NDArray[np.integer]:
    """One layer: on the host if it has no weights, else through the chains of its tiles."""
    if not isinstance(layer, Conv2d | Linear):
        return host_layer(layer, x)
    y = _run_chains(placement.layers[layer.name], layer_vectors(layer, x), run_chain)
    if isinstance(layer, Linear):
        return y
    (kh, kw), (sh, sw), (ph, pw) = layer.weight.shape[2:], layer.stride, layer.padding
    h, w = (x.shape[2] + 2 * ph - kh) // sh + 1, (x.shape[3] + 2 * pw - kw) // sw + 1
    return y.reshape(x.shape[0], h, w, -1).transpose(0, 3, 1, 2)


def _run_chains(placed: PlacedLayer, x: NDArray[np.integer], run_chain: RunChain) -> NDArray[np.int64]:
    results: list[NDArray[np.int64]] = []
    y = np.zeros((x.shape[0], placed.layer.weight.shape[0]), dtype=np.int64)
    for c in placed.chains:
        inputs = [x[:, top:bottom] for top, bottom in c.rows]
        results.append(run_chain(placed, c, inputs, None if c.psum_from is None else results[c.psum_from]))
        y[:, c.cols[0] : c.cols[1]] = results[-1]  # a later chain of the same columns overwrites raw accumulators
    return y
