# SPDX-License-Identifier: Apache-2.0
"""A die: the integers that make one chip different from another, drawn once and kept in a file.

A die carries as many macros as a network needs. Every engine reads the same tables:

    strength[macro, row, bit_line]    what a cell adds per drive level        2**-frac_bits levels
    drive[macro, row, code]           what a word-line code drives            2**-frac_bits input steps
    threshold[macro, adc, trial]      comparator threshold of a SAR trial     2**(-2 * frac_bits) LSB
    weight[macro, trial]              what a kept SAR trial adds to the code  LSB
    gain[macro, column]               column correction: factor of a code     1/256
    offset[macro, column]             column correction: added to the product 1/256 LSB

A cell whose current does not separate into strength and drive, and every noisy one, has tables of its own instead:

    current[macro, row, code, bit_line]   what it adds                        2**(-2 * frac_bits) array units
    variance[macro, row, code, bit_line]  of its noise                        the square of that
    trap[macro, row, bit_line]            what an occupied trap takes away    2**-16 of its current
    occupancy[macro, row, bit_line]       how often it is occupied            1/256
    conversion[macro, adc]                variance of a conversion            2**(-4 * frac_bits) LSB squared

A SAR trial is named by the bits of the trials kept before it and its own, the first trial in the top bit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from twinor.converter.cdac import NEVER, Converter, patterns, thresholds
from twinor.converter.cdac import levels as cdac_levels
from twinor.device.ageing import Bake
from twinor.device.array import device_of
from twinor.device.life import History, check_celsius, fresh_thresholds, macro_tables, programmed
from twinor.device.model import headroom
from twinor.errors import ConfigError
from twinor.golden.column_correct import GAIN_ONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config

__all__ = [
    *("CELL_TABLES", "TABLES", "CellCurrents", "Die", "cut_out"),
    *("ideal_die", "ideal_thresholds", "levels_digest", "sample_die"),
]

TABLES = ("strength", "drive", "threshold", "weight", "gain", "offset")
CELL_TABLES = ("current", "variance", "trap", "occupancy", "conversion")


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCurrents:
    """Cells one by one, where `strength` and `drive` do not tell all; see the module's docstring for units.

    Attributes:
        current: int32[macros, rows, 2**dac_bits, bit_lines], at least 0; code 0 draws nothing.
        variance: int64 of the same shape, at least 0.
        trap: int32[macros, rows, bit_lines], 0 .. 2**16.
        occupancy: int32[macros, rows, bit_lines], 0 .. 256.
        conversion: int64[macros, n_adcs], at least 0.
        noise_seed: key of the noise.
        first_macro: what macro 0 is called there; a die that was cut out of a larger one keeps its noise.
    """

    current: NDArray[np.int32]
    variance: NDArray[np.int64]
    trap: NDArray[np.int32]
    occupancy: NDArray[np.int32]
    conversion: NDArray[np.int64]
    noise_seed: int
    first_macro: int = 0

    @property
    def noisy(self) -> bool:
        """True if two conversions of the same inputs may differ."""
        return any(bool(table.any()) for table in (self.variance, self.trap, self.conversion))


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
        cells: cells one by one; None where strength and drive tell all and nothing is noisy.
        history: what the die went through, None where it has no physics.
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
    cells: CellCurrents | None = None
    history: History | None = None

    @staticmethod
    def sample(config: Config, *, seed: int, macros: int = 1) -> Die:
        """A die whose cells are all at level 0.

        Example:
            >>> from twinor.config import load
            >>> levels = np.full((1, 128, 128), 7, dtype=np.uint8)
            >>> die = Die.sample(load("nor55_subthreshold"), seed=7).program(levels).age(hours=1000).at(celsius=85)
            >>> die.history.celsius, die.history.bakes[0].seconds, die.noisy
            (85.0, 3600000.0, True)
        """
        return sample_die(config, np.zeros((macros, config.rows, config.bit_lines), dtype=np.uint8), seed=seed)

    def program(self, levels: NDArray[np.uint8]) -> Die:
        """The same die where it is, with fresh cells at other levels, uint8[macros, rows, bit_lines]."""
        history, seed = self._lived(), self.seed or 0
        if levels.shape != history.levels.shape:
            raise ConfigError(f"levels {levels.shape}: this die has cells {history.levels.shape}")
        cells = [programmed(history.config, one, seed=seed, macro=m) for m, one in enumerate(levels)]
        fresh = replace(history, levels=levels, programmed=np.stack(cells), bakes=(), reads=0, measured=False)
        return self.after(fresh)

    def holding(self, config: Config, levels: NDArray[np.uint8]) -> Die:
        """This die as it would be had it held other levels from the first: as old, as warm, its registers as they are.

        Args:
            config: the macro.
            levels: uint8[macros, rows, bit_lines], of as many macros as the die has, or fewer.

        Raises:
            ConfigError: it has fewer macros, or other cells, or cells that were measured as they are.

        Example:
            >>> from twinor.config import load
            >>> config, levels = load("nor55_subthreshold"), np.full((1, 128, 128), 7, dtype=np.uint8)
            >>> held = Die.sample(config, seed=7, macros=2).age(hours=1000).holding(config, levels)
            >>> held.strength.shape, held.history.bakes[0].seconds
            ((1, 128, 128), 3600000.0)
        """
        macros = len(levels)
        if macros > len(self.strength) or levels.shape[1:] != self.strength.shape[1:]:
            raise ConfigError(
                f"levels {levels.shape}: this die has cells {self.strength.shape}; expected a die of as many macros or "
                "more, as `Die.sample(config, seed=..., macros=...)` draws it"
            )
        if self.history is not None and self.history.measured:
            raise ConfigError(
                "the cells of this die were measured with the levels they hold, and nobody knows them with others: "
                "expected a die whose cells were drawn; measured converters stay"
            )
        own = {name: getattr(self, name)[:macros] for name in ("threshold", "weight", "gain", "offset")}
        if self.history is None:
            new = ideal_die(config, levels) if self.seed is None else sample_die(config, levels, seed=self.seed)
            return replace(new, **own)
        cells = [programmed(config, one, seed=self.seed or 0, macro=m) for m, one in enumerate(levels)]
        threshold = None if self.history.threshold is None else own["threshold"]
        lived = replace(self.history, levels=levels, programmed=np.stack(cells), threshold=threshold)
        return replace(self.after(lived), **own)

    def age(self, *, hours: float, celsius: float | None = None) -> Die:
        """The same die some hours later, kept at a temperature; where it is now if None.

        Raises:
            ConfigError: the die has no physics, or hours and temperature are beyond it.
        """
        history = self._lived()
        bake = Bake(seconds=hours * 3600.0, celsius=history.celsius if celsius is None else celsius)
        return self.after(replace(history, bakes=(*history.bakes, bake)))

    def read(self, times: int) -> Die:
        """The same die after so many more reads of every word line.

        Raises:
            ConfigError: the die has no physics, reads do not disturb it, or the number is below 0.
        """
        history = self._lived()
        device = device_of(history.config)
        if device.disturb is None or not device.disturb.per_read_mV:
            raise ConfigError(f"preset {history.config.name}: reads change nothing: expected disturb.per_read_mV")
        if times < 0:
            raise ConfigError(f"reads = {times} is not allowed: expected 0 or more")
        return self.after(replace(history, reads=history.reads + times))

    def at(self, *, celsius: float) -> Die:
        """The same die at another temperature; errors as for `age`."""
        check_celsius(celsius)
        return self.after(replace(self._lived(), celsius=float(celsius)))

    def with_currents(self, current_nA: NDArray[np.float64], *, measured: bool = True) -> Die:
        """The same die with fresh cells that carry these currents, read alone at 25 C with the largest code.

        Args:
            current_nA: float64[macros, rows, bit_lines].
            measured: on a chip, defects and all; false for a controller's cells, whose defects are still to come.

        Raises:
            ConfigError: the die has no physics, or its cells have statistics of currents and no thresholds.
        """
        history, seed = self._lived(), self.seed or 0
        cells = [fresh_thresholds(history.config, c, seed, m) for m, c in enumerate(current_nA)]
        fresh = replace(history, programmed=np.stack(cells), bakes=(), reads=0, measured=measured)
        return self.after(fresh)

    def with_transitions(self, config: Config, level_lsb: NDArray[np.float64]) -> Die:
        """The same die with measured converters.

        Args:
            config: the macro.
            level_lsb: input at which the code becomes `code_min + t` for t = 1, 2, ..., in LSB,
                float64[macros, n_adcs, 2**adc_bits - 1].

        Raises:
            ConfigError: the search is redundant, so that a transition is not the threshold of one trial.
        """
        if config.sar_weights != "binary":
            raise ConfigError(
                f"preset {config.name}: sar_weights are redundant, and their thresholds do not follow from transitions"
            )
        threshold = np.full((*level_lsb.shape[:2], 1 << config.adc_bits), NEVER, dtype=np.int32)
        threshold[..., 1:] = np.rint(level_lsb * (1 << 2 * config.frac_bits))
        history = None if self.history is None else replace(self.history, threshold=threshold)
        return replace(self, threshold=threshold, history=history)

    def after(self, history: History) -> Die:
        """The die that another history has left, its registers as they were; errors as for `age`."""
        new, own, cells = _physical(history, seed=self.seed or 0), self.cells, None
        if own is not None and new.cells is not None:
            cells = replace(new.cells, noise_seed=own.noise_seed, first_macro=own.first_macro)
        return replace(new, cells=cells, weight=self.weight, gain=self.gain, offset=self.offset)

    def _lived(self) -> History:
        if self.history is None:
            raise ConfigError("this die has no physics: take a preset with a table `device`, and a seed")
        return self.history

    @property
    def noisy(self) -> bool:
        """True if two conversions of the same inputs may differ."""
        return self.cells is not None and self.cells.noisy

    @property
    def clipped(self) -> int:
        """Cells at twice the top level, all that the behavioural array has room for: they may carry more.

        Example:
            >>> from twinor.config import load
            >>> levels = np.full((1, 128, 128), 7, dtype=np.uint8)
            >>> Die.sample(load("nor55_subthreshold"), seed=7).program(levels).clipped  # when its trap is empty
            1
        """
        if self.cells is None or self.history is None:
            return 0
        return int((self.cells.current[:, :, -1] >= headroom(self.history.config)).sum())


def levels_digest(levels: NDArray[np.uint8]) -> str:
    """SHA-256 of programmed cell levels, 64 hexadecimal digits."""
    return hashlib.sha256(repr(levels.shape).encode() + levels.tobytes()).hexdigest()


def ideal_thresholds(config: Config) -> NDArray[np.int32]:
    """Thresholds of every ADC, int32[n_adcs, 2**trials], in `2**(-2 * frac_bits)` LSB: half steps, or truncation's."""
    level = (patterns(config) @ np.array(config.weights[::-1])).astype(np.float64)
    return np.tile(thresholds(config, level), (config.n_adcs, 1))


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
    if config.device is not None:
        cells = [programmed(config, levels[m], seed=seed, macro=m) for m in range(len(levels))]
        return _physical(History(config=config, levels=levels, programmed=np.stack(cells)), seed=seed)
    ideal = ideal_die(config, levels)
    strength, threshold = ideal.strength.copy(), ideal.threshold.copy()
    for m in range(levels.shape[0]):
        rng = np.random.default_rng([seed, m])
        strength[m] = _varied_cells(config, levels[m], rng)
        threshold[m] = thresholds(config, cdac_levels(config, Converter(), rng))
    return replace(ideal, seed=seed, strength=strength, threshold=threshold)


