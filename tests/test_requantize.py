# SPDX-License-Identifier: Apache-2.0
"""Requantization: the golden rule against exact integers, and the bench of the Verilog."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twinor.golden.requantize import requantize

from tb.common.cases import Case, cases, run_case


def one(acc: int, mult: int, add: int, *, shift: int, lo: int, hi: int) -> int:
    """One output."""
    return int(requantize(np.array([acc]), np.array([mult]), np.array([add]), shift=shift, lo=lo, hi=hi)[0])


@pytest.mark.fast
@given(
    st.integers(-(1 << 46), (1 << 46) - 1),
    st.integers(-(1 << 15), (1 << 15) - 1),
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.integers(1, 31),
)
def test_the_rule_is_the_floor_of_the_exact_quotient(acc: int, mult: int, add: int, shift: int) -> None:
    limit = 1 << 62
    assert one(acc, mult, add, shift=shift, lo=-limit, hi=limit) == (acc * mult + add) // 2**shift


@pytest.mark.fast
@pytest.mark.parametrize(
    ("acc", "mult", "add", "shift", "expected"),
    [
        (37, 3, 8, 4, 7),  # 119 / 16 = 7.44
        (40, 3, 8, 4, 8),  # 128 / 16: the half that was added rounds 7.5 up
        (39, 3, 8, 4, 7),
        (-5, 3, 8, 4, 0),  # -7 / 16 goes down to -1 and clips at 0
        (5000, 3, 8, 4, 15),  # clips at 15
        (-40, -3, 8, 4, 8),  # a negative multiplier
    ],
)
def test_hand_computed_outputs(acc: int, mult: int, add: int, shift: int, expected: int) -> None:
    assert one(acc, mult, add, shift=shift, lo=0, hi=15) == expected


@pytest.mark.fast
@given(st.integers(-(1 << 18), (1 << 18) - 1), st.integers(-(1 << 17), (1 << 17) - 1))
def test_logits_pass_unchanged_with_their_bias(acc: int, bias: int) -> None:
    assert one(acc, 2, 2 * bias + 1, shift=1, lo=-(1 << 19), hi=(1 << 19) - 1) == acc + bias


@pytest.mark.rtl
@pytest.mark.parametrize("case", cases("requantize"), ids=str)
def test_verilog_matches_golden(case: Case, tmp_path: Path) -> None:
    run_case(case, tmp_path)
