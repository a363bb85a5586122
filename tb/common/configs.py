# SPDX-License-Identifier: Apache-2.0
"""The configurations that the benches run: presets, and small macros for what no preset has."""

from __future__ import annotations

from twinor.config import Config, load, replace

__all__ = [
    "CORRECTED",
    "EXACT",
    "NOR40",
    "NOR40_REDUNDANT",
    "OFFSET",
    "PULSED",
    "PULSED_OFFSET",
    "RAGGED",
    "RAGGED_OFFSET",
    "REDUNDANT",
    "REFERENCED",
    "SHARED",
    "SHARED_OFFSET",
    "SLICED",
    "TINY",
    "TRUNCATING",
    "TWOS",
    "WIDE_CORRECTED",
    "ids",
]

TINY = load("tiny")
"""Small enough to exhaust."""

NOR40 = load("nor40_int4")
"""The default macro."""

EXACT = load("nor40_int4_exact")
"""Offset columns, bit-serial inputs, 16 row groups."""

OFFSET = replace(TINY, name="tiny_offset", weight_encoding="offset")
"""Offset columns at the size of `tiny`, with calibrated steps and two weight slices."""

TWOS = replace(TINY, name="tiny_twos", weight_encoding="twos_complement", cell_bits=1)
"""Three two's-complement bit slices; the last one counts negative."""

SLICED = replace(TINY, name="tiny_sliced", weight_bits=5, adc_bits=3, settle_cycles=7)
"""Differential pairs with two weight slices, a step of 3; settling takes longer than converting."""

REDUNDANT = replace(TINY, name="tiny_redundant", adc_bits=3, sar_weights=(3, 2, 2, 1))
"""A redundant search of four trials for three bits; weights of 3, 2, 2 and 1."""

NOR40_REDUNDANT = replace(NOR40, name="nor40_redundant", sar_weights=(128, 64, 32, 16, 8, 8, 4, 2, 1))
"""The default macro with one trial more: 8 codes of redundancy in the first four trials."""

RAGGED = replace(
    TINY,
    name="tiny_ragged",
    rows=12,
    cols=9,
    active_rows=5,
    cols_per_adc=3,
    in_lanes=3,
    input_bits=3,
    dac_bits=2,
    max_rounds=3,
    wl_cycles=2,
)
"""Nothing divides anything: row groups of 5 in 12 rows, 3 input bits in 2-bit slices, 3 lanes, 3 rounds."""

CORRECTED = replace(RAGGED, name="tiny_corrected", column_correction=True)
"""The same with gain and offset of each of its nine columns."""

WIDE_CORRECTED = replace(EXACT, name="exact_corrected", cols=4, cols_per_adc=1, column_correction=True)
"""Unsigned codes of 8 bits, corrected; one multiplexer position."""

REFERENCED = replace(RAGGED, name="tiny_ref", weight_encoding="offset", adc_bits=5, ref_cols=True)
"""Offset columns in two weight slices; the first of each three columns is a reference, two are output columns."""

RAGGED_OFFSET = replace(RAGGED, name="tiny_ragged_offset", weight_encoding="offset", active_rows=7)
"""The same with offset columns, and rows that are no multiple of what the word-line sum counts to."""


SHARED = replace(RAGGED, name="tiny_shared", slice_accumulation="analog")
"""One conversion for all input slices, on the ragged macro."""

SHARED_OFFSET = replace(
    TINY, name="tiny_shared_offset", slice_accumulation="analog", weight_encoding="offset", cols_per_adc=1
)
"""The same with offset columns in two weight slices; three slices settle longer than one position converts."""

TRUNCATING = replace(SHARED, name="tiny_truncating", adc_rounding="toward_zero", bias_code=4)
"""The same with conversions that truncate toward zero, and a code of their own for bias rows."""

PULSED = replace(RAGGED, name="tiny_pulsed", input_mode="pulse_width", wl_cycles=3)
"""Word lines are high for as many of three cycles as their code says, on the ragged macro with two input slices."""

PULSED_OFFSET = replace(TINY, name="tiny_pulsed_offset", input_mode="pulse_width", weight_encoding="offset")
"""Pulses of one slot for one bit, with offset columns in two weight slices."""


def ids(config: Config) -> str:
    """Test ids: the name of the configuration."""
    return config.name
