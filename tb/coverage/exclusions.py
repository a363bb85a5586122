# SPDX-License-Identifier: Apache-2.0
"""What no run can reach: `exclusions.yaml` names each line by its text, so that it does not rot, and says why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from twinor.errors import TwinorError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tb.coverage.points import Item

__all__ = ["FILE", "Exclusion", "excluded", "read_exclusions"]

FILE = Path(__file__).with_name("exclusions.yaml")

KEYS = {"file", "text", "reason"}


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Lines of a file with this text, or one branch of them, and why no run reaches it."""

    file: str
    text: str
    reason: str
    branch: str = ""


def read_exclusions(path: Path = FILE) -> list[Exclusion]:
    """The list.

    Raises:
        TwinorError: an entry has other keys than `file`, `text`, `reason` and, for a branch, `branch`, or says nothing.
    """
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    for n, entry in enumerate(found, start=1):
        if not KEYS <= set(entry) <= KEYS | {"branch"} or not all(str(value).strip() for value in entry.values()):
            said = ", ".join(entry)
            raise TwinorError(f"{path.name}: entry {n} has {said}: expected file, text, reason and perhaps branch")
    return [Exclusion(**entry) for entry in found]


def excluded(missed: Iterable[Item], exclusions: Iterable[Exclusion], rtl: Path) -> set[Item]:
    """Which missed places the list excuses.

    Args:
        missed: places that no run reached.
        exclusions: those of files that were measured.
        rtl: folder of the Verilog.

    Raises:
        TwinorError: an exclusion excuses nothing; names all of them.
    """
    places = list(missed)
    excused: set[Item] = set()
    idle: list[str] = []
    for entry in exclusions:
        text = (rtl / entry.file).read_text(encoding="utf-8").splitlines() if (rtl / entry.file).is_file() else []
        hits = {i for i in places if (i.file, i.branch) == (entry.file, entry.branch) and _is(text, i, entry.text)}
        excused |= hits
        if not hits:
            idle.append(f"{entry.file}: {entry.branch or 'line'} of '{entry.text}'")
    if idle:
        raise TwinorError(f"exclusions that excuse nothing, because a run reaches it or it is gone: {'; '.join(idle)}")
    return excused


def _is(text: list[str], item: Item, wanted: str) -> bool:
    return text[item.line - 1].strip() == wanted
