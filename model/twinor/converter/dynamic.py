# SPDX-License-Identifier: Apache-2.0
"""The dynamic test of IEEE 1241: a coherent sine, fitted with four parameters; what remains is noise and distortion.

    code[n] = offset + a * cos(2 pi f n) + b * sin(2 pi f n) + residual[n]         f cycles per sample is fitted too
    SINAD   = 20 log10(amplitude / sqrt(2) / rms(residual))
    ENOB    = adc_bits - log2(rms(residual) * sqrt(12))

An ideal ADC has ENOB = adc_bits; noise of sigma LSB rms on it takes `log2(1 + 12 * sigma**2) / 2` bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.converter.stimulus import check_coherent
from twinor.errors import ConfigError, TwinorError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config

__all__ = ["SineFit", "SineTest", "fit_sine", "sine_test"]

LEAST_CODES = 20
"""A sine over fewer codes has a residual that depends on the fit (Kollar and Blair 2005)."""
HARMONICS = range(2, 11)
"""Those that count as distortion."""
OFF_CYCLES = 0.02
"""Cycles per record by which a sine may miss its whole number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SineFit:
    """A sine in least squares.

    Attributes:
        amplitude, offset: in codes.
        cycles: of the record.
        residual: float64[samples], code less sine.
    """

    amplitude: float
    offset: float
    cycles: float
    residual: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SineTest:
    """Dynamic figures of one ADC.

    Attributes:
        enob: effective number of bits.
        sinad_db: signal to noise and distortion.
        thd_db: harmonics 2 .. 10 to signal, negative.
        sfdr_db: signal to the largest spur.
        amplitude, offset: of the fitted sine, in codes.
    """

    enob: float
    sinad_db: float
    thd_db: float
    sfdr_db: float
    amplitude: float
    offset: float


def fit_sine(codes: NDArray[np.integer]) -> SineFit:
    """Fit amplitude, phase, offset and frequency (IEEE 1057), from the largest line of the spectrum on.

    Args:
        codes: int[samples].

    Example:
        >>> fit = fit_sine(np.rint(100 * np.sin(2 * np.pi * 5.25 / 1000 * np.arange(1000)) + 3).astype(int))
        >>> round(fit.amplitude, 1), round(fit.offset, 1), round(fit.cycles, 2)
        (100.0, 3.0, 5.25)
    """
    x, t = codes.astype(np.float64), np.arange(codes.size) / codes.size
    one, cycles, model = np.ones_like(x), float(1 + np.argmax(np.abs(np.fft.rfft(x))[1:])), np.zeros((0, 0))
    a = b = offset = 0.0
    for _ in range(10):  # Newton; four steps reach the last bit
        cosine, sine = np.cos(2 * np.pi * cycles * t), np.sin(2 * np.pi * cycles * t)
        model = np.stack([cosine, sine, one, 2 * np.pi * t * (b * cosine - a * sine)], axis=1)
        a, b, offset, change = np.linalg.lstsq(model, x)[0].tolist()
        cycles += change
    return SineFit(
        amplitude=math.hypot(a, b), offset=offset, cycles=cycles, residual=x - model[:, :3] @ np.array([a, b, offset])
    )


def sine_test(config: Config, codes: NDArray[np.integer], *, cycles: int) -> SineTest:
    """ENOB, SINAD, THD and SFDR of one ADC from a coherent record.

    The spectrum is that of the residual, so the sine itself leaks into no line.

    Args:
        config: gives the range of codes.
        codes: int[samples], at least `pi * 2**adc_bits`, so that every code comes out.
        cycles: whole cycles of the record, without a common factor with the samples.

    Raises:
        ConfigError: too few samples, or not coherent as planned.
        TwinorError: the record holds another number of cycles, or a sine that is clipped or too small.

    Example:
        >>> from twinor.config import load
        >>> from twinor.converter.stimulus import sine
        >>> from twinor.die import ideal_thresholds
        >>> from twinor.golden.sar_adc import convert
        >>> cfg = load("nor40_int4")
        >>> q = sine(cfg, samples=4096, cycles=1021, centre=-0.5, amplitude=127.0)[:, None]
        >>> codes, _ = convert(cfg, q, ideal_thresholds(cfg)[:1], step=1)
        >>> round(sine_test(cfg, codes[:, 0], cycles=1021).enob, 1)
        8.0
    """
    least = math.ceil(math.pi * (1 << config.adc_bits))
    if codes.size < least:
        raise ConfigError(f"a sine test of {codes.size} samples: expected at least {least} to meet every code")
    check_coherent(codes.size, cycles)
    fit = fit_sine(codes)
    _check_fit(config, fit, cycles)
    rms = math.sqrt(float(np.mean(fit.residual**2)))
    spurs = np.abs(np.fft.rfft(fit.residual))[1:] * 2 / codes.size  # amplitudes of the lines 1, 2, ...
    lines = [min(h * cycles % codes.size, -h * cycles % codes.size) for h in HARMONICS]
    harmonics = math.hypot(*(float(spurs[line - 1]) for line in lines))
    return SineTest(
        enob=config.adc_bits - math.log2(rms * math.sqrt(12)),
        sinad_db=20 * math.log10(fit.amplitude / math.sqrt(2) / rms),
        thd_db=20 * math.log10(harmonics / fit.amplitude),
        sfdr_db=20 * math.log10(fit.amplitude / float(spurs.max())),
        amplitude=fit.amplitude,
        offset=fit.offset,
    )


def _check_fit(config: Config, fit: SineFit, cycles: int) -> None:
    """Refuse a record that cannot be judged by its residual."""
    low, high = fit.offset - fit.amplitude, fit.offset + fit.amplitude
    for broken, message in (
        (
            2 * fit.amplitude < LEAST_CODES,
            f"the sine covers {2 * fit.amplitude:.1f} codes: expected at least {LEAST_CODES}; raise its amplitude",
        ),
        (
            abs(fit.cycles - cycles) > OFF_CYCLES,
            f"the record holds {fit.cycles:.2f} cycles, not {cycles}, so sampling was not coherent; mend the frequency",
        ),
        (
            low < config.code_min - 0.5 or high > config.code_max + 0.5,
            f"a sine of {low:.1f} .. {high:.1f} clips at {config.code_min} .. {config.code_max}; lower its amplitude",
        ),
    ):
        if broken:
            raise TwinorError(message)
