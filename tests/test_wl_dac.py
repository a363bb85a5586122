# SPDX-License-Identifier: Apache-2.0
"""Word-line DACs: laws of the golden slicing, and the bench of the Verilog."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from twinor.config import Config
from twinor.golden import wl_dac
from twinor.rounds import Chain, Pass, Round, check_streams, passes

from tb.common.cases import Case, cases, run_case
from tb.common.configs import EXACT, NOR40, RAGGED, TINY, ids


def full(config: Config, base: int, count: int) -> Round:
    """A round of a region with every input slice."""
    steps = ((1,) * config.w_slices,) * config.x_slices
    return Round(row_base=base, row_count=count, col_base=0, col_count=1, steps=steps)


@pytest.mark.fast
@pytest.mark.parametrize("config", [TINY, NOR40, EXACT, RAGGED], ids=ids)
def test_slices_and_groups_put_the_activations_together_again(config: Config) -> None:
    rng = np.random.default_rng(2)
    for base, count in ((0, config.rows), (config.in_lanes, config.rows - config.in_lanes), (0, 1)):
        rnd = full(config, base, count)
        x = rng.integers(0, 1 << config.input_bits, (5, count))
        whole = np.zeros((5, config.rows), dtype=np.int64)
        for p in passes(config, rnd):
            if p.w_slice == 0:
                lines = wl_dac.word_lines(config, rnd, x, p)
                assert np.count_nonzero(lines.any(axis=0)) <= config.active_rows
                whole += lines.astype(np.int64) << p.x_slice * config.dac_bits
        assert np.array_equal(whole[:, base : base + count], x)
        assert not whole[:, :base].any() and not whole[:, base + count :].any()


@pytest.mark.fast
def test_hand_computed_word_lines_and_their_sum() -> None:
    rnd = full(TINY, 2, 5)  # rows 2 .. 6: group 0 drives 2 .. 5, group 1 drives 6
    x = np.array([[1, 2, 3, 0, 2]])
    got = [wl_dac.word_lines(TINY, rnd, x, Pass(g, i, 0))[0].tolist() for g in (0, 1) for i in (0, 1)]
    assert got == [
        [0, 0, 1, 0, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 0],
    ]
    assert wl_dac.word_line_sum(np.array(got, dtype=np.uint8)).tolist() == [2, 2, 0, 1]


@pytest.mark.fast
@pytest.mark.parametrize("config", [TINY, NOR40, EXACT, RAGGED], ids=ids)
def test_two_phases_and_bias_rows_put_signed_activations_together_again(config: Config) -> None:
    """Phase 0 less phase 1 is the activation; bias rows are driven in phase 0 with their code."""
    rng, half = np.random.default_rng(4), 1 << (config.input_bits - 1)
    bias = config.rows // 3
    rnd = dataclasses.replace(full(config, 0, config.rows - bias), signed=True, bias_rows=bias, bias_code=2 * half - 1)
    x = rng.integers(-half, half, (5, rnd.row_count))
    whole = np.zeros((5, config.rows), dtype=np.int64)
    for p in passes(config, rnd):
        if p.w_slice == 0:
            lines = wl_dac.word_lines(config, rnd, x, p).astype(np.int64) << p.x_slice * config.dac_bits
            whole += -lines if p.phase else lines
    assert np.array_equal(whole[:, : rnd.row_count], x)
    assert np.all(whole[:, rnd.row_count :] == rnd.bias_code)


@pytest.mark.fast
def test_hand_computed_phases_of_signed_activations() -> None:
    rnd = dataclasses.replace(full(TINY, 0, 3), signed=True, bias_rows=1, bias_code=2)
    got = [
        wl_dac.word_lines(TINY, rnd, np.array([[1, -2, -1]]), Pass(0, i, 0, s))[0, :4].tolist()
        for s in (0, 1)
        for i in (0, 1)
    ]
    assert got == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]]


@pytest.mark.fast
@pytest.mark.parametrize(("bad", "signed"), [(-1, False), (4, False), (-3, True), (2, True)])
def test_activations_out_of_range_are_refused(bad: int, signed: bool) -> None:
    rnd = dataclasses.replace(full(TINY, 0, 1), signed=signed)
    table = np.zeros(TINY.out_cols, dtype=np.int32)
    allowed = "-2 .. 1" if signed else "0 .. 3"
    with pytest.raises(ValueError, match=f"activations {bad} .. {bad}: expected {allowed}"):
        check_streams(TINY, Chain(macro=0, rounds=(rnd,), mult=table, add=table), [np.array([[bad]])], None, macros=1)


@pytest.mark.rtl
@pytest.mark.parametrize("case", cases("wl_dac"), ids=str)
def test_verilog_matches_golden(case: Case, tmp_path: Path) -> None:
    run_case(case, tmp_path)
