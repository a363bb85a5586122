# SPDX-License-Identifier: Apache-2.0
"""What the cells and converters of a macro are made of: the table `device` of a preset.

A preset without it has Gaussian cells and capacitors, which neither age nor heat. The regime of the cells and the
coding of the inputs are one choice:

    subthreshold   I ~ exp(Vwl) * exp(-Vt): word-line voltages that are logarithms of the codes multiply; so do pulses
    triode         I ~ Vwl - Vt: the currents of a pair differ by k Vds (Vt- - Vt+), whatever Vwl, so only pulses and
                   one-bit slices multiply
    measured       SONOS statistics of currents at one word-line voltage, so only pulses and one-bit slices again
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from twinor.converter.cdac import Converter
from twinor.device.ageing import Disturb, Retention
from twinor.device.defects import DefectRates
from twinor.device.ekv import Ekv, inversion
from twinor.device.ladder import Wires
from twinor.device.programming import Ispp
from twinor.device.ranges import check_ranges
from twinor.device.sonos import TOP_NA
from twinor.device.telegraph import Traps
from twinor.errors import ConfigError

if TYPE_CHECKING:
    from twinor.config import Config

__all__ = ["CLOCK_MHZ", "REGIMES", "Device", "WordLine", "contradictions", "headroom", "top_units"]

REGIMES = ("subthreshold", "triode", "measured")

CLOCK_MHZ = 100
"""Clock of the macro, for what takes time in seconds."""

WEAK, STRONG = 1.0, 10.0
"""Inversion coefficients: up to where a cell is called subthreshold, and from where on triode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WordLine:
    """How word lines are driven.

    Raises:
        ConfigError: a value is not a number in its range.

    Example:
        >>> WordLine(on_v=-1.0)
        Traceback (most recent call last):
        twinor.errors.ConfigError: word_line: on_v = -1.0 is not allowed: expected 0.1 .. 10
    """

    on_v: float = 1.5
    """Voltage of the largest code at 25 C."""
    sigma_mV: float = 0.0
    """Standard deviation of each level of each word line's DAC, for life."""
    noise_mV: float = 0.0
    """Noise of a level from one conversion to the next, rms; columns see it as if each had its own."""
    proportional: bool = True
    """Whether the DAC's span is proportional to the absolute temperature, as the logarithm's is."""

    def __post_init__(self) -> None:
        """Check every value."""
        check_ranges("word_line", self, {"on_v": (0.1, 10.0), "sigma_mV": (0.0, 100.0), "noise_mV": (0.0, 100.0)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Physics of a macro; what is None has no part in it.

    Raises:
        ConfigError: a value is out of range, or two contradict each other.

    Example:
        >>> Device(regime="measured", top_current_nA=1600.0).cell is None
        True
    """

    regime: str
    """One of `REGIMES`."""
    top_current_nA: float
    """Current of a cell at the top level while its word line carries the largest code."""
    cell: Ekv | None = None
    """The kind of cell; for `subthreshold` and `triode`."""
    word_line: WordLine | None = None
    """For `subthreshold` and `triode`."""
    wires: Wires | None = None
    """For `subthreshold` and `triode`."""
    activity: float = 0.25
    """Share of the largest word-line codes at which the drop along the wires is computed."""
    ispp: Ispp | None = None
    """Programming by pulses of one step; without it the error is `cell_sigma` of the top current."""
    retention: Retention | None = None
    """For `subthreshold` and `triode`; without it cells do not age."""
    disturb: Disturb | None = None
    """For `subthreshold` and `triode`; without it reads and the programming of others leave a cell alone."""
    traps: Traps | None = None
    """Without it there is no random telegraph noise."""
    read_sigma: float = 0.0
    """Noise of one read, as a fraction of the cell's current; `measured` cells have their own."""
    defects: DefectRates | None = None
    """Without it every cell works."""
    tracking: bool = True
    """Whether reference cells of the same array set the ADCs' full scale, so that it follows temperature and time."""
    converter: Converter | None = None
    """Circuit values of the ADCs; ideal ones without it."""

    def __post_init__(self) -> None:
        """Check every value, then what values say together."""
        if self.regime not in REGIMES:
            raise ConfigError(f"device: regime = {self.regime!r} is not allowed: expected one of {', '.join(REGIMES)}")
        check_ranges("device", self, {"top_current_nA": (0.1, 1e6), "activity": (0.0, 1.0), "read_sigma": (0.0, 0.5)})
        physical = ("cell", "word_line", "wires")
        laws = (*physical, "ispp", "retention", "disturb", "traps", "read_sigma", "tracking", "activity")
        idle = laws if self.regime == "measured" else ()
        usual = {field.name: field.default for field in fields(self)}
        for key in idle:
            if getattr(self, key) != usual[key]:
                raise ConfigError(f"device: {key} has no effect in regime measured, whose currents are statistics")
        for key in () if self.regime == "measured" else physical:
            if getattr(self, key) is None:
                raise ConfigError(f"device: missing key {key}: regime {self.regime} needs it")
        if self.disturb is not None and self.disturb.per_pulse_mV and self.ispp is None:
            raise ConfigError("device: disturb.per_pulse_mV has no effect without ispp, whose pulses it counts")
        self._check_currents()

    def _check_currents(self) -> None:
        """The regime is where the top current lies."""
        if self.cell is None:
            if self.top_current_nA > TOP_NA:
                raise ConfigError(f"device: top_current_nA = {self.top_current_nA:g}: measured up to {TOP_NA:g}")
            return
        coefficient = float(inversion(self.cell, self.top_current_nA, celsius=25.0))
        if self.regime == "subthreshold" and coefficient > WEAK:
            raise ConfigError(
                f"device: regime subthreshold: top_current_nA = {self.top_current_nA:g} is {coefficient:.3g} times the "
                f"cell's specific current, so it is no exponential there: expected at most {WEAK:g} times"
            )
        if self.regime == "triode" and coefficient < STRONG:
            raise ConfigError(
                f"device: regime triode: top_current_nA = {self.top_current_nA:g} is {coefficient:.3g} times the "
                f"cell's specific current: expected at least {STRONG:g} times"
            )


def top_units(config: Config) -> int:
    """Array units of a cell at the top level while its word line carries the largest code."""
    return ((1 << config.cell_bits) - 1) * ((1 << config.dac_bits) - 1)


def headroom(config: Config) -> int:
    """Most that a cell of the behavioural array adds, twice the top level, in `2**(-2 * frac_bits)` array units."""
    return 2 * top_units(config) << 2 * config.frac_bits


def contradictions(c: Config) -> list[tuple[bool, str]]:
    """What device and macro say together: whether each rule is broken, and the sentence for it."""
    device = c.device
    if device is None:
        return []
    levels = c.dac_bits > 1 and not c.pulsed
    return [
        (
            levels and device.regime == "triode",
            (
                f"dac_bits = {c.dac_bits} drives word lines by levels of voltage, and in triode those do not multiply: "
                "the currents of a pair differ by k Vds (Vt- - Vt+), whatever the word line; use dac_bits = 1 or "
                "input_mode = pulse_width, or a subthreshold cell"
            ),
        ),
        (
            levels and device.regime == "measured",
            (
                f"dac_bits = {c.dac_bits} drives word lines by levels of voltage, and the statistics are of currents "
                "at one word-line voltage; use dac_bits = 1 or input_mode = pulse_width"
            ),
        ),
        (
            headroom(c) >= 1 << 31,
            (
                f"frac_bits = {c.frac_bits} with cell_bits = {c.cell_bits} and dac_bits = {c.dac_bits} lets a cell "
                f"have {headroom(c)} units of current: expected less than 2**31; take fewer frac_bits"
            ),
        ),
        (
            device.word_line is not None and not device.word_line.proportional and not levels and not c.pulsed,
            "word_line.proportional = false has no effect: one level of word-line voltage has no span",
        ),
        (
            (device.ispp is not None or device.regime == "measured") and c.cell_sigma != 0,
            f"cell_sigma = {c.cell_sigma:g} has no effect beside the device's own programming error: expected 0",
        ),
    ]
