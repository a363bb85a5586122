# SPDX-License-Identifier: Apache-2.0
"""Inputs of a converter test, as `golden.sar_adc.convert` takes them at step 1: integers, `2**(-2 * frac_bits)` LSB."""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from twinor.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config

__all__ = ["check_coherent", "ramp", "sine"]


def ramp(config: Config, *, samples: int, low: float, high: float) -> NDArray[np.int64]:
    """A ramp from `low` to `high` LSB, int64[samples], each sample in the middle of its share.

    Example:
        >>> from twinor.config import load
        >>> (ramp(load("tiny"), samples=4, low=-2.0, high=2.0) / (1 << 12)).tolist()
        [-1.5, -0.5, 0.5, 1.5]
    """
    return _fixed(config, low + (np.arange(samples) + 0.5) * (high - low) / samples)


def sine(config: Config, *, samples: int, cycles: int, centre: float, amplitude: float) -> NDArray[np.int64]:
    """A coherent sine around `centre` LSB, int64[samples].

    Raises:
        ConfigError: the sine would repeat itself within its samples.

    Example:
        >>> from twinor.config import load
        >>> (sine(load("tiny"), samples=4, cycles=1, centre=0.5, amplitude=2.0) / (1 << 12)).tolist()
        [0.5, 2.5, 0.5, -1.5]
    """
    check_coherent(samples, cycles)
    phase = 2 * np.pi * (np.arange(samples) * cycles % samples) / samples
    return _fixed(config, centre + amplitude * np.sin(phase))


def check_coherent(samples: int, cycles: int) -> None:
    """Refuse a number of cycles at which not every sample has a phase of its own.

    Raises:
        ConfigError: names both numbers and one that would do.

    Example:
        >>> check_coherent(4096, 63)
    """
    if cycles < 1 or 2 * cycles >= samples:
        raise ConfigError(f"a sine of {cycles} cycles in {samples} samples: expected 1 .. {(samples - 1) // 2} cycles")
    if gcd(samples, cycles) != 1:
        good = next(c for c in range(cycles - 1, 0, -1) if gcd(samples, c) == 1)
        raise ConfigError(
            f"a sine of {cycles} cycles in {samples} samples is not coherent: it repeats itself after "
            f"{samples // gcd(samples, cycles)}; expected cycles that share no factor with the samples, such as {good}"
        )


def _fixed(config: Config, lsb: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(lsb * (1 << 2 * config.frac_bits)).astype(np.int64)
