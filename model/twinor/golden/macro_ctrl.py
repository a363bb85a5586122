# SPDX-License-Identifier: Apache-2.0
"""Round sequencer: the cycle in which every pass is held, every code taken and every output sent.

Stages overlap, so each event waits for the latest of its causes (cycles counted from the first input beat):

    hold    = max(word lines driven + wl_cycles + settle_cycles, converters free)    what is only shared never waits
    sample  = max(cycle after hold or after the last trial, previous codes taken);  last trial = sample + trials
    taken   = first cycle after the last trial in which partial sums and residuals are in and the output lanes are empty

The stated cycles hold for a source that never waits and a sink that always takes.
Verilog twin: rtl/macro_ctrl.v
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.rounds import End, Start, converts, passes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.rounds import Chain, Round

__all__ = ["RoundCycles", "floor_cycles", "schedule"]


@dataclass(frozen=True, slots=True)
class RoundCycles:
    """Cycles of one round: hold int64[V, P], code int64[V, P, M], out int64[V, C] ([V, 0] if nothing leaves).

    `hold` is the last cycle of every pass, converted or only shared; `code` is 0 where a pass is not converted.
    """

    hold: NDArray[np.int64]
    code: NDArray[np.int64]
    out: NDArray[np.int64]


def phases(config: Config, rnd: Round) -> int:
    """Column-multiplexer positions that a round converts."""
    return -(-rnd.col_count // config.n_lanes)


def floor_cycles(config: Config, chain: Chain) -> int:
    """Cycles of one vector that no sequencer can beat: ADCs and array never wait for anything else, or a stream limits.

    `groups * x_slices * w_slices * max(wl_cycles + settle_cycles, phases * (trials + 1))` summed over the rounds,
    twice for signed inputs; `phases` is `cols_per_adc` for a full tile and less for a narrow one. One conversion for
    all input slices waits for all of them: `groups * w_slices * max(x_slices * (wl_cycles + settle_cycles), ...)`.
    A vector needs its beats of activations, of partial sums and of outputs too, one a cycle.

    Example:
        >>> from twinor.config import load
        >>> from twinor.rounds import Chain, Round
        >>> cfg, none = load("tiny"), np.zeros(4, dtype=np.int32)
        >>> rnd = Round(row_base=0, row_count=8, col_base=0, col_count=4, steps=((1,), (1,)))
        >>> floor_cycles(cfg, Chain(macro=0, rounds=(rnd,), mult=none, add=none))
        40
    """
    rounds = chain.rounds
    array = sum(_array_cycles(config, rnd) for rnd in rounds)
    loads = sum(-(-rnd.driven_rows // config.in_lanes) for rnd in rounds)
    psums = sum(rnd.col_count for rnd in rounds if rnd.start is Start.PSUM)
    residuals = sum(rnd.col_count for rnd in rounds if rnd.residual)
    outs = sum(rnd.col_count for rnd in rounds if rnd.end is not End.HOLD)
    return max(array, loads, psums, residuals, outs)


def _array_cycles(config: Config, rnd: Round) -> int:
    """Cycles for which a round keeps the array or the ADCs busy, whichever is longer."""
    order = passes(config, rnd)
    converted = sum(converts(config, rnd, p) for p in order)
    settle = len(order) // converted * (config.wl_cycles + config.settle_cycles)
    return converted * max(settle, phases(config, rnd) * config.conversion_cycles)


def schedule(config: Config, chain: Chain, *, vectors: int) -> list[RoundCycles]:
    """Cycle of every event when `vectors` vectors run through a chain back to back."""
    state = _Stages(config)
    counts = [
        (len(passes(config, r)), phases(config, r), r.col_count if r.end is not End.HOLD else 0) for r in chain.rounds
    ]
    result = [
        RoundCycles(*(np.zeros((vectors, *shape), dtype=np.int64) for shape in ((p,), (p, m), (c,))))
        for p, m, c in counts
    ]
    for v in range(vectors):
        for rnd, cycles in zip(chain.rounds, result, strict=True):
            state.load(rnd)
            order = passes(config, rnd)
            converted = [n for n, p in enumerate(order) if converts(config, rnd, p)]
            for n in range(len(order)):
                cycles.hold[v, n] = state.settle(first=n == 0, convert=n in converted)
                if n in converted:
                    final = n == converted[-1] and rnd.end is not End.HOLD
                    cycles.code[v, n] = state.convert(rnd, first=n == converted[0], final=final)
            cycles.out[v] = state.out[: cycles.out.shape[1]]
    return result


class _Stages:
    """When each stage is next free, in cycles."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.loaded = 0  # the shadow latches hold the next vector
        self.load_from = 0
        self.driven = 0  # the word lines of the settling pass were driven at the end of this cycle
        self.held = -1  # last hold
        self.converters_free = 0
        self.taken = 0  # last codes taken
        self.psum_taken = -1  # last codes taken with partial sums
        self.residual_taken = -1
        self.lanes_free = 0
        self.out: list[int] = []

    def load(self, rnd: Round) -> None:
        self.loaded = self.load_from - (-rnd.driven_rows // self.config.in_lanes)

    def settle(self, *, first: bool, convert: bool) -> int:
        """Cycle in which the pass is held, or shared if it is not converted."""
        if first:
            self.driven = max(self.loaded, self.held)
            self.load_from = self.driven + 1
        else:
            self.driven = self.held
        self.held = self.driven + self.config.wl_cycles + self.config.settle_cycles
        if convert:
            self.held = max(self.held, self.converters_free)
        return self.held

    def convert(self, rnd: Round, *, first: bool, final: bool) -> list[int]:
        """Cycles in which the codes of each phase are taken."""
        self.out = [] if final else self.out
        taken = []
        ready = self.held + 1
        for phase in range(phases(self.config, rnd)):
            lanes = min(self.config.n_lanes, rnd.col_count - phase * self.config.n_lanes)
            done = max(ready, self.taken) + self.config.trials
            self.taken = done + 1
            if first and rnd.start is Start.PSUM:
                self.taken = max(self.taken, max(ready, self.psum_taken + 1) + lanes)
            if first and rnd.residual:
                self.taken = max(self.taken, max(ready, self.residual_taken + 1) + lanes)
            if final:
                self.taken = max(self.taken, self.lanes_free)
                self.lanes_free = self.taken + lanes
                self.out += range(self.taken + 2, self.taken + 2 + lanes)
            if first and rnd.start is Start.PSUM:
                self.psum_taken = self.taken
            if first and rnd.residual:
                self.residual_taken = self.taken
            taken.append(self.taken)
            ready = done + 1
        self.converters_free = ready - 1
        return taken
