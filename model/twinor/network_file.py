# SPDX-License-Identifier: Apache-2.0
"""Integer networks as files: int4 weights two to a byte, rules and graph, provenance, one checksum over it all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from twinor.errors import PlacementError, TwinorError, UnsupportedLayer
from twinor.network import (
    PADDING_MODES,
    AvgPool,
    Concat,
    Conv,
    Flatten,
    IntegerNetwork,
    Layer,
    Linear,
    MaxPool,
    Requant,
    Shortcut,
)
from twinor.shapes import check_graph
from twinor.store import Arrays, Header, read_archive, unfit, write_archive

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from twinor.network import Sides

__all__ = ["Trained", "load_network", "load_trained", "pack4", "save_network", "save_trained", "unpack4"]

REWRITE, RETRAIN = "write it again", "delete it to retrain"
BAD = (KeyError, TypeError, ValueError, IndexError, PlacementError, UnsupportedLayer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """An integer network and what its training leaves behind to compare with."""

    network: IntegerNetwork
    key: str
    """SHA-256 of everything the training depended on."""
    fold: int
    train_index: NDArray[np.int64]
    """int64[n_train]: images it was trained on; ADC steps are calibrated on these."""
    test_index: NDArray[np.int64]
    """int64[n_test]: images it never saw."""
    float_predictions: NDArray[np.int16]
    """int16[n_test]: classes of the test images by the float network."""
    fake_quant_predictions: NDArray[np.int16]
    """int16[n_test]: classes by the quantized torch network in evaluation mode."""


def save_network(path: Path, network: IntegerNetwork) -> None:
    """Write an integer network; equal networks give equal bytes.

    Raises:
        TwinorError: if `load_network` would not take the network, or the file cannot be written; a file that was there
            stays as it was.
    """
    header, arrays = _checked(network)
    write_archive(path, kind="network", header=header, arrays=arrays)


def load_network(path: Path) -> IntegerNetwork:
    """Read what `save_network` wrote.

    Raises:
        CorruptFile: if the file is missing, damaged, of another kind or of another version.
    """
    header, arrays = read_archive(path, kind="network", remedy=REWRITE)
    try:
        return _network(header, arrays)
    except BAD as error:
        raise unfit(path, error, REWRITE) from error


_INDEXED: dict[str, type[np.integer]] = {
    "train_index": np.int64,
    "test_index": np.int64,
    "float_predictions": np.int16,
    "fake_quant_predictions": np.int16,
}


def save_trained(path: Path, trained: Trained) -> None:
    """Write a trained network with its predictions; equal results give equal bytes.

    Raises:
        TwinorError: if `load_trained` would not take the network, or the file cannot be written; a file that was there
            stays as it was.
    """
    header, arrays = _checked(trained.network)
    header |= {"key": trained.key, "fold": trained.fold}
    arrays |= {name: getattr(trained, name) for name in _INDEXED}
    write_archive(path, kind="trained", header=header, arrays=arrays)


def load_trained(path: Path) -> Trained:
    """Read what `save_trained` wrote.

    Raises:
        CorruptFile: if the file is missing, damaged, of another kind or of another version.
    """
    header, arrays = read_archive(path, kind="trained", remedy=RETRAIN)
    try:
        indexed = {name: _typed(arrays, name, dtype, 1) for name, dtype in _INDEXED.items()}
        return Trained(network=_network(header, arrays), key=header["key"], fold=header["fold"], **indexed)
    except BAD as error:
        raise unfit(path, error, RETRAIN) from error


def pack4(weight: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Weights -8..7 in two's complement, two to a byte, the first in the low half.

    Example:
        >>> pack4(np.array([-1, 7, 3], dtype=np.int8)).tolist()
        [127, 3]
    """
    nibbles = np.zeros(weight.size + weight.size % 2, dtype=np.uint8)
    nibbles[: weight.size] = weight.ravel().view(np.uint8) & 15
    return np.asarray(nibbles[::2] | nibbles[1::2] << 4, dtype=np.uint8)


