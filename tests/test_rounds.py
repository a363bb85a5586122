# SPDX-License-Identifier: Apache-2.0
"""Chains are packed into words without loss, refused when the macro cannot run them, and walked in one order."""

from dataclasses import replace as changed
from itertools import product
from typing import Any

import numpy as np
import pytest
from builders import Ints, chain_of, configs, one_round, random_chain, seeds, stimulus
from hypothesis import given
from hypothesis import strategies as st
from twinor.config import DIGITAL, Config
from twinor.errors import PlacementError
from twinor.rounds import (
    ROUND_STRIDE,
    STEP_WORD,
    TABLE_ADDR,
    Chain,
    End,
    Pass,
    Start,
    check_streams,
    converts,
    pack,
    passes,
    step_code,
    unpack,
    validate,
)
from twinor.trim import WEIGHT_ADDR
from twinor.weights import TRIALS_MAX

from tb.common.configs import NOR40, SHARED, SHARED_OFFSET, SLICED, TINY

pytestmark = pytest.mark.fast


def same(a: Chain, b: Chain) -> bool:
    names = ("mult", "add", "residual_table")
    tables = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)
    return tables and (a.macro, a.rounds) == (b.macro, b.rounds)


# Passes //


def test_passes_go_by_row_group_then_input_slice_then_weight_slice() -> None:
    order = passes(SLICED, one_round(SLICED, row_base=2, row_count=5))  # 4 active rows: two groups
    assert order == [Pass(g, i, j) for g in (0, 1) for i in (0, 1) for j in (0, 1)]


def test_an_input_slice_plan_leaves_out_the_high_slices() -> None:
    order = passes(SLICED, one_round(SLICED, row_count=1, steps=((1, 1),)))
    assert order == [Pass(0, 0, 0), Pass(0, 0, 1)]


@pytest.mark.parametrize(("rows", "groups"), [(1, 1), (4, 1), (5, 2), (8, 2)])
def test_row_groups_are_counted_from_the_row_base(rows: int, groups: int) -> None:
    assert passes(TINY, one_round(TINY, row_count=rows))[-1].group == groups - 1


# Words //


@given(configs(), seeds)
def test_unpacked_words_give_the_chain_back(config: Config, seed: int) -> None:
    chain = random_chain(config, np.random.default_rng(seed), macros=4)
    validate(config, chain)
    words = pack(config, chain)
    assert words.dtype == np.uint32 and words.shape[1] == 2
    assert same(unpack(config, words, macro=chain.macro), chain)


@given(configs(), seeds)
def test_words_have_addresses_of_their_own_and_the_last_round_ends_them(config: Config, seed: int) -> None:
    chain = random_chain(config, np.random.default_rng(seed))
    address = pack(config, chain)[:, 0].tolist()
    assert len(set(address)) == len(address) and max(address) < 1 << 16
    table = [TABLE_ADDR + k for k in range(2 * config.out_cols)]
    rounds = [n * ROUND_STRIDE + k for n in range(len(chain.rounds)) for k in range(config.round_words)]
    assert config.round_words <= ROUND_STRIDE
    assert address == table + rounds  # the sequencer arms itself at the last word


def test_words_by_hand() -> None:
    first = one_round(
        SLICED, row_base=2, row_count=6, col_base=2, col_count=1, steps=((1, 2), (3, 4)), start=Start.PSUM, end=End.HOLD
    )
    second = changed(first, start=Start.LAST, end=End.REQUANT, shift=31, lo=-3, hi=15, steps=((4, 1),))
    mult, add = np.array([1, -1, 0, 7], dtype=np.int32), np.array([-2, 5, 0, -(2**31)], dtype=np.int32)
    memory = {int(a): int(d) for a, d in pack(SLICED, chain_of(SLICED, first, second, mult=mult, add=add))}
    table = [memory[TABLE_ADDR + k] for k in range(8)]
    assert table == [1, 0xFFFFFFFE, 0xFFFF, 5, 0, 0, 7, 0x80000000]
    #               rows 6 from 2, 1 column at position 1; plan 2, PSUM, HOLD, shift 1; steps 1, 2, 3, 4
    assert [memory[k] for k in range(7)] == [0x0006_0002, 0x0001_0001, 0x0001_0202, 0, 0, 0, 0x04_01_02_00]
    #                                        plan 1, LAST, REQUANT, last, shift 31; lo -3, hi 15; steps 4, 1
    assert [memory[32 + k] for k in range(7)][2:] == [0x001F_1901, 0xFFFFFFFD, 15, 0, 0x0004]


