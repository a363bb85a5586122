# SPDX-License-Identifier: Apache-2.0
"""Cells age by the law that is written down, bakes add up, and nothing ages past its neutral threshold."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from twinor.device.ageing import Bake, Retention, dose, program_disturb, read_disturb, retained
from twinor.errors import ConfigError

pytestmark = pytest.mark.fast

CELL = Retention(neutral_mV=200.0, loss=0.005)
HOUR = 3600.0
BOLTZMANN = 8.617333262e-5

seconds = st.integers(0, 10**9)
temperatures = st.sampled_from([-40.0, 25.0, 85.0, 125.0, 150.0, 250.0])
bakes = st.lists(st.builds(Bake, seconds=seconds, celsius=temperatures), max_size=6)


def law(retention: Retention, threshold: float, bake: Bake) -> float:
    """The equation for one bake of a fresh cell, as it is written."""
    inverse = 1 / (bake.celsius + 273.15) - 1 / (retention.reference_celsius + 273.15)
    decades = np.log10(1 + bake.seconds / retention.onset_s)
    factor = np.exp(-(retention.activation_eV / BOLTZMANN) * inverse)
    return float(threshold - retention.loss * (threshold - retention.neutral_mV) * decades * factor)


@pytest.mark.parametrize("celsius", [25.0, 85.0, 125.0, 140.0])
@pytest.mark.parametrize("hours", [0.5, 9.0, 1000.0, 87_600.0])
def test_one_bake_is_the_law(celsius: float, hours: float) -> None:
    bake = Bake(seconds=hours * HOUR, celsius=celsius)
    for threshold in (-300.0, 0.0, 450.0, 3000.0):
        aged = retained(CELL, threshold, dose=dose(CELL, [bake]), normal=0.0)
        assert aged == pytest.approx(law(CELL, threshold, bake), rel=1e-12)


def test_ten_hours_at_the_reference_are_a_decade_and_every_tenfold_is_one_more() -> None:
    doses = [dose(CELL, [Bake(seconds=(10.0**n - 1) * HOUR, celsius=125.0)]) for n in range(5)]
    assert doses == pytest.approx([0, 1, 2, 3, 4])
    assert retained(CELL, 1200.0, dose=4.0, normal=0.0) == pytest.approx(1180.0)  # 4 * 0.5 % of 1 V


@given(bakes, seconds, seconds, temperatures, bakes)
def test_two_bakes_at_one_temperature_are_one(
    before: list[Bake], a: int, b: int, celsius: float, after: list[Bake]
) -> None:
    """To the last bit, wherever in a series they are."""
    parts = [Bake(seconds=a, celsius=celsius), Bake(seconds=b, celsius=celsius)]
    whole = [Bake(seconds=a + b, celsius=celsius)]
    assert dose(CELL, [*before, *parts, *after]) == dose(CELL, [*before, *whole, *after])


@given(bakes, seconds, temperatures)
def test_a_bake_goes_on_where_its_own_temperature_would_have_got_as_far(
    before: list[Bake], further: int, celsius: float
) -> None:
    """Weakly activated, so that the equivalent time as it is written does not overflow."""
    cell = Retention(neutral_mV=0.0, activation_eV=0.1)
    done, scale = dose(cell, before), dose(cell, [Bake(seconds=9 * HOUR, celsius=celsius)])  # a(T): a decade of time
    equivalent = 10.0 ** (done / scale) - 1  # in units of t0
    wanted = scale * np.log10(1 + equivalent + further / HOUR)
    assert dose(cell, [*before, Bake(seconds=further, celsius=celsius)]) == pytest.approx(wanted, rel=1e-9)


@given(bakes)
def test_a_dose_only_grows_and_stays_finite(series: list[Bake]) -> None:
    doses = [dose(CELL, series[:n]) for n in range(len(series) + 1)]
    assert doses[0] == 0.0 and np.isfinite(doses).all()
    assert all(later >= earlier * (1 - 1e-12) for earlier, later in pairwise(doses))


def test_cold_after_hot_adds_nothing_and_hot_after_cold_nearly_all_of_its_own() -> None:
    hot, cold = Bake(seconds=100 * HOUR, celsius=150.0), Bake(seconds=1e9, celsius=-40.0)
    assert dose(CELL, [hot, cold]) == dose(CELL, [hot])
    assert dose(CELL, [cold, hot]) == pytest.approx(dose(CELL, [hot]))


@given(bakes, seconds)
def test_a_hotter_bake_loses_more(before: list[Bake], time: int) -> None:
    ends = [dose(CELL, [*before, Bake(seconds=time, celsius=c)]) for c in (-40.0, 25.0, 85.0, 125.0, 250.0)]
    assert all(hotter >= colder * (1 - 1e-12) for colder, hotter in pairwise(ends))


@given(bakes, st.floats(-2000, 4000), st.floats(-4, 4))
def test_no_cell_crosses_its_neutral_threshold(series: list[Bake], threshold: float, normal: float) -> None:
    """High thresholds fall and low ones rise, as currents of SONOS cells do the other way round."""
    cell = Retention(neutral_mV=200.0, loss=0.01, spread=0.5)
    aged = float(retained(cell, threshold, dose=dose(cell, series), normal=normal))
    low, high = sorted((threshold, 200.0))
    assert low - 1e-9 <= aged <= high + 1e-9


def test_a_dose_beyond_all_charge_ends_at_the_neutral_threshold() -> None:
    assert retained(CELL, [-100.0, 200.0, 4000.0], dose=1e6, normal=0.0) == pytest.approx([200.0] * 3)


def test_cells_differ_by_a_lognormal_rate(rng: np.random.Generator) -> None:
    cell, normal = Retention(neutral_mV=0.0, loss=0.004, spread=0.3), rng.standard_normal(100_000)
    lost = 1.0 - retained(cell, np.full(100_000, 1000.0), dose=2.0, normal=normal) / 1000.0
    assert stats.kstest(np.log(lost / 0.008), "norm", args=(0.0, 0.3)).pvalue > 1e-3
    later = retained(cell, np.full(100_000, 1000.0), dose=4.0, normal=normal)
    assert np.allclose(1.0 - later / 1000.0, 2 * lost)  # a cell keeps its rate


@pytest.mark.parametrize("value", [-1e6, 1e12, float("nan"), "1", None])
def test_figures_out_of_range_are_refused(value: float) -> None:
    for key in ("loss", "spread", "onset_s", "activation_eV", "reference_celsius", "neutral_mV"):
        with pytest.raises(ConfigError, match=f"retention: {key} = .* is not allowed: expected"):
            Retention(**{"neutral_mV": 0.0, key: value})
    for key in ("seconds", "celsius"):
        with pytest.raises(ConfigError, match=f"bake: {key} = .* is not allowed: expected"):
            Bake(**{"seconds": 1.0, "celsius": 25.0, key: value})


# Disturb //


def test_a_pulse_disturbs_the_other_cells_of_its_word_line_alone() -> None:
    pulses = np.zeros((3, 4), dtype=np.int32)
    pulses[1, 2] = 40
    rise = program_disturb(pulses, per_pulse_mV=0.05)
    assert rise.tolist() == [[0.0] * 4, [2.0, 2.0, 0.0, 2.0], [0.0] * 4]
    assert not program_disturb(pulses, per_pulse_mV=0.0).any()


def test_reads_disturb_only_at_a_rate_that_was_given() -> None:
    assert not read_disturb(np.array([10**9])).any()
    assert read_disturb(np.array([[0], [10**6]]), per_read_mV=2e-6).tolist() == [[0.0], [2.0]]
