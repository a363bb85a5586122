# SPDX-License-Identifier: Apache-2.0
"""What was reached, file by file: the figures, the table, and each place that was missed with its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from tb.coverage.exclusions import excluded
from tb.coverage.points import branches, lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tb.coverage.exclusions import Exclusion
    from tb.coverage.points import Item, Point

__all__ = ["Measured", "Share", "measured", "table"]


@dataclass(frozen=True, slots=True)
class Share:
    """Places that a run may reach, and those that one did."""

    total: int
    covered: int

    @property
    def percent(self) -> float:
        """100 where there is nothing to reach."""
        return 100.0 * self.covered / self.total if self.total else 100.0

    def __str__(self) -> str:
        """The figure.

        Example:
            >>> str(Share(4, 3))
            '75.0 % (3 of 4)'
        """
        return f"{self.percent:.1f} % ({self.covered} of {self.total})"


@dataclass(frozen=True, slots=True)
class Measured:
    """Lines and branches of some files, how often each was reached, and what the list of exclusions excuses."""

    lines: dict[Item, int]
    branches: dict[Item, int]
    excused: set[Item]

    def shares(self, file: str | None = None) -> dict[str, Share]:
        """`lines` and `branches` of one file, or of all; what is excused does not count."""
        return {"lines": self._share(self.lines, file), "branches": self._share(self.branches, file)}

    def _share(self, found: dict[Item, int], file: str | None) -> Share:
        counted = [n for item, n in found.items() if item not in self.excused and file in (None, item.file)]
        return Share(len(counted), sum(n > 0 for n in counted))

    def missed(self, rtl: Path) -> list[str]:
        """A line for each place that no run reached, with its text."""
        return [_told(item, rtl, self.excused) for item in _unreached(self.lines) + _unreached(self.branches)]


def measured(counts: dict[Point, int], files: Sequence[str], exclusions: Sequence[Exclusion], rtl: Path) -> Measured:
    """Lines and branches of some files.

    Args:
        counts: Verilator's counters.
        files: names below the folder of the Verilog.
        exclusions: the whole list; entries of other files are left alone.
        rtl: folder of the Verilog.

    Raises:
        TwinorError: an exclusion excuses nothing.
    """
    rows, arms = ({i: n for i, n in found.items() if i.file in files} for found in (lines(counts), branches(counts)))
    here = [entry for entry in exclusions if entry.file in files]
    return Measured(rows, arms, excluded([*_unreached(rows), *_unreached(arms)], here, rtl))


def _unreached(found: dict[Item, int]) -> list[Item]:
    return sorted(item for item, count in found.items() if not count)


def _told(item: Item, rtl: Path, excused: set[Item]) -> str:
    text = (rtl / item.file).read_text(encoding="utf-8").splitlines()[item.line - 1].strip()
    arm = f"{item.branch} of: " if item.branch else ""
    return f"{'excluded' if item in excused else 'missed'} rtl/{item.file}:{item.line}: {arm}{text}"


def table(found: Measured, files: Sequence[str]) -> Table:
    """A row a file."""
    made = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("file", "lines", "reached", "percent", "branches", "reached", "percent"):
        made.add_column(name, justify="left" if name == "file" else "right")
    for file in files:
        shares = found.shares(file).values()
        cells = (text for share in shares for text in (share.total, share.covered, f"{share.percent:.1f}"))
        made.add_row(f"rtl/{file}", *map(str, cells))
    return made
