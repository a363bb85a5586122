# SPDX-License-Identifier: Apache-2.0
"""The life of a die: floats of its physics, evaluated once per event and rounded once to the integers of `Die`.

    sample, program   thresholds (EKV cells) or deviations (measured cells) of every cell
    age, heat         the same cells after bakes, at a temperature
    read              the same cells after reads, where the array is disturbed by them
    tables            current of every cell at every word-line code, at the operating point of its column's wires,
                      as far as it has settled when it is held

One array unit is `top_current / (top level * top code)`; with `tracking` it is multiplied by what reference cells say:

    unit(T, dose) = unit * I_ref(T, dose) / I_ref(25 C, fresh)      I_ref: median cells at the middle level

Everything that is drawn comes from the generator `(seed, macro, purpose)`, so no draw depends on how many others there
are, and a die that is aged or heated keeps all of its cells' and converters' properties.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.converter.cdac import Converter, noise_lsb, thresholds
from twinor.converter.cdac import levels as cdac_levels
from twinor.device import sonos
from twinor.device.ageing import Bake, dose, read_disturb, retained
from twinor.device.array import CELSIUS, by_code, device_of, reference_threshold, thresholds_of, word_line_voltages
from twinor.device.array import currents as array_currents
from twinor.device.defects import draw_defects, with_defects
from twinor.device.ekv import current
from twinor.device.model import headroom, top_units
from twinor.device.programming import ispp, relative
from twinor.device.telegraph import draw_telegraph
from twinor.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config

    Floats = NDArray[np.float64]
    Levels = NDArray[np.uint8]

__all__ = [
    *("OPERATING", "History", "MacroTables", "array_unit_nA", "check_celsius", "fresh_thresholds", "gates_now"),
    *("macro_tables", "programmed", "thresholds_now"),
]

PROGRAM, RETENTION, TRAPS, DEFECTS, WORD_LINES, CONVERTERS = range(2, 8)
"""Purposes of the generators of a macro."""

OFF = 1e-4
"""Current of a cell at level 0, as a fraction of the top current: it was programmed past every verify level."""

ERASED_V = 0.5
"""How far below its target's lowest an erased cell begins, in volts."""

DAY_S = 86_400.0


OPERATING = (-40.0, 125.0)
"""Degrees Celsius at which a die works."""


