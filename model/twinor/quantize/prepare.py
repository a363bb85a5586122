# SPDX-License-Identifier: Apache-2.0
"""From an ordinary float `nn.Sequential` to a quantized network, or a sentence that says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import torch
from torch import nn

from twinor.errors import NonFinite, UnsupportedLayer
from twinor.quantize.clip import ACTIVATION_MAX
from twinor.quantize.modules import (
    QuantConv2d,
    QuantFlatten,
    QuantLayer,
    QuantLinear,
    QuantMaxPool2d,
    QuantNetwork,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SUPPORTED", "check_finite", "quantize"]

SUPPORTED = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Linear)
"""Layers of a float network; each Conv2d or Linear but the last is followed by [BatchNorm2d,] ReLU."""

EXACT_MAX = 2**24
"""Above this, float32 accumulators of training would no longer be exact integers."""

Place = tuple[int, str, nn.Module]

_KINDS = {nn.Conv2d: "conv", nn.Linear: "linear", nn.MaxPool2d: "pool", nn.Flatten: "flatten"}


def quantize(
    model: nn.Sequential,
    *,
    input_shape: tuple[int, int, int],
    input_bits: int = 4,
    input_step: float = 1 / 15,
) -> QuantNetwork:
    """Take over a float network's parameters into layers that compute on 4-bit codes.

    Args:
        model: layers of the types in `SUPPORTED`; the last Conv2d or Linear makes the logits.
        input_shape: (channels, height, width) of one image.
        input_bits: bits of an image code.
        input_step: real value of image code 1, as the float network was trained with.

    Returns:
        The quantized network in training mode, thresholds and clips still to be sampled.

    Raises:
        UnsupportedLayer: if a layer, an option of it or its place cannot be mapped.
        NonFinite: if a parameter is NaN or infinite.

    Example:
        >>> float_net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> [layer.name for layer in quantize(float_net, input_shape=(1, 8, 8)).layers]
        ['flatten1', 'linear1']
    """
    places = [(index, name, layer) for index, (name, layer) in enumerate(model.named_children())]
    for place in places:
        _check_layer(place)
    _check_shapes(places, input_shape)
    for _, name, layer in places:
        check_finite(name, layer)
    layers = _group(places, 2**input_bits - 1)
    return QuantNetwork(layers, input_shape=input_shape, input_bits=input_bits, input_step=input_step)


def check_finite(name: str, layer: nn.Module) -> None:
    """Raise NonFinite, naming layer and tensor, if a parameter or statistic is NaN or infinite."""
    for key, tensor in layer.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise NonFinite(
                f"layer {name!r}: {bad} of {tensor.numel()} values of {key} are NaN or infinite; "
                "expected finite numbers; train again, with a lower learning rate if this repeats"
            )


def _group(places: list[Place], input_max: int) -> list[nn.Module]:
    """Make one quantized layer of each [weight layer, batch norm, ReLU], in order."""
    weights = [index for index, _, layer in places if isinstance(layer, nn.Conv2d | nn.Linear)]
    if not weights:
        raise UnsupportedLayer("the network has no Conv2d and no Linear, so nothing to put on a macro")
    counts: dict[str, int] = {}
    layers: list[nn.Module] = []
    rest = iter(places)
    for place in rest:
        index, key, layer = place
        kind = _KINDS.get(type(layer))
        if kind is None:
            _refuse(place, "it must follow Conv2d or Linear, and not the last of them")
        counts[kind] = counts.get(kind, 0) + 1
        name = f"{kind}{counts[kind]}" if key.isdigit() else key
        if isinstance(layer, nn.Conv2d | nn.Linear):
            logits = index == weights[-1]
            norm = None if logits else _norm_and_relu(places, index)
            for _ in range(0 if logits else 1 + (norm is not None)):
                next(rest)
            layers.append(_weight_layer(place, norm, name=name, logits=logits, input_max=input_max))
            input_max = ACTIVATION_MAX
        elif isinstance(layer, nn.MaxPool2d):
            window, distance = _pair(layer.kernel_size), _pair(layer.stride)
            layers.append(QuantMaxPool2d(name=name, kernel=window, stride=distance))
        else:
            layers.append(QuantFlatten(name=name))
    return layers


def _norm_and_relu(places: list[Place], index: int) -> nn.BatchNorm2d | None:
    """The batch norm, if any, between the weight layer at `index` and its ReLU."""
    after = places[index + 1 :]
    norm = after[0][2] if after and isinstance(after[0][2], nn.BatchNorm2d) else None
    relu = after[1:2] if norm is not None else after[:1]
    if not relu or not isinstance(relu[0][2], nn.ReLU):
        found = f"{type(relu[0][2]).__name__} at {relu[0][0]}" if relu else "nothing"
        _refuse(places[index], f"[BatchNorm2d,] ReLU must follow it, as it is not the last, got {found}")
    return norm


def _weight_layer(place: Place, norm: nn.BatchNorm2d | None, *, name: str, logits: bool, input_max: int) -> QuantLayer:
    layer = place[2]
    quant: QuantLayer
    if isinstance(layer, nn.Conv2d):
        quant = QuantConv2d(layer, norm, name=name, logits=logits, input_max=input_max)
    else:
        assert isinstance(layer, nn.Linear)
        quant = QuantLinear(layer, norm, name=name, logits=logits, input_max=input_max)
    if quant.acc_max >= EXACT_MAX:
        _refuse(place, f"its accumulator can reach {quant.acc_max}; supported: below {EXACT_MAX}")
    return quant


def _check_layer(place: Place) -> None:
    """Refuse layer types and options that the macro's placement has no meaning for."""
    layer = place[2]
    if type(layer) not in SUPPORTED:  # a subclass may compute something else
        _refuse(place, "this type is not supported")
    if isinstance(layer, nn.Conv2d):
        padding = "by number" if not isinstance(layer.padding, str) else repr(layer.padding)
        _want(
            place,
            groups=(layer.groups, 1),
            dilation=(layer.dilation, (1, 1)),
            padding_mode=(layer.padding_mode, "zeros"),
            padding=(padding, "by number"),
        )
    elif isinstance(layer, nn.BatchNorm2d):
        _want(place, track_running_stats=(layer.track_running_stats, True))
    elif isinstance(layer, nn.MaxPool2d):
        _want(
            place,
            padding=(_pair(layer.padding), (0, 0)),
            dilation=(_pair(layer.dilation), (1, 1)),
            ceil_mode=(layer.ceil_mode, False),
            return_indices=(layer.return_indices, False),
        )
    elif isinstance(layer, nn.Flatten):
        _want(place, start_dim=(layer.start_dim, 1), end_dim=(layer.end_dim, -1))


