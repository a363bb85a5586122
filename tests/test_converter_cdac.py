# SPDX-License-Identifier: Apache-2.0
"""ADCs drawn from circuit values: their statistics are those of theory, and each effect does what it should alone."""

from typing import Any

import numpy as np
import pytest
from builders import configs, redundant, seeds
from hypothesis import given
from numpy.typing import NDArray
from twinor.config import Config, load, replace
from twinor.converter.cdac import Converter, levels, metastability, noise_lsb, places, thresholds
from twinor.converter.metrics import Linearity, linearity, transfer, transitions
from twinor.die import ideal_thresholds, sample_die
from twinor.errors import ConfigError
from twinor.golden.sar_adc import convert

from tb.common.configs import EXACT, NOR40, NOR40_REDUNDANT, ids

pytestmark = pytest.mark.fast

Floats = NDArray[np.float64]


def wide(config: Config, **changes: Any) -> Config:
    """The same ADC 1024 times; no spread but what is asked for."""
    many = {"rows": 8, "active_rows": 8, "cols": 1024, "cols_per_adc": 1, "step": "calibrated", "max_rounds": 8}
    return replace(config, **(many | {"capacitor_sigma": 0.0, "comparator_sigma": 0.0} | changes))


def drawn(config: Config, converter: Converter, *, times: int = 1, seed: int = 1) -> Floats:
    """Levels of 1024 ADCs, so many times."""
    rng = np.random.default_rng(seed)
    return np.concatenate([levels(config, converter, rng) for _ in range(times)])


def figures(config: Config, level: Floats, **line: str) -> Linearity:
    """Static figures of drawn levels."""
    return linearity(config, transitions(config, *transfer(config, thresholds(config, level))), **line)


def assert_spread(values: Floats, sigma: float, *, within: float = 0.05) -> None:
    """Mean 0 and standard deviation sigma."""
    assert abs(values.mean()) < 5 * sigma / np.sqrt(values.size)
    assert abs(values.std() / sigma - 1) < within


# Capacitors //


@given(configs(capacitor_sigma=0.03, comparator_sigma=0.5), seeds)
def test_without_further_effects_levels_are_those_of_a_die(config: Config, seed: int) -> None:
    for each in (config, redundant(config, np.random.default_rng(seed))):
        level = levels(each, Converter(), np.random.default_rng(seed))
        die = sample_die(each, np.zeros((1, each.rows, each.bit_lines), dtype=np.uint8), seed=seed)
        rng = np.random.default_rng([seed, 0])
        rng.standard_normal((each.rows, each.bit_lines))  # a die draws its cells first
        assert level.shape == (each.n_adcs, 1 << each.trials)
        assert np.array_equal(thresholds(each, levels(each, Converter(), rng)), die.threshold[0])


def test_dnl_and_inl_of_the_middle_spread_as_theory_says() -> None:
    """DNL by sigma * sqrt(2**B - 1) and INL by sigma * sqrt(2**B) / 2, of the code and level where all bits turn."""
    for bits, sigma in ((8, 0.01), (6, 0.02)):
        config = wide(NOR40, adc_bits=bits, capacitor_sigma=sigma)
        found, middle = figures(config, drawn(config, Converter(), times=2)), (1 << bits - 1) - 1
        assert_spread(found.dnl[:, middle - 1], sigma * np.sqrt(2**bits - 1))
        assert_spread(found.inl[:, middle], sigma * np.sqrt(2**bits) / 2)


def test_monte_carlo_figures_of_the_reference_come_out() -> None:
    """Means of the largest DNL and INL of 8 bits at 1 %, and of 2 %.

    The 95th percentile of the largest DNL cannot be below that of the middle code alone, 1.96 standard deviations or
    0.313 LSB at 1 %, so the reference's 0.295 is that of too few ADCs; 40,960 have 0.165, 0.318 and 0.128.
    """
    for sigma, dnl, p95, inl in ((0.01, 0.160, 0.295, 0.127), (0.02, 0.34, 0.65, 0.26)):
        config = wide(NOR40, capacitor_sigma=sigma)
        found = figures(config, drawn(config, Converter(), times=4))
        largest = np.abs(found.dnl).max(axis=1)
        assert largest.mean() == pytest.approx(dnl, rel=0.05)
        assert np.abs(found.inl).max(axis=1).mean() == pytest.approx(inl, rel=0.05)
        assert np.quantile(largest, 0.95) == pytest.approx(1.016 * 1.96 * sigma * np.sqrt(255), rel=0.05)
        assert np.quantile(largest, 0.95) == pytest.approx(p95, rel=0.1)


