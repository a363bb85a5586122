# SPDX-License-Identifier: Apache-2.0
"""Program-verify controller: laws of the golden definition, and the bench of the Verilog."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twinor.cells import blank, settings_of, tables, verify_step
from twinor.config import Config, load
from twinor.die import ideal_die, sample_die
from twinor.golden.flash_array import Cells
from twinor.golden.prog_ctrl import ERASE_FAILED, GOOD, OVER, UNDER, Programmed, groups, program

from tb.common.cases import Case, cases, run_case
from tb.common.configs import EXACT, NOR40, OFFSET, RAGGED, SLICED, TINY, TWOS, ids

ROWS = range(2, 6)


def levels_of(config: Config, seed: int = 1) -> np.ndarray:
    """Random target levels, uint8[rows, bit_lines]."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 1 << config.cell_bits, (config.rows, config.bit_lines)).astype(np.uint8)


def operate(config: Config, cells: Cells, *, levels: Any = None, seed: int | None = None, **options: Any) -> Programmed:
    """One operation on four rows of an ideal die, or of a varied one."""
    levels = levels_of(config) if levels is None else levels
    die = ideal_die(config, levels[None]) if seed is None else sample_die(config, levels[None], seed=seed)
    settings = options.pop("settings", settings_of(config))
    options.setdefault("rows", ROWS)
    return program(config, cells, die.drive[0], die.threshold[0], levels, settings, **options)


# Settings and tables //


@pytest.mark.fast
@pytest.mark.parametrize("config", [TINY, NOR40, EXACT, OFFSET, TWOS, load("nor40_int4_dac4")], ids=ids)
def test_the_verify_step_is_the_finest_that_fits_the_top_level(config: Config) -> None:
    """Half a level above the top is within the codes, and the next finer step has no room for it."""
    step, top = verify_step(config), 2 * (1 << config.cell_bits) - 1  # half levels
    reach = 8 * top * ((1 << config.dac_bits) - 1)  # sixteenths of an array unit
    finer = [m << k for k in range(12) for m in (1, 3) if m << k < step]
    assert reach <= config.code_max * step
    assert all(reach > config.code_max * other for other in finer)


@pytest.mark.fast
def test_hand_computed_strengths_and_moves() -> None:
    """At 36.2 mV an e-fold: 25.1 mV from twice the top to the top; 32 levels double a move."""
    cells = tables(NOR40)
    half = 36.1928 * np.log(2) * 32
    assert cells.strength[0] == 2 * 7 * 64 and abs(int(cells.strength[round(half)]) - 7 * 64) <= 1
    assert np.all(np.diff(cells.strength) <= 0) and cells.strength[-1] == 0
    assert cells.move[0, 32] == 2 * cells.move[0, 0] == 512


@pytest.mark.fast
def test_cells_of_a_macro_do_not_depend_on_other_macros_and_a_seed_repeats_them() -> None:
    one, same, other = (blank(TINY, macro=m, seed=4) for m in (1, 1, 2))
    assert np.array_equal(one.speed, same.speed) and np.array_equal(one.threshold, same.threshold)
    assert not np.array_equal(one.speed, other.speed) and not np.array_equal(one.threshold, other.threshold)


@pytest.mark.fast
@pytest.mark.parametrize("config", [TINY, RAGGED, SLICED, TWOS], ids=ids)
def test_groups_hold_every_cell_once_in_the_order_row_slice_line_position(config: Config) -> None:
    order = groups(config, np.arange(config.bit_lines)[None])[0]
    wanted = [
        ((mux * config.n_adcs + lane) * config.w_slices + j) * config.lines_per_cell + line
        for j in range(config.w_slices)
        for line in range(config.lines_per_cell)
        for mux in range(config.cols_per_adc)
        for lane in range(config.n_adcs)
    ]
    assert order.ravel().tolist() == wanted and sorted(wanted) == list(range(config.bit_lines))


# What an operation comes to //


@pytest.mark.fast
@pytest.mark.parametrize("seed", [None, 3], ids=["ideal", "varied"])
@pytest.mark.parametrize("config", [NOR40, EXACT, load("nor40_int4_dac4")], ids=ids)
def test_every_cell_of_a_plausible_die_reaches_its_window(config: Config, seed: int | None) -> None:
    done = operate(config, blank(config, macro=0, seed=seed), seed=seed)
    levels = levels_of(config)[ROWS.start : ROWS.stop]
    assert not done.passes[-1].status.any() and not done.unerased
    reached = done.cells.strength[ROWS.start : ROWS.stop] / (1 << config.frac_bits)
    assert np.abs(reached - levels).max() < 0.3, (
        "within a quarter of the pitch of two levels, and the converter's error"
    )


