# SPDX-License-Identifier: Apache-2.0
"""What Verilator counted: `coverage.dat` of many runs, added up over configurations and instances.

Verilator's own `verilator_coverage --write-info` keeps lines alone (Debian's 5.006), so branches are read from here.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Item", "branches", "lines", "read_counts"]

RECORD = re.compile(r"^C '(.*)' (\d+)$")


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """A place that a run may reach.

    Attributes:
        file: name of the Verilog file, below the folder of the Verilog.
        line: of the place, from 1.
        column: of the place; 0 for a whole line.
        branch: `if`, `else`, `elsif`, `cond_then`, `cond_else`, `case` as Verilator names them; empty for a line.
    """

    file: str
    line: int
    column: int = 0
    branch: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """A counter of Verilator: its place, and the lines that it counts."""

    item: Item
    span: tuple[int, ...]


def read_counts(paths: Iterable[Path], rtl: Path) -> dict[Point, int]:
    """Every counter of the runs, added up by its place.

    Args:
        paths: files `coverage.dat`.
        rtl: folder of the Verilog; counters of other files are dropped.
    """
    total: Counter[Point] = Counter()
    for path in paths:
        for record in path.read_text(encoding="utf-8").splitlines():
            found = RECORD.match(record)
            point = _point(found[1], rtl) if found else None
            if found and point:
                total[point] += int(found[2])
    return dict(total)


def _point(text: str, rtl: Path) -> Point | None:
    keys = dict(part.split("\x02", 1) for part in text.split("\x01") if "\x02" in part)
    path = Path(keys["f"])
    if not path.is_relative_to(rtl):
        return None
    branch = "" if keys["o"] == "block" else keys["o"]
    item = Item(path.relative_to(rtl).as_posix(), int(keys["l"]), int(keys["n"]), branch)
    return Point(item, tuple(_numbers(keys.get("S", ""))))


def _numbers(span: str) -> Iterable[int]:
    """Lines of a span.

    Example:
        >>> list(_numbers("3,7-9"))
        [3, 7, 8, 9]
    """
    for part in filter(None, span.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def lines(counts: dict[Point, int]) -> dict[Item, int]:
    """How often each line with a statement was reached: the most that any counter over it has."""
    found: dict[Item, int] = {}
    for point, count in counts.items():
        for line in point.span:
            item = Item(point.item.file, line)
            found[item] = max(found.get(item, 0), count)
    return found


def branches(counts: dict[Point, int]) -> dict[Item, int]:
    """How often each branch was taken: arms of `if`, `case` and `?:`, an `else` that is not written included."""
    total: Counter[Item] = Counter()
    for point, count in counts.items():
        if point.item.branch:
            total[point.item] += count
    return dict(total)
