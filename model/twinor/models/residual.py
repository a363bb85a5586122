# SPDX-License-Identifier: Apache-2.0
"""Residual networks for 32 x 32 images: He et al., arXiv:1512.03385, and the smallest of the MLPerf Tiny benchmark."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Block", "ResNet", "resnet8", "resnet18", "resnet20"]


class Block(nn.Module):
    """Two convolutions of 3 x 3 and a shortcut; a convolution of 1 x 1 where the shape changes."""

    def __init__(self, channels: int, out: int, *, stride: int) -> None:
        """Make it with fresh weights."""
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.norm2 = nn.Conv2d(out, out, 3, padding=1, bias=False), nn.BatchNorm2d(out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """float32[N, channels, H, W] to float32[N, out, H', W']."""
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """A convolution, groups of blocks of which all but the first halve the image, average pool, linear layer."""

    def __init__(self, *, channels: int, classes: int, sizes: tuple[int, ...], blocks: int) -> None:
        """Make it with fresh weights.

        Args:
            channels: of an image.
            classes: how many logits.
            sizes: channels of each group.
            blocks: blocks of a group.
        """
        super().__init__()
        self.conv, self.norm = nn.Conv2d(channels, sizes[0], 3, padding=1, bias=False), nn.BatchNorm2d(sizes[0])
        before, groups = sizes[0], []
        for index, size in enumerate(sizes):
            strides = [2 if index else 1] + [1] * (blocks - 1)
            made = []
            for stride in strides:
                made.append(Block(before, size, stride=stride))
                before = size
            groups.append(nn.Sequential(*made))
        self.groups = nn.Sequential(*groups)
        self.linear = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        """float32[N, channels, H, W] to logits float32[N, classes]."""
        x = self.groups(functional.relu(self.norm(self.conv(x))))
        return self.linear(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))  # type: ignore[no-any-return]


def _sizes(width: float, *sizes: int) -> tuple[int, ...]:
    return tuple(round(size * width) for size in sizes)


def resnet8(*, channels: int = 3, classes: int = 10, width: float = 1.0) -> ResNet:
    """Three groups of one block, 16 to 64 channels.

    Example:
        >>> resnet8()(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """
    return ResNet(channels=channels, classes=classes, sizes=_sizes(width, 16, 32, 64), blocks=1)


def resnet20(*, channels: int = 3, classes: int = 10, width: float = 1.0) -> ResNet:
    """Three groups of three blocks, 16 to 64 channels; shortcuts of 1 x 1 convolutions, not of zeros."""
    return ResNet(channels=channels, classes=classes, sizes=_sizes(width, 16, 32, 64), blocks=3)


def resnet18(*, channels: int = 3, classes: int = 10, width: float = 1.0) -> ResNet:
    """Four groups of two blocks, 64 to 512 channels, with a stem of 3 x 3 for small images."""
    return ResNet(channels=channels, classes=classes, sizes=_sizes(width, 64, 128, 256, 512), blocks=2)
