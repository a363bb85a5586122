# SPDX-License-Identifier: Apache-2.0
"""The ADCs of a chip as a lab sees them: a ramp and a sine at their inputs, noisy codes at their outputs.

A ramp of 512 samples an LSB leaves the range at both ends; its histogram gives transition levels, and IEEE 1241 the
rest. Noise of 0.3 LSB leaves a level uncertain by 0.02 LSB. Codes are raw: the column correction comes after them.
The sine fills 98 % of what each ADC converts, so ENOB is of the ADC alone and not of its input's amplitude.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.characterise.chip import corrected, is_trimmed
from twinor.converter.calibrate import code_centres, fit_correction
from twinor.converter.dynamic import LEAST_CODES, sine_test
from twinor.converter.metrics import linearity, ramp_transitions
from twinor.converter.stimulus import ramp, sine
from twinor.golden import sar_adc
from twinor.noise import conversion_words, gaussian

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.characterise.chip import Chip
    from twinor.config import Config
    from twinor.die import Die

    Floats = NDArray[np.float64]

__all__ = ["AdcFigures", "adc_codes", "adc_figures", "ramp_levels", "trimmed"]

PER_LSB = 512
"""Samples of the ramp in one LSB."""

BEYOND = 8.0
"""LSB by which the ramp leaves the range at either end, at least."""

FILL = 0.98
"""Part of an ADC's range that the sine fills."""

CHUNK = 1 << 16
"""Samples that are converted at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdcFigures:
    """Figures of A ADCs.

    Attributes:
        gain: codes per LSB, float64[A].
        offset: code at an input of 0, in LSB, float64[A].
        dnl: float64[A, 2**adc_bits - 2], in LSB.
        inl: float64[A, 2**adc_bits - 1], in LSB, from the line through the end points.
        missing: int64[A], codes that never came out.
        enob, sinad_db: float64[A]; NaN where an ADC has too few codes for a sine.
        levels: float64[A, 2**adc_bits - 1], transition levels in LSB.
    """

    gain: Floats
    offset: Floats
    dnl: Floats
    inl: Floats
    missing: NDArray[np.int64]
    enob: Floats
    sinad_db: Floats
    levels: Floats

    @property
    def worst_inl(self) -> float:
        """Largest deviation of any level of any ADC, in LSB."""
        return float(np.nanmax(np.abs(self.inl)))

    @property
    def worst_dnl(self) -> float:
        """Largest deviation of any code's width, in LSB."""
        return float(np.nanmax(np.abs(self.dnl)))


def adc_codes(config: Config, die: Die, q: NDArray[np.int64], *, noisy: bool = True) -> NDArray[np.int16]:
    """Raw codes of the ADCs of macro 0, each conversion with its noise.

    Args:
        config: the macro.
        die: its tables.
        q: inputs, int64[samples] of all ADCs or int64[samples, adcs], in `2**(-2 * frac_bits)` LSB.
        noisy: with the noise of the converters; without it for comparison.

    Returns:
        int16[samples, adcs].
    """
    table, cells = die.threshold[0], die.cells
    inputs = np.broadcast_to(q if q.ndim == 2 else q[:, None], (len(q), config.n_adcs))
    parts = []
    for start in range(0, len(q), CHUNK):
        part = inputs[start : start + CHUNK]
        if noisy and cells is not None and cells.conversion.any():
            vectors, columns = np.arange(start, start + len(part)), np.arange(config.n_adcs)
            where = {"macro": cells.first_macro, "row": 0, "x_slice": 0, "w_slice": 0, "phase": 0}
            words = conversion_words(cells.noise_seed, vectors=vectors, columns=columns, **where)
            part = part + gaussian(np.broadcast_to(cells.conversion[0], part.shape), words)
        parts.append(sar_adc.convert(config, part, table, step=1, weights=die.weight[0])[0])
    return np.concatenate(parts)