def test_words_of_signs_residuals_and_bias_rows_by_hand() -> None:
    rnd = one_round(TINY, row_count=5, signed=True, residual=True, bias_rows=3, bias_code=2, start=Start.PSUM)
    residual, mult = np.array([-2, 3, 0, 0], dtype=np.int32), np.array([-1, 4, 0, 0], dtype=np.int32)
    memory = {int(a): int(d) for a, d in pack(TINY, chain_of(TINY, rnd, mult=mult, residual_mult=residual))}
    assert [memory[TABLE_ADDR + k] for k in (0, 2, 4)] == [0xFFFE_FFFF, 0x0003_0004, 0]
    #                                    plan 2, PSUM, RAW, last, signed, residual, shift 1; bias rows 3, code 2
    assert (memory[2], memory[5]) == (0x0001_7602, 0x0002_0003)


def test_every_step_has_a_code_of_its_own() -> None:
    codes = [step_code(step) for step in NOR40.steps]
    assert len(set(codes)) == len(codes)
    assert [(3 if code & 1 else 1) << (code >> 1) for code in codes] == list(NOR40.steps)
    assert all(type(code) is int and 0 <= code < 256 for code in codes)


def test_the_largest_macro_fits_the_fields_of_a_word() -> None:
    limit = {key: allowed[-1] for key, allowed in DIGITAL.items()}
    assert max(limit["rows"], limit["cols"]) < 1 << 16  # row_count, col_count
    assert TABLE_ADDR + 2 * limit["cols"] <= WEIGHT_ADDR and WEIGHT_ADDR + TRIALS_MAX <= 1 << 16
    assert limit["max_rounds"] * ROUND_STRIDE <= TABLE_ADDR
    most_slices = limit["input_bits"] * limit["weight_bits"]
    assert limit["input_bits"] < 1 << 8 and STEP_WORD + -(-most_slices // 4) <= ROUND_STRIDE


# What a macro cannot run //


@given(configs(), seeds)
def test_random_chains_are_valid(config: Config, seed: int) -> None:
    validate(config, random_chain(config, np.random.default_rng(seed)))


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"row_base": 1}, "row_base = 1 is not allowed: expected multiples of 2 below 8"),
    ({"row_base": -2}, "row_base = -2 is not allowed"),
    ({"row_base": 8}, "row_base = 8 is not allowed: expected multiples of 2 below 8"),
    ({"row_count": 0}, "row_count = 0 is not allowed: expected 1 .. 8"),
    ({"row_count": 9}, "row_count = 9 is not allowed: expected 1 .. 8"),
    ({"row_base": 4, "row_count": 5}, "row_count = 5 is not allowed: expected 1 .. 4"),
    ({"col_base": 1}, "col_base = 1 is not allowed: expected multiples of 2 below 4"),
    ({"col_base": 4}, "col_base = 4 is not allowed"),
    ({"col_count": 0}, "col_count = 0 is not allowed: expected 1 .. 4"),
    ({"col_base": 2, "col_count": 3}, "col_count = 3 is not allowed: expected 1 .. 2"),
    ({"steps": ()}, "steps = () is not allowed: expected 1 .. 2 input slices of 1 weight slices"),
    ({"steps": ((1,), (1,), (1,))}, "expected 1 .. 2 input slices"),
    ({"steps": ((1, 1), (1, 1))}, "of 1 weight slices"),
    ({"steps": ((1,), (3,))}, "expected values of (1, 2)"),
    ({"steps": ((0,), (1,))}, "expected values of (1, 2)"),
    ({"shift": 0}, "shift = 0 is not allowed: expected 1 .. 31"),
    ({"shift": 32}, "shift = 32 is not allowed: expected 1 .. 31"),
    ({"lo": 1, "hi": 0}, "lo, hi = (1, 0) is not allowed"),
    ({"hi": 1 << 18}, "expected lo <= hi in 19 signed bits"),
    ({"lo": -(1 << 18) - 1}, "expected lo <= hi in 19 signed bits"),
    ({"row_count": 6, "bias_rows": 3}, "bias_rows = 3 is not allowed: expected 0 .. 2"),
    ({"bias_rows": -1}, "bias_rows = -1 is not allowed"),
    ({"bias_code": 4}, "bias_code = 4 is not allowed: expected 0 .. 3"),
    ({"start": Start.LAST, "residual": True}, "no residual codes in a round that starts from the last one"),
]


