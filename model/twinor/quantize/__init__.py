# SPDX-License-Identifier: Apache-2.0
"""4-bit front end: a float torch network in, an integer network out.

    prepare     nn.Sequential -> QuantNetwork, or UnsupportedLayer
    thresholds  weights to int4: sampled, then trained thresholds
    clip        activations to uint4: learnable clip in the ReLU
    requant     real scale and offset -> mult, add, shift
    modules     layers that compute on integer codes in training and evaluation
    train       float training, then training on codes
    convert     QuantNetwork -> IntegerNetwork
    digits      the network for scikit-learn's digits, cached by `cache`
    validate    5-fold cross-validation

Names are resolved on first use, so that reading a cached network does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twinor.network_file import Trained
    from twinor.quantize.cache import trained_digits
    from twinor.quantize.convert import to_integer
    from twinor.quantize.network import QuantNetwork
    from twinor.quantize.prepare import quantize
    from twinor.quantize.recipe import Recipe
    from twinor.quantize.thresholds import Phase
    from twinor.quantize.train import Progress, deterministic, predict, train_float, train_quantized
    from twinor.quantize.validate import FoldResult, crossval, total

__all__ = [
    "FoldResult",
    "Phase",
    "Progress",
    "QuantNetwork",
    "Recipe",
    "Trained",
    "crossval",
    "deterministic",
    "predict",
    "quantize",
    "to_integer",
    "total",
    "train_float",
    "train_quantized",
    "trained_digits",
]

_HOMES = {
    "cache": ("trained_digits",),
    "convert": ("to_integer",),
    "network": ("QuantNetwork",),
    "prepare": ("quantize",),
    "recipe": ("Recipe",),
    "thresholds": ("Phase",),
    "train": ("Progress", "deterministic", "predict", "train_float", "train_quantized"),
    "validate": ("FoldResult", "crossval", "total"),
}


def __getattr__(name: str) -> object:
    if name == "Trained":
        return import_module("twinor.network_file").Trained
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"twinor.quantize.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
