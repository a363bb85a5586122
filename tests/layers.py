# SPDX-License-Identifier: Apache-2.0
"""Layers of integer networks with the numbers that a test does not care about left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twinor.network import Conv, MaxPool

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["conv2d", "max_pool2d"]


def conv2d(
    *,
    weight: NDArray[Any],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    **more: Any,
) -> Conv:
    """A convolution of images with the same padding on both sides."""
    sides = tuple((p, p) for p in padding)
    return Conv(weight=weight, stride=stride, padding=sides, dilation=dilation, **more)


def max_pool2d(*, kernel: tuple[int, int], stride: tuple[int, int], **more: Any) -> MaxPool:
    """A maximum without padding."""
    return MaxPool(kernel=kernel, stride=stride, padding=((0, 0), (0, 0)), dilation=(1, 1), **more)
