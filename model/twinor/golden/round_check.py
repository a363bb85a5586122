# SPDX-License-Identifier: Apache-2.0
"""Round check: the first rule that a round descriptor breaks, before the macro starts to load it.

Rules are asked in the order of `RoundError`. Fields that a round does not use may hold anything.
Verilog twin: rtl/round_check.v
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from twinor.config import SHIFT_MAX
from twinor.rounds import STEP_WORD, End, Start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twinor.config import Config

__all__ = ["RoundError", "round_error"]


class RoundError(IntEnum):
    """What is wrong with a descriptor, as the macro reports it."""

    NONE = 0
    ROWS = 1
    """Rows or bias rows beyond the macro, no row at all, or a first row between two beats."""
    COLUMNS = 2
    """Columns beyond the macro, or none."""
    PLAN = 3
    """No input slice, or more than the macro has."""
    START = 4
    """No such start, or a start from the last round where there is none or one of other columns."""
    END = 5
    """No such end, or accumulators held at the end of the chain."""
    STEP = 6
    """An ADC step that the macro cannot set."""
    REQUANT = 7
    """A shift of 0, or `lo` above `hi`, in a round that requantizes."""
    RESIDUAL = 8
    """Residual codes in a round that starts from the last one."""
    LENGTH = 9
    """The round memory ends and this round is not the chain's last."""


def round_error(config: Config, words: Sequence[int], *, index: int, cols_before: int) -> RoundError:
    """The first rule that a descriptor breaks.

    Args:
        config: the macro.
        words: the `round_words` words of the round.
        index: place of the round in the round memory.
        cols_before: `col_count` of the round before; round 0 has none.

    Example:
        >>> from twinor.config import load
        >>> from twinor.rounds import Chain, Round, pack
        >>> import numpy as np
        >>> cfg, none = load("tiny"), np.zeros(4, dtype=np.int32)
        >>> rnd = Round(row_base=0, row_count=8, col_base=0, col_count=4, steps=((1,), (1,)))
        >>> words = pack(cfg, Chain(macro=0, rounds=(rnd,), mult=none, add=none))[8:, 1].tolist()
        >>> round_error(cfg, words, index=0, cols_before=0)
        <RoundError.NONE: 0>
        >>> round_error(cfg, [words[0] + 1, *words[1:]], index=0, cols_before=0)
        <RoundError.ROWS: 1>
    """
    broken = {
        RoundError.ROWS: _rows(config, words),
        RoundError.COLUMNS: _columns(config, words),
        RoundError.PLAN: not 1 <= words[2] & 0xFF <= config.x_slices,
        RoundError.START: _start(words, index, cols_before),
        RoundError.END: _end(words),
        RoundError.STEP: _steps(config, words),
        RoundError.REQUANT: _requant(config, words),
        RoundError.RESIDUAL: bool(words[2] >> 14 & 1) and words[2] >> 8 & 3 == Start.LAST,
        RoundError.LENGTH: index == config.max_rounds - 1 and not words[2] >> 12 & 1,
    }
    return next((error for error, bad in broken.items() if bad), RoundError.NONE)


def _rows(config: Config, words: Sequence[int]) -> bool:
    base, count, bias = words[0] & 0xFFFF, words[0] >> 16, words[5] & 0xFFFF
    return base % config.in_lanes != 0 or count < 1 or base + count + bias > config.rows


def _columns(config: Config, words: Sequence[int]) -> bool:
    mux, count = words[1] & 0xFFFF, words[1] >> 16
    return count < 1 or mux * config.n_lanes + count > config.out_cols


def _start(words: Sequence[int], index: int, cols_before: int) -> bool:
    start = words[2] >> 8 & 3
    return start > Start.PSUM or (start == Start.LAST and (index == 0 or words[1] >> 16 != cols_before))


def _end(words: Sequence[int]) -> bool:
    end = words[2] >> 10 & 3
    return end > End.REQUANT or (end == End.HOLD and bool(words[2] >> 12 & 1))


def _steps(config: Config, words: Sequence[int]) -> bool:
    used = min(words[2] & 0xFF, config.x_slices) * config.w_slices
    codes = [words[STEP_WORD + k // 4] >> 8 * (k % 4) & 0xFF for k in range(used)]
    return any((code >> 1) + 2 * (code & 1) > config.step_shift_max for code in codes)


def _requant(config: Config, words: Sequence[int]) -> bool:
    if words[2] >> 10 & 3 != End.REQUANT:
        return False
    half = 1 << (config.acc_bits - 1)
    lo, hi = (((word & (2 * half - 1)) ^ half) - half for word in words[3:5])
    return words[2] >> 16 & SHIFT_MAX == 0 or lo > hi
