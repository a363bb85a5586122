# SPDX-License-Identifier: Apache-2.0
"""Time and temperature: how far products of a chip move, with and without reference cells, in pairs and single-ended.

Lines of the columns are fitted on the chip as it came and then kept, as a product keeps its trim:

    error = (measured - offset) / gain - ideal         drift = slope of (measured - offset) / gain by ideal, less 1

`tracking` is whether reference cells of the array set the ADCs' full scale. `differential` columns are pairs;
`single-ended` is their plus line alone, as a verify read selects it, at ADC steps of its own. A column of one line has
a large mean, so a common change of all cells is a large error; in a pair most of it cancels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.characterise.bench import read, single_ended_pattern
from twinor.characterise.chip import baked, heated, programmed, single_ended, tracked
from twinor.characterise.mac import decibels, fit_lines, inside
from twinor.device.model import headroom

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from twinor.characterise.bench import Pattern, Reading
    from twinor.characterise.chip import Chip
    from twinor.characterise.mac import Lines
    from twinor.config import Config
    from twinor.die import Die

    Floats = NDArray[np.float64]
    Progress = Callable[[str], None]

__all__ = ["DIFFERENTIAL", "SINGLE_ENDED", "Curve", "Moved", "Sweep", "ageing", "heating", "moved", "pairings"]

DIFFERENTIAL, SINGLE_ENDED = "differential", "single-ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Products at one point, against lines that were fitted before.

    Attributes:
        drift: relative change of the gain, in percent.
        error: rms, in array units.
        snr: power of the ideal products about their mean of a column, over that of the errors, in dB.
        clipped: part of the conversions at an end of the range.
    """

    drift: float
    error: float
    snr: float
    clipped: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One way of reading along a sweep.

    Attributes:
        tracking: reference cells set the full scale; None where there are none.
        pairing: `differential` or `single-ended`.
        points: at every value of the sweep.
        headroom: by point, part of the cells whose current ends at the headroom of the behavioural array.
    """

    tracking: bool | None
    pairing: str
    points: tuple[Moved, ...]
    headroom: tuple[float, ...]

    @property
    def name(self) -> str:
        """What it is called in tables and legends."""
        known = {True: ", tracked", False: ", not tracked", None: ""}
        return self.pairing + known[self.tracking]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep of hours at a temperature, or of temperatures.

    Attributes:
        axis: `hours` or `celsius`.
        at: values of it.
        curves: tracked ones first.
    """

    axis: str
    at: tuple[float, ...]
    curves: tuple[Curve, ...]


def pairings(config: Config) -> tuple[str, ...]:
    """How columns of a macro can be read.

    Example:
        >>> from twinor.config import load
        >>> pairings(load("tiny")), pairings(load("nor40_int4_exact"))
        (('differential', 'single-ended'), ('single-ended',))
    """
    return (DIFFERENTIAL, SINGLE_ENDED) if config.lines_per_cell == 2 else (SINGLE_ENDED,)


def moved(ideal: NDArray[np.integer], measured: NDArray[np.integer], lines: Lines, *, clipped: float = 0.0) -> Moved:
    """Products against kept lines.

    Args:
        ideal: int[V, C] in array units.
        measured: int[V, C] in array units.
        lines: of the columns.
        clipped: part of the conversions at an end of the range.

    Example:
        >>> from twinor.characterise.mac import Lines
        >>> ideal = np.arange(-50, 50)[:, None]
        >>> lines = Lines(gain=np.array([2.0]), offset=np.array([7.0]))
        >>> found = moved(ideal, 2.2 * ideal + 7, lines)
        >>> round(found.drift, 6), round(found.snr, 2)
        (10.0, 20.0)
    """
    now = (measured - lines.offset) / lines.gain
    error, power = now - ideal, float((ideal.astype(np.float64) ** 2).sum())
    signal = float(ideal.var(axis=0).mean())
    return Moved(
        drift=100.0 * float((error * ideal).sum()) / power if power else 0.0,
        error=float(np.sqrt((error**2).mean())),
        snr=float(decibels(signal, float((error**2).mean()))),
        clipped=clipped,
    )