def unpack4(packed: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.int8]:
    """The inverse of `pack4`.

    Raises:
        ValueError: if there are not as many bytes as the shape needs.
    """
    size = int(np.prod(shape))
    if packed.dtype != np.uint8 or packed.shape != ((size + 1) // 2,):
        raise ValueError(f"weights of shape {shape} take {(size + 1) // 2} bytes, got {packed.dtype} {packed.shape}")
    nibbles = np.stack([packed & 15, packed >> 4], axis=1).ravel()[:size]
    return ((nibbles ^ 8).astype(np.int8) - 8).reshape(shape)


def _checked(network: IntegerNetwork) -> tuple[Header, Arrays]:
    """Header and arrays of a network, which reading takes."""
    try:
        header, arrays = _describe(network)
        _network(json.loads(json.dumps(header)), arrays)
    except BAD as error:
        raise TwinorError(
            f"the network is not written, for it could not be read ({str(error).splitlines()[0]}); mend its layers"
        ) from error
    return header, arrays


def _describe(network: IntegerNetwork) -> tuple[Header, Arrays]:
    """Header and arrays of a network; arrays are named by the number of their layer."""
    layers: list[Header] = []
    arrays: Arrays = {}
    for index, layer in enumerate(network.layers):
        entry: Header = {"kind": type(layer).__name__, "name": layer.name, "sources": layer.sources}
        for name in ("kernel", "stride", "padding", "dilation", "groups", "padding_mode"):
            if name in _FIELDS[type(layer).__name__]:
                entry[name] = getattr(layer, name)
        if isinstance(layer, Conv | Linear):
            wide = layer.weight.min(initial=0) < -8 or layer.weight.max(initial=0) > 7
            entry |= {"shape": layer.weight.shape, "packed": not wide}
            arrays[f"{index}.weight"] = layer.weight if wide else pack4(layer.weight)
            if layer.shortcut:
                entry["shortcut"] = layer.shortcut.source
                arrays[f"{index}.shortcut"] = layer.shortcut.mult
        rule = getattr(layer, "requant", None)
        if rule is not None:
            entry |= {"shift": rule.shift, "lo": rule.lo, "hi": rule.hi}
            arrays |= {f"{index}.mult": rule.mult, f"{index}.add": rule.add}
        layers.append(entry)
    header = {
        "input_shape": network.input_shape,
        "input_bits": network.input_bits,
        "input_signed": network.input_signed,
        "layers": layers,
        "provenance": network.provenance,
    }
    return header, arrays


def _network(header: Header, arrays: Arrays) -> IntegerNetwork:
    bits, signed = header["input_bits"], header["input_signed"]
    if type(bits) is not int or not 1 <= bits <= 8 or not isinstance(signed, bool):
        raise ValueError(f"input_bits {bits!r}, input_signed {signed!r}: expected 1 .. 8 and true or false")
    network = IntegerNetwork(
        input_shape=_numbers(header["input_shape"]),
        input_bits=bits,
        input_signed=signed,
        layers=tuple(_layer(index, entry, arrays) for index, entry in enumerate(header["layers"])),
        provenance=header["provenance"],
    )
    check_graph(network)
    return network


_WINDOW = ("kernel", "stride", "padding", "dilation")
_RULE = ("shift", "lo", "hi")
_WEIGHTS = ("shape", "packed", "shortcut", *_RULE)
_FIELDS: dict[str, tuple[str, ...]] = {
    "Conv": ("stride", "padding", "dilation", "groups", "padding_mode", *_WEIGHTS),
    "Linear": _WEIGHTS,
    "MaxPool": _WINDOW,
    "AvgPool": ("kernel", "stride", "padding", *_RULE),
    "Concat": (),
    "Flatten": (),
}
"""What the entry of each kind of layer may hold beside kind, name and sources."""


def _layer(index: int, entry: Header, arrays: Arrays) -> Layer:
    kind, name, sources = entry["kind"], entry["name"], tuple(entry["sources"])
    if kind not in _FIELDS:
        raise ValueError(f"layer {index} is of the unknown kind {kind}")
    unknown = set(entry) - {"kind", "name", "sources", *_FIELDS[kind]}
    if unknown:
        raise ValueError(f"layer {index} has the unknown entry {sorted(unknown)[0]}")
    if kind == "Concat":
        return Concat(name=name, sources=sources)
    if kind == "Flatten":
        return Flatten(name=name, sources=sources)
    if kind in ("MaxPool", "AvgPool"):
        place = {"kernel": _numbers(entry["kernel"]), "stride": _numbers(entry["stride"])}
        padding = _sides(entry["padding"])
        if kind == "AvgPool":
            rule = _rule(index, entry, arrays, 1) if "shift" in entry else None
            return AvgPool(name=name, sources=sources, padding=padding, requant=rule, **place)
        return MaxPool(name=name, sources=sources, padding=padding, dilation=_numbers(entry["dilation"]), **place)
    weight = _weight(index, entry, arrays)
    common: dict[str, Any] = {
        "name": name,
        "sources": sources,
        "weight": weight,
        "requant": _rule(index, entry, arrays, len(weight)),
        "shortcut": _shortcut(index, entry, arrays, len(weight)),
    }
    if kind == "Linear":
        return Linear(**common)
    groups = entry["groups"]
    if entry["padding_mode"] not in PADDING_MODES or type(groups) is not int or groups < 1 or len(weight) % groups:
        raise ValueError(f"layer {index}: padding_mode {entry['padding_mode']}, groups {entry['groups']}")
    return Conv(
        stride=_numbers(entry["stride"]),
        padding=_sides(entry["padding"]),
        dilation=_numbers(entry["dilation"]),
        groups=entry["groups"],
        padding_mode=entry["padding_mode"],
        **common,
    )


def _weight(index: int, entry: Header, arrays: Arrays) -> NDArray[np.int8]:
    shape = _numbers(entry["shape"])
    if (len(shape) != 2) if entry["kind"] == "Linear" else (len(shape) < 3):
        raise ValueError(f"layer {index}: a {entry['kind']} cannot have weights of shape {shape}")
    if entry["packed"]:
        return unpack4(arrays[f"{index}.weight"], shape)
    weight: NDArray[np.int8] = _typed(arrays, f"{index}.weight", np.int8, len(shape))
    if weight.shape != shape:
        raise ValueError(f"layer {index}: weights of shape {weight.shape}, expected {shape}")
    return weight


def _rule(index: int, entry: Header, arrays: Arrays, channels: int) -> Requant:
    mult, add = _typed(arrays, f"{index}.mult", np.int16, 1), _typed(arrays, f"{index}.add", np.int32, 1)
    if not channels == len(mult) == len(add):
        raise ValueError(f"layer {index} has {channels} channels, {len(mult)} mult and {len(add)} add")
    shift, lo, hi = entry["shift"], entry["lo"], entry["hi"]
    whole = all(type(value) is int for value in (shift, lo, hi))
    if not (whole and 1 <= shift <= 31 and -(1 << 31) <= lo <= hi < 1 << 31):
        raise ValueError(f"layer {index}: shift {shift}, lo {lo}, hi {hi}")
    return Requant(mult=mult, add=add, shift=shift, lo=lo, hi=hi)


def _shortcut(index: int, entry: Header, arrays: Arrays, channels: int) -> Shortcut | None:
    if "shortcut" not in entry:
        return None
    mult = _typed(arrays, f"{index}.shortcut", np.int16, 1)
    if len(mult) != channels:
        raise ValueError(f"layer {index} has {channels} channels and {len(mult)} multipliers of its shortcut")
    return Shortcut(source=entry["shortcut"], mult=mult)


def _typed(arrays: Arrays, name: str, dtype: type[np.integer], dimensions: int) -> NDArray[Any]:
    array = arrays[name]
    if array.dtype != dtype or array.ndim != dimensions:
        raise ValueError(
            f"{name} is {array.dtype} with {array.ndim} dimensions, expected {np.dtype(dtype)} with {dimensions}"
        )
    return array


def _numbers(values: list[int]) -> tuple[int, ...]:
    if not all(isinstance(value, int) and value >= 1 for value in values):
        raise ValueError(f"{values}: expected integers of at least 1")
    return tuple(values)


def _sides(values: list[list[int]]) -> Sides:
    sides = tuple((before, after) for before, after in values)
    if not all(isinstance(n, int) and n >= 0 for pair in sides for n in pair):
        raise ValueError(f"padding {values}: expected integers of at least 0")
    return sides
