# SPDX-License-Identifier: Apache-2.0
"""QONNX, as Brevitas exports it, becomes an integer network by the rules of the front end.

    code = clip(round(x / scale))      of every `Quant` node: weights -7 .. 7, activations 0 .. 15 or -8 .. 7

What lies between two activations (batch norm, bias, shortcut, ReLU) becomes one requantization, so the integers are
those of the QONNX graph; where a value lies on the border of two codes float arithmetic there may fall either way.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from twinor.errors import CorruptFile, TwinorError, UnsupportedLayer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from twinor.network import IntegerNetwork
    from twinor.quantize.network import QuantNetwork
    from twinor.quantize.trace import Op

__all__ = ["read_qonnx"]

HOST = ("max", "flatten", "cat")
"""Operations that leave codes as they are."""

RATIO = 1e-5
"""Largest relative deviation of a ratio of scales from a whole number."""

SUPPORTED = (
    "Quant, Conv, Gemm, MatMul, BatchNormalization, Relu, MaxPool, AveragePool, GlobalAveragePool, Add, Concat, "
    "Flatten, Reshape to one row"
)


def read_qonnx(path: Path) -> IntegerNetwork:
    """Read a network whose weights and activations pass `Quant` nodes of 4 bits.

    Args:
        path: a QONNX file.

    Returns:
        The integer network; image codes are those of the first `Quant` node.

    Raises:
        TwinorError: onnx is not installed.
        CorruptFile: the file is no ONNX model.
        UnsupportedLayer: names the node that cannot be mapped, and why.
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
    graph = _Graph(model.graph)
    network = graph.network()
    return to_integer(network, provenance={"from": path.name, "producer": model.producer_name})


