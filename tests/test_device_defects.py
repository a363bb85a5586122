# SPDX-License-Identifier: Apache-2.0
"""Defects come at their rates, once per cell, and carry what their kind carries."""

import numpy as np
import pytest
from twinor.device.defects import GOOD, MISSING, STUCK_OFF, STUCK_ON, DefectRates, draw_defects, with_defects
from twinor.errors import ConfigError

pytestmark = pytest.mark.fast

SHAPE = (500, 800)


def test_defects_come_at_their_rates_and_anywhere(rng: np.random.Generator) -> None:
    rates = DefectRates(stuck_on=0.01, stuck_off=0.04, missing=0.002)
    state = draw_defects(rates, SHAPE, rng)
    assert state.shape == SHAPE and state.dtype == np.uint8
    for kind, rate in ((STUCK_ON, 0.01), (STUCK_OFF, 0.04), (MISSING, 0.002), (GOOD, 0.948)):
        assert (state == kind).mean() == pytest.approx(rate, abs=5 * (rate * (1 - rate) / state.size) ** 0.5)
    for axis in (0, 1):  # no row and no bit line is special: the counts spread as binomial ones do
        count, n = (state != GOOD).sum(axis=axis), SHAPE[axis]
        assert count.var() == pytest.approx(n * 0.052 * 0.948, rel=0.35)


@pytest.mark.parametrize(
    ("rates", "kind"),
    [
        (DefectRates(), GOOD),
        (DefectRates(stuck_on=1.0), STUCK_ON),
        (DefectRates(stuck_off=1.0), STUCK_OFF),
        (DefectRates(missing=1.0), MISSING),
    ],
)
def test_rates_of_none_and_all_are_exact(rates: DefectRates, kind: int, rng: np.random.Generator) -> None:
    assert np.all(draw_defects(rates, SHAPE, rng) == kind)


def test_equal_generators_give_equal_defects_and_others_do_not() -> None:
    rates = DefectRates(stuck_on=0.1, missing=0.1)
    a, b, c = (draw_defects(rates, (40, 40), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_a_higher_rate_keeps_the_cells_that_a_lower_one_has_stuck() -> None:
    few, many = (draw_defects(DefectRates(stuck_on=r), SHAPE, np.random.default_rng(1)) for r in (0.01, 0.02))
    assert np.all(many[few == STUCK_ON] == STUCK_ON)


def test_every_kind_carries_what_it_carries() -> None:
    state = np.array([[GOOD, STUCK_ON], [STUCK_OFF, MISSING]], dtype=np.uint8)
    current = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert with_defects(current, state, on_nA=200.0, off_nA=0.005).tolist() == [[1.0, 200.0], [0.005, 0.0]]


def test_rates_out_of_range_are_refused() -> None:
    for key in ("stuck_on", "stuck_off", "missing"):
        for value in (-0.1, 1.1, float("nan"), "0.1", None):
            with pytest.raises(ConfigError, match=rf"defects: {key} = .* is not allowed: expected 0 \.\. 1"):
                DefectRates(**{key: value})
    with pytest.raises(ConfigError, match=r"stuck_on \+ stuck_off \+ missing = 1.2 is not allowed"):
        DefectRates(stuck_on=0.4, stuck_off=0.4, missing=0.4)
    DefectRates(stuck_on=0.7, stuck_off=0.1, missing=0.2)  # their sum in floats may be a rounding above 1
