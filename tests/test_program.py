# SPDX-License-Identifier: Apache-2.0
"""Programming a die: `twinor program`, the same operations in the Verilog, and chains on what was programmed."""

import json
import re
from dataclasses import replace as changed
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine, InProcess, mutated, shared_command_line
from hypothesis import given, settings
from hypothesis import strategies as st
from twinor.cells import blank
from twinor.config import Config, replace
from twinor.cosim import icarus, network
from twinor.cosim.programming import ProgrammingDiffers, check_macro
from twinor.die import sample_die
from twinor.golden.prog_ctrl import ERASE_FAILED, UNDER
from twinor.program import STATUSES, MacroResult, by_level, defects, program_die, programmed_die

from tb.common.configs import EXACT, NOR40, OFFSET, RAGGED, TINY, ids
from tb.common.dies import random_levels


@pytest.fixture
def inside(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    shared = shared_command_line(tmp_path, tmp_path_factory)
    return InProcess(folder=shared.folder, shared=shared.shared)


def one_macro(config: Config, seed: int, *, rows: int, retries: int = 1) -> MacroResult:
    """Random weights into the first rows of a varied die of one macro."""
    levels = random_levels(config, np.random.default_rng(seed))
    die = sample_die(config, levels, seed=seed)
    return program_die(config, die, levels, seed=seed, rows=rows, retries=retries)[0]


def check(config: Config, result: MacroResult, seed: int, rtl: Path | None = None) -> int:
    """The same in Icarus."""
    die = sample_die(config, result.levels[None], seed=seed)
    model = icarus.build(config, **({} if rtl is None else {"rtl": rtl}))
    return check_macro(config, die, result, model, seed=seed, timeout=600)


# Golden and Verilog //


@pytest.mark.rtl
@given(seed=st.integers(0, 2**20))
@settings(max_examples=4)
def test_every_status_code_pulse_cycle_and_threshold_of_a_whole_macro_agrees(seed: int) -> None:
    """All cells of `tiny`; its coarse converter over-programs some, so the block is erased again."""
    result = one_macro(TINY, seed, rows=TINY.rows, retries=2)
    assert check(TINY, result, seed) > 500


@pytest.mark.rtl
@pytest.mark.parametrize("config", [OFFSET, RAGGED, EXACT], ids=ids)
def test_rows_of_other_encodings_and_sizes_agree(config: Config) -> None:
    assert check(config, one_macro(config, 5, rows=1), 5) > 100


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("coarse_todo = todo_q & above_coarse", "coarse_todo = above_coarse | todo_q"),
        ("v      = code - offset_q[a*CODE_BITS +: CODE_BITS]", "v      = code"),
        ("(count == 8'd0) ? ramp[7:0]", "(count == 8'd1) ? ramp[7:0]"),
        ("coarse_sum_q  <= coarse_sum_q + {31'd0, coarse_go}", "coarse_sum_q  <= coarse_sum_q + {31'd0, go}"),
        ("line_sel_o    = line_q ? 2'd2 : 2'd1", "line_sel_o    = 2'd1"),
    ],
    ids=["inhibit", "trim", "ramp", "count", "line"],
)
def test_a_fault_in_the_controller_is_found(before: str, after: str, tmp_path: Path) -> None:
    """On a die whose comparators are far off, so that the trim counts."""
    rtl = mutated(tmp_path, "prog_ctrl.v", before, after)
    config = replace(TINY, name="tiny_offsets", comparator_sigma=2.0)
    with pytest.raises(ProgrammingDiffers, match=r"golden and rtl differ in programming macro 0: .*golden .* rtl "):
        check(config, one_macro(config, 3, rows=3, retries=0), 3, rtl)


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("threshold", "speed and threshold of row 1, bit line 2: golden"),
        ("cycles", "the figures are cycles"),
        ("code", "pass 0, row 0, weight slice 0, line 0, position 0"),
    ],
)
def test_a_wrong_value_of_golden_is_told(what: str, said: str) -> None:
    result = one_macro(TINY, 3, rows=1)
    done = result.done
    if what == "threshold":
        threshold = done.cells.threshold.copy()
        threshold[1, 2] ^= 1
        done = changed(done, cells=changed(done.cells, threshold=threshold))
    elif what == "cycles":
        done = changed(done, cycles=done.cycles + 1)
    else:
        code = done.passes[0].code.copy()
        code[0, 0, 0] ^= 1
        done = changed(done, passes=[changed(done.passes[0], code=code), *done.passes[1:]])
    with pytest.raises(ProgrammingDiffers, match=said):
        check(TINY, changed(result, done=done), 3)


# Results //


