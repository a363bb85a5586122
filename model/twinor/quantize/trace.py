# SPDX-License-Identifier: Apache-2.0
"""An ordinary `nn.Module` as a list of operations: what it does, with which module, where in the source, to what shape.

torch.fx follows the forward pass; every operation is one of a few kinds, or a sentence says which one is not and why.
"""

from __future__ import annotations

import operator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from twinor.errors import UnsupportedLayer
from twinor.network import IMAGES
from twinor.quantize.windows import Window, pool_window

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SUPPORTED", "Op", "trace"]

SUPPORTED = (
    "Conv1d, Conv2d, Conv3d, Linear, BatchNorm1d, BatchNorm2d, BatchNorm3d, ReLU, ReLU6, max, average and adaptive "
    "pooling, flatten, dropout, add, cat, and a softmax at the end"
)

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
AVG_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
SOFTMAX = (nn.Softmax, nn.LogSoftmax)
DROPOUTS = (functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d)

KINDS: dict[Any, str] = {
    **dict.fromkeys(CONVOLUTIONS, "conv"),
    **dict.fromkeys(NORMS, "norm"),
    **dict.fromkeys(MAX_POOLS, "max"),
    **dict.fromkeys(AVG_POOLS, "avg"),
    **dict.fromkeys(NOTHING, "same"),
    **dict.fromkeys(SOFTMAX, "softmax"),
    nn.Linear: "linear",
    nn.ReLU: "relu",
    nn.ReLU6: "relu",
    nn.Flatten: "flatten",
    **dict.fromkeys((functional.relu, functional.relu_, torch.relu, torch.relu_, functional.relu6), "relu"),
    **dict.fromkeys((operator.add, operator.iadd, torch.add), "add"),
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), "cat"),
    **dict.fromkeys((torch.flatten, torch.reshape, torch.squeeze), "flatten"),
    **dict.fromkeys((functional.max_pool1d, functional.max_pool2d, functional.max_pool3d), "max"),
    **dict.fromkeys((torch.max_pool1d, torch.max_pool2d, torch.max_pool3d), "max"),
    **dict.fromkeys((functional.adaptive_max_pool1d, functional.adaptive_max_pool2d), "max"),
    **dict.fromkeys((functional.adaptive_max_pool3d,), "max"),
    **dict.fromkeys((functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d), "avg"),
    **dict.fromkeys((functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d), "avg"),
    **dict.fromkeys((functional.adaptive_avg_pool3d,), "avg"),
    torch.mean: "mean",
    **dict.fromkeys(DROPOUTS, "same"),
    **dict.fromkeys((functional.softmax, functional.log_softmax, torch.softmax, torch.log_softmax), "softmax"),
    **dict.fromkeys(("relu", "relu_"), "relu"),
    **dict.fromkeys(("add", "add_"), "add"),
    **dict.fromkeys(("flatten", "view", "reshape", "squeeze"), "flatten"),
    "mean": "mean",
    **dict.fromkeys(("contiguous", "clone", "float"), "same"),
    **dict.fromkeys(("softmax", "log_softmax"), "softmax"),
}
"""Kind of every module type, function and method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operation of a network.

    Attributes:
        name: unique; dots of a module's path become underscores.
        kind: conv, linear, norm, relu, max, avg, flatten, cat, add or softmax; a file may also ask for a copy.
        sources: names of the operations, or `images`, whose results it takes.
        shape: of its result for one image, channels first.
        module: the module that holds its parameters, for conv, linear and norm.
        window: of a pool.
        limit: largest value that a ReLU lets through, None for all.
        place: for messages: name, type, and file and line if it is no module.
    """

    name: str
    kind: str
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    place: str
    module: nn.Module | None = None
    window: Window | None = None
    limit: float | None = None

    def refuse(self, reason: str) -> NoReturn:
        """Raise UnsupportedLayer, with the place and what is supported."""
        raise UnsupportedLayer(f"{self.place}: {reason}; supported: {SUPPORTED}")


