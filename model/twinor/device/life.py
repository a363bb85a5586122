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
from twinor.device.ageing import Bake, dose, program_disturb, read_disturb, retained
from twinor.device.defects import draw_defects, with_defects
from twinor.device.ekv import current, gate_for, operating_point, thermal_voltage, threshold_for
from twinor.device.ladder import settled, solve
from twinor.device.model import CLOCK_MHZ
from twinor.device.programming import ispp, relative
from twinor.device.telegraph import draw_telegraph
from twinor.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.device.ladder import Wires
    from twinor.device.model import Device

    Floats = NDArray[np.float64]
    Levels = NDArray[np.uint8]

__all__ = [
    *("CELSIUS", "History", "MacroTables", "array_unit_nA", "device_of", "fresh_thresholds", "headroom"),
    *("macro_tables", "programmed", "thresholds_now", "word_line_voltages"),
]

CELSIUS = 25.0
"""Temperature at which cells are programmed and figures are stated."""

PROGRAM, RETENTION, TRAPS, DEFECTS, WORD_LINES, CONVERTERS = range(2, 8)
"""Purposes of the generators of a macro."""

OFF = 1e-4
"""Current of a cell at level 0, as a fraction of the top current: it was programmed past every verify level."""

FLOOR = 1e-6
"""Least current that a programmed cell's threshold is computed for, as a fraction of the top current."""

ERASED_V = 0.5
"""How far below its target's lowest an erased cell begins, in volts."""

DAY_S = 86_400.0


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
    """

    config: Config
    levels: Levels
    programmed: Floats
    bakes: tuple[Bake, ...] = ()
    celsius: float = CELSIUS
    reads: int = 0
    threshold: NDArray[np.int32] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MacroTables:
    """Integers of one macro; fields as in `die.CellCurrents` and `die.Die`, without the axis of macros."""

    current: NDArray[np.int32]
    variance: NDArray[np.int32]
    trap: NDArray[np.int32]
    occupancy: NDArray[np.int32]
    conversion: NDArray[np.int64]
    threshold: NDArray[np.int32]


def _rng(seed: int, macro: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, macro, purpose])


def device_of(config: Config) -> Device:
    """The device of a configuration.

    Raises:
        ConfigError: it has none.
    """
    if config.device is None:
        raise ConfigError(
            f"preset {config.name} has no device: its cells are Gaussian and neither age nor heat; "
            "give it a table `device`, or take a preset that has one"
        )
    return config.device


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
        return fresh_thresholds(config, np.where(levels == 0, targets, np.maximum(error, FLOOR * top)), seed, macro)
    wanted = fresh_thresholds(config, targets, seed, macro) * 1e3
    start = np.full(levels.shape, wanted.min() - ERASED_V * 1e3)
    found, pulses = ispp(device.ispp, wanted, start_mV=start, rng=rng)
    if device.disturb is not None:
        found = found + program_disturb(pulses, per_pulse_mV=device.disturb.per_pulse_mV)
    return found * 1e-3


def thresholds_of(config: Config, current_nA: Floats) -> Floats:
    """Thresholds in volts of cells that carry currents while they are read alone at 25 C with the largest code."""
    device = device_of(config)
    if device.cell is None or device.word_line is None or device.wires is None:
        raise ConfigError(f"preset {config.name}: regime {device.regime} has statistics of currents and no thresholds")
    at = {"gate": device.word_line.on_v, "drain": device.wires.v_clamp}
    return threshold_for(device.cell, np.maximum(current_nA, FLOOR * device.top_current_nA), celsius=CELSIUS, **at)


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
    config, levels = history.config, history.levels[macro]
    device = device_of(config)
    if device.cell is None:
        currents = _measured(config, history, macro)
        ripple = np.zeros_like(currents)
    else:
        currents, ripple = _simulated(config, history, seed, macro)
    lost, occupancy = np.zeros(levels.shape), np.zeros(levels.shape)
    if device.traps is not None:
        lost, occupancy = _telegraph(config, thresholds_now(config, history, seed, macro), history.celsius, seed, macro)
    if device.defects is not None:
        state = draw_defects(device.defects, levels.shape, _rng(seed, macro, DEFECTS))[:, None]
        share = np.arange(1 << config.dac_bits)[:, None] / ((1 << config.dac_bits) - 1)
        on = 2.0 * device.top_current_nA * share  # an erased cell: the headroom of the array
        currents = with_defects(currents, state, on_nA=on, off_nA=OFF * device.top_current_nA * share)
        ripple = with_defects(ripple, state, on_nA=0.0, off_nA=0.0)
    noise = np.hypot(device.read_sigma * currents, ripple)
    if device.cell is None:
        noise = _by_code(config, sonos.read_sigma(currents[:, -1]))
    unit, most = array_unit_nA(config, history), headroom(config)
    one = 1 << 2 * config.frac_bits
    threshold, conversion = _converters(config, seed, macro)
    return MacroTables(
        current=np.clip(np.rint(currents / unit * one), 0, most).astype(np.int32),
        variance=np.clip(np.rint((noise / unit * one) ** 2), 0, np.iinfo(np.int32).max).astype(np.int32),
        trap=np.rint(lost * (1 << 16)).astype(np.int32),
        occupancy=np.rint(occupancy * 256).astype(np.int32),
        threshold=threshold,
        conversion=conversion,
    )


def _top_units(config: Config) -> int:
    return ((1 << config.cell_bits) - 1) * ((1 << config.dac_bits) - 1)


def headroom(config: Config) -> int:
    """Most that a cell of the behavioural array adds, twice the top level, in `2**(-2 * frac_bits)` array units."""
    return 2 * _top_units(config) << 2 * config.frac_bits


def _converters(config: Config, seed: int, macro: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Thresholds of the ADCs, and the variance of a conversion."""
    device, one = device_of(config), 1 << 2 * config.frac_bits
    converter = device.converter or Converter()
    drawn = cdac_levels(config, converter, _rng(seed, macro, CONVERTERS))
    variance = round((noise_lsb(config, converter) * one) ** 2)
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
    return _by_code(config, sonos.programmed(target, days, history.programmed[macro]))


