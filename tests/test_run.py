# SPDX-License-Identifier: Apache-2.0
"""A whole network on macros: torch's integers on a lossless macro, and the same answer from every engine."""

import numpy as np
import pytest
import torch
from builders import Ints, hidden, linear_network, logits, seeds, small_network
from hypothesis import given
from hypothesis import strategies as st
from layers import conv2d, max_pool2d
from twinor import fast
from twinor.config import Config, replace
from twinor.die import ideal_die, sample_die
from twinor.errors import TwinorError
from twinor.golden import cim_macro
from twinor.host import host_layer, im2col
from twinor.network import Conv, IntegerNetwork, Linear, MaxPool
from twinor.place import place
from twinor.run import chain_runner, forward

from tb.common.configs import EXACT, NOR40, TINY

pytestmark = pytest.mark.fast

BACKENDS = ("golden", "fast")
"""The engines of this process; tests/test_backends.py has all three."""

SMALL_EXACT = replace(EXACT, name="small_exact", rows=24, cols=6, cols_per_adc=3, active_rows=10, max_rounds=2)
"""Lossless as its preset, but every layer of the small network is cut in rows and columns."""
TWOS_EXACT = replace(SMALL_EXACT, name="twos_exact", weight_encoding="twos_complement", cell_bits=1)
PAIR_EXACT = replace(SMALL_EXACT, name="pair_exact", weight_encoding="differential", cell_bits=3)
LOSSLESS = [EXACT, SMALL_EXACT, TWOS_EXACT, PAIR_EXACT]


def torch_layer(layer: Conv | Linear, x: torch.Tensor) -> torch.Tensor:
    """Exact dot products in float64, then the requantization rule with a floor division."""
    weight = torch.from_numpy(layer.weight.astype(np.float64))
    if isinstance(layer, Linear):
        acc, shape = x @ weight.T, (1, -1)
    else:
        padding = tuple(before for before, _ in layer.padding)
        acc = torch.nn.functional.conv2d(x, weight, stride=layer.stride, padding=padding)
        shape = (1, -1, 1, 1)
    rule = layer.requant
    mult, add = (torch.from_numpy(table.astype(np.int64)).reshape(shape) for table in (rule.mult, rule.add))
    whole = torch.div(acc.to(torch.int64) * mult + add, 2**rule.shift, rounding_mode="floor")
    return torch.minimum(torch.maximum(whole, torch.tensor(rule.lo)), torch.tensor(rule.hi)).to(torch.float64)


def torch_forward(network: IntegerNetwork, images: Ints) -> Ints:
    """The network as torch computes it, independent of any macro."""
    x = torch.from_numpy(images.astype(np.float64))
    for layer in network.layers:
        if isinstance(layer, Conv | Linear):
            x = torch_layer(layer, x)
        elif isinstance(layer, MaxPool):
            x = torch.nn.functional.max_pool2d(x, layer.kernel, layer.stride)
        else:
            x = x.flatten(1)
    return x.to(torch.int64).numpy()


def run(config: Config, network: IntegerNetwork, images: Ints, backend: str, *, seed: int | None = None) -> Ints:
    placement = place(config, network)
    die = ideal_die(config, placement.levels) if seed is None else sample_die(config, placement.levels, seed=seed)
    return forward(network, placement, images, chain_runner(config, die, backend=backend))


def random_images(network: IntegerNetwork, rng: np.random.Generator, count: int) -> Ints:
    images = rng.integers(0, 1 << network.input_bits, (count, *network.input_shape)).astype(np.uint8)
    images[0] = (1 << network.input_bits) - 1
    return images


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("config", LOSSLESS, ids=lambda config: config.name)
def test_a_lossless_macro_gives_torchs_integers(config: Config, backend: str, rng: np.random.Generator) -> None:
    network = small_network(rng, low=config.weight_min)
    images = random_images(network, rng, 3)
    result = run(config, network, images, backend)
    assert result.dtype == np.int64 and result.shape == (3, 10)
    assert np.array_equal(result, torch_forward(network, images))
    assert len(np.unique(result)) > 5  # not saturated into agreement


def test_every_accumulator_of_a_lossless_macro_is_the_exact_dot_product(rng: np.random.Generator) -> None:
    """Also between the rounds of a chain: after every tile the sum over the rows so far."""
    network = small_network(rng, low=-8)
    placement = place(SMALL_EXACT, network)
    die = ideal_die(SMALL_EXACT, placement.levels)
    layer = placement.layers["fc1"]
    x = rng.integers(0, 16, (4, layer.layer.weight.shape[1]))
    raw: list[Ints] = []
    for c in layer.chains:
        psums = None if c.psum_from is None else raw[c.psum_from]
        traces = cim_macro.run_chain(SMALL_EXACT, die, c.chain, [x[:, a:b] for a, b in c.rows], psums)
        raw.append(cim_macro.outputs(traces))
        for trace, (_, bottom) in zip(traces, c.rows, strict=True):
            exact = x[:, :bottom] @ layer.layer.weight.T[:bottom, c.cols[0] : c.cols[1]].astype(np.int64)
            assert np.array_equal(trace.partial_sums[:, -1], exact) and trace.clipped == 0
    assert len(layer.chains) > 2


