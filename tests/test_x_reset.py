# SPDX-License-Identifier: Apache-2.0
"""X and reset in the whole macro: the bench `tb_cim_macro_x`, and Verilog in which an X or a reset is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import wild_die
from command_line import mutated

from tb.common.cases import Case, cases, run_case
from tb.common.configs import TINY
from tb.common.runner import BenchFailed, run_bench
from tb.common.sources import RTL

if TYPE_CHECKING:
    from pathlib import Path

    from twinor.config import Config

pytestmark = pytest.mark.rtl

HARMLESS = "an_unknown_that_must_not_count_reaches_no_output"
COUNTS = "an_unknown_that_counts_reaches_its_outputs_and_is_noticed"
RESET = "a_reset_in_every_state_leaves_no_trace"


def run(config: Config, folder: Path, *, rtl: Path = RTL, tests: str | None = None) -> None:
    """The bench on a die with any strengths, uneven drives and thresholds in no order."""
    die = wild_die(config, np.random.default_rng(12))
    run_bench("cim_macro", config, folder / "run", rtl=rtl, die=die, module="tb.tb_cim_macro_x", tests=tests)


@pytest.mark.parametrize("case", cases("cim_macro_x"), ids=str)
def test_no_unknown_is_lost_and_no_reset_leaves_a_trace(case: Case, tmp_path: Path) -> None:
    run_case(case, tmp_path)


@dataclass(frozen=True)
class Mutant:
    """A fault: `old` becomes `new` in a file of the Verilog; `test` of the bench must fail."""

    name: str
    file: str
    old: str
    new: str
    test: str


ASYNCHRONOUS = "always @(posedge clk_i or negedge rst_ni) begin\n    if (!rst_ni)"
SYNCHRONOUS = "always @(posedge clk_i) begin\n    if (!rst_ni)"
DECISION = "weight & {ADC_BITS{cmp_i[a]}}"
MULT = "mult_mem[col_q[COL_BITS-1:0]]"

MUTANTS = [
    Mutant("rows-that-are-off", "wl_dac.v", "& ((ALL_ON >> off_len) << off_low) ", "", HARMLESS),
    Mutant("old-accumulators", "shift_add.v", "(first_i && !keep_i) ?", "1'b0 ?", HARMLESS),
    Mutant("table-in-raw-outputs", "requantize.v", "raw_q ? acc :", "raw_q ? acc + (add ^ add) :", HARMLESS),
    Mutant("idle-comparators", "sar_adc.v", "weight & {", "(weight | {ADC_BITS{seq_q == 0}}) & {", HARMLESS),
    Mutant("decision-by-if", "sar_adc.v", DECISION, "weight & {ADC_BITS{cmp_i[a] === 1'b1}}", COUNTS),
    Mutant("word-line-by-if", "sim/flash_array.v", "if (^wl_i === 1'bx) current", "if (1'b0) current", COUNTS),
    Mutant("mult-to-0", "requantize.v", f"= {MULT};", f"= (^{MULT} === 1'bx) ? 0 : {MULT};", COUNTS),
    Mutant("psum-to-0", "shift_add.v", "] <= psum_data_i;", "] <= ^psum_data_i === 1'bx ? 0 : psum_data_i;", COUNTS),
    Mutant("half-loaded", "wl_dac.v", "      fill_q        <= 16'd0;\n      loaded_q", "      loaded_q", RESET),
    Mutant("half-written", "macro_ctrl.v", "      last_word_q <= 1'b0;\n    end", "    end", RESET),
    Mutant(
        "half-summed",
        "shift_add.v",
        "      have_q <= 16'd0;\n    end else if (psum_v",
        "    end else if (psum_v",
        RESET,
    ),
    Mutant("with-the-clock", "sar_adc.v", f"{ASYNCHRONOUS} seq_q", f"{SYNCHRONOUS} seq_q", RESET),
    Mutant(
        "kept", "requantize.v", "      left_q  <= 16'd0;\n      sum_q", "      left_q  <= left_q;\n      sum_q", RESET
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_bench_fails_when_one_is(mutant: Mutant, tmp_path: Path) -> None:
    with pytest.raises(BenchFailed) as caught:
        run(TINY, tmp_path, rtl=mutated(tmp_path, mutant.file, mutant.old, mutant.new), tests=mutant.test)
    assert all(mutant.test in name for name in caught.value.tests) and caught.value.tests
