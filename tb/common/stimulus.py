# SPDX-License-Identifier: Apache-2.0
"""Random chains that are valid, and vectors for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from twinor.config import ADD_BITS, MULT_BITS, SHIFT_MAX
from twinor.rounds import Chain, End, Round, Start, validate

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from twinor.config import Config

__all__ = ["Vectors", "random_chain", "random_vectors"]


def random_chain(config: Config, rng: np.random.Generator, *, rounds: int | None = None) -> Chain:
    """A chain of random length, regions, steps, slice plans, signs, bias rows, residuals, starts and ends.

    A round that starts from the last one has its columns; everything else is free.

    Example:
        >>> from twinor.config import load
        >>> len(random_chain(load("tiny"), np.random.default_rng(1), rounds=3).rounds)
        3
    """
    count = rounds or int(rng.integers(1, config.max_rounds + 1))
    made: list[Round] = []
    for n in range(count):
        made.append(_round(config, rng, made[-1] if made else None, last=n == count - 1))
    mult_top, add_top = 1 << (MULT_BITS - 1), 1 << (ADD_BITS - 1)
    chain = Chain(
        macro=0,
        rounds=tuple(made),
        mult=rng.integers(-mult_top, mult_top, config.out_cols).astype(np.int32),
        add=rng.integers(-add_top, add_top, config.out_cols).astype(np.int32),
        residual_mult=rng.integers(-mult_top, mult_top, config.out_cols).astype(np.int32),
    )
    validate(config, chain)
    return chain


def _round(config: Config, rng: np.random.Generator, before: Round | None, *, last: bool) -> Round:
    start = Start(rng.choice(list(Start) if before else [Start.ZERO, Start.PSUM]))
    end = End(rng.choice([End.RAW, End.REQUANT] if last else list(End)))
    row_base = int(rng.integers(config.rows // config.in_lanes)) * config.in_lanes
    col_base = int(rng.integers(config.out_cols // config.n_lanes)) * config.n_lanes
    col_count = int(rng.integers(1, config.out_cols - col_base + 1))
    if before and start is Start.LAST:
        col_count = before.col_count
        col_base = int(rng.integers((config.out_cols - col_count) // config.n_lanes + 1)) * config.n_lanes
    plan = int(rng.integers(1, config.x_slices + 1))
    each = rng.choice(config.steps, (1 if config.analog_slices else plan, config.w_slices)).tolist()
    row_count = int(rng.integers(1, config.rows - row_base + 1))
    bias_rows = int(rng.integers(0, config.rows - row_base - row_count + 1)) if rng.random() < 0.4 else 0
    top = 1 << (config.acc_bits - 1)
    ends = sorted(rng.integers(-top, top, 2).tolist()) if rng.random() < 0.7 else [0, 15]
    return Round(
        row_base=row_base,
        row_count=row_count,
        col_base=col_base,
        col_count=col_count,
        steps=tuple(tuple(row) for row in (each * plan if config.analog_slices else each)),
        start=start,
        end=end,
        shift=int(rng.integers(1, SHIFT_MAX + 1)),
        lo=ends[0],
        hi=ends[1],
        signed=bool(rng.random() < 0.4),
        residual=bool(rng.random() < 0.4) and start is not Start.LAST,
        bias_rows=bias_rows,
        bias_code=int(rng.integers(1 << config.input_bits)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """What `count` vectors of a chain bring: activations of each round, partial sums, residual codes (or None)."""

    inputs: list[NDArray[np.int64]]
    psums: NDArray[np.int64] | None
    residuals: NDArray[np.int64] | None


def random_vectors(config: Config, chain: Chain, rng: np.random.Generator, *, count: int) -> Vectors:
    """Vectors over the whole range of every stream.

    Example:
        >>> from twinor.config import load
        >>> rng = np.random.default_rng(1)
        >>> chain = random_chain(load("tiny"), rng, rounds=1)
        >>> random_vectors(load("tiny"), chain, rng, count=2).inputs[0].shape == (2, chain.rounds[0].row_count)
        True
    """
    top, limit, code = 1 << config.input_bits, 1 << (config.psum_bits - 1), 1 << config.input_bits
    inputs = [rng.integers(0, top, (count, rnd.row_count)) - (top >> 1 if rnd.signed else 0) for rnd in chain.rounds]
    starting = sum(rnd.col_count for rnd in chain.rounds if rnd.start is Start.PSUM)
    adding = sum(rnd.col_count for rnd in chain.rounds if rnd.residual)
    return Vectors(
        inputs=inputs,
        psums=rng.integers(-limit, limit, (count, starting)) if starting else None,
        residuals=rng.integers(-code, code, (count, adding)) if adding else None,
    )
