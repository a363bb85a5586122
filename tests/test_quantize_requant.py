# SPDX-License-Identifier: Apache-2.0
"""The integer rule against exact rational arithmetic, registers' limits and channels that misbehave."""

from fractions import Fraction
from math import floor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from twinor.quantize.requant import (
    ADD_MAX,
    MULT_MAX,
    SLOPE_MAX,
    integer_rule,
    logits_rule,
    straight_through,
)

pytestmark = pytest.mark.fast

ACC_MAX = 7 * 15 * 288
scales = st.lists(st.floats(-12, 12, allow_nan=False), min_size=1, max_size=6)
offsets = st.floats(-1e4, 1e4, allow_nan=False)


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def by_hand(rule, acc, channel=0):
    """The rule in Python integers."""
    shifted = (acc * int(rule.mult[channel]) + int(rule.add[channel])) >> int(rule.shift)
    return max(rule.lo, min(rule.hi, shifted))


def exact(scale, offset, acc, lo=0, hi=15):
    """Round half up in rational arithmetic, no float involved."""
    value = Fraction(scale) * acc + Fraction(offset) + Fraction(1, 2)
    return max(lo, min(hi, floor(value)))


@given(scale=scales, offset=offsets, acc=st.lists(st.integers(-ACC_MAX, ACC_MAX), min_size=1, max_size=9))
def test_tensors_compute_what_python_integers_do(scale, offset, acc):
    rule = integer_rule(double(*scale), double(*[offset] * len(scale)), acc_max=ACC_MAX, lo=0, hi=15)
    got = rule(torch.tensor(acc, dtype=torch.float32)[:, None].expand(-1, len(scale)))
    assert got.tolist() == [[by_hand(rule, a, c) for c in range(len(scale))] for a in acc]


@given(scale=st.floats(-0.5, 0.5), offset=st.floats(-200, 200), acc=st.integers(-4000, 4000))
def test_rule_is_the_nearest_that_the_registers_hold(scale, offset, acc):
    rule = integer_rule(double(scale), double(offset), acc_max=4000, lo=0, hi=15)
    slack = Fraction(abs(acc) + 1, 2 ** (int(rule.shift) + 1))  # half a unit of mult per count, and of add
    value = Fraction(scale) * acc + Fraction(offset) + Fraction(1, 2)
    assert max(0, min(15, floor(value - slack))) <= by_hand(rule, acc) <= max(0, min(15, floor(value + slack)))


@given(mult=st.integers(-MULT_MAX, MULT_MAX), add=st.integers(-(2**20), 2**20), acc=st.integers(-4000, 4000))
def test_scales_that_fit_are_exact_at_every_count(mult, add, acc):
    scale, offset = mult / 2**13, add / 2**13
    rule = integer_rule(double(scale), double(offset), acc_max=4000, lo=0, hi=15)
    assert by_hand(rule, acc) == exact(scale, offset, acc)


@pytest.mark.parametrize("scale", [0.25, -0.25])
def test_ties_round_up_whatever_the_sign_of_the_scale(scale):
    rule = integer_rule(double(scale), double(3.0), acc_max=100, lo=0, hi=15)
    assert [by_hand(rule, acc) for acc in range(-100, 101)] == [exact(scale, 3.0, a) for a in range(-100, 101)]
    assert by_hand(rule, int(0.5 / scale)) == 4  # 3.5 rounds to 4


def test_negative_gamma_gives_a_falling_staircase():
    rule = integer_rule(double(-0.031), double(7.0), acc_max=1000, lo=0, hi=15)
    codes = [by_hand(rule, acc) for acc in range(-1000, 1001)]
    assert int(rule.mult) < 0
    assert codes == sorted(codes, reverse=True)
    assert set(codes) == set(range(16))


@given(scale=scales, offset=offsets)
def test_registers_hold_the_rule_and_the_shift_is_the_largest(scale, offset):
    rule = integer_rule(double(*scale), double(*[offset] * len(scale)), acc_max=ACC_MAX, lo=0, hi=15)
    shift = int(rule.shift)
    assert 1 <= shift <= 31
    assert rule.mult.abs().max() <= MULT_MAX
    assert rule.add.abs().max() <= ADD_MAX
    if shift < 31:
        slopes = [min(abs(s), SLOPE_MAX) for s in scale]
        # The offsets of limited slopes move, but never further than an accumulator reaches.
        furthest = max(min(abs(offset), 16 + slope * ACC_MAX) for slope in slopes) + 0.5
        too_steep = max(slopes) * 2 ** (shift + 1) >= MULT_MAX + 0.5
        assert too_steep or furthest * 2 ** (shift + 1) > ADD_MAX - 1


@pytest.mark.parametrize(("offset", "code"), [(-1e30, 0), (-3.0, 0), (4.4, 4), (4.5, 5), (1e30, 15)])
def test_a_dead_channel_is_constant_and_costs_the_others_nothing(offset, code):
    alone = integer_rule(double(0.01), double(2.0), acc_max=ACC_MAX, lo=0, hi=15)
    rule = integer_rule(double(0.01, 0.0), double(2.0, offset), acc_max=ACC_MAX, lo=0, hi=15)
    assert {by_hand(rule, acc, 1) for acc in (-ACC_MAX, -1, 0, 1, ACC_MAX)} == {code}
    assert (int(rule.mult[0]), int(rule.add[0]), int(rule.shift)) == (
        int(alone.mult[0]),
        int(alone.add[0]),
        int(alone.shift),
    )


@pytest.mark.parametrize("scale", [1e9, -1e9, 400.0])
def test_a_channel_with_no_variance_becomes_a_step_at_the_same_count(scale):
    rule = integer_rule(double(0.01, scale), double(2.0, -100.25 * scale), acc_max=ACC_MAX, lo=0, hi=15)
    assert [by_hand(rule, acc, 1) for acc in (-ACC_MAX, 98, 103, ACC_MAX)] == (
        [0, 0, 15, 15] if scale > 0 else [15, 15, 0, 0]
    )
    assert int(rule.shift) == 13  # the ordinary channel keeps a usable multiplier
    assert int(rule.mult[0]) == round(0.01 * 2**13)


def test_logits_pass_exactly_and_saturate_at_20_bits():
    rule = logits_rule(double(0.0, 5.0, -7.0, 1e9))
    assert rule.mult.tolist() == [2, 2, 2, 2]
    assert int(rule.shift) == 1
    for acc in (-40000, -1, 0, 1, 40000):
        assert [by_hand(rule, acc, c) for c in range(3)] == [acc, acc + 5, acc - 7]
    assert by_hand(rule, 1, 3) == 2**19 - 1


def test_straight_through_returns_the_value_to_the_last_bit():
    value, path = torch.rand(1000), (torch.rand(1000) * 1e4).requires_grad_()
    result = straight_through(value, path)
    result.sum().backward()
    assert torch.equal(result, value)
    assert torch.equal(path.grad, torch.ones(1000))
