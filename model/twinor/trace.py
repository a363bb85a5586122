# SPDX-License-Identifier: Apache-2.0
"""The trace of a chain: every digital value at every seam, and the first place where two traces differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from twinor.errors import TwinorError
from twinor.paste import command, program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from twinor.rounds import Pass, Round

__all__ = ["COUNTERS", "MISSING", "SEAMS", "UNKNOWN", "Divergence", "RoundTrace", "first_divergence", "mismatches"]

SEAMS = ("word_lines", "trials", "codes", "partial_sums", "outputs", "last_flags", "cycles")
"""Seams in signal order; at one pass the first that differs is where the fault is."""

COUNTERS = ("clip_low", "clip_high")
"""What is compared once, at the end of a run: the clip counters."""

ENDS = ("outputs", "last_flags")
"""Seams that exist once per vector, after the last pass."""

UNKNOWN = -(1 << 62)
"""An X that the Verilog drove: never equal to a golden value."""
MISSING = UNKNOWN + 1
"""A value that one side never produced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrace:
    """Every seam of one round; V vectors, P passes, C columns, A columns that are converted.

    A is C, or more by the reference column of each multiplexer position, which come last.
    A pass that is only shared, and converted with a later one, has zeros from `trials` to `code_cycles`.

    Attributes:
        rnd: the round.
        passes: its passes in order.
        word_lines: word-line codes, [V, P, rows].
        trials: kept trials and the one under trial, as bits, first trial in the top bit, [V, P, A, trials].
        codes: ADC codes, [V, P, A].
        partial_sums: accumulators after each pass, [V, P, C].
        outputs: what leaves the macro, [V, C]; [V, 0] if the round holds its accumulators.
        last_flags: 1 beside the output that ends the chain, [V, C] or [V, 0].
        code_cycles: cycle in which a column's code was taken, [V, P, A].
        hold_cycles: cycle in which the columns of a pass were held or shared, [V, P].
        out_cycles: cycle in which an output left, [V, C] or [V, 0].
        clipped: conversions whose column quantity lies outside the ADC's range; only golden knows.
        converted: passes that are converted.
        clips: raw codes at the lowest and at the highest code; golden counts by round, the Verilog by run.
        noise: what noise added to the quantities that were converted, [V, P, A]; golden's, which the Verilog is given.
    """

    rnd: Round
    passes: Sequence[Pass]
    word_lines: NDArray[np.integer]
    trials: NDArray[np.integer]
    codes: NDArray[np.integer]
    partial_sums: NDArray[np.integer]
    outputs: NDArray[np.integer]
    last_flags: NDArray[np.integer]
    hold_cycles: NDArray[np.integer]
    code_cycles: NDArray[np.integer]
    out_cycles: NDArray[np.integer]
    clipped: int = 0
    clips: tuple[int, int] = (0, 0)
    converted: int = 0
    noise: NDArray[np.int64] | None = None

    @property
    def conversions(self) -> int:
        """ADC conversions of the round."""
        return int(self.codes.shape[0] * self.converted * self.codes.shape[2])


class Divergence(TwinorError):
    """Two engines disagree.

    Attributes:
        layer, tile: where in the network (empty for a bare chain).
        seam: one of `SEAMS`, or of `COUNTERS`, which are compared after the last vector.
        vector, round, row_group, x_slice, w_slice, column: where in the chain; column is None for a whole word line
            vector, a cycle count or a reference column.
        reference: multiplexer position of the reference column that differs, counted from the round's first, or None.
        golden, other: the two values.
        sim_time: nanoseconds of simulation time, None if the other engine has no clock.
        stall: what the harness said if the macro stalled, else empty.
        reproducer: folder of a reproducer, empty if none was written.
    """

    def __init__(self, **where: object) -> None:
        """Keep every field and build the sentence."""
        self.layer = self.tile = self.reproducer = self.stall = ""
        self.other_name = "rtl"
        self.sim_time: int | None = None
        self.vector = self.round = self.row_group = self.x_slice = self.w_slice = 0
        self.seam = ""
        self.column: int | None = None
        self.reference: int | None = None
        self.golden: int | None = None
        self.other: int | None = None
        vars(self).update(where)
        super().__init__(str(self))

    def __str__(self) -> str:
        """One sentence with every coordinate."""
        place = [f"layer {self.layer}" if self.layer else "", f"tile {self.tile}" if self.tile else ""]
        if self.seam in COUNTERS:
            place += [f"counted up to vector {self.vector}"]
        else:
            place += [f"vector {self.vector}", f"round {self.round}", f"row group {self.row_group}"]
            place += [f"input slice {self.x_slice}", f"weight slice {self.w_slice}"]
        place += [self.unit()]
        time = f" at {self.sim_time} ns" if self.sim_time is not None else ""
        stall = f"; the macro {self.stall}" if self.stall else ""
        again = command(program(), "replay", Path(self.reproducer), "--waves") if self.reproducer else ""
        replay = f"\nreplay it with waves: {again}" if again else ""
        return (
            f"divergence at seam {self.seam}: {', '.join(p for p in place if p)}: {self.values()}{time}{stall}{replay}"
        )

    def unit(self) -> str:
        """What differs: `column 3`, `word line 3`, `reference column of position 1`, or nothing of the kind."""
        if self.reference is not None:
            return f"reference column of position {self.reference}"
        kind = "word line" if self.seam == "word_lines" else "column"
        return f"{kind} {self.column}" if self.column is not None else ""

    def values(self) -> str:
        """Both values, as `golden 3, rtl X`."""
        return f"golden {_shown(self.golden)}, {self.other_name} {_shown(self.other)}"


