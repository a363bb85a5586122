# SPDX-License-Identifier: Apache-2.0
"""ADC codes of a run, counted by layer and slice on the fast engine, whose integers are golden's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.golden import macro_ctrl, sar_adc
from twinor.run import forward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from twinor.place import PlacedChain, PlacedLayer
    from twinor.workbench import Workbench

__all__ = ["LayerCodes", "SliceCodes", "count_codes"]


@dataclass(slots=True, kw_only=True)
class SliceCodes:
    """Conversions of one input slice and weight slice of a layer."""

    x_slice: int
    w_slice: int
    step: int
    """Array units per LSB."""
    counts: NDArray[np.int64]
    """int64[2**adc_bits]: conversions by code, `code_min` first."""
    low: int = 0
    """Conversions whose column quantity lies below the ADC's range."""
    high: int = 0
    """Conversions whose column quantity lies above it."""

    @property
    def conversions(self) -> int:
        """All conversions of the slice."""
        return int(self.counts.sum())


@dataclass(slots=True, kw_only=True)
class LayerCodes:
    """What one layer asks of the macro; counts are sums over its chains and vectors."""

    name: str
    rows: int
    cols: int
    slices: tuple[SliceCodes, ...]
    tiles: int = 0
    rounds: int = 0
    floor_cycles: int = 0

    @property
    def conversions(self) -> int:
        """All conversions of the layer."""
        return sum(s.conversions for s in self.slices)

    @property
    def clipped(self) -> int:
        """Conversions outside the ADC's range."""
        return sum(s.low + s.high for s in self.slices)


def count_codes(bench: Workbench) -> list[LayerCodes]:
    """Run the images once more and count every code; layers in the order in which they run."""
    from twinor.fast import Engine  # torch is imported only to run

    config, engine = bench.config, Engine(bench.config, bench.die)
    layers = {name: _empty(bench, placed) for name, placed in bench.placement.layers.items()}

    def run_chain(
        placed: PlacedLayer,
        c: PlacedChain,
        inputs: Sequence[NDArray[np.integer]],
        psums: NDArray[np.integer] | None,
        residuals: NDArray[np.integer] | None,
        first: int,
    ) -> NDArray[np.int64]:
        layer = layers[placed.layer.name]
        layer.tiles += len(c.rows)
        layer.rounds += len(c.chain.rounds) * len(inputs[0])
        layer.floor_cycles += macro_ctrl.floor_cycles(config, c.chain) * len(inputs[0])
        for rnd, x in zip(c.chain.rounds, inputs, strict=True):
            for p, q, _ in engine.held(c.chain.macro, rnd, x, first=first):
                of_slice = next(s for s in layer.slices if (s.x_slice, s.w_slice) == (p.x_slice, p.w_slice))
                codes = engine.convert(c.chain.macro, rnd, q, of_slice.step).numpy()
                of_slice.counts += np.bincount(codes.ravel() - config.code_min, minlength=1 << config.adc_bits)
                columns = q.numpy()
                below, above = sar_adc.outside(config, columns, step=of_slice.step)
                of_slice.low += int(below.sum())
                of_slice.high += int(above.sum())
        return engine.run_chain(c.chain, inputs, psums, residuals, first)

    forward(bench.trained.network, bench.placement, bench.images, run_chain)
    return list(layers.values())


def _empty(bench: Workbench, placed: PlacedLayer) -> LayerCodes:
    config, weight = bench.config, placed.layer.weight
    slices_in = len(placed.steps)
    first = slices_in - 1 if config.analog_slices else 0  # one conversion serves all input slices
    slices = tuple(
        SliceCodes(
            x_slice=i,
            w_slice=j,
            step=placed.steps[i][j],
            counts=np.zeros(1 << config.adc_bits, dtype=np.int64),
        )
        for i in range(first, slices_in)
        for j in range(config.w_slices)
    )
    return LayerCodes(name=placed.layer.name, rows=weight[0].size, cols=weight.shape[0], slices=slices)