def ageing(
    chip: Chip,
    known: Pattern,
    hours: Sequence[float],
    *,
    celsius: float,
    backend: str = "fast",
    progress: Progress = lambda _what: None,
) -> Sweep:
    """Bake a chip for hours at a temperature and read it where it stands.

    Args:
        chip: as it came, trimmed.
        known: what it is programmed with and driven by.
        hours: rising; 0 is the chip as it came.
        celsius: of the bake.
        backend: the engine.
        progress: called before every point, with what it is.

    Raises:
        ConfigError: the physics does not reach there.
    """

    def at(one: Chip, die: Die, value: float) -> Die:
        progress(f"after {value:g} h at {celsius:g} C")
        return baked(one, die, hours=value, celsius=celsius)

    return _sweep("hours", chip, known, hours, at, backend)


def heating(
    chip: Chip,
    known: Pattern,
    celsius: Sequence[float],
    *,
    backend: str = "fast",
    progress: Progress = lambda _what: None,
) -> Sweep:
    """Read a chip at temperatures; arguments and errors as of `ageing`."""

    def at(one: Chip, die: Die, value: float) -> Die:
        progress(f"at {value:g} C")
        return heated(one, die, celsius=value)

    return _sweep("celsius", chip, known, celsius, at, backend)


def _sweep(
    axis: str, chip: Chip, known: Pattern, values: Sequence[float], at: Callable[[Chip, Die, float], Die], backend: str
) -> Sweep:
    """All ways of reading along a sweep; cells that were measured know nothing of reference cells."""
    device = chip.config.device
    modes: tuple[bool | None, ...] = (None,) if device is None or device.cell is None else (True, False)
    curves: list[Curve] = []
    for tracking in modes:
        one = chip if tracking is None else tracked(chip, on=tracking)
        curves += _curves(one, known, values, at, tracking=tracking, backend=backend)
    return Sweep(axis=axis, at=tuple(map(float, values)), curves=tuple(curves))


def _curves(
    chip: Chip,
    known: Pattern,
    values: Sequence[float],
    at: Callable[[Chip, Die, float], Die],
    *,
    tracking: bool | None,
    backend: str,
) -> list[Curve]:
    """Both pairings of one chip."""
    config, names = chip.config, pairings(chip.config)
    patterns = {name: known if name == names[0] else single_ended_pattern(config, known) for name in names}
    fresh = programmed(chip, known.levels)
    lines = {name: _lines(config, fresh, of, name, backend) for name, of in patterns.items()}
    points: dict[str, list[Moved]] = {name: [] for name in names}
    headroom = []
    for value in values:
        die = at(chip, fresh, value)
        headroom.append(_at_headroom(config, die))
        for name, of in patterns.items():
            got, within = _read(config, die, of, name, backend)
            points[name].append(moved(of.dot, got.mac, lines[name], clipped=1.0 - float(within.mean())))
    return [
        Curve(tracking=tracking, pairing=name, points=tuple(points[name]), headroom=tuple(headroom)) for name in names
    ]


def _lines(config: Config, die: Die, known: Pattern, pairing: str, backend: str) -> Lines:
    got, within = _read(config, die, known, pairing, backend)
    return fit_lines(known.dot, got.mac, within)


def _read(config: Config, die: Die, known: Pattern, pairing: str, backend: str) -> tuple[Reading, NDArray[np.bool_]]:
    """Codes, and which products no conversion clipped."""
    shown = single_ended(config, die) if pairing == SINGLE_ENDED and config.lines_per_cell == 2 else die
    got = read(config, shown, known.steps, known.activations, backend=backend)
    return got, inside(config, shown, got)


def _at_headroom(config: Config, die: Die) -> float:
    """Part of the cells that would carry more than the behavioural array has room for."""
    if die.cells is None:
        return 0.0
    return float(np.mean(die.cells.current[0, :, -1] >= headroom(config)))
