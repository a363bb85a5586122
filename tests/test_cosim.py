# SPDX-License-Identifier: Apache-2.0
"""Networks through the Verilog macro agree with golden at every seam."""

from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import (
    Ints,
    Rng,
    configs,
    every_width,
    job_of,
    lossless,
    random_chain,
    random_levels,
    redundant,
    referenced,
    seeds,
    stimulus,
    wild_die,
)
from hypothesis import given, settings
from placed_networks import DIES, Case, layer_input, placed_case
from small_networks import CONFIGS, SHIFTS, small_images, tiled_network
from twinor.calibrate import calibrate
from twinor.config import Config, load, replace
from twinor.cosim import files, icarus
from twinor.cosim.chain import check
from twinor.cosim.network import CosimResult, cosim
from twinor.die import ideal_die, sample_die
from twinor.golden import macro_ctrl
from twinor.network import Conv, Linear
from twinor.place import place
from twinor.quantize import Recipe, trained_digits
from twinor.run import chain_runner, forward
from twinor.trace import SEAMS, UNKNOWN, Divergence

from tb.common.configs import ids
from tb.common.dies import noisy_die

pytestmark = pytest.mark.rtl
TINY = CONFIGS[0]


# No difference //


@pytest.mark.parametrize("die", DIES)
@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_networks_agree_at_every_seam(config: Config, die: str, rng: Rng) -> None:
    c = placed_case(config, rng, die=die)
    chains = [chain for layer in c.placement.layers.values() for chain in layer.chains]
    assert any(chain.psum_from is not None for chain in chains)  # partial sums leave and come back
    assert any(len(chain.rows) > 1 for chain in chains)  # tiles side by side in one macro
    assert len({chain.cols[0] for chain in c.placement.layers["conv1"].chains}) > 1  # more columns than one tile

    result = c.cosim()
    assert [layer.mismatches for layer in result.layers] == [dict.fromkeys(SEAMS, 0)] * 4
    logits = forward(c.network, c.placement, c.images, chain_runner(config, c.die, backend="fast"))
    assert np.array_equal(result.rtl_logits, logits) and np.array_equal(result.golden_logits, logits)
    _check_figures(c, result)


