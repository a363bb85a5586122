# SPDX-License-Identifier: Apache-2.0
"""QONNX, as Brevitas exports it, becomes an integer network by the rules of the front end.

    code = clip(round(x / scale))      of every `Quant` node: weights -7 .. 7, activations 0 .. 15 or -8 .. 7

What lies between two activations (batch norm, bias, shortcut, ReLU) becomes one requantization, so the integers are
those of the QONNX graph; where a value lies on the border of two codes float arithmetic there may fall either way.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from twinor.errors import CorruptFile, TwinorError, UnsupportedLayer
from twinor.exchange.qonnx_graph import QonnxGraph
from twinor.network import IMAGES
from twinor.shapes import check_graph

if TYPE_CHECKING:
    from pathlib import Path

    from twinor.network import IntegerNetwork
    from twinor.quantize.clip import LearnableClip
    from twinor.quantize.network import QuantNetwork
    from twinor.quantize.trace import Op

__all__ = ["read_qonnx"]

RATIO = 1e-5
"""Largest relative deviation of a ratio of scales from a whole number."""


def read_qonnx(path: Path) -> IntegerNetwork:
    """Read a network whose weights and activations pass `Quant` nodes of 4 bits.

    Args:
        path: a QONNX file.

    Returns:
        The integer network of what the graph's output depends on; image codes are those of the first `Quant` node.

    Raises:
        TwinorError: onnx is not installed.
        CorruptFile: the file is no ONNX model.
        UnsupportedLayer: names the node that cannot be mapped, and why.
        PlacementError: the layers do not fit together.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise TwinorError(f"reading QONNX needs onnx ({error}); install twinor[exchange]") from error
    from twinor.quantize.convert import to_integer

    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf, onnx and the file system each have their own
        raise CorruptFile(f"{path} is no ONNX model ({str(error).splitlines()[0]})") from error
    quantized = _Reader(QonnxGraph(model.graph)).network()
    network = to_integer(quantized, provenance={"from": path.name, "producer": model.producer_name})
    check_graph(network)
    return network


class _Reader:
    """Makes a quantized network of a graph, whose thresholds and clips are what its Quant nodes say."""

    def __init__(self, graph: QonnxGraph) -> None:
        self.graph = graph
        self.built: dict[str, list[Op]] = {}
        """Operations of every layer by its name."""
        self.settled: dict[LearnableClip, tuple[float, bool]] = {}
        """Scale and sign of the clips that have theirs; layers that are joined share one."""

    def network(self) -> QuantNetwork:
        """The quantized network whose thresholds and clips are what the Quant nodes say."""
        from twinor.quantize.prepare import assemble, settle_ranges
        from twinor.quantize.thresholds import Phase

        graph = self.graph
        if IMAGES not in graph.scales:
            raise UnsupportedLayer("the images pass no Quant node, so nothing says what their codes are")
        self.check_result()
        facts: dict[str, Any] = {"input_bits": graph.input_bits, "input_step": graph.scales[IMAGES][0]}
        network, self.built = assemble(graph.ops, graph.input_shape, ends=frozenset(graph.scales), **facts)
        self.check_joins(network)
        for layer in network.layers:
            self.settle(layer, self.built[str(layer.name)])
        starts = {name: ops[0] for name, ops in self.built.items()}
        settle_ranges(network.layers, 2**graph.input_bits - 1, starts, signs=False)
        network.set_phase(Phase.FREEZE)
        self.check_shortcuts(network.eval())
        return network

    def check_result(self) -> None:
        """The logits leave as they are; codes of them would be another result."""
        known = {op.name: op for op in self.graph.ops}
        name = self.graph.result
        while known[name].kind == "flatten":
            name = known[name].sources[0]
        if name in self.graph.scales:
            raise UnsupportedLayer(
                f"{known[name].place}: its result is the last one and passes a Quant node; logits leave with all their "
                "bits, so export the network without a quantizer of its output"
            )

    def check_joins(self, network: QuantNetwork) -> None:
        """Images that are joined with something would need a layer of their own, whose codes no Quant node gives."""
        layers: list[Any] = list(network.layers)
        for layer in layers:
            if not self.built.keys() >= set(layer.sources) - {IMAGES}:
                raise UnsupportedLayer(
                    f"{self.built[str(layer.name)][0].place}: it joins the images themselves; let them pass a "
                    "convolution and a Quant node of 4 bits first"
                )

    def check_shortcuts(self, network: QuantNetwork) -> None:
        """The codes of a shortcut join with an integer multiplier, so the ratio of both scales must be one."""
        from twinor.quantize.modules import QuantLayer

        steps = {IMAGES: network.input_step}
        layers: list[Any] = list(network.layers)
        for layer in layers:
            name, sources = str(layer.name), layer.sources
            step = steps[sources[0]]
            if not isinstance(layer, QuantLayer):
                steps[name] = layer.clip.step() if getattr(layer, "clip", None) is not None else step
                continue
            added = steps[sources[1]] if len(sources) > 1 else None
            _, mult, steps[name] = layer.rule(step, added)
            if added is not None and mult is not None:
                count = layer.threshold.step().double() * step.double()
                exact = (mult * count / added.double() - 1).abs().max()
                if layer.norm is not None or float(exact) > RATIO:
                    raise UnsupportedLayer(
                        f"{self.built[name][-1].place}: the scales of what it adds have no whole ratio; let both "
                        "pass a Quant node of one scale first, as the residual networks of Brevitas do"
                    )

    def settle(self, layer: Any, ops: list[Op]) -> None:
        """Give a layer the scales of its operations."""
        import torch

        with torch.no_grad():
            weights = next((self.graph.weights[op.name] for op in ops if op.name in self.graph.weights), None)
            layer.matched = True
            if weights is not None:
                log2 = torch.from_numpy(np.log2(7 * weights[1])).float()
                layer.threshold = type(layer.threshold)(len(log2))
                layer.threshold.log2_t.copy_(log2)
                layer.threshold.samples.fill_(1)
            clip = getattr(layer, "clip", None)
            if clip is None:
                return
            place, said = ops[-1].place, self.graph.scales.get(ops[-1].name)
            if said is None:
                raise UnsupportedLayer(f"{place}: its result passes no Quant node and is not the last one")
            if self.settled.setdefault(clip, said) != said:
                raise UnsupportedLayer(
                    f"{place}: its codes have {_scale(*said)}, those that they are joined with "
                    f"{_scale(*self.settled[clip])}; let both pass a Quant node of one scale first"
                )
            scale, clip.signed = said
            clip.log2_alpha.fill_(math.log2(scale * clip.hi))
            clip.samples.fill_(1)


def _scale(scale: float, signed: bool) -> str:
    return f"scale {scale:.9g} {'with' if signed else 'without'} sign"
