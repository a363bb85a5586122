# SPDX-License-Identifier: Apache-2.0
"""Residual codes: laws of the golden product, and the bench of the Verilog."""

from pathlib import Path

import numpy as np
import pytest
from twinor.config import MULT_BITS, Config
from twinor.golden import residual

from tb.common.cases import Case, cases, run_case
from tb.common.configs import EXACT, NOR40, RAGGED, TINY, ids


@pytest.mark.fast
def test_hand_computed_products() -> None:
    codes, mult = np.array([[3, -4, 0], [-1, 7, 5]]), np.array([100, -3, 9])
    assert residual.products(codes, mult).tolist() == [[300, 12, 0], [-100, -21, 45]]


@pytest.mark.fast
def test_narrow_inputs_do_not_overflow() -> None:
    codes, mult = np.array([[-16]], dtype=np.int8), np.array([-(1 << 15)], dtype=np.int16)
    assert residual.products(codes, mult).tolist() == [[1 << 19]]


@pytest.mark.fast
@pytest.mark.parametrize("config", [TINY, NOR40, EXACT, RAGGED], ids=ids)
def test_every_product_fits_the_bits_that_hold_it(config: Config) -> None:
    """The ends of codes and multipliers, and not one bit more than they need."""
    code, mult = 1 << config.input_bits, 1 << (MULT_BITS - 1)
    ends = residual.products(np.array([[-code], [code - 1]]), np.array([-mult])).ravel()
    ends = np.append(ends, residual.products(np.array([[-code], [code - 1]]), np.array([mult - 1])).ravel())
    limit = 1 << (config.residual_bits - 1)
    assert ends.min() >= -limit and ends.max() < limit and ends.max() >= limit >> 1


@pytest.mark.rtl
@pytest.mark.parametrize("case", cases("residual"), ids=str)
def test_verilog_matches_golden(case: Case, tmp_path: Path) -> None:
    run_case(case, tmp_path)
