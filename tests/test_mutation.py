# SPDX-License-Identifier: Apache-2.0
"""The mutation campaign: what it changes, that it finds faults, reports survivors, and proves equivalents alone."""

import json
import re
import shutil
from collections import Counter
from itertools import accumulate, islice
from pathlib import Path

import pytest
from command_line import mutated

from tb.common.configs import OFFSET, RAGGED, TINY
from tb.common.sources import RTL, file_of
from tb.mutation import __main__ as command
from tb.mutation.__main__ import arguments, main
from tb.mutation.benches import BLOCKS, Kill, Step
from tb.mutation.campaign import ControlFailed, Drawn, Verdict, control, draw, judge
from tb.mutation.changes import CLASSES, changes
from tb.mutation.equivalence import Proof, prove
from tb.mutation.lint import run_lint
from tb.mutation.mutants import Mutant, mutants
from tb.mutation.netlist import netlist
from tb.mutation.syntax import parse
from tb.mutation.table import killed, row, total
from tb.mutation.tokens import tokenize

STAND_INS = [block for block in BLOCKS if (RTL / "sim" / f"{block}.v").is_file()]
FILES = sorted(RTL.glob("**/*.v"))


def planted(block: str, old: str, new: str) -> Mutant:
    """A mutant made by hand."""
    path = file_of(block)
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    return Mutant(block, "operator", str(path.relative_to(RTL)), text.index(old), old, new, text)


def needs_yosys() -> None:
    if shutil.which("yosys") is None:
        pytest.skip("yosys is not installed: `make setup` installs it")


