# SPDX-License-Identifier: Apache-2.0
"""An integer network in float64 convolutions and exact fractions, written from the formulas alone.

It imports nothing of the package that it judges: layers are dictionaries of plain arrays.

    {"kind": "conv", "weight": [out, in / groups, ...], "stride": (1, 1), "padding": ((0, 1), (0, 0)), **rule}
        more, if need be: "groups", "dilation", "padding_mode"
    {"kind": "linear", "weight": [out, in], **rule}        rule: mult and add [out], shift, lo, hi
    {"kind": "max", "kernel": (2, 2), "stride": (2, 2), "padding": ..., "dilation": ...}
    {"kind": "avg", "kernel": (2, 2), "stride": (2, 2), "padding": ..., **rule}     without a rule the sums themselves
    {"kind": "cat"}   {"kind": "flatten"}

A layer takes what the one before puts out, or the "sources" that it names; "name" is its own, "images" comes first.
A shortcut adds the codes of "shortcut" times "shortcut_mult" [out] to the accumulators.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["accumulators", "logits", "rescaled"]

Layer = dict[str, Any]


CONVOLVE = (functional.conv1d, functional.conv2d, functional.conv3d)
MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def logits(layers: Iterable[Layer], images: NDArray[np.integer]) -> NDArray[np.int64]:
    """What the last layer puts out for images [images, channels, ...] of codes."""
    x = images.astype(np.int64)
    seen = {"images": x}
    for number, layer in enumerate(layers):
        inputs = [seen[name] for name in layer.get("sources") or ()] or [x]
        shortcut = seen[layer["shortcut"]] if layer.get("shortcut") else None
        x = seen[layer.get("name", f"layer {number}")] = _outputs(layer, inputs, shortcut)
    return x


def _outputs(layer: Layer, inputs: list[NDArray[np.int64]], shortcut: NDArray[np.int64] | None) -> NDArray[np.int64]:
    x = inputs[0]
    if layer["kind"] == "flatten":
        return x.reshape(len(x), -1)
    if layer["kind"] == "cat":
        return np.concatenate(inputs, axis=1)
    if layer["kind"] == "max":
        return _windows(layer, x, outside=-(10**9)).max(axis=-1)
    if layer["kind"] == "avg":
        total = _windows(layer, x, outside=0).sum(axis=-1)
        channels = total.shape[1]
        wide = {key: np.repeat(np.asarray(layer[key]), channels) for key in ("mult", "add") if key in layer}
        return rescaled({**layer, **wide}, total) if wide else total
    acc = accumulators(layer, x)
    if shortcut is not None:
        acc = acc + np.asarray(layer["shortcut_mult"], dtype=np.int64).reshape(1, -1, *(1,) * (acc.ndim - 2)) * shortcut
    return rescaled(layer, acc)


def _windows(layer: Layer, x: NDArray[np.int64], *, outside: int) -> NDArray[np.int64]:
    """Every window, position by position, [images, channels, *positions, values]."""
    rank = len(layer["kernel"])
    padding, gaps = layer.get("padding") or ((0, 0),) * rank, layer.get("dilation") or (1,) * rank
    x = np.pad(x, ((0, 0), (0, 0), *padding), constant_values=outside)
    reach = [(k - 1) * d + 1 for k, d in zip(layer["kernel"], gaps, strict=True)]
    counts = [(n - r) // s + 1 for n, r, s in zip(x.shape[2:], reach, layer["stride"], strict=True)]
    result = np.empty((*x.shape[:2], *counts, int(np.prod(layer["kernel"]))), dtype=np.int64)
    for place in np.ndindex(*counts):
        starts = [n * s for n, s in zip(place, layer["stride"], strict=True)]
        parts = tuple(slice(a, a + r, d) for a, r, d in zip(starts, reach, gaps, strict=True))
        result[(slice(None), slice(None), *place)] = x[(slice(None), slice(None), *parts)].reshape(*x.shape[:2], -1)
    return result


def accumulators(layer: Layer, x: NDArray[np.int64]) -> NDArray[np.int64]:
    """Dot products in float64, [images, channels, ...]; fails where float64 would round."""
    weight, codes = torch.from_numpy(np.asarray(layer["weight"]).astype(np.float64)), torch.from_numpy(x).double()
    if layer["kind"] == "conv":
        sides = [n for pair in reversed(layer["padding"]) for n in pair]
        padded = functional.pad(codes, sides, mode=MODES[layer.get("padding_mode", "zeros")])
        more = {"dilation": layer.get("dilation", 1), "groups": layer.get("groups", 1)}
        acc = CONVOLVE[weight.dim() - 3](padded, weight, stride=layer["stride"], **more).numpy()
    else:
        acc = functional.linear(codes, weight).numpy()
    assert np.abs(acc).max(initial=0) < 2**53 and np.array_equal(acc, np.rint(acc))
    return acc.astype(np.int64)


def rescaled(layer: Layer, acc: NDArray[np.int64]) -> NDArray[np.int64]:
    """The floor of `acc * mult / 2**shift + add / 2**shift` as a fraction, clipped to lo .. hi."""
    y = np.empty_like(acc)
    for channel in range(acc.shape[1]):
        scale = Fraction(int(layer["mult"][channel]), 2 ** layer["shift"])
        offset = Fraction(int(layer["add"][channel]), 2 ** layer["shift"])
        values, where = np.unique(acc[:, channel], return_inverse=True)
        outputs = [min(max(floor(int(value) * scale + offset), layer["lo"]), layer["hi"]) for value in values]
        y[:, channel] = np.array(outputs, dtype=np.int64)[where].reshape(acc[:, channel].shape)
    return y
