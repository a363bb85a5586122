# SPDX-License-Identifier: Apache-2.0
"""Twelve ordinary networks, small, written from their papers as users write them; nobody tuned them for twinor."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["NETWORKS"]


def lenet5() -> nn.Module:
    """LeCun et al., 1998: 5 x 5 kernels, average pools, three linear layers, ReLU."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 10),
    )  # fmt: skip


def allconv() -> nn.Module:
    """Springenberg et al., arXiv:1412.6806: strided convolutions for pools, 1 x 1 logits, global average."""
    return nn.Sequential(
        nn.Dropout(0.2), nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, padding=1), nn.ReLU(),
        nn.Dropout(), nn.Conv2d(8, 12, 3), nn.ReLU(), nn.Conv2d(12, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Softmax(dim=1),
    )  # fmt: skip


def mobilenet() -> nn.Module:
    """Howard et al., arXiv:1704.04861: depthwise and pointwise convolutions, ReLU6."""

    def separable(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        depthwise = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
        pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        return [depthwise, nn.BatchNorm2d(inputs), nn.ReLU6(True), pointwise, nn.BatchNorm2d(outputs), nn.ReLU6(True)]

    stem = [nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(True)]
    body = [*separable(8, 16, 1), *separable(16, 24, 2)]
    return nn.Sequential(*stem, *body, nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(24, 10))


class InvertedResidual(nn.Module):
    """Sandler et al., arXiv:1801.04381: expand, depthwise, linear bottleneck, shortcut between bottlenecks."""

    def __init__(self, channels: int, expand: int) -> None:
        super().__init__()
        hidden = channels * expand
        self.conv = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(True),
            nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


def mobilenet_v2() -> nn.Module:
    """Two inverted residuals between two convolutions; nothing follows a bottleneck but the next layer."""
    head = [nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6(), nn.AdaptiveAvgPool2d(1)]
    body = [InvertedResidual(8, 2), InvertedResidual(8, 3)]
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6(), *body, *head, nn.Flatten(), nn.Linear(16, 10)
    )


class BasicBlock(nn.Module):
    """He et al., arXiv:1512.03385, with a projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    """A stem and three blocks, mean over the positions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.layers = nn.Sequential(BasicBlock(8, 8, 1), BasicBlock(8, 12, 2), BasicBlock(12, 12, 1))
        self.fc = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(functional.relu(self.bn1(self.conv1(x))))
        return self.fc(x.mean([2, 3]))


class PreActBlock(nn.Module):
    """He et al., arXiv:1603.05027: batch norm and ReLU before each convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(channels), nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(channels), nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(functional.relu(self.bn1(x)))
        return self.conv2(functional.relu(self.bn2(out))) + x


def preact() -> nn.Module:
    """Two blocks, batch norm and ReLU at the end, average pool of 4 x 4."""
    body = [nn.Conv2d(3, 8, 3, 2, 1), PreActBlock(8), PreActBlock(8), nn.BatchNorm2d(8), nn.ReLU()]
    return nn.Sequential(*body, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(8 * 4, 10))


class Inception(nn.Module):
    """Szegedy et al., arXiv:1409.4842: four branches of which one pools, joined by channels."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.b1 = nn.Sequential(nn.Conv2d(inputs, 4, 1), nn.BatchNorm2d(4), nn.ReLU(True))
        self.b2 = nn.Sequential(nn.Conv2d(inputs, 3, 1), nn.ReLU(True), nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(True))
        self.b3 = nn.Sequential(nn.Conv2d(inputs, 2, 1), nn.ReLU(True), nn.Conv2d(2, 4, 5, padding=2), nn.ReLU(True))
        self.b4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), nn.Conv2d(inputs, 4, 1), nn.ReLU(True))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.b1(x), self.b2(x), self.b3(x), self.b4(x)], 1)


def inception() -> nn.Module:
    """Two modules with a pool with ceil_mode between them."""
    body = [Inception(8), nn.MaxPool2d(3, 2, ceil_mode=True), Inception(18)]
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(18, 10)
    )


