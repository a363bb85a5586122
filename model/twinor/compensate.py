# SPDX-License-Identifier: Apache-2.0
"""What is done about an imperfect die without touching a cell: four corrections, but the first in the macro's integers.

    tracking    reference cells of the same array set the full scale of the ADCs, as old and as warm as the others
    weights     what a kept trial of a redundant search adds, from measured capacitors: the weight registers
    columns     gain and offset of every physical column, from codes of calibration vectors: the column-correction table
    batch_norm  mean and spread of every output channel on this die, layer after layer: multiplier and addend

    acc'  = accumulator of a channel on the die, mean m' and deviation s' over calibration images;  m, s on an ideal die
    mult' = mult * s / s'          add' = add + mult * m - mult' * m'          so that y keeps its mean and its spread

Calibration images come as vectors of their own (`CALIBRATION_FIRST`), so that no test image sees their noise again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from twinor.config import ADD_BITS, MULT_BITS
from twinor.converter.calibrate import capacitors, fit_correction, fit_weights
from twinor.die import ideal_die
from twinor.errors import ConfigError
from twinor.fast import Engine
from twinor.golden.adc_frontend import converted_columns
from twinor.golden.column_correct import GAIN_ONE
from twinor.network import Conv, Linear
from twinor.place import place
from twinor.rounds import End
from twinor.run import chain_runner, forward

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.die import Die
    from twinor.network import IntegerNetwork, Requant
    from twinor.place import PlacedChain, PlacedLayer, Placement, Steps
    from twinor.run import RunChain

    Ints = NDArray[np.integer]
    Moments = tuple[NDArray[np.float64], NDArray[np.float64]]

__all__ = ["CALIBRATION_FIRST", "KINDS", "columns_corrected", "norms_estimated", "tracked", "weighed"]

KINDS = ("tracking", "weights", "columns", "batch_norm")
"""Corrections, in the order in which they are made."""

CALIBRATION_FIRST = 1 << 20
"""Index of the first calibration image in the stream of a die: past those of any test."""

POINTS = 4096
"""Pairs of codes per column and pass that a correction is fitted to, at most."""


def tracked(die: Die, *, on: bool) -> Die:
    """The same die with reference cells that set the full scale of its ADCs, or without.

    Raises:
        ConfigError: it has no physics, or cells that were measured at one temperature, which references do not follow.
    """
    if die.history is None or die.history.config.device is None or die.history.config.device.cell is None:
        raise ConfigError("tracking: this die has no reference cells; expected one of a preset with EKV cells")
    device = replace(die.history.config.device, tracking=on)
    changed = replace(die.history, config=replace(die.history.config, device=device))
    return replace(die.after(changed), config_digest=die.config_digest)


def weighed(config: Config, die: Die) -> Die:
    """The die with weight registers that its capacitors ask for, one set a macro.

    Raises:
        ConfigError: the search is binary, so that no weight but the nominal one gives every code.
    """
    if config.sar_weights == "binary":
        raise ConfigError(f"preset {config.name} searches in binary weights: expected redundant sar_weights to correct")
    fitted = [fit_weights(config, capacitors(config, table)) for table in die.threshold]
    return replace(die, weight=np.stack(fitted))


def columns_corrected(config: Config, network: IntegerNetwork, placement: Placement, die: Die, images: Ints) -> Die:
    """The die with its column-correction table fitted to calibration images.

    Args:
        config: a macro with column correction.
        network: the integer network.
        placement: where its layers lie.
        die: as it is now.
        images: calibration images, codes [images, *input_shape].

    Raises:
        ConfigError: the macro has no column correction.
    """
    if not config.column_correction:
        raise ConfigError(
            f"preset {config.name} has no column correction; expected column_correction = true, or other corrections"
        )
    bare = replace(die, gain=np.full_like(die.gain, GAIN_ONE), offset=np.zeros_like(die.offset))
    exact, real = Engine(config, ideal_die(config, placement.levels)), Engine(config, bare)
    pairs: dict[int, list[tuple[NDArray[np.float64], Ints]]] = {}

    def run_chain(
        _: PlacedLayer, c: PlacedChain, inputs: Sequence[Ints], psums: Ints | None, added: Ints | None, first: int
    ) -> NDArray[np.int64]:
        for rnd, x in zip(c.chain.rounds, inputs, strict=True):
            columns, chosen = converted_columns(config, rnd), x[:: -(-len(x) // POINTS)]
            asked = (engine.held(c.chain.macro, rnd, chosen, first=first) for engine in (exact, real))
            both = zip(*asked, strict=True)
            for (p, wanted, _sum), (_p, found, _s) in both:
                step = rnd.steps[p.x_slice][p.w_slice]
                ideal = np.full((len(chosen), config.cols), np.nan)
                measured = np.full(ideal.shape, config.code_min)
                ideal[:, columns] = wanted.numpy() / (step << 2 * config.frac_bits)
                measured[:, columns] = real.convert(c.chain.macro, rnd, found, step).numpy()
                pairs.setdefault(c.chain.macro, []).append((ideal, measured))
        return exact.run_chain(c.chain, inputs, psums, added, first)

    forward(network, placement, images, run_chain, first=CALIBRATION_FIRST)
    gain, offset = bare.gain.copy(), bare.offset.copy()
    for macro, parts in pairs.items():
        ideal, measured = (np.concatenate(part) for part in zip(*parts, strict=True))
        inside = (measured > config.code_min) & (measured < config.code_max)
        low, high = np.where(inside, measured, config.code_max), np.where(inside, measured, config.code_min)
        varied = np.flatnonzero(high.max(axis=0) > low.min(axis=0))  # a column of zeros has nothing to be fitted to
        gain[macro, varied], offset[macro, varied] = fit_correction(config, ideal[:, varied], measured[:, varied])
    return replace(bare, gain=gain, offset=offset)


def norms_estimated(
    config: Config,
    network: IntegerNetwork,
    steps: Mapping[str, Steps],
    die: Die,
    images: Ints,
) -> IntegerNetwork:
    """The network with the multipliers and addends that keep every channel's mean and spread on this die.

    Args:
        config: the macro.
        network: the integer network.
        steps: ADC steps by layer name.
        die: as it is now.
        images: calibration images, codes [images, *input_shape].

    Raises:
        ConfigError: the macro keeps biases in cells, where nothing can be changed any more.
    """
    if config.bias_rows:
        raise ConfigError(f"preset {config.name} keeps biases in bias_rows: batch norm cannot be estimated anew there")
    placement = place(config, network, steps)
    wanted: dict[str, Moments] = {}
    rules: dict[str, Requant] = {
        layer.name: layer.requant for layer in network.layers if isinstance(layer, Conv | Linear)
    }

    def keep(name: str, columns: slice, acc: NDArray[np.int64]) -> Requant:
        mean, spread = wanted.setdefault(name, (np.zeros(len(rules[name].mult)), np.zeros(len(rules[name].mult))))
        mean[columns], spread[columns] = acc.mean(axis=0), acc.std(axis=0)
        return rules[name]

    def match(name: str, columns: slice, acc: NDArray[np.int64]) -> Requant:
        mean, spread = (moment[columns] for moment in wanted[name])
        rules[name] = _matched(rules[name], columns, (mean, spread), (acc.mean(axis=0), acc.std(axis=0)))
        return rules[name]

    for chip, choose in ((ideal_die(config, placement.levels), keep), (die, match)):
        run = _with_rules(chain_runner(config, chip, backend="fast"), choose)
        forward(network, placement, images, run, first=CALIBRATION_FIRST)
    layers = tuple(
        replace(layer, requant=rules[layer.name]) if isinstance(layer, Conv | Linear) else layer
        for layer in network.layers
    )
    return replace(network, layers=layers)


def _with_rules(run: RunChain, choose: Callable[[str, slice, NDArray[np.int64]], Requant]) -> RunChain:
    """An engine that leaves the last step of every layer to a rule that is chosen when its accumulators are known."""

    def run_chain(
        placed: PlacedLayer, c: PlacedChain, inputs: Sequence[Ints], psums: Ints | None, added: Ints | None, first: int
    ) -> NDArray[np.int64]:
        if c.chain.rounds[-1].end is not End.REQUANT:
            return run(placed, c, inputs, psums, added, first)
        raw = replace(c.chain.rounds[-1], end=End.RAW)
        bare = replace(c, chain=replace(c.chain, rounds=(*c.chain.rounds[:-1], raw)))
        acc, columns = run(placed, bare, inputs, psums, added, first), slice(*c.cols)
        rule = choose(placed.layer.name, columns, acc)
        return replace(rule, mult=rule.mult[columns], add=rule.add[columns])(acc)

    return run_chain


def _matched(rule: Requant, columns: slice, wanted: Moments, found: Moments) -> Requant:
    """The rule after which some columns have the mean and the spread that are wanted."""
    mult, add = rule.mult.copy(), rule.add.copy()
    ratio = np.where(found[1] > 0, wanted[1] / np.maximum(found[1], 1e-9), 1.0)
    most, limit = (1 << MULT_BITS - 1) - 1, (1 << ADD_BITS - 1) - 1
    mult[columns] = np.clip(np.rint(rule.mult[columns] * ratio), -most - 1, most)
    exact = rule.add[columns] + rule.mult[columns] * wanted[0] - mult[columns] * found[0]
    add[columns] = np.clip(np.rint(exact), -limit - 1, limit)
    return replace(rule, mult=mult, add=add)