@pytest.mark.parametrize(("changes", "said"), BAD_FIELDS, ids=[str(changes) for changes, _ in BAD_FIELDS])
def test_a_bad_field_is_named_with_its_round_and_what_is_allowed(changes: dict[str, Any], said: str) -> None:
    good = one_round(TINY)
    with pytest.raises(PlacementError) as caught:
        validate(TINY, chain_of(TINY, good, one_round(TINY, **changes)))
    assert str(caught.value).startswith("round 1: ") and said in str(caught.value)


def test_the_limits_themselves_are_allowed() -> None:
    widest = one_round(TINY, lo=-(1 << 18), hi=(1 << 18) - 1, shift=31, steps=((2,), (2,)))
    corner = one_round(TINY, row_base=6, row_count=1, bias_rows=1, bias_code=3, col_base=2, col_count=2)
    mult = np.array([-(2**15), 2**15 - 1, 0, 0], dtype=np.int32)
    add = np.array([-(2**31), 2**31 - 1, 0, 0], dtype=np.int32)
    validate(TINY, chain_of(TINY, widest, corner, one_round(TINY), one_round(TINY), mult=mult, add=add))


def test_a_chain_must_fit_the_round_memory() -> None:
    for length in (0, 5):
        with pytest.raises(PlacementError, match=rf"chain of {length} rounds: the round memory holds 1 \.\. 4"):
            validate(TINY, chain_of(TINY, *[one_round(TINY)] * length))


def test_accumulators_have_a_beginning_and_an_end() -> None:
    with pytest.raises(PlacementError, match="must not start from a last round"):
        validate(TINY, chain_of(TINY, one_round(TINY, start=Start.LAST)))
    with pytest.raises(PlacementError, match="nor end by holding"):
        validate(TINY, chain_of(TINY, one_round(TINY, end=End.HOLD)))
    with pytest.raises(PlacementError, match="1 columns cannot start from a last round of 4"):
        validate(TINY, chain_of(TINY, one_round(TINY), one_round(TINY, start=Start.LAST, col_count=1)))


@pytest.mark.parametrize(
    ("name", "bits", "table"),
    [
        ("mult", 16, np.array([2**15, 0, 0, 0])),
        ("mult", 16, np.array([0, 0, -(2**15) - 1, 0])),
        ("mult", 16, np.zeros(3, dtype=np.int32)),
        ("residual_mult", 16, np.array([2**15, 0, 0, 0])),
        ("residual_mult", 16, np.array([0, 0, -(2**15) - 1, 0])),
        ("add", 32, np.array([0, 2**31, 0, 0])),
        ("add", 32, np.zeros((4, 1), dtype=np.int32)),
    ],
)
def test_the_column_table_must_fit(name: str, bits: int, table: Ints) -> None:
    with pytest.raises(
        PlacementError, match=f"column table {name.removesuffix('_mult')}: expected 4 signed {bits}-bit integers"
    ):
        validate(TINY, chain_of(TINY, one_round(TINY), **{name: table}))


# Streams //


@given(configs(), seeds, st.integers(0, 3))
def test_streams_of_the_right_shape_and_range_pass(config: Config, seed: int, vectors: int) -> None:
    rng = np.random.default_rng(seed)
    chain = random_chain(config, rng, macros=2)
    flow = stimulus(config, chain, rng, vectors=vectors)
    check_streams(config, chain, *flow.streams, macros=2)


