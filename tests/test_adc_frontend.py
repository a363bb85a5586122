# SPDX-License-Identifier: Apache-2.0
"""ADC front end: the bench of the behavioural hold, multiplexer, threshold table and comparator."""

from pathlib import Path

import numpy as np
import pytest
from twinor.config import Config
from twinor.die import ideal_die, sample_die

from tb.common.configs import EXACT, NOR40, RAGGED, TINY, ids
from tb.common.runner import run_bench


@pytest.mark.rtl
@pytest.mark.parametrize("kind", ["ideal", "varied", "unordered"])
@pytest.mark.parametrize("config", [TINY, NOR40, EXACT, RAGGED], ids=ids)
def test_verilog_matches_golden(config: Config, kind: str, tmp_path: Path) -> None:
    cells = np.zeros((1, config.rows, config.bit_lines), dtype=np.uint8)
    die = ideal_die(config, cells) if kind == "ideal" else sample_die(config, cells, seed=8)
    if kind == "unordered":
        np.random.default_rng(9).shuffle(die.threshold[0, :, 1:], axis=1)
    run_bench("adc_frontend", config, tmp_path, die=die)
