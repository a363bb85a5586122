# SPDX-License-Identifier: Apache-2.0
"""The pyuvm environment of the macro: it covers its goals, and it fails for every reason it should fail for."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from builders import random_levels
from command_line import mutated
from twinor.config import Config
from twinor.cosim import icarus
from twinor.die import ideal_die, sample_die
from twinor.golden import cim_macro
from twinor.rounds import End, Start, pack, validate

from tb.common.configs import EXACT, NOR40, OFFSET, RAGGED, REFERENCED, SLICED, TINY, TWOS, ids
from tb.common.plans import read_plan
from tb.common.runner import BenchFailed, run_bench
from tb.uvm import __main__ as command
from tb.uvm.goals import goals
from tb.uvm.predictor import Predictor
from tb.uvm.run import read_result, run_uvm
from tb.uvm.stimulus import code_ramp, corner_chain, corner_vectors, directed_chains, levels

ALL = [TINY, NOR40, EXACT, OFFSET, TWOS, SLICED, RAGGED, REFERENCED]

# What needs no simulator //


@pytest.mark.fast
@pytest.mark.parametrize("config", ALL, ids=ids)
def test_goals_have_distinct_bins_and_are_those_of_the_plan(config: Config) -> None:
    bins = goals(config)
    assert set(bins) == {goal.goal for goal in read_plan("cim_macro").coverage}
    for names in bins.values():
        assert names and len(set(names)) == len(names)


@pytest.mark.fast
@pytest.mark.parametrize("config", ALL, ids=ids)
def test_directed_chains_are_valid_and_hold_what_they_promise(config: Config, rng: np.random.Generator) -> None:
    chains = list(directed_chains(config, rng))
    rounds = [rnd for chain in chains for rnd in chain.rounds]
    assert {(rnd.start, rnd.end) for rnd in rounds} == {(s, e) for s in Start for e in End}
    assert {len(chain.rounds) for chain in chains} >= set(range(1, config.max_rounds + 1))
    assert {step for rnd in rounds for row in rnd.steps for step in row} == set(config.steps)


@pytest.mark.fast
@pytest.mark.parametrize("config", ALL, ids=ids)
def test_random_chains_are_valid_and_vectors_fit_them(config: Config, rng: np.random.Generator) -> None:
    die = ideal_die(config, levels(config, rng))
    for _ in range(20):
        chain = corner_chain(config, rng)
        validate(config, chain)
        sent = corner_vectors(config, chain, rng, count=2)
        cim_macro.run_chain(config, die, chain, sent.inputs, sent.psums, sent.residuals)


@pytest.mark.fast
@pytest.mark.parametrize("config", [TINY, NOR40, EXACT], ids=ids)
def test_the_ramp_takes_the_first_column_up_and_the_second_down(config: Config, rng: np.random.Generator) -> None:
    chain, x = code_ramp(config)
    trace = cim_macro.run_chain(config, ideal_die(config, levels(config, rng)), chain, [x])[0]
    up, down = (np.diff(trace.codes[:, 0, c].astype(int)) for c in (0, 1))
    assert set(up.tolist()) <= {0, 1}
    assert set(down.tolist()) <= ({0, -1} if config.bipolar else {0, 1})
    seen = {f"code {code}" for code in trace.codes[:, 0, :2].reshape(-1).tolist()}
    assert seen == set(goals(config)["adc_code"])


@pytest.mark.fast
@pytest.mark.parametrize("config", [TINY, RAGGED, OFFSET], ids=ids)
def test_the_predictor_sees_through_the_beats(config: Config, rng: np.random.Generator) -> None:
    """Vector by vector, chain by chain, it says what golden says of the stimulus that it never saw."""
    die = sample_die(config, random_levels(config, rng), seed=3)
    predictor = Predictor(config, die)
    for n in range(6):
        chain = corner_chain(config, rng)
        sent = corner_vectors(config, chain, rng, count=2)
        for address, data in pack(config, chain).tolist():
            predictor.word(address, data)
        said = []
        for v in range(2):
            psums, residuals = (([] if a is None else a[v].tolist()) for a in (sent.psums, sent.residuals))
            said += [p for value in (psums if n % 2 else []) for p in predictor.psum(value)]
            for x in sent.inputs:
                codes = [value % (1 << config.input_bits) for value in x[v].tolist()]  # two's complement
                row = [*codes, *[-1] * (-x.shape[1] % config.in_lanes)]
                for k in range(0, len(row), config.in_lanes):
                    said += predictor.beat(row[k : k + config.in_lanes])
            said += [p for value in residuals for p in predictor.residual(value)]
            said += [p for value in (psums if not n % 2 else []) for p in predictor.psum(value)]
        wanted = cim_macro.run_chain(config, die, chain, sent.inputs, sent.psums, sent.residuals)
        assert [p.again for p in said] == [False, True]
        for v, prediction in enumerate(said):
            for ours, theirs in zip(wanted, prediction.traces, strict=True):
                for seam in ("word_lines", "trials", "codes", "partial_sums", "outputs", "last_flags"):
                    assert np.array_equal(getattr(ours, seam)[v], getattr(theirs, seam)[0])


@pytest.mark.fast
def test_a_word_within_a_chain_is_a_fault(rng: np.random.Generator) -> None:
    predictor = Predictor(TINY, ideal_die(TINY, random_levels(TINY, rng)))
    chain = next(directed_chains(TINY, rng))
    for address, data in pack(TINY, chain).tolist():
        predictor.word(address, data)
    predictor.beat([1, 2])
    with pytest.raises(AssertionError, match="within a chain"):
        predictor.word(0, 0)


@pytest.mark.fast
def test_a_reset_clears_the_rounds_and_keeps_the_table(rng: np.random.Generator) -> None:
    predictor = Predictor(TINY, ideal_die(TINY, random_levels(TINY, rng)))
    chain = next(directed_chains(TINY, rng))
    words = pack(TINY, chain).tolist()
    for address, data in words:
        predictor.word(address, data)
    predictor.reset()
    with pytest.raises(KeyError):
        predictor.beat([1, 2])
    for address, data in words:
        if address < TINY.max_rounds * 32:
            predictor.word(address, data)
    said = [p for _ in range(4) for p in predictor.beat([1, 2])]
    assert np.array_equal(said[0].chain.mult, chain.mult) and np.array_equal(said[0].chain.add, chain.add)


# In the simulator //


@pytest.mark.rtl
@pytest.mark.parametrize("config", [TINY, NOR40, REFERENCED], ids=ids)
def test_every_goal_is_met(config: Config, tmp_path: Path) -> None:
    result = run_uvm(config, tmp_path / "run")
    assert {goal.goal: goal.bins for goal in result.goals} == {name: len(bins) for name, bins in goals(config).items()}
    assert result.coverage == 100.0 and all(result.compared.values())


@pytest.mark.rtl
def test_the_command_prints_every_goal_and_ends_with_its_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main(preset=["tiny"], seed=5, rtl=None, out=tmp_path)
    printed = capsys.readouterr().out
    for goal, bins in goals(TINY).items():
        line = next(line for line in printed.splitlines() if line.startswith(goal))
        assert line.split()[1:3] == [str(len(bins))] * 2 and "100.0 %" in line
    assert printed.splitlines()[-1].startswith("cim_macro on tiny: ") and "100.0 % covered" in printed.splitlines()[-1]
    report = json.loads((tmp_path / "uvm-tiny.json").read_text(encoding="utf-8"))
    assert (report["config"], report["rtl"], report["seed"]) == (TINY.digest(), icarus.digest(), 5)
    assert report["coverage"] == 100.0 and {goal["goal"] for goal in report["goals"]} == set(goals(TINY))


@pytest.mark.rtl
def test_a_missed_goal_fails_the_run_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchFailed, match="goals missed") as failed:
        run_uvm(TINY, tmp_path / "run", tests="FullRate|every_coverage_goal_is_met")
    assert failed.value.tests == ("every_coverage_goal_is_met",)
    missed = {goal.goal: goal.missed for goal in read_result(tmp_path / "run" / "coverage.json").goals if goal.missed}
    assert "trial 0" in missed["reset"] and "outputs stalled" in missed["traffic"]


@pytest.mark.rtl
def test_every_planted_test_fails(tmp_path: Path) -> None:
    """What pyuvm would let pass: errors only logged, objections forgotten, values too many and too few."""
    planted = Path(__file__).with_name("planted_uvm.py")
    names = {
        node.name for node in ast.parse(planted.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)
    }
    die = ideal_die(TINY, levels(TINY, np.random.default_rng(1)))
    with pytest.raises(BenchFailed) as failed:
        run_bench("cim_macro", TINY, tmp_path / "run", die=die, module="planted_uvm")
    assert set(failed.value.tests) == names


FAULTS = {
    "word_lines": ("wl_dac.v", ": active_q[slice_i", ": active_q[0"),
    "trials": ("sar_adc.v", "{TRIALS{cmp_i[a]}}", "{TRIALS{!cmp_i[a]}}"),
    "stalled": ("sar_adc.v", "seq_q >> 1", "seq_q >> 2"),
    "codes": ("sar_adc.v", "<< (ADC_BITS - 1)", "<< (ADC_BITS - 2)"),
    "partial_sums": ("shift_add.v", "first_i && !keep_i", "first_i"),
    "outputs": ("requantize.v", "wide >>> shift_q", "wide >> shift_q"),
    "last_flags": ("requantize.v", "last_q && left_q == 16'd1", "last_q && left_q == 16'd2"),
    "cycles": ("macro_ctrl.v", "WL_CYCLES + SETTLE_CYCLES - 1", "WL_CYCLES + SETTLE_CYCLES"),
    "words": ("cim_macro.v", "word_ready && sum_ready", "word_ready"),
    "withdrawn": ("requantize.v", "else if (out_ready_i) begin\n      out_valid_q", "else begin\n      out_valid_q"),
    "reset": ("macro_ctrl.v", "armed_q     <= 1'b0;\n      last_word_q", "last_word_q"),
}


@pytest.mark.rtl
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_seam_fails_the_run(fault: str, tmp_path: Path) -> None:
    rtl = mutated(tmp_path, *FAULTS[fault])
    with pytest.raises(BenchFailed) as failed:
        run_uvm(TINY, tmp_path / "run", rtl=rtl, tests="Directed|FullRate|Traffic|Waits|Reset")
    said = {"words": "outputs:", "reset": "high in reset"}.get(fault, fault)
    assert said in str(failed.value), str(failed.value)
