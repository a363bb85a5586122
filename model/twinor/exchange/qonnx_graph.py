# SPDX-License-Identifier: Apache-2.0
"""A QONNX graph as the operations that `trace` would have found, and what its Quant nodes say of scales and signs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from twinor.errors import UnsupportedLayer
from twinor.network import IMAGES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.quantize.trace import Op

__all__ = ["QonnxGraph"]

HOST = ("max", "flatten", "cat")
"""Operations that leave codes as they are."""

IMAGE_BITS_MAX = 8
"""Bits of an image code."""

SUPPORTED = (
    "Quant, Conv, Gemm, BatchNormalization, Relu, MaxPool, AveragePool, GlobalAveragePool, Add, Concat, Flatten, "
    "Reshape to one row"
)


class QonnxGraph:
    """Reads the nodes that the output depends on, in order.

    Attributes:
        ops: the operations that `trace` would have found.
        scales: scale and sign of the codes of an operation, or of the images, by its name.
        weights: codes and scales of a tensor of weights, and of the operation that has them.
        input_shape: shape of one image, channels first.
        input_bits: bits of an image code.
        result: the operation whose result is the graph's output.

    Raises:
        UnsupportedLayer: names the node that cannot be mapped, and why.
    """

    def __init__(self, graph: Any) -> None:
        """Read an `onnx.GraphProto`."""
        from onnx import numpy_helper

        self._arrays: dict[str, NDArray[Any]] = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self.ops: list[Op] = []
        self._alias: dict[str, str] = {}
        """Operation, or `images`, that has the value of a tensor."""
        self._shapes: dict[str, tuple[int, ...]] = {}
        self.scales: dict[str, tuple[float, bool]] = {}
        self.weights: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
        self.input_bits = 0
        inputs = [i for i in graph.input if i.name not in self._arrays]
        if len(inputs) != 1:
            raise UnsupportedLayer(f"the graph takes {len(inputs)} tensors; expected one, the images")
        if len(graph.output) != 1:
            raise UnsupportedLayer(f"the graph gives {len(graph.output)} tensors; expected one, the logits")
        self.input_shape = _image_shape(inputs[0])
        self._alias[inputs[0].name] = IMAGES
        self._shapes[IMAGES] = self.input_shape
        self._output: str = graph.output[0].name
        self._nodes = _needed(graph, self._output)
        for node in self._nodes:
            self._node(node)
        if not any(op.kind in ("conv", "linear") for op in self.ops) or self._output not in self._alias:
            raise UnsupportedLayer(
                f"the graph's output {self._output} comes from no convolution and no linear layer, so there is nothing "
                "to put on a macro; declare the logits as the output"
            )
        self.result = self._alias[self._output]

    # Nodes //

    def _node(self, node: Any) -> None:
        from onnx import helper

        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        read = getattr(self, f"_op_{node.op_type.lower()}", None)
        if read is None:
            self._refuse(node, f"this operator is not supported; supported: {SUPPORTED}")
        read(node, attributes)

    def _refuse(self, node: Any, reason: str) -> NoReturn:
        raise UnsupportedLayer(f"node {node.name or node.output[0]!r} ({node.op_type}): {reason}")

    def _add(self, node: Any, kind: str, shape: tuple[int, ...], **more: Any) -> None:
        """One more operation, which takes what the node's tensors hold."""
        from twinor.quantize.trace import Op

        sources = tuple(self._source(node, name) for name in node.input if name in self._alias)
        name = f"{kind}{sum(op.kind == kind for op in self.ops) + 1}"
        place = f"node {node.name or node.output[0]!r} ({node.op_type})"
        self.ops.append(Op(name=name, kind=kind, sources=sources, shape=shape, place=place, **more))
        self._alias[node.output[0]], self._shapes[name] = name, shape

    def _source(self, node: Any, tensor: str) -> str:
        if tensor not in self._alias:
            self._refuse(node, f"it takes {tensor}, which nothing before it gives")
        return self._alias[tensor]

    def _came(self, node: Any) -> tuple[int, ...]:
        return self._shapes[self._source(node, node.input[0])]

    def _constant(self, node: Any, index: int) -> NDArray[Any]:
        name = node.input[index]
        if name not in self._arrays:
            self._refuse(node, f"{name} must be a constant")
        return self._arrays[name]

    def _op_constant(self, node: Any, attributes: dict[str, Any]) -> None:
        from onnx import numpy_helper

        kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
        (key, value), *_ = [*attributes.items(), ("no value", None)]
        if key == "value":
            self._arrays[node.output[0]] = numpy_helper.to_array(value)
        elif key in kinds:
            self._arrays[node.output[0]] = np.asarray(value, dtype=kinds[key])
        else:
            self._refuse(node, f"it has {key}; supported: value, {', '.join(kinds)}")

    def _op_identity(self, node: Any, _: dict[str, Any]) -> None:
        self._alias[node.output[0]] = self._source(node, node.input[0])

    _op_dropout = _op_identity

    def _op_quant(self, node: Any, attributes: dict[str, Any]) -> None:
        scale, bits = self._quantizer(node, attributes)
        signed, narrow = bool(attributes.get("signed", 1)), bool(attributes.get("narrow", 0))
        if node.input[0] in self._arrays:
            self._quant_weights(node, scale, bits, narrow=narrow, signed=signed)
            return
        name = self._source(node, node.input[0])
        if scale.size != 1:
            self._refuse(node, f"{scale.size} scales; activations have one")
        if name == IMAGES:
            if signed or self.input_bits:
                self._refuse(node, "images must pass one Quant node, without a sign")
            if narrow or not 1 <= bits <= IMAGE_BITS_MAX:
                self._refuse(
                    node, f"images of {bits} bits{', narrow' * narrow}; expected 1 .. {IMAGE_BITS_MAX} bits, not narrow"
                )
            self.input_bits = bits
        elif bits != 4 or narrow:
            self._refuse(node, f"activations of {bits} bits; supported: 4 bits, not narrow")
        if name in self.scales or any(op.name == name and op.kind in HOST for op in self.ops):
            self._add(node, "copy", self._shapes[name])  # codes already: other codes for them
            name = self.ops[-1].name
        else:
            self._alone(node, {tensor for tensor, alias in self._alias.items() if alias == name})
        self.scales[name] = float(scale.ravel()[0]), signed
        self._alias[node.output[0]] = name

    def _alone(self, node: Any, taken: set[str]) -> None:
        """Refuse a Quant node whose operand something else takes too: it would get codes instead of real values."""
        for other in self._nodes:
            same = other.op_type == "Quant" and (list(other.input), list(other.attribute)) == (
                list(node.input), list(node.attribute),
            )  # fmt: skip
            if taken & set(other.input) and not taken & set(other.output) and not same:
                self._refuse(
                    node,
                    f"what it takes goes to node {other.name or other.output[0]!r} ({other.op_type}) too, without this "
                    "Quant node; let both take what one Quant node gives",
                )

    def _quantizer(self, node: Any, attributes: dict[str, Any]) -> tuple[NDArray[np.float64], int]:
        """Scales and bits of a Quant node."""
        scale, zero, bits = (self._constant(node, n).astype(np.float64) for n in (1, 2, 3))
        mode = attributes.get("rounding_mode", b"ROUND")
        if np.any(zero != 0) or mode != b"ROUND":
            self._refuse(node, f"zero point {zero.ravel()[0]}, rounding {mode.decode()}; supported: 0 and ROUND")
        bad = scale[~(np.isfinite(scale) & (scale > 0))]
        if bad.size:
            self._refuse(node, f"scale {bad[0]}; expected above 0 and finite; let the network see images before export")
        if bits.size != 1 or not float(bits.ravel()[0]).is_integer():
            self._refuse(node, f"bit width {bits.ravel().tolist()}; supported: one whole number")
        return scale, int(bits.ravel()[0])

    def _quant_weights(self, node: Any, scale: NDArray[Any], bits: int, *, narrow: bool, signed: bool) -> None:
        values = self._arrays[node.input[0]].astype(np.float64)
        if not signed or not 2 <= bits <= 4:
            self._refuse(
                node, f"{'signed' if signed else 'unsigned'} weights of {bits} bits; supported: signed, up to 4"
            )
        if scale.size > 1 and scale.shape != (len(values), *(1,) * (values.ndim - 1)):
            self._refuse(node, f"scales of shape {scale.shape}; supported: one, or one per output channel")
        if not np.isfinite(values).all():
            self._refuse(node, "weights are NaN or infinite; expected finite numbers")
        top = (1 << (bits - 1)) - 1
        codes = np.clip(np.rint(values / scale), -top if narrow else -top - 1, top).astype(np.int64)
        if codes.min(initial=0) < -7:
            self._refuse(node, "weights reach -8; supported: narrow range, -7 .. 7")
        channels = scale.ravel() if scale.size > 1 else np.repeat(scale.ravel(), len(values))
        self.weights[node.output[0]] = codes, channels

    def _op_conv(self, node: Any, attributes: dict[str, Any]) -> None:
        from torch import nn

        codes, _ = self._quantized(node)
        rank, group = codes.ndim - 2, attributes.get("group", 1)
        if not 1 <= rank <= 3:
            self._refuse(node, f"weights of shape {codes.shape}; supported: 1, 2 or 3 dimensions")
        self._takes(node, (codes.shape[1] * group, *self._came(node)[1:]), rank)
        pads = self._pads(node, attributes, rank)
        if pads[:rank] != pads[rank:]:
            self._refuse(node, f"pads {pads}; supported: the same on both sides")
        kinds: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        conv = kinds[rank - 1](
            codes.shape[1] * group, len(codes), codes.shape[2:], attributes.get("strides", [1] * rank),
            tuple(pads[:rank]), attributes.get("dilations", [1] * rank), group,
        )  # fmt: skip
        sizes = [
            (n + 2 * p - (k - 1) * d - 1) // s + 1
            for n, p, k, d, s in zip(
                self._came(node)[1:], conv.padding, conv.kernel_size, conv.dilation, conv.stride, strict=True
            )
        ]
        self._weighted(node, conv, "conv", (len(codes), *sizes), bias=2)

    def _op_gemm(self, node: Any, attributes: dict[str, Any]) -> None:
        from torch import nn

        plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0 and not attributes.get("transA", 0)
        if not plain or not attributes.get("transB", 0):
            self._refuse(node, "supported: alpha and beta of 1, transA 0, transB 1")
        codes, _ = self._quantized(node)
        self._takes(node, codes.shape[1:], 0)
        self._weighted(node, nn.Linear(codes.shape[1], len(codes)), "linear", (len(codes),), bias=2)

    def _op_matmul(self, node: Any, _: dict[str, Any]) -> None:
        self._refuse(node, "supported: Gemm with transB; export linear layers with their bias")

    def _takes(self, node: Any, shape: tuple[int, ...], rank: int) -> None:
        """Refuse an operand of another shape, or with other than `rank` dimensions beside the channels."""
        came = self._came(node)
        if came != shape or len(came) != 1 + rank:
            self._refuse(node, f"its operand has shape {came}; expected {shape[0]} channels and {rank} dimensions more")

    def _pads(self, node: Any, attributes: dict[str, Any], rank: int) -> list[int]:
        """Padding of a window: all begins, then all ends."""
        if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
            self._refuse(node, f"auto_pad is {attributes['auto_pad'].decode()}; supported: pads")
        pads: list[int] = attributes.get("pads", [0] * 2 * rank)
        return pads

    def _quantized(self, node: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if node.input[1] not in self.weights:
            self._refuse(node, f"its weights {node.input[1]} pass no Quant node")
        if self._source(node, node.input[0]) == IMAGES and not self.input_bits:
            self._refuse(node, "the images pass no Quant node")
        return self.weights[node.input[1]]

    def _weighted(self, node: Any, module: Any, kind: str, shape: tuple[int, ...], *, bias: int) -> None:
        """A layer with weights; they stay real numbers that give back the codes."""
        import torch

        codes, scales = self._quantized(node)
        real = codes * scales.reshape(-1, *(1,) * (codes.ndim - 1))
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(real))
            module.bias.zero_()
            if len(node.input) > bias:
                module.bias.copy_(torch.from_numpy(self._constant(node, bias).copy()))
        self._add(node, kind, shape, module=module)
        self.weights[self.ops[-1].name] = codes, scales

    def _op_batchnormalization(self, node: Any, attributes: dict[str, Any]) -> None:
        import torch
        from torch import nn

        if attributes.get("training_mode", 0):
            self._refuse(node, "training_mode is 1; supported: 0; export in evaluation mode")
        gamma, beta, mean, var = (torch.from_numpy(self._constant(node, n).copy()) for n in range(1, 5))
        norm = nn.BatchNorm2d(len(gamma), eps=attributes.get("epsilon", 1e-5))
        norm.load_state_dict(
            {
                "weight": gamma, "bias": beta, "running_mean": mean, "running_var": var,
                "num_batches_tracked": torch.zeros((), dtype=torch.int64),
            }
        )  # fmt: skip
        self._add(node, "norm", self._came(node), module=norm.eval())

    def _op_relu(self, node: Any, _: dict[str, Any]) -> None:
        self._add(node, "relu", self._came(node))

    def _op_add(self, node: Any, _: dict[str, Any]) -> None:
        if any(name not in self._alias for name in node.input):
            self._refuse(node, "supported: the sum of two activations")
        one, other = (self._shapes[self._alias[name]] for name in node.input)
        if one != other:
            self._refuse(node, f"it adds shapes {one} and {other}; supported: the sum of two activations of one shape")
        self._add(node, "add", self._came(node))

    def _op_concat(self, node: Any, attributes: dict[str, Any]) -> None:
        shapes = [self._shapes[self._source(node, name)] for name in node.input]
        if attributes["axis"] not in (1, -len(shapes[0])):
            self._refuse(node, f"axis {attributes['axis']}; supported: channels, axis 1")
        if len({shape[1:] for shape in shapes}) > 1:
            self._refuse(node, f"it joins shapes {shapes}; expected them to differ in channels alone")
        self._add(node, "cat", (sum(shape[0] for shape in shapes), *shapes[0][1:]))

    def _op_flatten(self, node: Any, attributes: dict[str, Any]) -> None:
        if attributes.get("axis", 1) != 1:
            self._refuse(node, f"axis {attributes['axis']}; supported: 1")
        self._add(node, "flatten", (math.prod(self._came(node)),))

    def _op_reshape(self, node: Any, _: dict[str, Any]) -> None:
        target = self._constant(node, 1).tolist()
        size = math.prod(self._came(node))
        if len(target) != 2 or target[1] not in (-1, size):
            self._refuse(node, f"to {target}; supported: an image to one row of {size}")
        self._add(node, "flatten", (size,))

    def _op_maxpool(self, node: Any, attributes: dict[str, Any]) -> None:
        self._pool(node, "max", attributes, attributes["kernel_shape"])

    def _op_averagepool(self, node: Any, attributes: dict[str, Any]) -> None:
        if any(attributes.get("pads", [])) and not attributes.get("count_include_pad", 0):
            self._refuse(node, "count_include_pad is 0, so windows at the border divide by less")
        if any(gap != 1 for gap in attributes.get("dilations", [])):
            self._refuse(node, f"dilations {attributes['dilations']}; supported: 1")
        self._pool(node, "avg", attributes, attributes["kernel_shape"])

    def _op_globalaveragepool(self, node: Any, _: dict[str, Any]) -> None:
        self._pool(node, "avg", {}, list(self._came(node)[1:]))

    def _pool(self, node: Any, kind: str, attributes: dict[str, Any], kernel: list[int]) -> None:
        from twinor.quantize.windows import Window

        rank, came = len(kernel), self._came(node)
        pads = self._pads(node, attributes, rank)
        self._takes(node, came, rank)
        stride = tuple(attributes.get("strides", [1] * rank))
        gaps = tuple(attributes.get("dilations", [1] * rank))
        if attributes.get("ceil_mode", 0):
            self._refuse(node, "ceil_mode is 1; supported: 0")
        padding = tuple(zip(pads[:rank], pads[rank:], strict=True))
        window = Window(kernel=tuple(kernel), stride=stride, padding=padding, dilation=gaps, divisor=math.prod(kernel))
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, gaps, strict=True)]
        sizes = [(n + sum(p) - r) // s + 1 for n, p, r, s in zip(came[1:], padding, reach, stride, strict=True)]
        self._add(node, kind, (came[0], *sizes), window=window)


def _image_shape(value: Any) -> tuple[int, ...]:
    """Shape of one image of the graph's input, whose first dimension counts images."""
    dims = value.type.tensor_type.shape.dim
    shape = tuple(d.dim_value for d in dims[1:])
    if not shape or min(shape) < 1:
        said = ", ".join(d.dim_param or str(d.dim_value or "?") for d in dims)
        raise UnsupportedLayer(
            f"the images {value.name} have shape ({said}); expected fixed sizes, but for the number of images; "
            "export the network for images of one size"
        )
    return shape


def _needed(graph: Any, output: str) -> list[Any]:
    """Nodes that an output depends on, in order."""
    makers = {name: n for n, node in enumerate(graph.node) for name in node.output if name}
    found: set[int] = set()
    ask = [output]
    while ask:
        maker = makers.get(ask.pop())
        if maker is not None and maker not in found:
            found.add(maker)
            ask += graph.node[maker].input
    return [node for n, node in enumerate(graph.node) if n in found]
