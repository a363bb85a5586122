# SPDX-License-Identifier: Apache-2.0
"""Sequence items, and what the monitors publish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyuvm import uvm_sequence_item

from tb.common.beats import activation_beats, chain_words
from tb.common.values import pack as pack_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray
    from twinor.config import Config
    from twinor.rounds import Chain

    from tb.common.values import Bits

__all__ = [
    "ActivationsItem",
    "Beat",
    "Conversion",
    "Held",
    "PartialSumsItem",
    "ResidualsItem",
    "RoundsItem",
    "StreamItem",
]


class StreamItem(uvm_sequence_item):
    """Beats of one stream, offered one after the other, with X in every bit that must not count.

    Attributes:
        beats: fields by name.
    """

    def __init__(self, name: str, beats: Iterable[dict[str, Bits]]) -> None:
        """Keep the beats."""
        super().__init__(name)
        self.beats = list(beats)


class RoundsItem(StreamItem):
    """The column table, as far as it is read, and the rounds of a chain, as words."""

    def __init__(self, config: Config, chain: Chain) -> None:
        """Pack the chain."""
        super().__init__("rounds", chain_words(config, chain))


class ActivationsItem(StreamItem):
    """The activations of one round of one vector."""

    def __init__(self, config: Config, x: NDArray[np.integer]) -> None:
        """Cut the vector into beats of `in_lanes`."""
        super().__init__("activations", activation_beats(config, x.tolist()))


class PartialSumsItem(StreamItem):
    """The partial sums of one vector, one column a beat."""

    def __init__(self, config: Config, psums: NDArray[np.integer]) -> None:
        """Two's complement."""
        super().__init__("partial sums", ({"data_i": pack_words([p], config.psum_bits)} for p in psums.tolist()))


class ResidualsItem(StreamItem):
    """The residual codes of one vector, one column a beat."""

    def __init__(self, config: Config, residuals: NDArray[np.integer]) -> None:
        """Two's complement."""
        bits = config.input_bits + 1
        super().__init__("residual codes", ({"data_i": pack_words([r], bits)} for r in residuals.tolist()))


# What the monitors publish //


@dataclass(frozen=True, slots=True)
class Beat:
    """A beat that moved in a cycle; bits by field, so that an X in an unused lane harms nobody."""

    cycle: int
    bits: dict[str, str]


@dataclass(frozen=True, slots=True)
class Held:
    """The word lines of a pass at its hold, or as its charge is shared."""

    cycle: int
    word_lines: list[int]


@dataclass(frozen=True, slots=True)
class Conversion:
    """The columns of one phase: trials of each, codes and accumulators."""

    cycle: int
    trials: list[list[int]]
    codes: list[int]
    partial_sums: list[int]
