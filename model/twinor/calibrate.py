# SPDX-License-Identifier: Apache-2.0
"""ADC steps: per layer and slice the one that loses least on training images.

The loss of a step is the mean square of `step * code - q` over every column quantity of the layer, with

    code = clip(floor(q / step + 1/2), code_min, code_max)        trunc(q / step) with `adc_rounding: toward_zero`

so that rounding (small steps) and clipping (small ranges) are weighed as they will occur on an ideal die.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from twinor.die import ideal_die
from twinor.fast import Engine
from twinor.host import layer_vectors, walk
from twinor.place import full_steps, input_slices, place, place_layer
from twinor.run import chain_runner, check_images, run_layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.network import IntegerNetwork, WeightLayer
    from twinor.place import Placement, Steps

    Ints = NDArray[np.integer]

__all__ = ["best_step", "calibrate"]


def calibrate(config: Config, network: IntegerNetwork, images: NDArray[np.integer]) -> dict[str, Steps]:
    """ADC steps by layer name; layer by layer, so that each sees what the steps before it let through.

    Args:
        config: the macro; with `step: unit` every step is 1.
        network: the integer network.
        images: training images, codes [images, *input_shape].

    Returns:
        Steps by layer name, [x_slices][w_slices] in array units, each one that the hardware can set.
    """
    check_images(network, images)
    place(config, network)  # refuse what does not fit before anything is measured
    ranges = network.input_ranges()
    steps: dict[str, Steps] = {}

    def measure(layer: WeightLayer, x: Ints, codes: Ints | None) -> Ints:
        codes_in = ranges[layer.name]
        steps[layer.name] = full_steps(config, input_slices(config, codes_in))
        if config.step != "unit":
            steps[layer.name] = _layer_steps(config, place_layer(config, layer, steps[layer.name], codes_in), layer, x)
        placement = place_layer(config, layer, steps[layer.name], codes_in)
        runner = chain_runner(config, ideal_die(config, placement.levels), backend="fast")
        return run_layer(layer, x, codes, placement, runner)

    walk(network, images, measure)
    return steps


def _layer_steps(config: Config, placement: Placement, layer: WeightLayer, x: NDArray[np.integer]) -> Steps:
    """The best step of each slice over all tiles and row groups of a layer."""
    engine = Engine(config, ideal_die(config, placement.levels))
    vectors, placed = layer_vectors(layer, x), placement.layers[layer.name]
    seen: dict[tuple[int, int], list[torch.Tensor]] = {}
    for c in placed.chains:
        for rnd, (top, bottom) in zip(c.chain.rounds, c.rows, strict=True):
            for p, q, _ in engine.held(c.chain.macro, rnd, vectors[:, top:bottom]):
                seen.setdefault((p.x_slice, p.w_slice), []).append(q.flatten())
    best = {key: best_step(config, torch.cat(q).numpy()) for key, q in seen.items()}
    slices = range(len(placed.steps))
    top_slice = slices[-1]  # the one that is converted where slices come together before the ADC
    x_slices = [top_slice if config.analog_slices else i for i in slices]
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
    values, counts = np.unique(q, return_counts=True)  # few, as they are integers
    units = values / (1 << 2 * config.frac_bits)
    losses = []
    for step in config.steps:
        code = np.trunc(units / step) if config.adc_rounding == "toward_zero" else np.floor(units / step + 0.5)
        code = np.clip(code, config.code_min, config.code_max)
        losses.append(float(((code * step - units) ** 2) @ counts))
    return config.steps[int(np.argmin(losses))]
