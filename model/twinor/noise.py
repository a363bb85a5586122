# SPDX-License-Identifier: Apache-2.0
"""Temporal noise: one integer per conversion, from a counter and a key alone.

    noise = (quantile[word >> 16] * isqrt(variance) + half) >> 12      word = Philox4x32-10(counter, key)

The key is the seed; the counter names the conversion: vector, macro, first row of the group, slices, phase and column.
So any conversion can be reproduced alone, in any order, by any engine. A cell's random telegraph noise is one byte of
such a word per `HOLD` vectors, compared with the occupancy of its trap.
Philox: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
Verilog reads the sums of both: rtl/sim/adc_frontend.v
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from twinor.golden import adc_frontend, bitline, flash_array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.die import CellCurrents, Die
    from twinor.rounds import Pass

__all__ = [
    *("HOLD", "QUANTILE_BITS", "Source", "blocks", "conversion_words"),
    *("gaussian", "isqrt", "philox", "quantiles", "trapped", "trapped_currents"),
]

HOLD = 64
"""Vectors during which a trap keeps its state: some 100 us, the middle of the time constants of traps."""

QUANTILE_BITS = 12
"""Fraction bits of a quantile of the normal distribution."""

ROUNDS, MULTIPLIERS, WEYL = 10, (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
LOW = np.uint64(0xFFFFFFFF)
HALF_WORD = np.uint64(32)

Words = tuple["NDArray[np.uint64]", ...]


def philox(counter: Words, seed: int) -> Words:
    """Philox4x32-10 of four counter words, each below 2**32, broadcast against each other.

    Args:
        counter: uint64 arrays.
        seed: the key, its low and its next 32 bits.

    Returns:
        Four words below 2**32.

    Example:
        >>> zero = np.zeros(1, dtype=np.uint64)
        >>> [hex(int(word[0])) for word in philox((zero, zero, zero, zero), 0)]
        ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    a, b, c, d = counter
    key = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    for _ in range(ROUNDS):
        left, right = a * np.uint64(MULTIPLIERS[0]), c * np.uint64(MULTIPLIERS[1])
        a, b, c, d = (
            right >> HALF_WORD ^ b ^ np.uint64(key[0]),
            right & LOW,
            left >> HALF_WORD ^ d ^ np.uint64(key[1]),
            left & LOW,
        )
        key = [(k + weyl) & 0xFFFFFFFF for k, weyl in zip(key, WEYL, strict=True)]
    return a, b, c, d


def conversion_words(
    seed: int,
    *,
    macro: int,
    vectors: NDArray[np.integer],
    row: int,
    x_slice: int,
    w_slice: int,
    phase: int,
    columns: NDArray[np.integer],
) -> NDArray[np.uint32]:
    """One word per conversion of a pass.

    Args:
        seed: of the noise.
        macro: on the die.
        vectors: index of each vector in the whole run, [V].
        row: first word line of the pass.
        x_slice: of the pass.
        w_slice: of the pass.
        phase: of the pass.
        columns: columns of the array, [A].

    Returns:
        uint32[V, A].

    Example:
        >>> at = {"macro": 2, "row": 0, "x_slice": 1, "w_slice": 0, "phase": 0}
        >>> both = conversion_words(7, vectors=np.arange(3), columns=np.array([4, 9]), **at)
        >>> bool(both[2, 1] == conversion_words(7, vectors=np.array([2]), columns=np.array([9]), **at)[0, 0])
        True
    """
    column = columns.astype(np.uint64)
    blocks, at = np.unique(column >> np.uint64(2), return_inverse=True)
    one = np.ones((len(vectors), len(blocks)), dtype=np.uint64)
    where = row << 16 | x_slice << 8 | w_slice << 1 | phase
    words = philox((one * vectors.astype(np.uint64)[:, None], one * macro, one * where, one * blocks), seed)
    return np.stack(words, axis=-1)[:, at, column & np.uint64(3)].astype(np.uint32)


