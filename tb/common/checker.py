# SPDX-License-Identifier: Apache-2.0
"""The in-order checker: what the model expects, what a monitor saw, and nothing left on either side."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

__all__ = ["CheckFailed", "Checker"]

Item = TypeVar("Item")


class CheckFailed(AssertionError):
    """The device and the model differ; names the seam, the position in order, and both values."""


class Checker(Generic[Item]):
    """Compares two sequences as they arrive, whichever side is first.

    Example:
        >>> check = Checker("code")
        >>> check.expect(5); check.got(5); check.finish()
        >>> check.expect(6)
        >>> check.finish()
        Traceback (most recent call last):
        ...
        tb.common.checker.CheckFailed: code: 1 expected but never seen, first is item 1: 6
    """

    def __init__(self, name: str) -> None:
        """Name the seam."""
        self.name = name
        self.compared = 0
        self._expected: deque[Item] = deque()
        self._got: deque[tuple[Item, str]] = deque()

    def expect(self, *items: Item) -> None:
        """Append what the model says."""
        self._expected.extend(items)
        self._compare()

    def got(self, item: Item, *, time: str = "") -> None:
        """Append what a monitor saw; `time` goes into the message of a failure."""
        self._got.append((item, time))
        self._compare()

    @property
    def outstanding(self) -> int:
        """Items that the model expects and no monitor has seen."""
        return len(self._expected)

    def _compare(self) -> None:
        while self._expected and self._got:
            expected, (got, time) = self._expected.popleft(), self._got.popleft()
            if expected != got:
                place = f"item {self.compared}" + (f" at {time}" if time else "")
                raise CheckFailed(f"{self.name}: {place}: expected {expected}, got {got}")
            self.compared += 1

    def finish(self) -> None:
        """Fail if anything is left on either side, or if nothing was compared at all."""
        place = f"item {self.compared}"
        if self._expected:
            count, first = len(self._expected), self._expected[0]
            raise CheckFailed(f"{self.name}: {count} expected but never seen, first is {place}: {first}")
        if self._got:
            count, (extra, time) = len(self._got), self._got[0]
            when = f" at {time}" if time else ""
            raise CheckFailed(f"{self.name}: {count} seen but not expected, first is {place}: {extra}{when}")
        if not self.compared:
            raise CheckFailed(f"{self.name}: nothing was compared")
