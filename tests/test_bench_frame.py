# SPDX-License-Identifier: Apache-2.0
"""What the benches share: strict numbers, the in-order checker, valid stimulus, and a runner that tells the truth."""

import doctest
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from twinor.config import Config
from twinor.params import RTL
from twinor.rounds import End, Start, validate

from tb.common import beats, checker, stimulus, values
from tb.common.checker import Checker, CheckFailed
from tb.common.configs import EXACT, NOR40, RAGGED, SLICED, TINY, ids
from tb.common.runner import BenchFailed, BuildFailed, run_bench
from tb.common.values import UnknownValue, to_int


@dataclass
class Signal:
    """Stands in for a cocotb handle."""

    value: str


@pytest.mark.fast
@pytest.mark.parametrize("module", [beats, checker, stimulus, values], ids=lambda m: m.__name__)
def test_examples_run(module: object) -> None:
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)  # type: ignore[arg-type]
    assert result.attempted and not result.failed


@pytest.mark.fast
@pytest.mark.parametrize("text", ["X", "01X0", "Z1", "U", "-", "01W"])
def test_an_unknown_bit_is_never_a_number(text: str) -> None:
    with pytest.raises(UnknownValue):
        to_int(Signal(text))
    assert to_int(Signal("0101")) == 5


@pytest.mark.fast
def test_the_checker_fails_on_a_difference_on_leftovers_and_on_nothing() -> None:
    cases = {"expected 2, got 3": ([1, 2], [1, 3]), "expected but never seen": ([1, 2], [1])}
    cases |= {"seen but not expected": ([1], [1, 2]), "nothing was compared": ([], [])}
    for message, (expected, got) in cases.items():
        check: Checker[int] = Checker("seam")
        with pytest.raises(CheckFailed, match=message):
            for item in got:
                check.got(item)
            check.expect(*expected)
            check.finish()


@pytest.mark.fast
@pytest.mark.parametrize("config", [TINY, NOR40, EXACT, SLICED, RAGGED], ids=ids)
def test_random_chains_are_valid_and_reach_every_start_end_and_step(config: Config) -> None:
    rng = np.random.default_rng(14)
    chains = [stimulus.random_chain(config, rng) for _ in range(80)]
    for chain in chains:
        validate(config, chain)
    rounds = [rnd for chain in chains for rnd in chain.rounds]
    assert {rnd.start for rnd in rounds} == set(Start) and {rnd.end for rnd in rounds} == set(End)
    assert {step for rnd in rounds for row in rnd.steps for step in row} == set(config.steps)
    assert {len(rnd.steps) for rnd in rounds} == set(range(1, config.x_slices + 1))


def broken(tmp_path: Path, old: str, new: str) -> Path:
    """A copy of the Verilog with one change in sar_adc."""
    rtl = Path(shutil.copytree(RTL, tmp_path / "rtl"))
    text = (rtl / "sar_adc.v").read_text(encoding="utf-8")
    assert text.count(old) == 1
    (rtl / "sar_adc.v").write_text(text.replace(old, new), encoding="utf-8")
    return rtl


@pytest.mark.fast
@pytest.mark.parametrize("block", ["cim_macro", "flash_array", "adc_frontend"])
def test_a_bench_that_reads_a_die_is_refused_without_one(block: str, tmp_path: Path) -> None:
    """A bench that fails for want of a die would look like a fault that was caught."""
    with pytest.raises(ValueError, match=f"tb_{block} reads a die and got none"):
        run_bench(block, TINY, tmp_path / "run")


@pytest.mark.rtl
def test_verilog_that_does_not_compile_is_not_a_failed_bench(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="syntax error"):
        run_bench("sar_adc", TINY, tmp_path / "run", rtl=broken(tmp_path, "assign done_o", "assing done_o"))


@pytest.mark.rtl
def test_a_failed_bench_names_its_tests_and_its_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINOR_SEED", "77")
    with pytest.raises(BenchFailed, match="tiny, TWINOR_SEED=77") as found:
        run_bench("sar_adc", TINY, tmp_path / "run", rtl=broken(tmp_path, "seq_q >> 1", "seq_q >> 2"))
    assert "every_sequence_of_decisions_reaches_its_code" in found.value.tests


@pytest.mark.rtl
def test_a_run_without_any_test_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(BenchFailed):
        run_bench("sar_adc", TINY, tmp_path / "run", tests="no_such_test")


@pytest.mark.rtl
def test_a_build_with_other_parameters_is_found_by_the_first_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {name: TINY.parameters()[name] for name in ("N_ADCS", "ADC_BITS", "TRIALS", "SAR_WEIGHTS", "CODE_BITS")}
    wrong["WEIGHT_ENCODING"] = 1
    monkeypatch.setattr("tb.common.build.expected_parameters", lambda config, names: wrong)
    with pytest.raises(BenchFailed) as found:
        run_bench("sar_adc", TINY, tmp_path / "run", tests="elaborated")
    assert found.value.tests == ("elaborated_parameters_equal_the_configuration",)
