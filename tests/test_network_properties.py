# SPDX-License-Identifier: Apache-2.0
"""Laws of whole networks on macros: any two lossless macros agree, and so do golden and fast on any die."""

import numpy as np
from builders import Rng, configs, lossless, seeds, wild_die
from hypothesis import given, settings
from random_networks import random_images, random_network
from small_networks import random_steps
from twinor.config import ENCODINGS, Config, replace
from twinor.die import ideal_die
from twinor.place import place
from twinor.run import chain_runner, forward

from tb.common.dies import noisy_die


def four_bits(config: Config, rng: Rng, encoding: str) -> Config:
    """A lossless macro of the same rows and columns for weights -7 .. 7 and 3-bit inputs, sliced in any way."""
    cells = 1 if encoding == "twos_complement" else int(rng.integers(1, 4))
    slices = {"weight_encoding": encoding, "cell_bits": cells, "dac_bits": int(rng.integers(1, 4))}
    slices["ref_cols"] = config.ref_cols and encoding == "offset"
    bias = int(rng.integers(min(config.rows, 3)))
    macro = replace(config, slice_accumulation="digital", input_mode="voltage")
    return lossless(replace(macro, weight_bits=4, input_bits=3, bias_rows=bias, **slices))


@settings(max_examples=20)
@given(configs(psum_bits=26), configs(psum_bits=26), configs(psum_bits=26), seeds)
def test_a_network_gives_the_same_integers_on_any_lossless_macros(a: Config, b: Config, c: Config, seed: int) -> None:
    """Other rows, columns, row groups, bias rows, round memories, encodings, slices: other tiles, the same layers."""
    rng = np.random.default_rng(seed)
    macros = [four_bits(config, rng, encoding) for config, encoding in zip((a, b, c), ENCODINGS, strict=True)]
    network = random_network(macros[0], rng)  # differential: its weights fit the others too
    images, logits = random_images(network, rng, 2), []
    for config in macros:
        placement = place(config, network)
        runner = chain_runner(config, ideal_die(config, placement.levels), backend="golden")
        logits.append(forward(network, placement, images, runner).tolist())
    assert logits[0] == logits[1] == logits[2]


@settings(max_examples=40)
@given(configs(psum_bits=28), seeds)
def test_fast_equals_golden_on_any_network_and_any_die(config: Config, seed: int) -> None:
    """Any kernels, strides, paddings and pools, any steps, on dies that no process makes."""
    rng = np.random.default_rng(seed)
    network = random_network(config, rng)
    placement = place(config, network, random_steps(config, network, rng))
    make = noisy_die if rng.random() < 0.5 else wild_die
    die, images = make(config, rng, macros=len(placement.levels)), random_images(network, rng, 2)
    runners = [chain_runner(config, die, backend=backend) for backend in ("golden", "fast")]
    golden, fast = (forward(network, placement, images, runner, first=5) for runner in runners)
    assert golden.dtype == fast.dtype == np.int64 and np.array_equal(golden, fast)
    alone = [forward(network, placement, images[n : n + 1], runners[1], first=5 + n) for n in range(2)]
    assert np.array_equal(np.concatenate(alone), fast)  # an image's noise does not depend on its batch