def _check_figures(c: Case, result: CosimResult) -> None:
    """What a layer reports, from its shape and golden alone."""
    golden, positions = c.golden(), {"conv1": 12, "conv2": 12, "fc1": 1, "fc2": 1}
    weighted = [layer for layer in c.network.layers if isinstance(layer, Conv | Linear)]
    for layer, told in zip(weighted, result.layers, strict=True):
        columns, rows = len(layer.weight), layer.weight[0].size
        row_tiles, column_tiles = -(-rows // c.config.rows), -(-columns // c.config.out_cols)
        vectors = len(c.images) * positions[layer.name]
        tiles = [min(c.config.rows, rows - top) for top in range(0, rows, c.config.rows)]
        groups = sum(-(-tile // c.config.active_rows) for tile in tiles)
        assert (told.name, told.rows, told.cols) == (layer.name, rows, columns)
        assert told.tiles == row_tiles * column_tiles
        assert told.rounds == vectors * row_tiles * column_tiles
        widths = [min(c.config.out_cols, columns - left) for left in range(0, columns, c.config.out_cols)]
        references = c.config.ref_cols * sum(-(-width // c.config.n_lanes) for width in widths)
        converted = columns + references
        assert told.conversions == vectors * groups * c.config.x_slices * c.config.w_slices * converted
        traces = [trace for (name, _), chain in golden.items() if name == layer.name for trace in chain]
        assert told.clipped == sum(trace.clipped for trace in traces)
        chains = [chain.chain for chain in c.placement.layers[layer.name].chains]
        assert told.floor_cycles == vectors * sum(macro_ctrl.floor_cycles(c.config, chain) for chain in chains)
        assert told.floor_cycles < told.cycles
        assert not told.exact


def test_calibrated_steps_agree_too(rng: Rng) -> None:
    config = CONFIGS[4]
    network = tiled_network(config, rng)
    images = small_images(config, network, rng, count=2)
    placement = place(config, network, calibrate(config, network, images))
    die = sample_die(config, placement.levels, seed=1)
    result = cosim(config, network, placement, die, images)
    golden = forward(network, placement, images, chain_runner(config, die, backend="golden"))
    assert np.array_equal(result.rtl_logits, golden)


def test_progress_ends_at_one_for_every_layer_in_order(rng: Rng) -> None:
    told: dict[str, list[tuple[int, int]]] = {}
    placed_case(TINY, rng).cosim(progress=lambda layer, done, total: told.setdefault(layer, []).append((done, total)))
    assert list(told) == list(SHIFTS)
    for parts in told.values():
        done, totals = zip(*parts, strict=True)
        assert len(parts) > 1 and list(done) == sorted(set(done)) and done[-1] == totals[0] and len(set(totals)) == 1


@settings(max_examples=12)
@given(config=configs() | referenced, seed=seeds)
def test_random_chains_on_random_macros_agree(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = icarus.build(config)
    ideal, wild = ideal_die(config, random_levels(config, rng, macros=2)), wild_die(config, rng, macros=2)
    for die in (ideal, wild, noisy_die(config, rng, macros=2)):
        chain = random_chain(config, rng, macros=2)
        flow = stimulus(config, chain, rng, vectors=3)
        checked = check(changed(job_of(config, die, chain, flow), first=seed % 200), model)
        assert len(checked.golden) == len(checked.rtl) == len(chain.rounds)
        for golden, rtl in zip(checked.golden, checked.rtl, strict=True):
            assert np.array_equal(golden.outputs, rtl.outputs) and np.array_equal(golden.trials, rtl.trials)


FAULTS = ("another position", "a line too few", "as low as can be", "as high as can be")


def damaged(text: str, fault: str) -> str:
    """Noise with one line that does not belong there, or whose noise of ADC 0 is another."""
    lines = text.splitlines()
    middle = len(lines) // 2
    rest, first, mux = lines[middle][:-32], lines[middle][-32:-16], lines[middle][-16:]
    first = {"as low as can be": f"{3 << 62:016x}", "as high as can be": f"{1 << 62:016x}"}.get(fault, first)
    position = f"{int(mux, 16) + 1:016x}" if fault == "another position" else mux
    lines[middle : middle + 1] = [] if fault == "a line too few" else [rest + first + position]
    return "\n".join(lines) + "\n"


def test_noise_that_does_not_belong_to_a_sample_never_passes(rng: Rng, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of another multiplexer position, or none, makes the sample X; another value another code."""
    chain = random_chain(TINY, rng)
    job = job_of(TINY, noisy_die(TINY, rng), chain, stimulus(TINY, chain, rng, vectors=3))
    whole, model = files.noise_hex, icarus.build(TINY)
    check(job, model)
    others: list[Any] = []
    for fault in FAULTS:
        monkeypatch.setattr(files, "noise_hex", lambda *given, fault=fault: damaged(whole(*given), fault))
        try:
            check(job, model)
        except Divergence as found:
            others.append(found.other)
        else:
            others.append(None)
    assert others[:2] == [UNKNOWN, UNKNOWN]
    assert others[2:] != [None, None]  # no code is both the lowest and the highest


@pytest.mark.parametrize(("encoding", "bits"), [("differential", 8), ("offset", 7), ("twos_complement", 1)])
def test_the_widest_and_the_narrowest_operands_agree(encoding: str, bits: int, rng: Rng) -> None:
    config = every_width(encoding, bits)
    model = icarus.build(config)
    for _ in range(2):
        chain = random_chain(config, rng)
        check(job_of(config, wild_die(config, rng), chain, stimulus(config, chain, rng, vectors=2)), model)


@settings(max_examples=4)
@given(config=configs(), seed=seeds)
def test_redundant_searches_with_any_weights_agree(config: Config, seed: int) -> None:
    """The weights of the die are loaded through the round words."""
    rng = np.random.default_rng(seed)
    config = redundant(config, rng)
    chain = random_chain(config, rng, macros=2)
    flow = stimulus(config, chain, rng, vectors=3)
    check(
        job_of(config, wild_die(config, rng, macros=2), chain, flow),
        icarus.build(config),
    )


def test_trained_digits_agree_on_a_varied_die(tmp_path: Path) -> None:
    """The whole way at full size with a short training: one conversion per column takes the 4-bit activation."""
    from twinor import data

    recipe = Recipe(float_epochs=1, quant_epochs=1, sample_steps=10)
    trained = trained_digits(recipe=recipe, cache_dir=tmp_path)
    images = data.digits().images
    test = images[trained.test_index[:2]]
    config = load("nor40_int4_dac4")
    steps = calibrate(config, trained.network, images[trained.train_index[:16]])
    placement = place(config, trained.network, steps)
    die = sample_die(config, placement.levels, seed=3)
    result = cosim(config, trained.network, placement, die, test)
    shapes = [(layer.rows, layer.cols, layer.tiles) for layer in result.layers]
    assert shapes == [(9, 32, 1), (288, 96, 4), (384, 10, 2)]
    assert sum(sum(layer.mismatches.values()) for layer in result.layers) == 0
    fast = forward(trained.network, placement, test, chain_runner(config, die, backend="fast"))
    assert np.array_equal(result.rtl_logits, fast)


def test_trained_digits_agree_on_an_aged_hot_noisy_die(tmp_path: Path) -> None:
    """EKV cells, mismatch, wires, traps and noise, after a bake and at 85 C: every seam of two images."""
    from twinor import data

    recipe = Recipe(float_epochs=1, quant_epochs=1, sample_steps=10)
    trained = trained_digits(recipe=recipe, cache_dir=tmp_path)
    images = data.digits().images
    test = images[trained.test_index[:2]]
    config = load("nor40_iscas2021")
    placement = place(config, trained.network, calibrate(config, trained.network, images[trained.train_index[:16]]))
    die = sample_die(config, placement.levels, seed=3).age(hours=1e4, celsius=125).at(celsius=85)
    assert die.noisy
    result = cosim(config, trained.network, placement, die, test)
    assert sum(sum(layer.mismatches.values()) for layer in result.layers) == 0
    fast = forward(trained.network, placement, test, chain_runner(config, die, backend="fast"))
    assert np.array_equal(result.rtl_logits, fast)


# Exact mode //


@pytest.fixture
def exact_case(rng: Rng) -> Case:
    """A macro that loses nothing: offset columns and steps of one."""
    config = replace(lossless(CONFIGS[1]), psum_bits=16)
    network = tiled_network(config, rng)
    placement = place(config, network)
    images = small_images(config, network, rng, count=2)
    return Case(
        config=config, network=network, placement=placement, die=ideal_die(config, placement.levels), images=images
    )


def test_a_lossless_macro_is_compared_with_pytorch(exact_case: Case) -> None:
    result = exact_case.cosim()
    assert all(layer.exact for layer in result.layers)


def test_a_varied_die_is_not_compared_with_pytorch(exact_case: Case) -> None:
    c = changed(exact_case, die=sample_die(exact_case.config, exact_case.placement.levels, seed=2))
    assert not any(layer.exact for layer in c.cosim().layers)


@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc1", "fc2"])
def test_an_accumulator_that_is_not_the_dot_product_is_told(layer: str, exact_case: Case, tmp_path: Path) -> None:
    """One cell of a die that calls itself ideal is off, so golden and Verilog agree on a wrong sum."""
    c = exact_case
    chain = c.placement.layers[layer].chains[0]
    strength = c.die.strength.copy()
    line = 0  # of output column 0 of the first tile
    strength[chain.chain.macro, : chain.rows[0][1] - chain.rows[0][0], line] += 1 << c.config.frac_bits
    with pytest.raises(Divergence) as caught:
        changed(c, die=changed(c.die, strength=strength)).cosim(reproducers=tmp_path)
    found = caught.value
    assert (found.layer, found.seam, found.other_name) == (layer, "partial_sums", "PyTorch")
    assert found.tile == [c.tile for c in c.placement.layers[layer].chains if c.cols == chain.cols][-1]
    assert found.column == chain.cols[0]
    x = layer_input(c, layer)[found.vector]
    exact = int(x.astype(np.int64) @ _matrix(c, layer)[:, found.column])
    assert found.other == exact
    assert found.golden == exact + int(x[slice(*chain.rows[0])].sum())
    earlier = layer_input(c, layer)[: found.vector, slice(*chain.rows[0])]
    assert not earlier.any()  # the first vector in which the cell conducts


def _matrix(c: Case, name: str) -> Ints:
    layer = c.placement.layers[name].layer
    return layer.weight.reshape(len(layer.weight), -1).T.astype(np.int64)
