# SPDX-License-Identifier: Apache-2.0
"""SAR ADC: laws of the golden search, and the bench of the Verilog."""

from pathlib import Path

import numpy as np
import pytest
from builders import configs, redundant, seeds
from hypothesis import given
from twinor.config import Config
from twinor.die import ideal_thresholds, sample_die
from twinor.golden import sar_adc

from tb.common.cases import Case, cases, run_case
from tb.common.configs import EXACT, NOR40, NOR40_REDUNDANT, REDUNDANT, TINY, ids


def unit(config: Config) -> int:
    """One array unit in column quantities."""
    return 1 << 2 * config.frac_bits


@pytest.mark.fast
@pytest.mark.parametrize("config", [TINY, NOR40, EXACT], ids=ids)
def test_ideal_conversion_rounds_half_up_and_clips(config: Config) -> None:
    q = np.arange(-40 * unit(config), 40 * unit(config), unit(config) // 8)[:, None]
    for step in config.steps:
        codes, _ = sar_adc.convert(config, q, ideal_thresholds(config)[:1], step=step)
        lsb = 2 * step * unit(config)
        half_up = (2 * q + lsb // 2) // lsb  # floor(q / step + 1/2), in integers
        assert np.array_equal(codes, np.clip(half_up, config.code_min, config.code_max))


@pytest.mark.fast
def test_hand_computed_codes_at_and_beside_a_threshold() -> None:
    tie = 3 * unit(TINY) // 2  # 1.5 units: the tie between codes 1 and 2
    q = np.array([[tie - 1], [tie], [-tie], [-tie - 1]])
    codes, trials = sar_adc.convert(TINY, q, ideal_thresholds(TINY)[:1], step=1)
    assert codes[:, 0].tolist() == [1, 2, -1, -2]
    assert trials[:, 0].tolist() == [[8, 12, 10, 9], [8, 12, 10, 11], [8, 4, 6, 7], [8, 4, 6, 7]]


@pytest.mark.fast
@pytest.mark.parametrize("config", [TINY, NOR40, EXACT], ids=ids)
def test_code_counts_the_thresholds_passed_if_the_table_is_monotone(config: Config) -> None:
    rng = np.random.default_rng(1)
    cells = np.zeros((1, config.rows, config.bit_lines), dtype=np.uint8)
    for seed in range(5):
        table = np.sort(sample_die(config, cells, seed=seed).threshold[0], axis=1)
        span = unit(config) << config.adc_bits
        q = rng.integers(-span, span, (200, config.n_adcs)) * 3
        codes, _ = sar_adc.convert(config, q, table, step=3)
        passed = (q[..., None] >= table[:, 1:].astype(np.int64) * 3).sum(axis=-1)
        assert np.array_equal(codes, passed + config.code_min)


@pytest.mark.fast
def test_the_path_decides_if_the_table_is_not_monotone() -> None:
    table = ideal_thresholds(TINY)[:1]
    table[0, 12] = 100 * unit(TINY)  # trial 12 never passes, so codes 4 .. 7 cannot come out
    codes, trials = sar_adc.convert(TINY, np.array([[7 * unit(TINY)]]), table, step=1)
    assert codes.tolist() == [[3]] and trials.tolist() == [[[8, 12, 10, 11]]]


# Redundant searches //


@pytest.mark.fast
@given(configs(), seeds)
def test_an_ideal_redundant_search_gives_the_codes_of_a_binary_one(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    other = redundant(config, rng)
    span = unit(config) << config.adc_bits
    q = np.concatenate([rng.integers(-2 * span, 2 * span, 60), ideal_thresholds(config)[0, 1:]])[:, None]
    q = np.concatenate([q, q - 1])
    binary = sar_adc.convert(config, q, ideal_thresholds(config)[:1], step=1)[0]
    assert np.array_equal(sar_adc.convert(other, q, ideal_thresholds(other)[:1], step=1)[0], binary)


@pytest.mark.fast
@pytest.mark.parametrize("sign", [1, -1], ids=["too high", "too low"])
@pytest.mark.parametrize("config", [NOR40, NOR40_REDUNDANT], ids=ids)
def test_wrong_early_decisions_are_mended_by_a_redundant_search_alone(config: Config, sign: int) -> None:
    """The comparator is off by 3 LSB in the first three trials, as when the CDAC has not settled, and right after."""
    table = ideal_thresholds(config)[:1].astype(np.int64)
    early = np.arange(table.shape[1]) % (1 << config.trials - 3) == 0  # the trial is one of the first three
    table[:, early] += sign * 3 * unit(config)
    q = np.arange(config.code_min * unit(config), config.code_max * unit(config), unit(config) // 4)[:, None]
    codes = sar_adc.convert(config, q, table, step=1)[0]
    error = np.abs(codes - q / unit(config)).max()
    assert error <= 1 if config is NOR40_REDUNDANT else error > 2


@pytest.mark.fast
def test_hand_computed_codes_of_a_redundant_search() -> None:
    """Weights 3, 2, 2, 1 for three bits; thresholds of the first two trials lie a code above their level."""
    table = ideal_thresholds(REDUNDANT)[:1]
    lsb = 2 * unit(REDUNDANT)
    assert [int(table[0, trial]) * 2 // unit(REDUNDANT) for trial in (8, 4, 2, 1, 12, 15)] == [-1, -3, -5, -7, 3, 7]
    q = np.array([[-4 * lsb], [0], [2 * lsb], [9 * lsb]])
    codes, trials = sar_adc.convert(REDUNDANT, q, table, step=2)
    assert codes[:, 0].tolist() == [-4, 0, 2, 3]  # 3 + 2 + 2 + 1 is 8, which saturates at 7
    assert trials[:, 0].tolist() == [[8, 4, 2, 1], [8, 12, 10, 9], [8, 12, 14, 13], [8, 12, 14, 15]]


@pytest.mark.fast
def test_programmed_weights_count_and_saturate() -> None:
    never, always = np.iinfo(np.int32).max, np.iinfo(np.int32).min
    table = np.full((1, 16), always, dtype=np.int32)
    table[0, 12] = never
    q = np.array([[0]])
    for weights, code in (([8, 4, 2, 1], 3), ([7, 5, 3, 2], 4), ([15, 15, 1, 0], 7), ([0, 9, 0, 0], -8)):
        assert sar_adc.convert(TINY, q, table, step=1, weights=np.array(weights, dtype=np.int32))[0] == code


@pytest.mark.rtl
@pytest.mark.parametrize("case", cases("sar_adc"), ids=str)
def test_verilog_matches_golden(case: Case, tmp_path: Path) -> None:
    run_case(case, tmp_path)
