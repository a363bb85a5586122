# SPDX-License-Identifier: Apache-2.0
"""Files of integer arrays that cannot be half-written, damaged unnoticed, or run code when read.

A file is an ordinary `.npz` (numpy reads it) whose zip comment is the SHA-256 of every byte before it.
Its array `header` is JSON: format, version, kind and whatever the kind needs; pickled objects are refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinor.errors import CorruptFile, TwinorError
from twinor.network import Conv2d, Flatten, IntegerNetwork, Layer, Linear, MaxPool2d, Requant

__all__ = [
    "Trained",
    "cache_folder",
    "load_network",
    "load_trained",
    "read_archive",
    "save_network",
    "save_trained",
    "write_archive",
    "write_bytes",
    "write_text",
]

FORMAT = "twinor"
VERSION = 1
DIGEST_CHARS = 64

Arrays = dict[str, NDArray[Any]]
Header = dict[str, Any]


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


def cache_folder() -> Path:
    """Folder of cached results: the environment variable TWINOR_CACHE, else `~/.cache/twinor`."""
    chosen = os.environ.get("TWINOR_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "twinor"


def save_network(path: Path, network: IntegerNetwork) -> None:
    """Write an integer network; equal networks give equal bytes.

    Raises:
        TwinorError: if the file cannot be written; a file that was there stays as it was.
    """
    header, arrays = _describe(network)
    write_archive(path, kind="network", header=header, arrays=arrays)


def load_network(path: Path) -> IntegerNetwork:
    """Read what `save_network` wrote.

    Raises:
        CorruptFile: if the file is missing, damaged, of another kind or of another version.
    """
    header, arrays = read_archive(path, kind="network", remedy="write it again")
    try:
        return _network(header, arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise _unfit(path, error, "write it again") from error


def save_trained(path: Path, trained: Trained) -> None:
    """Write a trained network with its predictions; equal results give equal bytes.

    Raises:
        TwinorError: if the file cannot be written; a file that was there stays as it was.
    """
    header, arrays = _describe(trained.network)
    header |= {"key": trained.key, "fold": trained.fold}
    arrays |= {name: getattr(trained, name) for name in _INDEXED}
    write_archive(path, kind="trained", header=header, arrays=arrays)


def load_trained(path: Path) -> Trained:
    """Read what `save_trained` wrote.

    Raises:
        CorruptFile: if the file is missing, damaged, of another kind or of another version.
    """
    header, arrays = read_archive(path, kind="trained", remedy="delete it to retrain")
    try:
        indexed = {name: _typed(arrays, name, dtype, 1) for name, dtype in _INDEXED.items()}
        return Trained(network=_network(header, arrays), key=header["key"], fold=header["fold"], **indexed)
    except (KeyError, TypeError, ValueError) as error:
        raise _unfit(path, error, "delete it to retrain") from error


def write_archive(path: Path, *, kind: str, header: Header, arrays: Arrays) -> None:
    """Write arrays and a header in one step: beside the target first, then renamed over it.

    Args:
        path: target; its folder is made if missing.
        kind: what the file is; `read_archive` asks for it.
        header: anything JSON can hold.
        arrays: by name; no objects.

    Raises:
        TwinorError: if the file cannot be written; a file that was there stays as it was.
    """
    text = json.dumps({**header, "format": FORMAT, "version": VERSION, "kind": kind}, sort_keys=True)
    content = io.BytesIO()
    # allow_pickle=False: an object array fails here rather than at every reader.
    np.savez(content, allow_pickle=False, header=np.frombuffer(text.encode(), dtype=np.uint8), **arrays)
    with zipfile.ZipFile(content, "a") as archive:
        archive.comment = b"0" * DIGEST_CHARS
    body = content.getvalue()[:-DIGEST_CHARS]
    write_bytes(path, body + _digest(body))


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: beside the target first, then renamed over it.

    Args:
        path: target; its folder is made if missing.
        content: all of it.

    Raises:
        TwinorError: if the file cannot be written; a file that was there stays as it was.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        raise TwinorError(
            f"{path} cannot be written ({error.strerror}); choose a folder that can be, "
            "for cached results by the environment variable TWINOR_CACHE"
        ) from error
    finally:
        with suppress(OSError):  # the reason is in the first error
            partial.unlink(missing_ok=True)


def read_archive(path: Path, *, kind: str, remedy: str) -> tuple[Header, Arrays]:
    """Read and check what `write_archive` wrote.

    Args:
        path: the file.
        kind: what it must be.
        remedy: what to do about a bad file; ends the sentence of the error.

    Returns:
        Header and arrays.

    Raises:
        CorruptFile: if the file is missing, damaged, of another kind or of another version.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorruptFile(f"{path} cannot be read ({error.strerror}); expected a {FORMAT} {kind} file") from error
    if content[-DIGEST_CHARS:] != _digest(content[:-DIGEST_CHARS]):
        raise CorruptFile(f"{path} is damaged or cut short (its checksum differs); {remedy}")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(arrays.pop("header").tobytes())
        found = (header["format"], header["version"], header["kind"])
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise _unfit(path, error, remedy) from error
    if found != (FORMAT, VERSION, kind):
        raise CorruptFile(
            f"{path} is {found[0]} {found[2]}, version {found[1]}; "
            f"expected {FORMAT} {kind}, version {VERSION}; {remedy}"
        )
    return header, arrays


