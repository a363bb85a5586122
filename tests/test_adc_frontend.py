# SPDX-License-Identifier: Apache-2.0
"""ADC front end: laws of the golden multiplexer and comparator, and the bench of the behavioural model."""

from pathlib import Path

import numpy as np
import pytest
from twinor.config import Config, replace
from twinor.die import ideal_thresholds
from twinor.golden import adc_frontend

from tb.common.cases import Case, cases, run_case
from tb.common.configs import EXACT, NOR40, TINY, ids


@pytest.mark.fast
def test_columns_share_adcs_round_robin() -> None:
    assert adc_frontend.adc_of_column(NOR40, np.arange(10)).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]


@pytest.mark.fast
@pytest.mark.parametrize("config", [TINY, NOR40, EXACT], ids=ids)
def test_the_comparator_says_yes_from_the_threshold_upwards(config: Config) -> None:
    table, unit = ideal_thresholds(config)[:1], 1 << 2 * config.frac_bits
    trial = np.arange(1, 1 << config.adc_bits)[:, None]
    for step in config.steps:
        tie = (2 * (trial + config.code_min) - 1) * step * unit // 2  # half a step below the trial's code
        assert adc_frontend.compare(tie, table, trial, step=step).all()
        assert not adc_frontend.compare(tie - 1, table, trial, step=step).any()


@pytest.mark.fast
def test_shared_charge_is_the_weighed_sum_of_the_slices() -> None:
    """2-bit slices: 5 + 4 * -3 + 16 * 2; without analog accumulation each slice stands alone."""
    analog = replace(TINY, name="three_slices", input_bits=6, dac_bits=2, slice_accumulation="analog")
    for config, expected in ((analog, [5, -7, 25]), (TINY, [5, -3, 2])):
        held, seen = np.array([99]), []
        for i, q in enumerate((5, -3, 2)):
            held = adc_frontend.share(config, held, np.array([q]), x_slice=i)
            seen.append(int(held[0]))
        assert seen == expected


@pytest.mark.rtl
@pytest.mark.parametrize("case", cases("adc_frontend"), ids=str)
def test_verilog_matches_golden(case: Case, tmp_path: Path) -> None:
    """Extreme tables hold the ends of 32 bits, so that the product with the largest step is as wide as it gets."""
    run_case(case, tmp_path)
