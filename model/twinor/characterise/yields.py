# SPDX-License-Identifier: Apache-2.0
"""Yield: chips of one preset, fresh at 25 C, and the part of them that keeps to limits."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

from twinor.characterise.adcs import ramp_levels, trimmed
from twinor.characterise.bench import read
from twinor.characterise.chip import Chip, programmed
from twinor.characterise.mac import mac_figures
from twinor.converter.metrics import linearity
from twinor.device.ranges import check_ranges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twinor.characterise.bench import Pattern
    from twinor.config import Config

__all__ = ["Limits", "OneDie", "Yield", "measure_die", "wilson", "yield_of"]

Z95 = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a die has to keep to.

    Raises:
        ConfigError: a limit is no number in its range.

    Example:
        >>> Limits(max_inl=0.0)
        Traceback (most recent call last):
        twinor.errors.ConfigError: limits: max_inl = 0.0 is not allowed: expected 0.001 .. 1e+06
    """

    max_inl: float = 0.5
    """Largest INL of any level of any ADC, in LSB."""
    min_snr: float = 20.0
    """SNR of the products of all columns, in dB."""
    max_mac_error: float = 3.0
    """Rms of products less ideal ones as they come, in LSB."""

    def __post_init__(self) -> None:
        """Check every limit."""
        allowed = {"max_inl": (1e-3, 1e6), "min_snr": (-100.0, 300.0), "max_mac_error": (1e-3, 1e6)}
        check_ranges("limits", self, allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneDie:
    """What counts of one die; units as of `Limits`."""

    seed: int
    inl: float
    snr: float
    mac_error: float

    def meets(self, limits: Limits) -> tuple[bool, bool, bool]:
        """Whether it keeps to the limits on INL, SNR and MAC error."""
        return self.inl <= limits.max_inl, self.snr >= limits.min_snr, self.mac_error <= limits.max_mac_error


@dataclass(frozen=True, slots=True, kw_only=True)
class Yield:
    """Dies and limits."""

    limits: Limits
    dies: tuple[OneDie, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Dies that keep to each limit, and to all.

        Example:
            >>> dies = [OneDie(seed=n, inl=0.2 + n, snr=25.0, mac_error=2.0 + 9 * n) for n in range(2)]
            >>> Yield(limits=Limits(), dies=tuple(dies)).counts
            {'INL': 1, 'SNR': 2, 'MAC error': 1, 'all': 1}
        """
        met = [die.meets(self.limits) for die in self.dies]
        single = {name: sum(of[k] for of in met) for k, name in enumerate(("INL", "SNR", "MAC error"))}
        return single | {"all": sum(all(of) for of in met)}

    @property
    def interval(self) -> tuple[float, float]:
        """Share of good dies of the process, in percent, at 95 % confidence."""
        low, high = wilson(self.counts["all"], len(self.dies))
        return 100.0 * low, 100.0 * high


def wilson(good: int, count: int) -> tuple[float, float]:
    """Interval of a share at 95 % confidence (E. B. Wilson, 1927), of which a normal one fails near 0 and 1.

    Example:
        >>> [round(end, 3) for end in wilson(20, 20)], [round(end, 3) for end in wilson(5, 10)]
        ([0.839, 1.0], [0.237, 0.763])
    """
    share, scale = good / count, 1.0 + Z95**2 / count
    centre = (share + Z95**2 / (2 * count)) / scale
    half = Z95 / scale * sqrt(share * (1.0 - share) / count + Z95**2 / (4 * count**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def measure_die(config: Config, known: Pattern, *, seed: int, backend: str = "fast") -> OneDie:
    """Draw a die, trim it, and measure what counts.

    Args:
        config: the macro.
        known: what it is programmed with and driven by.
        seed: of the die.
        backend: the engine.

    Raises:
        TwinorError: a column needs more correction than its registers hold.
    """
    chip = Chip(config=config, seed=seed)
    die = programmed(chip, known.levels)
    levels, _ = ramp_levels(config, die)
    chip = trimmed(chip, levels)
    die = programmed(chip, known.levels) if chip.tables else die
    whole = mac_figures(config, die, known, read(config, die, known.steps, known.activations, backend=backend))[-1]
    inl = abs(linearity(config, levels).inl)
    return OneDie(seed=seed, inl=float(inl.max()), snr=whole.snr, mac_error=whole.error)


def yield_of(dies: Sequence[OneDie], limits: Limits) -> Yield:
    """Dies against limits."""
    return Yield(limits=limits, dies=tuple(dies))