@pytest.mark.fast
def test_levels_and_defects_are_those_of_the_cells() -> None:
    results = [one_macro(TINY, 3, rows=5, retries=0)]
    found, bad = by_level(TINY, results), defects(TINY, results)
    levels, strength = results[0].levels[:5], results[0].done.cells.strength[:5] / 64
    for row in found:
        assert row.cells == (levels == row.level).sum()
        cells = strength[levels == row.level]
        figures = (cells.mean(), cells.std(), cells.min(), cells.max())
        assert np.allclose((row.mean, row.sigma, row.low, row.high), figures)
        assert sum(row.statuses) == row.cells
        assert sum(row.statuses[1:]) == sum(d["level"] == row.level for d in bad)
    assert {d["macro"] for d in defects(TINY, [changed(results[0], macro=4)])} == {4}
    assert STATUSES[UNDER] == "under-programmed" and STATUSES[ERASE_FAILED] == "erase failed"
    assert bad, "a 4-bit converter over-programs some cells"
    for d in bad:
        off = strength[d["row"], d["bit_line"]] - d["level"]
        assert d["status"] == "over-programmed" and off < 0


@pytest.mark.fast
def test_a_die_that_is_programmed_in_part_belongs_to_no_weights() -> None:
    levels = random_levels(TINY, np.random.default_rng(2), macros=2)
    die = sample_die(TINY, levels, seed=2)
    part = programmed_die(TINY, die, program_die(TINY, die, levels, seed=2, macros=[1]), seed=2)
    whole = programmed_die(TINY, die, program_die(TINY, die, levels, seed=2), seed=2)
    assert (part.levels_digest, whole.levels_digest) == ("", die.levels_digest)
    some = programmed_die(TINY, die, program_die(TINY, die, levels, seed=2, rows=TINY.rows - 1), seed=2)
    assert some.levels_digest == ""
    assert np.array_equal(part.strength[0], blank(TINY, macro=0, seed=2).strength)
    assert np.array_equal(part.strength[1], whole.strength[1])


@pytest.mark.fast
def test_time_is_pulses_and_cycles() -> None:
    """By hand: pulses at 10 ms, 10 us and 1 us, everything else at 10 ns a cycle."""
    result = one_macro(NOR40, 1, rows=1)
    erase, coarse, fine = result.pulses
    rest = result.done.cycles - erase - coarse - fine
    assert np.isclose(result.seconds, erase * 10e-3 + coarse * 10e-6 + fine * 1e-6 + rest * 10e-9)


# Command line //


@pytest.mark.rtl
def test_program_reports_writes_a_die_and_the_die_runs(inside: CommandLine) -> None:
    said = inside("program", "--die-seed", "3")
    assert said.status == 0, said.err
    told = json.loads((inside.folder / "build" / "program-nor40_int4-die3.json").read_text(encoding="utf-8"))
    assert re.search(r"163,840 cells in 5 macros, [\d.]+ s on the chip: 163,840 good", said.out)
    assert sum(row["cells"] for row in told["levels"]) == 163_840 and not told["defects"]
    assert [m["macro"] for m in told["macros"]] == [0, 1, 2, 3, 4]
    for row in told["levels"]:
        assert abs(row["mean"] - row["level"]) < 0.2 and row["sigma"] < 0.1
    die = inside.folder / "build" / "program-nor40_int4-die3.npz"
    run = inside("run", "--die", die, "--images", "20", "--no-report")
    assert run.status == 0, run.err
    assert inside("run", "--die", die, "--preset", "tiny").status == 1


@pytest.mark.rtl
def test_program_in_the_verilog_compares_every_value(inside: CommandLine) -> None:
    said = inside("program", "--backend", "rtl", "--layer", "linear", "--macros", "1", "--rows", "1")
    assert said.status == 0, said.err
    assert re.search(r"golden and rtl: [\d,]+ statuses, codes, pulse counts and thresholds: 0 mismatches", said.out)
    assert "not every cell was programmed" in said.out
    part = inside.folder / "build" / "program-nor40_int4-die0-linear.npz"
    assert "was programmed with other weights" in inside("run", "--die", part, "--no-report").sentence()


@pytest.mark.rtl
def test_cosim_computes_with_what_was_programmed(inside: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = network.cosim, []
    monkeypatch.setattr(network, "cosim", lambda *a, **k: seen.append(a) or real(*a, **k))
    said = inside("cosim", "--programmed", "--images", "1", "--no-report")
    assert said.status == 0, said.err
    assert "0 mismatches at 7 seams" in said.out
    config, _, placement, die, _ = seen[0]
    assert (die.strength != sample_die(config, placement.levels, seed=0).strength).any()
    told = json.loads((inside.folder / "build" / "cosim-nor40_int4-die0-programmed.json").read_text(encoding="utf-8"))
    assert told["programmed"] and told["accuracy"]["golden"] == told["accuracy"]["rtl"]


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["program", "--backend", "fast"], "unknown --backend fast: expected one of golden, rtl"),
        (["program", "--layer", "conv9"], "no layer conv9: the network has conv1, conv2, linear"),
        (["program", "--rows", "257"], "--rows 257: preset nor40_int4 has 256 word lines"),
        (["program", "--layer", "conv1", "--macros", "2"], "--macros 2: conv1 takes 1 of them"),
        (["cosim", "--programmed", "--die", "a.npz"], "give either --die or --programmed, not both"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(args: list[str], sentence: str, inside: CommandLine) -> None:
    assert inside(*args).sentence().startswith(sentence)
