# SPDX-License-Identifier: Apache-2.0
"""Rounds and chains: the words that golden, `fast` and the Verilog sequencer all execute."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from twinor.config import ADD_BITS, MULT_BITS, SHIFT_MAX, Config
from twinor.errors import PlacementError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "ROUND_STRIDE",
    "STEP_WORD",
    "TABLE_ADDR",
    "Chain",
    "End",
    "Pass",
    "Round",
    "Start",
    "check_streams",
    "converts",
    "pack",
    "passes",
    "unpack",
    "validate",
]

STEP_WORD = 6
"""First word of a round that holds ADC steps."""
ROUND_STRIDE = 32
"""Word addresses from one round to the next."""
TABLE_ADDR = 1 << 15
"""Word address of the column table: per column its `residual_mult` and `mult` in one word, then its `add`."""


class Start(IntEnum):
    """Where a round's accumulators come from."""

    ZERO = 0
    LAST = 1
    """The accumulators that the last round left."""
    PSUM = 2
    """Partial sums that stream in."""


class End(IntEnum):
    """What a round does with its accumulators."""

    HOLD = 0
    """Keep them for the next round."""
    RAW = 1
    """Stream them out as partial sums."""
    REQUANT = 2
    """Stream out requantized outputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One array pass over a region of the macro.

    Attributes:
        row_base: first word line, a multiple of `in_lanes`.
        row_count: activations of a vector, at least 1; activation `i` drives word line `row_base + i`.
        col_base: first output column, a multiple of `n_lanes`.
        col_count: output columns, at least 1.
        steps: ADC step in array units by input slice and weight slice; its length is the input slice plan.
        shift, lo, hi: requantization, used with `End.REQUANT`.
        signed: activations are signed: positive ones drive a first phase, the magnitudes of negative ones a second.
        residual: residual codes stream in; each is multiplied by its column's integer and added to the accumulator.
        bias_rows, bias_code: that many word lines after the activations' are driven with that code.
    """

    row_base: int
    row_count: int
    col_base: int
    col_count: int
    steps: tuple[tuple[int, ...], ...]
    start: Start = Start.ZERO
    end: End = End.RAW
    shift: int = 1
    lo: int = 0
    hi: int = 0
    signed: bool = False
    residual: bool = False
    bias_rows: int = 0
    bias_code: int = 0

    @property
    def driven_rows(self) -> int:
        """Word lines that the round drives: its activations' and its bias rows."""
        return self.row_count + self.bias_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The program of one macro: its rounds and the column table (int32[out_cols] each, by output column of the round).

    `residual_mult` is what residual codes are multiplied by, None for zeros.
    """

    macro: int
    rounds: tuple[Round, ...]
    mult: NDArray[np.int32]
    add: NDArray[np.int32]
    residual_mult: NDArray[np.int32] | None = None

    @property
    def residual_table(self) -> NDArray[np.int32]:
        """`residual_mult`, zeros included."""
        return np.zeros_like(self.mult) if self.residual_mult is None else self.residual_mult


@dataclass(frozen=True, slots=True)
class Pass:
    """One settling of the array: a row group, an input slice and a weight slice; phase 1 is that of negative inputs."""

    group: int
    x_slice: int
    w_slice: int
    phase: int = 0


def passes(config: Config, rnd: Round) -> list[Pass]:
    """The passes of a round in the order in which the sequencer runs them.

    Example:
        >>> from twinor.config import load
        >>> rnd = Round(row_base=0, row_count=8, col_base=0, col_count=4, steps=((1,), (2,)))
        >>> [(p.group, p.x_slice) for p in passes(load("tiny"), rnd)]
        [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    groups = -(-rnd.driven_rows // config.active_rows)
    x_slices, w_slices = range(len(rnd.steps)), range(config.w_slices)
    if config.analog_slices:
        order = [(i, j) for j in w_slices for i in x_slices]
    else:
        order = [(i, j) for i in x_slices for j in w_slices]
    return [Pass(g, i, j, s) for g in range(groups) for s in range(1 + rnd.signed) for i, j in order]


def converts(config: Config, rnd: Round, p: Pass) -> bool:
    """True if the ADCs convert what a pass settled; with analog accumulation, that of the last input slice alone."""
    return not config.analog_slices or p.x_slice == len(rnd.steps) - 1


def validate(config: Config, chain: Chain) -> None:
    """Refuse a chain that the macro cannot run.

    Raises:
        PlacementError: names the round, the field, its value and what is allowed.
    """
    if not 1 <= len(chain.rounds) <= config.max_rounds:
        raise PlacementError(f"chain of {len(chain.rounds)} rounds: the round memory holds 1 .. {config.max_rounds}")
    for index, rnd in enumerate(chain.rounds):
        for field, value, good, allowed in _rules(config, rnd):
            if not good:
                raise PlacementError(f"round {index}: {field} = {value} is not allowed: expected {allowed}")
    tables = (
        ("mult", chain.mult, MULT_BITS),
        ("add", chain.add, ADD_BITS),
        ("residual", chain.residual_table, MULT_BITS),
    )
    for name, table, bits in tables:
        limit = 1 << (bits - 1)
        if table.shape != (config.out_cols,) or np.any(table < -limit) or np.any(table >= limit):
            raise PlacementError(f"column table {name}: expected {config.out_cols} signed {bits}-bit integers")
    for before, after in pairwise(chain.rounds):
        if after.start is Start.LAST and after.col_count != before.col_count:
            raise PlacementError(
                f"a round of {after.col_count} columns cannot start from a last round of {before.col_count}"
            )
    if chain.rounds[0].start is Start.LAST or chain.rounds[-1].end is End.HOLD:
        raise PlacementError("a chain must not start from a last round nor end by holding its accumulators")


def check_streams(
    config: Config,
    chain: Chain,
    inputs: Sequence[NDArray[np.integer]],
    psums: NDArray[np.integer] | None,
    residuals: NDArray[np.integer] | None = None,
    *,
    macros: int,
) -> None:
    """Refuse streams that do not fit a chain; every engine asks this first.

    Raises:
        ValueError: names the stream, its shape or range, and what is expected.
    """
    if not 0 <= chain.macro < macros:
        raise ValueError(f"the chain runs on macro {chain.macro}, the die carries 0 .. {macros - 1}")
    shapes = [x.shape for x in inputs]
    vectors = shapes[0][0] if shapes and shapes[0] else 0
    if shapes != [(vectors, rnd.row_count) for rnd in chain.rounds]:
        raise ValueError(f"activations {shapes}: expected [vectors, row_count] with {_row_counts(chain)} rows")
    _check_columns("partial sums", psums, vectors, [r.col_count for r in chain.rounds if r.start is Start.PSUM])
    _check_columns("residual codes", residuals, vectors, [r.col_count for r in chain.rounds if r.residual])
    for rnd, x in zip(chain.rounds, inputs, strict=True):
        low = -(1 << (config.input_bits - 1)) if rnd.signed else 0
        _check_range("activations", x, low, low + (1 << config.input_bits))
    if psums is not None:
        _check_range("partial sums", psums, -1 << (config.psum_bits - 1), 1 << (config.psum_bits - 1))
    if residuals is not None:
        _check_range("residual codes", residuals, -1 << config.input_bits, 1 << config.input_bits)


def _check_columns(name: str, values: NDArray[np.integer] | None, vectors: int, col_counts: list[int]) -> None:
    columns = sum(col_counts)
    if (values is None and columns) or (values is not None and values.shape != (vectors, columns)):
        given = None if values is None else values.shape
        raise ValueError(f"{name} {given}: expected {(vectors, columns) if columns else None}")


def _row_counts(chain: Chain) -> list[int]:
    return [rnd.row_count for rnd in chain.rounds]


def _check_range(name: str, values: NDArray[np.integer], low: int, past: int) -> None:
    if values.size and (values.min() < low or values.max() >= past):
        raise ValueError(f"{name} {values.min()} .. {values.max()}: expected {low} .. {past - 1}")


Rule = tuple[str, object, bool, str]
"""Field, value, whether it is good, what is allowed."""


def _rules(config: Config, rnd: Round) -> list[Rule]:
    return [*_row_rules(config, rnd), *_column_rules(config, rnd), *_step_rules(config, rnd), *_end_rules(config, rnd)]


def _row_rules(c: Config, rnd: Round) -> list[Rule]:
    below = c.rows - rnd.row_base
    bases, bias = range(0, c.rows, c.in_lanes), below - rnd.row_count
    return [
        ("row_base", rnd.row_base, rnd.row_base in bases, f"multiples of {c.in_lanes} below {c.rows}"),
        ("row_count", rnd.row_count, 1 <= rnd.row_count <= below, f"1 .. {below}"),
        ("bias_rows", rnd.bias_rows, 0 <= rnd.bias_rows <= bias, f"0 .. {bias}"),
        ("bias_code", rnd.bias_code, 0 <= rnd.bias_code >> c.input_bits < 1, f"0 .. {(1 << c.input_bits) - 1}"),
    ]


def _column_rules(c: Config, rnd: Round) -> list[Rule]:
    beside, bases = c.out_cols - rnd.col_base, range(0, c.out_cols, c.n_lanes)
    return [
        ("col_base", rnd.col_base, rnd.col_base in bases, f"multiples of {c.n_lanes} below {c.out_cols}"),
        ("col_count", rnd.col_count, 1 <= rnd.col_count <= beside, f"1 .. {beside}"),
    ]


def _step_rules(c: Config, rnd: Round) -> list[Rule]:
    plan = 1 <= len(rnd.steps) <= c.x_slices and all(len(row) == c.w_slices for row in rnd.steps)
    settable = all(step in c.steps for row in rnd.steps for step in row)
    one = not c.analog_slices or len(set(rnd.steps)) <= 1
    return [
        ("steps", rnd.steps, plan, f"1 .. {c.x_slices} input slices of {c.w_slices} weight slices"),
        ("steps", rnd.steps, settable, f"values of {c.steps}"),
        ("steps", rnd.steps, one, "the same steps for every input slice, which one conversion serves"),
    ]


def _end_rules(c: Config, rnd: Round) -> list[Rule]:
    limit = 1 << (c.acc_bits - 1)
    ordered, fresh = -limit <= rnd.lo <= rnd.hi < limit, not rnd.residual or rnd.start is not Start.LAST
    return [
        ("residual", rnd.residual, fresh, "no residual codes in a round that starts from the last one"),
        ("shift", rnd.shift, 1 <= rnd.shift <= SHIFT_MAX, f"1 .. {SHIFT_MAX}"),
        ("lo, hi", (rnd.lo, rnd.hi), ordered, f"lo <= hi in {c.acc_bits} signed bits"),
    ]


def step_code(step: int) -> int:
    """The 8-bit field of an ADC step: {shift, three} for `(3 if three else 1) << shift`.

    Example:
        >>> [step_code(s) for s in (1, 2, 3, 4, 6)]
        [0, 2, 1, 4, 3]
    """
    three = step % 3 == 0
    return ((step // (3 if three else 1)).bit_length() - 1) << 1 | three


def _step(code: int) -> int:
    return (3 if code & 1 else 1) << (code >> 1)


def pack(config: Config, chain: Chain) -> NDArray[np.uint32]:
    """The chain as (address, data) words, uint32[n, 2]: the column table first, then the rounds in order.

    The Verilog sequencer arms itself when the last word of the last round arrives.
    """
    words: list[tuple[int, int]] = []
    residual = chain.residual_table
    for column in range(config.out_cols):
        both = int(residual[column]) << MULT_BITS | int(chain.mult[column]) & ((1 << MULT_BITS) - 1)
        words.append((TABLE_ADDR + 2 * column, both & 0xFFFFFFFF))
        words.append((TABLE_ADDR + 2 * column + 1, int(chain.add[column]) & 0xFFFFFFFF))
    for index, rnd in enumerate(chain.rounds):
        for offset, data in enumerate(_round_words(config, rnd, last=index == len(chain.rounds) - 1)):
            words.append((index * ROUND_STRIDE + offset, data))
    return np.array(words, dtype=np.uint32)


def _round_words(config: Config, rnd: Round, *, last: bool) -> list[int]:
    words = [
        rnd.row_base | rnd.row_count << 16,
        rnd.col_base // config.n_lanes | rnd.col_count << 16,
        len(rnd.steps)
        | rnd.start << 8
        | rnd.end << 10
        | last << 12
        | rnd.signed << 13
        | rnd.residual << 14
        | rnd.shift << 16,
        rnd.lo & 0xFFFFFFFF,
        rnd.hi & 0xFFFFFFFF,
        rnd.bias_rows | rnd.bias_code << 16,
    ]
    codes = [step_code(s) for row in rnd.steps for s in row]
    codes += [0] * (4 * (config.round_words - STEP_WORD) - len(codes))
    return words + [sum(code << 8 * k for k, code in enumerate(codes[n : n + 4])) for n in range(0, len(codes), 4)]


def unpack(config: Config, words: NDArray[np.uint32], *, macro: int = 0) -> Chain:
    """The chain that (address, data) words describe: the inverse of `pack`.

    Bits that the hardware does not look at may hold anything: above `acc_bits` of a limit, between the fields.
    """
    memory = {int(a): int(d) for a, d in words}
    rounds: list[Round] = []
    while True:
        base = len(rounds) * ROUND_STRIDE
        rounds.append(_unpack_round(config, [memory[base + k] for k in range(config.round_words)]))
        if memory[base + 2] >> 12 & 1:
            break
    table = [memory[TABLE_ADDR + k] for k in range(2 * config.out_cols)]
    mult = np.array([_signed(word, MULT_BITS) for word in table[::2]], dtype=np.int32)
    add = np.array([_signed(word, ADD_BITS) for word in table[1::2]], dtype=np.int32)
    residual = np.array([_signed(word >> MULT_BITS, MULT_BITS) for word in table[::2]], dtype=np.int32)
    return Chain(
        macro=macro, rounds=tuple(rounds), mult=mult, add=add, residual_mult=residual if residual.any() else None
    )


def _signed(word: int, bits: int) -> int:
    """Two's complement of the low bits of a word."""
    low = word & ((1 << bits) - 1)
    return low - (1 << bits) if low >> (bits - 1) else low


def _unpack_round(config: Config, w: list[int]) -> Round:
    codes = [w[STEP_WORD + k // 4] >> 8 * (k % 4) & 0xFF for k in range((w[2] & 0xFF) * config.w_slices)]
    steps = [_step(code) for code in codes]
    lo, hi = (_signed(word, config.acc_bits) for word in w[3:5])
    return Round(
        row_base=w[0] & 0xFFFF,
        row_count=w[0] >> 16,
        col_base=(w[1] & 0xFFFF) * config.n_lanes,
        col_count=w[1] >> 16,
        steps=tuple(tuple(steps[k : k + config.w_slices]) for k in range(0, len(steps), config.w_slices)),
        start=Start(w[2] >> 8 & 3),
        end=End(w[2] >> 10 & 3),
        shift=w[2] >> 16 & SHIFT_MAX,
        lo=lo,
        hi=hi,
        signed=bool(w[2] >> 13 & 1),
        residual=bool(w[2] >> 14 & 1),
        bias_rows=w[5] & 0xFFFF,
        bias_code=w[5] >> 16 & ((1 << config.input_bits) - 1),
    )
