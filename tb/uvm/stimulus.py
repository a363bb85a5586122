# SPDX-License-Identifier: Apache-2.0
"""Constrained-random and directed chains for the macro: every field at its ends as often as in between."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from twinor.config import ADD_BITS, MULT_BITS, SHIFT_MAX
from twinor.golden import adc_frontend, flash_array
from twinor.rounds import Chain, End, Round, Start, validate

from tb.common.stimulus import Vectors, random_chain
from tb.uvm.goals import ramp_levels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from twinor.config import Config

__all__ = ["code_ramp", "corner_chain", "corner_vectors", "directed_chains", "levels"]

Rng = np.random.Generator


def levels(config: Config, rng: Rng) -> NDArray[np.uint8]:
    """Cell levels of one macro, uint8[1, rows, bit_lines]: random weights, but for columns 0 and 1.

    Their cells are at the top level, and ..., 4, 2, 1 in the last word lines of a row group, so that some word lines
    draw any current up to the largest; column 1 draws it from the minus lines of its pairs.
    """
    weights = rng.integers(config.weight_min, config.weight_max + 1, (config.rows, config.cols))
    made = flash_array.levels(config, weights)
    cells = made.reshape(config.rows, config.cols, config.w_slices, config.lines_per_cell)
    first, *second = adc_frontend.array_columns(config, np.arange(min(2, config.out_cols))).tolist()
    cells[:, [first, *second]] = 0
    cells[:, first, :, 0] = ramp_levels(config)[:, None]
    for column in second:
        cells[:, column, :, -1] = ramp_levels(config)[:, None]
    return made[None]


def corner_chain(config: Config, rng: Rng, *, rounds: int | None = None) -> Chain:
    """A random chain with regions, limits, shifts and column table at their corners half of the time.

    Example:
        >>> from twinor.config import load
        >>> len(corner_chain(load("tiny"), np.random.default_rng(1), rounds=3).rounds)
        3
    """
    base = random_chain(config, rng, rounds=rounds or int(rng.integers(1, min(config.max_rounds, 4) + 1)))
    made: list[Round] = []
    for rnd in base.rounds:
        cornered = _corner_round(config, rng, rnd) if rng.random() < 0.6 else rnd
        if rnd.start is Start.LAST:
            cornered = replace(cornered, col_base=0, col_count=made[-1].col_count)
        made.append(cornered)
    bits = (MULT_BITS, ADD_BITS, MULT_BITS)
    mult, add, residual = (_corners(rng, width, config.out_cols).astype(np.int32) for width in bits)
    chain = replace(base, rounds=tuple(made), mult=mult, add=add, residual_mult=residual)
    validate(config, chain)
    return chain


def _corner_round(config: Config, rng: Rng, rnd: Round) -> Round:
    row_base = int(rng.choice([0, rnd.row_base, config.rows - config.in_lanes]))
    col_base = int(rng.choice([0, rnd.col_base, config.out_cols - config.n_lanes]))
    rows, cols = config.rows - row_base, config.out_cols - col_base
    row_count = int(rng.choice([1, min(config.active_rows, rows), int(rng.integers(1, rows + 1)), rows]))
    phases = int(rng.integers(1, cols // config.n_lanes + 1)) * config.n_lanes
    col_count = int(rng.choice([1, phases, int(rng.integers(1, cols + 1)), cols]))
    top = 1 << (config.acc_bits - 1)
    lo, hi = [(0, 15), (-8, 7), (-16, 0), (-top, top - 1), (rnd.lo, rnd.hi)][int(rng.integers(5))]
    shift = int(rng.choice([1, rnd.shift, SHIFT_MAX]))
    bias_rows = int(rng.integers(rows - row_count + 1)) if rnd.bias_rows else 0
    placed = replace(rnd, row_base=row_base, row_count=row_count, bias_rows=bias_rows)
    placed = replace(placed, col_base=col_base, col_count=col_count)
    return replace(placed, lo=lo, hi=hi, shift=shift)


def _corners(rng: Rng, bits: int, count: int | tuple[int, ...]) -> NDArray[np.int64]:
    """Signed integers: the ends, around zero, and anything, a third each."""
    limit = 1 << (bits - 1)
    kinds = [rng.choice([-limit, limit - 1], count), rng.integers(-1, 2, count), rng.integers(-limit, limit, count)]
    return np.choose(rng.integers(0, 3, count), kinds)


def corner_vectors(config: Config, chain: Chain, rng: Rng, *, count: int) -> Vectors:
    """Activations that are sparse, full, empty, one-hot; partial sums and residual codes at their corners."""
    psums = sum(rnd.col_count for rnd in chain.rounds if rnd.start is Start.PSUM)
    residuals = sum(rnd.col_count for rnd in chain.rounds if rnd.residual)
    return Vectors(
        inputs=[np.stack([_activations(config, rng, rnd) for _ in range(count)]) for rnd in chain.rounds],
        psums=_corners(rng, config.psum_bits, (count, psums)) if psums else None,
        residuals=_corners(rng, config.input_bits + 1, (count, residuals)) if residuals else None,
    )


def _activations(config: Config, rng: Rng, rnd: Round) -> NDArray[np.int64]:
    rows, kind = rnd.row_count, int(rng.integers(6))
    low = -(1 << (config.input_bits - 1)) if rnd.signed else 0
    top = low + (1 << config.input_bits)
    if kind == 0:
        return np.zeros(rows, dtype=np.int64)
    if kind == 1:
        return np.full(rows, low or top - 1, dtype=np.int64)
    x = rng.integers(low or 1, top, rows)
    if kind == 2:
        return np.where(np.arange(rows) == rng.integers(rows), x, 0)
    return np.where(rng.random(rows) < rng.random(), x, 0)


def code_ramp(config: Config) -> tuple[Chain, NDArray[np.int64]]:
    """A chain of columns 0 and 1, and activations [codes, rows] that take both through every code within reach."""
    rows, top = config.active_rows, (1 << config.dac_bits) - 1
    step = max(s for s in config.steps if s == config.steps[0] or (config.code_max + 1) * s <= config.column_max)
    rnd = Round(
        row_base=0, row_count=rows, col_base=0, col_count=min(2, config.out_cols), steps=((step,) * config.w_slices,)
    )
    none = np.zeros(config.out_cols, dtype=np.int32)
    wanted = np.arange(max(config.code_max, -config.code_min) + 1) * step
    x = np.zeros((len(wanted), rows), dtype=np.int64)
    for row, level in enumerate(ramp_levels(config)[:rows].tolist()):
        x[:, row] = np.minimum(wanted // level, top)
        wanted = wanted - x[:, row] * level
    return Chain(macro=0, rounds=(rnd,), mult=none, add=none), x


def directed_chains(config: Config, rng: Rng) -> Iterator[Chain]:
    """Every ADC step at every slice, every start with every end, every chain length, and saturation on both sides."""
    full: dict[str, Any] = {"row_base": 0, "row_count": config.rows, "col_base": 0, "col_count": config.out_cols}
    plan = (config.x_slices, config.w_slices)

    def steps(step: int) -> tuple[tuple[int, ...], ...]:
        return tuple((step,) * plan[1] for _ in range(plan[0]))

    def chain(*rounds: dict[str, Any]) -> Chain:
        made = tuple(Round(**(full | {"steps": steps(config.steps[-1])} | fields)) for fields in rounds)
        mult, add = rng.integers(1, 1 << 8, config.out_cols), rng.integers(-(1 << 8), 1 << 8, config.out_cols)
        whole = Chain(macro=0, rounds=made, mult=mult.astype(np.int32), add=add.astype(np.int32))
        validate(config, whole)
        return whole

    for step in config.steps:
        yield chain({"steps": steps(step), "end": End.RAW})
    starts, ends = (Start.ZERO, Start.PSUM, Start.LAST), (End.HOLD, End.RAW, End.REQUANT)
    for start in starts:
        for end in ends:
            before, after = [{"end": End.HOLD}] * (start is Start.LAST), [{"end": End.RAW}] * (end is End.HOLD)
            yield chain(*before, {"start": start, "end": end, "shift": 4, "lo": -8, "hi": 7}, *after)
    narrow = {"row_count": min(config.active_rows, config.in_lanes), "col_count": 1}
    for length in range(1, config.max_rounds + 1):
        yield chain(*[narrow] * length)
    top = 1 << (config.acc_bits - 1)
    for lo, hi in ((-1, 0), (0, 1), (-top, -top), (top - 1, top - 1)):
        yield chain({"end": End.REQUANT, "shift": 1, "lo": lo, "hi": hi})
