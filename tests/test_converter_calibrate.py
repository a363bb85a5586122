# SPDX-License-Identifier: Apache-2.0
"""Calibration in the integers of the macro: the registers are the best there are, and errors are smaller with them."""

from typing import Any

import numpy as np
import pytest
from builders import configs, redundant, seeds
from hypothesis import given
from numpy.typing import NDArray
from twinor.config import Config, replace
from twinor.converter.calibrate import capacitors, code_centres, fit_correction, fit_offset, fit_weights
from twinor.converter.cdac import Converter, levels, patterns, thresholds
from twinor.converter.metrics import Linearity, linearity, reversals, transfer, transitions
from twinor.die import ideal_thresholds
from twinor.errors import ConfigError, TwinorError
from twinor.golden.column_correct import correct
from twinor.golden.sar_adc import convert

from tb.common.configs import CORRECTED, NOR40, NOR40_REDUNDANT, REDUNDANT, TINY, WIDE_CORRECTED, ids

pytestmark = pytest.mark.fast

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]

NOR40_CORRECTED = replace(NOR40, name="nor40_corrected", column_correction=True, comparator_sigma=2.0)
"""Eight ADCs of eight columns each, offset by 2 LSB rms."""

REDUNDANT12 = replace(
    NOR40,
    name="nor40_redundant12",
    adc_bits=12,
    sar_weights=(1792, 1024, 576, 320, 192, 96, 48, 24, 12, 6, 4, 2, 1),
    cols=1,
    cols_per_adc=1,
    comparator_sigma=0.0,
)
"""One ADC of 12 bits whose first capacitors can be off by tens of LSB."""


def tables(config: Config, converter: Converter, *, seed: int = 1) -> Ints:
    """Tables of drawn ADCs."""
    return thresholds(config, levels(config, converter, np.random.default_rng(seed)))


def figures(config: Config, table: Ints, **weights: Ints) -> Linearity:
    """Figures from the best line."""
    return linearity(config, transitions(config, *transfer(config, table, **weights)), line="best_fit")


# Column correction //


@pytest.mark.parametrize("config", [CORRECTED, WIDE_CORRECTED], ids=ids)
def test_registers_that_were_wrong_by_known_amounts_are_found(config: Config) -> None:
    """Pairs `ideal = (code * gain + offset) / 256` of each column: the fit returns gain and offset, and the half."""
    codes = np.tile(np.arange(config.code_min, config.code_max + 1)[:, None], config.cols)
    gain, offset = 200 + 30 * np.arange(config.cols), -300 + 100 * np.arange(config.cols)
    found = fit_correction(config, (codes * gain + offset) / 256, codes)
    assert all(table.dtype == np.int32 for table in found)
    assert np.array_equal(found[0], gain) and np.array_equal(found[1], offset + 128)


def squares(config: Config, ideal: Floats, codes: Ints, gain: Ints, offset: Ints) -> Floats:
    """What a correction leaves of each column before its shift rounds, without codes that may be clipped."""
    inside = (codes > config.code_min) & (codes < config.code_max)
    left: Floats = (inside * (ideal - (codes * gain + offset - 128) / 256) ** 2).sum(axis=0)
    return left


