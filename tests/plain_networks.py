# SPDX-License-Identifier: Apache-2.0
"""An integer network as the oracle takes it: dictionaries of plain arrays."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from twinor.network import AvgPool, Concat, Conv, Flatten, Linear, MaxPool

if TYPE_CHECKING:
    from twinor.network import IntegerNetwork

__all__ = ["plain"]

KINDS = {Conv: "conv", Linear: "linear", MaxPool: "max", AvgPool: "avg", Concat: "cat", Flatten: "flatten"}


def plain(network: IntegerNetwork) -> list[dict[str, Any]]:
    """Every layer with its rule and shortcut spread out."""
    layers = []
    for layer in network.layers:
        fields = asdict(layer)
        rule, shortcut = fields.pop("requant", None) or {}, fields.pop("shortcut", None)
        added = {"shortcut": shortcut["source"], "shortcut_mult": shortcut["mult"]} if shortcut else {}
        layers.append({"kind": KINDS[type(layer)], **fields, **rule, **added})
    return layers
