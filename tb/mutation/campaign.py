# SPDX-License-Identifier: Apache-2.0
"""Draws mutants, runs benches on each until one fails, and has the rest proven equivalent."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

from twinor.errors import TwinorError

from tb.common.sources import RTL
from tb.mutation.benches import CONFIGS, Kill, run_step, steps_of
from tb.mutation.equivalence import Proof, prove
from tb.mutation.lint import run_lint
from tb.mutation.mutants import Mutant, mutants
from tb.mutation.netlist import netlist

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tb.mutation.benches import Step

__all__ = ["ControlFailed", "Drawn", "Verdict", "campaign", "control", "draw", "judge"]


class ControlFailed(TwinorError):
    """A bench fails on the unchanged Verilog, so its kills would mean nothing; names it and its first failure."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The mutants of a block, and how many changes were passed over.

    Attributes:
        block: name of the block.
        mutants: those that count.
        refused: changes that do not compile.
        unchanged: changes that no configuration elaborates.
    """

    block: str
    mutants: list[Mutant]
    refused: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant: the kill, or what the attempt to prove it equivalent said."""

    mutant: Mutant
    kill: Kill | None
    proof: Proof | None

    @property
    def name(self) -> str:
        """One of killed, equivalent, survived."""
        if self.kill:
            return "killed"
        return "equivalent" if self.proof and self.proof.holds else "survived"


@contextmanager
def _copy(rtl: Path) -> Iterator[tuple[Path, Path]]:
    """A folder of its own, and a copy of the Verilog in it."""
    with tempfile.TemporaryDirectory(prefix="twinor-mutation-") as name:
        folder = Path(name)
        yield folder, Path(shutil.copytree(rtl, folder / "rtl"))


def draw(block: str, *, count: int, seed: int, rtl: Path = RTL) -> Drawn:
    """The first `count` mutants of a block that compile and that some configuration elaborates differently."""
    original = [netlist(block, config, rtl) for config in CONFIGS]
    chosen: list[Mutant] = []
    refused = unchanged = 0
    with _copy(rtl) as (_, copy):
        for mutant in mutants(block, rtl, seed=seed):
            if len(chosen) == count:
                break
            mutant.place(copy)
            made = [netlist(block, config, copy) for config in CONFIGS]
            if None in made:
                refused += 1
            elif made == original:
                unchanged += 1
            else:
                chosen.append(mutant)
    return Drawn(block, chosen, refused, unchanged)


def judge(mutant: Mutant, *, rtl: Path = RTL, steps: Sequence[Step] | None = None) -> Verdict:
    """Run the benches until one fails, then the linter; a mutant that passes all of them needs a proof."""
    with _copy(rtl) as (folder, copy):
        mutant.place(copy)
        for n, step in enumerate(steps_of(mutant.block) if steps is None else steps):
            kill = run_step(step, copy, folder / str(n))
            if kill:
                return Verdict(mutant, kill, None)
        seen = run_lint(CONFIGS, copy) if "/" not in mutant.file else None  # the stand-ins have waivers
        return Verdict(mutant, seen, None if seen else prove(mutant, CONFIGS, rtl, folder))


def control(step: Step, rtl: Path = RTL) -> None:
    """The unchanged Verilog must pass every bench of the campaign.

    Raises:
        ControlFailed: it does not.
    """
    with _copy(rtl) as (folder, copy):
        kill = run_step(step, copy, folder / "run")
    if kill:
        place = f"tb_{kill.bench} on {kill.config}: {kill.test}: {kill.message}"
        raise ControlFailed(f"the unchanged Verilog fails {place}; mend that before any mutant is judged")


def _quiet() -> None:
    """Builds and simulators of a worker say nothing; their logs are in files."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)


def campaign(
    blocks: Sequence[str], *, count: int, seed: int, jobs: int, report: Callable[[Verdict], None], rtl: Path = RTL
) -> tuple[list[Drawn], list[Verdict]]:
    """Mutants of all blocks, judged by `jobs` processes, after a control run of the unchanged Verilog.

    Args:
        blocks: names of the blocks.
        count: mutants of each.
        seed: of the choice.
        jobs: processes.
        report: gets every verdict when it is known and its predecessors are.
        rtl: folder of the Verilog.

    Returns:
        What was drawn of each block, and the verdicts in the same order.

    Raises:
        ControlFailed: a bench fails on the unchanged Verilog.
    """
    with ProcessPoolExecutor(jobs, initializer=_quiet) as pool:
        list(pool.map(control, dict.fromkeys(step for block in blocks for step in steps_of(block)), repeat(rtl)))
        drawn = [pool.submit(draw, block, count=count, seed=seed, rtl=rtl) for block in blocks]
        drafts = [future.result() for future in drawn]
        waiting = [pool.submit(judge, mutant, rtl=rtl) for draft in drafts for mutant in draft.mutants]
        verdicts: list[Verdict] = []
        for done, _ in enumerate(as_completed(waiting), start=1):
            while len(verdicts) < len(waiting) and waiting[len(verdicts)].done():
                verdicts.append(waiting[len(verdicts)].result())
                report(verdicts[-1])
            print(f"\r{done} of {len(waiting)} mutants judged", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    return drafts, verdicts