def _want(place: Place, **options: tuple[object, object]) -> None:
    for option, (got, supported) in options.items():
        if got != supported:
            _refuse(place, f"{option} is {got}; supported: {supported}")


def _check_shapes(places: Iterable[Place], input_shape: tuple[int, int, int]) -> None:
    """Send a zero image through the layers that change shapes; refuse the first that does not take it."""
    shape = torch.Size((1, *input_shape))
    for place in places:
        layer = place[2]
        if isinstance(layer, nn.Linear) and len(shape) != 2:
            _refuse(place, f"its input has shape {tuple(shape[1:])}; put Flatten before it")
        if isinstance(layer, nn.BatchNorm2d):  # running it would move its statistics
            if len(shape) != 4 or layer.num_features != shape[1]:
                _refuse(place, f"num_features is {layer.num_features}, but its input has shape {tuple(shape[1:])}")
            continue
        try:
            with torch.no_grad():
                like = next(layer.parameters(), torch.zeros(()))
                shape = layer(like.new_zeros(shape)).shape
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            _refuse(place, f"it does not take an input of shape {tuple(shape[1:])} ({reason})")


def _refuse(place: Place, reason: str) -> NoReturn:
    index, name, layer = place
    label = "" if name.isdigit() else f" {name!r}"
    kinds = ", ".join(kind.__name__ for kind in SUPPORTED)
    raise UnsupportedLayer(
        f"layer {index}{label} ({type(layer).__name__}): {reason}; "
        f"supported layers: {kinds}, with [BatchNorm2d,] ReLU after each Conv2d and Linear but the last"
    )


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