def _by_code(config: Config, full: Floats) -> Floats:
    """What pulses of every length let through of what flows at the largest code, float64[rows, codes, bit_lines]."""
    codes = np.arange(1 << config.dac_bits) / ((1 << config.dac_bits) - 1)
    return full[:, None, :] * codes[:, None]


def _simulated(config: Config, history: History, seed: int, macro: int) -> tuple[Floats, Floats]:
    """Currents of EKV cells at the operating point of their columns, and what word-line noise makes of them, rms.

    Returns:
        Two of float64[rows, codes, bit_lines] in nA.
    """
    device = device_of(config)
    assert device.cell is not None and device.wires is not None and device.word_line is not None  # Device sees to it
    thresholds = thresholds_now(config, history, seed, macro)
    gates = word_line_voltages(config, history, seed, macro)
    drain, source = _operating_point(config, history, thresholds, gates)
    at = {"drain": drain[:, None], "source": source[:, None], "threshold": thresholds[:, None]}
    volts, noise = (gates[:, -1:] if config.pulsed else gates)[:, :, None], device.word_line.noise_mV * 1e-3
    full: Floats = current(device.cell, gate=volts, celsius=history.celsius, **at)
    ripple = np.zeros_like(full)
    if noise:
        high, low = (current(device.cell, gate=volts + n, celsius=history.celsius, **at) for n in (noise, -noise))
        ripple = 0.5 * (high - low)
    share = _settled(config, device.wires)
    if config.pulsed:
        return _by_code(config, full[:, 0]) * share, _by_code(config, ripple[:, 0]) * share
    return full * share, ripple * share


def _settled(config: Config, wires: Wires) -> Floats:
    """Share of every code's current that has come through when it is held, float64[rows, codes, 1]; nothing of code 0.

    Leaks of word lines that are off are below the resolution of a column.
    """
    cycle, codes = 1e3 / CLOCK_MHZ, np.arange(1 << config.dac_bits)
    waited = np.full(len(codes), config.settle_cycles * cycle)
    if config.pulsed:
        waited += (config.slots - codes) * cycle
    share = settled(wires, config.rows, ns=waited, pulse_ns=codes * cycle if config.pulsed else 0.0)
    share[:, 0] = 0.0
    return share[:, :, None]


