# SPDX-License-Identifier: Apache-2.0
"""Round sequencer: laws of the golden schedule, and the bench of the Verilog."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from twinor.config import PRESETS, Config, load, replace
from twinor.golden import macro_ctrl
from twinor.rounds import Chain, End, Round, Start, converts, pack, passes, unpack

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
from tb.common.stimulus import random_chain

ALL = [TINY, NOR40, EXACT, OFFSET, TWOS, SLICED, RAGGED, RAGGED_OFFSET, SHARED, SHARED_OFFSET, REFERENCED]


def chain_of(config: Config, *rounds: Round) -> Chain:
    """A chain with an empty column table."""
    table = np.zeros(config.out_cols, dtype=np.int32)
    return Chain(macro=0, rounds=rounds, mult=table, add=table)


def full_round(config: Config, *, start: Start = Start.ZERO, end: End = End.HOLD) -> Round:
    """A round over the whole macro."""
    steps = ((1,) * config.w_slices,) * config.x_slices
    whole = {"row_base": 0, "row_count": config.rows, "col_base": 0, "col_count": config.out_cols}
    return Round(**whole, steps=steps, start=start, end=end)


@pytest.mark.fast
@pytest.mark.parametrize(
    "config",
    [*map(load, sorted(PRESETS.glob("*.yaml"))), TWOS, SLICED, RAGGED, SHARED, SHARED_OFFSET, REFERENCED],
    ids=ids,
)
def test_steady_state_runs_at_the_floor(config: Config) -> None:
    """A full tile whose outputs leave once a vector: the converters, or the settling, never wait."""
    chain = chain_of(config, full_round(config, end=End.RAW))
    hold = macro_ctrl.schedule(config, chain, vectors=8)[0].hold
    spacing = np.diff(hold[:, 0])[3:]
    assert np.all(spacing <= 1.05 * macro_ctrl.floor_cycles(config, chain))


@pytest.mark.fast
def test_hand_computed_schedule() -> None:
    """Tiny, two row groups of one slice: 4 beats, 2 cycles to settle, two phases of 5 cycles."""
    rnd = Round(row_base=0, row_count=8, col_base=0, col_count=4, steps=((1,),), end=End.RAW)
    cycles = macro_ctrl.schedule(TINY, chain_of(TINY, rnd), vectors=1)[0]
    assert cycles.hold.tolist() == [[6, 16]]  # driven in 4, held in 6; the second waits for the last trial
    assert cycles.code.tolist() == [[[12, 17], [22, 27]]]
    assert cycles.out.tolist() == [[24, 25, 29, 30]]


@pytest.mark.fast
@pytest.mark.parametrize("config", ALL, ids=ids)
def test_a_lone_round_sends_its_first_column_in_the_stated_cycle(config: Config) -> None:
    """L + S + (P - 1) max(S, M (B + 1)) + B + 4, as macro_ctrl.md says; shared slices settle one after the other."""
    rnd = full_round(config, end=End.RAW)
    convert = config.cols_per_adc * (config.trials + 1)
    beats, count = -(-config.rows // config.in_lanes), sum(converts(config, rnd, p) for p in passes(config, rnd))
    settle = (config.wl_cycles + config.settle_cycles) * (len(passes(config, rnd)) // count)
    out = macro_ctrl.schedule(config, chain_of(config, rnd), vectors=1)[0].out
    assert out[0, 0] == beats + settle + (count - 1) * max(settle, convert) + config.trials + 4


@pytest.mark.fast
@pytest.mark.parametrize(
    ("config", "columns", "period", "floor"),
    [
        (NOR40, 64, 144, 144),
        (load("nor40_int4_dac4"), 64, 72, 72),
        (EXACT, 64, 4608, 4608),
        (TINY, 4, 40, 40),
        (load("nor40_int4_dac4"), 8, 33, 32),  # the input stream limits
        (replace(NOR40, cols_per_adc=4), 64, 93, 72),  # the output stream limits
    ],
    ids=lambda value: value.name if isinstance(value, Config) else str(value),
)
def test_periods_of_the_specification(config: Config, columns: int, period: int, floor: int) -> None:
    """Cycles of one vector in steady state, as macro_ctrl.md lists them."""
    chain = chain_of(config, dataclasses.replace(full_round(config, end=End.RAW), col_count=columns))
    hold = macro_ctrl.schedule(config, chain, vectors=8)[0].hold[:, 0]
    assert set(np.diff(hold)[3:].tolist()) == {period}
    assert macro_ctrl.floor_cycles(config, chain) == floor


@pytest.mark.fast
@pytest.mark.parametrize("config", ALL, ids=ids)
def test_events_of_random_chains_come_in_a_possible_order(config: Config) -> None:
    rng = np.random.default_rng(10)
    for _ in range(5):
        chain = random_chain(config, rng)
        holds, codes, outs = [], [], []
        cycles = macro_ctrl.schedule(config, chain, vectors=2)
        for v in range(2):
            for when in cycles:
                holds += when.hold[v].tolist()
                codes += [cycle for cycle in when.code[v].reshape(-1).tolist() if cycle]
                outs += when.out[v].tolist()
                converted = when.code[v][:, 0] > 0
                assert np.all(when.code[v][converted, 0] >= when.hold[v][converted] + config.conversion_cycles + 1)
        assert np.all(np.diff(holds) >= config.wl_cycles + config.settle_cycles)
        assert np.all(np.diff(codes) >= config.conversion_cycles)
        assert np.all(np.diff(outs) >= 1)


@pytest.mark.fast
@pytest.mark.parametrize("config", ALL, ids=ids)
def test_round_words_hold_everything(config: Config) -> None:
    rng = np.random.default_rng(11)
    for _ in range(20):
        chain = random_chain(config, rng)
        back = unpack(config, pack(config, chain))
        assert back.rounds == chain.rounds
        assert np.array_equal(back.mult, chain.mult) and np.array_equal(back.add, chain.add)
        assert np.array_equal(back.residual_table, chain.residual_table)


@pytest.mark.fast
def test_passes_run_group_by_group_slice_by_slice() -> None:
    order = [(p.group, p.x_slice, p.w_slice) for p in passes(SLICED, full_round(SLICED))]
    assert order == [(g, i, j) for g in (0, 1) for i in (0, 1) for j in (0, 1)]


@pytest.mark.rtl
@pytest.mark.parametrize("case", cases("macro_ctrl"), ids=str)
def test_verilog_matches_golden(case: Case, tmp_path: Path) -> None:
    run_case(case, tmp_path)