def trace(model: nn.Module, input_shape: tuple[int, ...]) -> list[Op]:
    """The operations of a model in the order in which they run; dropout and identity are left out.

    Args:
        model: any module whose forward pass takes one tensor and does not depend on its values.
        input_shape: of one image, channels first.

    Raises:
        UnsupportedLayer: names the first operation that cannot be mapped, and what to do.

    Example:
        >>> [op.kind for op in trace(nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Dropout()), (3, 2, 2))]
        ['flatten', 'linear']
    """
    with _evaluating(model):
        graph = _follow(model)
        run = _Shapes(model, graph)
        like = next(model.parameters(), torch.zeros(()))
        images = torch.rand((2, *input_shape), generator=torch.Generator().manual_seed(0)).to(like.device)
        result = run.run(images.clone())
        ops = _operations(model, graph, run.values)
        _compare(model, images, result)
    if not any(op.kind in ("conv", "linear") for op in ops):
        raise UnsupportedLayer("the network has no convolution and no linear layer, so nothing to put on a macro")
    return ops


def _operations(model: nn.Module, graph: fx.Graph, values: dict[fx.Node, Any]) -> list[Op]:
    """What the output depends on, in order."""
    ops: list[Op] = []
    alias: dict[fx.Node, str] = {}
    needed = _needed(graph)
    for node in graph.nodes:
        if node not in needed:
            continue
        if node.op == "placeholder":
            alias[node] = IMAGES
        elif node.op == "output":
            _check_output(node, values)
        elif isinstance(values[node], Tensor):
            _add(node, model, values, alias, ops)
        elif isinstance(values[node], tuple) and any(isinstance(value, Tensor) for value in values[node]):
            raise UnsupportedLayer(f"{_place(node, model)}: it gives more than one tensor; only one can be mapped")
    return ops


def _compare(model: nn.Module, images: Tensor, followed: Any) -> None:
    """What was followed must compute what the model computes: `x += y` is followed as `x = x + y`."""
    result = model(images.clone())
    if isinstance(followed, Tensor) and not _alike(followed, result):
        if not _alike(result, model(images.clone())):
            raise UnsupportedLayer(
                f"{type(model).__name__} computes something else each time, even in evaluation mode; no integer "
                "network does so: switch off what is random, a dropout by training=self.training"
            )
        raise UnsupportedLayer(
            f"what {type(model).__name__} computes is not what can be followed of it: a tensor that += changes "
            "in place is used elsewhere too; write x = x + y"
        )


def _alike(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4, equal_nan=True)


def _follow(model: nn.Module) -> fx.Graph:
    tracer = fx.Tracer()
    tracer.record_stack_traces = True
    try:
        graph = tracer.trace(model)
    except (fx.proxy.TraceError, TypeError, RuntimeError, NameError, ValueError) as error:
        raise UnsupportedLayer(
            f"the forward pass of {type(model).__name__} cannot be followed ({str(error).splitlines()[0]}): "
            "it must not depend on the values of tensors, and its layers must be submodules; choose in __init__"
        ) from error
    inputs = [node for node in graph.nodes if node.op == "placeholder" and node.users]
    if len(inputs) != 1:
        raise UnsupportedLayer(f"{type(model).__name__} takes {len(inputs)} tensors; expected one, the images")
    return graph


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside; every module's own mode after."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


