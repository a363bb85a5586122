# SPDX-License-Identifier: Apache-2.0
"""`fast` gives golden's integers on any macro, die and chain, and proves that its float products are exact."""

from dataclasses import replace as changed

import numpy as np
import pytest
import torch
from builders import (
    Ints,
    Stimulus,
    chain_of,
    configs,
    one_round,
    random_chain,
    random_levels,
    redundant,
    referenced,
    seeds,
    stimulus,
    wild_die,
)
from hypothesis import given, settings
from twinor import fast
from twinor.config import Config
from twinor.die import Die, ideal_die, sample_die
from twinor.errors import PlacementError
from twinor.golden import cim_macro
from twinor.rounds import Chain, End, Start

from tb.common.configs import EXACT, NOR40, NOR40_REDUNDANT, RAGGED, REDUNDANT, SLICED, TINY, TWOS, ids
from tb.common.dies import noisy_die

pytestmark = pytest.mark.fast


def assert_equal(config: Config, die: Die, chain: Chain, flow: Stimulus) -> None:
    golden = cim_macro.outputs(cim_macro.run_chain(config, die, chain, *flow.streams))
    other = fast.Engine(config, die).run_chain(chain, *flow.streams)
    assert other.dtype == np.int64 and other.shape == golden.shape
    assert np.array_equal(golden, other)


@settings(max_examples=100)
@given(configs() | referenced, seeds)
def test_any_chain_on_any_die_equals_golden(config: Config, seed: int) -> None:
    """Wild dies: thresholds in no order, uneven drives, strengths without a common factor."""
    rng = np.random.default_rng(seed)
    chain = random_chain(config, rng, macros=2)
    assert_equal(config, wild_die(config, rng, macros=2), chain, stimulus(config, chain, rng, vectors=3))


@settings(max_examples=60)
@given(configs() | referenced, seeds)
def test_any_chain_on_any_noisy_die_equals_golden(config: Config, seed: int) -> None:
    """Vectors that begin anywhere, across the end of a trap's state."""
    rng = np.random.default_rng(seed)
    chain, first = random_chain(config, rng, macros=2), int(rng.integers(200))
    die, flow = noisy_die(config, rng, macros=2), stimulus(config, chain, rng, vectors=5)
    golden = cim_macro.run_chain(config, die, chain, *flow.streams, first=first)
    other = fast.Engine(config, die).run_chain(chain, *flow.streams, first=first)
    assert np.array_equal(cim_macro.outputs(golden), other)


