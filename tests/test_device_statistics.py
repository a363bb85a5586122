# SPDX-License-Identifier: Apache-2.0
"""Programmed cells have the published statistics: SONOS as it was measured, write-verify as it was simulated."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from twinor.device.programming import Ispp, ispp, relative
from twinor.device.sonos import drift, programmed, read_sigma, sigma
from twinor.errors import ConfigError, TwinorError

pytestmark = pytest.mark.fast

CELLS = 100_000
CURRENTS = [50.0, 100.0, 200.0, 400.0, 800.0, 1600.0]

# The table as published: current, spread on days 0, 1 and 5, read noise, mean drift by days 1 and 5, all in nA.
TABLE = np.array(
    [
        [50, 4.9, 6.0, 7.4, 2.6, 1.7, 3.6],
        [100, 8.6, 10.6, 13.2, 4.7, 1.7, 4.1],
        [200, 13.5, 16.8, 21.4, 7.6, 1.0, 2.6],
        [400, 17.8, 22.6, 29.6, 10.6, 0.6, -1.5],
        [800, 19.7, 25.2, 33.9, 12.3, -3.8, -15.2],
        [1600, 19.9, 25.6, 34.6, 12.6, -11.5, -40.7],
    ]
).T

FITS = {0: (19.88665, 176.3115), 1: (25.59102, 186.85544), 3: (31.04318, 198.90332), 5: (34.57909, 207.34309)}
"""A and B as published, by day."""


# SONOS //


def test_the_table_of_the_measurement_comes_out_as_printed() -> None:
    printed = 0.0515  # half a unit of the last digit; 33.849 is printed as 33.9
    for day, column in ((0, 1), (1, 2), (5, 3)):
        assert sigma(CURRENTS, day) == pytest.approx(TABLE[column], abs=printed)
    assert read_sigma(CURRENTS) == pytest.approx(TABLE[4], abs=printed)
    for day, column in ((1, 5), (5, 6)):
        assert drift(CURRENTS, day) == pytest.approx(TABLE[column], abs=1e-9)
    assert drift(CURRENTS, 0).tolist() == [0.0] * 6


def assert_normal(values: NDArray[np.float64], mean: float, spread: float) -> None:
    """Kolmogorov-Smirnov; 100,000 cells tell a spread that is 3 % off."""
    assert values.size == CELLS
    assert stats.kstest(values, "norm", args=(mean, spread)).pvalue > 1e-3


@pytest.mark.parametrize("days", FITS)
@pytest.mark.parametrize("current", [50.0, 400.0, 1600.0])
def test_programmed_currents_follow_the_published_fits(current: float, days: int, rng: np.random.Generator) -> None:
    a, b = FITS[days]
    first, last = TABLE[5:, TABLE[0] == current].ravel()
    late = np.log((1 + days) / 2) / np.log(3)  # how far from day 1 to day 5, in ln(1 + days)
    mean = current + (first + late * (last - first) if days else 0.0)
    cells = programmed(current, days, rng.standard_normal(CELLS))
    assert_normal(cells, mean, a * (1 - np.exp(-current / b)))


@pytest.mark.parametrize("current", CURRENTS)
def test_read_noise_follows_the_published_fit(current: float, rng: np.random.Generator) -> None:
    reads = current + read_sigma(np.full(CELLS, current)) * rng.standard_normal(CELLS)
    assert_normal(reads, current, 12.58037 * (1 - np.exp(-current / 215.36557)))


def test_the_check_of_a_distribution_can_fail(rng: np.random.Generator) -> None:
    cells = programmed(400.0, 1, rng.standard_normal(CELLS))
    for mean, spread in ((400.6, 22.57 * 1.03), (401.6, 22.57)):
        with pytest.raises(AssertionError):
            assert_normal(cells, mean, spread)


def test_between_measured_days_a_cell_goes_on_in_the_logarithm_of_time() -> None:
    days = np.linspace(0, 5, 101)
    for current in CURRENTS:
        assert np.all(np.diff([float(sigma(current, day)) for day in days]) > 0)
    falls = [float(drift(1600.0, day)) for day in days]
    assert np.all(np.diff(falls) < 0)
    middle = np.sqrt(2 * 6) - 1  # halfway from day 1 to day 5
    assert drift(1600.0, middle) == pytest.approx((-11.5 - 40.7) / 2)
    middle = np.sqrt(2 * 3) - 1  # from day 1 to day 2
    (a, b), (c, d) = (25.59102, 186.85544), (28.72753, 193.56834)
    assert sigma(100.0, middle) == pytest.approx((a + c) / 2 * (1 - np.exp(-200.0 / (b + d))))


def test_the_spread_grows_with_the_logarithm_of_time_as_the_interpolation_assumes() -> None:
    """A of every measured day lies within 5 % of the line from day 0 to day 5 in ln(1 + days)."""
    measured = np.array([float(sigma(1600.0, day)) for day in range(6)])
    line = measured[0] + (measured[5] - measured[0]) * np.log1p(np.arange(6)) / np.log(6)
    assert measured == pytest.approx(line, rel=0.05)


def test_a_cell_that_is_off_stays_off_and_none_turns_negative() -> None:
    assert programmed([0.0, 0.0], 5, [9.0, -9.0]).tolist() == [0.0, 0.0]
    assert programmed(50.0, 5, -100.0) == 0.0


@pytest.mark.parametrize("days", [-1.0, 5.001, float("nan"), float("inf")])
def test_days_beyond_the_measurement_are_refused(days: float) -> None:
    for ask in (sigma, drift):
        with pytest.raises(ConfigError, match=rf"days 0 \.\. 5 .* not on day {days}"):
            ask(100.0, days)


@pytest.mark.parametrize("current", [-1.0, 1600.5, float("nan")])
def test_currents_beyond_the_measurement_are_refused(current: float) -> None:
    with pytest.raises(ConfigError, match=r"expected 0 \.\. 1600 nA"):
        programmed([100.0, current], 0, 0.0)


# Models of the error //


def test_a_relative_error_is_a_fraction_of_the_top_whatever_the_level(rng: np.random.Generator) -> None:
    for target in (30.0, 100.0):
        cells = relative(np.full(CELLS, target), top=100.0, sigma=0.05, normal=rng.standard_normal(CELLS))
        assert_normal(cells, target, 5.0)
    off = relative(np.zeros(CELLS), top=100.0, sigma=0.05, normal=rng.standard_normal(CELLS))
    assert off.min() == 0.0 and (off == 0.0).mean() == pytest.approx(0.5, abs=0.01)


N_UT_MV = 1.4 * 25.852

# Step, mean and standard deviation of the overshoot in mV, sigma_I / I, pulses, each as printed.
WRITE_VERIFY = ((5, "2.8", "1.8", "5.1", "62"), (10, "5.3", "3.4", "9.3", "31"), (20, "10.3", "6.3", "17", "16"))
WRITE_VERIFY += ((50, "25.5", "15", "42", "7"),)


def assert_printed(value: float, printed: str, error: float) -> None:
    """Equal within half a unit of the last printed digit and four standard errors."""
    half = 0.05 if "." in printed else 0.5
    assert abs(value - float(printed)) <= half + 4 * error, f"{value:.3f}, printed as {printed}"


@pytest.mark.parametrize(("step", "mean", "spread", "relative_sigma", "pulses"), WRITE_VERIFY)
def test_write_verify_overshoots_as_simulated(
    step: int, mean: str, spread: str, relative_sigma: str, pulses: str, rng: np.random.Generator
) -> None:
    """From -0.5 V; how far the targets were is not printed: 307 mV give the four counts of pulses."""
    cells = 30_000
    start = -500.0 + step * rng.uniform(-0.5, 0.5, cells)  # cells do not start in step with each other
    target = np.full(cells, -193.0)
    threshold, count = ispp(Ispp(step_mV=float(step)), target, start_mV=start, rng=rng)
    over = threshold - target
    error = float(over.std()) / cells**0.5
    assert over.min() >= 0.0
    assert_printed(float(over.mean()), mean, error)
    assert_printed(float(over.std()), spread, error)
    assert_printed(100 * float(over.std()) / N_UT_MV, relative_sigma, 100 * error / N_UT_MV)
    assert_printed(float(count.mean()), pulses, float(count.std()) / cells**0.5)
    variance = 0.5 * step + (0.1 * step) ** 2
    assert over.mean() == pytest.approx((step**2 + variance) / (2 * step), abs=5 * error)
    assert (over**2).mean() == pytest.approx((step**2 + 3 * variance) / 3, rel=0.03)


def test_without_noise_the_overshoot_is_uniform_in_a_step(rng: np.random.Generator) -> None:
    exact = Ispp(step_mV=10.0, slope=0.0, electron_mV=0.0)
    target = rng.uniform(50.0, 150.0, CELLS)
    over = ispp(exact, target, start_mV=np.zeros(CELLS), rng=rng)[0] - target
    assert stats.kstest(over, "uniform", args=(0.0, 10.0)).pvalue > 1e-3


def test_verify_noise_stops_cells_early(rng: np.random.Generator) -> None:
    """The first of several noisy reads that passes ends it, so cells end lower, and some below their targets."""
    target, start = np.full(20_000, 300.0), rng.uniform(-5.0, 5.0, 20_000)
    quiet, noisy = (
        ispp(Ispp(step_mV=10.0, verify_mV=verify), target, start_mV=start, rng=np.random.default_rng(1))[0]
        for verify in (0.0, 4.0)
    )
    assert quiet.min() >= 300.0 and 0.05 < (noisy < 300.0).mean() < 0.5
    assert noisy.mean() < quiet.mean() and noisy.std() > quiet.std()


def test_a_cell_does_not_depend_on_when_the_others_are_done() -> None:
    settings, start = Ispp(step_mV=5.0), np.zeros(3)
    near, far = (
        ispp(settings, np.array([40.0, 60.0, last]), start_mV=start, rng=np.random.default_rng(3))[0]
        for last in (-10.0, 900.0)
    )
    assert np.array_equal(near[:2], far[:2]) and near[2] == 0.0 and far[2] >= 900.0


def test_a_target_out_of_reach_is_refused() -> None:
    with pytest.raises(TwinorError, match=r"1 cells are below their targets after 10,000 pulses of 0.01 mV"):
        ispp(Ispp(step_mV=0.01), np.array([0.0, 1e4]), start_mV=np.zeros(2), rng=np.random.default_rng(0))


@pytest.mark.parametrize("key", ["step_mV", "slope", "electron_mV", "verify_mV"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "1", None, True])
def test_settings_out_of_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"ispp: {key} = .* is not allowed: expected"):
        Ispp(**{"step_mV": 5.0, key: value})
