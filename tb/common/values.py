# SPDX-License-Identifier: Apache-2.0
"""Numbers on wires: strict reading, and vectors of words with word 0 in the low bits."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Protocol

import cocotb
import pytest
from cocotb.types import LogicArray

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    *("Bits", "UnknownValue", "has_unknown", "lanes", "needs_four_states", "pack", "partly", "signed", "to_int"),
    *("two_states", "unknown", "unpack"),
]

Test = Callable[[Any], Awaitable[None]]

RANDOM = random.Random(os.environ.get("TWINOR_SEED", "1"))
"""What takes the place of X in a simulator that has none."""

Bits = int | LogicArray
"""What a bench drives: a number, or bits of which some are X."""


class UnknownValue(AssertionError):
    """A signal that a bench samples holds X or Z."""


class Signal(Protocol):
    """What is needed of a cocotb handle: its value, and what the value prints as."""

    @property
    def value(self) -> object:
        """Value whose `str` has one character per bit, the most significant first."""


def has_unknown(signal: Signal) -> bool:
    """True if any bit is neither 0 nor 1."""
    return not set(str(signal.value)) <= {"0", "1"}


def to_int(signal: Signal) -> int:
    """The unsigned value of a signal.

    Raises:
        UnknownValue: a bit is X or Z; it is never taken for 0.
    """
    return _number(signal, str(signal.value))


def _number(signal: Signal, text: str) -> int:
    if not set(text) <= {"0", "1"}:
        raise UnknownValue(f"{getattr(signal, '_name', 'signal')} = {text}: expected 0 and 1 only")
    return int(text, 2)


def lanes(signal: Signal, width: int, count: int) -> list[int]:
    """The first `count` signed words of a vector; what the others hold does not count.

    Raises:
        UnknownValue: a bit of these words is X or Z.
    """
    text = str(signal.value)
    return [signed(word, width) for word in unpack(_number(signal, text[len(text) - count * width :]), width, count)]


def signed(value: int, width: int) -> int:
    """Two's complement of an unsigned value.

    Example:
        >>> signed(0b110, 3), signed(0b010, 3)
        (-2, 2)
    """
    return value - (1 << width) if value >> (width - 1) & 1 else value


def pack(words: Iterable[int], width: int) -> int:
    """One vector from words, word 0 in the low bits; negative words in two's complement.

    Example:
        >>> hex(pack([1, 2, -1], 4))
        '0xf21'
    """
    mask = (1 << width) - 1
    return sum((int(word) & mask) << n * width for n, word in enumerate(words))


def unpack(vector: int, width: int, count: int) -> list[int]:
    """The words of one vector, unsigned: the inverse of `pack`.

    Example:
        >>> unpack(0xF21, 4, 3)
        [1, 2, 15]
    """
    mask = (1 << width) - 1
    return [vector >> n * width & mask for n in range(count)]


def two_states() -> bool:
    """True in a simulator that knows 0 and 1 alone, as Verilator does."""
    return getattr(cocotb, "SIM_NAME", "") == "Verilator"


def needs_four_states(test: Test) -> Test:
    """Decorator, below `@cocotb.test`, of a test whose subject is X: where there is none it is counted as skipped."""
    if not iscoroutinefunction(test):  # above it the test would vanish without a word
        raise TypeError("@needs_four_states goes below @cocotb.test")

    @wraps(test)
    async def skipped(_dut: Any) -> None:
        pytest.skip("its subject is X, which this simulator does not have")

    return skipped if two_states() else test


def unknown(width: int) -> LogicArray:
    """X in every bit; random bits in a simulator of two states, so that what must not count still varies.

    Example:
        >>> str(unknown(3))
        'XXX'
    """
    return partly(0, width, 0)


def partly(value: int, width: int, known: int) -> LogicArray:
    """A value of which only the bits of the mask `known` count; the others are X, or random as in `unknown`.

    Example:
        >>> str(partly(0b1010, 4, 0b0011))
        'XX10'
    """
    junk = f"{RANDOM.getrandbits(width):0{width}b}" if two_states() and width else "X" * width
    bits = (str(value >> n & 1) if known >> n & 1 else junk[n] for n in reversed(range(width)))
    return LogicArray("".join(bits))
