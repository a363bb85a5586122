# SPDX-License-Identifier: Apache-2.0
"""IEEE 1241: exact transition levels against brute force, histograms and sine tests against exact levels and theory."""

from typing import Any

import numpy as np
import pytest
from builders import configs, redundant, seeds
from hypothesis import given, settings
from numpy.typing import NDArray
from twinor.config import Config, replace
from twinor.converter.cdac import Converter, levels, noise_lsb, thresholds
from twinor.converter.dynamic import SineTest, fit_sine, sine_test
from twinor.converter.metrics import (
    linearity,
    ramp_transitions,
    reversals,
    sine_samples,
    sine_transitions,
    transfer,
    transitions,
)
from twinor.converter.stimulus import check_coherent, ramp, sine
from twinor.die import ideal_thresholds
from twinor.errors import ConfigError, TwinorError
from twinor.golden.sar_adc import convert

from tb.common.configs import EXACT, NOR40, NOR40_REDUNDANT, TINY, ids

pytestmark = pytest.mark.fast

Ints = NDArray[np.integer[Any]]
UNIT = 1 << 12
"""One LSB at `frac_bits: 6`, which all presets have."""

SMALL = configs(frac_bits=6, adc_bits=3)


def wild_table(config: Config, rng: np.random.Generator) -> Ints:
    """Thresholds all over the range and beyond, in eighths of an LSB so that some are equal."""
    span = 8 << config.adc_bits
    return rng.integers(-span, span, (config.n_adcs, 1 << config.trials)).astype(np.int32) * (UNIT // 8)


def varied(config: Config, *, sigma: float, seed: int = 1) -> Ints:
    """Tables of ADCs with mismatch, offset, and a parasitic capacitance."""
    config = replace(config, capacitor_sigma=sigma, comparator_sigma=0.5)
    return thresholds(config, levels(config, Converter(parasitic=0.05), np.random.default_rng(seed)))


def exact(config: Config, table: Ints, **weights: Ints) -> NDArray[np.float64]:
    """Exact transition levels of tables."""
    return transitions(config, *transfer(config, table, **weights))


# Exact levels //


@pytest.mark.parametrize("config", [TINY, NOR40, NOR40_REDUNDANT, EXACT], ids=ids)
def test_levels_of_an_ideal_adc_lie_half_a_step_below_each_code(config: Config) -> None:
    level = exact(config, ideal_thresholds(config))
    assert np.array_equal(level, np.tile(np.arange(config.code_min + 1, config.code_max + 1) - 0.5, (config.n_adcs, 1)))
    found = linearity(config, level)
    assert not found.dnl.any() and not found.inl.any() and not found.missing.any()
    assert (found.gain == 1).all() and (found.offset == 0).all()


@settings(max_examples=15)
@given(SMALL, seeds)
def test_a_code_is_as_wide_as_all_the_inputs_that_give_it(config: Config, seed: int) -> None:
    """Brute force over eighths of an LSB, binary and redundant, whatever the table."""
    rng = np.random.default_rng(seed)
    for each in (config, redundant(config, rng)):
        table = wild_table(each, rng)
        q = np.arange(-17 * 8 * UNIT, 17 * 8 * UNIT, UNIT // 8)
        codes = convert(each, np.tile(q[:, None], each.n_adcs), table, step=1)[0]
        level = exact(each, table)
        for k in range(each.code_min + 1, each.code_max + 1):
            below, found = (codes < k).mean(axis=0), level[:, k - each.code_min - 1]
            expected = np.select([below == 0, below == 1], [-np.inf, np.inf], (q[0] + np.ptp(q) * below) / UNIT)
            expected = np.where((below > 0) & (below < 1), (q[0] + below * q.size * UNIT // 8) / UNIT, expected)
            assert np.array_equal(found, expected)


@settings(max_examples=15)
@given(configs(), seeds)
def test_a_search_by_binary_weights_is_monotonic_and_levels_are_those_of_bisection(config: Config, seed: int) -> None:
    table = wild_table(config, np.random.default_rng(seed))
    q, codes = transfer(config, table)
    assert not reversals(codes).any()
    level = transitions(config, q, codes)
    unit = 1 << 2 * config.frac_bits
    k = np.arange(config.code_min + 1, config.code_max + 1)[:, None]
    below, above = np.tile(q[0], (k.size, 1)), np.tile(q[-1], (k.size, 1))
    while (above - below > 1).any():
        middle = (below + above) // 2
        reached = convert(config, middle, table, step=1)[0] >= k
        below, above = np.where(reached, below, middle), np.where(reached, middle, above)
    assert np.array_equal(level.T * unit, above)


def test_a_code_that_the_search_cannot_reach_is_missing() -> None:
    table = ideal_thresholds(TINY)[:1]
    table[0, 12] = table[0, 13]  # code 4 ends where it begins; so do no others
    found = linearity(TINY, exact(TINY, table))
    assert np.flatnonzero(found.missing[0]).tolist() == [4 + 8]
    assert found.dnl[0, 4 + 7] == -1 and found.dnl[0, 3 + 7] == 1
    assert np.delete(found.dnl[0], [3 + 7, 4 + 7]).tolist() == [0] * 12


def test_codes_above_all_weights_never_come_out() -> None:
    level = exact(TINY, ideal_thresholds(TINY)[:1], weights=np.array([7, 4, 2, 1], dtype=np.int32))
    assert level[0, -1] == np.inf and np.isfinite(level[0, :-1]).all()
    found = linearity(TINY, level)
    assert found.missing[0, -1] and np.isnan(found.inl[0, -1]) and np.isnan(found.dnl[0, -1])
    assert found.missing[0].sum() == 1 and reversals(transfer(TINY, ideal_thresholds(TINY)[:1])[1]) == 0


def test_a_redundant_search_with_wrong_weights_goes_back() -> None:
    """Trials of 8, 4, 4, 2 and 1: the first one counts 6, so codes fall where it is first kept."""
    config = replace(TINY, sar_weights=(8, 4, 4, 2, 1), name="redundant")
    for first, falls in ((8, 0), (6, 1)):
        q, codes = transfer(config, ideal_thresholds(config)[:1], weights=np.array([first, 4, 4, 2, 1], dtype=np.int32))
        assert bool(reversals(codes)[0]) == bool(falls)
    level = transitions(config, q, codes)
    assert (np.diff(level) >= 0).all()  # what a histogram sees is in order


# Figures //


def test_hand_computed_linearity() -> None:
    """Two bits: levels at 0, 3 and 4 LSB; the line through the ends has 2 LSB per code."""
    config = replace(TINY, weight_encoding="offset", adc_bits=2)
    level = np.array([[0.0, 3.0, 4.0]])
    ends = linearity(config, level)
    assert (ends.gain[0], ends.offset[0]) == (0.5, 0.5)
    assert ends.dnl[0].tolist() == [0.5, -0.5] and ends.inl[0].tolist() == [0.0, 0.5, 0.0]
    best = linearity(config, level, line="best_fit")
    slope, start = np.polyfit(level[0], [0.5, 1.5, 2.5], 1)
    assert best.gain[0] == pytest.approx(slope) and best.offset[0] == pytest.approx(start)
    assert best.inl[0] == pytest.approx(slope * level[0] + start - [0.5, 1.5, 2.5])
    assert best.dnl[0] == pytest.approx(slope * np.diff(level[0]) - 1)


@pytest.mark.parametrize("line", ["end_points", "best_fit"])
def test_gain_and_offset_are_those_of_the_adc(line: str) -> None:
    """Codes of 1.05 per LSB, 3 codes high."""
    level = (np.arange(-127, 128) - 0.5 - 3) / 1.05
    found = linearity(NOR40, level[None], line=line)
    assert found.gain == pytest.approx([1.05]) and found.offset == pytest.approx([3])
    assert np.abs(found.inl).max() < 1e-9 and np.abs(found.dnl).max() < 1e-9


def test_figures_of_one_adc_do_not_depend_on_the_others() -> None:
    level = exact(NOR40, varied(NOR40, sigma=0.03))
    level[0, -1], level[1, :2] = np.inf, -np.inf
    for line in ("end_points", "best_fit"):
        together = linearity(NOR40, level, line=line)
        for adc in range(3):
            alone = linearity(NOR40, level[adc : adc + 1], line=line)
            for name in ("gain", "offset", "dnl", "inl", "missing"):
                pair = getattr(alone, name)[0], getattr(together, name)[adc]
                assert np.allclose(*pair, rtol=0, atol=1e-12, equal_nan=True)
    assert together.missing[1, :2].all() and not together.missing[1, 2]


def test_best_fit_has_the_least_squares_and_end_points_are_zero() -> None:
    level = exact(NOR40, varied(NOR40, sigma=0.03))
    ends, best = linearity(NOR40, level), linearity(NOR40, level, line="best_fit")
    assert np.abs(ends.inl[:, [0, -1]]).max() < 1e-9
    squares = (best.inl**2).sum(axis=1)
    assert (squares <= (ends.inl**2).sum(axis=1)).all()
    for gain, offset in ((1e-4, 0), (-1e-4, 0), (0, 1e-3), (0, -1e-3)):
        assert (((best.inl + gain * level + offset) ** 2).sum(axis=1) > squares).all()


def test_other_lines_and_tables_without_levels_are_refused() -> None:
    with pytest.raises(ConfigError, match="line = 'both' is not allowed: expected end_points or best_fit"):
        linearity(TINY, np.zeros((1, 15)), line="both")
    for flat in (np.zeros((2, 15)), np.full((2, 15), np.inf)):
        flat[0] = np.arange(15)
        with pytest.raises(TwinorError, match="ADC 1 gives fewer than three codes"):
            linearity(TINY, flat)


# Histograms //


@pytest.mark.parametrize("config", [NOR40, NOR40_REDUNDANT, EXACT], ids=ids)
def test_a_ramp_histogram_finds_the_exact_levels(config: Config) -> None:
    table = varied(config, sigma=0.03)
    low, high = config.code_min - 20.0, config.code_max + 20.0
    q = ramp(config, samples=40 * 296, low=low, high=high)
    codes = convert(config, np.tile(q[:, None], config.n_adcs), table, step=1)[0]
    level, known = ramp_transitions(config, codes, low=low, high=high), exact(config, table)
    assert np.abs(level - known).max() < 0.05  # a code may be in several pieces
    found, true = linearity(config, level), linearity(config, known)
    assert np.abs(found.dnl - true.dnl).max() < 0.05 and np.abs(found.inl - true.inl).max() < 0.05
    hits = np.stack([np.bincount(column - config.code_min, minlength=256) for column in codes.T])[:, 1:-1]
    assert np.allclose(found.dnl, hits / hits.mean(axis=1, keepdims=True) - 1)


def test_a_sine_histogram_finds_the_exact_levels_in_noise_too() -> None:
    table, samples = varied(NOR40, sigma=0.03), 300_007
    assert sine_samples(NOR40, within=0.1) == 266_841
    centre, amplitude = -0.5, 140.0
    q = sine(NOR40, samples=samples, cycles=1009, centre=centre, amplitude=amplitude)[:, None]
    for noise, columns in ((0.0, 2), (0.3, 1)):
        noisy = q + np.rint(np.random.default_rng(4).normal(0, noise * UNIT, (samples, columns))).astype(np.int64)
        codes = convert(NOR40, noisy, table[:columns], step=1)[0]
        level = sine_transitions(NOR40, codes, centre=centre, amplitude=amplitude)
        known = exact(NOR40, table[:columns])
        assert np.abs(level - known).max() < 0.1
        assert np.abs(linearity(NOR40, level).dnl - linearity(NOR40, known).dnl).max() < 0.1


def test_centre_and_amplitude_of_a_sine_histogram_are_offset_and_gain_alone() -> None:
    q = sine(NOR40, samples=300_007, cycles=1009, centre=-0.5, amplitude=140.0)[:, None]
    codes = convert(NOR40, q, varied(NOR40, sigma=0.03)[:1], step=1)[0]
    right = linearity(NOR40, sine_transitions(NOR40, codes, centre=-0.5, amplitude=140.0))
    wrong = linearity(NOR40, sine_transitions(NOR40, codes, centre=2.5, amplitude=154.0))
    assert np.allclose(right.dnl, wrong.dnl) and np.allclose(right.inl, wrong.inl)
    assert wrong.gain == pytest.approx(right.gain / 1.1) and wrong.offset != pytest.approx(right.offset, abs=1)


def test_histograms_of_too_few_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"a ramp histogram of 159 samples: expected at least 160 .* within 0.1 LSB"):
        ramp_transitions(TINY, np.zeros((159, 1), dtype=int), low=-8.5, high=7.5)
    assert ramp_transitions(TINY, np.repeat(np.arange(-8, 8), 10)[:, None], low=-8.5, high=7.5).shape == (1, 15)
    least = sine_samples(TINY, within=0.2)
    assert least == int(np.ceil(np.pi * 8 * (2.576 / 0.2) ** 2))
    with pytest.raises(ConfigError, match=rf"a sine histogram of {least - 1} samples: expected at least {least}"):
        sine_transitions(TINY, np.zeros((least - 1, 1), dtype=int), centre=0, amplitude=9, within=0.2)


@pytest.mark.parametrize(("code", "end"), [(-8, "-8"), (7, "7")])
def test_an_input_that_does_not_leave_the_range_is_refused(code: int, end: str) -> None:
    codes = np.tile(np.repeat(np.arange(-8, 8), 20)[:, None], 2)
    ramp_transitions(TINY, codes, low=-8.5, high=7.5)
    codes[codes[:, 1] == code, 1] = 0
    with pytest.raises(TwinorError, match=f"ADC 1 never gives code {end}: .* raise its amplitude"):
        ramp_transitions(TINY, codes, low=-8.5, high=7.5)


def test_codes_of_another_adc_are_refused() -> None:
    with pytest.raises(TwinorError, match=r"codes -8 \.\. 8: expected -8 \.\. 7 of tiny"):
        ramp_transitions(TINY, np.repeat(np.arange(-8, 9), 20)[:, None], low=-8.5, high=8.5)


# Sines //


def dynamic(
    config: Config,
    table: Ints,
    *,
    noise: float = 0.0,
    cycles: int = 1021,
    amplitude: float = 127.0,
    harmonic: float = 0.0,
) -> SineTest:
    """Figures of ADC 0 for 8192 samples of a sine, with noise and a third harmonic."""
    samples, centre = 8192, (config.code_min + config.code_max) / 2
    q = sine(config, samples=samples, cycles=cycles, centre=centre, amplitude=amplitude)
    q = q + sine(config, samples=samples, cycles=3 * cycles % samples, centre=0.0, amplitude=harmonic)
    q = q + np.rint(np.random.default_rng(5).normal(0, noise * UNIT, samples)).astype(np.int64)
    return sine_test(config, convert(config, q[:, None], table[:1], step=1)[0][:, 0], cycles=cycles)


@pytest.mark.parametrize("config", [NOR40, NOR40_REDUNDANT, EXACT], ids=ids)
@pytest.mark.parametrize("cycles", [7, 1021, 3001])
def test_an_ideal_adc_of_8_bits_has_8_effective_bits(config: Config, cycles: int) -> None:
    found = dynamic(config, ideal_thresholds(config), cycles=cycles)
    assert found.enob == pytest.approx(8.0, abs=0.05)
    assert found.sinad_db == pytest.approx(6.02 * 8 + 1.76, abs=0.3)
    assert found.amplitude == pytest.approx(127, abs=0.05)
    assert found.offset == pytest.approx((config.code_min + config.code_max) / 2, abs=0.05)
    assert found.sfdr_db > 60 and found.thd_db < -60


@pytest.mark.parametrize("noise", [0.1, 0.3, 1.0, 2.0])
def test_noise_takes_as_many_bits_as_it_must(noise: float) -> None:
    """Rounding has a variance of 1/12 and noise adds its own: log2(1 + 12 * noise**2) / 2 bits less."""
    rms = noise_lsb(NOR40, Converter(comparator_noise=noise))
    found = dynamic(NOR40, ideal_thresholds(NOR40), noise=rms, amplitude=118.0)
    assert found.enob == pytest.approx(8 - np.log2(1 + 12 * noise**2) / 2, abs=0.05)


def test_mismatch_takes_bits_too() -> None:
    """The residual is that of rounding and of INL, which is a twelfth and its mean square."""
    table = varied(NOR40, sigma=0.05)[:1]
    inl = linearity(NOR40, exact(NOR40, table), line="best_fit").inl
    found = dynamic(NOR40, table, amplitude=115.0)
    assert found.enob == pytest.approx(8 - np.log2(1 + 12 * np.mean(inl**2)) / 2, abs=0.1)
    assert found.enob < 7.8


def test_a_third_harmonic_is_distortion() -> None:
    """4 LSB on 100, 28 dB below the sine; noise of half an LSB breaks the harmonics of rounding."""
    found, square = dynamic(NOR40, ideal_thresholds(NOR40), amplitude=100.0, harmonic=4.0, noise=0.5), 4**2 / 2 + 1 / 3
    assert found.thd_db == pytest.approx(-27.96, abs=0.03) and found.sfdr_db == pytest.approx(27.96, abs=0.03)
    assert found.sinad_db == pytest.approx(10 * np.log10(100**2 / 2 / square), abs=0.03)
    assert found.enob == pytest.approx(8 - np.log2(12 * square) / 2, abs=0.005)


@pytest.mark.parametrize("cycles", [5.0, 5.3, 40.5, 333.77])
def test_four_parameters_are_found_at_any_frequency(cycles: float) -> None:
    t = np.arange(2048) / 2048
    fit = fit_sine(np.rint(90 * np.sin(2 * np.pi * cycles * t + 1.0) + 4.2).astype(int))
    assert fit.cycles == pytest.approx(cycles, abs=2e-3)
    assert fit.amplitude == pytest.approx(90, abs=0.05) and fit.offset == pytest.approx(4.2, abs=0.05)
    assert np.sqrt(np.mean(fit.residual**2)) == pytest.approx(1 / np.sqrt(12), rel=0.05)


def test_a_sine_that_repeats_itself_is_refused() -> None:
    check_coherent(4096, 1021)
    with pytest.raises(ConfigError, match=r"64 cycles in 4096 samples is not coherent: .* after 64; .* such as 63"):
        sine(NOR40, samples=4096, cycles=64, centre=0, amplitude=100)
    for cycles in (0, 2048, -5):
        with pytest.raises(
            ConfigError, match=rf"a sine of {cycles} cycles in 4096 samples: expected 1 \.\. 2047 cycles"
        ):
            check_coherent(4096, cycles)
    with pytest.raises(ConfigError, match="not coherent"):
        sine_test(NOR40, np.zeros(4096, dtype=int), cycles=64)


def record(*, samples: int = 4096, cycles: float = 63.0, amplitude: float = 100.0, centre: float = -0.5) -> Ints:
    """Codes of a sine, clipped at the range of 8 bits."""
    wave = amplitude * np.sin(2 * np.pi * cycles * np.arange(samples) / samples) + centre
    return np.clip(np.rint(wave), -128, 127).astype(np.int16)


def test_records_that_say_nothing_about_the_adc_are_refused() -> None:
    assert sine_test(NOR40, record(), cycles=63).enob > 7.9
    with pytest.raises(ConfigError, match="a sine test of 804 samples: expected at least 805 to meet every code"):
        sine_test(NOR40, record(samples=804), cycles=63)
    with pytest.raises(TwinorError, match=r"holds 63\.10 cycles, not 63, so sampling was not coherent"):
        sine_test(NOR40, record(cycles=63.1), cycles=63)
    with pytest.raises(TwinorError, match=r"holds 65\.00 cycles, not 63"):
        sine_test(NOR40, record(cycles=65), cycles=63)
    for clipped in (record(amplitude=135), record(centre=30), record(centre=-30)):
        with pytest.raises(TwinorError, match=r"clips at -128 \.\. 127; lower its amplitude"):
            sine_test(NOR40, clipped, cycles=63)
    with pytest.raises(TwinorError, match=r"covers 18\.\d codes: expected at least 20; raise its amplitude"):
        sine_test(NOR40, record(amplitude=9.3), cycles=63)
    with pytest.raises(TwinorError, match=r"covers 0\.0 codes"):
        sine_test(NOR40, np.zeros(4096, dtype=np.int16), cycles=63)
