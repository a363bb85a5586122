# SPDX-License-Identifier: Apache-2.0
"""Programming a die: the cells of its macros are brought to their levels by the program-verify controller."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from twinor.cells import PULSE_US, blank, settings_of
from twinor.device.array import device_of
from twinor.device.model import CLOCK_MHZ
from twinor.golden.flash_array import COARSE, ERASE, FINE
from twinor.golden.prog_ctrl import Programmed, groups, program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.die import Die
    from twinor.golden.prog_ctrl import Settings

__all__ = [
    "STATUSES",
    "LevelResult",
    "MacroResult",
    "by_level",
    "defects",
    "program_die",
    "programmed_die",
]

STATUSES = ("good", "under-programmed", "over-programmed", "erase failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class MacroResult:
    """What was done to one macro.

    Attributes:
        macro: its index on the die.
        rows: word lines that were programmed; the others were erased only.
        levels: target levels of all its cells, uint8[rows, bit_lines].
        settings: of the controller.
        done: the operation.
    """

    macro: int
    rows: range
    levels: NDArray[np.uint8]
    settings: Settings
    done: Programmed

    @property
    def pulses(self) -> tuple[int, int, int]:
        """Erase, coarse and fine pulses."""
        return self.done.erase_pulses, self.done.coarse_pulses, self.done.fine_pulses

    @property
    def seconds(self) -> float:
        """Time on the chip: pulses of `PULSE_US`, everything else in cycles of `CLOCK_MHZ`."""
        ramps = (self.settings.erase, self.settings.coarse, self.settings.fine)
        widths = sum(n * max(ramp.cycles, 1) for n, ramp in zip(self.pulses, ramps, strict=True))
        high = sum(n * PULSE_US[kind] for n, kind in zip(self.pulses, (ERASE, COARSE, FINE), strict=True))
        return ((self.done.cycles - widths) / CLOCK_MHZ + high) * 1e-6

    @property
    def status(self) -> NDArray[np.uint8]:
        """Status of each programmed cell, uint8[rows, groups, n_adcs]."""
        return self.done.passes[-1].status


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelResult:
    """Strengths that the cells of one level reached, in levels, and how many cells have each status."""

    level: int
    cells: int
    mean: float
    sigma: float
    low: float
    high: float
    statuses: tuple[int, ...]


def program_die(
    config: Config,
    die: Die,
    levels: NDArray[np.uint8],
    *,
    seed: int | None,
    macros: Sequence[int] | None = None,
    rows: int | None = None,
    retries: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[MacroResult]:
    """Erase macros of a die and program their first rows.

    Args:
        config: the macro.
        die: gives drive levels and thresholds.
        levels: target levels, uint8[macros, rows, bit_lines].
        seed: of the cells' spread, None for none.
        macros: which of them, all if None.
        rows: how many word lines of each, all if None.
        retries: how often a block with over-programmed cells is erased and programmed again.
        progress: called with the macros that are done, and how many there are.

    Example:
        >>> from twinor.config import load
        >>> from twinor.die import ideal_die
        >>> levels = np.ones((1, 8, 8), dtype=np.uint8)
        >>> results = program_die(load("tiny"), ideal_die(load("tiny"), levels), levels, seed=None)
        >>> by_level(load("tiny"), results)[0].cells, defects(load("tiny"), results)
        (64, [])
    """
    chosen = range(len(levels)) if macros is None else macros
    span, settings = range(config.rows if rows is None else rows), settings_of(config, retries=retries)
    results: list[MacroResult] = []
    for n, macro in enumerate(chosen):
        cells = blank(config, macro=macro, seed=seed)
        tables = die.drive[macro], die.threshold[macro]
        done = program(config, cells, *tables, levels[macro], settings, rows=span)
        results.append(MacroResult(macro=macro, rows=span, levels=levels[macro], settings=settings, done=done))
        if progress:
            progress(n + 1, len(chosen))
    return results


def programmed_die(config: Config, die: Die, results: Sequence[MacroResult], *, seed: int | None) -> Die:
    """The die with the strengths that its cells reached; cells that were not programmed are blank or erased.

    A die whose cells were not all programmed belongs to no weights, so its levels are not named.
    """
    strength = die.strength.copy()
    for macro in range(len(strength)):
        strength[macro] = blank(config, macro=macro, seed=seed).strength
    for result in results:
        strength[result.macro] = result.done.cells.strength
    whole = {r.macro for r in results if len(r.rows) == config.rows} == set(range(len(strength)))
    digest = die.levels_digest if whole else ""
    if die.history is not None:
        top = ((1 << config.cell_bits) - 1) << config.frac_bits
        reached = strength / top * device_of(config).top_current_nA
        return replace(die.with_currents(reached, measured=False), levels_digest=digest)
    return replace(die, seed=seed, strength=strength, levels_digest=digest)


def by_level(config: Config, results: Sequence[MacroResult]) -> list[LevelResult]:
    """Distribution of the reached strengths, one entry for each level that occurs."""
    top = 1 << config.frac_bits
    reached = np.concatenate([r.done.cells.strength[: len(r.rows)].ravel() for r in results]) / top
    levels = np.concatenate([r.levels[: len(r.rows)].ravel() for r in results])
    statuses = np.concatenate([_by_line(config, r.status).ravel() for r in results])
    found: list[LevelResult] = []
    for level in np.unique(levels).tolist():
        cells, status = reached[levels == level], statuses[levels == level]
        figures = (float(f(cells)) for f in (np.mean, np.std, np.min, np.max))
        mean, sigma, low, high = figures
        counts = tuple(np.bincount(status, minlength=len(STATUSES)).tolist())
        found.append(
            LevelResult(level=level, cells=len(cells), mean=mean, sigma=sigma, low=low, high=high, statuses=counts)
        )
    return found


def defects(config: Config, results: Sequence[MacroResult]) -> list[dict[str, Any]]:
    """The defect map: every cell that is not good, by macro, row, bit line and target level, with its status."""
    found: list[dict[str, Any]] = []
    for r in results:
        status = _by_line(config, r.status)
        for row, line in np.argwhere(status).tolist():
            place = {"macro": r.macro, "row": row, "bit_line": line, "level": int(r.levels[row, line])}
            found.append(place | {"status": STATUSES[status[row, line]]})
    return found


def _by_line(config: Config, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[rows, groups, n_adcs] in the order of the controller becomes [rows, bit_lines]."""
    order = groups(config, np.arange(config.bit_lines)[None]).ravel()
    lines = np.empty((len(table), config.bit_lines), dtype=np.uint8)
    lines[:, order] = table.reshape(len(table), -1)
    return lines
