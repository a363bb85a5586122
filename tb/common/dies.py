# SPDX-License-Identifier: Apache-2.0
"""The dies on which benches run: ideal, varied, and ones that no process makes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from twinor.converter.cdac import NEVER
from twinor.die import CellCurrents, Die, ideal_die, ideal_thresholds, sample_die
from twinor.golden import flash_array
from twinor.golden.column_correct import GAIN_ONE

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from twinor.config import Config

    Ints = NDArray[np.integer[Any]]
    Rng = np.random.Generator

__all__ = ["KINDS", "make_die", "noisy_die", "random_levels", "random_weights", "wild_die"]

PROGRAMMED = ("ideal", "varied")
"""Kinds whose cells are random weights; those of the others are any levels at all."""

KINDS = (*PROGRAMMED, "any", "strongest", "unordered", "extreme", "wild")


def make_die(kind: str, config: Config) -> Die:
    """A die of one macro with random cells.

    Args:
        kind: `ideal` or `varied`, the cells programmed with weights; `any`, varied with any cells; `strongest`, every
            cell as strong as a die may be, twice the top level; `unordered`, thresholds in no order; `extreme`,
            thresholds at the ends of 32 bits, so that the product with the largest step is as wide as it gets; `wild`,
            as `wild_die`.
        config: the macro.

    Example:
        >>> from twinor.config import load
        >>> make_die("ideal", load("tiny")).seed is None
        True
    """
    rng = np.random.default_rng(12)
    if kind == "wild":
        return wild_die(config, rng)
    shape = (1, config.rows, config.bit_lines)
    levels = random_levels(config, rng) if kind in PROGRAMMED else rng.integers(0, 1 << config.cell_bits, shape)
    levels = levels.astype(np.uint8)
    die = ideal_die(config, levels) if kind == "ideal" else sample_die(config, levels, seed=13)
    if kind == "strongest":
        die.strength[:] = 2 * ((1 << config.cell_bits) - 1) << config.frac_bits
    if kind == "unordered":
        np.random.default_rng(9).shuffle(die.threshold[0, :, 1:], axis=1)
    if kind == "extreme":
        ends = np.iinfo(np.int32)
        die.threshold[0, :, 1::2], die.threshold[0, :, 2::2] = ends.max, ends.min
    return die


def random_weights(config: Config, rng: Rng, rows: int, cols: int) -> Ints:
    """Weights over the whole range of the encoding, with both ends in the first two rows if there is room."""
    weights = rng.integers(config.weight_min, config.weight_max, (rows, cols), endpoint=True)
    weights[:1], weights[1:2] = config.weight_min, config.weight_max
    return weights


def random_levels(config: Config, rng: Rng, *, macros: int = 1) -> NDArray[np.uint8]:
    """Cell levels of random weights, uint8[macros, rows, bit_lines]."""
    images = [random_weights(config, rng, config.rows, config.cols) for _ in range(macros)]
    return np.stack([flash_array.levels(config, w) for w in images])


def wild_die(config: Config, rng: Rng, *, macros: int = 1) -> Die:
    """A die no process makes: any strength, uneven drives and threshold tables in no order."""
    one, top = 1 << config.frac_bits, (1 << config.cell_bits) - 1
    drive = rng.integers(0, ((1 << config.dac_bits) - 1) * one, (macros, config.rows, 1 << config.dac_bits))
    drive[..., 0] = 0
    threshold = ideal_thresholds(config) / (one * one) + rng.normal(0, 3, (macros, config.n_adcs, 1 << config.trials))
    threshold = np.rint(threshold * one * one)
    threshold[..., 0] = NEVER
    weight = np.tile(np.array(config.weights, dtype=np.int32), (macros, 1))
    if config.sar_weights != "binary":  # as a calibration may load them
        weight = rng.integers(1, 1 << config.adc_bits, weight.shape, dtype=np.int32)
    gain, offset = np.full((macros, config.cols), GAIN_ONE), np.zeros((macros, config.cols))
    if config.column_correction:
        gain = np.where(
            rng.random(gain.shape) < 0.2, rng.choice([0, 1, 1023], gain.shape), rng.integers(100, 500, gain.shape)
        )
        offset = rng.integers(-600, 600, gain.shape) * rng.choice([1, 1, 1, 54], gain.shape)
    return Die(
        config_digest=config.digest(),
        seed=None,
        strength=rng.integers(0, 2 * top * one, (macros, config.rows, config.bit_lines), dtype=np.int32),
        drive=drive.astype(np.int32),
        threshold=threshold.astype(np.int32),
        weight=weight,
        gain=gain.astype(np.int32),
        offset=offset.astype(np.int32),
    )


def noisy_die(config: Config, rng: Rng, *, macros: int = 1) -> Die:
    """A wild die whose cells have any current at any code, any variance and traps, and whose conversions are noisy."""
    one, top = 1 << 2 * config.frac_bits, ((1 << config.cell_bits) - 1) * ((1 << config.dac_bits) - 1)
    cell = (macros, config.rows, 1 << config.dac_bits, config.bit_lines)
    current, variance = rng.integers(0, 2 * top * one, cell), rng.integers(0, one * one >> 4, cell)
    current[:, :, 0] = variance[:, :, 0] = 0
    cells = CellCurrents(
        current=current.astype(np.int32),
        variance=variance.astype(np.int32),
        trap=rng.integers(0, 1 << 16, (macros, config.rows, config.bit_lines), endpoint=True).astype(np.int32),
        occupancy=rng.integers(0, 256, (macros, config.rows, config.bit_lines), endpoint=True).astype(np.int32),
        conversion=rng.integers(0, one * one >> 2, (macros, config.n_adcs)),
        noise_seed=int(rng.integers(1 << 40)),
        first_macro=int(rng.integers(100)),
    )
    return replace(wild_die(config, rng, macros=macros), cells=cells)
