# SPDX-License-Identifier: Apache-2.0
"""The converter: its ideal threshold table and how far every ADC of a die lies from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.converter.cdac import begins
from twinor.golden import sar_adc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.die import Die

__all__ = ["Converter", "converter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Converter:
    """Thresholds in LSB, of each code but the lowest, so N is `2**adc_bits - 1`."""

    codes: NDArray[np.int64]
    """int64[N]: the code that a column quantity reaches at its threshold."""
    ideal: NDArray[np.float64]
    """float64[N]: ideal thresholds."""
    actual: NDArray[np.float64]
    """float64[n_adcs, N]: thresholds of the ADCs of one macro."""

    @property
    def deviation(self) -> NDArray[np.float64]:
        """float64[n_adcs, N]: actual minus ideal."""
        return self.actual - self.ideal

    @property
    def worst(self) -> int:
        """The ADC with the largest deviation."""
        return int(np.abs(self.deviation).max(axis=1).argmax())


def converter(config: Config, die: Die, *, macro: int = 0) -> Converter:
    """The thresholds of one macro of a die.

    Args:
        config: gives bits and sign.
        die: its table is read.
        macro: which macro of the die.

    Example:
        >>> from twinor.config import load
        >>> from twinor.die import ideal_die
        >>> tiny = load("tiny")
        >>> c = converter(tiny, ideal_die(tiny, np.ones((1, 8, 8), dtype=np.uint8)))
        >>> c.codes[:2].tolist(), c.ideal[:2].tolist(), float(np.abs(c.deviation).max())
        ([-7, -6], [-7.5, -6.5], 0.0)
    """
    lsb = 1 << 2 * config.frac_bits
    codes = np.arange(1, 1 << config.adc_bits) + config.code_min
    actual = die.threshold[macro, :, 1:] / lsb if config.sar_weights == "binary" else _edges(config, die, macro) / lsb
    return Converter(codes=codes, ideal=begins(config, codes), actual=actual)


def _edges(config: Config, die: Die, macro: int) -> NDArray[np.int64]:
    """Where a redundant search first reaches each code, int64[n_adcs, N]: its thresholds are not those of codes."""
    table = die.threshold[macro]
    q = np.sort(table[:, 1:].T.astype(np.int64), axis=0)  # a code changes at a threshold and nowhere else
    reached = np.maximum.accumulate(sar_adc.convert(config, q, table, step=1, weights=die.weight[macro])[0], axis=0)
    wanted = np.arange(config.code_min + 1, config.code_max + 1)
    at = [np.searchsorted(reached[:, adc], wanted).clip(max=len(q) - 1) for adc in range(config.n_adcs)]
    return np.stack([q[at[adc], adc] for adc in range(config.n_adcs)])
