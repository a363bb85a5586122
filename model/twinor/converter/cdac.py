# SPDX-License-Identifier: Apache-2.0
"""SAR ADCs drawn from circuit values: the CDAC level of every pattern of kept trials, and the noise of a conversion.

    C[k]  = w[k] * (1 + capacitor_sigma / sqrt(w[k]) * N(0, 1))     w[k] units in parallel, drawn anew for every ADC
    Ctot  = sum of C[k] + 1                                         one exact dummy unit completes the array
    N     = sum of w[k] + 1                                         Ctot of an ideal array
    level = N * (sum of the kept C[k]) / Ctot                       LSB above the smallest code
    gain  = (1 + reference_sigma * N(0, 1)) / (1 + 1 / loop gain) * Ctot / (Ctot + parasitic * N)

A threshold lies at `level + place`, from an input of 0 on: the middle of the range if conversions are signed, as in a
differential CDAC. All of it has the gain; a comparator's offset, `comparator_sigma * N(0, 1)`, comes on top.

An ideal ADC's code c begins at c - 1/2, or with `adc_rounding: toward_zero` at c if c > 0, else right above c - 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.device.ranges import check_ranges
from twinor.errors import ConfigError
from twinor.weights import centres

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config

__all__ = [
    *("NEVER", "Converter", "begins", "levels", "metastability", "noise_lsb", "patterns", "places", "thresholds"),
]

NEVER = np.iinfo(np.int32).min
"""Threshold of trial 0, which the search never makes."""

BOLTZMANN = 1.380649e-23
"""Joule per kelvin."""

FULL_SCALE_V = 1.2
"""What 2**adc_bits LSB usually are."""

ALLOWED = {
    "parasitic": (0.0, 1.0),
    "reference_sigma": (0.0, 0.1),
    "loop_gain_db": (20.0, math.inf),
    "comparator_noise": (0.0, 8.0),
    "unit_capacitor_ff": (0.01, math.inf),
    "full_scale_v": (0.1, 10.0),
    "regeneration": (1.0, math.inf),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Converter:
    """Circuit values of the ADCs beside `capacitor_sigma` and `comparator_sigma` of the configuration; ideal at first.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> Converter(parasitic=0.1, comparator_noise=0.3).regeneration
        inf
    """

    parasitic: float = 0.0
    """Capacitance from the CDAC's top plate to ground, as a fraction of the array's."""
    reference_sigma: float = 0.0
    """Relative standard deviation of the reference, which every ADC buffers by itself."""
    loop_gain_db: float = math.inf
    """Gain around the loop of that buffer, A * beta, in dB."""
    comparator_noise: float = 0.0
    """Noise of one decision, in LSB rms."""
    unit_capacitor_ff: float = math.inf
    """Unit capacitor, in fF."""
    full_scale_v: float = FULL_SCALE_V
    """What 2**adc_bits LSB are, in V."""
    regeneration: float = math.inf
    """Time that a comparator has to decide, in time constants of its latch."""

    def __post_init__(self) -> None:
        """Check every value, then what values say together."""
        check_ranges("converter", self, ALLOWED)
        if self.unit_capacitor_ff == math.inf and self.full_scale_v != FULL_SCALE_V:
            raise ConfigError("converter: full_scale_v has no effect without unit_capacitor_ff, whose noise it scales")


def patterns(config: Config) -> NDArray[np.int64]:
    """Which trials each pattern keeps, int64[2**trials, trials], last trial first.

    Example:
        >>> from twinor.config import load
        >>> patterns(load("tiny"))[12].tolist()  # 8 and 4 are kept
        [0, 0, 1, 1]
    """
    kept: NDArray[np.int64] = np.arange(1 << config.trials)[:, None] >> np.arange(config.trials) & 1
    return kept


def begins(config: Config, codes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Where each code begins on an ideal ADC, in LSB.

    Truncation has the negative codes, and 0, begin right above a whole LSB: a unit of a threshold above, which is less
    than an array unit in every step that the macro can set.

    Example:
        >>> from twinor.config import load, replace
        >>> begins(load("tiny"), np.array([-1, 0, 1])).tolist()
        [-1.5, -0.5, 0.5]
        >>> (begins(replace(load("tiny"), adc_rounding="toward_zero"), np.array([-1, 0, 1])) * (1 << 12)).tolist()
        [-8191.0, -4095.0, 4096.0]
    """
    whole: NDArray[np.float64] = codes.astype(np.float64)
    if config.adc_rounding == "toward_zero":
        return np.where(whole > 0, whole, whole - 1.0 + 2.0 ** (-2 * config.frac_bits))
    return whole - 0.5