@pytest.mark.fast
def test_a_stuck_cell_ends_at_the_limit_and_is_the_only_one_on_the_map() -> None:
    cells = blank(NOR40, macro=0, seed=1)
    erased = operate(NOR40, cells, write=False).cells
    speed = erased.speed.copy()
    row, line = 3, 10  # column 5, plus line: lane 5 of the first group
    speed[row, line] = 0
    levels = levels_of(NOR40)
    levels[row, line] = 2
    done = operate(NOR40, replace(erased, speed=speed), levels=levels, erase=False)
    bad = np.argwhere(done.passes[-1].status != GOOD)
    assert bad.tolist() == [[row - ROWS.start, 0, 5]]
    assert done.passes[-1].status[1, 0, 5] == UNDER
    limits = settings_of(NOR40)
    assert (done.passes[-1].coarse[1, 0], done.passes[-1].fine[1, 0]) == (limits.coarse.pulses, limits.fine.pulses)
    assert done.cells.threshold[row, line] == erased.threshold[row, line]


@pytest.mark.fast
def test_a_cell_that_does_not_erase_is_named_and_counted() -> None:
    cells = blank(NOR40, macro=0, seed=1)
    speed = cells.speed.copy()
    speed[4, 1] = 0  # column 0, minus line: lane 0 of the ninth group
    levels = levels_of(NOR40)
    levels[4, 1] = 7
    done = operate(NOR40, replace(cells, speed=speed), levels=levels)
    assert done.passes[-1].status[2, 8, 0] == ERASE_FAILED and done.unerased == 1
    assert done.erase_pulses == settings_of(NOR40).erase.pulses


@pytest.mark.fast
@pytest.mark.parametrize("retries", [0, 1, 3])
def test_an_over_programmed_cell_is_accepted_or_the_block_is_erased_again(retries: int) -> None:
    """One cell sixteen times as fast as the others misses its window in every pass."""
    cells = blank(NOR40, macro=0, seed=1)
    speed = cells.speed.copy()
    speed[2, 0] = 4096
    levels = levels_of(NOR40)
    levels[2, 0] = 6
    settings = replace(settings_of(NOR40), retries=retries)
    done = operate(NOR40, replace(cells, speed=speed), levels=levels, settings=settings)
    assert len(done.passes) == retries + 1
    assert all(p.status[0, 0, 0] == OVER and (p.status != GOOD).sum() == 1 for p in done.passes)


@pytest.mark.fast
def test_a_cell_that_verified_gets_no_more_pulses() -> None:
    """All targets at the top but one lane at the bottom: the top lanes stay where they verified."""
    levels = np.full((NOR40.rows, NOR40.bit_lines), 7, dtype=np.uint8)
    alone = operate(NOR40, blank(NOR40, macro=0, seed=2), levels=levels)
    levels[:, ::16] = 0  # lane 0 of every plus group
    mixed = operate(NOR40, blank(NOR40, macro=0, seed=2), levels=levels)
    keep = levels == 7
    assert np.array_equal(alone.cells.threshold[keep], mixed.cells.threshold[keep])
    assert mixed.fine_pulses > alone.fine_pulses


@pytest.mark.fast
def test_offsets_of_the_comparators_are_trimmed() -> None:
    """Every threshold five codes up: the same cells, because verify reads are less the trim's code.

    Levels stay below the top, where the coarse limit lies beyond the largest code of one of the two.
    """
    levels, config = np.minimum(levels_of(NOR40), 5), NOR40
    die = ideal_die(config, levels[None])
    shifted = die.threshold[0].copy()
    shifted[:, 1:] += 5 << 2 * config.frac_bits
    args = (config, blank(config, macro=0, seed=1), die.drive[0])
    plain = program(*args, die.threshold[0], levels, settings_of(config), rows=ROWS)
    other = program(*args, shifted, levels, settings_of(config), rows=ROWS)
    assert plain.offset.tolist() == [0] * 8 and other.offset.tolist() == [-5] * 8
    assert np.array_equal(plain.cells.threshold, other.cells.threshold)


@pytest.mark.fast
def test_disturb_reaches_the_other_cells_of_the_row_alone() -> None:
    erased = operate(NOR40, blank(NOR40, macro=0, seed=1), write=False).cells
    cells = replace(erased, tables=replace(erased.tables, disturb=2))
    done = operate(NOR40, cells, erase=False, rows=range(3, 4))
    rose = done.cells.threshold - erased.threshold
    assert not rose[:3].any() and not rose[4:].any()
    plain = operate(NOR40, erased, erase=False, rows=range(3, 4))
    assert done.cells.threshold[3, -1] > erased.threshold[3, -1] and plain.cycles != done.cycles


@pytest.mark.fast
@given(seed=st.integers(0, 2**16))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    """Row after row, without an erase between, is the same as all at once."""
    cells = operate(TINY, blank(TINY, macro=0, seed=seed), write=False).cells
    together = operate(TINY, cells, erase=False, seed=seed, rows=range(2, 5))
    apart, cycles = cells, 0
    for row in (4, 2, 3):
        one = operate(TINY, apart, erase=False, seed=seed, rows=range(row, row + 1))
        apart, cycles = one.cells, cycles + one.cycles
    assert np.array_equal(together.cells.threshold, apart.threshold)
    trims = 2 * (TINY.wl_cycles + TINY.settle_cycles + TINY.conversion_cycles + 1)
    assert cycles == together.cycles + trims


@pytest.mark.rtl
@pytest.mark.parametrize("case", [*cases("prog_ctrl"), *cases("prog_ctrl_passes")], ids=str)
def test_verilog_matches_golden(case: Case, tmp_path: Path) -> None:
    run_case(case, tmp_path)