_INDEXED: dict[str, type[np.integer]] = {
    "train_index": np.int64,
    "test_index": np.int64,
    "float_predictions": np.int16,
    "fake_quant_predictions": np.int16,
}


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def _unfit(path: Path, error: Exception, remedy: str) -> CorruptFile:
    return CorruptFile(
        f"{path} does not hold what a {FORMAT} file of version {VERSION} must hold "
        f"({str(error).splitlines()[0]}); {remedy}"
    )


def _describe(network: IntegerNetwork) -> tuple[Header, Arrays]:
    """Header and arrays of a network; arrays are named by the number of their layer."""
    layers: list[Header] = []
    arrays: Arrays = {}
    for index, layer in enumerate(network.layers):
        entry: Header = {"kind": type(layer).__name__, "name": layer.name}
        if isinstance(layer, MaxPool2d):
            entry |= {"kernel": layer.kernel, "stride": layer.stride}
        elif isinstance(layer, Conv2d):
            entry |= {"stride": layer.stride, "padding": layer.padding}
        if isinstance(layer, Conv2d | Linear):
            rule = layer.requant
            entry |= {"shift": rule.shift, "lo": rule.lo, "hi": rule.hi}
            arrays |= {f"{index}.weight": layer.weight, f"{index}.mult": rule.mult, f"{index}.add": rule.add}
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
    layers = tuple(_layer(index, entry, arrays) for index, entry in enumerate(header["layers"]))
    channels, height, width = header["input_shape"]
    return IntegerNetwork(
        input_shape=(channels, height, width),
        input_bits=header["input_bits"],
        input_signed=header.get("input_signed", False),
        layers=layers,
        provenance=header["provenance"],
    )


def _layer(index: int, entry: Header, arrays: Arrays) -> Layer:
    kind, name = entry["kind"], entry["name"]
    if kind == "Flatten":
        return Flatten(name=name)
    if kind == "MaxPool2d":
        return MaxPool2d(name=name, kernel=_pair(entry["kernel"]), stride=_pair(entry["stride"]))
    if kind not in ("Conv2d", "Linear"):
        raise ValueError(f"layer {index} is of the unknown kind {kind}")
    weight = _typed(arrays, f"{index}.weight", np.int8, 4 if kind == "Conv2d" else 2)
    mult, add = _typed(arrays, f"{index}.mult", np.int16, 1), _typed(arrays, f"{index}.add", np.int32, 1)
    if not len(weight) == len(mult) == len(add):
        raise ValueError(f"layer {index} has {len(weight)} channels, {len(mult)} mult and {len(add)} add")
    rule = Requant(mult=mult, add=add, shift=entry["shift"], lo=entry["lo"], hi=entry["hi"])
    if kind == "Linear":
        return Linear(name=name, weight=weight, requant=rule)
    return Conv2d(
        name=name, weight=weight, stride=_pair(entry["stride"]), padding=_pair(entry["padding"]), requant=rule
    )


def _typed(arrays: Arrays, name: str, dtype: type[np.integer], dimensions: int) -> NDArray[Any]:
    array = arrays[name]
    if array.dtype != dtype or array.ndim != dimensions:
        raise ValueError(
            f"{name} is {array.dtype} with {array.ndim} dimensions, expected {np.dtype(dtype)} with {dimensions}"
        )
    return array


def _pair(value: list[int]) -> tuple[int, int]:
    first, second = value
    return first, second
