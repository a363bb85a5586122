# SPDX-License-Identifier: Apache-2.0
"""Rows of the campaign within 120 columns, its summary, and its file."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tb.mutation.mutants import CONTEXT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tb.mutation.campaign import Drawn, Verdict

__all__ = ["HEADER", "killed", "record", "row", "survivors", "tally", "total"]

PLACE, CHANGE, KILLER = 17, 44, 34
"""Columns of file and line, of the change, and of what killed it."""

HEADER = f"{'block':12} {'class':8} {'file:line':{PLACE}}  {'before -> after':{CHANGE}} killed by"


def row(verdict: Verdict) -> str:
    """One mutant: block, class, place, change, and its fate."""
    mutant = verdict.mutant
    for context in range(CONTEXT, -1, -1):
        before, after = mutant.shown(context)
        if len(before) + len(after) + 4 <= CHANGE:
            break
    half = (CHANGE - 4) // 2
    if len(before) + len(after) + 4 > CHANGE:
        before, after = (
            _cut(before, max(half, CHANGE - 4 - len(after))),
            _cut(after, max(half, CHANGE - 4 - len(before))),
        )
    place = f"{mutant.file.split('/')[-1]}:{mutant.line}"
    change = f"{before} -> {after}"
    return (
        f"{mutant.block:12} {mutant.kind:8} {place:{PLACE}}  {change:{CHANGE}} {_cut(fate(verdict), KILLER)}".rstrip()
    )


def fate(verdict: Verdict) -> str:
    """Bench if it is not the block's own, configuration and test; or what a proof came to."""
    if verdict.kill:
        kill = verdict.kill
        bench = "" if kill.bench == verdict.mutant.block else f"{kill.bench} "
        return f"{bench}{kill.config.removeprefix('tiny_')}: {kill.test or kill.message}"
    assumed = verdict.proof.assumptions if verdict.proof else ()
    return verdict.name + (f" if {', '.join(assumed)}" if assumed else "")


def survivors(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """In full, what no bench killed: the change, and the assumptions or the failure of its proof."""
    for verdict in verdicts:
        if verdict.kill is None:
            mutant = verdict.mutant
            before, after = mutant.shown()
            yield f"{mutant.file}:{mutant.line}: {before} -> {after}"
            yield f"  {fate(verdict)}" + (f": {verdict.proof.reason}" if verdict.proof and verdict.proof.reason else "")


def tally(drawn: Drawn, verdicts: Sequence[Verdict]) -> str:
    """One block: its mutants by fate, and the changes that were passed over."""
    fates = Counter(verdict.name for verdict in verdicts if verdict.mutant.block == drawn.block)
    counts = "  ".join(f"{fates[name]:3} {name}" for name in ("killed", "equivalent", "survived"))
    over = f"passed over: {drawn.refused} do not compile, {drawn.unchanged} change no netlist"
    return f"{drawn.block:12} {len(drawn.mutants):3} mutants  {counts}  ({over})"


def killed(verdicts: Sequence[Verdict]) -> float:
    """Percent of the mutants that differ, which are those that are not proven equivalent; 100 without any."""
    fates = Counter(verdict.name for verdict in verdicts)
    differ = fates["killed"] + fates["survived"]
    return 100.0 * fates["killed"] / differ if differ else 100.0


def total(blocks: int, verdicts: Sequence[Verdict]) -> str:
    """The figure; the percentage is rounded down, so that 97 % are 97 %."""
    fates = Counter(verdict.name for verdict in verdicts)
    return (
        f"{len(verdicts)} mutants of {blocks} block{'s' * (blocks != 1)}: {fates['killed']} killed, "
        f"{fates['equivalent']} proven equivalent, {fates['survived']} survived; "
        f"{int(10 * killed(verdicts)) / 10:.1f} % of those that differ killed"
    )


def record(verdict: Verdict) -> dict[str, Any]:
    """One mutant for the file: everything, in full."""
    mutant = verdict.mutant
    before, after = mutant.shown()
    place = {"block": mutant.block, "class": mutant.kind, "file": mutant.file, "line": mutant.line}
    change = {"start": mutant.start, "old": mutant.old, "new": mutant.new, "before": before, "after": after}
    kill, proof = verdict.kill, verdict.proof
    return place | change | {
        "verdict": verdict.name,
        "killed_by": asdict(kill) if kill else None,
        "proof": asdict(proof) if proof else None,
    }  # fmt: skip


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
