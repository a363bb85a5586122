# SPDX-License-Identifier: Apache-2.0
"""Round check: the golden rules agree with the compiler's, and the bench of the Verilog."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from twinor.config import Config
from twinor.errors import PlacementError
from twinor.golden.round_check import RoundError, round_error
from twinor.rounds import ROUND_STRIDE, Chain, End, Round, Start, pack, validate

from tb.common.cases import Case, cases, run_case
from tb.common.configs import (
    EXACT,
    NOR40,
    OFFSET,
    RAGGED,
    RAGGED_OFFSET,
    REFERENCED,
    SHARED,
    SHARED_OFFSET,
    SLICED,
    TINY,
    TWOS,
    ids,
)
from tb.common.descriptors import with_field
from tb.common.stimulus import random_chain

CONFIGS = [TINY, NOR40, EXACT, OFFSET, TWOS, SLICED, RAGGED, RAGGED_OFFSET, SHARED, SHARED_OFFSET, REFERENCED]


def descriptors(config: Config, chain: Chain) -> list[list[int]]:
    """The words of every round."""
    memory = dict(pack(config, chain).tolist())
    return [[memory[ROUND_STRIDE * r + k] for k in range(config.round_words)] for r in range(len(chain.rounds))]


def errors(config: Config, chain: Chain) -> list[RoundError]:
    """What the macro says of every round."""
    before = [0, *(rnd.col_count for rnd in chain.rounds)]
    return [
        round_error(config, words, index=r, cols_before=before[r]) for r, words in enumerate(descriptors(config, chain))
    ]


def accepted(config: Config, chain: Chain) -> bool:
    """True if the compiler lets a chain pass."""
    try:
        validate(config, chain)
    except PlacementError:
        return False
    return True


def disturbed(config: Config, rng: np.random.Generator, rnd: Round) -> Round:
    """One field of a round at a value that words can express, around what the macro allows."""
    plan = int(rng.integers(0, config.x_slices + 2))
    row = tuple((3 if rng.random() < 0.5 else 1) << int(rng.integers(config.step_shift_max + 2)) for _ in rnd.steps[0])
    field: list[dict[str, Any]] = [
        {"row_base": rnd.row_base + int(rng.choice([1, config.in_lanes]))},
        {"row_count": int(rng.integers(0, config.rows - rnd.row_base + 2))},
        {"bias_rows": int(rng.integers(0, config.rows - rnd.row_base - rnd.row_count + 2))},
        {"col_base": rnd.col_base + config.n_lanes},
        {"col_count": int(rng.integers(0, config.out_cols - rnd.col_base + 2))},
        {"steps": (rnd.steps[0],) * plan if plan * config.w_slices <= 4 * (config.round_words - 6) else rnd.steps},
        {"steps": (row,) * len(rnd.steps)},
        {"start": Start(rng.choice(list(Start)))},
        {"end": End(rng.choice(list(End)))},
        {"residual": True},
        {"shift": 0, "end": End.REQUANT},
        {"lo": rnd.hi + 1, "hi": rnd.hi, "end": End.REQUANT} if rnd.hi + 1 < 1 << (config.acc_bits - 1) else {},
    ]
    return dataclasses.replace(rnd, **field[int(rng.integers(len(field)))])


@pytest.mark.fast
@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_the_macro_accepts_what_the_compiler_accepts(config: Config) -> None:
    """A chain passes `rounds.validate` if and only if no round of it breaks a rule, for all that words can express."""
    rng = np.random.default_rng(20)
    verdicts = []
    for n in range(400):
        chain = random_chain(config, rng)
        rounds = list(chain.rounds)
        if n % 4:
            at = int(rng.integers(len(rounds)))
            rounds[at] = disturbed(config, rng, rounds[at])
        if n % 40 == 1:
            rounds = [rounds[0]] * config.max_rounds + rounds
        chain = dataclasses.replace(chain, rounds=tuple(rounds))
        verdicts.append(accepted(config, chain))
        assert verdicts[-1] == (not any(errors(config, chain))), f"{errors(config, chain)} in {chain.rounds}"
    assert 100 < sum(verdicts) < 350


ONE = Round(row_base=0, row_count=8, col_base=0, col_count=4, steps=((1,), (1,)), end=End.REQUANT, lo=-8, hi=7)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("field", "good", "bad", "error"),
    [
        ("row_base", 0, 1, RoundError.ROWS),  # two lanes
        ("row_count", 8, 9, RoundError.ROWS),
        ("row_count", 1, 0, RoundError.ROWS),
        ("bias_rows", 0, 1, RoundError.ROWS),
        ("mux", 0, 1, RoundError.COLUMNS),
        ("col_count", 4, 5, RoundError.COLUMNS),
        ("col_count", 1, 0, RoundError.COLUMNS),
        ("plan", 2, 3, RoundError.PLAN),
        ("plan", 1, 0, RoundError.PLAN),
        ("start", Start.PSUM, 3, RoundError.START),
        ("start", Start.ZERO, Start.LAST, RoundError.START),  # the first round has no last one
        ("end", End.RAW, 3, RoundError.END),
        ("end", End.RAW, End.HOLD, RoundError.END),  # the last round
        ("step0", 2 * TINY.step_shift_max, 2 * TINY.step_shift_max + 2, RoundError.STEP),
        ("step1", 2, 1, RoundError.STEP),  # 2, and 3, which needs the room of 4
        ("shift", 1, 0, RoundError.REQUANT),
        ("lo", 7, 8, RoundError.REQUANT),
    ],
)
def test_a_field_beyond_its_limit_breaks_its_rule(field: str, good: int, bad: int, error: RoundError) -> None:
    table = np.zeros(TINY.out_cols, dtype=np.int32)
    words = descriptors(TINY, Chain(macro=0, rounds=(ONE,), mult=table, add=table))[0]
    for value, expected in ((good, RoundError.NONE), (bad, error)):
        assert round_error(TINY, with_field(words, field, value), index=0, cols_before=0) is expected


@pytest.mark.fast
def test_rules_that_need_a_place_in_the_chain() -> None:
    table = np.zeros(TINY.out_cols, dtype=np.int32)
    last = dataclasses.replace(ONE, start=Start.LAST)
    words = descriptors(TINY, Chain(macro=0, rounds=(ONE, last), mult=table, add=table))
    assert round_error(TINY, words[1], index=1, cols_before=4) is RoundError.NONE
    assert round_error(TINY, words[1], index=1, cols_before=3) is RoundError.START
    added = with_field(words[1], "residual", 1)
    assert round_error(TINY, added, index=1, cols_before=4) is RoundError.RESIDUAL
    assert round_error(TINY, words[0], index=TINY.max_rounds - 2, cols_before=4) is RoundError.NONE
    assert round_error(TINY, words[0], index=TINY.max_rounds - 1, cols_before=4) is RoundError.LENGTH


@pytest.mark.rtl
@pytest.mark.parametrize("case", cases("round_check"), ids=str)
def test_verilog_matches_golden(case: Case, tmp_path: Path) -> None:
    run_case(case, tmp_path)