@pytest.mark.parametrize("config", [NOR40, NOR40_REDUNDANT], ids=ids)
def test_a_capacitor_of_w_units_spreads_by_one_over_the_root_of_w(config: Config) -> None:
    sigma = 0.02
    config = wide(config, capacitor_sigma=sigma)
    level, whole = drawn(config, Converter(), times=2), sum(config.weights) + 1
    for trial, weight in enumerate(reversed(config.weights)):
        share = weight / whole  # the level is C / (sum of all): the sum moves with it
        variance = (1 - share) ** 2 * weight + share**2 * (whole - 1 - weight)
        assert_spread(level[:, 1 << trial] - weight, sigma * np.sqrt(variance))


def test_no_adc_shares_its_capacitors_offset_or_reference_with_another() -> None:
    config = wide(NOR40, capacitor_sigma=0.02, comparator_sigma=0.5)
    level = drawn(config, Converter(reference_sigma=0.01), times=2).reshape(2, 1024, 256)
    for pattern in (1, 0x80, 0xFF):  # offset and least capacitor, the largest, the full scale
        own = level[..., pattern]
        assert np.unique(own).size == 2048
        for others in (np.roll(own, 1, axis=1), own[::-1]):  # the next ADC, and the same one of the next macro
            assert abs(np.corrcoef(own.ravel(), others.ravel())[0, 1]) < 5 / np.sqrt(2048)


# Gain and offset //


@pytest.mark.parametrize("config", [NOR40, NOR40_REDUNDANT, EXACT], ids=ids)
def test_a_parasitic_capacitance_is_a_gain_error_and_nothing_else(config: Config) -> None:
    config = wide(config, capacitor_sigma=0.01)
    plain = figures(config, drawn(config, Converter()))
    found = figures(config, drawn(config, Converter(parasitic=0.1)))
    ratio = found.gain / plain.gain
    assert np.allclose(ratio, 1.1, atol=1e-3) and ratio.std() < 1e-3  # Ctot varies a little
    rounding = 4 / (1 << 2 * config.frac_bits)
    assert np.abs(found.dnl - plain.dnl).max() < rounding and np.abs(found.inl - plain.inl).max() < rounding
    assert np.abs(found.offset - plain.offset).max() < rounding  # an input of 0 stays where it is


def test_the_gain_of_an_ideal_array_is_that_of_charge_sharing() -> None:
    """Vx = Vref * sum(C_on) / (Ctot + Cp): 100 of 256 units, and 25.6 to ground."""
    config = wide(EXACT)
    level = levels(config, Converter(parasitic=0.1), np.random.default_rng(0))
    assert np.allclose(level[:, 100] + places(config)[100], 256 * (100 - 0.5) / (256 + 25.6), rtol=1e-12)


def test_a_reference_spreads_the_gain_and_nothing_else() -> None:
    config = wide(NOR40, capacitor_sigma=0.01)
    plain = figures(config, drawn(config, Converter(), times=2))
    found = figures(config, drawn(config, Converter(reference_sigma=0.02), times=2))
    assert_spread(plain.gain / found.gain - 1, 0.02)  # codes per LSB: the inverse of the reference
    assert np.abs(found.dnl - plain.dnl).max() < 4 / (1 << 12)


@pytest.mark.parametrize(("db", "gain"), [(40, 1.01), (60, 1.001), (float("inf"), 1.0)])
def test_a_finite_loop_gain_lowers_the_reference_by_its_inverse(db: float, gain: float) -> None:
    config = wide(NOR40)
    assert figures(config, drawn(config, Converter(loop_gain_db=db))).gain == pytest.approx(gain, abs=1e-5)


def test_a_comparators_offset_moves_all_levels_alike() -> None:
    config = wide(NOR40, comparator_sigma=0.25)
    found = figures(config, drawn(config, Converter()))
    assert_spread(found.offset, 0.25)
    assert np.abs(found.inl).max() < 1e-3 and np.allclose(found.gain, 1, atol=1e-4)


# Noise //


