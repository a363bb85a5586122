# SPDX-License-Identifier: Apache-2.0
"""A die: the integers that make one chip different from another, drawn once and kept in a file.

A die carries as many macros as a network needs. Every engine reads the same tables:

    strength[macro, row, bit_line]    what a cell adds per drive level        2**-frac_bits levels
    drive[macro, row, code]           what a word-line code drives            2**-frac_bits input steps
    threshold[macro, adc, trial]      comparator threshold of a SAR trial     2**(-2 * frac_bits) LSB
    weight[macro, trial]              what a kept SAR trial adds to the code  LSB
    gain[macro, column]               column correction: factor of a code     1/256
    offset[macro, column]             column correction: added to the product 1/256 LSB

A SAR trial is named by the bits of the trials kept before it and its own, the first trial in the top bit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from twinor.errors import ConfigError, CorruptFile
from twinor.golden.column_correct import GAIN_BITS, GAIN_ONE, OFFSET_BITS
from twinor.store import read_archive, write_archive
from twinor.weights import centres

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from twinor.config import Config

__all__ = ["Die", "ideal_die", "ideal_thresholds", "levels_digest", "load_die", "sample_die", "save_die"]

TABLES = ("strength", "drive", "threshold", "weight", "gain", "offset")
REMEDY = "sample it again with `twinor die`"
NEVER = np.iinfo(np.int32).min
"""Threshold of trial 0, which the search never makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Die:
    """The tables of one die; see the module's docstring for units.

    Attributes:
        config_digest: `Config.digest()` of the macro it was made for.
        levels_digest: `levels_digest()` of the cell levels that were programmed, empty if they are not known.
        seed: seed of its variation, None for an ideal die.
        strength: int32[macros, rows, bit_lines], at least 0.
        drive: int32[macros, rows, 2**dac_bits]; code 0 drives nothing.
        threshold: int32[macros, n_adcs, 2**trials]; entry 0 is unused.
        weight: int32[macros, trials], first trial first; what the macro's weight registers hold.
        gain, offset: int32[macros, cols], by physical column; what the macro's correction table holds.
    """

    config_digest: str
    levels_digest: str = ""
    seed: int | None
    strength: NDArray[np.int32]
    drive: NDArray[np.int32]
    threshold: NDArray[np.int32]
    weight: NDArray[np.int32]
    gain: NDArray[np.int32]
    offset: NDArray[np.int32]


def levels_digest(levels: NDArray[np.uint8]) -> str:
    """SHA-256 of programmed cell levels, 64 hexadecimal digits."""
    return hashlib.sha256(repr(levels.shape).encode() + levels.tobytes()).hexdigest()


def ideal_thresholds(config: Config) -> NDArray[np.int32]:
    """Half-step thresholds of every ADC, int32[n_adcs, 2**trials], in `2**(-2 * frac_bits)` LSB."""
    level = (_patterns(config) @ np.array(config.weights[::-1])).astype(np.float64)
    return np.tile(_fixed_thresholds(config, level), (config.n_adcs, 1))


def _patterns(config: Config) -> NDArray[np.int64]:
    """Which trials each pattern keeps, int64[2**trials, trials], last trial first."""
    kept: NDArray[np.int64] = np.arange(1 << config.trials)[:, None] >> np.arange(config.trials) & 1
    return kept


def _fixed_thresholds(config: Config, level: NDArray[np.float64]) -> NDArray[np.int32]:
    """Round CDAC levels in LSB to thresholds; half a step below the level, centred for a signed conversion.

    In a redundant search a trial's threshold is in the middle of the codes that both of its answers can still reach.
    """
    under_trial = np.argmax(_patterns(config) > 0, axis=1)  # the last trial that is set
    moved = np.array(centres(config.weights)[::-1])[under_trial]
    exact = (level + moved - 0.5 + config.code_min) * (1 << 2 * config.frac_bits)
    table: NDArray[np.int32] = np.rint(exact).astype(np.int32)
    table[..., 0] = NEVER
    return table


def ideal_die(config: Config, levels: NDArray[np.uint8]) -> Die:
    """A die without variation.

    Args:
        config: the macro.
        levels: programmed cell levels, uint8[macros, rows, bit_lines].

    Example:
        >>> from twinor.config import load
        >>> die = ideal_die(load("tiny"), np.ones((1, 8, 8), dtype=np.uint8))
        >>> int(die.strength[0, 0, 0]), int(die.drive[0, 0, 1]), int(die.threshold[0, 0, 8])
        (64, 64, -2048)
    """
    macros = levels.shape[0]
    codes = np.arange(1 << config.dac_bits, dtype=np.int32) << config.frac_bits
    return Die(
        config_digest=config.digest(),
        levels_digest=levels_digest(levels),
        seed=None,
        strength=levels.astype(np.int32) << config.frac_bits,
        drive=np.tile(codes, (macros, config.rows, 1)),
        threshold=np.tile(ideal_thresholds(config), (macros, 1, 1)),
        weight=np.tile(np.array(config.weights, dtype=np.int32), (macros, 1)),
        gain=np.full((macros, config.cols), GAIN_ONE, dtype=np.int32),
        offset=np.zeros((macros, config.cols), dtype=np.int32),
    )


