# SPDX-License-Identifier: Apache-2.0
"""A network on placed macros with a die and images: co-simulated, or run on golden alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import wild_die
from small_networks import random_steps, small_images, tiled_network
from twinor.config import replace
from twinor.cosim.network import CosimResult, cosim
from twinor.die import Die, ideal_die, sample_die
from twinor.golden import cim_macro
from twinor.place import PlacedChain, PlacedLayer, Placement, place
from twinor.run import chain_runner, forward
from twinor.trace import Divergence, RoundTrace

from tb.common.dies import noisy_die

if TYPE_CHECKING:
    from pathlib import Path

    from builders import Ints, Rng
    from numpy.typing import NDArray
    from twinor.config import Config
    from twinor.network import IntegerNetwork

__all__ = ["DIES", "Case", "layer_input", "placed_case"]

DIES = ("ideal", "sampled", "wild", "noisy")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network on placed macros with images."""

    config: Config
    network: IntegerNetwork
    placement: Placement
    die: Die
    images: Ints

    def cosim(self, **options: Any) -> CosimResult:
        """Co-simulate the images."""
        return cosim(self.config, self.network, self.placement, self.die, self.images, **options)

    def diverges(self, rtl: Path, folder: Path) -> Divergence:
        """Co-simulate them on other Verilog, which must differ."""
        with pytest.raises(Divergence) as caught:
            self.cosim(rtl=rtl, reproducers=folder, timeout=60)
        return caught.value

    def golden(self) -> dict[tuple[str, str], list[RoundTrace]]:
        """Golden traces by layer and tile, from an ordinary forward pass."""
        traces: dict[tuple[str, str], list[RoundTrace]] = {}

        def run_chain(placed: PlacedLayer, c: PlacedChain, *streams: Any) -> NDArray[np.int64]:
            trace = cim_macro.run_chain(self.config, self.die, c.chain, *streams)
            traces[placed.layer.name, c.tile] = trace
            return cim_macro.outputs(trace)

        forward(self.network, self.placement, self.images, run_chain)
        return traces


def placed_case(config: Config, rng: Rng, *, die: str = "ideal", count: int = 2) -> Case:
    network = tiled_network(config, rng)
    placement = place(config, network, random_steps(config, network, rng))
    dies = {
        "ideal": lambda: ideal_die(config, placement.levels),
        "sampled": lambda: sample_die(replace(config, cell_sigma=0.1), placement.levels, seed=5),
        "noisy": lambda: noisy_die(config, rng, macros=len(placement.levels)),
        "wild": lambda: wild_die(config, rng, macros=len(placement.levels)),
    }
    images = small_images(config, network, rng, count=count)
    return Case(config=config, network=network, placement=placement, die=dies[die](), images=images)


def layer_input(c: Case, name: str) -> Ints:
    """Every vector that a layer sees, [vectors, K], read off the chains' inputs."""
    seen = np.zeros((0, 0), dtype=np.int64)
    runner = chain_runner(c.config, c.die, backend="fast")

    def run_chain(placed: PlacedLayer, chain: PlacedChain, inputs: Any, *streams: Ints | None) -> NDArray[np.int64]:
        nonlocal seen
        if placed.layer.name == name:
            seen = np.zeros((len(inputs[0]), placed.layer.weight[0].size), dtype=np.int64) if not seen.size else seen
            for (top, bottom), x in zip(chain.rows, inputs, strict=True):
                seen[:, top:bottom] = x
        return runner(placed, chain, inputs, *streams)

    forward(c.network, c.placement, c.images, run_chain)
    return seen
