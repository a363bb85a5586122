# SPDX-License-Identifier: Apache-2.0
"""An integer network as ONNX of standard operators: every tensor between layers holds the integers of ours.

Dot products are float32 convolutions of integers, exact below 2**24; requantization is
`Clip(Floor((acc * mult + add) * 2**-shift))` in float64, exact below 2**53.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from twinor.errors import TwinorError
from twinor.network import AvgPool, Concat, Conv, Flatten, Linear, MaxPool
from twinor.shapes import check_graph, output_shapes
from twinor.store import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from twinor.network import IntegerNetwork, Layer, Requant, Sides, WeightLayer

__all__ = ["OPSET", "write_onnx"]

OPSET = 19
"""Version of the standard operators; the first in which Pad wraps around."""

EXACT_MAX = 1 << 24
PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def write_onnx(path: Path, network: IntegerNetwork) -> None:
    """Write an integer network as ONNX; input `images` uint8 or int8 [N, *input_shape], output `logits` int64.

    Args:
        path: the file.
        network: any integer network.

    Raises:
        TwinorError: onnx is not installed, an accumulator can exceed what float32 counts to, or the file cannot be
            written.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise TwinorError(f"writing ONNX needs onnx ({error}); install twinor[exchange]") from error
    check_graph(network)
    graph = _Graph(network)
    shape: list[str | int | None] = ["N", *network.input_shape]
    last = network.layers[-1].name
    kind = onnx.TensorProto.INT8 if network.input_signed else onnx.TensorProto.UINT8
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "twinor",
            [onnx.helper.make_tensor_value_info("images", kind, shape)],
            [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.INT64, ["N", *graph.shapes[last]])],
            [onnx.numpy_helper.from_array(array, name) for name, array in graph.arrays.items()],
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=9,
        producer_name="twinor",
    )
    onnx.helper.set_model_props(model, {key: str(value) for key, value in network.provenance.items()})
    onnx.checker.check_model(model, full_check=True)
    write_bytes(path, model.SerializeToString())


class _Graph:
    """Nodes and arrays, made layer by layer; names of tensors are those of the layers."""

    def __init__(self, network: IntegerNetwork) -> None:
        self.nodes: list[Any] = []
        self.arrays: dict[str, NDArray[Any]] = {}
        self.ranges, self.shapes = network.ranges(), output_shapes(network)
        self.add("Cast", ["images"], "images.float", to=1)
        self.tensors = {"images": "images.float"}
        sources = network.sources()
        for layer in network.layers:
            came = [self.tensors[name] for name in sources[layer.name]]
            self.tensors[layer.name] = self.layer(layer, sources[layer.name], came)
        self.add("Cast", [self.tensors[network.layers[-1].name]], "logits", to=7)

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """One node; its output's name."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def array(self, name: str, values: Any, dtype: Any) -> str:
        """One constant; its name."""
        self.arrays[name] = np.ascontiguousarray(np.asarray(values, dtype=dtype))
        return name

    def layer(self, layer: Layer, sources: tuple[str, ...], came: list[str]) -> str:
        """Nodes of one layer; the name of what it puts out."""
        name = layer.name
        if isinstance(layer, Conv | Linear):
            return self.requant(layer.requant, name, self.accumulator(layer, sources, came))
        if isinstance(layer, Flatten):
            return self.add("Flatten", came, name, axis=1)
        if isinstance(layer, Concat):
            return self.add("Concat", came, name, axis=1)
        if isinstance(layer, MaxPool):
            where = {"kernel_shape": layer.kernel, "strides": layer.stride, "dilations": layer.dilation}
            return self.add("MaxPool", came, name, pads=_pads(layer.padding), **where)
        assert isinstance(layer, AvgPool)
        channels = self.shapes[sources[0]][0]
        ones = self.array(f"{name}.ones", np.ones((channels, 1, *layer.kernel)), np.float32)
        total = self.add(
            "Conv", [came[0], ones], f"{name}.sum", strides=layer.stride, pads=_pads(layer.padding), group=channels
        )
        if layer.requant is None:
            return total
        return self.requant(layer.requant, name, self.add("Cast", [total], f"{name}.acc", to=11))

    def accumulator(self, layer: WeightLayer, sources: tuple[str, ...], came: list[str]) -> str:
        """The accumulator in float64, its shortcut included."""
        largest = max(map(abs, self.ranges[sources[0]]))
        rows = np.abs(layer.weight.reshape(len(layer.weight), -1).astype(np.int64)).sum(axis=1)
        if largest * int(rows.max()) >= EXACT_MAX:
            raise TwinorError(f"layer {layer.name}: accumulators reach {largest * int(rows.max())}, inexact in float32")
        stored = self.array(f"{layer.name}.weight", layer.weight, np.int8)
        weight = self.add("Cast", [stored], f"{layer.name}.weight.float", to=1)
        x = came[0]
        if isinstance(layer, Linear):
            dot = self.add("Gemm", [x, weight], f"{layer.name}.dot", transB=1)
        else:
            pads = _pads(layer.padding)
            if layer.padding_mode != "zeros" and any(pads):
                amounts = self.array(f"{layer.name}.pads", _pads(((0, 0), (0, 0), *layer.padding)), np.int64)
                x = self.add("Pad", [x, amounts], f"{layer.name}.padded", mode=PAD_MODES[layer.padding_mode])
                pads = [0] * len(pads)
            where = {"strides": layer.stride, "dilations": layer.dilation, "group": layer.groups}
            dot = self.add("Conv", [x, weight], f"{layer.name}.dot", pads=pads, **where)
        acc = self.add("Cast", [dot], f"{layer.name}.acc", to=11)
        if layer.shortcut is None:
            return acc
        codes = self.add("Cast", [came[1]], f"{layer.name}.codes", to=11)
        mult = self.array(f"{layer.name}.shortcut", _along(layer.shortcut.mult, layer), np.float64)
        added = self.add("Mul", [codes, mult], f"{layer.name}.added")
        return self.add("Add", [acc, added], f"{layer.name}.sum")

    def requant(self, rule: Requant, name: str, acc: str) -> str:
        """The one rule, exactly; codes in float32, logits in float64."""
        rank = len(self.shapes[name]) if name in self.shapes else 1
        shape = (1, -1, *(1,) * (rank - 1))
        mult = self.array(f"{name}.mult", rule.mult.reshape(shape), np.float64)
        add = self.array(f"{name}.add", rule.add.reshape(shape), np.float64)
        scale = self.array(f"{name}.scale", 2.0**-rule.shift, np.float64)
        product = self.add("Mul", [acc, mult], f"{name}.product")
        total = self.add("Add", [product, add], f"{name}.total")
        whole = self.add("Floor", [self.add("Mul", [total, scale], f"{name}.scaled")], f"{name}.floor")
        limits = [self.array(f"{name}.{end}", value, np.float64) for end, value in (("lo", rule.lo), ("hi", rule.hi))]
        clipped = self.add("Clip", [whole, *limits], f"{name}.clipped")
        return self.add("Cast", [clipped], name, to=1) if rule.hi < EXACT_MAX else clipped


def _pads(sides: Sides) -> list[int]:
    """Padding as ONNX has it: all begins, then all ends."""
    return [before for before, _ in sides] + [after for _, after in sides]


def _along(values: NDArray[Any], layer: WeightLayer) -> NDArray[Any]:
    rank = 1 if isinstance(layer, Linear) else 1 + len(layer.kernel)
    return values.reshape(1, -1, *(1,) * (rank - 1))
