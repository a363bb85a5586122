# SPDX-License-Identifier: Apache-2.0
"""Weights and activations of 1 to 8 bits: lossless macros of every encoding compute exact dot products."""

import numpy as np
import pytest
from builders import chain_of, every_width, one_round, programmed, random_weights
from twinor.config import ENCODINGS
from twinor.golden import cim_macro

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_weights_and_activations_of_any_width_are_exact(
    encoding: str, bits: int, signed: bool, rng: np.random.Generator
) -> None:
    """Both ends of either range are there: -8 times -8 for four signed bits."""
    config, low = every_width(encoding, bits), -(1 << bits - 1) if signed else 0
    weights = random_weights(config, rng, config.rows, config.out_cols)
    x = rng.integers(low, low + (1 << bits), (12, config.rows))
    x[0], x[1] = low, low + (1 << bits) - 1
    chain = chain_of(config, one_round(config, signed=signed))
    assert np.array_equal(cim_macro.run_chain(config, programmed(config, weights), chain, [x])[0].outputs, x @ weights)