class Fire(nn.Module):
    """Iandola et al., arXiv:1602.07360: squeeze, then two expansions side by side."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1, self.expand3x3 = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.squeeze(x))
        return torch.cat([self.act(self.expand1x1(x)), self.act(self.expand3x3(x))], dim=1)


def squeezenet() -> nn.Module:
    """Two fire modules, logits by a convolution, global average at the very end."""
    head = [nn.Dropout(), nn.Conv2d(16, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten()]
    body = [nn.MaxPool2d(3, 2, ceil_mode=True), Fire(8, 4, 8), Fire(16, 4, 8)]
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), *body, *head)


class DenseBlock(nn.Module):
    """Huang et al., arXiv:1608.06993: each layer sees all that come before it."""

    def __init__(self, inputs: int, growth: int, layers: int) -> None:
        super().__init__()
        sizes = range(inputs, inputs + growth * layers, growth)
        self.layers = nn.ModuleList(nn.Sequential(nn.Conv2d(n, growth, 3, padding=1), nn.ReLU()) for n in sizes)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat((x, layer(x)), dim=1)
        return x


def densenet() -> nn.Module:
    """A dense block on the images themselves, and one behind a transition."""
    first = [DenseBlock(3, 4, 2), nn.Conv2d(11, 8, 1), nn.ReLU(), nn.AvgPool2d(2)]
    return nn.Sequential(*first, DenseBlock(8, 4, 2), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(64, 10))


def dilated() -> nn.Module:
    """Yu and Koltun, arXiv:1511.07122: growing dilation; `same` padding, reflection at the borders."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding="same", padding_mode="reflect"), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding="same", dilation=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, (4, 3), padding="same", dilation=(2, 1)), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular", groups=2), nn.ReLU(), nn.MaxPool2d(4, padding=1),
        nn.Flatten(), nn.Linear(8 * 16, 10),
    )  # fmt: skip


class M5(nn.Module):
    """Dai et al., arXiv:1610.00087: one dimension, long first kernel, mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(1, 8, 20, stride=4), nn.BatchNorm1d(8)
        self.conv2, self.bn2 = nn.Conv1d(8, 12, 3), nn.BatchNorm1d(12)
        self.conv3, self.bn3 = nn.Conv1d(12, 12, 3, padding=2, dilation=2, padding_mode="replicate"), nn.BatchNorm1d(12)
        self.pool, self.fc1, self.bn4, self.fc2 = (
            nn.MaxPool1d(4),
            nn.Linear(12, 12),
            nn.BatchNorm1d(12),
            nn.Linear(12, 5),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(functional.relu(self.bn1(self.conv1(x))))
        x = functional.relu(self.bn3(self.conv3(functional.relu(self.bn2(self.conv2(x))))))
        x = functional.avg_pool1d(x, x.shape[-1]).squeeze(-1)
        x = functional.relu(self.bn4(self.fc1(x)))
        return functional.log_softmax(self.fc2(x), dim=1)


class C3D(nn.Module):
    """Tran et al., arXiv:1412.0767: space and time at once; a residual and a batch norm behind a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.pool1 = (
            nn.Conv3d(1, 6, (3, 3, 3), padding=(1, 1, 1)),
            nn.MaxPool3d((1, 2, 2), stride=(1, 2, 2)),
        )
        self.conv2, self.bn2 = nn.Conv3d(6, 6, 3, padding=1, bias=False), nn.BatchNorm3d(6)
        self.pool2, self.fc, self.bn = (
            nn.AvgPool3d(2, padding=(0, 1, 1)),
            nn.Linear(6 * 2 * 3 * 3, 4),
            nn.BatchNorm1d(4),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(torch.relu(self.conv1(x)))
        x = (self.bn2(self.conv2(x)) + x).relu()
        x = self.pool2(x)
        return self.bn(self.fc(x.view(x.size(0), -1)))


IMAGE = (3, 16, 16)
NETWORKS = {
    "lenet5": (lenet5, (1, 20, 20)),
    "allconv": (allconv, IMAGE),
    "mobilenet": (mobilenet, IMAGE),
    "mobilenet_v2": (mobilenet_v2, IMAGE),
    "resnet": (ResNet, IMAGE),
    "preact": (preact, IMAGE),
    "inception": (inception, IMAGE),
    "squeezenet": (squeezenet, IMAGE),
    "densenet": (densenet, IMAGE),
    "dilated": (dilated, IMAGE),
    "m5": (M5, (1, 200)),
    "c3d": (C3D, (1, 4, 8, 8)),
}
"""Constructor and shape of one image, by name."""