def ramp_levels(config: Config, die: Die, *, per_lsb: int = PER_LSB) -> tuple[Floats, NDArray[np.int64]]:
    """Transition levels from the histogram of a ramp, and how many codes never came out.

    Args:
        config: the macro.
        die: its tables.
        per_lsb: samples in one LSB.

    Returns:
        float64[adcs, 2**adc_bits - 1] in LSB, and int64[adcs].

    Raises:
        TwinorError: an ADC does not reach both ends of its range.

    Example:
        >>> from twinor.config import load
        >>> from twinor.die import ideal_die
        >>> config = load("tiny")
        >>> levels, missing = ramp_levels(config, ideal_die(config, np.zeros((1, 8, 8), dtype=np.uint8)))
        >>> levels[0, :3].tolist(), missing.tolist()
        ([-7.5, -6.5, -5.5], [0, 0])
    """
    lsb, used = 1 << 2 * config.frac_bits, die.threshold[0, :, 1:]
    low = np.floor(min(config.code_min, float(used.min()) / lsb) - BEYOND)
    high = np.ceil(max(config.code_max, float(used.max()) / lsb) + BEYOND)
    samples = int(high - low) * per_lsb
    codes = adc_codes(config, die, ramp(config, samples=samples, low=low, high=high))
    counts = np.stack([np.bincount(of - config.code_min, minlength=1 << config.adc_bits) for of in codes.T])
    return ramp_transitions(config, codes, low=low, high=high), np.count_nonzero(counts == 0, axis=1).astype(np.int64)


def adc_figures(config: Config, die: Die, *, per_lsb: int = PER_LSB) -> AdcFigures:
    """Static and dynamic figures of the ADCs of macro 0; arguments and errors as of `ramp_levels`.

    Example:
        >>> from twinor.config import load
        >>> from twinor.die import ideal_die
        >>> config = load("nor40_int4")
        >>> found = adc_figures(config, ideal_die(config, np.zeros((1, 256, 128), dtype=np.uint8)), per_lsb=32)
        >>> found.worst_inl < 1e-9, round(float(found.enob[0]), 1)
        (True, 8.0)
    """
    levels, missing = ramp_levels(config, die, per_lsb=per_lsb)
    static = linearity(config, levels)
    enob, sinad = _dynamic(config, die, levels)
    return AdcFigures(
        gain=static.gain,
        offset=static.offset,
        dnl=static.dnl,
        inl=static.inl,
        missing=missing,
        enob=enob,
        sinad_db=sinad,
        levels=levels,
    )


def _dynamic(config: Config, die: Die, levels: Floats) -> tuple[Floats, Floats]:
    """ENOB and SINAD of every ADC, float64[adcs] each."""
    nothing = np.full(config.n_adcs, np.nan)
    if 1 << config.adc_bits <= LEAST_CODES:
        return nothing, nothing
    samples = max(4096, 4 << config.adc_bits)
    cycles = samples // 4 - 3  # odd, so that no sample has the phase of another
    ends = levels[:, 0], levels[:, -1]
    waves = [
        sine(config, samples=samples, cycles=cycles, centre=(low + high) / 2, amplitude=FILL * (high - low) / 2)
        for low, high in zip(*(end.tolist() for end in ends), strict=True)
    ]
    codes = adc_codes(config, die, np.stack(waves, axis=1))
    tests = [sine_test(config, codes[:, adc], cycles=cycles) for adc in range(config.n_adcs)]
    return np.array([t.enob for t in tests]), np.array([t.sinad_db for t in tests])


def trimmed(chip: Chip, levels: Floats) -> Chip:
    """The chip with gain and offset of its columns in the registers, as the ADCs' measured levels ask for.

    A chip without column correction, or one that came with a correction, stays as it is.

    Args:
        chip: the chip.
        levels: float64[adcs, 2**adc_bits - 1], in LSB.

    Raises:
        TwinorError: a column needs more than its registers hold.
    """
    if not chip.config.column_correction or is_trimmed(chip):
        return chip
    return corrected(chip, *fit_correction(chip.config, *code_centres(chip.config, levels)))
