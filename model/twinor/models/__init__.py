# SPDX-License-Identifier: Apache-2.0
"""Float networks by name: ordinary `nn.Module`s that `twinor.quantize` takes as they are.

digits        two convolutions and a linear layer for 8 x 8 images
vgg4          four convolutions and a linear layer for images of any size; trains on one core
vgg7          seven convolutions; trains on two cores
alexnet       five convolutions, three linear layers; CIFAR variant with batch norm
vgg16         thirteen convolutions and a linear layer; CIFAR variant with batch norm
resnet8, resnet18, resnet20
audio         convolutions in time on one channel of sound
video         convolutions in space and time on short clips

`audio` and `video` are for the API, with tensors of your own: no data set that `twinor train` loads is theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinor.errors import ConfigError
from twinor.models.plain import alexnet, audio, digits, vgg4, vgg7, vgg16, video
from twinor.models.residual import resnet8, resnet18, resnet20

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

__all__ = ["ARCHS", "build", "check"]

ARCHS: dict[str, Callable[..., nn.Module]] = {
    "digits": digits,
    "vgg4": vgg4,
    "vgg7": vgg7,
    "alexnet": alexnet,
    "vgg16": vgg16,
    "resnet8": resnet8,
    "resnet18": resnet18,
    "resnet20": resnet20,
    "audio": audio,
    "video": video,
}


def build(arch: str, *, channels: int, classes: int, width: float = 1.0) -> nn.Module:
    """A float network with fresh weights.

    Args:
        arch: its name.
        channels: of an image.
        classes: how many logits.
        width: factor on the channels of every hidden layer.

    Raises:
        ConfigError: if there is no such network; names those that are.

    Example:
        >>> sum(p.numel() for p in build("resnet20", channels=3, classes=10).parameters())
        272474
    """
    check(arch)
    return ARCHS[arch](channels=channels, classes=classes, width=width)


def check(arch: str) -> None:
    """Refuse a name that no network has.

    Raises:
        ConfigError: names those that are.
    """
    if arch not in ARCHS:
        raise ConfigError(f"unknown --arch {arch}: expected one of {', '.join(ARCHS)}")