@pytest.mark.fast
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_tokens_put_together_are_the_source(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tokens = tokenize(text)
    assert "".join(token.text for token in tokens) == text
    assert [token.end for token in tokens] == list(accumulate(len(token.text) for token in tokens))


@pytest.mark.fast
def test_a_character_that_starts_no_token_is_named_with_its_line() -> None:
    with pytest.raises(ValueError, match="line 2: '§ wire' starts no Verilog token"):
        tokenize("module m;\n§ wire")


@pytest.mark.fast
def test_the_same_seed_gives_the_same_list_and_another_one_does_not() -> None:
    lists = [[(m.start, m.new) for m in mutants("shift_add", RTL, seed=seed)] for seed in (1, 1, 2)]
    assert lists[0] == lists[1] != lists[2]
    assert sorted(lists[0]) == sorted(lists[2])


@pytest.mark.fast
def test_the_list_is_the_same_on_every_machine() -> None:
    """Recorded: the first mutants of one block."""
    first = [(m.kind, m.line, m.old, m.new) for m in islice(mutants("sar_adc", RTL, seed=1), 3)]
    assert first == [
        ("operator", 104, "*", "+"),
        ("constant", 68, "ADC_BITS", "(ADC_BITS - 1)"),
        ("width", 86, "1", "2"),
    ]


@pytest.mark.fast
@pytest.mark.parametrize("block", BLOCKS)
def test_a_mutant_changes_one_place_of_the_body(block: str) -> None:
    """Header, ports, parameters, comments, directives, initial blocks and sinks stay as they are."""
    text = file_of(block).read_text(encoding="utf-8")
    body = text.index(");\n") + 2
    frozen = re.compile(r"//[^\n]*|`[^\n]*|^\s*initial\b[^;]*;|^\s*wire\s[^;]*\bunused_[^;]*;", re.MULTILINE)
    spans = [match.span() for match in frozen.finditer(text)]
    seen = set()
    for mutant in mutants(block, RTL, seed=1):
        end = mutant.start + len(mutant.old)
        assert mutant.start >= body and mutant.old != mutant.new
        assert mutant.mutated[: mutant.start] == text[: mutant.start]
        assert mutant.mutated[mutant.start + len(mutant.new) :] == text[end:]
        assert not any(first < end and mutant.start < last for first, last in spans), mutant.shown()
        assert mutant.mutated not in seen, f"two mutants are the same: {mutant.shown()}"
        seen.add(mutant.mutated)


@pytest.mark.fast
def test_every_class_occurs_and_a_block_takes_its_classes_in_turn() -> None:
    kinds = {block: [m.kind for m in mutants(block, RTL, seed=1)] for block in BLOCKS}
    assert {kind for block in BLOCKS for kind in kinds[block]} == set(CLASSES)
    for block, found in kinds.items():
        has = set(found)
        assert set(found[: len(has)]) == has and len(has) >= 4, block
        assert len(found) >= (30 if block in STAND_INS else 50), f"{block} has {len(found)} mutants"


@pytest.mark.fast
@pytest.mark.parametrize(
    ("kind", "statement", "wanted"),
    [
        ("operator", "assign y = a <= b;", ["a < b", "a > b"]),
        ("operator", "assign y = &a & -b;", ["|a & -b", "&a & b", "&a | -b"]),
        ("operator", "always @(posedge c) if (!a) y <= b;", ["if (a)"]),
        ("constant", "assign y = b + 4'd15;", ["4'd0", "4'd14"]),
        ("constant", "assign y = b[N*2 +: N];", ["(N - 1)*2", "(N + 1)*2", "N*3", "N*1"]),
        ("width", "wire [N-1:0] w = b[3:0];", ["[N-2:0]", "[2:0]"]),
        ("width", "assign y = b[2];", ["[1]", "[3]"]),
        ("select", "assign y = a ? b ? 1 : 2 : 3;", ["y = 1'b0 ?", "? 2 : 1 :", "a ? 1'b1 ?", "a ? 3 : b ? 1 : 2"]),
        ("select", "assign y = b[a*N +: N];", ["b[0 +: N]"]),
        ("arc", "always @(posedge c) if (a) y <= b; else y <= 0;", ["if (1'b0)", "if (1'b1)", "if (a) ;", "else ;"]),
        ("arc", "always @(posedge c or negedge rst_ni) if (!rst_ni) y <= 4'd0; else y <= b;", ["y <= 4'd1;"]),
    ],
)
def test_changes_of_a_class(kind: str, statement: str, wanted: list[str]) -> None:
    text = f"module m #(parameter integer N = 2) (input wire a); {statement} endmodule"
    found = [text[:start] + new + text[end:] for start, end, new in changes(parse(text))[kind]]
    for part in wanted:
        assert any(part in mutated for mutated in found), f"{part} not in {found}"


@pytest.mark.fast
def test_a_connection_is_crossed_with_a_signal_of_its_width() -> None:
    text = "module m (input wire a); wire [3:0] b, c; wire d; u v (.x_i(b), .y_i(d), .z_o(c)); endmodule"
    found = {text[start:end] + ">" + new for start, end, new in changes(parse(text))["select"]}
    assert found == {"b>c", "d>a", "d>1'b0", "d>1'b1"}


@pytest.mark.rtl
def test_a_netlist_changes_with_the_logic_and_not_with_its_folder(tmp_path: Path) -> None:
    rtl = Path(shutil.copytree(RTL, tmp_path / "rtl"))
    before = [netlist("shift_add", config, RTL) for config in (RAGGED, OFFSET)]
    assert before == [netlist("shift_add", config, rtl) for config in (RAGGED, OFFSET)]
    planted("shift_add", "+ WEIGHT_BITS - 1)", "+ WEIGHT_BITS)").place(rtl)  # offset columns alone have it
    after = [netlist("shift_add", config, rtl) for config in (RAGGED, OFFSET)]
    assert after[0] == before[0] and after[1] != before[1]
    (rtl / "shift_add.v").write_text("module shift_add (;\nendmodule\n", encoding="utf-8")
    assert netlist("shift_add", RAGGED, rtl) is None


@pytest.mark.rtl
def test_a_draw_has_the_count_and_says_what_it_passed_over() -> None:
    drawn = draw("flash_array", count=12, seed=2)
    assert len(drawn.mutants) == 12 and drawn.refused + drawn.unchanged > 0


@pytest.mark.rtl
def test_an_obvious_mutant_is_killed_by_name() -> None:
    verdict = judge(planted("sar_adc", "seq_q >> 1", "seq_q << 1"), steps=[Step("sar_adc", TINY)])
    assert verdict.name == "killed" and verdict.kill is not None
    assert (verdict.kill.bench, verdict.kill.config) == ("sar_adc", "tiny")
    assert verdict.kill.test == "codes_and_trials_match_golden_around_every_threshold"
    assert "done_o" in verdict.kill.message
    assert len(row(verdict)) <= 120


@pytest.mark.rtl
def test_a_bench_that_fails_without_a_mutant_stops_the_campaign(tmp_path: Path) -> None:
    control(Step("sar_adc", TINY))
    rtl = mutated(tmp_path, "sar_adc.v", "seq_q >> 1", "seq_q << 1")
    with pytest.raises(ControlFailed, match="the unchanged Verilog fails tb_sar_adc on tiny: codes_and_trials"):
        control(Step("sar_adc", TINY), rtl)


@pytest.mark.rtl
def test_the_linter_sees_a_width_that_no_value_needs(tmp_path: Path) -> None:
    assert run_lint([TINY], RTL) is None
    rtl = mutated(tmp_path, "cim_macro.v", "wire [6:0]             code_step", "wire [5:0]             code_step")
    kill = run_lint([TINY], rtl)
    if shutil.which("verilator") is None:
        pytest.skip("Verilator is not installed: `make setup` installs it")
    assert kill is not None and "code_step_shift" in kill.message


@pytest.mark.rtl
def test_a_blind_bench_leaves_a_survivor() -> None:
    """A bench of which only the parameters are compared passes everything, and no proof excuses the mutant."""
    needs_yosys()
    blind = [Step("sar_adc", TINY, tests="elaborated_parameters")]
    verdict = judge(planted("sar_adc", "seq_q >> 1", "seq_q << 1"), steps=blind)
    assert verdict.name == "survived" and verdict.proof is not None and "may differ" in verdict.proof.reason
    assert "1 survived; 0.0 %" in total(1, [verdict]) and len(row(verdict)) <= 120


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("block", "old", "new", "assumptions"),
    [
        ("sar_adc", "wire [CODE_BITS-1:0] half", "wire [CODE_BITS-2:0] half", ()),
        ("sar_adc", "if (start_i) seq_q", "if (start_i && seq_q == 0) seq_q", ("start_i never in a trial cycle",)),
        ("shift_add", "(first_i && !keep_i)", "(first_i && (psum_i || !keep_i))", ("never both keep_i and psum_i",)),
        ("bitline", "{1'b0, current_i[line*", "{1'b0, 1'b0, current_i[line*", ()),
    ],
)  # fmt: skip
def test_an_equivalent_mutant_is_proven(
    block: str, old: str, new: str, assumptions: tuple[str], tmp_path: Path
) -> None:
    needs_yosys()
    proof = prove(planted(block, old, new), [TINY], RTL, tmp_path)
    assert proof == Proof(holds=True, assumptions=assumptions, reason="")


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("block", "old", "new"),
    [
        ("sar_adc", "if (!rst_ni) seq_q <= {TRIALS{1'b0}};", "if (!rst_ni) seq_q <= {TRIALS{1'b1}};"),
        ("sar_adc", "kept_q | (seq_q &", "kept_q ^ (seq_q |"),
        ("shift_add", "have_q <= 16'd0;\n    end else if", "have_q <= 16'd1;\n    end else if"),
        ("wl_dac", "slice_i*LINE_BITS +: LINE_BITS] :", "slice_i*(LINE_BITS + 1) +: LINE_BITS] :"),
        ("requantize", "wide >>> shift_q", "wide >> shift_q"),
        ("adc_frontend", "2'b00}) >= (", "2'b00}) > ("),
    ],
)
def test_a_mutant_that_differs_is_not_proven(block: str, old: str, new: str, tmp_path: Path) -> None:
    """Nor with all assumptions of the block together, so these contradict nothing."""
    needs_yosys()
    proof = prove(planted(block, old, new), [TINY], RTL, tmp_path)
    assert not proof.holds and "may differ" in proof.reason, proof