ONES = np.ones((2, 8), dtype=np.int64)
STREAMS: dict[str, tuple[list[Ints], Ints | None, str]] = {
    "one row too few": ([ONES[:, :7], ONES], ONES[:, :4], "activations"),
    "one row too many": ([ONES, np.ones((2, 9), dtype=np.int64)], ONES[:, :4], "activations"),
    "a vector missing": ([ONES, ONES[:1]], ONES[:, :4], "activations"),
    "nothing": ([], ONES[:, :4], "activations"),
    "numbers": ([np.array(1), np.array(1)], ONES[:, :4], "activations"),
    "a round missing": ([ONES], ONES[:, :4], "activations"),
    "an activation too large": ([ONES, 4 * ONES], ONES[:, :4], r"activations 4 \.\. 4: expected 0 \.\. 3"),
    "an activation negative": ([-ONES, ONES], ONES[:, :4], "activations -1"),
    "no partial sums": ([ONES, ONES], None, "partial sums None"),
    "too few partial sums": ([ONES, ONES], ONES[:, :3], "partial sums"),
    "too many partial sums": ([ONES, ONES], ONES, "partial sums"),
    "partial sums of one vector": ([ONES, ONES], ONES[:1, :4], "partial sums"),
    "a partial sum too large": ([ONES, ONES], 512 * ONES[:, :4], r"partial sums 512 \.\. 512: expected -512 \.\. 511"),
    "a partial sum too small": ([ONES, ONES], -513 * ONES[:, :4], "partial sums -513"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_that_do_not_fit_are_refused(name: str) -> None:
    inputs, psums, said = STREAMS[name]
    chain = chain_of(TINY, one_round(TINY), one_round(TINY, start=Start.PSUM))
    with pytest.raises(ValueError, match=said):
        check_streams(TINY, chain, inputs, psums, macros=1)


RESIDUALS: dict[str, tuple[Ints | None, str]] = {
    "none": (None, r"residual codes None: expected \(2, 4\)"),
    "too few": (ONES[:, :3], "residual codes"),
    "too large": (4 * ONES[:, :4], r"residual codes 4 \.\. 4: expected -4 \.\. 3"),
    "too small": (-5 * ONES[:, :4], "residual codes -5"),
}


@pytest.mark.parametrize("name", RESIDUALS)
def test_residual_codes_that_do_not_fit_are_refused(name: str) -> None:
    residuals, said = RESIDUALS[name]
    chain = chain_of(TINY, one_round(TINY, residual=True))
    check_streams(TINY, chain, [ONES], None, ONES[:, :4] - 5, macros=1)
    with pytest.raises(ValueError, match=said):
        check_streams(TINY, chain, [ONES], None, residuals, macros=1)


@pytest.mark.parametrize(("value", "good"), [(-3, False), (-2, True), (1, True), (2, False)])
def test_signed_activations_have_their_own_range(value: int, good: bool) -> None:
    chain = chain_of(TINY, one_round(TINY, signed=True))
    if good:
        check_streams(TINY, chain, [value * ONES], None, macros=1)
        return
    with pytest.raises(ValueError, match=rf"activations {value} \.\. {value}: expected -2 \.\. 1"):
        check_streams(TINY, chain, [value * ONES], None, macros=1)


def test_one_conversion_for_all_slices_has_one_step() -> None:
    validate(SHARED, chain_of(SHARED, one_round(SHARED, steps=((2,), (2,)))))
    with pytest.raises(PlacementError, match="the same steps for every input slice, which one conversion serves"):
        validate(SHARED, chain_of(SHARED, one_round(SHARED, steps=((2,), (1,)))))


def test_passes_take_signs_outside_and_shared_slices_inside() -> None:
    signed = passes(SLICED, one_round(SLICED, row_count=3, signed=True))
    assert [(p.phase, p.x_slice, p.w_slice) for p in signed] == list(product((0, 1), (0, 1), (0, 1)))
    shared = one_round(SHARED_OFFSET, row_count=3)
    order = passes(SHARED_OFFSET, shared)
    assert [(p.w_slice, p.x_slice) for p in order] == list(product((0, 1), (0, 1)))
    assert [converts(SHARED_OFFSET, shared, p) for p in order] == [False, True, False, True]


def test_partial_sums_that_no_round_takes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"partial sums \(2, 4\): expected None"):
        check_streams(TINY, chain_of(TINY, one_round(TINY)), [ONES], ONES[:, :4], macros=1)


@pytest.mark.parametrize("macro", [-1, 1])
def test_a_macro_that_the_die_does_not_carry_is_refused(macro: int) -> None:
    with pytest.raises(ValueError, match=rf"macro {macro}, the die carries 0 \.\. 0"):
        check_streams(TINY, chain_of(TINY, one_round(TINY), macro=macro), [ONES], None, macros=1)
