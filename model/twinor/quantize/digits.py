# SPDX-License-Identifier: Apache-2.0
"""The network for scikit-learn's digits: small to train, too large for one tile of 256 rows x 64 columns."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from twinor.data import Dataset, split
from twinor.network_file import Trained
from twinor.quantize.convert import to_integer
from twinor.quantize.prepare import quantize
from twinor.quantize.train import Progress, deterministic, predict, train_float, train_quantized

if TYPE_CHECKING:
    from twinor.quantize.recipe import Recipe

__all__ = ["INPUT_STEP", "digits_network", "train_digits"]

INPUT_STEP = 1 / 8
"""Real value of image code 1; keeps the mean square of an image near 1."""


def digits_network(channels: tuple[int, int]) -> nn.Sequential:
    """Float network for 8 x 8 images: two convolutions, max-pool after each, one linear layer.

    With 32 and 96 channels the layers have 9, 288 and 384 rows and 32, 96 and 10 columns of weights.

    Args:
        channels: outputs of the two convolutions.

    Example:
        >>> digits_network((32, 96))(torch.zeros(1, 1, 8, 8)).shape
        torch.Size([1, 10])
    """
    first, second = channels
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(1, first, 3, padding=1, bias=False),
            norm1=nn.BatchNorm2d(first),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(first, second, 3, padding=1, bias=False),
            norm2=nn.BatchNorm2d(second),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            linear=nn.Linear(second * 4, 10),
        )
    )


def train_digits(
    data: Dataset, *, recipe: Recipe, fold: int = 0, key: str = "", progress: Progress | None = None
) -> Trained:
    """Train in float, then in 4 bits, on all folds but one; convert; classify the fold left out.

    The last epoch counts: no choice is made by looking at the test images.

    Args:
        data: `twinor.data.digits()`.
        recipe: hyperparameters.
        fold: the test fold.
        key: kept with the result.
        progress: called after each epoch.

    Returns:
        The same bits every time on the same processor type and torch version.

    Raises:
        NonFinite: if training diverges.
    """
    parts = split(data.labels, fold=fold)
    images = torch.from_numpy(data.images[parts.train])
    labels = torch.from_numpy(data.labels[parts.train])
    test = torch.from_numpy(data.images[parts.test])
    with deterministic(recipe.seed):
        teacher = digits_network(recipe.channels)
        train_float(teacher, images, labels, input_step=INPUT_STEP, recipe=recipe, progress=progress)
        _, channels, height, width = data.images.shape
        model = quantize(
            teacher, input_shape=(channels, height, width), input_bits=data.input_bits, input_step=INPUT_STEP
        )
        train_quantized(model, teacher, images, labels, recipe=recipe, progress=progress)
        provenance = {
            "data": "scikit-learn digits",
            "fold": str(fold),
            "torch": torch.__version__,
            "recipe": json.dumps(asdict(recipe), sort_keys=True),
        }
        return Trained(
            network=to_integer(model, provenance=provenance),
            key=key,
            fold=fold,
            train_index=parts.train,
            test_index=parts.test,
            float_predictions=predict(teacher, test, input_step=INPUT_STEP).numpy().astype(np.int16),
            fake_quant_predictions=predict(model, test).numpy().astype(np.int16),
        )
