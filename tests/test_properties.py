# SPDX-License-Identifier: Apache-2.0
"""Laws of the golden model over random macros and dies: what may change without changing the result, and how."""

from dataclasses import replace as changed

import numpy as np
import pytest
from builders import (
    Ints,
    Rng,
    chain_of,
    configs,
    lossless,
    one_round,
    programmed,
    random_chain,
    random_weights,
    seeds,
    stimulus,
    wild_die,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twinor.config import ENCODINGS, Config, replace
from twinor.die import Die
from twinor.golden import adc_frontend, cim_macro, sar_adc
from twinor.golden.requantize import requantize
from twinor.rounds import Chain, End, Round, Start

pytestmark = pytest.mark.fast

FEW = settings(max_examples=12)


def run(
    config: Config, die: Die, chain: Chain, *inputs: Ints, psums: Ints | None = None, residuals: Ints | None = None
) -> Ints:
    """What leaves the macro."""
    return cim_macro.outputs(cim_macro.run_chain(config, die, chain, list(inputs), psums, residuals))


def exact(config: Config, weights: Ints, x: Ints) -> Ints:
    """Accumulators of a whole macro with these weights on an ideal die at steps of 1."""
    return run(config, programmed(config, weights), chain_of(config, one_round(config)), x)


def activations(config: Config, rng: Rng, *, vectors: int = 8) -> Ints:
    """Codes over the whole range, for every row."""
    return rng.integers(0, 1 << config.input_bits, (vectors, config.rows))


def random_round(config: Config, rng: Rng, **fields: object) -> Round:
    """A whole round, raw, with the larger steps: a column that saturates shows no difference."""
    steps = rng.choice(config.steps[-3:], (config.x_slices, config.w_slices)).tolist()
    return one_round(config, steps=tuple(map(tuple, steps)), **fields)


# Converter //


def random_table(config: Config, rng: Rng, *, monotone: bool) -> Ints:
    """Thresholds around the codes, int32[n_adcs, 2**adc_bits], some of them equal."""
    unit = 1 << 2 * config.frac_bits
    levels = rng.integers(2 * config.code_min - 2, 2 * config.code_max + 3, (config.n_adcs, 1 << config.adc_bits))
    table = (levels * (unit // 2)).astype(np.int32)
    return np.sort(table, axis=1) if monotone else table


def quantities(config: Config, rng: Rng, table: Ints, step: int) -> Ints:
    """At, beside and between thresholds and at both ends, in rising order, int64[many, n_adcs]."""
    at = table.T.astype(np.int64) * step
    top = np.full((1, config.n_adcs), 1 << 40)
    return np.sort(np.concatenate([at, at - 1, at + rng.integers(-999, 999, at.shape), top, -top]), axis=0)


@FEW
@given(configs(), seeds)
def test_a_code_never_falls_as_the_quantity_rises_whatever_the_monotone_table(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = random_table(config, rng, monotone=True)
    for step in config.steps:
        codes = sar_adc.convert(config, quantities(config, rng, table, step), table, step=step)[0].astype(int)
        assert (np.diff(codes, axis=0) >= 0).all()


@FEW
@given(configs(), seeds)
def test_codes_stay_in_range_and_reach_both_ends_whatever_the_table(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = random_table(config, rng, monotone=False)
    codes = sar_adc.convert(config, quantities(config, rng, table, 3), table, step=3)[0]
    assert (codes[0] == config.code_min).all() and codes.min() == config.code_min
    assert (codes[-1] == config.code_max).all() and codes.max() == config.code_max


@FEW
@given(configs(), seeds)
def test_a_step_scales_the_quantity_and_nothing_else(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = random_table(config, rng, monotone=False)
    q = quantities(config, rng, table, 1)[1:-1]
    once = sar_adc.convert(config, q, table, step=1)
    for step in config.steps:
        part = rng.integers(0, step, q.shape)  # less than a step changes no comparison
        for a, b in zip(once, sar_adc.convert(config, q * step + part, table, step=step), strict=True):
            assert np.array_equal(a, b)


# Requantization //


@given(seeds, st.integers(1, 31))
def test_outputs_never_fall_as_the_accumulator_rises_unless_mult_is_negative(seed: int, shift: int) -> None:
    rng = np.random.default_rng(seed)
    mult = np.array([*rng.integers(-(2**15), 2**15, 5), 1, 0, -1])
    add = rng.integers(-(2**31), 2**31, mult.size)
    acc = np.sort(rng.integers(-(1 << 26), 1 << 26, (60, mult.size)) >> rng.integers(0, 20), axis=0)
    lo, hi = np.sort(rng.integers(-(1 << 14), 1 << 14, 2)).tolist()
    rise = np.diff(requantize(acc, mult, add, shift=shift, lo=lo, hi=hi), axis=0)
    assert (rise[:, mult >= 0] >= 0).all() and (rise[:, mult <= 0] <= 0).all()


@given(seeds, st.integers(1, 31), st.integers(-(1 << 20), 1 << 20))
def test_a_whole_output_more_in_add_is_an_output_more(seed: int, shift: int, more: int) -> None:
    rng = np.random.default_rng(seed)
    acc, wide = rng.integers(-(1 << 26), 1 << 26, (20, 6)), 1 << 62
    mult, add = rng.integers(-(2**15), 2**15, 6), rng.integers(-(2**31), 2**31, 6)
    y = requantize(acc, mult, add, shift=shift, lo=-wide, hi=wide)
    assert np.array_equal(requantize(acc, mult, add + (more << shift), shift=shift, lo=-wide, hi=wide), y + more)
    lo, hi = np.sort(rng.choice(y.reshape(-1), 2)).tolist()
    clipped = requantize(acc, mult, add, shift=shift, lo=lo, hi=hi)
    assert np.array_equal(clipped, np.minimum(np.maximum(y, lo), hi))


# Linearity, where nothing is lost //


@FEW
@given(configs(), seeds)
def test_a_lossless_macro_is_linear_in_its_inputs_and_in_its_weights(config: Config, seed: int) -> None:
    config, rng = lossless(config), np.random.default_rng(seed)
    weights = random_weights(config, rng, config.rows, config.out_cols)
    x = activations(config, rng)
    part = rng.integers(0, x, endpoint=True)
    assert np.array_equal(exact(config, weights, x), exact(config, weights, part) + exact(config, weights, x - part))
    times = int(rng.integers(1, 1 << config.input_bits))
    assert np.array_equal(exact(config, weights, x // times * times), times * exact(config, weights, x // times))
    half = weights // 2
    assert np.array_equal(exact(config, weights, x), exact(config, half, x) + exact(config, weights - half, x))


# Encodings and slices //


@FEW
@given(configs(), seeds)
def test_every_encoding_and_slicing_gives_the_same_exact_integers(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, x = rng.integers(-7, 8, (config.rows, config.out_cols)), rng.integers(0, 16, (3, config.rows))
    seen = []
    for encoding in ENCODINGS:
        cells = 1 if encoding == "twos_complement" else int(rng.integers(1, 4))
        keys = {"weight_encoding": encoding, "cell_bits": cells, "dac_bits": int(rng.integers(1, 5))}
        keys |= {"slice_accumulation": "digital", "input_mode": "voltage", "ref_cols": False}
        macro = lossless(replace(config, weight_bits=4, input_bits=4, **keys))
        seen.append(exact(macro, weights, x).tolist())
    assert seen[0] == seen[1] == seen[2]


@FEW
@given(configs(), seeds)
def test_input_slices_run_alone_recombine_to_the_whole_on_any_die(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = replace(config, slice_accumulation="digital")
    die, rnd, x = wild_die(config, rng), random_round(config, rng), activations(config, rng)
    total = np.zeros((len(x), config.out_cols), dtype=np.int64)
    for i, steps in enumerate(rnd.steps):
        alone = (x >> i * config.dac_bits) & ((1 << config.dac_bits) - 1)
        total += run(config, die, chain_of(config, changed(rnd, steps=(steps,))), alone) << i * config.dac_bits
    assert np.array_equal(run(config, die, chain_of(config, rnd), x), total)


@FEW
@given(configs(), seeds)
def test_signed_activations_are_the_difference_of_their_two_phases_on_any_die(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    die, rnd = wild_die(config, rng), random_round(config, rng)
    x = activations(config, rng) - (1 << config.input_bits - 1)
    phases = [run(config, die, chain_of(config, rnd), np.maximum(s * x, 0)) for s in (1, -1)]
    assert np.array_equal(run(config, die, chain_of(config, changed(rnd, signed=True)), x), phases[0] - phases[1])


@FEW
@given(configs(), seeds)
def test_a_bias_row_is_a_row_whose_activation_never_changes_on_any_die(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = replace(config, rows=config.rows + config.in_lanes)  # a row to spare
    die, count, code = (
        wild_die(config, rng),
        int(rng.integers(1, config.rows)),
        int(rng.integers(1 << config.input_bits)),
    )
    x = activations(config, rng)
    x[:, config.rows - count :] = code
    streamed = one_round(config)
    fixed = changed(streamed, row_count=config.rows - count, bias_rows=count, bias_code=code)
    got = run(config, die, chain_of(config, fixed), x[:, : config.rows - count])
    assert np.array_equal(got, run(config, die, chain_of(config, streamed), x))


@FEW
@given(configs(), seeds)
def test_residual_codes_enter_as_their_products_do_as_partial_sums(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = replace(config, psum_bits=24)
    die, x, top = wild_die(config, rng), activations(config, rng), 1 << config.input_bits
    codes, mult = rng.integers(-top, top, (len(x), config.out_cols)), rng.integers(-(2**15), 2**15, config.out_cols)
    rnd = one_round(config)
    added = chain_of(config, changed(rnd, residual=True), residual_mult=mult.astype(np.int32))
    got = run(config, die, added, x, residuals=codes)
    begun = chain_of(config, changed(rnd, start=Start.PSUM))
    assert np.array_equal(got, run(config, die, begun, x, psums=codes * mult))


@FEW
@given(configs(), seeds)
def test_where_nothing_is_lost_slices_may_come_together_before_or_after_the_adc(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shared = {"slice_accumulation": "analog", "step": "calibrated", "adc_bits": 12, "frac_bits": 8, "psum_bits": 24}
    config = replace(config, **({"input_bits": 2, "dac_bits": 1, "max_rounds": 2, "input_mode": "voltage"} | shared))
    assume(config.held_max <= config.code_max)
    x = activations(config, rng) - 2 * int(rng.integers(2))
    rnd, weights = (
        one_round(config, signed=bool((x < 0).any())),
        random_weights(config, rng, config.rows, config.out_cols),
    )
    assert np.array_equal(run(config, programmed(config, weights), chain_of(config, rnd), x), x @ weights)


@FEW
@given(configs(weight_encoding="offset", ref_cols=True), seeds)
def test_reference_columns_take_back_what_every_cell_has_in_common(config: Config, seed: int) -> None:
    """A leak of one level in every cell, references too: the sum of the word lines would not know of it."""
    config, rng = lossless(replace(config, adc_bits=8, cell_bits=min(config.cell_bits, 3))), np.random.default_rng(seed)
    assume(2 * config.held_max <= config.code_max)
    weights, x = random_weights(config, rng, config.rows, config.out_cols), activations(config, rng)
    die = programmed(config, weights)
    leaky = changed(die, strength=die.strength + (1 << config.frac_bits))
    assert np.array_equal(run(config, leaky, chain_of(config, one_round(config)), x), x @ weights)


# Order and place on any die //


@settings(max_examples=25)
@given(configs(), seeds)
def test_inputs_may_come_in_any_order_if_their_cells_move_along(config: Config, seed: int) -> None:
    """On any die within a row group, where the same currents add up; where nothing is lost, across all rows."""
    rng = np.random.default_rng(seed)
    config = replace(config, active_rows=max(config.active_rows, min(config.rows, 6)))  # groups that can be shuffled
    die, x, chain = wild_die(config, rng), activations(config, rng), chain_of(config, random_round(config, rng))
    groups = np.split(np.arange(config.rows), range(config.active_rows, config.rows, config.active_rows))
    order = np.concatenate([rng.permutation(rows) for rows in groups])
    moved = changed(die, strength=die.strength[:, order], drive=die.drive[:, order])
    before, after = (cim_macro.run_chain(config, d, chain, [i])[0] for d, i in ((die, x), (moved, x[:, order])))
    assert np.array_equal(before.trials, after.trials) and np.array_equal(before.outputs, after.outputs)
    config, order = lossless(config), rng.permutation(config.rows)
    weights = random_weights(config, rng, config.rows, config.out_cols)
    assert np.array_equal(exact(config, weights, x), exact(config, weights[order], x[:, order]))


@FEW
@given(configs(), seeds)
def test_columns_may_stand_anywhere_if_their_tables_move_along(config: Config, seed: int) -> None:
    """Multiplexer positions in any order, and ADCs in any order with their thresholds: outputs change places alone."""
    rng = np.random.default_rng(seed)
    die, x = wild_die(config, rng), activations(config, rng)
    top = 1 << config.acc_bits - 1
    rnd = random_round(config, rng, end=End.REQUANT, shift=int(rng.integers(1, 12)), lo=-top, hi=top - 1)
    mult, add = rng.integers(-99, 99, config.out_cols, np.int32), rng.integers(-9999, 9999, config.out_cols, np.int32)
    positions, ref = rng.permutation(config.cols_per_adc), int(config.ref_cols)  # the reference ADC stays the first
    adcs = np.concatenate([np.arange(ref), ref + rng.permutation(config.n_lanes)])
    source = (positions[:, None] * config.n_adcs + adcs).reshape(-1)  # the column that stands there now
    lines = die.strength.reshape(1, config.rows, config.cols, -1)[:, :, source]
    source = (positions[:, None] * config.n_lanes + adcs[ref:] - ref).reshape(-1)  # the output
    moved = changed(die, strength=lines.reshape(die.strength.shape), threshold=die.threshold[:, adcs])
    before = run(config, die, chain_of(config, rnd, mult=mult, add=add), x)
    after = run(config, moved, chain_of(config, rnd, mult=mult[source], add=add[source]), x)
    assert np.array_equal(after, before[:, source])


@FEW
@given(configs(in_lanes=1, psum_bits=28), seeds)
def test_a_round_may_be_cut_between_row_groups_on_any_die(config: Config, seed: int) -> None:
    """In one chain that keeps its accumulators, and in two chains whose partial sums leave and come back."""
    assume(config.active_rows < config.rows)
    rng = np.random.default_rng(seed)
    die, x, whole = wild_die(config, rng), activations(config, rng), random_round(config, rng)
    cut = int(rng.choice(np.arange(config.active_rows, config.rows, config.active_rows)))
    low, high = changed(whole, row_count=cut), changed(whole, row_base=cut, row_count=config.rows - cut)
    wanted = run(config, die, chain_of(config, whole), x)
    kept = chain_of(config, changed(low, end=End.HOLD), changed(high, start=Start.LAST))
    assert np.array_equal(run(config, die, kept, x[:, :cut], x[:, cut:]), wanted)
    psums = run(config, die, chain_of(config, low), x[:, :cut])
    streamed = chain_of(config, changed(high, start=Start.PSUM))
    assert np.array_equal(run(config, die, streamed, x[:, cut:], psums=psums), wanted)


@FEW
@given(configs(), seeds)
def test_what_a_chain_does_not_use_changes_nothing(config: Config, seed: int) -> None:
    """Cells and drives of other rows and columns, the threshold of trial 0 and of other ADCs, the rest of the table."""
    rng = np.random.default_rng(seed)
    chain, die, top = random_chain(config, rng), wild_die(config, rng), 1 << config.acc_bits - 1
    open_rules = {"shift": int(rng.integers(1, 9)), "lo": -top, "hi": top - 1}  # nothing hides behind a limit
    chain = changed(chain, rounds=tuple(changed(rnd, **open_rules) for rnd in chain.rounds))
    flow = stimulus(config, chain, rng, vectors=2)
    rows, cols = np.zeros(config.rows, dtype=bool), np.zeros(config.cols, dtype=bool)
    for rnd in chain.rounds:
        rows[rnd.row_base : rnd.row_base + rnd.driven_rows] = True
        cols[adc_frontend.converted_columns(config, rnd)] = True
    other = wild_die(config, rng)
    lines = np.repeat(cols, config.bit_lines // config.cols)
    adcs = cols.reshape(-1, config.n_adcs).any(axis=0)
    trials = np.arange(1 << config.adc_bits) > 0
    drive = np.where(rows[:, None], die.drive, other.drive)
    strength = np.where(rows[:, None] & lines, die.strength, other.strength)
    threshold = np.where(adcs[:, None] & trials, die.threshold, ~other.threshold)
    width = max(rnd.col_count for rnd in chain.rounds)
    tables = {
        name: np.where(np.arange(config.out_cols) < width, getattr(chain, name), 7)
        for name in ("mult", "add", "residual_mult")
    }
    mixed = changed(die, strength=strength, drive=drive, threshold=threshold)
    wanted = run(config, die, chain, *flow.inputs, psums=flow.psums, residuals=flow.residuals)
    assert np.array_equal(
        run(config, mixed, changed(chain, **tables), *flow.inputs, psums=flow.psums, residuals=flow.residuals), wanted
    )