def thresholds_now(config: Config, history: History, seed: int, macro: int) -> Floats:
    """Thresholds of a macro's cells after bakes and reads, in volts as at 25 C, float64[rows, bit_lines]."""
    fresh: Floats = history.programmed[macro]
    return _lived(config, history, fresh, _rng(seed, macro, RETENTION).standard_normal(fresh.shape))


def _lived(config: Config, history: History, fresh: Floats, normal: Floats | float) -> Floats:
    """Thresholds after the bakes and reads of a history; `normal` is a cell's own draw of its retention."""
    device, now = device_of(config), fresh
    if device.retention is not None and history.bakes:
        decades = dose(device.retention, history.bakes)
        now = retained(device.retention, fresh * 1e3, dose=decades, normal=normal) * 1e-3
    if device.disturb is not None and history.reads:
        now = now + read_disturb(history.reads, per_read_mV=device.disturb.per_read_mV) * 1e-3
    return now


def _reference_threshold(config: Config) -> Floats:
    """Threshold of an exactly programmed cell at the middle level."""
    top = (1 << config.cell_bits) - 1
    return thresholds_of(config, np.asarray(device_of(config).top_current_nA * -(-top // 2) / top))


def word_line_voltages(config: Config, history: History, seed: int, macro: int) -> Floats:
    """Word-line voltages, float64[rows, codes]: logarithms of the codes for the middle level, exact at 25 C."""
    device, codes = device_of(config), np.arange(1 << config.dac_bits)
    assert device.cell is not None and device.word_line is not None and device.wires is not None
    line, drain, reference = device.word_line, device.wires.v_clamp, _reference_threshold(config)
    full = current(device.cell, gate=line.on_v, drain=drain, source=0.0, threshold=reference, celsius=CELSIUS)
    levels = np.zeros(len(codes))
    levels[1:] = gate_for(device.cell, full * codes[1:] / codes[-1], threshold=reference, drain=drain, celsius=CELSIUS)
    if line.proportional:
        ratio = float(thermal_voltage(history.celsius) / thermal_voltage(CELSIUS))
        levels[1:] = line.on_v + (levels[1:] - line.on_v) * ratio
    error = _rng(seed, macro, WORD_LINES).standard_normal((config.rows, len(codes))) * line.sigma_mV * 1e-3
    error[:, 0] = 0.0
    return levels + error


def _operating_point(config: Config, history: History, thresholds: Floats, gates: Floats) -> tuple[Floats, Floats]:
    """Bit-line and source-line voltages at every cell while each word line of its group is on for `activity`."""
    device = device_of(config)
    cell, wires = device.cell, device.wires
    assert cell is not None and wires is not None
    drain, source = np.empty_like(thresholds), np.empty_like(thresholds)
    for top in range(0, config.rows, config.active_rows):
        group = slice(top, top + config.active_rows)
        share = np.zeros((config.rows, 1))
        share[group] = device.activity

        def cells(vd: Floats, vs: Floats, share: Floats = share) -> tuple[Floats, Floats, Floats]:
            at = operating_point(
                cell, gate=gates[:, -1:], drain=vd, source=vs, threshold=thresholds, celsius=history.celsius
            )
            return share * at.current, share * at.drain, share * at.source

        found = solve(wires, cells, thresholds.shape)
        drain[group], source[group] = found.bit_line[group], found.source_line[group]
    return drain, source


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
    unit = device.top_current_nA / _top_units(config)
    if not device.tracking or device.cell is None or device.word_line is None or device.wires is None:
        return unit
    fresh = _reference_threshold(config)
    aged = _lived(config, history, fresh, 0.0)
    at = {"gate": device.word_line.on_v, "drain": device.wires.v_clamp, "source": 0.0}
    now = current(device.cell, threshold=aged, celsius=history.celsius, **at)
    then = current(device.cell, threshold=fresh, celsius=CELSIUS, **at)
    return unit * float(now / then)
