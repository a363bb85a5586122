# SPDX-License-Identifier: Apache-2.0
"""ADC steps: per layer and slice the one that loses least on training images.

The loss of a step is the mean square of `step * code - q` over every column quantity of the layer, with

    code = clip(floor(q / step + 1/2), code_min, code_max)

so that rounding (small steps) and clipping (small ranges) are weighed as they will occur on an ideal die.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from twinor.die import ideal_die
from twinor.fast import Engine
from twinor.network import Conv2d, Linear
from twinor.place import full_steps, place
from twinor.run import chain_runner, host_layer, layer_vectors, run_layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.network import IntegerNetwork, WeightLayer
    from twinor.place import Placement, Steps

__all__ = ["best_step", "calibrate"]


def calibrate(config: Config, network: IntegerNetwork, images: NDArray[np.integer]) -> dict[str, Steps]:
    """ADC steps by layer name; layer by layer, so that each sees what the steps before it let through.

    Args:
        config: the macro; with `step: unit` every step is 1.
        network: the integer network.
        images: training images, codes [images, channels, height, width].

    Returns:
        Steps by layer name, [x_slices][w_slices] in array units, each one that the hardware can set.
    """
    place(config, network)  # refuse what does not fit before anything is measured
    signed = network.signed_inputs()
    steps: dict[str, Steps] = {}
    x: NDArray[np.integer] = images
    for layer in network.layers:
        if not isinstance(layer, Conv2d | Linear):
            x = host_layer(layer, x)
            continue
        alone = replace(
            network,
            layers=(layer,),
            input_shape=x.shape[1:],
            input_bits=config.input_bits,
            input_signed=signed[layer.name],
        )
        if config.step == "unit":
            steps[layer.name] = full_steps(config)
        else:
            steps[layer.name] = _layer_steps(config, place(config, alone), layer, x)
        placement = place(config, alone, {layer.name: steps[layer.name]})
        runner = chain_runner(config, ideal_die(config, placement.levels), backend="fast")
        x = run_layer(layer, placement, x, runner)
    return steps


def _layer_steps(config: Config, placement: Placement, layer: WeightLayer, x: NDArray[np.integer]) -> Steps:
    """The best step of each slice over all tiles and row groups of a layer."""
    engine = Engine(config, ideal_die(config, placement.levels))
    vectors = layer_vectors(layer, x)
    seen: dict[tuple[int, int], list[torch.Tensor]] = {}
    for c in placement.layers[layer.name].chains:
        for rnd, (top, bottom) in zip(c.chain.rounds, c.rows, strict=True):
            for p, q, _ in engine.held(c.chain.macro, rnd, vectors[:, top:bottom]):
                seen.setdefault((p.x_slice, p.w_slice), []).append(q.flatten())
    best = {key: best_step(config, torch.cat(q).numpy()) for key, q in seen.items()}
    top_slice = config.x_slices - 1  # the one that is converted where slices come together before the ADC
    x_slices = [top_slice if config.analog_slices else i for i in range(config.x_slices)]
    return tuple(tuple(best[i, j] for j in range(config.w_slices)) for i in x_slices)


def best_step(config: Config, q: NDArray[np.int64]) -> int:
    """The step with the least mean square error, the smaller one of equals.

    Args:
        config: gives the range of codes and the steps.
        q: column quantities, int64[any], in `2**(-2 * frac_bits)` array units.

    Returns:
        Array units per LSB.

    Example:
        >>> from twinor.config import load
        >>> best_step(load("tiny"), np.array([12, -9, 3]) << 12), best_step(load("tiny"), np.array([7, -8]) << 12)
        (2, 1)
    """
    units = q / (1 << 2 * config.frac_bits)
    losses = []
    for step in config.steps:
        code = np.clip(np.floor(units / step + 0.5), config.code_min, config.code_max)
        losses.append(float(np.mean((code * step - units) ** 2)))
    return config.steps[int(np.argmin(losses))]