@settings(max_examples=20)
@given(configs() | referenced, seeds)
def test_any_chain_on_an_ideal_die_equals_golden(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    chain = random_chain(config, rng)
    assert_equal(config, ideal_die(config, random_levels(config, rng)), chain, stimulus(config, chain, rng, vectors=3))


@settings(max_examples=40)
@given(configs(), seeds)
def test_redundant_searches_with_any_weights_equal_golden(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = redundant(config, rng)
    for die in (wild_die(config, rng), sample_die(config, random_levels(config, rng), seed=seed)):
        chain = random_chain(config, rng)
        assert_equal(config, die, chain, stimulus(config, chain, rng, vectors=3))


def test_a_binary_search_with_other_weights_equals_golden(rng: np.random.Generator) -> None:
    """A monotone table alone does not tell what a code is."""
    die = ideal_die(TINY, random_levels(TINY, rng))
    die.weight[0] = [7, 5, 2, 1]
    chain = chain_of(TINY, one_round(TINY))
    assert_equal(TINY, die, chain, stimulus(TINY, chain, rng, vectors=20))


@pytest.mark.parametrize("config", [TINY, NOR40, EXACT, SLICED, TWOS, RAGGED, REDUNDANT, NOR40_REDUNDANT], ids=ids)
def test_sampled_dies_equal_golden(config: Config, rng: np.random.Generator) -> None:
    die = sample_die(config, random_levels(config, rng, macros=2), seed=4)
    for _ in range(3):
        chain = random_chain(config, rng, macros=2)
        assert_equal(config, die, chain, stimulus(config, chain, rng, vectors=8))


@pytest.mark.parametrize("order", ["any", "monotone"])
def test_ties_at_a_threshold_equal_golden(order: str, rng: np.random.Generator) -> None:
    """Thresholds on the very quantities that occur: one rounding error anywhere would change a code."""
    die = wild_die(TINY, rng)
    chain = chain_of(TINY, one_round(TINY))
    flow = stimulus(TINY, chain, rng, vectors=40)
    engine = fast.Engine(TINY, die)
    rnd = chain.rounds[0]
    seen = [q.numpy() for _, q, _ in engine.held(0, rnd, flow.inputs[0])]
    for adc in range(TINY.n_adcs):
        die.threshold[0, adc, 1:] = rng.choice(np.concatenate(seen)[:, adc :: TINY.n_adcs].reshape(-1), 15)
    if order == "monotone":
        die.threshold[0, :, 1:].sort(axis=1)
    assert fast.Engine(TINY, die).monotone == [order == "monotone"]
    assert_equal(TINY, die, chain, flow)


@pytest.mark.parametrize("odd", [False, True])
def test_evenly_spaced_thresholds_equal_golden(odd: bool, rng: np.random.Generator) -> None:
    """Counted by a division that begins anywhere, ties included; one ADC of another pitch and all are searched."""
    die = wild_die(TINY, rng)
    chain = chain_of(TINY, one_round(TINY))
    flow = stimulus(TINY, chain, rng, vectors=40)
    seen = np.concatenate([q.numpy() for _, q, _ in fast.Engine(TINY, die).held(0, chain.rounds[0], flow.inputs[0])])
    pitch = max(1, int(np.ptp(seen)) // 40)
    for adc in range(TINY.n_adcs):
        own = pitch + (odd and adc == 1)
        middle = np.sort(seen[:, adc :: TINY.n_adcs], axis=None)[len(seen)]
        die.threshold[0, adc, 1:] = middle + own * np.arange(-7, 8)
    assert fast.Engine(TINY, die).pitch == [0 if odd else pitch]
    codes = cim_macro.run_chain(TINY, die, chain, *flow.streams)[0].codes
    assert (codes.min(), codes.max()) == (TINY.code_min, TINY.code_max)
    assert_equal(TINY, die, chain, flow)


def test_word_lines_of_any_gain_equal_golden(rng: np.random.Generator) -> None:
    """Proportional DACs, of which no two are alike; then one that is not proportional."""
    die = sample_die(NOR40, random_levels(NOR40, rng), seed=1)
    codes = np.arange(die.drive.shape[2])
    die.drive[0] = np.arange(3, 3 + NOR40.rows)[:, None] * codes
    chain = chain_of(NOR40, one_round(NOR40))
    assert_equal(NOR40, die, chain, stimulus(NOR40, chain, rng, vectors=4))
    die.drive[0, 2, -1] += 50
    assert len(codes) > 2
    assert_equal(NOR40, die, chain, stimulus(NOR40, chain, rng, vectors=4))


def test_no_vectors_give_no_outputs() -> None:
    die = ideal_die(TINY, np.zeros((1, 8, 8), dtype=np.uint8))
    none = np.zeros((0, 8), dtype=np.int64)
    assert fast.Engine(TINY, die).run_chain(chain_of(TINY, one_round(TINY)), [none]).shape == (0, 4)


# Exact products //


@pytest.mark.parametrize(
    ("bound", "dtype"),
    [(0, torch.float32), (2**24, torch.float32), (2**24 + 1, torch.float64), (2**53, torch.float64)],
)
def test_the_float_type_represents_every_integer_up_to_the_bound(bound: int, dtype: torch.dtype) -> None:
    assert fast.exact_dtype(bound) == dtype
    for integer in (bound, max(bound - 1, 0)):
        assert int(torch.tensor(integer, dtype=torch.int64).to(dtype)) == integer


def test_what_no_float_type_holds_is_refused() -> None:
    with pytest.raises(PlacementError, match=str(2**53 + 1)):
        fast.exact_dtype(2**53 + 1)


def heavy_die(*, strength: int, drive: int) -> Die:
    """A die of TINY with strengths and drives just below the given ones."""
    die = ideal_die(TINY, np.zeros((1, 8, 8), dtype=np.uint8))
    columns = np.arange(8, dtype=np.int32) * 2 + 1
    heavy = np.broadcast_to(strength - columns, (1, 8, 8)).astype(np.int32)
    heavy[:, :, 1::2] = 0  # the minus lines
    drives = np.zeros((1, 8, 2), dtype=np.int32)
    drives[..., 1] = drive - np.array([1, 2, 3, 5, 7, 8, 9, 11])  # odd sums, so that the last bit counts
    return changed(die, strength=heavy, drive=drives)


@pytest.mark.parametrize(
    ("strength", "drive", "dtype"),
    [(1 << 11, 1 << 11, torch.float32), (1 << 14, 1 << 12, torch.float64), (1 << 25, 1 << 25, torch.float64)],
)
def test_products_run_in_a_type_that_holds_their_bound(
    strength: int, drive: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[torch.dtype] = []
    choose = fast.exact_dtype
    monkeypatch.setattr(fast, "exact_dtype", lambda bound: used.append(choose(bound)) or used[-1])
    die = heavy_die(strength=strength, drive=drive)
    rnd = one_round(TINY)
    x = np.full((1, 8), 3, dtype=np.int64)
    for p, q, _ in fast.Engine(TINY, die).held(0, rnd, x):
        rows = slice(4 * p.group, 4 * p.group + 4)
        drives = die.drive[0, rows, 1].astype(object)  # Python integers: no width at all
        cells = (die.strength[0, rows, 0::2].astype(object) - die.strength[0, rows, 1::2]) * drives[:, None]
        expected = cells.sum(axis=0).tolist()
        assert q[0].tolist() == expected
        if dtype is torch.float64:  # the narrow type would have been wrong
            assert [int(np.float32(total)) for total in expected] != expected
    assert set(used) == {dtype}


def test_sums_that_no_float_type_holds_are_refused() -> None:
    chain = chain_of(TINY, one_round(TINY))
    engine = fast.Engine(TINY, heavy_die(strength=2**31 - 1, drive=2**31 - 1))
    with pytest.raises(PlacementError, match="exact in no float type"):
        engine.run_chain(chain, [np.full((1, 8), 3)])


def test_an_ideal_die_runs_in_the_narrow_type(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Its common factor is taken out, which makes whole test sets fast."""
    bounds: list[int] = []
    choose = fast.exact_dtype
    monkeypatch.setattr(fast, "exact_dtype", lambda bound: bounds.append(bound) or choose(bound))
    engine = fast.Engine(NOR40, ideal_die(NOR40, random_levels(NOR40, rng)))
    engine.run_chain(chain_of(NOR40, one_round(NOR40)), [np.full((1, 256), 15)])
    assert max(bounds) <= NOR40.column_max


# What golden refuses, fast refuses //

ONES = np.ones((2, 8), dtype=np.int64)
BAD: dict[str, tuple[list[Ints], Ints | None]] = {
    "activation too large": ([ONES * 4], ONES[:, :4]),
    "activation negative": ([-ONES], ONES[:, :4]),
    "too few rows": ([ONES[:, :1]], ONES[:, :4]),
    "too many rows": ([np.ones((2, 9), dtype=np.int64)], ONES[:, :4]),
    "no partial sums": ([ONES], None),
    "partial sum too large": ([ONES], ONES[:, :4] * 512),
    "a vector of partial sums missing": ([ONES], ONES[:1, :4]),
}


@pytest.mark.parametrize("name", BAD)
def test_both_engines_refuse_alike(name: str) -> None:
    die = ideal_die(TINY, np.ones((1, 8, 8), dtype=np.uint8))
    chain = chain_of(TINY, one_round(TINY, start=Start.PSUM, end=End.RAW))
    said = []
    for run in (lambda *a: cim_macro.run_chain(TINY, die, *a), fast.Engine(TINY, die).run_chain):
        with pytest.raises(ValueError, match=r"activations|partial sums") as caught:
            run(chain, *BAD[name])
        said.append(str(caught.value))
    assert said[0] == said[1]
