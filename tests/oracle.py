# SPDX-License-Identifier: Apache-2.0
"""An integer network in float64 convolutions and exact fractions, written from the formulas alone.

It imports nothing of the package that it judges: layers are dictionaries of plain arrays.

    {"kind": "conv", "weight": [out, in, kh, kw], "stride": (1, 1), "padding": (0, 0), **rule}
    {"kind": "linear", "weight": [out, in], **rule}        rule: mult and add [out], shift, lo, hi
    {"kind": "pool", "kernel": (2, 2), "stride": (2, 2)}   {"kind": "flatten"}
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


def logits(layers: Iterable[Layer], images: NDArray[np.integer]) -> NDArray[np.int64]:
    """What the last layer puts out for images [images, channels, height, width] of unsigned codes."""
    x = images.astype(np.int64)
    for layer in layers:
        if layer["kind"] == "flatten":
            x = x.reshape(len(x), -1)
        elif layer["kind"] == "pool":
            pooled = functional.max_pool2d(torch.from_numpy(x).double(), layer["kernel"], layer["stride"])
            x = pooled.numpy().astype(np.int64)
        else:
            x = rescaled(layer, accumulators(layer, x))
    return x


def accumulators(layer: Layer, x: NDArray[np.int64]) -> NDArray[np.int64]:
    """Dot products in float64, [images, channels, ...]; fails where float64 would round."""
    weight, codes = torch.from_numpy(layer["weight"].astype(np.float64)), torch.from_numpy(x).double()
    if layer["kind"] == "conv":
        acc = functional.conv2d(codes, weight, stride=layer["stride"], padding=layer["padding"]).numpy()
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
