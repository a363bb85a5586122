# SPDX-License-Identifier: Apache-2.0
"""Which operations become one layer of the macro: weights, batch norm, shortcut and ReLU in one requantization.

A layer starts at a convolution or a linear layer and takes in what follows as long as nothing else uses it:

    conv | linear  ->  [norm]  ->  [add, its other operand is the shortcut]  ->  [relu]

A batch norm, sum, ReLU or copy (other codes for the same values) that stands elsewhere becomes a layer of its own,
whose weights are all 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twinor.quantize.trace import Op

__all__ = ["WEIGHTS", "Planned", "plan"]

HOST = ("max", "avg", "flatten", "cat")
WEIGHTS = ("conv", "linear")
"""Kinds that have weights of their own."""


@dataclass(slots=True, kw_only=True)
class Planned:
    """A layer to be: its operations in order.

    Attributes:
        kind: conv, linear, one (weights of 1), max, avg, flatten or cat.
        ops: first the one that it starts with, last the one whose result it is.
        sources: names of the operations, or `images`, that come in.
        shortcut: the operation whose codes are added, or None.
    """

    kind: str
    ops: list[Op]
    sources: tuple[str, ...]
    shortcut: str | None = None

    @property
    def result(self) -> str:
        """Name of the operation whose result it is."""
        return self.ops[-1].name

    def find(self, kind: str) -> Op | None:
        """Its operation of a kind, if any."""
        return next((op for op in self.ops if op.kind == kind), None)


def plan(ops: Sequence[Op], ends: frozenset[str] = frozenset()) -> list[Planned]:
    """Group operations into layers, in an order in which they can be computed; a softmax at the end is left out.

    Args:
        ops: in the order in which they run.
        ends: operations that nothing joins any more.

    Raises:
        UnsupportedLayer: a softmax stands elsewhere.
    """
    known = {op.name: op for op in ops}
    users: dict[str, list[Op]] = {op.name: [] for op in ops}
    for op in ops:
        for source in op.sources:
            if source in users:
                users[source].append(op)
    claims = _claims(ops, known, users, ends)
    taken: set[str] = set()
    layers: dict[str, Planned] = {}
    for op in ops:
        if op.name in taken:
            continue
        if op.kind == "softmax":
            if users[op.name]:
                op.refuse("a softmax can only be the last operation, where the host or argmax takes its place")
            continue
        layer = _layer(op, users, claims, ends)
        taken.update(part.name for part in layer.ops)
        layers[layer.result] = layer
    return [layers[op.name] for op in ops if op.name in layers]


def _layer(op: Op, users: dict[str, list[Op]], claims: dict[str, str], ends: frozenset[str]) -> Planned:
    if op.kind in HOST:
        return Planned(kind=op.kind, ops=[op], sources=op.sources)
    layer = Planned(kind=op.kind if op.kind in WEIGHTS else "one", ops=[op], sources=op.sources[:1])
    if op.kind == "add":
        layer.shortcut = op.sources[1]
    while layer.result not in ends and (after := _next(layer, users, claims)) is not None:
        if after.kind == "add":
            layer.shortcut = next(source for source in after.sources if source != layer.result)
        layer.ops.append(after)
    return layer


def _next(layer: Planned, users: dict[str, list[Op]], claims: dict[str, str]) -> Op | None:
    """The operation that a layer takes in next, if any."""
    last = layer.ops[-1]
    after = users[last.name]
    if len(after) != 1 or last.kind == "relu":
        return None
    op = after[0]
    stage = {"conv": 0, "linear": 0, "copy": 0, "norm": 1, "add": 2, "relu": 3}
    if op.kind not in ("norm", "add", "relu") or stage[op.kind] <= stage[last.kind]:
        return None
    if op.kind == "add" and claims.get(op.name) != last.name:
        return None
    return op


def _claims(
    ops: Sequence[Op], known: dict[str, Op], users: dict[str, list[Op]], ends: frozenset[str]
) -> dict[str, str]:
    """For each sum the operand that takes it in: of those that are a layer so far, the one with most products."""
    claims: dict[str, str] = {}
    for op in ops:
        if op.kind != "add" or op.sources[0] == op.sources[1]:
            continue
        sizes = {source: _products(source, known, users, ends) for source in op.sources}
        best = max(op.sources, key=lambda source: sizes[source])
        if sizes[best] > 0:
            claims[op.name] = best
    return claims


def _products(name: str, known: dict[str, Op], users: dict[str, list[Op]], ends: frozenset[str]) -> int:
    """Products per output of the weights that an operand ends, 0 if it ends none or is used elsewhere too."""
    while name in known and name not in ends and len(users[name]) == 1:
        op = known[name]
        if op.kind in WEIGHTS:
            weight = op.module.weight  # type: ignore[union-attr]
            return int(weight[0].numel())  # type: ignore[index]
        if op.kind != "norm":
            return 0
        name = op.sources[0]
    return 0
