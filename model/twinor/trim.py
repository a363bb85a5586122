# SPDX-License-Identifier: Apache-2.0
"""What a host writes into a macro once, before any chain: the registers whose values belong to the die.

0xC000 + k              weight of SAR trial k, first trial first; the configuration's weight after reset
0xD000 + 2 * c + {0, 1} gain and offset of physical column c; unknown until they are written
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.die import Die

__all__ = ["CORRECT_ADDR", "WEIGHT_ADDR", "trim_words", "trimmed"]

WEIGHT_ADDR = 0xC000
"""Word address of the weight of the first SAR trial."""
CORRECT_ADDR = 0xD000
"""Word address of the column correction: per physical column its gain, then its offset."""


def trim_words(config: Config, die: Die, *, macro: int = 0) -> NDArray[np.uint32]:
    """The (address, data) words of one macro of a die, uint32[n, 2]; a register that a reset leaves right has none.

    They disarm a chain, so they come before its words.

    Example:
        >>> from dataclasses import replace
        >>> from twinor.config import load
        >>> from twinor.die import ideal_die
        >>> cfg = load("tiny")
        >>> die = ideal_die(cfg, np.ones((1, 8, 8), dtype=np.uint8))
        >>> trim_words(cfg, die).tolist(), trim_words(cfg, replace(die, weight=np.array([[8, 4, 3, 1]]))).tolist()
        ([], [[49154, 3]])
    """
    weights = zip(die.weight[macro].tolist(), config.weights, strict=True)
    words = [(WEIGHT_ADDR + k, weight) for k, (weight, nominal) in enumerate(weights) if weight != nominal]
    if config.column_correction:
        for c, (gain, offset) in enumerate(zip(die.gain[macro].tolist(), die.offset[macro].tolist(), strict=True)):
            words += [(CORRECT_ADDR + 2 * c, gain), (CORRECT_ADDR + 2 * c + 1, offset & 0xFFFF)]
    return np.array(words, dtype=np.uint32).reshape(-1, 2)


def trimmed(config: Config, die: Die, memory: Mapping[int, int]) -> Die:
    """A die of one macro whose registers hold what words by address say, or what a reset leaves; undoes `trim_words`.

    Example:
        >>> from twinor.config import load
        >>> from twinor.die import ideal_die
        >>> cfg = load("tiny")
        >>> trimmed(cfg, ideal_die(cfg, np.ones((1, 8, 8), dtype=np.uint8)), {0xC002: 3}).weight.tolist()
        [[8, 4, 3, 1]]
    """
    mask = (1 << config.adc_bits) - 1
    weights = [memory.get(WEIGHT_ADDR + k, nominal) & mask for k, nominal in enumerate(config.weights)]
    gain, offset = die.gain.copy(), die.offset.copy()
    for c in range(config.cols if config.column_correction else 0):
        gain[0, c] = memory.get(CORRECT_ADDR + 2 * c, int(gain[0, c])) & 0x3FF
        low = memory.get(CORRECT_ADDR + 2 * c + 1, int(offset[0, c])) & 0xFFFF
        offset[0, c] = low - (low >> 15 << 16)
    return replace(die, weight=np.array([weights], dtype=np.int32), gain=gain, offset=offset)
