# SPDX-License-Identifier: Apache-2.0
"""4-bit front end: a float torch network in, an integer network out.

    trace       any nn.Module -> operations, or UnsupportedLayer
    windows     kernels, strides and padding with every option made explicit
    plan        operations -> layers of the macro
    prepare     layers -> QuantNetwork, calibrated or to be trained
    thresholds  weights to int4: sampled, then trained thresholds
    clip        activations to 4 bits: learnable clip
    requant     real scale and offset -> mult, add, shift
    literal     parameters as the original has them, for comparison
    modules     layers that compute on integer codes in training and evaluation
    hosted      pools, concatenation and flattening on codes
    macro       the macro and its ADCs in the loop of training
    network     QuantNetwork: those layers as a graph
    recipe      every number of a training, from a file
    train       float training, then training on codes; augment changes images, progress keeps checkpoints
    fitting     data and recipe -> float network, QuantNetwork, IntegerNetwork
    convert     QuantNetwork -> IntegerNetwork
    head        another task for a trained QuantNetwork
    cache       the digits network, trained once
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
    from twinor.quantize.fitting import Fitted, fit
    from twinor.quantize.head import new_head
    from twinor.quantize.macro import Macro
    from twinor.quantize.network import QuantNetwork
    from twinor.quantize.prepare import quantize
    from twinor.quantize.progress import Checkpoint, Progress
    from twinor.quantize.recipe import Recipe, load_recipe
    from twinor.quantize.thresholds import Phase
    from twinor.quantize.train import deterministic, predict, train_float, train_quantized
    from twinor.quantize.validate import FoldResult, crossval, total

__all__ = [
    "Checkpoint",
    "Fitted",
    "FoldResult",
    "Macro",
    "Phase",
    "Progress",
    "QuantNetwork",
    "Recipe",
    "Trained",
    "crossval",
    "deterministic",
    "fit",
    "load_recipe",
    "new_head",
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
    "head": ("new_head",),
    "prepare": ("quantize",),
    "recipe": ("Recipe", "load_recipe"),
    "thresholds": ("Phase",),
    "fitting": ("Fitted", "fit"),
    "macro": ("Macro",),
    "progress": ("Checkpoint", "Progress"),
    "train": ("deterministic", "predict", "train_float", "train_quantized"),
    "validate": ("FoldResult", "crossval", "total"),
}


def __getattr__(name: str) -> object:
    if name == "Trained":
        return import_module("twinor.network_file").Trained
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"twinor.quantize.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
