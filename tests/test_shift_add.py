# SPDX-License-Identifier: Apache-2.0
"""Shift-add: laws of the golden accumulator, and the bench of the Verilog."""

from pathlib import Path

import numpy as np
import pytest
from twinor.config import Config, replace
from twinor.golden import flash_array, shift_add
from twinor.rounds import Pass

from tb.common.cases import Case, cases, run_case
from tb.common.configs import (
    EXACT,
    NOR40,
    OFFSET,
    RAGGED,
    REFERENCED,
    SHARED,
    SHARED_OFFSET,
    SLICED,
    TINY,
    TWOS,
    ids,
)


def add(config: Config, acc: int, code: int, *, p: Pass, step: int, total: int = 0) -> int:
    """One code into one accumulator."""
    sums = shift_add.accumulate(config, np.array([[acc]]), np.array([[code]]), np.array([total]), p=p, step=step)
    return int(sums[0, 0])


@pytest.mark.fast
def test_a_reference_code_takes_the_place_of_the_word_line_sum() -> None:
    """The code above the reference weighs as a code does; the sum of the word lines no longer counts."""
    acc, codes, reference = np.array([[100, 100]]), np.array([[9, 2]]), np.array([[5, 5]])
    for total in (0, 7):
        after = shift_add.accumulate(REFERENCED, acc, codes, np.array([total]), reference, p=Pass(0, 1, 1), step=3)
        assert after.tolist() == [[100 + 4 * 3 * 16, 100 - 3 * 3 * 16]]
    assert REFERENCED.digital_offset == 0 and REFERENCED.round_bound < replace(REFERENCED, ref_cols=False).round_bound


@pytest.mark.fast
@pytest.mark.parametrize("config", [TINY, NOR40, EXACT, OFFSET, TWOS, SLICED, RAGGED], ids=ids)
def test_lossless_codes_add_up_to_the_dot_product(config: Config) -> None:
    """With codes equal to the column quantities, slices and encoding drop out: what is left is w @ x."""
    rng = np.random.default_rng(3)
    w = rng.integers(config.weight_min, config.weight_max + 1, config.active_rows)
    x = rng.integers(0, 1 << config.input_bits, config.active_rows)
    cells = flash_array.levels(config, w[:, None]).astype(np.int64)
    acc = 0
    for i in range(config.x_slices):
        lines = x >> i * config.dac_bits & (1 << config.dac_bits) - 1
        column = (lines @ cells).reshape(config.w_slices, config.lines_per_cell)
        code = column[:, 0] - column[:, 1] if config.bipolar else column[:, 0]
        for j in range(config.w_slices):
            acc = add(config, acc, int(code[j]), p=Pass(0, i, j), step=1, total=int(lines.sum()))
    assert acc == int(w @ x)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("config", "p", "step", "code", "total", "expected"),
    [
        (NOR40, Pass(0, 0, 0), 1, 9, 0, 9),
        (NOR40, Pass(0, 1, 0), 12, -7, 0, -7 * 12 * 4),
        (SLICED, Pass(1, 1, 1), 3, 2, 0, 2 * 3 * 2 * 4),
        (TWOS, Pass(0, 1, 1), 1, 4, 0, 4 * 2 * 2),
        (TWOS, Pass(0, 1, 2), 1, 4, 0, -4 * 2 * 4),  # the sign slice
        (EXACT, Pass(3, 2, 0), 1, 240, 16, 240 * 4 - 8 * 4 * 16),
        (OFFSET, Pass(0, 1, 0), 1, 5, 3, 5 * 2 - 4 * 2 * 3),
        (
            OFFSET,
            Pass(0, 1, 1),
            1,
            5,
            3,
            5 * 2 * 4,
        ),  # the offset is taken back once, at j = 0
        (NOR40, Pass(0, 1, 0, 1), 12, -7, 0, 7 * 12 * 4),  # negative activations
        (TWOS, Pass(0, 1, 2, 1), 1, 4, 0, 4 * 2 * 4),
        (OFFSET, Pass(0, 1, 0, 1), 1, 5, 3, -5 * 2 + 4 * 2 * 3),
        (SHARED, Pass(0, 1, 0), 1, 5, 0, 5),  # the charge was weighed before the conversion
        (SHARED_OFFSET, Pass(0, 1, 0), 1, 5, 9, 5 - 4 * 9),
    ],
)
def test_hand_computed_sums(config: Config, p: Pass, step: int, code: int, total: int, expected: int) -> None:
    assert add(config, 100, code, p=p, step=step, total=total) == 100 + expected


@pytest.mark.rtl
@pytest.mark.parametrize("case", cases("shift_add"), ids=str)
def test_verilog_matches_golden(case: Case, tmp_path: Path) -> None:
    run_case(case, tmp_path)