def _physical(history: History, *, seed: int) -> Die:
    """The die that a history has left."""
    config, ideal = history.config, ideal_die(history.config, history.levels)
    tables = [macro_tables(history, seed=seed, macro=m) for m in range(len(history.levels))]
    own: dict[str, Any] = {name: np.stack([getattr(t, name) for t in tables]) for name in CELL_TABLES}
    top = ((1 << config.dac_bits) - 1) << config.frac_bits
    return replace(
        ideal,
        seed=seed,
        strength=np.rint(own["current"][:, :, -1] / top).astype(np.int32),
        threshold=np.stack([t.threshold for t in tables]) if history.threshold is None else history.threshold,
        cells=CellCurrents(noise_seed=seed, **own),
        history=history,
    )


def _varied_cells(config: Config, levels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.int32]:
    top = (1 << config.cell_bits) - 1
    error = rng.standard_normal(levels.shape) * config.cell_sigma * top
    strength = np.clip(levels + error, 0.0, 2.0 * top)  # the behavioural array has headroom for twice the top level
    return np.rint(strength * (1 << config.frac_bits)).astype(np.int32)


def cut_out(die: Die, macro: int) -> Die:
    """One macro of a die as a die of its own, with the same noise, as it is now and for good."""
    one = slice(macro, macro + 1)
    cells = die.cells
    if cells is not None:
        own = {name: getattr(cells, name)[one] for name in CELL_TABLES}
        cells = replace(cells, first_macro=cells.first_macro + macro, **own)
    return replace(die, cells=cells, history=None, **{name: getattr(die, name)[one] for name in TABLES})