@pytest.mark.parametrize("config", [NOR40, SMALL_EXACT, TWOS_EXACT, PAIR_EXACT], ids=lambda config: config.name)
def test_engines_agree_on_a_varied_die(config: Config, rng: np.random.Generator) -> None:
    network = small_network(rng)
    images = random_images(network, rng, 2)
    golden, other = (run(replace(config, cell_sigma=0.1), network, images, backend, seed=3) for backend in BACKENDS)
    assert np.array_equal(golden, other)
    assert not np.array_equal(golden, torch_forward(network, images))  # the variation is felt


def test_tall_and_wide_layers_are_put_together_from_their_tiles(rng: np.random.Generator) -> None:
    network = linear_network(rng.integers(-8, 8, (70, 300)), logits(rng, 70))
    images = random_images(network, rng, 4)
    for config in (EXACT, SMALL_EXACT):
        for backend in BACKENDS:
            assert np.array_equal(run(config, network, images, backend), torch_forward(network, images))


def test_the_default_macro_is_off_by_its_rounding_at_most(rng: np.random.Generator) -> None:
    """Full steps: nothing clips, and each of the ten conversions of a column is at most half a step away."""
    network = linear_network(rng.integers(-7, 8, (20, 300)), logits(rng, 20))
    images = random_images(network, rng, 20)
    error = run(NOR40, network, images, "fast") - torch_forward(network, images)
    assert 0 < np.abs(error).max() <= 2 * (1 + 4) * 64 / 2  # two row tiles, two input slices, steps of 64


# The host's integers //


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    """Heights and widths."""
    return st.tuples(st.integers(low, high), st.integers(low, high))


@given(seeds, pairs(1, 4), pairs(0, 3), pairs(1, 3), pairs(0, 2))
def test_im2col_is_torchs_unfold(
    seed: int, kernel: tuple[int, int], more: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    channels, (kh, kw) = int(rng.integers(1, 4)), kernel
    layer = conv2d(
        name="conv",
        weight=np.zeros((1, channels, kh, kw), dtype=np.int8),
        stride=stride,
        padding=padding,
        requant=hidden(rng, 1),
    )
    x = rng.integers(0, 16, (2, channels, kh + more[0], kw + more[1])).astype(np.uint8)
    unfolded = torch.nn.functional.unfold(torch.from_numpy(x).float(), (kh, kw), padding=padding, stride=stride)
    columns = im2col(layer, x)
    assert columns.dtype == np.uint8
    n, h, w, k = columns.shape
    assert np.array_equal(columns.reshape(n, h * w, k), unfolded.transpose(1, 2).numpy())


@given(seeds, pairs(1, 4), pairs(1, 3))
def test_max_pool_is_torchs(seed: int, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
    x = np.random.default_rng(seed).integers(-8, 8, (2, 3, 7, 9))
    pooled = torch.nn.functional.max_pool2d(torch.from_numpy(x).double(), kernel, stride)
    assert np.array_equal(host_layer(max_pool2d(name="pool", kernel=kernel, stride=stride), [x]), pooled.numpy())


# Engines and inputs //


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_engine_is_the_one_that_was_asked_for(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    golden, engine = cim_macro.run_chain, fast.Engine.run_chain
    monkeypatch.setattr(cim_macro, "run_chain", lambda *a: asked.append("golden") or golden(*a))
    monkeypatch.setattr(fast.Engine, "run_chain", lambda *a: asked.append("fast") or engine(*a))
    network = small_network(np.random.default_rng(0))
    run(NOR40, network, np.zeros((1, 2, 7, 17), dtype=np.int64), backend)
    assert set(asked) == {backend}


@pytest.mark.parametrize("backend", ["verilog", "Golden", ""])
def test_an_unknown_engine_is_refused(backend: str) -> None:
    die = ideal_die(TINY, np.zeros((1, 8, 8), dtype=np.uint8))
    with pytest.raises(TwinorError, match=rf"unknown backend {backend!r}: expected one of golden, fast"):
        chain_runner(TINY, die, backend=backend)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((2, 2, 17, 7)), r"images of shape \(2, 17, 7\): the network takes \(2, 7, 17\)"),
        (np.zeros((2, 7, 17)), "images of shape"),
        (np.full((1, 2, 7, 17), 16), r"image codes 16 \.\. 16: the network takes 0 \.\. 15"),
        (np.full((1, 2, 7, 17), -1), "image codes -1"),
    ],
)
def test_images_that_the_network_does_not_take_are_refused(images: Ints, said: str) -> None:
    network = small_network(np.random.default_rng(0))
    for backend in BACKENDS:
        with pytest.raises(TwinorError, match=said):
            run(NOR40, network, images.astype(np.int64), backend)


def test_images_may_come_one_by_one(rng: np.random.Generator) -> None:
    network = small_network(rng)
    images = random_images(network, rng, 3)
    alone = [run(NOR40, network, images[n : n + 1], "golden", seed=1) for n in range(3)]
    assert np.array_equal(np.concatenate(alone), run(NOR40, network, images, "golden", seed=1))
