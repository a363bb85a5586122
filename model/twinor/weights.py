# SPDX-License-Identifier: Apache-2.0
"""Weights of the SAR trials: which lists a macro can have, and how Verilog takes them as one parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twinor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TRIALS_MAX", "Packed", "centres", "check_weights"]

TRIALS_MAX = 14
"""Longest search: a die has a threshold for each of the 2**trials patterns of kept trials."""


class Packed(int):
    """Words side by side, the first in the low bits; prints as the sized literal that every Verilog tool takes.

    Example:
        >>> print(Packed.of((2, 1), 2))
        4'h6
    """

    width: int

    @classmethod
    def of(cls, words: Sequence[int], bits: int) -> Packed:
        """Pack words of so many bits each."""
        packed = cls(sum(word << n * bits for n, word in enumerate(words)))
        packed.width = len(words) * bits
        return packed

    def __str__(self) -> str:
        """The literal."""
        return f"{self.width}'h{int(self):x}"


def centres(weights: Sequence[int]) -> list[int]:
    """By how many codes each trial's threshold lies above that of its level, so that both wrong answers can be mended.

    After trial k the rest of the search reaches `rest`, the sum of the weights that follow. Kept or dropped, it covers
    `rest - weight + 1` codes alike; the threshold is moved to their middle, by half of that, rounded down.

    Example:
        >>> centres((8, 4, 2, 1)), centres((8, 4, 4, 2, 1))
        ([0, 0, 0, 0], [2, 2, 0, 0, 0])
    """
    return [(sum(weights[k + 1 :]) - weight + 1) // 2 for k, weight in enumerate(weights)]


def check_weights(name: str, weights: Any, adc_bits: int) -> None:
    """Refuse weights that leave codes out, waste trials, or are `binary` under another name.

    Raises:
        ConfigError: names the preset, the weight and what is allowed.
    """
    if isinstance(weights, str):
        return
    top = (1 << adc_bits) - 1
    for k, weight in enumerate(weights):
        if not isinstance(weight, int) or isinstance(weight, bool) or not 1 <= weight <= top:
            raise ConfigError(f"preset {name}: sar_weights: trial {k} has weight {weight!r}: expected 1 .. {top}")
    if sorted(weights, reverse=True) != list(weights):
        raise ConfigError(f"preset {name}: sar_weights: {list(weights)}: expected no weight above the one before")
    for k, weight in enumerate(weights):
        rest = sum(weights[k + 1 :])
        if weight > rest + 1:
            raise ConfigError(
                f"preset {name}: sar_weights: trial {k} has weight {weight}, and what follows reaches {rest}: codes "
                f"between them cannot come out; expected at most {rest + 1}"
            )
    for broken, message in (
        (len(weights) > TRIALS_MAX, f"{len(weights)} trials: expected at most {TRIALS_MAX}"),
        (sum(weights) < top, f"a sum of {sum(weights)}: expected at least {top}, the largest code of {adc_bits} bits"),
        (sum(weights) > 2 * top, f"a sum of {sum(weights)}: expected at most {2 * top}, twice the largest code"),
        (
            list(weights) == [1 << bit for bit in reversed(range(adc_bits))],
            f"{list(weights)} is a binary search: write `sar_weights: binary`",
        ),
    ):
        if broken:
            raise ConfigError(f"preset {name}: sar_weights: {message}")
