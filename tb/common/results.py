# SPDX-License-Identifier: Apache-2.0
"""What a bench said: its cocotb tests, read from the results file."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Outcome", "read_results"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one cocotb test ended.

    Attributes:
        name: of the test.
        message: the first line of what it failed with; None if it passed.
        time: simulation time of the failure in nanoseconds, of the end if it passed.
        skipped: True if it did not run, as where a simulator cannot do what it is about.
    """

    name: str
    message: str | None
    time: float
    skipped: bool = False

    def sentence(self) -> str:
        """A failure, its time named once.

        Example:
            >>> Outcome("codes_match", "codes: item 3 at 55 ns: expected 1, got 2", 55.0).sentence()
            'codes_match: codes: item 3 at 55 ns: expected 1, got 2'
            >>> Outcome("codes_match", "nothing was compared", 90.0).sentence()
            'codes_match: nothing was compared, at 90 ns'
        """
        when = "" if re.search(r"\bat \d+ ns\b", self.message or "") else f", at {self.time:.0f} ns"
        return f"{self.name}: {self.message}{when}"


def read_results(path: Path) -> list[Outcome] | None:
    """The tests in order, or None if the simulator left no results.

    A checker names the time of what it compared; a test that failed otherwise failed when it ended.
    """
    try:
        cases = list(ET.parse(path).iter("testcase"))
    except (OSError, ET.ParseError):
        return None
    return [_outcome(case) for case in cases]


def _outcome(case: ET.Element) -> Outcome:
    properties = {str(p.get("name")): str(p.get("value")) for p in case.iter("property")}
    time = float(properties.get("sim_time_stop", "0"))
    bad = next((found for kind in ("failure", "error") if (found := case.find(kind)) is not None), None)
    if bad is None:
        return Outcome(str(case.get("name")), None, time, skipped=case.find("skipped") is not None)
    message = (str(bad.get("message") or bad.get("type") or "failed").splitlines() or ["failed"])[0]
    told = re.search(r"\bat (\d+) ns\b", message)
    return Outcome(str(case.get("name")), message, float(told[1]) if told else time)