def _shown(value: object) -> str:
    if value == UNKNOWN:
        return "X"
    return "nothing" if value == MISSING or value is None else str(value)


def _seam_arrays(t: RoundTrace) -> dict[str, NDArray[np.integer]]:
    """Each seam as [V, P, ...]; what happens once per vector belongs to the last pass."""
    vectors, count = t.hold_cycles.shape

    def at_last_pass(a: NDArray[np.integer]) -> NDArray[np.integer]:
        wide = np.zeros((vectors, count, a.shape[1]), dtype=np.int64)
        wide[:, -1:] = a[:, None]
        return wide

    cycles = np.concatenate([t.hold_cycles[..., None], t.code_cycles, at_last_pass(t.out_cycles)], axis=2)
    ends = (at_last_pass(t.outputs), at_last_pass(t.last_flags), cycles)
    return dict(zip(SEAMS, (t.word_lines, t.trials, t.codes, t.partial_sums, *ends), strict=True))


def mismatches(golden: Sequence[RoundTrace], other: Sequence[RoundTrace]) -> dict[str, int]:
    """Values that differ, by seam."""
    counts = dict.fromkeys(SEAMS, 0)
    for g, o in zip(golden, other, strict=True):
        theirs = _seam_arrays(o)
        for seam, ours in _seam_arrays(g).items():
            counts[seam] += int(np.count_nonzero(ours != theirs[seam]))
    return counts


def first_divergence(golden: Sequence[RoundTrace], other: Sequence[RoundTrace]) -> Divergence | None:
    """The earliest difference: by vector, then round, then pass, then seam in signal order."""
    best: tuple[int, int, int, int] | None = None
    for index, (g, o) in enumerate(zip(golden, other, strict=True)):
        theirs = _seam_arrays(o)
        for rank, (seam, ours) in enumerate(_seam_arrays(g).items()):
            bad = (ours != theirs[seam]).reshape(*g.hold_cycles.shape, -1).any(axis=2)
            if bad.any():
                vector, p = (int(k) for k in np.unravel_index(int(bad.argmax()), bad.shape))
                best = min(best or (vector, index, p, rank), (vector, index, p, rank))
    if best is None:
        return None
    vector, index, p, rank = best
    return _divergence(golden[index], other[index], vector=vector, index=index, p=p, seam=SEAMS[rank])


def _divergence(g: RoundTrace, o: RoundTrace, *, vector: int, index: int, p: int, seam: str) -> Divergence:
    ours, theirs = _seam_arrays(g)[seam][vector, p], _seam_arrays(o)[seam][vector, p]
    at = np.unravel_index(int((ours != theirs).reshape(-1).argmax()), ours.shape)
    place = None if seam == "cycles" else int(at[0])
    beyond = seam in ("trials", "codes") and int(at[0]) >= g.rnd.col_count
    where = g.passes[p]
    return Divergence(
        seam=seam,
        vector=vector,
        round=index,
        row_group=where.group,
        x_slice=where.x_slice,
        w_slice=where.w_slice,
        column=None if beyond else place,
        reference=int(at[0]) - g.rnd.col_count if beyond else None,
        golden=int(ours[at]),
        other=int(theirs[at]),
        cycle=_cycle(o, vector, p, seam, place),
    )


def _cycle(o: RoundTrace, vector: int, p: int, seam: str, place: int | None) -> int:
    """Clock cycle of the difference on the side that has a clock."""
    if seam in ("word_lines", "cycles") or place is None:
        return int(o.hold_cycles[vector, p])
    return int(o.out_cycles[vector, place] if seam in ENDS else o.code_cycles[vector, p, place])