def test_sampling_noise_is_that_of_the_whole_array() -> None:
    """64 uV at 1 pF and 127 uV at 256 fF, of LSBs of 4.6875 mV."""
    for unit_ff, volts in ((1000 / 256, 64.4e-6), (1.0, 127.2e-6)):
        noise = noise_lsb(NOR40, Converter(unit_capacitor_ff=unit_ff), celsius=26.85)
        assert noise == pytest.approx(volts / (1.2 / 256), rel=1e-3)
    hot = noise_lsb(NOR40, Converter(unit_capacitor_ff=1.0, full_scale_v=0.6), celsius=126.85)
    assert hot == pytest.approx(2 * np.sqrt(4 / 3) * 127.2e-6 / (1.2 / 256), rel=1e-3)


def test_noise_adds_in_squares_and_is_nothing_at_first() -> None:
    assert noise_lsb(NOR40, Converter()) == 0
    assert noise_lsb(NOR40, Converter(comparator_noise=0.3)) == 0.3
    both = Converter(comparator_noise=0.03, unit_capacitor_ff=1.0)
    assert noise_lsb(NOR40, both, celsius=26.85) == pytest.approx(np.hypot(0.03, 127.2e-6 / (1.2 / 256)), rel=1e-3)


@pytest.mark.parametrize(("noise", "acts_as"), [(0.2, 0.2), (0.3, 0.3), (1.0, 0.86)])
def test_noise_of_every_decision_is_the_noise_of_a_conversion(noise: float, acts_as: float) -> None:
    """A comparator that draws anew for each trial spreads codes as the one figure says; rounding adds a twelfth."""
    rng, table, samples = np.random.default_rng(2), ideal_thresholds(NOR40)[0].astype(np.float64), 100_000
    q = rng.uniform(-100, 100, samples)
    kept = np.zeros(samples, dtype=np.int64)
    for bit in reversed(range(8)):
        trial = kept | 1 << bit
        kept = np.where(q + rng.normal(0, noise, samples) >= table[trial] / (1 << 12), trial, kept)
    variance = np.var(kept - 128 - q) - 1 / 12
    assert np.sqrt(variance) == pytest.approx(acts_as, rel=0.03)
    assert acts_as <= noise_lsb(NOR40, Converter(comparator_noise=noise)) == noise


def test_a_latch_is_undecided_as_often_as_its_window_says() -> None:
    """Every input within a window of a threshold meets it: the search ends at the two codes beside it."""
    assert metastability(NOR40, Converter()) == (0, 0)
    window, probability = metastability(NOR40, Converter(regeneration=15))
    assert window * 1.2 / 256 == pytest.approx(1.2 * np.exp(-15)) and 1e-4 < probability < 2e-4
    window, probability = metastability(NOR40, Converter(regeneration=8))
    table = ideal_thresholds(NOR40)[:1]
    q = np.random.default_rng(3).integers(-120 << 12, 120 << 12, (40_000, 1))
    _, trials = convert(NOR40, q, table, step=1)
    nearest = np.abs(q - table[0].astype(np.int64)[trials[:, 0]]).min(axis=1) / (1 << 12)
    assert np.mean(nearest < window) == pytest.approx(probability, rel=0.05)
    undecided = Converter(regeneration=5, comparator_noise=0.3)  # a window of 1.7 LSB, evenly filled
    assert noise_lsb(NOR40, undecided) == pytest.approx(np.hypot(0.3, 256 * np.exp(-5) / np.sqrt(3)))
    assert metastability(NOR40, Converter(regeneration=1))[1] == 1


# Refusals //


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("parasitic", -0.1, "0 .. 1"),
        ("parasitic", float("nan"), "0 .. 1"),
        ("parasitic", True, "0 .. 1"),
        ("reference_sigma", 0.2, "0 .. 0.1"),
        ("loop_gain_db", 10, "20 .. inf"),
        ("comparator_noise", "0.3", "0 .. 8"),
        ("unit_capacitor_ff", 0, "0.01 .. inf"),
        ("full_scale_v", 0.0, "0.1 .. 10"),
        ("regeneration", 0.5, "1 .. inf"),
    ],
)
def test_values_out_of_range_are_refused(key: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Converter(**{key: value})
    assert str(caught.value) == f"converter: {key} = {value!r} is not allowed: expected {allowed}"


def test_a_whole_number_will_do() -> None:
    assert noise_lsb(load("tiny"), Converter(comparator_noise=1)) == 1