class _Graph:
    """Reads nodes in order into the operations that `trace` would have found, and keeps what Quant nodes say."""

    def __init__(self, graph: Any) -> None:
        from onnx import numpy_helper

        self.graph = graph
        self.arrays: dict[str, NDArray[Any]] = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self.ops: list[Op] = []
        self.alias: dict[str, str] = {}
        """Operation, or `images`, that has the value of a tensor."""
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.scales: dict[str, tuple[float, bool]] = {}
        """Scale and sign of an operation's codes."""
        self.weights: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
        """Codes and scales of a tensor of weights."""
        self.input_bits = 0
        inputs = [i for i in graph.input if i.name not in self.arrays]
        if len(inputs) != 1:
            raise UnsupportedLayer(f"the graph takes {len(inputs)} tensors; expected one, the images")
        self.input_name = inputs[0].name
        self.input_shape = tuple(d.dim_value for d in inputs[0].type.tensor_type.shape.dim[1:])
        self.alias[self.input_name] = "images"
        self.shapes["images"] = self.input_shape
        for node in graph.node:
            self.node(node)

    # Nodes //

    def node(self, node: Any) -> None:
        from onnx import helper

        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        read = getattr(self, f"op_{node.op_type.lower()}", None)
        if read is None:
            self.refuse(node, f"this operator is not supported; supported: {SUPPORTED}")
        read(node, attributes)

    def refuse(self, node: Any, reason: str) -> NoReturn:
        raise UnsupportedLayer(f"node {node.name or node.output[0]!r} ({node.op_type}): {reason}")

    def add(self, node: Any, kind: str, shape: tuple[int, ...], **more: Any) -> None:
        """One more operation, which takes what the node's tensors hold."""
        from twinor.quantize.trace import Op

        sources = tuple(self.source(node, name) for name in node.input if name in self.alias)
        name = f"{kind}{sum(op.kind == kind for op in self.ops) + 1}"
        place = f"node {node.name or node.output[0]!r} ({node.op_type})"
        self.ops.append(Op(name=name, kind=kind, sources=sources, shape=shape, place=place, **more))
        self.alias[node.output[0]], self.shapes[name] = name, shape

    def source(self, node: Any, tensor: str) -> str:
        if tensor not in self.alias:
            self.refuse(node, f"it takes {tensor}, which nothing before it gives")
        return self.alias[tensor]

    def came(self, node: Any) -> tuple[int, ...]:
        return self.shapes[self.source(node, node.input[0])]

    def constant(self, node: Any, index: int) -> NDArray[Any]:
        name = node.input[index]
        if name not in self.arrays:
            self.refuse(node, f"{name} must be a constant")
        return self.arrays[name]

    def op_constant(self, node: Any, attributes: dict[str, Any]) -> None:
        from onnx import numpy_helper

        self.arrays[node.output[0]] = numpy_helper.to_array(attributes["value"])

    def op_identity(self, node: Any, _: dict[str, Any]) -> None:
        self.alias[node.output[0]] = self.source(node, node.input[0])

    op_dropout = op_identity

    def op_quant(self, node: Any, attributes: dict[str, Any]) -> None:
        scale, zero, bits = (self.constant(node, n).astype(np.float64) for n in (1, 2, 3))
        signed, mode = bool(attributes.get("signed", 1)), attributes.get("rounding_mode", b"ROUND")
        if np.any(zero != 0) or mode != b"ROUND":
            self.refuse(node, f"zero point {zero.ravel()[0]}, rounding {mode.decode()}; supported: 0 and ROUND")
        width = int(bits)
        if node.input[0] in self.arrays:
            self.quant_weights(node, scale, width, narrow=bool(attributes.get("narrow", 0)), signed=signed)
            return
        name = self.source(node, node.input[0])
        if scale.size != 1:
            self.refuse(node, f"{scale.size} scales; activations have one")
        if name == "images":
            if signed or self.input_bits:
                self.refuse(node, "images must pass one Quant node, without a sign")
            self.input_bits = width
        elif width != 4 or bool(attributes.get("narrow", 0)):
            self.refuse(node, f"activations of {width} bits; supported: 4 bits, not narrow")
        if name in self.scales or any(
            op.name == name and op.kind in HOST for op in self.ops
        ):  # codes already: other codes for them
            self.add(node, "copy", self.shapes[name])
            name = self.ops[-1].name
        self.scales[name] = float(scale.ravel()[0]), signed
        self.alias[node.output[0]] = name

    def quant_weights(self, node: Any, scale: NDArray[Any], bits: int, *, narrow: bool, signed: bool) -> None:
        top = (1 << (bits - 1)) - 1
        values = self.arrays[node.input[0]].astype(np.float64)
        if not signed or bits > 4:
            self.refuse(
                node, f"{'signed' if signed else 'unsigned'} weights of {bits} bits; supported: signed, up to 4"
            )
        codes = np.clip(np.rint(values / scale), -top if narrow else -top - 1, top).astype(np.int64)
        if codes.min(initial=0) < -7:
            self.refuse(node, "weights reach -8; supported: narrow range, -7 .. 7")
        channels = scale.ravel() if scale.size > 1 else np.repeat(scale.ravel(), len(values))
        if scale.size > 1 and scale.shape[0] != len(values):
            self.refuse(node, f"scales of shape {scale.shape}; supported: one, or one per output channel")
        self.weights[node.output[0]] = codes, channels

    def op_conv(self, node: Any, attributes: dict[str, Any]) -> None:
        from torch import nn

        if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
            self.refuse(node, f"auto_pad is {attributes['auto_pad'].decode()}; supported: pads")
        codes, _ = self.quantized(node)
        rank = codes.ndim - 2
        pads: list[int] = attributes.get("pads", [0] * 2 * rank)
        if pads[:rank] != pads[rank:]:
            self.refuse(node, f"pads {pads}; supported: the same on both sides")
        group: int = attributes.get("group", 1)
        kinds: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        conv = kinds[rank - 1](
            codes.shape[1] * group, len(codes), codes.shape[2:], attributes.get("strides", [1] * rank),
            tuple(pads[:rank]), attributes.get("dilations", [1] * rank), group,
        )  # fmt: skip
        sizes = [
            (n + 2 * p - (k - 1) * d - 1) // s + 1
            for n, p, k, d, s in zip(
                self.came(node)[1:], conv.padding, conv.kernel_size, conv.dilation, conv.stride, strict=True
            )
        ]
        self.weighted(node, conv, "conv", (len(codes), *sizes), bias=2)

    def op_gemm(self, node: Any, attributes: dict[str, Any]) -> None:
        from torch import nn

        plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0 and not attributes.get("transA", 0)
        if not plain or not attributes.get("transB", 0):
            self.refuse(node, "supported: alpha and beta of 1, transA 0, transB 1")
        codes, _ = self.quantized(node)
        self.weighted(node, nn.Linear(codes.shape[1], len(codes)), "linear", (len(codes),), bias=2)

    def op_matmul(self, node: Any, _: dict[str, Any]) -> None:
        self.refuse(node, "supported: Gemm with transB; export linear layers with their bias")

    def quantized(self, node: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if node.input[1] not in self.weights:
            self.refuse(node, f"its weights {node.input[1]} pass no Quant node")
        if self.source(node, node.input[0]) == "images" and not self.input_bits:
            self.refuse(node, "the images pass no Quant node")
        return self.weights[node.input[1]]

    def weighted(self, node: Any, module: Any, kind: str, shape: tuple[int, ...], *, bias: int) -> None:
        """A layer with weights; they stay real numbers that give back the codes."""
        import torch

        codes, scales = self.quantized(node)
        real = codes * scales.reshape(-1, *(1,) * (codes.ndim - 1))
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(real))
            module.bias.zero_()
            if len(node.input) > bias:
                module.bias.copy_(torch.from_numpy(self.constant(node, bias).copy()))
        self.add(node, kind, shape, module=module)
        self.weights[self.ops[-1].name] = codes, scales

    def op_batchnormalization(self, node: Any, attributes: dict[str, Any]) -> None:
        import torch
        from torch import nn

        gamma, beta, mean, var = (torch.from_numpy(self.constant(node, n).copy()) for n in range(1, 5))
        norm = nn.BatchNorm2d(len(gamma), eps=attributes.get("epsilon", 1e-5))
        norm.load_state_dict(
            {
                "weight": gamma, "bias": beta, "running_mean": mean, "running_var": var,
                "num_batches_tracked": torch.zeros((), dtype=torch.int64),
            }
        )  # fmt: skip
        self.add(node, "norm", self.came(node), module=norm.eval())

    def op_relu(self, node: Any, _: dict[str, Any]) -> None:
        self.add(node, "relu", self.came(node))

    def op_add(self, node: Any, _: dict[str, Any]) -> None:
        if any(name not in self.alias for name in node.input):
            self.refuse(node, "supported: the sum of two activations")
        self.add(node, "add", self.came(node))

    def op_concat(self, node: Any, attributes: dict[str, Any]) -> None:
        shapes = [self.shapes[self.source(node, name)] for name in node.input]
        if attributes["axis"] not in (1, -len(shapes[0])):
            self.refuse(node, f"axis {attributes['axis']}; supported: channels, axis 1")
        self.add(node, "cat", (sum(shape[0] for shape in shapes), *shapes[0][1:]))

    def op_flatten(self, node: Any, attributes: dict[str, Any]) -> None:
        if attributes.get("axis", 1) != 1:
            self.refuse(node, f"axis {attributes['axis']}; supported: 1")
        self.add(node, "flatten", (math.prod(self.came(node)),))

    def op_reshape(self, node: Any, _: dict[str, Any]) -> None:
        target = self.constant(node, 1).tolist()
        size = math.prod(self.came(node))
        if len(target) != 2 or target[1] not in (-1, size):
            self.refuse(node, f"to {target}; supported: an image to one row of {size}")
        self.add(node, "flatten", (size,))

    def op_maxpool(self, node: Any, attributes: dict[str, Any]) -> None:
        self.pool(node, "max", attributes, attributes["kernel_shape"])

    def op_averagepool(self, node: Any, attributes: dict[str, Any]) -> None:
        if any(attributes.get("pads", [])) and not attributes.get("count_include_pad", 0):
            self.refuse(node, "count_include_pad is 0, so windows at the border divide by less")
        self.pool(node, "avg", attributes, attributes["kernel_shape"])

    def op_globalaveragepool(self, node: Any, _: dict[str, Any]) -> None:
        self.pool(node, "avg", {}, list(self.came(node)[1:]))

    def pool(self, node: Any, kind: str, attributes: dict[str, Any], kernel: list[int]) -> None:
        from twinor.quantize.windows import Window

        rank, came = len(kernel), self.came(node)
        pads = attributes.get("pads", [0] * 2 * rank)
        stride = tuple(attributes.get("strides", [1] * rank))
        gaps = tuple(attributes.get("dilations", [1] * rank))
        if attributes.get("ceil_mode", 0):
            self.refuse(node, "ceil_mode is 1; supported: 0")
        padding = tuple(zip(pads[:rank], pads[rank:], strict=True))
        window = Window(kernel=tuple(kernel), stride=stride, padding=padding, dilation=gaps, divisor=math.prod(kernel))
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, gaps, strict=True)]
        sizes = [(n + sum(p) - r) // s + 1 for n, p, r, s in zip(came[1:], padding, reach, stride, strict=True)]
        self.add(node, kind, (came[0], *sizes), window=window)

    # The network //

    def network(self) -> QuantNetwork:
        """The quantized network whose thresholds and clips are what the Quant nodes say."""
        from twinor.quantize.prepare import assemble
        from twinor.quantize.thresholds import Phase

        if "images" not in self.scales:
            raise UnsupportedLayer("the images pass no Quant node, so nothing says what their codes are")
        network, built = assemble(
            self.ops,
            self.input_shape,
            input_bits=self.input_bits,
            input_step=self.scales["images"][0],
            ends=frozenset(self.scales),
        )
        for layer in network.layers:
            self.settle(layer, built[str(layer.name)])
        network.set_phase(Phase.FREEZE)
        self.check_shortcuts(network.eval(), built)
        return network

    def check_shortcuts(self, network: QuantNetwork, built: dict[str, list[Op]]) -> None:
        """The codes of a shortcut join with an integer multiplier, so the ratio of both scales must be one."""
        from twinor.quantize.modules import QuantLayer

        steps = {"images": network.input_step}
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
                        f"{built[name][-1].place}: the scales of what it adds have no whole ratio; let both pass a "
                        "Quant node of one scale first, as the residual networks of Brevitas do"
                    )

    def settle(self, layer: Any, ops: list[Op]) -> None:
        """Give a layer the scales of its operations."""
        import torch

        with torch.no_grad():
            weights = next((self.weights[op.name] for op in ops if op.name in self.weights), None)
            layer.matched = True
            if weights is not None:
                log2 = torch.from_numpy(np.log2(7 * weights[1])).float()
                layer.threshold = type(layer.threshold)(len(log2))
                layer.threshold.log2_t.copy_(log2)
            clip = getattr(layer, "clip", None)
            if clip is None:
                return
            if ops[-1].name not in self.scales:
                raise UnsupportedLayer(f"{ops[-1].place}: its result passes no Quant node and is not the last one")
            scale, signed = self.scales[ops[-1].name]
            clip.signed = signed
            clip.log2_alpha.fill_(math.log2(scale * clip.hi))
