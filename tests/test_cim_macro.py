# SPDX-License-Identifier: Apache-2.0
"""The macro: cycles of its specification, and the bench of the Verilog on ideal, varied and impossible dies."""

import re
from pathlib import Path

import numpy as np
import pytest
from twinor.config import PRESETS, load
from twinor.golden import macro_ctrl
from twinor.params import RTL
from twinor.rounds import Chain, End, Round, passes

from tb.common.cases import Case, cases, run_case


def stated_cycles() -> dict[str, list[int]]:
    """The table under Timing in cim_macro.md: figures by preset."""
    text = (RTL / "cim_macro.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `(\w+)`[^|]*\|((?: \d+ \|){8})$", text, flags=re.MULTILINE)
    return {preset: [int(figure) for figure in re.findall(r"\d+", row)] for preset, row in found}


@pytest.mark.fast
@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_cycles_of_the_specification_are_those_of_golden(path: Path) -> None:
    config = load(path)
    steps = ((1,) * config.w_slices,) * config.x_slices
    whole = {"row_base": 0, "row_count": config.rows, "col_base": 0, "col_count": config.out_cols}
    rnd = Round(**whole, steps=steps, end=End.RAW)
    table = np.zeros(config.out_cols, dtype=np.int32)
    chain = Chain(macro=0, rounds=(rnd,), mult=table, add=table)
    when = macro_ctrl.schedule(config, chain, vectors=8)[0]
    settle, convert = config.wl_cycles + config.settle_cycles, config.cols_per_adc * (config.trials + 1)
    first = [int(when.hold[0, 0]), int(when.out[0, 0]), int(when.out[0, -1])]
    period, floor = int(when.hold[7, 0] - when.hold[6, 0]), macro_ctrl.floor_cycles(config, chain)
    assert stated_cycles()[path.stem] == [len(passes(config, rnd)), settle, convert, *first, period, floor]


@pytest.mark.rtl
@pytest.mark.parametrize("case", cases("cim_macro"), ids=str)
def test_verilog_matches_golden(case: Case, tmp_path: Path) -> None:
    """Random chains and vectors; a wild die has any strengths, uneven drives and thresholds in no order."""
    run_case(case, tmp_path)


@pytest.mark.rtl
@pytest.mark.parametrize("case", cases("cim_macro_words"), ids=str)
def test_words_without_a_place_change_nothing(case: Case, tmp_path: Path) -> None:
    run_case(case, tmp_path)


@pytest.mark.rtl
@pytest.mark.parametrize("case", cases("cim_macro_prog"), ids=str)
def test_chains_run_on_what_was_programmed(case: Case, tmp_path: Path) -> None:
    run_case(case, tmp_path)