class _Shapes(fx.Interpreter):
    """Runs a zero image through and keeps every result."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(fx.GraphModule(model, graph), garbage_collect_values=False)
        self.extra_traceback = False  # it would append to the sentence of an error
        self.values: dict[fx.Node, Any] = {}
        self.model = model
        self.nodes = dict(zip(self.graph.nodes, graph.nodes, strict=True))

    def run_node(self, n: fx.Node) -> Any:
        try:
            result = super().run_node(n)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            place, reason = _place(n, self.model), str(error).splitlines()[0]
            shapes = [tuple(self.env[a].shape[1:]) for a in n.all_input_nodes if isinstance(self.env[a], Tensor)]
            said = ", ".join(str(shape) for shape in shapes)
            raise UnsupportedLayer(f"{place}: it does not take an input of shape {said} ({reason})") from error
        self.values[self.nodes[n]] = result
        return result


class _Call:
    """A traced call with the numbers that its options came to: sizes of tensors are known by now."""

    def __init__(self, node: fx.Node, values: dict[fx.Node, Any]) -> None:
        def known(n: fx.Node) -> Any:
            return n if isinstance(values[n], Tensor) else values[n]

        self.target = node.target
        self.args: tuple[Any, ...] = tuple(fx.node.map_arg(node.args, known))
        self.kwargs: dict[str, Any] = dict(fx.node.map_arg(node.kwargs, known))


def _add(node: fx.Node, model: nn.Module, values: dict[fx.Node, Any], alias: dict[fx.Node, str], ops: list[Op]) -> None:
    """One more operation, or another name for the one before."""
    place = _place(node, model)
    module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
    kind = KINDS.get(type(module) if module is not None else node.target)  # a subclass may compute something else
    shape = tuple(values[node].shape[1:])
    facts: dict[str, Any] = {
        "name": f"{node.name}_" if node.name == IMAGES else node.name,
        "shape": shape,
        "place": place,
    }
    if node.op == "get_attr" or kind is None:
        Op(kind="", sources=(), **facts).refuse("this operation is not supported")
    call = _Call(node, values)
    tensors = _operands(call, values)
    sources = tuple(alias[n] for n in tensors)
    op = Op(kind=kind, sources=sources, module=module, **facts)
    before = tuple(values[tensors[0]].shape[1:])
    if node.target in DROPOUTS and _dropped(call):
        op.refuse("it drops values in evaluation too, where training is not given; write training=self.training")
    if kind == "same" or (kind == "flatten" and before == shape):
        alias[node] = sources[0]
        return
    shapes = [tuple(values[n].shape[1:]) for n in tensors]
    if kind == "add" and len(set(shapes)) > 1:
        op.refuse(
            f"it adds shapes {' and '.join(map(str, shapes))}; only the sum of two results of one shape can be mapped"
        )
    ops.extend(_made(op, call, before))
    alias[node] = ops[-1].name
    if _in_place(node, module, call):  # whoever holds the operand sees the result from now on
        for other in [n for n, name in alias.items() if name == sources[0]]:
            alias[other] = ops[-1].name


def _made(op: Op, node: _Call, before: tuple[int, ...]) -> list[Op]:
    """The operation with its window or limit; a mean without kept dimensions is two."""
    _check(op, node, before)
    facts: dict[str, Any] = {"sources": op.sources, "place": op.place}
    if op.kind == "relu":
        six = isinstance(op.module, nn.ReLU6) or node.target is functional.relu6
        return [Op(name=op.name, kind="relu", shape=op.shape, limit=6.0 if six else None, **facts)]
    if op.kind == "mean":
        window = Window(
            kernel=before[1:], stride=before[1:], padding=((0, 0),) * len(before[1:]), divisor=prod(before[1:])
        )
        pooled = Op(name=op.name, kind="avg", shape=(before[0], *(1,) * len(before[1:])), window=window, **facts)
        flat = Op(name=f"{op.name}_flat", kind="flatten", sources=(op.name,), shape=op.shape, place=op.place)
        return [pooled] if len(op.shape) == len(before) else [pooled, flat]
    if op.kind in ("max", "avg"):
        window = pool_window(node, op.module, before, op.shape, op.refuse)
        return [Op(name=op.name, kind=op.kind, shape=op.shape, window=window, **facts)]
    return [op]


def _check(op: Op, node: _Call, before: tuple[int, ...]) -> None:
    """Refuse options that would compute something else."""
    if op.kind == "flatten" and op.shape != (prod(before),):
        op.refuse(f"it makes {op.shape} of {before}; only all of an image in one row can be mapped")
    if op.kind == "add":
        if len(op.sources) != 2 or node.kwargs.get("alpha", 1) != 1 or op.shape != before:
            op.refuse("only the sum of two results of one shape can be mapped")
    if op.kind == "cat":
        dim = node.kwargs.get("dim", node.kwargs.get("axis", node.args[1] if len(node.args) > 1 else 0))
        if dim not in (1, -len(op.shape)):
            op.refuse(f"it joins dimension {dim}; only channels, dimension 1, can be mapped")
    if op.kind == "norm":
        norm = op.module
        assert isinstance(norm, NORMS)
        if norm.running_mean is None:
            op.refuse("track_running_stats is False; running statistics are what becomes part of the integers")
    if op.kind == "mean":
        dims: Any = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        chosen = (dims,) if isinstance(dims, int) else tuple(dims or ())
        if {d % (len(before) + 1) for d in chosen} != set(range(2, len(before) + 1)):
            op.refuse(f"it takes the mean over {dims}; only over all positions, (2, 3) of an image, can be mapped")
    if op.kind == "linear" and len(before) != 1:
        op.refuse(f"its input has shape {before}; put Flatten before it")


def _dropped(call: _Call) -> bool:
    """True for a call of a dropout that is at work in evaluation."""
    given = dict(zip(("p", "training"), call.args[1:], strict=False)) | call.kwargs
    return bool(given.get("training", True)) and given.get("p", 0.5) != 0


IN_PLACE = (functional.relu_, torch.relu_, operator.iadd, "relu_", "add_")


def _in_place(node: fx.Node, module: nn.Module | None, call: _Call) -> bool:
    """True if the operation writes over what it takes."""
    asked = call.kwargs.get("inplace", node.target in (functional.relu, functional.relu6) and call.args[1:2] == (True,))
    return bool(getattr(module, "inplace", False) or node.target in IN_PLACE or asked)


def _needed(graph: fx.Graph) -> set[fx.Node]:
    """What the output depends on; a result that is written over in place depends on who does so."""
    nodes = list(graph.nodes)
    needed = {node for node in nodes if node.op in ("output", "placeholder")}
    before = 0
    while len(needed) > before:
        before = len(needed)
        for node in reversed(nodes):
            writes = node.target in IN_PLACE and any(n in needed for n in node.all_input_nodes)
            if node in needed or writes:
                needed |= {node, *node.all_input_nodes}
    return needed


def _operands(node: _Call, values: dict[fx.Node, Any]) -> list[fx.Node]:
    """Tensors that it takes, in order; one that is taken twice stands twice."""
    given = (*node.args, *node.kwargs.values())
    each = [n for part in given for n in (part if isinstance(part, list | tuple) else (part,))]
    return [n for n in each if isinstance(n, fx.Node) and isinstance(values.get(n), Tensor)]


def _check_output(node: fx.Node, values: dict[fx.Node, Any]) -> None:
    if not isinstance(node.args[0], fx.Node) or not isinstance(values[node.args[0]], Tensor):
        raise UnsupportedLayer("the network gives more than one result; expected one tensor, the logits")


def _place(node: fx.Node, model: nn.Module) -> str:
    """Layer and type of a module; of a function or method the line of the source too."""
    if node.op == "call_module":
        return f"layer {str(node.target)!r} ({type(model.get_submodule(str(node.target))).__name__})"
    called = getattr(node.target, "__name__", str(node.target))
    lines = [line.strip() for line in (node.stack_trace or "").splitlines()]
    lines = [line for line in lines if line.startswith("File ") and "/torch/" not in line]
    if not lines:
        return f"operation {node.name!r} ({called})"
    file, line, *_ = lines[-1].removeprefix("File ").split(", ")
    return f"operation {node.name!r} ({called}, {Path(file.strip(chr(34))).name}:{line.removeprefix('line ')})"
