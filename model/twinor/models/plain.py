# SPDX-License-Identifier: Apache-2.0
"""Networks without shortcuts: layers in a row."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

__all__ = ["alexnet", "audio", "digits", "vgg4", "vgg7", "vgg16", "video"]


def digits(*, channels: int = 1, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """Two convolutions, max-pool after each, one linear layer, for 8 x 8 images.

    At width 1 its layers have 9, 288 and 384 rows and 32, 96 and 10 columns of weights.

    Example:
        >>> import torch
        >>> digits()(torch.zeros(1, 1, 8, 8)).shape
        torch.Size([1, 10])
    """
    first, second = round(32 * width), round(96 * width)
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(channels, first, 3, padding=1, bias=False),
            norm1=nn.BatchNorm2d(first),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(first, second, 3, padding=1, bias=False),
            norm2=nn.BatchNorm2d(second),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            linear=nn.Linear(second * 4, classes),
        )
    )


def vgg4(*, channels: int = 1, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """Four convolutions of 3 x 3 with batch norm, three max-pools, one linear layer, for images of any size.

    Example:
        >>> import torch
        >>> vgg4()(torch.zeros(1, 1, 28, 28)).shape
        torch.Size([1, 10])
    """
    return _convolutions(channels, classes, [16, "pool", 32, "pool", 64, 64, "last"], width)


def vgg7(*, channels: int = 3, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """Seven convolutions of 3 x 3 with batch norm, four max-pools, one linear layer, for 32 x 32 images.

    Example:
        >>> import torch
        >>> vgg7()(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """
    return _convolutions(channels, classes, [16, 32, "pool", 64, 64, "pool", 128, 128, "pool", 256, "last"], width)


def vgg16(*, channels: int = 3, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """VGG16 with batch norm for 32 x 32 images: thirteen convolutions, five max-pools, one linear layer.

    Simonyan and Zisserman, arXiv:1409.1556; the two linear layers of 4,096 are left out, as CIFAR variants do.

    Example:
        >>> import torch
        >>> vgg16()(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """
    plan: list[int | str] = [64, 64, "pool", 128, 128, "pool"]
    for size in (256, 512, 512):
        plan += [size, size, size, "pool"]
    return _convolutions(channels, classes, plan, width)


def alexnet(*, channels: int = 3, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """AlexNet for 32 x 32 images: five convolutions of 3 x 3 with batch norm, three max-pools, three linear layers.

    Krizhevsky, Sutskever and Hinton, NIPS 2012; small kernels and batch norm as CIFAR variants have them.

    Example:
        >>> import torch
        >>> alexnet()(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    body = _convolutions(channels, classes, [64, "pool", 192, "pool", 384, 256, 256, "pool"], width)
    flat, hidden = round(256 * width) * 16, round(512 * width)
    layers = [*list(body.children())[:-1]]
    for size in (flat, hidden):
        layers += [nn.Linear(size, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, classes))


def audio(*, channels: int = 1, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """Convolutions in time for 4,096 samples of sound, after M5 of Dai et al., arXiv:1610.00087.

    Example:
        >>> import torch
        >>> audio(classes=4)(torch.zeros(1, 1, 4096)).shape
        torch.Size([1, 4])
    """
    layers: list[nn.Module] = []
    for size, kernel, stride in ((32, 79, 4), (32, 3, 1), (64, 3, 1), (128, 3, 1)):
        out = round(size * width)
        layers += [nn.Conv1d(channels, out, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm1d(out)]
        layers += [nn.ReLU(), nn.MaxPool1d(4)]
        channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, classes))


def video(*, channels: int = 1, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """Convolutions in space and time for clips of 8 frames of 16 x 16, after C3D of Tran et al., arXiv:1412.0767.

    Example:
        >>> import torch
        >>> video(classes=4)(torch.zeros(1, 1, 8, 16, 16)).shape
        torch.Size([1, 4])
    """
    layers: list[nn.Module] = []
    for size, pool in ((16, (1, 2, 2)), (32, (2, 2, 2)), (64, (2, 2, 2))):
        out = round(size * width)
        layers += [nn.Conv3d(channels, out, 3, padding=1, bias=False), nn.BatchNorm3d(out)]
        layers += [nn.ReLU(), nn.MaxPool3d(pool)]
        channels = out
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * 8, classes))


def _convolutions(channels: int, classes: int, plan: list[int | str], width: float) -> nn.Sequential:
    """Convolutions of 3 x 3 by their channels, max-pools of 2 x 2 and a last one over all positions, a linear layer."""
    layers: list[nn.Module] = []
    for entry in plan:
        if isinstance(entry, int):
            out = round(entry * width)
            layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
            channels = out
        else:
            layers.append(nn.MaxPool2d(2) if entry == "pool" else nn.AdaptiveMaxPool2d(1))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, classes))
