# SPDX-License-Identifier: Apache-2.0
"""The keys of a preset, what each one allows, and which values contradict each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twinor.device.model import contradictions as device_rules
from twinor.errors import ConfigError

if TYPE_CHECKING:
    from twinor.config import Config

__all__ = [
    "ACCUMULATIONS",
    "ADD_BITS",
    "ANALOG",
    "DIGITAL",
    "ENCODINGS",
    "INPUT_MODES",
    "MULT_BITS",
    "ROUNDINGS",
    "SHIFT_MAX",
    "allowed_text",
    "check_value",
    "contradictions",
]

ENCODINGS = ("differential", "offset", "twos_complement")
"""Weight encodings in the order of the Verilog parameter WEIGHT_ENCODING."""

ACCUMULATIONS = ("digital", "analog")
"""Where input slices come together, in the order of the Verilog parameter SLICE_ACCUMULATION."""

INPUT_MODES = ("voltage", "pulse_width")
"""What a word line does with its code, in the order of the Verilog parameter INPUT_MODE."""

ROUNDINGS = ("nearest", "toward_zero")
"""Where the thresholds of an ideal ADC lie: at half steps, or where truncation of sign and magnitude has them."""

MULT_BITS, ADD_BITS, SHIFT_MAX = 16, 32, 31
"""Requantization operands of every macro: signed multiplier (of residual codes too), signed addend, largest shift."""

DIGITAL = {
    "rows": (1, 4096),
    "cols": (1, 1024),
    "active_rows": (1, 4096),
    "cols_per_adc": (1, 64),
    "weight_encoding": ENCODINGS,
    "weight_bits": (1, 9),
    "cell_bits": (1, 8),
    "input_bits": (1, 8),
    "dac_bits": (1, 4),
    "input_mode": INPUT_MODES,
    "slice_accumulation": ACCUMULATIONS,
    "bias_rows": (0, 64),
    "bias_code": ("largest", 1, 255),
    "adc_bits": (2, 12),
    "sar_weights": ("binary",),
    "column_correction": (False, True),
    "ref_cols": (False, True),
    "wl_cycles": (1, 255),
    "settle_cycles": (1, 255),
    "in_lanes": (1, 64),
    "max_rounds": (1, 256),
    "psum_bits": (8, 31),
}
ANALOG = {
    "step": ("calibrated", "unit"),
    "adc_rounding": ROUNDINGS,
    "frac_bits": (6, 10),
    "cell_sigma": (0.0, 0.5),
    "capacitor_sigma": (0.0, 0.2),
    "comparator_sigma": (0.0, 8.0),
}


def check_value(name: str, key: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Refuse a value that its key does not allow.

    Raises:
        ConfigError: names preset, key, value and what is allowed.
    """
    if isinstance(allowed[0], bool):
        good = isinstance(value, bool)
    elif isinstance(allowed[-1], str):
        good = value in allowed
    else:  # a number; a word may stand in for it
        low, high = allowed[-2:]
        number = int if isinstance(low, int) else (int, float)
        good = isinstance(value, number) and not isinstance(value, bool) and low <= value <= high
        good = good or (value == allowed[0] and isinstance(value, str))
    if not good:
        raise ConfigError(f"preset {name}: {key} = {value!r} is not allowed: expected {allowed_text(allowed)}")


def allowed_text(allowed: tuple[Any, ...]) -> str:
    """What a key allows, in words.

    Example:
        >>> allowed_text(DIGITAL["adc_bits"])
        'an integer 2 .. 12'
    """
    if allowed == DIGITAL["sar_weights"]:
        return "binary, or a list of integers, the weight of each trial from first to last"
    if isinstance(allowed[0], bool):
        return "true or false"
    if isinstance(allowed[-1], str):
        return "one of " + ", ".join(allowed)
    word = f"{allowed[0]}, or " if isinstance(allowed[0], str) else ""
    low, high = allowed[-2:]
    return f"{word}{'an integer' if isinstance(low, int) else 'a number'} {low} .. {high}"


def contradictions(c: Config) -> list[tuple[bool, str]]:
    """What values say together: whether each rule is broken, and the sentence for it."""
    return [*_array_rules(c), *_word_line_rules(c), *_converter_rules(c), *device_rules(c)]


def _array_rules(c: Config) -> list[tuple[bool, str]]:
    return [
        (c.active_rows > c.rows, f"active_rows = {c.active_rows} exceeds rows = {c.rows}"),
        (c.cols % c.cols_per_adc != 0, f"cols_per_adc = {c.cols_per_adc} must divide cols = {c.cols}"),
        (
            c.ref_cols and c.weight_encoding != "offset",
            f"ref_cols takes an offset back, which weight_encoding = {c.weight_encoding} does not have",
        ),
        (
            c.ref_cols and c.cols <= c.cols_per_adc,
            f"ref_cols leaves no column for weights: one ADC has all cols = {c.cols}",
        ),
        (
            c.cell_bits > c.stored_bits,
            f"cell_bits = {c.cell_bits} exceeds the {c.stored_bits} bits that a weight stores",
        ),
        (
            c.weight_encoding == "twos_complement" and c.cell_bits != 1,
            f"weight_encoding = twos_complement needs cell_bits = 1, got {c.cell_bits}",
        ),
        (
            c.weight_bits > 8 and c.weight_encoding != "differential",
            f"weight_bits = {c.weight_bits}: weights are int8, for which weight_encoding = {c.weight_encoding} takes 8",
        ),
        (
            c.bias_rows >= c.rows,
            f"bias_rows = {c.bias_rows} leaves no word line of rows = {c.rows} for activations",
        ),
    ]


def _word_line_rules(c: Config) -> list[tuple[bool, str]]:
    return [
        (c.rows % c.in_lanes != 0, f"in_lanes = {c.in_lanes} must divide rows = {c.rows}"),
        (
            isinstance(c.bias_code, int) and c.bias_code >> c.input_bits > 0,
            f"bias_code = {c.bias_code} exceeds the largest code of input_bits = {c.input_bits}",
        ),
        (c.dac_bits > c.input_bits, f"dac_bits = {c.dac_bits} exceeds input_bits = {c.input_bits}"),
        (
            c.analog_slices and c.x_slices == 1,
            "slice_accumulation = analog needs input slices to accumulate: dac_bits is not below input_bits",
        ),
        (
            c.pulsed and c.wl_cycles != c.slots,
            f"pulse_width needs wl_cycles = {c.slots}, the slots of dac_bits = {c.dac_bits}, got {c.wl_cycles}",
        ),
    ]


def _converter_rules(c: Config) -> list[tuple[bool, str]]:
    return [
        (
            c.step == "unit" and c.held_max > (c.code_max if not c.bipolar else min(-c.code_min, c.code_max)),
            f"step = unit needs an ADC that holds a full column: {c.held_max} array units against code {c.code_max}",
        ),
        (
            c.adc_bits + 2 * c.frac_bits > 28,
            f"adc_bits = {c.adc_bits} and frac_bits = {c.frac_bits}: thresholds need adc_bits + 2 * frac_bits <= 28",
        ),
        (c.acc_bits > 32, f"accumulators would need {c.acc_bits} bits, more than the 32 of a round word"),
    ]
