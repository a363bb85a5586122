# SPDX-License-Identifier: Apache-2.0
"""Mutants of one Verilog file: single changes, drawn by a seed, the classes in turn."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import takewhile, zip_longest
from typing import TYPE_CHECKING

from tb.common.sources import file_of
from tb.mutation.changes import changes
from tb.mutation.syntax import parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Mutant", "mutants"]

CONTEXT = 16
"""Characters of the line that a row shows on each side of the change."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed place of a block.

    Attributes:
        block: name of the block.
        kind: class of the change.
        file: path below the folder of the Verilog.
        start: offset of the change.
        old: text that goes.
        new: text that comes.
        text: the source before.
    """

    block: str
    kind: str
    file: str
    start: int
    old: str
    new: str
    text: str

    @property
    def mutated(self) -> str:
        """The source with the change."""
        return self.text[: self.start] + self.new + self.text[self.start + len(self.old) :]

    @property
    def line(self) -> int:
        """Line of the change, from 1."""
        return self.text.count("\n", 0, self.start) + 1

    def shown(self, context: int = CONTEXT) -> tuple[str, str]:
        """The changed place before and after, with `context` characters of its line on each side, in whole words."""
        ahead = _common(self.old, self.new)
        old, new = self.old[ahead:], self.new[ahead:]
        behind = _common(old[::-1], new[::-1])
        old, new = old[: len(old) - behind], new[: len(new) - behind]
        start, end = self.start + ahead, self.start + len(self.old) - behind
        left = _words(self.text[self.text.rfind("\n", 0, start) + 1 : start][::-1], context)[::-1]
        right = _words(self.text[end : (self.text + "\n").find("\n", end)], context)
        before, after = (" ".join(f"{left}{middle}{right}".split()) for middle in (old, new))
        return before, after

    def place(self, rtl: Path) -> None:
        """Write the mutated source into a copy of the Verilog."""
        (rtl / self.file).write_text(self.mutated, encoding="utf-8")


def _common(one: str, other: str) -> int:
    """Characters that two texts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _words(text: str, context: int) -> str:
    """The beginning of a text, to the end of the word in which the context ends."""
    end = context
    while end < len(text) and (text[end].isalnum() or text[end] in "_'"):
        end += 1
    return text[:end].split("//")[0]


def mutants(block: str, rtl: Path, *, seed: int) -> Iterator[Mutant]:
    """Every mutant of a block: each class shuffled by the seed, then one of each class in turn until all are used.

    Args:
        block: name of the block.
        rtl: folder of the Verilog.
        seed: the same seed gives the same order everywhere.

    Example:
        >>> from tb.common.sources import RTL
        >>> first, second = list(mutants("sar_adc", RTL, seed=1))[:2]
        >>> first.kind, second.kind
        ('operator', 'constant')
    """
    path = file_of(block, rtl)
    text = path.read_text(encoding="utf-8")
    queues = []
    for kind, found in changes(parse(text)).items():
        random.Random(f"{seed} {block} {kind}").shuffle(found)
        queues.append([(kind, *change) for change in found])
    for turn in zip_longest(*queues):
        for kind, start, end, new in filter(None, turn):
            yield Mutant(block, kind, str(path.relative_to(rtl)), start, text[start:end], new, text)
