# SPDX-License-Identifier: Apache-2.0
"""The golden macro against the design page, told again in plain Python integers, and against exact dot products."""

import subprocess
import sys
from fractions import Fraction
from itertools import product
from math import floor

import numpy as np
import pytest
from builders import (
    Ints,
    Stimulus,
    chain_of,
    configs,
    lossless,
    one_round,
    programmed,
    random_chain,
    random_levels,
    random_weights,
    seeds,
    stimulus,
    wild_die,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from twinor.config import Config, replace
from twinor.die import Die, ideal_die, sample_die
from twinor.golden import cim_macro
from twinor.rounds import Chain, End, Round, Start, converts
from twinor.trace import RoundTrace

from tb.common.configs import EXACT, NOR40, RAGGED, SLICED, TINY, TWOS, ids

pytestmark = pytest.mark.fast


# The design page in plain Python //


def plain_column(config: Config, c: int) -> tuple[int, int]:
    """Column of the array that holds an output column, and the reference of its position, which stands before it."""
    position, lane = divmod(c, config.n_adcs - 1 if config.ref_cols else config.n_adcs)
    return position * config.n_adcs + lane + (1 if config.ref_cols else 0), position * config.n_adcs


def plain_quantity(config: Config, die: Die, m: int, words: dict[int, int], column: int, j: int) -> int:
    """Exact sum of strength times drive over the driven word lines, the pair subtracted."""
    lines = config.lines_per_cell
    first = (column * config.w_slices + j) * lines
    totals = [0, 0]
    for row, word in words.items():
        for line in range(lines):
            totals[line] += int(die.strength[m, row, first + line]) * int(die.drive[m, row, word])
    return totals[0] - totals[1]


def plain_code(config: Config, die: Die, m: int, q: int, column: int, step: int) -> int:
    """#{c : q >= T[c]} for a monotone table, less 2**(B-1) if signed."""
    table = die.threshold[m, column % config.n_adcs].tolist()[1:]
    return sum(q >= t * step for t in table) - (2 ** (config.adc_bits - 1) if config.bipolar else 0)


def plain_round(config: Config, die: Die, m: int, rnd: Round, x: list[int], acc: list[int]) -> list[int]:
    """Acc + sum over g, s, i, j of s * sign_j * 2**(i*dac_bits + j*cell_bits) * step * code, offsets subtracted."""
    acc = list(acc)
    rows = rnd.row_count + rnd.bias_rows
    for base, sign in product(range(0, rows, config.active_rows), [1, -1] if rnd.signed else [1]):
        driven = [max(sign * value, 0) for value in x] + [rnd.bias_code if sign > 0 else 0] * rnd.bias_rows
        group = range(base, min(base + config.active_rows, rows))
        slices = [
            {rnd.row_base + k: driven[k] // 2 ** (i * config.dac_bits) % 2**config.dac_bits for k in group}
            for i in range(len(rnd.steps))
        ]
        # What one conversion sees: (weight of its code, steps, [(weight of a slice, word-line codes)])
        weighted = [(2 ** (i * config.dac_bits), words) for i, words in enumerate(slices)]
        seen = [(weight, rnd.steps[i], [(1, words)]) for i, (weight, words) in enumerate(weighted)]
        if config.slice_accumulation == "analog":
            seen = [(1, rnd.steps[-1], weighted)]
        for (weight, steps, parts), c in product(seen, range(rnd.col_count)):
            for j, step in enumerate(steps):
                column, reference = plain_column(config, rnd.col_base + c)
                code = 0
                for at, times in [(column, 1)] + [(reference, -1)] * config.ref_cols:
                    q = sum(part * plain_quantity(config, die, m, words, at, j) for part, words in parts)
                    code += times * plain_code(config, die, m, q, at, step)
                negative = config.weight_encoding == "twos_complement" and j == config.w_slices - 1
                acc[c] += sign * weight * 2 ** (j * config.cell_bits) * step * (-code if negative else code)
            if config.weight_encoding == "offset" and not config.ref_cols:
                total = sum(part * sum(words.values()) for part, words in parts)
                acc[c] -= sign * 2 ** (config.weight_bits - 1) * weight * total
    return acc


def plain_chain(config: Config, die: Die, chain: Chain, flow: Stimulus, vector: int) -> list[list[int]]:
    """What leaves each round for one vector."""
    psums = [] if flow.psums is None else flow.psums[vector].tolist()
    residuals = [] if flow.residuals is None else flow.residuals[vector].tolist()
    acc: list[int] = []
    leaving: list[list[int]] = []
    for rnd, x in zip(chain.rounds, flow.inputs, strict=True):
        if rnd.start is Start.ZERO:
            acc = [0] * rnd.col_count
        elif rnd.start is Start.PSUM:
            acc, psums = psums[: rnd.col_count], psums[rnd.col_count :]
        if rnd.residual:
            codes, residuals = residuals[: rnd.col_count], residuals[rnd.col_count :]
            mult = chain.residual_table.tolist()
            acc = [a + code * mult[c] for c, (a, code) in enumerate(zip(acc, codes, strict=True))]
        acc = plain_round(config, die, chain.macro, rnd, x[vector].tolist(), acc)
        if rnd.end is End.REQUANT:
            products = [a * int(chain.mult[c]) + int(chain.add[c]) for c, a in enumerate(acc)]
            leaving.append([min(max(floor(Fraction(p, 2**rnd.shift)), rnd.lo), rnd.hi) for p in products])
        else:
            leaving.append(acc if rnd.end is End.RAW else [])
    return leaving


@settings(max_examples=80)
@given(configs(), seeds, st.booleans())
def test_a_chain_does_what_the_design_page_says(config: Config, seed: int, varied: bool) -> None:
    rng = np.random.default_rng(seed)
    levels = random_levels(config, rng, macros=2)
    die = sample_die(replace(config, cell_sigma=0.1), levels, seed=seed) if varied else ideal_die(config, levels)
    if varied:
        die.threshold.sort(axis=2)  # where the count defines the code; else the path does
    chain = random_chain(config, rng, macros=2)
    flow = stimulus(config, chain, rng, vectors=2)
    traces = cim_macro.run_chain(config, die, chain, *flow.streams)
    for vector in range(2):
        assert [t.outputs[vector].tolist() for t in traces] == plain_chain(config, die, chain, flow, vector)


@settings(max_examples=20)
@given(configs(), seeds)
def test_an_ideal_code_is_the_quantity_over_the_step_rounded_half_up_and_clipped(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = random_weights(config, rng, config.rows, config.out_cols)
    chain = random_chain(config, rng)
    flow = stimulus(config, chain, rng, vectors=3)
    die = programmed(config, weights)
    unit = 4**config.frac_bits
    for trace in cim_macro.run_chain(config, die, chain, *flow.streams):
        outside = 0
        for at, p in enumerate(trace.passes):
            step = trace.rnd.steps[p.x_slice][p.w_slice]
            if not converts(config, trace.rnd, p):
                assert not trace.codes[:, at].any() and not trace.trials[:, at].any()
                continue
            first = at - p.x_slice if config.slice_accumulation == "analog" else at
            for v in range(3):
                words = [dict(enumerate(trace.word_lines[v, n].tolist())) for n in range(first, at + 1)]
                columns = [plain_column(config, trace.rnd.col_base + c) for c in range(trace.rnd.col_count)]
                references = sorted({reference for _, reference in columns}) if config.ref_cols else []
                places = [column for column, _ in columns] + references
                for column, code in zip(places, trace.codes[v, at].tolist(), strict=True):
                    parts = [plain_quantity(config, die, 0, w, column, p.w_slice) for w in words]
                    q = sum(part * 2 ** (n * config.dac_bits) for n, part in enumerate(parts))
                    ideal = floor(Fraction(q, unit * step) + Fraction(1, 2))
                    assert code == min(max(ideal, config.code_min), config.code_max)
                    outside += code != ideal
        assert trace.clipped == outside


# Lossless macros compute exact dot products //


def assert_exact(config: Config, rng: np.random.Generator, *, vectors: int) -> None:
    weights = random_weights(config, rng, config.rows, config.out_cols)
    chain = chain_of(config, one_round(config))
    x = rng.integers(0, 1 << config.input_bits, (vectors, config.rows))
    x[0], x[1] = (1 << config.input_bits) - 1, 0
    trace = cim_macro.run_chain(config, programmed(config, weights), chain, [x])[0]
    assert np.array_equal(trace.partial_sums[:, -1], x @ weights)
    assert np.array_equal(trace.outputs, x @ weights) and trace.clipped == 0


@pytest.mark.parametrize("low", [True, False], ids=["all -8", "all 7"])
def test_the_exact_preset_holds_the_largest_column_of_all(low: bool) -> None:
    weights = np.full((256, 64), EXACT.weight_min if low else EXACT.weight_max)
    chain = chain_of(EXACT, one_round(EXACT))
    trace = cim_macro.run_chain(EXACT, programmed(EXACT, weights), chain, [np.full((1, 256), 15)])[0]
    assert (trace.outputs == 256 * 15 * (-8 if low else 7)).all()
    assert trace.codes.max() == (0 if low else 240)


def test_the_exact_preset_equals_the_dot_product(rng: np.random.Generator) -> None:
    assert_exact(EXACT, rng, vectors=12)


@given(configs(), seeds)
def test_any_lossless_macro_equals_the_dot_product(config: Config, seed: int) -> None:
    assert_exact(lossless(config), np.random.default_rng(seed), vectors=4)


@pytest.mark.parametrize("config", [TINY, SLICED, TWOS, RAGGED], ids=ids)
def test_every_encoding_is_exact_when_its_adc_is_lossless(config: Config, rng: np.random.Generator) -> None:
    assert_exact(lossless(config), rng, vectors=20)


@pytest.mark.parametrize("config", [NOR40, TINY, SLICED], ids=ids)
def test_the_full_steps_never_clip(config: Config, rng: np.random.Generator) -> None:
    """At the largest step only rounding is lost: at most half a step per conversion."""
    weights = np.full((config.rows, config.out_cols), config.weight_max)
    weights[:, ::2] = config.weight_min
    steps = ((config.steps[-1],) * config.w_slices,) * config.x_slices
    x = np.full((1, config.rows), (1 << config.input_bits) - 1)
    chain = chain_of(config, one_round(config, steps=steps))
    trace = cim_macro.run_chain(config, programmed(config, weights), chain, [x])[0]
    assert trace.clipped == 0
    places = product(range(config.x_slices), range(config.w_slices))
    slices = sum(2 ** (i * config.dac_bits + j * config.cell_bits) for i, j in places)
    groups = -(-config.rows // config.active_rows)
    assert np.abs(trace.outputs - x @ weights).max() <= groups * slices * config.steps[-1] / 2


# Widths //


def extreme_die(config: Config, on: list[bool]) -> Die:
    """All codes are the largest where the weight slice is on and the smallest where it is off."""
    levels = np.zeros((1, config.rows, config.cols, config.w_slices, config.lines_per_cell), dtype=np.uint8)
    levels[..., on, 0] = 1
    if config.bipolar:
        levels[..., np.logical_not(on), 1] = 1
    die = ideal_die(config, levels.reshape(1, config.rows, config.bit_lines))
    die.threshold[...] = 1  # any current is enough, and none is not
    return die


@settings(max_examples=20)
@given(configs(), st.booleans())
def test_no_chain_overflows_the_accumulators(config: Config, signed: bool) -> None:
    widest = ((config.steps[-1],) * config.w_slices,) * config.x_slices
    more = {"steps": widest, "signed": signed}
    first = one_round(config, start=Start.PSUM, residual=True, **more)
    later = one_round(config, start=Start.LAST, **more)
    top, mult = 1 << config.input_bits, np.full(config.out_cols, (1 << 15) - 1, dtype=np.int32)
    chain = chain_of(config, first, *[later] * (config.max_rounds - 1), residual_mult=mult)
    x = np.full((1, config.rows), top - 1)
    if signed:  # in phase 0 no current flows and codes are the lowest; phase 1 subtracts the highest where cells are on
        x = np.resize([-(top // 2), -(top // 2 - 1)], (1, config.rows))
    limit = 1 << (config.acc_bits - 1)
    psum = 1 << (config.psum_bits - 1)
    seen: list[int] = []
    patterns = [[True] * config.w_slices, [False] * config.w_slices]
    patterns += [[*pattern[:-1], not pattern[-1]] for pattern in patterns]  # the last slice may count negative
    for on in patterns:
        for start in (-psum, psum - 1):
            psums = np.full((1, config.out_cols), start)
            residuals = np.full((1, config.out_cols), -top if start < 0 else top - 1)
            inputs = [x] * len(chain.rounds)
            traces = cim_macro.run_chain(config, extreme_die(config, on), chain, inputs, psums, residuals)
            seen += [int(f(t.partial_sums)) for t in traces for f in (np.min, np.max)]
    assert -limit <= min(seen) and max(seen) < limit
    if config.bipolar and not signed:  # half the bound is reached, that of one phase
        assert min(seen) == -psum - top * mult[0] - config.max_rounds * config.round_bound // 2


# Traces //


def run_random(config: Config, seed: int, *, vectors: int) -> tuple[Chain, Stimulus, Die, list[RoundTrace]]:
    rng = np.random.default_rng(seed)
    chain, die = random_chain(config, rng), wild_die(config, rng)
    flow = stimulus(config, chain, rng, vectors=vectors)
    return chain, flow, die, cim_macro.run_chain(config, die, chain, *flow.streams)


@given(configs(), seeds, st.integers(1, 3))
def test_every_seam_of_a_trace_has_its_shape_and_type(config: Config, seed: int, vectors: int) -> None:
    chain, _, _, traces = run_random(config, seed, vectors=vectors)
    assert [t.rnd for t in traces] == list(chain.rounds)
    for t in traces:
        v, p, c = vectors, len(t.passes), t.rnd.col_count
        out = c if t.rnd.end is not End.HOLD else 0
        a = c + (-(-c // (config.n_adcs - 1)) if config.ref_cols else 0)  # a reference for each position
        expected = {
            "word_lines": ((v, p, config.rows), np.uint8),
            "trials": ((v, p, a, config.trials), np.uint16),
            "codes": ((v, p, a), np.int16),
            "partial_sums": ((v, p, c), np.int64),
            "outputs": ((v, out), np.int64),
            "last_flags": ((v, out), np.uint8),
            "hold_cycles": ((v, p), np.int64),
            "code_cycles": ((v, p, a), np.int64),
            "out_cycles": ((v, out), np.int64),
        }
        got = {name: (getattr(t, name).shape, getattr(t, name).dtype) for name in expected}
        assert got == {name: (shape, np.dtype(dtype)) for name, (shape, dtype) in expected.items()}
        assert t.last_flags.sum() == (v if t is traces[-1] else 0) and (
            t is not traces[-1] or t.last_flags[:, -1].all()
        )


@given(configs(), seeds)
def test_trials_are_the_path_to_the_code(config: Config, seed: int) -> None:
    """Each trial keeps or drops the bit before it, and the code ends on the last one or just below it."""
    for t in run_random(config, seed, vectors=2)[3]:
        trials = t.trials.astype(np.int64)
        converted = [n for n, p in enumerate(t.passes) if converts(config, t.rnd, p)]
        trials, codes = trials[:, converted], t.codes[:, converted]
        top = config.adc_bits - 1
        assert (trials[..., 0] == 1 << top).all()
        result = codes.astype(np.int64) - config.code_min
        for n in range(config.adc_bits):
            bit = top - n
            assert ((trials[..., n] >> bit) & 1 == 1).all() and (trials[..., n] & ((1 << bit) - 1) == 0).all()
            assert np.array_equal(trials[..., n] >> bit + 1, result >> bit + 1)


@settings(max_examples=20)
@given(configs(), seeds)
def test_vectors_do_not_see_each_other(config: Config, seed: int) -> None:
    chain, flow, die, traces = run_random(config, seed, vectors=3)
    for v in range(3):
        psums, residuals = (None if a is None else a[v : v + 1] for a in (flow.psums, flow.residuals))
        alone = cim_macro.run_chain(config, die, chain, [x[v : v + 1] for x in flow.inputs], psums, residuals)
        for a, t in zip(alone, traces, strict=True):
            for seam in ("word_lines", "trials", "codes", "partial_sums", "outputs"):
                assert np.array_equal(getattr(a, seam)[0], getattr(t, seam)[v])


@settings(max_examples=20)
@given(configs(), seeds)
def test_running_changes_nothing_it_was_given(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    chain, die = random_chain(config, rng), wild_die(config, rng)
    flow = stimulus(config, chain, rng, vectors=2)
    given_arrays: list[Ints] = [*flow.inputs, die.strength, die.drive, die.threshold, chain.mult, chain.add]
    given_arrays += [array for array in (flow.psums, flow.residuals, chain.residual_mult) if array is not None]
    for array in given_arrays:
        array.setflags(write=False)
    first = cim_macro.outputs(cim_macro.run_chain(config, die, chain, *flow.streams))
    again = cim_macro.outputs(cim_macro.run_chain(config, die, chain, *flow.streams))
    assert np.array_equal(first, again) and first.dtype == np.int64


def test_clipped_conversions_are_counted() -> None:
    weights = np.full((8, 4), 3)
    weights[:, 0] = 0
    chain = chain_of(TINY, one_round(TINY))
    x = np.array([[3, 3, 1, 0, 3, 3, 3, 3]])
    # two groups and two slices of three columns: 9 and 6, then 12 and 12 against codes to 7
    assert cim_macro.run_chain(TINY, programmed(TINY, weights), chain, [x])[0].clipped == 3 * 3


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.uint64])
def test_inputs_may_come_in_any_integer_type(dtype: type[np.integer]) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 16, (3, 256))
    chain, die = chain_of(NOR40, one_round(NOR40)), programmed(NOR40, random_weights(NOR40, rng, 256, 64))
    wide = cim_macro.outputs(cim_macro.run_chain(NOR40, die, chain, [x]))
    assert np.array_equal(cim_macro.outputs(cim_macro.run_chain(NOR40, die, chain, [x.astype(dtype)])), wide)


def test_no_vectors_give_no_outputs() -> None:
    chain = chain_of(TINY, one_round(TINY))
    trace = cim_macro.run_chain(
        TINY, programmed(TINY, np.zeros((8, 4), dtype=int)), chain, [np.zeros((0, 8), dtype=int)]
    )
    assert cim_macro.outputs(trace).shape == (0, 4)


# What the core imports //

NUMPY_ALONE = """
import sys
from importlib.abc import MetaPathFinder

BLOCKED = {"torch", "cocotb", "sklearn", "typer", "rich", "scipy", "dask", "matplotlib", "hypothesis", "pytest"}

class Refuse(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"the core imports {name}")

sys.meta_path.insert(0, Refuse())
import numpy as np
import twinor.die, twinor.golden.cim_macro, twinor.place, twinor.rounds, twinor.run, twinor.store, twinor.trace
import twinor.cosim.chain, twinor.cosim.files, twinor.params
from twinor.config import load
from twinor.network import IntegerNetwork, Linear, Requant
rule = Requant(mult=np.ones(3, np.int16), add=np.zeros(3, np.int32), shift=1, lo=0, hi=3)
layer = Linear(name="fc", weight=np.ones((3, 9), np.int8), requant=rule)
net = IntegerNetwork(input_shape=(9, 1, 1), input_bits=2, layers=(twinor.network.Flatten(name="flatten"), layer))
placement = twinor.place.place(load("tiny"), net)
die = twinor.die.sample_die(load("tiny"), placement.levels, seed=1)
engine = twinor.run.chain_runner(load("tiny"), die, backend="golden")
print(twinor.run.forward(net, placement, np.ones((2, 9, 1, 1), np.uint8), engine).shape)
print(sorted(m for m in sys.modules if m.partition(".")[0] in BLOCKED))
"""


def test_the_core_imports_numpy_alone() -> None:
    done = subprocess.run([sys.executable, "-c", NUMPY_ALONE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "(2, 3)\n[]\n"
