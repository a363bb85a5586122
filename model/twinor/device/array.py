# SPDX-License-Identifier: Apache-2.0
"""EKV cells in their array: word-line voltages, operating points along the wires, currents as far as they have settled.

Cells are programmed, and figures stated, at 25 C; thresholds are volts as there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twinor.device.ekv import current, gate_for, operating_point, thermal_voltage, threshold_for
from twinor.device.ladder import settled, solve
from twinor.device.model import CLOCK_MHZ
from twinor.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.device.ladder import Wires
    from twinor.device.model import Device

    Floats = NDArray[np.float64]

__all__ = [
    *("CELSIUS", "by_code", "currents", "device_of", "reference_threshold"),
    *("thresholds_of", "word_line_voltages"),
]

CELSIUS = 25.0
"""Temperature at which cells are programmed and figures are stated."""

FLOOR = 1e-6
"""Least current that a programmed cell's threshold is computed for, as a fraction of the top current."""

LEAKS = 2.0
"""And in leaks of a cell that is off, beneath which a threshold says nothing."""


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


def thresholds_of(config: Config, current_nA: Floats) -> Floats:
    """Thresholds in volts of cells that carry currents while they are read alone at 25 C with the largest code.

    Currents near the leak of a cell count as a little above it: such a cell is off.

    Raises:
        ConfigError: the cells have statistics of currents and no thresholds.
    """
    device = device_of(config)
    if device.cell is None or device.word_line is None or device.wires is None:
        raise ConfigError(f"preset {config.name}: regime {device.regime} has statistics of currents and no thresholds")
    at = {"gate": device.word_line.on_v, "drain": device.wires.v_clamp}
    least = max(FLOOR * device.top_current_nA, LEAKS * 1e-3 * device.cell.off_current_pA)
    return threshold_for(device.cell, np.maximum(current_nA, least), celsius=CELSIUS, **at)


def reference_threshold(config: Config) -> Floats:
    """Threshold of an exactly programmed cell at the middle level, in volts."""
    top = (1 << config.cell_bits) - 1
    return thresholds_of(config, np.asarray(device_of(config).top_current_nA * -(-top // 2) / top))


def by_code(config: Config, full: Floats) -> Floats:
    """What pulses of every length let through of what flows at the largest code, float64[rows, codes, bit_lines]."""
    codes = np.arange(1 << config.dac_bits) / ((1 << config.dac_bits) - 1)
    return full[:, None, :] * codes[:, None]


def word_line_voltages(config: Config, *, celsius: float, normal: Floats) -> Floats:
    """Word-line voltages, float64[rows, codes]: logarithms of the codes for the middle level, exact at 25 C.

    Args:
        config: the macro.
        celsius: where it is.
        normal: a standard normal draw for every level of every word line, float64[rows, codes].
    """
    device, codes = device_of(config), np.arange(1 << config.dac_bits)
    assert device.cell is not None and device.word_line is not None and device.wires is not None
    line, drain, reference = device.word_line, device.wires.v_clamp, reference_threshold(config)
    full = current(device.cell, gate=line.on_v, drain=drain, source=0.0, threshold=reference, celsius=CELSIUS)
    levels = np.zeros(len(codes))
    levels[1:] = gate_for(device.cell, full * codes[1:] / codes[-1], threshold=reference, drain=drain, celsius=CELSIUS)
    if line.proportional:
        ratio = float(thermal_voltage(celsius) / thermal_voltage(CELSIUS))
        levels[1:] = line.on_v + (levels[1:] - line.on_v) * ratio
    error = normal * line.sigma_mV * 1e-3
    error[:, 0] = 0.0
    return levels + error


def currents(config: Config, *, thresholds: Floats, gates: Floats, celsius: float) -> tuple[Floats, Floats]:
    """Currents of cells at the operating point of their columns, and what noise of word lines makes of them, rms.

    Args:
        config: the macro.
        thresholds: volts as at 25 C, float64[rows, bit_lines].
        gates: of every code, from `word_line_voltages`.
        celsius: where it is.

    Returns:
        Two of float64[rows, codes, bit_lines] in nA.

    Raises:
        TwinorError: the wires have no solution.
    """
    device = device_of(config)
    assert device.cell is not None and device.wires is not None and device.word_line is not None  # Device sees to it
    drain, source = _operating_point(config, thresholds, gates, celsius)
    at = {"drain": drain[:, None], "source": source[:, None], "threshold": thresholds[:, None]}
    volts, noise = (gates[:, -1:] if config.pulsed else gates)[:, :, None], device.word_line.noise_mV * 1e-3
    full: Floats = current(device.cell, gate=volts, celsius=celsius, **at)
    ripple = np.zeros_like(full)
    if noise:
        high, low = (current(device.cell, gate=volts + n, celsius=celsius, **at) for n in (noise, -noise))
        ripple = 0.5 * (high - low)
    share = _settled(config, device.wires)
    if config.pulsed:
        return by_code(config, full[:, 0]) * share, by_code(config, ripple[:, 0]) * share
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


def _operating_point(config: Config, thresholds: Floats, gates: Floats, celsius: float) -> tuple[Floats, Floats]:
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
            at = operating_point(cell, gate=gates[:, -1:], drain=vd, source=vs, threshold=thresholds, celsius=celsius)
            return share * at.current, share * at.drain, share * at.source

        found = solve(wires, cells, thresholds.shape)
        drain[group], source[group] = found.bit_line[group], found.source_line[group]
    return drain, source