def sample_die(config: Config, levels: NDArray[np.uint8], *, seed: int) -> Die:
    """Draw a die: Gaussian cells, CDAC capacitors and comparator offsets, each rounded once to integers.

    Every cell spreads by `cell_sigma` of the top level, cells at level 0 too, and none below 0.

    A capacitor of w units is `w * (1 + sigma / sqrt(w) * N(0, 1))` units, for the unit capacitor's relative deviation
    sigma; macro m draws from the generator `(seed, m)`, so it does not depend on how many macros there are.

    Args:
        config: gives the standard deviations.
        levels: programmed cell levels, uint8[macros, rows, bit_lines].
        seed: a non-negative integer.

    Example:
        >>> from twinor.config import load
        >>> cells = np.zeros((2, 8, 8), dtype=np.uint8)
        >>> a, b = sample_die(load("tiny"), cells, seed=7), sample_die(load("tiny"), cells[:1], seed=7)
        >>> bool(np.array_equal(a.threshold[0], b.threshold[0]))
        True
    """
    if seed < 0:
        raise ConfigError(f"die seed {seed} is not allowed: expected 0 or more")
    ideal = ideal_die(config, levels)
    strength, threshold = ideal.strength.copy(), ideal.threshold.copy()
    for m in range(levels.shape[0]):
        rng = np.random.default_rng([seed, m])
        strength[m] = _varied_cells(config, levels[m], rng)
        threshold[m] = _varied_thresholds(config, rng)
    return replace(ideal, seed=seed, strength=strength, threshold=threshold)


def _varied_cells(config: Config, levels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.int32]:
    top = (1 << config.cell_bits) - 1
    error = rng.standard_normal(levels.shape) * config.cell_sigma * top
    strength = np.clip(levels + error, 0.0, 2.0 * top)  # the behavioural array has headroom for twice the top level
    return np.rint(strength * (1 << config.frac_bits)).astype(np.int32)


def _varied_thresholds(config: Config, rng: np.random.Generator) -> NDArray[np.int32]:
    units = np.array(config.weights[::-1], dtype=np.float64)
    error = rng.standard_normal((config.n_adcs, config.trials)) * config.capacitor_sigma / np.sqrt(units)
    caps = units * (1.0 + error)
    total = caps.sum(axis=1, keepdims=True) + 1.0  # one dummy unit completes the array
    level = (caps @ _patterns(config).T) / total * (sum(config.weights) + 1)
    offset = rng.standard_normal((config.n_adcs, 1)) * config.comparator_sigma
    return _fixed_thresholds(config, level + offset)


def save_die(path: Path, die: Die) -> None:
    """Write a die as one file, whole or not at all.

    Raises:
        TwinorError: the file cannot be written.
    """
    header = {"config": die.config_digest, "levels": die.levels_digest, "seed": die.seed}
    tables = {name: getattr(die, name) for name in TABLES}
    write_archive(path, kind="die", header=header, arrays=tables)


def load_die(path: Path, config: Config, *, levels: NDArray[np.uint8] | None = None) -> Die:
    """Read a die and check it against the macro, and against the programmed levels if they are given.

    Raises:
        CorruptFile: missing, damaged, made for another configuration or other weights, or of the wrong shape or range.
    """
    header, tables = read_archive(path, kind="die", remedy=REMEDY)
    missing = {"config", "levels", "seed"} - set(header)
    if missing:
        raise CorruptFile(f"{path} does not say its {', '.join(sorted(missing))}; {REMEDY}")
    if header["config"] != config.digest():
        raise CorruptFile(f"{path} was made for another configuration than preset {config.name}; {REMEDY}")
    if levels is not None and header["levels"] != levels_digest(levels):
        raise CorruptFile(f"{path} was programmed with other weights than this network's; {REMEDY}")
    macros = max((1, *tables.get("strength", np.zeros(0)).shape[:1]))
    shapes = {
        "strength": (macros, config.rows, config.bit_lines),
        "drive": (macros, config.rows, 1 << config.dac_bits),
        "threshold": (macros, config.n_adcs, 1 << config.trials),
        "weight": (macros, config.trials),
        "gain": (macros, config.cols),
        "offset": (macros, config.cols),
    }
    for name, shape in shapes.items():
        table = tables.get(name, np.zeros(0))
        if table.shape != shape or table.dtype != np.int32:
            raise CorruptFile(f"{path}: {name} is {table.dtype}{table.shape}, expected int32{shape}; {REMEDY}")
    for name, (least, most) in _limits(config).items():
        low, high = int(tables[name].min()), int(tables[name].max())
        if low < least or high > most:
            raise CorruptFile(f"{path}: {name} {low} .. {high}, expected {least} .. {most}; {REMEDY}")
    if np.any(tables["drive"][:, :, 0]):
        raise CorruptFile(f"{path}: word-line code 0 drives a cell; {REMEDY}")
    return Die(
        config_digest=header["config"],
        levels_digest=header["levels"],
        seed=header["seed"],
        **{name: tables[name] for name in TABLES},
    )


def _limits(config: Config) -> dict[str, tuple[int, int]]:
    """Smallest and largest value of a table; without column correction there is one gain and one offset."""
    offset = 1 << OFFSET_BITS - 1 if config.column_correction else 0
    return {
        "strength": (0, 2 * ((1 << config.cell_bits) - 1) << config.frac_bits),
        "drive": (0, ((1 << config.dac_bits) - 1) << config.frac_bits),
        "weight": (0, (1 << config.adc_bits) - 1),
        "gain": (0, (1 << GAIN_BITS) - 1) if config.column_correction else (GAIN_ONE, GAIN_ONE),
        "offset": (-offset, max(offset - 1, 0)),
    }
