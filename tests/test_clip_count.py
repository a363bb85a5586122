# SPDX-License-Identifier: Apache-2.0
"""Clip counters: laws of the golden count, the counts of a chain, and the bench of the Verilog."""

from pathlib import Path

import numpy as np
import pytest
from builders import chain_of, configs, one_round, programmed, random_chain, seeds, stimulus, wild_die
from command_line import mutated
from hypothesis import given, settings
from twinor.config import Config
from twinor.cosim import icarus
from twinor.cosim.chain import Job, check
from twinor.cosim.reproducer import load_job, replay, write_reproducer
from twinor.golden import cim_macro, clip_count
from twinor.params import RTL
from twinor.rounds import converts
from twinor.trace import Divergence

from tb.common.cases import Case, cases, run_case
from tb.common.configs import OFFSET, TINY, ids


@pytest.mark.fast
@pytest.mark.parametrize("config", [TINY, OFFSET], ids=ids)
def test_only_codes_at_an_end_count(config: Config) -> None:
    codes = np.arange(config.code_min, config.code_max + 1)
    assert clip_count.count(config, codes) == (1, 1)
    assert clip_count.count(config, codes[1:-1]) == (0, 0)
    assert clip_count.count(config, np.tile(codes[:1], (3, 5))) == (15, 0)


@pytest.mark.fast
def test_a_full_counter_stays_full() -> None:
    top = clip_count.COUNT_MAX
    assert clip_count.count(TINY, np.array([-8, 7]), before=(top - 1, top)) == (top, top)


@pytest.mark.fast
def test_a_chain_counts_the_columns_of_its_rounds_by_hand() -> None:
    """Weights of 3 and -3 in three of four columns at the smallest step: 4 rows of 1 or 2 give 12 or -12."""
    weights = np.array([[3, -3, 3, 0]] * 8)
    chain = chain_of(TINY, one_round(TINY, row_count=4, col_count=3))
    x = np.array([[3, 3, 3, 3], [1, 1, 1, 1], [0, 0, 0, 0]])
    trace = cim_macro.run_chain(TINY, programmed(TINY, weights), chain, [x])[0]
    assert trace.clips == (3, 6)  # two slices of the first vector and one of the second; two columns of three clip high


@pytest.mark.fast
@settings(max_examples=25)
@given(configs(), seeds)
def test_what_is_clipped_is_counted_on_any_die(config: Config, seed: int) -> None:
    """Without correction the counts are those of the codes of the trace."""
    rng = np.random.default_rng(seed)
    chain, die = random_chain(config, rng), wild_die(config, rng)
    flow = stimulus(config, chain, rng, vectors=2)
    for trace in cim_macro.run_chain(config, die, chain, *flow.streams):
        codes = trace.codes[:, [n for n, p in enumerate(trace.passes) if converts(config, trace.rnd, p)]]
        assert trace.clips == tuple(int((codes == end).sum()) for end in (config.code_min, config.code_max))


def counting_job() -> Job:
    """Four vectors that clip on both sides."""
    weights = np.array([[3, -3, 3, 0]] * 8)
    x = np.random.default_rng(3).integers(0, 4, (4, 8))
    return Job(config=TINY, die=programmed(TINY, weights), chain=chain_of(TINY, one_round(TINY)), inputs=[x])


@pytest.mark.rtl
def test_cosimulation_compares_the_counters_at_the_end_of_a_chain(tmp_path: Path) -> None:
    job = counting_job()
    checked = check(job, icarus.build(TINY))
    assert checked.clips == checked.golden[0].clips and min(checked.clips) > 0


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("seam", "old", "new"),
    [
        ("clip_low", "+: CODE_BITS] == CODE_MIN}", "+: CODE_BITS] <= CODE_MIN}"),
        ("clip_high", "+: CODE_BITS] == CODE_MAX}", "+: CODE_BITS] != CODE_MAX}"),
    ],
)
def test_a_wrong_counter_is_told_and_its_reproducer_shows_it_again(
    seam: str, old: str, new: str, tmp_path: Path
) -> None:
    job, rtl = counting_job(), mutated(tmp_path, "clip_count.v", old, new)
    with pytest.raises(Divergence, match=f"divergence at seam {seam}: counted up to vector 3: golden ") as caught:
        check(job, icarus.build(TINY, rtl=rtl))
    found = caught.value
    assert found.golden == cim_macro.run_chain(TINY, job.die, job.chain, job.inputs)[0].clips[seam == "clip_high"]
    assert found.other != found.golden and found.sim_time is not None
    located = write_reproducer(found, job, tmp_path / "reproducers", rtl=rtl)
    assert load_job(Path(located.reproducer))[0].vectors <= 4
    with pytest.raises(Divergence, match=seam):
        replay(Path(located.reproducer))
    replay(Path(located.reproducer), rtl=RTL)


@pytest.mark.rtl
@pytest.mark.parametrize("case", cases("clip_count"), ids=str)
def test_verilog_matches_golden(case: Case, tmp_path: Path) -> None:
    run_case(case, tmp_path)
