# SPDX-License-Identifier: Apache-2.0
"""A whole network through the Verilog macro: every layer, every tile, every seam."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from twinor.cosim import icarus, verilator
from twinor.cosim.chain import Checked, Job, check, chunks
from twinor.cosim.reproducer import write_reproducer
from twinor.golden import macro_ctrl
from twinor.golden.cim_macro import outputs
from twinor.host import walk
from twinor.network import Linear
from twinor.params import RTL
from twinor.run import chain_runner, check_images, forward, run_layer
from twinor.trace import SEAMS, Divergence, mismatches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.die import Die
    from twinor.network import IntegerNetwork, WeightLayer
    from twinor.place import PlacedChain, PlacedLayer, Placement

    Ints = NDArray[np.integer]

__all__ = ["BUILDERS", "CosimResult", "LayerResult", "cosim"]

BUILDERS = {"icarus": icarus.build, "verilator": verilator.build}

CHUNK_CYCLES = 20_000
"""Simulated cycles of one run of the simulator: seconds, so that progress shows and cores stay busy."""


@dataclass(slots=True, kw_only=True)
class LayerResult:
    """What one layer did; counts are sums over all its chains and vectors."""

    name: str
    rows: int
    cols: int
    tiles: int = 0
    rounds: int = 0
    conversions: int = 0
    cycles: int = 0
    floor_cycles: int = 0
    steady_cycles: int = 0
    """Cycles from the end of the first vector of each run of the simulator to the end of its last."""
    steady_floor_cycles: int = 0
    """The floor of the same vectors."""
    clipped: int = 0
    clip_low: int = 0
    clip_high: int = 0
    """What the Verilog's clip counters said: raw codes at either end of the range."""
    exact: bool = False
    """The accumulators were also compared with PyTorch's integer arithmetic."""
    mismatches: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SEAMS, 0))

    @property
    def over_floor(self) -> float:
        """Cycles in steady state over their floor; over all cycles where every run had one vector alone."""
        if not self.steady_floor_cycles:
            return self.cycles / self.floor_cycles
        return self.steady_cycles / self.steady_floor_cycles


@dataclass(frozen=True, slots=True, kw_only=True)
class CosimResult:
    """Layers and logits, int64[images, classes]; where golden and rtl differ, `Divergence` was raised instead."""

    layers: Sequence[LayerResult]
    golden_logits: NDArray[np.int64]
    rtl_logits: NDArray[np.int64]


