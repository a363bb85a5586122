# SPDX-License-Identifier: Apache-2.0
"""Bit lines: laws of the golden column quantity, and the bench of the behavioural Verilog."""

from pathlib import Path

import numpy as np
import pytest
from twinor.config import Config
from twinor.die import ideal_die
from twinor.golden import bitline, flash_array

from tb.common.cases import Case, cases, run_case
from tb.common.configs import EXACT, NOR40, OFFSET, SLICED, TINY, TWOS, ids


@pytest.mark.fast
def test_hand_computed_quantities() -> None:
    current = np.array([[9, 2, 0, 5, 1, 1, 3, 0, 7, 7, 0, 8, 4, 4, 4, 0]])
    assert bitline.column_quantity(SLICED, current, w_slice=0).tolist() == [[7, 0, 0, 0]]
    assert bitline.column_quantity(SLICED, current, w_slice=1).tolist() == [[-5, 3, -8, 4]]
    lines = np.arange(12)[None]
    assert bitline.column_quantity(TWOS, lines, w_slice=2).tolist() == [[2, 5, 8, 11]]


@pytest.mark.fast
@pytest.mark.parametrize("config", [TINY, NOR40, EXACT, OFFSET, TWOS, SLICED], ids=ids)
def test_an_ideal_column_counts_array_units(config: Config) -> None:
    """Weight slices of a column, weighed as shift-add weighs them, are the dot product that was programmed."""
    rng = np.random.default_rng(7)
    low, high = config.weight_min, config.weight_max + 1
    weights = rng.integers(low, high, (config.rows, config.cols))
    die = ideal_die(config, flash_array.levels(config, weights)[None])
    lines = rng.integers(0, 1 << config.dac_bits, (3, config.rows)).astype(np.uint8)
    current = flash_array.currents(die.strength[0], die.drive[0], lines)
    total = np.zeros((3, config.cols), dtype=np.int64)
    for j in range(config.w_slices):
        q = bitline.column_quantity(config, current, w_slice=j)
        sign = -1 if config.weight_encoding == "twos_complement" and j == config.w_slices - 1 else 1
        total += sign * (q >> 2 * config.frac_bits) << j * config.cell_bits
    assert np.array_equal(total, lines @ (weights + config.weight_offset))


@pytest.mark.rtl
@pytest.mark.parametrize("case", cases("bitline"), ids=str)
def test_verilog_matches_golden(case: Case, tmp_path: Path) -> None:
    run_case(case, tmp_path)
