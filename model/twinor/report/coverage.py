# SPDX-License-Identifier: Apache-2.0
"""Functional coverage of the macro bench: what `make uvm` wrote, if it belongs to this macro and this Verilog."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from twinor.config import Config

__all__ = ["Coverage", "Goal", "coverage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One goal of the coverage plan."""

    goal: str
    bins: int
    hit: int
    missed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Goals, or the sentence that says why there are none."""

    goals: tuple[Goal, ...] = ()
    percent: float = 0.0
    """Bins that were hit, of all bins of all goals."""
    seed: int = 0
    """Seed of the bench."""
    absent: str = ""


def coverage(config: Config, *, rtl: str, folder: Path) -> Coverage:
    """Read `uvm-<preset>.json`.

    Args:
        config: the macro.
        rtl: digest of its Verilog, `cosim.icarus.digest`.
        folder: where `make uvm` writes.

    Returns:
        The goals; a file that is missing, broken or of another macro or Verilog gives a sentence instead.
    """
    path = folder / f"uvm-{config.name}.json"
    remedy = f"run `make uvm PRESET={config.name}`, then this command again"
    if not path.is_file():
        return Coverage(absent=f"There is no {path.name} in {folder.name}/; {remedy}.")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        belongs, found = (config.digest(), rtl), (told["config"], told["rtl"])
        goals = tuple(_goal(entry) for entry in told["goals"])
        result = Coverage(goals=goals, percent=float(told["coverage"]), seed=int(told["seed"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Coverage(
            absent=f"{path.name} is not what `make uvm` writes ({type(error).__name__}: {error}); {remedy}."
        )
    for what, expected, got in zip(("configuration", "Verilog"), belongs, found, strict=True):
        if got != expected:
            digests = f"{str(got)[:12]}, this run has {expected[:12]}"
            return Coverage(absent=f"{path.name} was measured with another {what} ({digests}); {remedy}.")
    return result


def _goal(entry: dict[str, Any]) -> Goal:
    return Goal(
        goal=str(entry["goal"]),
        bins=int(entry["bins"]),
        hit=int(entry["hit"]),
        missed=tuple(str(name) for name in entry["missed"]),
    )