@pytest.mark.rtl
def test_the_command_prints_a_row_a_mutant_and_ends_with_the_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_yosys()
    out = tmp_path / "mutation.json"
    assert main(["--block", "sar_adc", "--count", "2", "--jobs", "1", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    figure = "2 mutants of 1 block: 2 killed, 0 proven equivalent, 0 survived; 100.0 % of those that differ killed"
    assert lines[-1] == figure
    assert sum(line.startswith("sar_adc  ") and "sar_adc.v:" in line for line in lines) == 2
    saved = json.loads(out.read_text(encoding="utf-8"))["mutants"]
    assert Counter(mutant["verdict"] for mutant in saved) == {"killed": 2}
    assert all(mutant["killed_by"]["test"] for mutant in saved)


@pytest.mark.fast
def test_a_whole_campaign_has_300_mutants_and_20_of_each_block() -> None:
    """Drawn from what each block has: blocks without enough changes would end the campaign."""
    count = arguments([]).count
    assert count >= 20 and count * len(BLOCKS) >= 300
    assert all(len(list(mutants(block, RTL, seed=1))) >= 2 * count for block in BLOCKS[: -len(STAND_INS)])


def fates(killed: int, equivalent: int, survived: int) -> list[Verdict]:
    """Verdicts of a made-up campaign."""
    mutant, kill = planted("sar_adc", "seq_q >> 1", "seq_q"), Kill("sar_adc", "tiny", "a_test", "it failed")
    made = {"kill": (kill, None), "proof": (None, Proof(True, (), "")), "none": (None, None)}
    names = ["kill"] * killed + ["proof"] * equivalent + ["none"] * survived
    return [Verdict(mutant, *made[name]) for name in names]


@pytest.mark.fast
def test_what_is_proven_equivalent_does_not_count_and_percent_are_rounded_down() -> None:
    assert total(10, fates(290, 5, 5)) == (
        "300 mutants of 10 blocks: 290 killed, 5 proven equivalent, 5 survived; 98.3 % of those that differ killed"
    )
    assert killed(fates(97, 0, 3)) == 97.0 and "96.9 %" in total(1, fates(969999, 0, 30001))
    assert killed([]) == 100.0


@pytest.mark.fast
@pytest.mark.parametrize(
    ("verdicts", "each", "status"),
    [
        (fates(300, 0, 9), 30, 0),  # 97.08 %
        (fates(290, 0, 10), 30, 1),  # 96.7 %
        (fates(299, 0, 0), 30, 1),
        (fates(300, 0, 0), 19, 1),
    ],
)
def test_a_campaign_fails_on_survivors_and_on_too_few_mutants(
    verdicts: list[Verdict], each: int, status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drafts = [Drawn(block, [verdicts[0].mutant] * each, 0, 0) for block in BLOCKS]
    monkeypatch.setattr(command, "campaign", lambda *_, **__: (drafts, verdicts))
    assert main(["--out", str(tmp_path / "mutation.json")]) == status


@pytest.mark.fast
def test_the_blocks_are_all_that_there_is() -> None:
    lists = "".join((RTL / name).read_text(encoding="utf-8") for name in ("rtl.f", "cim_axi.f"))
    listed = [Path(line).stem for line in lists.split() if not line.startswith("rtl/regs/")]
    assert list(BLOCKS) == [
        *listed,
        *sorted(path.stem for path in (RTL / "sim").glob("*.v") if not path.stem.endswith("_sim")),
    ]


def test_a_verdict_without_kill_or_proof_is_a_survivor() -> None:
    assert Verdict(planted("sar_adc", "seq_q >> 1", "seq_q"), None, None).name == "survived"