def check_celsius(celsius: float) -> None:
    """Refuse a temperature at which no die works.

    Raises:
        ConfigError: it is beyond `OPERATING`, or no number.
    """
    number = isinstance(celsius, int | float) and not isinstance(celsius, bool)
    if not (number and OPERATING[0] <= celsius <= OPERATING[1]):
        raise ConfigError(f"celsius = {celsius!r} is not allowed: expected {OPERATING[0]:g} .. {OPERATING[1]:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What happened to a die since it was drawn.

    Attributes:
        config: the macro, with its device.
        levels: uint8[macros, rows, bit_lines], what its cells were programmed to.
        programmed: float64[macros, rows, bit_lines], thresholds in volts as at 25 C (EKV cells), or deviations in
            standard deviations (measured cells).
        bakes: what it went through since, the first one first.
        celsius: where it is now.
        reads: how often every word line was driven since.
        threshold: measured converters, as in `die.Die`; None for those that were drawn.
        measured: whether the currents of its cells were measured, defects and all, and not drawn.
    """

    config: Config
    levels: Levels
    programmed: Floats
    bakes: tuple[Bake, ...] = ()
    celsius: float = CELSIUS
    reads: int = 0
    threshold: NDArray[np.int32] | None = None
    measured: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MacroTables:
    """Integers of one macro; fields as in `die.CellCurrents` and `die.Die`, without the axis of macros."""

    current: NDArray[np.int32]
    variance: NDArray[np.int64]
    trap: NDArray[np.int32]
    occupancy: NDArray[np.int32]
    conversion: NDArray[np.int64]
    threshold: NDArray[np.int32]


def _rng(seed: int, macro: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, macro, purpose])


def _targets(config: Config, levels: Levels) -> Floats:
    """Currents that cells are programmed to, in nA, as read with the largest code."""
    top = device_of(config).top_current_nA
    return np.where(levels == 0, OFF * top, top * levels / ((1 << config.cell_bits) - 1))


def programmed(config: Config, levels: Levels, *, seed: int, macro: int) -> Floats:
    """What programming leaves in the cells of one macro, float64[rows, bit_lines]; see `History`.

    Args:
        config: the macro.
        levels: uint8[rows, bit_lines].
        seed: of the die.
        macro: which one.

    Raises:
        ConfigError: the configuration has no device.
    """
    device, rng = device_of(config), _rng(seed, macro, PROGRAM)
    if device.cell is None:
        return rng.standard_normal(levels.shape)
    targets, top = _targets(config, levels), device.top_current_nA
    if device.ispp is None:
        error = relative(targets, top=top, sigma=config.cell_sigma, normal=rng.standard_normal(levels.shape))
        return fresh_thresholds(config, np.where(levels == 0, targets, error), seed, macro)
    wanted = fresh_thresholds(config, targets, seed, macro) * 1e3
    start = np.full(levels.shape, wanted.min() - ERASED_V * 1e3)
    disturbs = 0.0 if device.disturb is None else device.disturb.per_pulse_mV
    return ispp(device.ispp, wanted, start_mV=start, rng=rng, disturb_mV=disturbs)[0] * 1e-3


def fresh_thresholds(config: Config, mean_nA: Floats, seed: int, macro: int) -> Floats:
    """Thresholds in volts of cells with these mean currents: verify reads average over their traps, filled and empty.

    Args:
        config: the macro.
        mean_nA: float64[rows, bit_lines], read alone at 25 C with the largest code.
        seed: of the die.
        macro: which one.

    Raises:
        ConfigError: the cells have statistics of currents and no thresholds.
    """
    thresholds = thresholds_of(config, mean_nA)
    if device_of(config).traps is None:
        return thresholds
    lost, occupancy = _telegraph(config, thresholds, CELSIUS, seed, macro)
    return thresholds_of(config, mean_nA / (1.0 - lost * occupancy))


def macro_tables(history: History, *, seed: int, macro: int) -> MacroTables:
    """The integers of one macro as it is now.

    Args:
        history: of the die.
        seed: of the die.
        macro: which one.

    Raises:
        ConfigError: the physics does not reach there: a temperature or an age that nobody measured.
        TwinorError: the wires have no solution.
    """
    config, one = history.config, 1 << 2 * history.config.frac_bits
    device, shape = device_of(config), history.levels[macro].shape
    unit = array_unit_nA(config, history)
    currents, ripple = _currents(config, history, seed, macro)
    lost, occupancy = np.zeros(shape), np.zeros(shape)
    if device.traps is not None:
        lost, occupancy = _telegraph(config, thresholds_now(config, history, seed, macro), history.celsius, seed, macro)
    if device.defects is not None and not history.measured:
        state = draw_defects(device.defects, shape, _rng(seed, macro, DEFECTS))[:, None]
        codes = np.arange(1 << config.dac_bits)[:, None]
        on = headroom(config) / one / codes[-1] * codes * unit  # an erased cell: all that there is room for
        currents = with_defects(currents, state, on_nA=on, off_nA=OFF * device.top_current_nA * codes / codes[-1])
        ripple = with_defects(ripple, state, on_nA=0.0, off_nA=0.0)
    currents = np.minimum(currents, headroom(config) / one * unit)
    noise = np.hypot(device.read_sigma * currents, ripple)
    if device.cell is None:
        noise = by_code(config, sonos.read_sigma(currents[:, -1]))
    threshold, conversion = _converters(config, history, seed, macro)
    return MacroTables(
        current=np.maximum(np.rint(currents / unit * one), 0).astype(np.int32),
        variance=_variance(config, noise / unit * one),
        trap=np.rint(lost * (1 << 16)).astype(np.int32),
        occupancy=np.rint(occupancy * 256).astype(np.int32),
        threshold=threshold,
        conversion=conversion,
    )


def _currents(config: Config, history: History, seed: int, macro: int) -> tuple[Floats, Floats]:
    """Currents of cells and their noise by word lines, both float64[rows, codes, bit_lines] in nA."""
    if device_of(config).cell is None:
        currents = _measured(config, history, macro)
        return currents, np.zeros_like(currents)
    thresholds, gates = thresholds_now(config, history, seed, macro), gates_now(config, history, seed, macro)
    return array_currents(config, thresholds=thresholds, gates=gates, celsius=history.celsius)


def _variance(config: Config, noise: Floats) -> NDArray[np.int64]:
    """Squares of noise, as far as sums over a column are exact.

    Raises:
        ConfigError: they are not.
    """
    variance = np.rint(noise**2)
    shifted = 2 * config.x_slices * config.dac_bits if config.analog_slices else 0
    limit = min(2.0**53, 2.0 ** (61 - shifted)) / config.active_rows
    if variance.max() > limit:
        raise ConfigError(
            f"preset {config.name}: cells make noise of {noise.max():.3g} units of 2**(-2 frac_bits), whose squares "
            f"have no exact sums: expected at most {limit**0.5:.3g}; take less noise, or fewer frac_bits"
        )
    return variance.astype(np.int64)


def _converters(config: Config, history: History, seed: int, macro: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Thresholds of the ADCs, and the variance of a conversion."""
    device, one = device_of(config), 1 << 2 * config.frac_bits
    converter = device.converter or Converter()
    drawn = cdac_levels(config, converter, _rng(seed, macro, CONVERTERS))
    variance = round((noise_lsb(config, converter, celsius=history.celsius) * one) ** 2)
    return thresholds(config, drawn), np.full(config.n_adcs, variance, dtype=np.int64)


def _measured(config: Config, history: History, macro: int) -> Floats:
    """Currents of cells with measured statistics, float64[rows, codes, bit_lines] in nA."""
    device = device_of(config)
    if history.celsius != CELSIUS or any(bake.celsius != CELSIUS for bake in history.bakes):
        raise ConfigError(
            f"preset {config.name}: its cells were measured at room temperature, not at {history.celsius:g} C or after "
            f"bakes: expected {CELSIUS:g} C throughout"
        )
    days = sum(bake.seconds for bake in history.bakes) / DAY_S
    target = device.top_current_nA * history.levels[macro] / ((1 << config.cell_bits) - 1)
    return by_code(config, sonos.programmed(target, days, history.programmed[macro]))


def thresholds_now(config: Config, history: History, seed: int, macro: int) -> Floats:
    """Thresholds of a macro's cells after bakes and reads, in volts as at 25 C, float64[rows, bit_lines]."""
    fresh: Floats = history.programmed[macro]
    return _lived(config, history, fresh, _rng(seed, macro, RETENTION).standard_normal(fresh.shape))


def gates_now(config: Config, history: History, seed: int, macro: int) -> Floats:
    """Word-line voltages of a macro where it is, float64[rows, codes]."""
    normal = _rng(seed, macro, WORD_LINES).standard_normal((config.rows, 1 << config.dac_bits))
    return word_line_voltages(config, celsius=history.celsius, normal=normal)


def _lived(config: Config, history: History, fresh: Floats, normal: Floats | float) -> Floats:
    """Thresholds after the bakes and reads of a history; `normal` is a cell's own draw of its retention."""
    device, now = device_of(config), fresh
    if device.retention is not None and history.bakes:
        decades = dose(device.retention, history.bakes)
        now = retained(device.retention, fresh * 1e3, dose=decades, normal=normal) * 1e-3
    if device.disturb is not None and history.reads:
        now = now + read_disturb(history.reads, per_read_mV=device.disturb.per_read_mV) * 1e-3
    return now


def _telegraph(config: Config, thresholds: Floats, celsius: float, seed: int, macro: int) -> tuple[Floats, Floats]:
    """Share of its current that an occupied trap takes from every cell, and its occupancy, [rows, bit_lines]."""
    device = device_of(config)
    assert device.traps is not None and device.cell is not None  # Device has seen to it
    assert device.word_line is not None and device.wires is not None
    drawn = draw_telegraph(device.traps, (config.rows, config.bit_lines), _rng(seed, macro, TRAPS))
    at = {"gate": device.word_line.on_v, "drain": device.wires.v_clamp, "source": 0.0, "celsius": celsius}
    empty = current(device.cell, threshold=thresholds, **at)
    full = current(device.cell, threshold=thresholds + drawn.amplitude_mV * 1e-3, **at)
    return 1.0 - full / empty, drawn.occupancy


def array_unit_nA(config: Config, history: History) -> float:
    """Current of one array unit, as the reference cells have it."""
    device = device_of(config)
    unit = device.top_current_nA / top_units(config)
    if not device.tracking or device.cell is None or device.word_line is None or device.wires is None:
        return unit
    fresh = reference_threshold(config)
    aged = _lived(config, history, fresh, 0.0)
    at = {"gate": device.word_line.on_v, "drain": device.wires.v_clamp, "source": 0.0}
    now = current(device.cell, threshold=aged, celsius=history.celsius, **at)
    then = current(device.cell, threshold=fresh, celsius=CELSIUS, **at)
    return unit * float(now / then)
