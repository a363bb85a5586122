# SPDX-License-Identifier: Apache-2.0
"""The configuration of one macro: a preset file becomes a frozen, checked `Config` with its derived widths."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from twinor.device.model import Device
from twinor.errors import ConfigError
from twinor.limits import (
    ACCUMULATIONS,
    ADD_BITS,
    ANALOG,
    DIGITAL,
    ENCODINGS,
    INPUT_MODES,
    MULT_BITS,
    SHIFT_MAX,
    allowed_text,
    check_value,
    contradictions,
)
from twinor.strict_yaml import check_keys, read_table, record_of
from twinor.weights import Packed, check_weights

__all__ = [
    "ACCUMULATIONS", "ADD_BITS", "ANALOG", "DIGITAL", "ENCODINGS", "INPUT_MODES", "MULT_BITS", "PRESETS", "SHIFT_MAX",
    "Config", "config_of", "load", "replace",
]  # fmt: skip

PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One macro, as its preset file states it; derived figures are properties.

    Raises:
        ConfigError: a value is out of range or two values contradict each other.

    Example:
        >>> cfg = load("nor40_int4")
        >>> cfg.x_slices, cfg.w_slices, cfg.n_adcs, cfg.bit_lines
        (2, 1, 8, 128)
    """

    name: str
    """Preset name, equal to its file name."""
    follows: str
    """The published macro, or the purpose, that the preset follows."""
    rows: int
    """Word lines of the macro."""
    cols: int
    """Columns of the array; each takes `bit_lines / cols` physical bit lines."""
    active_rows: int
    """Word lines driven at once (one row group)."""
    cols_per_adc: int
    """Columns that share one ADC through the column multiplexer."""
    weight_encoding: str
    """`differential` pair, `offset` column or `twos_complement` bit slices."""
    weight_bits: int
    """Bits of a signed weight."""
    cell_bits: int
    """Bits of one cell: levels 0 .. 2**cell_bits - 1."""
    input_bits: int
    """Bits of an activation, unsigned or in two's complement."""
    dac_bits: int
    """Bits of the word-line DAC: one input slice."""
    input_mode: str
    """`voltage`: a word line holds its code's level; `pulse_width`: it is high for as many cycles as its code says."""
    slice_accumulation: str
    """`digital`: each input slice is converted; `analog`: charge sharing weighs them, one conversion for all."""
    bias_rows: int
    """Word lines of a layer that the placer fills with its bias."""
    bias_code: str | int
    """What drives them: `largest`, for the largest code of an activation, or a code."""
    adc_bits: int
    """Bits of the SAR ADC's code."""
    sar_weights: str | tuple[int, ...]
    """`binary`, or the weight of each trial from first to last: a redundant search, longer than `adc_bits`."""
    column_correction: bool
    """Codes are corrected by a gain and an offset of each physical column."""
    ref_cols: bool
    """The first ADC's columns hold the offset, and its codes are subtracted, instead of what word lines add up to."""
    wl_cycles: int
    """Clock cycles from a word-line change to a steady word line; the slots of a pulse."""
    settle_cycles: int
    """Clock cycles from a steady word line to a steady bit line."""
    in_lanes: int
    """Activations in one beat of the input stream."""
    max_rounds: int
    """Length of the round memory: the longest chain."""
    psum_bits: int
    """Bits of a signed partial sum that enters the macro."""
    step: str
    """ADC steps: `calibrated` per layer and slice, or `unit` (one array unit)."""
    adc_rounding: str
    """Of an ideal conversion: `nearest`, halves up, or `toward_zero`."""
    frac_bits: int
    """Fraction bits of a cell strength and of a drive level."""
    cell_sigma: float
    """Standard deviation of a programmed cell, as a fraction of the top level."""
    capacitor_sigma: float
    """Relative standard deviation of the CDAC's unit capacitor."""
    comparator_sigma: float
    """Standard deviation of a comparator's offset, in LSB."""
    device: Device | None = None
    """Physics of cells and converters; without it both are Gaussian, and neither ages nor heats."""

    def __post_init__(self) -> None:
        """Check every value, then what values say together."""
        if isinstance(self.sar_weights, list):  # as YAML and JSON have it
            object.__setattr__(self, "sar_weights", tuple(self.sar_weights))
        for key, allowed in (DIGITAL | ANALOG).items():
            if not (key == "sar_weights" and isinstance(self.sar_weights, tuple)):
                check_value(self.name, key, getattr(self, key), allowed)
        check_weights(self.name, self.sar_weights, self.adc_bits)
        for broken, message in contradictions(self):
            if broken:
                raise ConfigError(f"preset {self.name}: {message}")

    @property
    def x_slices(self) -> int:
        """Input slices of one activation."""
        return -(-self.input_bits // self.dac_bits)

    @property
    def w_slices(self) -> int:
        """Weight slices: cells (or pairs of cells) of one weight."""
        return -(-self.stored_bits // self.cell_bits)

    @property
    def stored_bits(self) -> int:
        """Bits of a weight that cells store: a differential pair keeps the sign, and at least one bit of magnitude."""
        return max(self.weight_bits - 1, 1) if self.weight_encoding == "differential" else self.weight_bits

    @property
    def analog_slices(self) -> bool:
        """True if one conversion serves all input slices."""
        return self.slice_accumulation == "analog"

    @property
    def pulsed(self) -> bool:
        """True if a word line carries a pulse, not a level."""
        return self.input_mode == "pulse_width"

    @property
    def slots(self) -> int:
        """Cycles of the longest pulse: the largest word-line code."""
        return (1 << self.dac_bits) - 1

    @property
    def wl_bits(self) -> int:
        """Bits of one word line at the analog seam: the code, or the one bit of a pulse."""
        return 1 if self.pulsed else self.dac_bits

    @property
    def lines_per_cell(self) -> int:
        """Bit lines of one weight slice: two for a differential pair."""
        return 2 if self.weight_encoding == "differential" else 1

    @property
    def bit_lines(self) -> int:
        """Physical bit lines of the array."""
        return self.cols * self.w_slices * self.lines_per_cell

    @property
    def n_adcs(self) -> int:
        """ADCs; column c of the array belongs to ADC `c % n_adcs` at multiplexer position `c // n_adcs`."""
        return self.cols // self.cols_per_adc

    @property
    def n_lanes(self) -> int:
        """Output columns of a multiplexer position: one of each ADC but that of the reference columns."""
        return self.n_adcs - self.ref_cols

    @property
    def out_cols(self) -> int:
        """Output columns of one MVM; column c is lane `c % n_lanes` of multiplexer position `c // n_lanes`."""
        return self.n_lanes * self.cols_per_adc

    @property
    def bipolar(self) -> bool:
        """True if the conversion is signed: code = trial - 2**(adc_bits - 1)."""
        return self.weight_encoding == "differential"

    @property
    def code_min(self) -> int:
        """Smallest ADC code."""
        return -(1 << (self.adc_bits - 1)) if self.bipolar else 0

    @property
    def code_max(self) -> int:
        """Largest ADC code."""
        return self.code_min + (1 << self.adc_bits) - 1

    @property
    def weights(self) -> tuple[int, ...]:
        """Nominal weight of each SAR trial, first trial first."""
        if isinstance(self.sar_weights, tuple):
            return self.sar_weights
        return tuple(1 << bit for bit in reversed(range(self.adc_bits)))

    @property
    def trials(self) -> int:
        """Trials of one conversion."""
        return len(self.weights)

    @property
    def code_bits(self) -> int:
        """Bits of a code in two's complement, unsigned codes included."""
        return self.adc_bits + 1

    @property
    def weight_offset(self) -> int:
        """What offset encoding adds to a weight before it is programmed."""
        return 1 << (self.weight_bits - 1) if self.weight_encoding == "offset" else 0

    @property
    def digital_offset(self) -> int:
        """Offset that shift-add takes back by the sum of the word lines, where no reference column does."""
        return 0 if self.ref_cols else self.weight_offset

    @property
    def weight_min(self) -> int:
        """Smallest weight the encoding holds; a pair holds -1, 0 and 1 even for one bit."""
        return -self.weight_max if self.weight_encoding == "differential" else -(1 << (self.weight_bits - 1))

    @property
    def weight_max(self) -> int:
        """Largest weight the encoding holds."""
        stored = self.stored_bits if self.weight_encoding == "differential" else self.weight_bits - 1
        return (1 << stored) - 1

    @property
    def column_max(self) -> int:
        """Largest column quantity of an ideal die, in array units."""
        return self.active_rows * ((1 << self.dac_bits) - 1) * ((1 << self.cell_bits) - 1)

    @property
    def held_max(self) -> int:
        """Largest quantity that the ADC of an ideal die converts, in array units: of one input slice or of all."""
        slices = sum(1 << (i * self.dac_bits) for i in range(self.x_slices)) if self.analog_slices else 1
        return self.column_max * slices

    @property
    def step_shift_max(self) -> int:
        """log2 of the largest ADC step: its range covers `held_max`, but thresholds must be fine enough to truncate."""
        codes = min(-self.code_min, self.code_max) if self.bipolar else self.code_max
        covers = (-(-self.held_max // codes) - 1).bit_length() if self.step == "calibrated" else 0
        return min(covers, 2 * self.frac_bits) if self.adc_rounding == "toward_zero" else covers

    @property
    def steps(self) -> tuple[int, ...]:
        """Every ADC step the hardware can set, in array units: 1, 2, 3, 4, 6, 8, 12, ..."""
        top = 1 << self.step_shift_max
        both = {m << k for k in range(self.step_shift_max + 1) for m in (1, 3)}
        return tuple(sorted(s for s in both if s <= top))

    @property
    def round_bound(self) -> int:
        """Largest change that the codes of one round can make to an accumulator; signed inputs take two phases."""
        groups = -(-self.rows // self.active_rows)
        converted = 1 if self.analog_slices else self.x_slices
        slices = sum(
            1 << (i * self.dac_bits + j * self.cell_bits) for i in range(converted) for j in range(self.w_slices)
        )
        code = max(-self.code_min, self.code_max) << self.step_shift_max
        inputs = sum(((1 << self.dac_bits) - 1) << (i * self.dac_bits) for i in range(self.x_slices))
        return 2 * groups * slices * code + self.digital_offset * inputs * self.rows

    @property
    def residual_bits(self) -> int:
        """Bits of a residual code times its multiplier, signed."""
        return self.input_bits + 1 + MULT_BITS

    @property
    def acc_bits(self) -> int:
        """Bits of a signed accumulator: any partial sum, any residual and a full chain cannot overflow it."""
        start = (1 << (self.psum_bits - 1)) + (1 << (self.residual_bits - 2))
        return (start + self.max_rounds * self.round_bound).bit_length() + 1

    @property
    def wl_sum_bits(self) -> int:
        """Bits of the sum of the codes that one conversion sees on all word lines, more than one code has."""
        bits = self.input_bits if self.analog_slices else self.dac_bits
        return max((self.active_rows * ((1 << bits) - 1)).bit_length(), bits + 1)

    @property
    def round_words(self) -> int:
        """32-bit words of one round descriptor: six, and one per four ADC steps."""
        return 6 + -(-self.x_slices * self.w_slices // 4)

    @property
    def current_bits(self) -> int:
        """Bits of one bit-line current in the behavioural array: headroom for twice the ideal, whole bytes."""
        return -(-(self.column_max.bit_length() + 2 * self.frac_bits + 1) // 8) * 8

    @property
    def hold_bits(self) -> int:
        """Bits of a held column quantity in the behavioural ADC front end, signed: of one input slice or of all."""
        return self.current_bits + 1 + (self.x_slices * self.dac_bits if self.analog_slices else 0)

    @property
    def conversion_cycles(self) -> int:
        """Cycles of one conversion: one sample cycle and the trials."""
        return self.trials + 1

    def parameters(self) -> dict[str, int]:
        """Verilog parameters by name: the digital keys in upper case, then the derived widths."""
        digital: dict[str, Any] = {key.upper(): getattr(self, key) for key in DIGITAL}
        del digital["BIAS_ROWS"], digital["BIAS_CODE"]  # the placer's alone: descriptors have them for each round
        digital["COLUMN_CORRECTION"], digital["REF_COLS"] = int(self.column_correction), int(self.ref_cols)
        digital["WEIGHT_ENCODING"] = ENCODINGS.index(self.weight_encoding)
        digital["INPUT_MODE"] = INPUT_MODES.index(self.input_mode)
        digital["SLICE_ACCUMULATION"] = ACCUMULATIONS.index(self.slice_accumulation)
        digital["SAR_WEIGHTS"] = Packed.of(self.weights, self.adc_bits)
        derived = ("x_slices", "w_slices", "bit_lines", "n_adcs", "n_lanes", "out_cols", "trials", "code_bits")
        more = ("acc_bits", "wl_bits", "wl_sum_bits", "round_words", "step_shift_max", "residual_bits", "current_bits")
        digital |= {key.upper(): getattr(self, key) for key in derived + more}
        return digital | {"MULT_BITS": MULT_BITS, "ADD_BITS": ADD_BITS}

    def digest(self) -> str:
        """SHA-256 over every digital and analog value, 64 hexadecimal digits; name and citation do not count."""
        values = {key: getattr(self, key) for key in DIGITAL | ANALOG}
        values |= {key: float(values[key]) for key, allowed in ANALOG.items() if isinstance(allowed[0], float)}
        if self.device is not None:
            values["device"] = _as_floats(asdict(self.device))
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _as_floats(table: Any) -> Any:
    """Numbers as floats, so that 1 and 1.0 are one configuration."""
    if isinstance(table, dict):
        return {key: _as_floats(value) for key, value in table.items()}
    return float(table) if isinstance(table, int) and not isinstance(table, bool) else table


def load(preset: str | Path) -> Config:
    """Read a preset by name (`tiny`, `nor40_int4`, ...) or by the path of a YAML file.

    Raises:
        ConfigError: no such preset, not YAML, unknown or missing keys, values out of range.

    Example:
        >>> load("tiny").rows
        8
    """
    path = _preset_path(preset)
    tree, file = read_table(path), path.name
    tables: dict[str, dict[str, Any]] = {"digital": DIGITAL, "analog": ANALOG}
    check_keys(file, "", tree, dict.fromkeys(("follows", *tables, "device"), "a value"), optional=frozenset({"device"}))
    for table, keys in tables.items():
        check_keys(file, f"{table}.", tree[table], {key: allowed_text(allowed) for key, allowed in keys.items()})
    if not isinstance(tree["follows"], str) or not tree["follows"].strip():
        raise ConfigError(
            f"{file}: follows = {tree['follows']!r}: expected the published macro or the purpose, as text"
        )
    device = record_of(Device, file, "device.", tree["device"]) if "device" in tree else None
    return Config(name=path.stem, follows=tree["follows"].strip(), **tree["digital"], **tree["analog"], device=device)


def config_of(values: dict[str, Any]) -> Config:
    """The configuration that `dataclasses.asdict` took apart.

    Raises:
        ConfigError: it is none.
        TypeError: keys are missing or unknown.
    """
    device = values.get("device")
    return Config(**values | {"device": device and record_of(Device, values["name"], "device.", device)})


def _preset_path(preset: str | Path) -> Path:
    path = Path(preset)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ConfigError(f"no preset file {path}")
        return path
    named = PRESETS / f"{preset}.yaml"
    if not named.is_file():
        known = ", ".join(sorted(p.stem for p in PRESETS.glob("*.yaml")))
        raise ConfigError(f"unknown preset {str(preset)!r}: expected one of {known}, or the path of a .yaml file")
    return named


def replace(config: Config, **changes: Any) -> Config:
    """A copy with some keys changed and everything checked again."""
    known = {f.name for f in fields(Config)}
    for key in changes:
        if key not in known:
            raise ConfigError(f"unknown key {key} = {changes[key]!r}: expected {', '.join(sorted(known))}")
    return changed(config, **changes)
