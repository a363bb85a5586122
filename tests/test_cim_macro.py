# SPDX-License-Identifier: Apache-2.0
"""The macro: the bench of the Verilog with its behavioural array, on ideal, varied and impossible dies."""

from pathlib import Path

import numpy as np
import pytest
from builders import random_levels, wild_die
from twinor.config import Config
from twinor.die import ideal_die, sample_die

from tb.common.configs import EXACT, NOR40, OFFSET, RAGGED, SLICED, TINY, TWOS
from tb.common.runner import run_bench


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("config", "kind"),
    [
        *((TINY, kind) for kind in ("ideal", "varied", "wild")),
        (NOR40, "varied"),
        (NOR40, "wild"),
        (EXACT, "ideal"),
        (EXACT, "varied"),
        *((config, "wild") for config in (OFFSET, TWOS, SLICED, RAGGED)),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_verilog_matches_golden(config: Config, kind: str, tmp_path: Path) -> None:
    """Random chains and vectors; a wild die has any strengths, uneven drives and thresholds in no order."""
    rng = np.random.default_rng(12)
    levels = random_levels(config, rng)
    made = {"ideal": ideal_die(config, levels), "varied": sample_die(config, levels, seed=13)}
    die = made.get(kind) or wild_die(config, rng)
    run_bench("cim_macro", config, tmp_path, die=die)
