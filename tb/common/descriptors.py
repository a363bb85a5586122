# SPDX-License-Identifier: Apache-2.0
"""Words of a round that break a rule of `round_check`, each alone and at its limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinor.rounds import STEP_WORD, End, Start

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twinor.config import Config

__all__ = ["field", "spoiled", "with_field"]

FIELDS = {
    "row_base": (0, 0, 16),
    "row_count": (0, 16, 16),
    "mux": (1, 0, 16),
    "col_count": (1, 16, 16),
    "plan": (2, 0, 8),
    "start": (2, 8, 2),
    "end": (2, 10, 2),
    "last": (2, 12, 1),
    "signed": (2, 13, 1),
    "residual": (2, 14, 1),
    "shift": (2, 16, 5),
    "lo": (3, 0, 32),
    "hi": (4, 0, 32),
    "bias_rows": (5, 0, 16),
    "bias_code": (5, 16, 8),
}
"""Word, first bit and width of every field; steps are numbered from word `STEP_WORD` on."""


def _place(name: str) -> tuple[int, int, int]:
    if name.startswith("step"):
        k = int(name[4:])
        return STEP_WORD + k // 4, 8 * (k % 4), 8
    return FIELDS[name]


def field(words: Sequence[int], name: str) -> int:
    """A field of a round's words.

    Example:
        >>> field([0x00080002], "row_count"), field([0] * 6 + [0x0504], "step1")
        (8, 5)
    """
    word, low, width = _place(name)
    return words[word] >> low & ((1 << width) - 1)


def with_field(words: Sequence[int], name: str, value: int) -> list[int]:
    """The words with another value in one field, cut to its width.

    Example:
        >>> [hex(word) for word in with_field([0x00080002], "row_count", 9)]
        ['0x90002']
    """
    word, low, width = _place(name)
    mask = (1 << width) - 1
    changed = list(words)
    changed[word] = changed[word] & ~(mask << low) | (value & mask) << low
    return changed


def spoiled(config: Config, words: Sequence[int], *, cols_before: int) -> Iterator[tuple[str, list[int]]]:
    """Every field of a good round at and around the limits of its rules, one change at a time, with what was changed.

    Some of the results are still good: a limit has a good side. `golden.round_check` tells which.
    """
    c, rows, mux = config, field(words, "row_count"), field(words, "mux")
    base, bias, plan = field(words, "row_base"), field(words, "bias_rows"), field(words, "plan")
    half, room = 1 << (c.acc_bits - 1), c.rows - base - bias
    most = (c.out_cols - mux * c.n_lanes, (c.out_cols - field(words, "col_count")) // c.n_lanes)
    shift_most = 2 * c.step_shift_max
    values = {
        "row_base": (base + 1, base + c.in_lanes, c.rows - 1, c.rows, 0xFFFF - 0xFFFF % c.in_lanes),
        "row_count": (0, 1, room, room + 1, 0xFFFF),
        "bias_rows": (c.rows - base - rows, c.rows - base - rows + 1, 0xFFFF),
        "mux": (most[1], most[1] + 1, 0xFFFF),
        "col_count": (0, 1, most[0], most[0] + 1, cols_before, cols_before + 1, 0xFFFF),
        "plan": (0, 1, c.x_slices, c.x_slices + 1, 0xFF),
        "start": (*Start, 3),
        "end": (*End, 3),
        "last": (0, 1),
        "residual": (0, 1),
        "shift": (0, 1, 31),
        "lo": (half - 1, half, field(words, "hi"), field(words, "hi") + 1),
        "hi": (half - 1, half, field(words, "lo"), field(words, "lo") - 1),
    }
    top = (shift_most, shift_most + 1, shift_most + 2, shift_most - 3, shift_most - 1, 0xFE, 0xFF)
    values |= {f"step{k}": top for k in range(c.x_slices * c.w_slices)}
    for name, some in values.items():
        for value in some:
            yield f"{name} = {value}", with_field(words, name, value)
    if plan:
        yield "two fields", with_field(with_field(words, "row_count", 0), "plan", 0)
