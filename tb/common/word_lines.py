# SPDX-License-Identifier: Apache-2.0
"""The codes that word lines really carry: levels, or the lengths of the pulses since the last drive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tb.common.values import unpack

if TYPE_CHECKING:
    from twinor.config import Config

__all__ = ["WordLines"]


class WordLines:
    """Reads word lines once in every cycle; a pulse counts its slots, and one too long has a code that no DAC has."""

    def __init__(self, cfg: Config) -> None:
        """All lines are off."""
        self.cfg = cfg
        self.codes = [0] * cfg.rows

    def sample(self, lines: int, start: int) -> list[int]:
        """The codes so far, int[rows].

        Args:
            lines: value of the word lines in this cycle.
            start: a drive's pulses begin in this cycle; heeded for pulses alone.
        """
        now = unpack(lines, self.cfg.wl_bits, self.cfg.rows)
        if self.cfg.pulsed:
            before = [0] * self.cfg.rows if start else self.codes
            now = [code + high for code, high in zip(before, now, strict=True)]
        self.codes = now
        return list(now)
