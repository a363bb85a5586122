# SPDX-License-Identifier: Apache-2.0
"""The macro: executes the rounds of a chain and records every seam.

    word lines -> currents -> column quantities -> codes -> partial sums -> outputs

Verilog twin: rtl/cim_macro.v (with its analog half: rtl/sim/macro_sim.v)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twinor import noise
from twinor.golden import (
    adc_frontend,
    bitline,
    clip_count,
    column_correct,
    flash_array,
    macro_ctrl,
    residual,
    sar_adc,
    shift_add,
    wl_dac,
)
from twinor.golden.requantize import requantize
from twinor.rounds import End, Start, check_streams, converts, passes
from twinor.trace import RoundTrace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.die import Die
    from twinor.rounds import Chain, Round

__all__ = ["outputs", "run_chain"]


def run_chain(
    config: Config,
    die: Die,
    chain: Chain,
    inputs: Sequence[NDArray[np.integer]],
    psums: NDArray[np.integer] | None = None,
    residuals: NDArray[np.integer] | None = None,
    first: int = 0,
) -> list[RoundTrace]:
    """Run vectors through a chain.

    Args:
        config: the macro.
        die: its tables; `chain.macro` selects the macro on the die.
        chain: the rounds.
        inputs: activations of each round, [vectors, row_count], unsigned unless the round says signed.
        psums: partial sums for the rounds that start from them, [vectors, columns of all such rounds].
        residuals: signed residual codes for the rounds that add them, [vectors, columns of all such rounds].
        first: index of the first vector in the whole run, which its noise is drawn by.

    Returns:
        One trace per round.

    Raises:
        ValueError: a stream has the wrong shape or a value outside its bits.

    Example:
        >>> from twinor.config import load
        >>> from twinor.die import ideal_die
        >>> from twinor.rounds import Chain, End, Round
        >>> cfg, none = load("tiny"), np.zeros(4, dtype=np.int32)
        >>> die = ideal_die(cfg, flash_array.levels(cfg, np.array([[1, -2, 3, 0]] * 8))[None])
        >>> rnd = Round(row_base=0, row_count=4, col_base=0, col_count=4, steps=((1,), (1,)), end=End.RAW)
        >>> chain = Chain(macro=0, rounds=(rnd,), mult=none, add=none)
        >>> outputs(run_chain(cfg, die, chain, [np.array([[1, 1, 2, 0]])])).tolist()
        [[4, -8, 12, 0]]
    """
    check_streams(config, chain, inputs, psums, residuals, macros=len(die.strength))
    cycles = macro_ctrl.schedule(config, chain, vectors=inputs[0].shape[0])
    vectors = np.arange(first, first + inputs[0].shape[0])
    acc: NDArray[np.int64] = np.zeros((inputs[0].shape[0], 0), dtype=np.int64)
    traces: list[RoundTrace] = []
    taken = added = 0
    for rnd, x, when in zip(chain.rounds, inputs, cycles, strict=True):
        if rnd.start is Start.ZERO:
            acc = np.zeros((x.shape[0], rnd.col_count), dtype=np.int64)
        elif rnd.start is Start.PSUM:
            assert psums is not None  # check_streams has seen to it
            acc = psums[:, taken : taken + rnd.col_count].astype(np.int64)
            taken += rnd.col_count
        if rnd.residual:
            assert residuals is not None
            codes = residuals[:, added : added + rnd.col_count]
            acc = acc + residual.products(codes, chain.residual_table[: rnd.col_count])
            added += rnd.col_count
        last = len(traces) == len(chain.rounds) - 1
        trace = _run_round(config, die, chain, rnd, x, acc, when, vectors, last=last)
        acc = trace.partial_sums[:, -1].astype(np.int64)
        traces.append(trace)
    return traces


def outputs(traces: Sequence[RoundTrace]) -> NDArray[np.int64]:
    """What leaves the macro, all rounds side by side, int64[vectors, columns]."""
    return np.concatenate([t.outputs for t in traces], axis=1).astype(np.int64)


def _run_round(
    config: Config,
    die: Die,
    chain: Chain,
    rnd: Round,
    x: NDArray[np.integer],
    acc: NDArray[np.int64],
    cycles: macro_ctrl.RoundCycles,
    vectors: NDArray[np.integer],
    *,
    last: bool,
) -> RoundTrace:
    seams, clipped, clips = _run_passes(config, die, chain.macro, rnd, x, acc, vectors)
    lines, trials, codes, sums, added = (np.stack(seam, axis=1) for seam in zip(*seams, strict=True))
    order = passes(config, rnd)
    return RoundTrace(
        rnd=rnd,
        passes=order,
        word_lines=lines,
        trials=trials,
        codes=codes,
        partial_sums=sums,
        outputs=_finish(chain, rnd, sums[:, -1].astype(np.int64)),
        last_flags=_last_flags(rnd, last=last, vectors=x.shape[0]),
        hold_cycles=cycles.hold,
        code_cycles=_by_column(config, rnd, cycles.code),
        out_cycles=cycles.out,
        clipped=clipped,
        converted=sum(converts(config, rnd, p) for p in order),
        clips=clips,
        noise=added,
    )


def _run_passes(
    config: Config,
    die: Die,
    macro: int,
    rnd: Round,
    x: NDArray[np.integer],
    acc: NDArray[np.int64],
    vectors: NDArray[np.integer],
) -> tuple[list[tuple[NDArray[np.integer], ...]], int, tuple[int, int]]:
    """Word lines, trials, codes, accumulators and noise of every pass; quantities out of range, codes at its ends."""
    seams: list[tuple[NDArray[np.integer], ...]] = []
    columns = adc_frontend.converted_columns(config, rnd)
    thresholds = die.threshold[macro][adc_frontend.adc_of_column(config, columns)]
    empty = _no_conversion(config, acc, columns)
    clipped, clips = 0, (0, 0)
    held, wl_sum = np.zeros(empty[1].shape, dtype=np.int64), np.zeros(x.shape[0], dtype=np.int64)
    source = noise.Source(config, die, macro, columns, vectors)
    for p in passes(config, rnd):
        wl = wl_dac.word_lines(config, rnd, x, p)
        current = flash_array.of_die(die, macro, wl)
        q = bitline.column_quantity(config, current, w_slice=p.w_slice)[:, columns]
        held = adc_frontend.share(config, held, q, x_slice=p.x_slice)
        wl_sum = adc_frontend.share(config, wl_sum, wl_dac.word_line_sum(wl), x_slice=p.x_slice)
        source.see(wl, p)
        if not converts(config, rnd, p):
            seams.append((wl, *empty))
            continue
        step = rnd.steps[p.x_slice][p.w_slice]
        added = source.draw(p, row=rnd.row_base + p.group * config.active_rows, step=step)
        sample = held + added
        code, trial = sar_adc.convert(config, sample, thresholds, step=step, weights=die.weight[macro])
        clipped += sar_adc.clipped(config, sample, step=step)
        clips = clip_count.count(config, code, before=clips)
        code = column_correct.correct(config, code, die.gain[macro, columns], die.offset[macro, columns])
        own, reference = code[:, : rnd.col_count], _reference(config, rnd, code)
        acc = shift_add.accumulate(config, acc, own, wl_sum, reference, p=p, step=step)
        seams.append((wl, trial, code, acc, added))
    return seams, clipped, clips


def _no_conversion(
    config: Config, acc: NDArray[np.int64], columns: NDArray[np.integer]
) -> tuple[NDArray[np.integer], ...]:
    """Trials, codes, partial sums and noise of a pass that is only shared."""
    shape = (acc.shape[0], len(columns))
    trials, codes = np.zeros((*shape, config.trials), dtype=np.uint16), np.zeros(shape, dtype=np.int16)
    return trials, codes, np.zeros_like(acc), np.zeros(shape, dtype=np.int64)


def _reference(config: Config, rnd: Round, codes: NDArray[np.int16]) -> NDArray[np.int16] | None:
    """Code of the reference column beside each output column, int16[vectors, col_count]."""
    if not config.ref_cols:
        return None
    return codes[:, rnd.col_count :][:, adc_frontend.positions(config, rnd)]


def _by_column(config: Config, rnd: Round, by_phase: NDArray[np.int64]) -> NDArray[np.int64]:
    """[V, P, M] of the positions as [V, P, C] of the columns that they convert, in their order."""
    own = np.repeat(by_phase, config.n_lanes, axis=2)[..., : rnd.col_count]
    return np.concatenate([own, by_phase], axis=2) if config.ref_cols else own


def _last_flags(rnd: Round, *, last: bool, vectors: int) -> NDArray[np.uint8]:
    """1 beside the last column of the chain's last round."""
    flags = np.zeros((vectors, rnd.col_count if rnd.end is not End.HOLD else 0), dtype=np.uint8)
    if last:
        flags[:, -1:] = 1
    return flags


def _finish(chain: Chain, rnd: Round, acc: NDArray[np.int64]) -> NDArray[np.int64]:
    if rnd.end is End.HOLD:
        return acc[:, :0]
    if rnd.end is End.RAW:
        return acc
    mult, add = chain.mult[: rnd.col_count], chain.add[: rnd.col_count]
    return requantize(acc, mult, add, shift=rnd.shift, lo=rnd.lo, hi=rnd.hi)