def trapped(
    seed: int, *, macro: int, block: int, rows: NDArray[np.integer], occupancy: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Which cells' traps hold an electron, bool[rows, bit_lines].

    Args:
        seed: of the noise.
        macro: on the die.
        block: vector index div `HOLD`.
        rows: word lines, [R].
        occupancy: of each cell's trap, [R, bit_lines], 0 .. 256 of 256.

    Example:
        >>> share = np.tile([0, 64, 256], (1000, 1))
        >>> held = trapped(3, macro=0, block=0, rows=np.arange(1000), occupancy=share)
        >>> held.mean(axis=0).tolist()
        [0.0, 0.277, 1.0]
    """
    lines = np.arange(
        1 << 31, (1 << 31) + -(-occupancy.shape[1] // 16)
    )  # apart from every conversion: columns are fewer
    where = np.broadcast_arrays(np.uint64(block), np.uint64(macro), rows[:, None], lines)
    words = philox(tuple(word.astype(np.uint64) for word in where), seed)
    draws = np.stack(words, axis=-1).astype("<u4").view(np.uint8).reshape(len(rows), 16 * len(lines))
    return draws[:, : occupancy.shape[1]] < occupancy


@cache
def quantiles() -> NDArray[np.int32]:
    """Normal quantiles of the middles of 2**16 equal shares, int32[65536], in `2**-QUANTILE_BITS`.

    Example:
        >>> table = quantiles()
        >>> int(table[0]), int(table[32767]), int(table[65535])
        (-17715, 0, 17715)
    """
    normal = NormalDist()
    upper = [round(normal.inv_cdf((k + 0.5) / 65536) * (1 << QUANTILE_BITS)) for k in range(32768, 65536)]
    return np.array([-q for q in reversed(upper)] + upper, dtype=np.int32)


def isqrt(square: NDArray[np.int64]) -> NDArray[np.int64]:
    """Largest integer whose square does not exceed each value; exact below 2**62.

    Example:
        >>> isqrt(np.array([0, 1, 3, 4, (1 << 60) - 1])).tolist()
        [0, 1, 1, 2, 1073741823]
    """
    root = np.sqrt(square.astype(np.float64)).astype(np.int64)
    root -= root * root > square
    exact: NDArray[np.int64] = root + ((root + 1) * (root + 1) <= square)
    return exact


def gaussian(variance: NDArray[np.int64], words: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Normal integers of a variance.

    Args:
        variance: of each, int64[...].
        words: uniform, uint32[...].

    Example:
        >>> gaussian(np.array([10**6, 0]), np.array([0xFFFFFFFF, 0], dtype=np.uint32)).tolist()
        [4325, 0]
    """
    half = 1 << (QUANTILE_BITS - 1)
    noise: NDArray[np.int64] = (quantiles()[words >> 16].astype(np.int64) * isqrt(variance) + half) >> QUANTILE_BITS
    return noise


def blocks(vectors: NDArray[np.integer]) -> Iterator[tuple[int, slice]]:
    """The stretches of consecutive vectors in which no trap changes: their number, and where they lie.

    Example:
        >>> list(blocks(np.arange(60, 70)))
        [(0, slice(0, 4, None)), (1, slice(4, 10, None))]
    """
    of = vectors // HOLD
    cuts = [0, *(np.flatnonzero(np.diff(of)) + 1).tolist(), len(of)]
    return ((int(of[a]), slice(a, b)) for a, b in pairwise(cuts) if b > a)


def trapped_currents(cells: CellCurrents, macro: int, block: int, rows: NDArray[np.integer]) -> NDArray[np.int64]:
    """What occupied traps take away during a block of vectors, int64[rows, 2**dac_bits, bit_lines]."""
    current, trap = cells.current[macro, rows].astype(np.int64), cells.trap[macro, rows]
    at = {"macro": cells.first_macro + macro, "block": block, "rows": rows, "occupancy": cells.occupancy[macro, rows]}
    taken: NDArray[np.int64] = current * (trap * trapped(cells.noise_seed, **at))[:, None] >> 16
    return taken


class Source:
    """The noise of one round's conversions on a macro of a die; quantities as `bitline` and `adc_frontend` have them.

    Args:
        config, die, macro: what runs.
        columns: columns of the array that the round converts, [A].
        vectors: their indices in the whole run, [V].
    """

    def __init__(
        self, config: Config, die: Die, macro: int, columns: NDArray[np.integer], vectors: NDArray[np.integer]
    ) -> None:
        """Nothing is held yet."""
        self.config, self.cells, self.macro = config, die.cells if die.noisy else None, macro
        self.columns, self.vectors = columns, vectors
        self.taken = self.variance = np.zeros((len(vectors), len(columns)), dtype=np.int64)

    def see(self, wl: NDArray[np.uint8], p: Pass) -> None:
        """Take in a pass: its word-line codes, uint8[V, rows]."""
        if self.cells is None:
            return
        lines = flash_array.cell_currents(self.cells.variance[self.macro], wl)
        variance = bitline.column_total(self.config, lines, w_slice=p.w_slice)[:, self.columns]
        taken = bitline.column_quantity(self.config, self._taken(wl), w_slice=p.w_slice)[:, self.columns]
        self.taken = adc_frontend.share(self.config, self.taken, taken, x_slice=p.x_slice)
        self.variance = adc_frontend.share(self.config, self.variance, variance, x_slice=2 * p.x_slice)

    def _taken(self, wl: NDArray[np.uint8]) -> NDArray[np.int64]:
        assert self.cells is not None  # `see` has seen to it
        total = np.zeros((len(wl), self.cells.trap.shape[2]), dtype=np.int64)
        on = np.flatnonzero(wl.any(axis=0))
        for block, span in blocks(self.vectors) if self.cells.trap[self.macro].any() else ():
            table = trapped_currents(self.cells, self.macro, block, on)
            total[span] = flash_array.cell_currents(table, wl[span][:, on])
        return total

    def draw(self, p: Pass, *, row: int, step: int) -> NDArray[np.int64]:
        """What noise adds to each quantity that the pass converts, int64[V, A], in `2**(-2 * frac_bits)` array units.

        Args:
            p: the pass.
            row: its first word line.
            step: of the conversion.
        """
        if self.cells is None:
            return np.zeros_like(self.taken)
        adcs = adc_frontend.adc_of_column(self.config, self.columns)
        variance = self.variance + self.cells.conversion[self.macro, adcs] * step**2
        words = conversion_words(
            self.cells.noise_seed,
            macro=self.cells.first_macro + self.macro,
            vectors=self.vectors,
            row=row,
            x_slice=p.x_slice,
            w_slice=p.w_slice,
            phase=p.phase,
            columns=self.columns,
        )
        return gaussian(variance, words) - self.taken
