# SPDX-License-Identifier: Apache-2.0
"""Column correction: laws of the golden rule, a die that it mends, and the bench of the Verilog."""

from dataclasses import replace as changed
from pathlib import Path

import numpy as np
import pytest
from builders import (
    chain_of,
    configs,
    job_of,
    one_round,
    programmed,
    random_chain,
    random_weights,
    seeds,
    stimulus,
    wild_die,
)
from hypothesis import given, settings
from twinor.config import Config, replace
from twinor.cosim import icarus
from twinor.cosim.chain import check
from twinor.die import Die, ideal_die
from twinor.die_file import load_die, save_die
from twinor.errors import CorruptFile
from twinor.fast import Engine
from twinor.golden import cim_macro, column_correct
from twinor.trim import trim_words, trimmed

from tb.common.cases import Case, cases, run_case
from tb.common.configs import CORRECTED, TINY


@pytest.mark.fast
def test_hand_computed_corrections() -> None:
    config = replace(TINY, column_correction=True)
    codes = np.array([5, 5, 5, -5, -5, -8, 7, 7], dtype=np.int16)
    gain = np.array([256, 128, 128, 128, 128, 300, 300, 0])
    offset = np.array([0, 0, 128, 0, 128, 0, 0, -32768])
    assert column_correct.correct(config, codes, gain, offset).tolist() == [5, 2, 3, -3, -2, -8, 7, -8]
    assert column_correct.correct(TINY, codes, gain, offset).tolist() == codes.tolist()  # not configured: as they are


@pytest.mark.fast
@given(configs(column_correction=True), seeds)
def test_an_ideal_die_is_not_changed(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    die = programmed(config, random_weights(config, rng, config.rows, config.out_cols))
    chain = random_chain(config, rng)
    flow = stimulus(config, chain, rng, vectors=2)
    plain = replace(config, column_correction=False)
    with_it, without = (cim_macro.run_chain(c, die, chain, *flow.streams) for c in (config, plain))
    assert all(np.array_equal(a.codes, b.codes) and a.clips == b.clips for a, b in zip(with_it, without, strict=True))


@pytest.mark.fast
def test_the_correction_belongs_to_the_physical_column() -> None:
    """A round that starts at another column finds that column's gain; raw codes are counted as clipped."""
    config = replace(TINY, column_correction=True)
    die = programmed(config, np.full((8, 4), 1))
    die.gain[0] = [256, 256, 512, 0]
    rnd = one_round(config, row_count=4, col_base=2, col_count=2)
    trace = cim_macro.run_chain(config, die, chain_of(config, rnd), [np.full((1, 4), 1)])[0]
    assert trace.codes[0, 0].tolist() == [7, 0]  # 4 times 2.0 is clipped at 7, 4 times 0 is 0
    assert trace.clips == (0, 0)


@pytest.mark.fast
@settings(max_examples=40)
@given(configs(column_correction=True), seeds)
def test_fast_equals_golden(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    die, chain = wild_die(config, rng), random_chain(config, rng)
    flow = stimulus(config, chain, rng, vectors=3)
    golden = cim_macro.outputs(cim_macro.run_chain(config, die, chain, *flow.streams))
    assert np.array_equal(golden, Engine(config, die).run_chain(chain, *flow.streams))


@pytest.mark.fast
@given(configs(column_correction=True), seeds)
def test_words_carry_the_whole_table(config: Config, seed: int) -> None:
    die = wild_die(config, np.random.default_rng(seed))
    plain = ideal_die(config, np.zeros((1, config.rows, config.bit_lines), dtype=np.uint8))
    memory = {int(address): int(data) for address, data in trim_words(config, die)}
    found = trimmed(config, plain, memory)
    assert np.array_equal(found.gain, die.gain) and np.array_equal(found.offset, die.offset)
    assert len(memory) == 2 * config.cols


@pytest.mark.fast
@pytest.mark.parametrize(("table", "value"), [("gain", -1), ("gain", 1024), ("offset", -32769), ("offset", 32768)])
def test_a_die_beyond_the_bits_of_the_table_is_refused(table: str, value: int, tmp_path: Path) -> None:
    getattr(die := made(CORRECTED), table)[0, 3] = value
    save_die(tmp_path / "die.npz", die)
    with pytest.raises(CorruptFile, match=f"{table} .*{value}.*, expected "):
        load_die(tmp_path / "die.npz", CORRECTED)


@pytest.mark.fast
def test_a_corrected_die_is_refused_where_nothing_corrects(tmp_path: Path) -> None:
    die = changed(made(CORRECTED), config_digest=replace(CORRECTED, column_correction=False).digest())
    die.gain[0, 0] = 255
    save_die(tmp_path / "die.npz", die)
    with pytest.raises(CorruptFile, match=r"gain 255 \.\. 256, expected 256 \.\. 256"):
        load_die(tmp_path / "die.npz", replace(CORRECTED, column_correction=False))


def made(config: Config) -> Die:
    """An ideal die of empty cells."""
    return ideal_die(config, np.zeros((1, config.rows, config.bit_lines), dtype=np.uint8))


@pytest.mark.rtl
@settings(max_examples=3)
@given(seed=seeds)
def test_cosimulation_loads_the_die_and_agrees(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chain = random_chain(CORRECTED, rng, macros=2)
    flow = stimulus(CORRECTED, chain, rng, vectors=3)
    die = wild_die(CORRECTED, rng, macros=2)
    checked = check(job_of(CORRECTED, die, chain, flow), icarus.build(CORRECTED))
    assert len(checked.rtl) == len(chain.rounds)


@pytest.mark.rtl
@pytest.mark.parametrize("case", cases("column_correct"), ids=str)
def test_verilog_matches_golden(case: Case, tmp_path: Path) -> None:
    run_case(case, tmp_path)
