# SPDX-License-Identifier: Apache-2.0
"""What a host sends, with X in every bit that the macro must not look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from twinor.config import MULT_BITS
from twinor.golden.column_correct import GAIN_BITS, OFFSET_BITS
from twinor.rounds import ROUND_STRIDE, STEP_WORD, TABLE_ADDR, End, pack
from twinor.trim import CORRECT_ADDR, trim_words

from tb.common.values import pack as pack_words
from tb.common.values import partly

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from twinor.config import Config
    from twinor.die import Die
    from twinor.rounds import Chain, Round

    from tb.common.values import Bits

__all__ = ["activation_beats", "by_position", "chain_words", "die_words", "residual_columns", "table_columns"]

FLAGS, SHIFT = 0x7FFF, 0x1F0000
"""Bits of word 2 that count in every round, and in one whose outputs are requantized."""


def activation_beats(config: Config, x: Sequence[int]) -> Iterator[dict[str, Bits]]:
    """Beats of one vector, `in_lanes` activations each; lanes beyond the vector are X.

    Example:
        >>> from twinor.config import load
        >>> [str(beat["data_i"]) for beat in activation_beats(load("tiny"), [3, 1, 2])]
        ['0111', 'XX10']
    """
    lanes, bits = config.in_lanes, config.input_bits
    for n in range(0, len(x), lanes):
        some = x[n : n + lanes]
        yield {"data_i": partly(pack_words(some, bits), lanes * bits, (1 << len(some) * bits) - 1)}


def by_position(config: Config, rnd: Round, columns: NDArray[np.integer]) -> list[NDArray[np.integer]]:
    """What the columns of a round have, cut into multiplexer positions; the reference column of each comes first.

    Example:
        >>> from twinor.config import load, replace
        >>> from twinor.rounds import Round
        >>> cfg = replace(load("nor40_int4_exact"), cols=12, cols_per_adc=4, ref_cols=True)
        >>> rnd = Round(row_base=0, row_count=1, col_base=0, col_count=3, steps=((1,),) * 4)
        >>> by_position(cfg, rnd, np.array([11, 12, 13, 90, 91])), by_position(cfg, rnd, np.array([1, 2, 3]))
        ([array([90, 11, 12]), array([91, 13])], [array([1, 2]), array([3])])
    """
    own, references = columns[: rnd.col_count], columns[rnd.col_count :]
    starts = range(0, rnd.col_count, config.n_lanes)
    return [np.concatenate([references[m : m + 1], own[c : c + config.n_lanes]]) for m, c in enumerate(starts)]


def die_words(config: Config, die: Die) -> Iterator[dict[str, Bits]]:
    """Words of macro 0 of a die, in the order of `trim.trim_words`."""
    for address, data in trim_words(config, die).tolist():
        bits = config.adc_bits if address < CORRECT_ADDR else (GAIN_BITS, OFFSET_BITS)[address % 2]
        yield {"addr_i": address, "data_i": partly(data, 32, (1 << bits) - 1)}


def table_columns(chain: Chain) -> int:
    """Columns of the column table that the chain's requantizing rounds read."""
    return max((rnd.col_count for rnd in chain.rounds if rnd.end is End.REQUANT), default=0)


def residual_columns(chain: Chain) -> int:
    """Columns of the column table whose residual multipliers the chain's rounds read."""
    return max((rnd.col_count for rnd in chain.rounds if rnd.residual), default=0)


def chain_words(config: Config, chain: Chain) -> Iterator[dict[str, Bits]]:
    """Words in the order of `rounds.pack`: the table's columns that are read, then the rounds.

    Example:
        >>> import numpy as np
        >>> from twinor.config import load
        >>> from twinor.rounds import Chain, Round
        >>> none = np.zeros(4, dtype=np.int32)
        >>> rnd = Round(row_base=0, row_count=8, col_base=0, col_count=4, steps=((2,),))
        >>> words = chain_words(load("tiny"), Chain(macro=0, rounds=(rnd,), mult=none, add=none))
        >>> [str(word["data_i"])[-16:] for word in words][2:]
        ['X001010000000001', 'XXXXXXXXXXXXXXXX', 'XXXXXXXXXXXXXXXX', '0000000000000000', 'XXXXXXXX00000010']
    """
    for address, data in pack(config, chain).tolist():
        if address >= TABLE_ADDR:
            known = _table_bits(chain, (address - TABLE_ADDR) // 2, address % 2)
            if not known:
                continue
        else:
            known = _counting(config, chain.rounds[address // ROUND_STRIDE], address % ROUND_STRIDE)
        yield {"addr_i": address, "data_i": partly(data, 32, known)}


def _table_bits(chain: Chain, column: int, word: int) -> int:
    """Mask of the bits of a word of the column table that some round has any use for."""
    scaled, added = column < table_columns(chain), column < residual_columns(chain)
    low = (1 << MULT_BITS) - 1
    if word == 1:
        return 0xFFFFFFFF if scaled else 0
    return (low if scaled else 0) | (low << MULT_BITS if added else 0)


def _counting(config: Config, rnd: Round, word: int) -> int:
    """Mask of the bits of a round word that this round has any use for."""
    requantizes = rnd.end is End.REQUANT
    if word < 2:
        return 0xFFFFFFFF
    if word == 2:
        return FLAGS | (SHIFT if requantizes else 0)
    if word < 5:
        return (1 << config.acc_bits) - 1 if requantizes else 0
    if word < STEP_WORD:
        return 0xFFFF | (((1 << config.input_bits) - 1) << 16 if rnd.bias_rows else 0)
    steps = len(rnd.steps) * config.w_slices - 4 * (word - STEP_WORD)
    return (1 << 8 * min(max(steps, 0), 4)) - 1