def cosim(
    config: Config,
    network: IntegerNetwork,
    placement: Placement,
    die: Die,
    images: NDArray[np.integer],
    *,
    rtl: Path = RTL,
    simulator: str = "icarus",
    timeout: float = 600,
    reproducers: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> CosimResult:
    """Run images through golden and the Verilog macro at once, comparing every seam of every layer.

    Args:
        config: the macro.
        network: the integer network.
        placement: where its layers lie.
        die: the die of the placement's macros.
        images: unsigned codes, [images, channels, height, width].
        rtl: folder of the Verilog.
        simulator: `icarus`, or `verilator`, which is faster and has no X; reproducers are cut down in Icarus.
        timeout: seconds of real time for one run of the simulator.
        reproducers: folder for the reproducer of a divergence; `build/reproducers` if None.
        progress: called with a layer's name, the vectors that its chains have done, and how many there are.

    Raises:
        Divergence: at the first value that differs; a reproducer was written.
        SimulatorError: missing simulator, crash, time-out.
    """
    model = BUILDERS[simulator](config, rtl=rtl)
    with tempfile.TemporaryDirectory(prefix="twinor-") as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        engine = _Engine(config, die, pool, partial(check, model=model, timeout=timeout, die_files=Path(folder)))
        engine.progress = progress or engine.progress
        try:
            return _run(network, placement, images, engine)
        except Divergence as found:
            if engine.failed is None:
                raise
            where = reproducers or icarus.BUILD / "reproducers"
            raise write_reproducer(found, engine.failed, where, rtl=rtl, timeout=timeout) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _run(network: IntegerNetwork, placement: Placement, images: NDArray[np.integer], engine: _Engine) -> CosimResult:
    check_images(network, images)

    def compute(layer: WeightLayer, x: Ints, codes: Ints | None) -> Ints:
        y = run_layer(layer, x, codes, placement, engine.run_chain)
        engine.finish_layer(placement.layers[layer.name], x, codes)
        return y

    logits = walk(network, images, compute)
    golden = forward(network, placement, images, chain_runner(engine.config, engine.die, backend="golden"))
    return CosimResult(layers=list(engine.layers.values()), golden_logits=golden, rtl_logits=logits.astype(np.int64))


class _Engine:
    """Runs chains on golden and Verilog at once and keeps the figures of each layer."""

    def __init__(self, config: Config, die: Die, pool: ThreadPoolExecutor, run: Callable[[Job], Checked]) -> None:
        self.config, self.die, self.pool, self.run = config, die, pool, run
        self.progress: Callable[[str, int, int], None] = lambda _layer, _done, _total: None
        self.layers: dict[str, LayerResult] = {}
        self.done: dict[str, int] = {}
        self.failed: Job | None = None
        self.accumulators = np.zeros((0, 0), dtype=np.int64)

    def run_chain(
        self,
        placed: PlacedLayer,
        c: PlacedChain,
        inputs: Sequence[Ints],
        psums: Ints | None,
        residuals: Ints | None,
        first: int,
    ) -> NDArray[np.int64]:
        """One chain of one layer: the Verilog's outputs, after every seam was compared."""
        result = self._result(placed.layer, vectors=inputs[0].shape[0])
        job = Job(self.config, self.die, c.chain, inputs, psums, residuals, first)
        size = max(1, min(CHUNK_CYCLES // macro_ctrl.floor_cycles(self.config, c.chain), -(-job.vectors // 2)))
        checked: list[Checked] = []
        pieces = chunks(job, size)
        for piece, future in zip(pieces, [self.pool.submit(self.run, p) for p in pieces], strict=True):
            try:
                checked.append(future.result())
            except Divergence as found:
                self.failed = piece
                place = {
                    "layer": placed.layer.name,
                    "tile": c.tile,
                    "vector": found.vector + size * len(checked),
                }
                raise Divergence(**(vars(found) | place)) from None
            _count(result, self.config, piece, checked[-1])
            self.done[placed.layer.name] = self.done.get(placed.layer.name, 0) + piece.vectors
            self.progress(placed.layer.name, self.done[placed.layer.name], job.vectors * len(placed.chains))
        result.tiles += len(c.rows)
        self._keep(c, checked)
        return np.concatenate([outputs(k.rtl) for k in checked])

    def _result(self, layer: WeightLayer, *, vectors: int) -> LayerResult:
        if layer.name not in self.layers:
            channels = layer.weight.shape[0]
            self.layers[layer.name] = LayerResult(name=layer.name, rows=layer.weight[0].size, cols=channels)
            self.accumulators = np.zeros((vectors, channels), dtype=np.int64)
        return self.layers[layer.name]

    def _keep(self, c: PlacedChain, checked: Sequence[Checked]) -> None:
        """Accumulators of the layer; a later chain of the same columns completes them."""
        self.accumulators[:, slice(*c.cols)] = np.concatenate([k.rtl[-1].partial_sums[:, -1] for k in checked])

    def finish_layer(self, placed: PlacedLayer, x: Ints, codes: Ints | None) -> None:
        """Where the macro is lossless, compare the Verilog's accumulators with PyTorch's."""
        if self.config.step != "unit" or self.die.seed is not None:
            return
        layer = placed.layer
        exact = _torch_accumulators(layer, x, codes)
        bad = np.argwhere(exact != self.accumulators)
        if len(bad):
            vector, column = (int(k) for k in bad[0])
            raise Divergence(
                layer=layer.name,
                tile=next(c.tile for c in reversed(placed.chains) if column in range(*c.cols)),
                seam="partial_sums",
                vector=vector,
                column=column,
                other_name="PyTorch",
                golden=int(self.accumulators[vector, column]),
                other=int(exact[vector, column]),
            )
        self.layers[layer.name].exact = True


def _torch_accumulators(layer: WeightLayer, x: Ints, codes: Ints | None) -> NDArray[np.int64]:
    """Exact accumulators by torch, int64[vectors, channels]; float64 holds every sum of int4 times uint8 products."""
    import torch
    from torch.nn import functional

    images, weight = torch.from_numpy(x.astype(np.float64)), torch.from_numpy(layer.weight.astype(np.float64))
    if isinstance(layer, Linear):
        y = functional.linear(images, weight)
    else:
        convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[len(layer.kernel) - 1]
        sides = [n for pair in reversed(layer.padding) for n in pair]  # PyTorch pads the last dimension first
        padded = functional.pad(images, sides, mode="constant" if layer.padding_mode == "zeros" else layer.padding_mode)
        y = convolve(padded, weight, stride=layer.stride, dilation=layer.dilation, groups=layer.groups)
    if layer.shortcut is not None and codes is not None:
        mult = torch.from_numpy(layer.shortcut.mult.astype(np.float64)).view(-1, *(1,) * (y.dim() - 2))
        y = y + mult * torch.from_numpy(codes.astype(np.float64))
    return np.asarray(y.movedim(1, -1).reshape(-1, len(weight)).round().to(torch.int64).numpy())


def _count(result: LayerResult, config: Config, job: Job, checked: Checked) -> None:
    result.rounds += job.vectors * len(job.chain.rounds)
    result.conversions += sum(t.conversions for t in checked.golden)
    ends, floor = checked.rtl[-1].out_cycles.max(axis=1), macro_ctrl.floor_cycles(config, job.chain)
    result.cycles += int(ends[-1]) + 1
    result.floor_cycles += job.vectors * floor
    result.steady_cycles += int(ends[-1] - ends[0])
    result.steady_floor_cycles += (job.vectors - 1) * floor
    result.clipped += sum(t.clipped for t in checked.golden)
    result.clip_low += checked.clips[0]
    result.clip_high += checked.clips[1]
    for seam, count in mismatches(checked.golden, checked.rtl).items():
        result.mismatches[seam] += count
