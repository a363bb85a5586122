# SPDX-License-Identifier: Apache-2.0
"""Flash array: laws of golden levels and currents, and the bench of the behavioural Verilog."""

from pathlib import Path

import numpy as np
import pytest
from twinor.config import Config
from twinor.golden import flash_array

from tb.common.cases import Case, cases, run_case
from tb.common.configs import EXACT, NOR40, OFFSET, SLICED, TINY, TWOS, ids


@pytest.mark.fast
@pytest.mark.parametrize("config", [TINY, NOR40, EXACT, OFFSET, TWOS, SLICED], ids=ids)
def test_levels_decode_to_every_weight(config: Config) -> None:
    weights = np.arange(config.weight_min, config.weight_max + 1)
    cells = flash_array.levels(config, weights[:, None]).astype(np.int64)
    assert cells.max() < 1 << config.cell_bits
    slices = cells.reshape(weights.size, config.w_slices, config.lines_per_cell)
    factor = 1 << np.arange(config.w_slices) * config.cell_bits
    if config.bipolar:
        decoded = (slices[..., 0] - slices[..., 1]) @ factor
    elif config.weight_encoding == "offset":
        decoded = slices[..., 0] @ factor - config.weight_offset
    else:
        factor[-1] = -factor[-1]
        decoded = slices[..., 0] @ factor
    assert np.array_equal(decoded, weights)


@pytest.mark.fast
@pytest.mark.parametrize("config", [TINY, NOR40, EXACT, TWOS], ids=ids)
def test_weights_out_of_range_are_refused(config: Config) -> None:
    for weight in (config.weight_min - 1, config.weight_max + 1):
        with pytest.raises(ValueError, match="exceed"):
            flash_array.levels(config, np.array([[weight]]))


@pytest.mark.fast
def test_hand_computed_levels() -> None:
    assert flash_array.levels(OFFSET, np.array([[-4, 3, -1]])).tolist() == [[0, 0, 3, 1, 3, 0]]
    assert flash_array.levels(TWOS, np.array([[-1, -4, 3]])).tolist() == [[1, 1, 1, 0, 0, 1, 1, 1, 0]]


@pytest.mark.fast
def test_currents_equal_the_sum_over_cells_and_code_zero_drives_nothing() -> None:
    rng = np.random.default_rng(4)
    strength = rng.integers(0, 500, (6, 5)).astype(np.int32)
    drive = rng.integers(1, 300, (6, 4)).astype(np.int32)
    drive[:, 0] = 0
    lines = rng.integers(0, 4, (20, 6)).astype(np.uint8)
    lines[0] = 0
    got = flash_array.currents(strength, drive, lines)
    for v in range(20):
        for b in range(5):
            assert got[v, b] == sum(int(strength[r, b]) * int(drive[r, lines[v, r]]) for r in range(6))
    assert not got[0].any()


@pytest.mark.rtl
@pytest.mark.parametrize("case", cases("flash_array"), ids=str)
def test_verilog_matches_golden(case: Case, tmp_path: Path) -> None:
    """On a varied die with any cells, and on one whose every cell is as strong as a die may be."""
    run_case(case, tmp_path)
