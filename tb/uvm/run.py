# SPDX-License-Identifier: Apache-2.0
"""One run of the environment: a die, Icarus Verilog, and what was covered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from twinor.die import sample_die
from twinor.params import RTL

from tb.common.runner import run_bench
from tb.uvm.stimulus import levels

if TYPE_CHECKING:
    from pathlib import Path

    from twinor.config import Config

__all__ = ["GoalResult", "UvmResult", "run_uvm"]

DIE_SEED = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalResult:
    """Bins of one goal, how many were hit, how often, and which were not."""

    goal: str
    bins: int
    hit: int
    hits: int
    missed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UvmResult:
    """Goals, and values compared by seam; where golden and Verilog differ, `BenchFailed` was raised instead."""

    goals: tuple[GoalResult, ...]
    compared: dict[str, int]

    @property
    def coverage(self) -> float:
        """Bins that were hit, in percent."""
        return 100.0 * sum(g.hit for g in self.goals) / sum(g.bins for g in self.goals)


def run_uvm(
    config: Config, folder: Path, *, seed: int = 1, rtl: Path = RTL, tests: str | None = None, **options: Any
) -> UvmResult:
    """Run the environment's tests on a varied die of a configuration.

    Args:
        config: the macro.
        folder: an empty folder of this run's own.
        seed: of stimulus and weights.
        rtl: folder of the Verilog.
        tests: only the tests whose names match this regular expression; without the last one nothing is covered.
        options: others of `run_bench`.

    Raises:
        BuildFailed, BenchFailed: as `run_bench`; a goal that is missed fails a test.
    """
    die = sample_die(config, levels(config, np.random.default_rng(seed)), seed=DIE_SEED)
    run_bench("cim_macro", config, folder, rtl=rtl, die=die, seed=seed, tests=tests, module="tb.uvm.tests", **options)
    return read_result(folder / "coverage.json")


def read_result(path: Path) -> UvmResult:
    """What a run left; nothing covered if it left nothing."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"hits": {}, "compared": {}}
    goals = tuple(
        GoalResult(
            goal=goal,
            bins=len(bins),
            hit=sum(count > 0 for count in bins.values()),
            hits=sum(bins.values()),
            missed=tuple(name for name, count in bins.items() if not count),
        )
        for goal, bins in found["hits"].items()
    )
    return UvmResult(goals=goals, compared=found["compared"])