@given(configs(column_correction=True, adc_bits=6), seeds)
def test_no_other_registers_leave_less(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(config.code_min, config.code_max + 1, (60, config.cols))
    ideal = codes * rng.uniform(0.5, 2, config.cols) + rng.normal(0, 2, codes.shape) + rng.uniform(-9, 9, config.cols)
    gain, offset = fit_correction(config, ideal, codes)
    least = squares(config, ideal, codes, gain, offset)
    for more in (-2, -1, 1, 2):
        assert (squares(config, ideal, codes, gain, offset + more) >= least).all()
    slope = np.array([np.polyfit(x[i], y[i], 1)[0] for x, y, i in _inner(config, codes, ideal)])
    assert np.array_equal(gain, np.rint(256 * slope))
    trim = fit_offset(config, ideal, codes)
    one = np.full(config.cols, 256)
    for more in (-2, -1, 1, 2):
        at = squares(config, ideal, codes, one, trim)
        assert (squares(config, ideal, codes, one, trim + more) >= at).all()


def _inner(config: Config, codes: Ints, ideal: Floats) -> list[tuple[Ints, Floats, NDArray[np.bool_]]]:
    """Columns of pairs, and which codes of each cannot be clipped."""
    return [(x, y, (x > config.code_min) & (x < config.code_max)) for x, y in zip(codes.T, ideal.T, strict=True)]


def test_clipped_codes_and_pairs_that_are_not_there_do_not_count() -> None:
    codes = np.tile(np.arange(-8, 8)[:, None], 9)
    config = replace(CORRECTED, adc_bits=4)
    right = fit_correction(config, codes * 1.25, codes)
    ideal = codes * 1.25
    ideal[0], ideal[-1], ideal[5] = -50, 70, np.nan
    for wrong, found in zip(right, fit_correction(config, ideal, codes), strict=True):
        assert np.array_equal(wrong, found)
    assert right[0].tolist() == [320] * 9 and fit_offset(config, ideal, codes).tolist() != [128] * 9


def test_correction_takes_gain_and_offset_away_and_leaves_rounding() -> None:
    """Parasitics take 10 % of the range, references 1 % rms, comparators 2 LSB rms: errors of 6 LSB become 0.4."""
    config, n = NOR40_CORRECTED, NOR40.n_adcs
    table = tables(config, Converter(parasitic=0.1, reference_sigma=0.01))
    q, codes = transfer(config, table)
    level = transitions(config, q, codes)
    gain, offset = fit_correction(config, *code_centres(config, level))
    assert gain.shape == offset.shape == (config.cols,) and np.array_equal(gain[:n], gain[n : 2 * n])
    before = linearity(config, level, line="best_fit")
    after = linearity(config, transitions(config, q, correct(config, codes, gain[:n], offset[:n])), line="best_fit")
    assert np.abs(before.gain - 1).min() > 0.05 and np.abs(after.gain - 1).max() < 0.005
    assert np.abs(before.offset).max() > 1 and np.abs(after.offset).max() < 0.1
    assert np.nanmax(np.abs(after.inl)) < 1  # whole codes again: each is rounded once more
    x = np.random.default_rng(2).uniform(-100, 100, (5000, n))
    raw = convert(config, np.rint(x * (1 << 12)).astype(np.int64), table, step=1)[0]
    errors = [np.sqrt(np.mean((c - x) ** 2)) for c in (raw, correct(config, raw, gain[:n], offset[:n]))]
    assert errors[0] > 5 and errors[1] < 1.05 * np.sqrt(2 / 12)  # two roundings, and a little mismatch


def test_an_offset_alone_is_taken_away_in_whole_codes() -> None:
    config, n = NOR40_CORRECTED, NOR40.n_adcs
    table = tables(replace(config, capacitor_sigma=0.0), Converter())
    q, codes = transfer(config, table)
    level = transitions(config, q, codes)
    offset = fit_offset(config, *code_centres(config, level))[:n]
    fixed = correct(config, codes, np.full(n, 256), offset)
    before, after = (linearity(config, transitions(config, q, c), line="best_fit") for c in (codes, fixed))
    assert np.abs(before.offset).max() > 2 and np.abs(after.offset).max() <= 0.5 + 1e-3
    assert np.nanmax(np.abs(after.inl)) < 1e-3 and np.nanmax(np.abs(after.dnl)) < 1e-3  # no code is lost between others
    assert np.array_equal(fixed[20:-20], codes[20:-20] + (offset >> 8))


def test_pairs_of_conversions_say_what_tables_say() -> None:
    config, n = replace(NOR40_CORRECTED, cols=8, cols_per_adc=1), 8
    table = tables(config, Converter(parasitic=0.05))
    x = np.random.default_rng(3).uniform(-140, 140, (20_000, n))
    codes = convert(config, np.rint(x * (1 << 12)).astype(np.int64), table, step=1)[0]
    measured = fit_correction(config, x, codes)
    known = fit_correction(config, *code_centres(config, transitions(config, *transfer(config, table))))
    assert np.abs(measured[0] - known[0]).max() <= 1 and np.abs(measured[1] - known[1]).max() <= 5


def test_a_code_that_never_comes_out_gives_no_pair() -> None:
    table = ideal_thresholds(TINY)
    table[0, 12] = table[0, 13]
    ideal, codes = code_centres(TINY, transitions(TINY, *transfer(TINY, table)))
    assert ideal.shape == codes.shape == (14, TINY.cols)
    assert np.isnan(ideal[11, [0, 2]]).all() and np.isfinite(ideal[:, [1, 3]]).all()  # columns of ADC 0, and of ADC 1
    assert np.array_equal(np.delete(ideal[:, 0], [10, 11]), np.delete(codes[:, 0], [10, 11]))


def test_corrections_that_cannot_be_fitted_are_refused() -> None:
    config = replace(CORRECTED, adc_bits=4)
    codes = np.tile(np.arange(-8, 8)[:, None], 9)
    for fit in (fit_correction, fit_offset):
        with pytest.raises(
            ConfigError, match="preset tiny has no column correction: expected `column_correction: true`"
        ):
            fit(TINY, codes * 1.0, codes)
        with pytest.raises(TwinorError, match=r"ideal \(16,\) and measured \(16, 9\): expected pairs"):
            fit(config, codes[:, 0] * 1.0, codes)
        with pytest.raises(TwinorError, match="column 0: none of its 16 pairs has a code inside the range"):
            fit(config, codes * 1.0, np.full(codes.shape, 7))
        with pytest.raises(TwinorError, match=r"column 0 needs offset .*, its register holds -32768 \.\. 32767"):
            fit(config, codes + 200.0, codes)
    with pytest.raises(TwinorError, match="column 0: its pairs have one code: expected codes from all over the range"):
        fit_correction(config, codes * 1.0, np.full(codes.shape, 3))
    for slope in (5, -1):
        with pytest.raises(TwinorError, match=rf"column 0 needs gain {256 * slope}, its register holds 0 \.\. 1023"):
            fit_correction(config, codes * float(slope), codes)


# Trial weights //


@given(configs(capacitor_sigma=0.05, comparator_sigma=2.0), seeds)
def test_capacitors_are_read_from_tables_as_they_were_drawn(config: Config, seed: int) -> None:
    for each in (config, redundant(config, np.random.default_rng(seed))):
        level = levels(each, Converter(), np.random.default_rng(seed))
        drawn = (level[:, 1 << np.arange(each.trials)] - level[:, :1])[:, ::-1]
        found = capacitors(each, thresholds(each, level))
        assert np.abs(found - drawn).max() <= 1 / (1 << 2 * each.frac_bits)


@given(configs(), seeds)
def test_nominal_capacitors_have_nominal_weights_in_any_unit(config: Config, seed: int) -> None:
    for each in (config, redundant(config, np.random.default_rng(seed))):
        found = fit_weights(each, 0.447 * capacitors(each, ideal_thresholds(each)))
        assert found.dtype == np.int32 and found.tolist() == list(each.weights)


def off_by(config: Config, *errors: int) -> Ints:
    """The table of one ADC whose first capacitors are off by whole LSB."""
    caps = np.array(config.weights, dtype=np.float64)
    caps[: len(errors)] += errors
    return thresholds(config, (patterns(config) @ caps[::-1])[None])


def test_weights_of_a_redundant_search_undo_what_whole_units_broke() -> None:
    """Capacitors of 125, 66, 32, ... have codes that fall; weights of 125, 66, 32, ... make the ADC ideal."""
    config = NOR40_REDUNDANT
    table = off_by(config, -3, 2)
    weights = fit_weights(config, capacitors(config, table))
    assert weights.tolist() == [125, 66, *config.weights[2:]]
    before, after = figures(config, table), figures(config, table, weights=weights)
    assert np.abs(before.inl).max() > 1.5 and np.abs(after.inl).max() < 1e-9
    assert not after.missing.any() and not reversals(transfer(config, table, weights=weights)[1]).any()


def test_weights_cannot_mend_a_binary_search() -> None:
    """A first capacitor of 131 leaves three LSB in one code, whatever it counts."""
    table = off_by(NOR40, 3)
    for weights in (None, fit_weights(NOR40, capacitors(NOR40, table))):
        assert figures(NOR40, table, weights=weights).dnl.max() > 2.9
    assert figures(NOR40_REDUNDANT, off_by(NOR40_REDUNDANT, 3)).dnl.max() < 2.9  # the other one has no such code


def test_weights_bring_back_what_mismatch_took_from_12_bits() -> None:
    """At 5 % the largest INL of a redundant search falls from 2.5 LSB to 1, and its missing codes come back."""
    config, found = replace(REDUNDANT12, capacitor_sigma=0.05), []
    for seed in range(6):
        table = tables(config, Converter(parasitic=0.1), seed=seed)  # a gain that all have is not for weights
        both = figures(config, table), figures(config, table, weights=fit_weights(config, capacitors(config, table)))
        found.append([(np.nanmax(np.abs(f.inl)), f.missing.sum(), np.nanmean(f.inl**2)) for f in both])
    before, after = np.mean(found, axis=0)
    assert before[0] > 2 and after[0] < 1.1 and before[1] > 3 and after[1] < 0.5
    lost = np.log2(1 + 12 * np.array([before[2], after[2]])) / 2  # effective bits
    assert lost[0] > 1.8 and lost[1] < 0.65  # what is left is that of whole weights


def test_weights_are_those_of_the_mean_adc() -> None:
    caps = np.array([[9.6, 4.2, 2.0, 1.0], [7.2, 4.0, 2.1, 1.0]])
    mean = (caps / caps.sum(axis=1, keepdims=True)).mean(axis=0) * 15
    assert fit_weights(TINY, caps).tolist() == np.rint(mean).tolist() == [8, 4, 2, 1]
    assert fit_weights(TINY, caps[:1]).tolist() == [9, 4, 2, 1]


def test_capacitors_that_are_none_are_refused() -> None:
    with pytest.raises(TwinorError, match=r"capacitors \(1, 3\): expected one of each of 4 trials"):
        fit_weights(TINY, np.ones((1, 3)))
    for value in (0.0, -1.0, float("nan"), float("inf")):
        caps = np.ones((2, 4))
        caps[1, 2] = value
        with pytest.raises(TwinorError, match=rf"ADC 1: the capacitor of trial 2 is {value}: expected above 0"):
            fit_weights(TINY, caps)
    with pytest.raises(TwinorError, match=r"trial 0 needs weight 8, its register holds 0 \.\. 7"):
        fit_weights(REDUNDANT, np.array([[97.0, 1, 1, 1]]))