def places(config: Config) -> NDArray[np.float64]:
    """How far the threshold of each pattern lies from its level, float64[2**trials], in LSB.

    Where the code of its level begins; in a redundant search, the middle of the codes that both answers of the trial
    can still reach.

    Example:
        >>> from twinor.config import load
        >>> places(load("tiny"))[1:4].tolist()
        [-8.5, -8.5, -8.5]
    """
    kept = patterns(config)
    under_trial = np.argmax(kept > 0, axis=1)  # the last trial that is set
    level = kept @ np.array(config.weights[::-1])
    code = level + np.array(centres(config.weights)[::-1])[under_trial] + config.code_min
    place: NDArray[np.float64] = begins(config, code) - level
    return place


def levels(config: Config, converter: Converter, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the ADCs of one macro: the level of each pattern of kept trials, with the comparator's offset.

    Args:
        config: gives trial weights, number of ADCs, `capacitor_sigma` and `comparator_sigma`.
        converter: the other circuit values.
        rng: drawn from for capacitors, offsets and references, in this order, whatever their spread.

    Returns:
        float64[n_adcs, 2**trials], in LSB above the smallest code.

    Example:
        >>> from twinor.config import load, replace
        >>> cfg = replace(load("tiny"), capacitor_sigma=0.0, comparator_sigma=0.0)
        >>> drawn = levels(cfg, Converter(parasitic=0.25), np.random.default_rng(1))
        >>> drawn.shape, (drawn[0] + places(cfg))[[1, 8, 12]].round(3).tolist()  # -7.5, -0.5 and 3.5, times 0.8
        ((2, 16), [-6.0, -0.4, 2.8])
    """
    units = np.array(config.weights[::-1], dtype=np.float64)
    error = rng.standard_normal((config.n_adcs, config.trials)) * config.capacitor_sigma / np.sqrt(units)
    offset = rng.standard_normal((config.n_adcs, 1)) * config.comparator_sigma
    reference = 1.0 + rng.standard_normal((config.n_adcs, 1)) * converter.reference_sigma
    caps, whole = units * (1.0 + error), sum(config.weights) + 1
    total = caps.sum(axis=1, keepdims=True) + 1.0
    level = (caps @ patterns(config).T) / total * whole
    gain = reference / (1.0 + 10.0 ** (-converter.loop_gain_db / 20.0)) * total / (total + converter.parasitic * whole)
    drawn: NDArray[np.float64] = level * gain + places(config) * (gain - 1.0) + offset  # exactly `level` at gain 1
    return drawn


def thresholds(config: Config, level: NDArray[np.float64]) -> NDArray[np.int32]:
    """Levels in LSB, rounded once to the thresholds of a die, in `2**(-2 * frac_bits)` LSB.

    Args:
        config: gives the places of the thresholds.
        level: float64[..., 2**trials], as `levels` draws it.

    Example:
        >>> from twinor.config import load
        >>> thresholds(load("tiny"), np.arange(16.0))[[1, 8, 9]].tolist()
        [-30720, -2048, 2048]
    """
    table: NDArray[np.int32] = np.rint((level + places(config)) * (1 << 2 * config.frac_bits)).astype(np.int32)
    table[..., 0] = NEVER
    return table


def noise_lsb(config: Config, converter: Converter, *, celsius: float = 25.0) -> float:
    """Noise of one conversion, referred to its input, in LSB rms: of the decision that counts, and of sampling.

        sqrt(comparator_noise**2 + k T / Ctot / LSB**2 + window**2 / 3)
        Ctot = N * unit capacitor        LSB = full scale / 2**adc_bits        window: of `metastability`

    A comparator that cannot decide answers by chance, as if its threshold lay anywhere in the window.

    Where a comparator's noise exceeds half an LSB, later decisions take some of it back: 1 LSB acts as 0.86.

    Example:
        >>> from twinor.config import load
        >>> round(noise_lsb(load("nor40_int4"), Converter(unit_capacitor_ff=1.0)), 4)  # 127 uV of 4.7 mV
        0.0271
    """
    total_f = (sum(config.weights) + 1) * converter.unit_capacitor_ff * 1e-15
    lsb_v = converter.full_scale_v / (1 << config.adc_bits)
    sampling = math.sqrt(BOLTZMANN * (celsius + 273.15) / total_f) / lsb_v
    return math.hypot(converter.comparator_noise, sampling, metastability(config, converter)[0] / math.sqrt(3.0))


def metastability(config: Config, converter: Converter) -> tuple[float, float]:
    """How near a threshold a comparator cannot decide, and how often that happens.

        window = 2**adc_bits * exp(-regeneration)             a latch regenerates to the full scale

    Returns:
        The window to either side of a threshold, in LSB, and the probability that a conversion of an input which is
        spread evenly over the range meets one.

    Example:
        >>> from twinor.config import load
        >>> [f"{figure:.1e}" for figure in metastability(load("nor40_int4"), Converter(regeneration=15))]
        ['7.8e-05', '1.6e-04']
    """
    window = (1 << config.adc_bits) * math.exp(-converter.regeneration)
    return window, min(2.0 * window, 1.0)
