# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 and MNIST in their official formats, from a local folder or by download with checksum, as integer codes."""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from twinor.data import Dataset
from twinor.errors import ConfigError, CorruptFile, TwinorError
from twinor.store import cache_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DATASETS", "IMAGE_MODES", "Parts", "load_parts"]

IMAGE_MODES = {"upper": 4, "nibbles": 4, "slices": 8}
"""How an 8-bit image enters, and the bits of its codes.

The upper nibble alone; both nibbles as channels of their own, the upper ones first; or all bits, in more input slices.
"""

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
CIFAR10_FOLDER = "cifar-10-batches-bin"
CIFAR10_TRAIN, CIFAR10_TEST = [f"data_batch_{n}" for n in range(1, 6)], "test_batch"
RECORDS, RECORD = 10_000, 1 + 3 * 32 * 32
IDX_IMAGES, IDX_LABELS = 0x803, 0x801
"""First word of an idx file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A data set with its official division: training images, and test images that nothing is chosen by."""

    name: str
    train: Dataset
    test: Dataset


def load_parts(name: str, *, folder: Path | None, image: str) -> Parts:
    """Read a data set; download it where no folder is given and none is in the cache.

    Some copies of CIFAR-10 hold images that are not the originals. Where a file `exact.npz` lies beside the batches,
    training images that are False in its array `train`, bool[50000], are left out; test images all stay.

    Args:
        name: one of `DATASETS`.
        folder: holds the official files, or the folder that they come in; None for the environment variable
            TWINOR_DATA, else the cache.
        image: one of `IMAGE_MODES`.

    Raises:
        ConfigError: an unknown name or image mode.
        TwinorError: the files are not there and cannot be downloaded; says where to put them.
        CorruptFile: a file is not what it should be; names it.
    """
    if name not in DATASETS:
        raise ConfigError(f"unknown --data {name}: expected one of digits, {', '.join(DATASETS)}")
    if image not in IMAGE_MODES:
        raise ConfigError(f"unknown image mode {image}: expected one of {', '.join(IMAGE_MODES)}")
    chosen = folder or (Path(os.environ["TWINOR_DATA"]) if os.environ.get("TWINOR_DATA") else None)
    train, test = DATASETS[name](chosen)
    parts = [Dataset(images=_codes(x, image), labels=y, input_bits=IMAGE_MODES[image]) for x, y in (train, test)]
    return Parts(name=name, train=parts[0], test=parts[1])


def _codes(images: NDArray[np.uint8], image: str) -> NDArray[np.uint8]:
    if image == "nibbles":
        return np.concatenate([images >> 4, images & 15], axis=1)
    return (images >> (8 - IMAGE_MODES[image])).astype(np.uint8)


Raw = tuple["NDArray[np.uint8]", "NDArray[np.int64]"]
"""Images uint8[n, channels, height, width] of 8 bits, and classes."""


def _cifar10(folder: Path | None) -> tuple[Raw, Raw]:
    """50,000 and 10,000 images of 32 x 32 in three colours; Krizhevsky, 2009."""
    where = _find(folder, f"{CIFAR10_TEST}.bin", CIFAR10_FOLDER)
    if where is None:
        _refuse(folder, "cifar10", f"{CIFAR10_FOLDER}/ of cifar-10-binary.tar.gz")
        where = _fetch_cifar10()
    batches = [_cifar10_batch(where / f"{name}.bin") for name in (*CIFAR10_TRAIN, CIFAR10_TEST)]
    images, labels = (np.concatenate(part) for part in zip(*batches[:-1], strict=True))
    flags = where / "exact.npz"
    if flags.is_file():
        exact = _exact(flags, len(labels))
        images, labels = images[exact], labels[exact]
    return (images, labels), batches[-1]


def _exact(path: Path, count: int) -> NDArray[np.bool_]:
    """Which training images are the originals, and are trained on."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            exact: NDArray[np.bool_] = archive["train"]
        found = f"{exact.dtype} {exact.shape}"
    except Exception as error:  # numpy, zipfile and zlib each have their own
        raise _no_marks(path, count, type(error).__name__) from error
    if exact.dtype != np.bool_ or exact.shape != (count,) or not exact.any():
        raise _no_marks(path, count, found)
    return exact


def _no_marks(path: Path, count: int, found: str) -> CorruptFile:
    return CorruptFile(
        f"{path} does not say which training images are the originals ({found}): expected an array train, "
        f"bool ({count},), not all False; copy it again, or delete it to train on all images"
    )


def _cifar10_batch(path: Path) -> Raw:
    content = np.frombuffer(_read(path), dtype=np.uint8)
    if content.size != RECORDS * RECORD or content[::RECORD].max() > 9:
        raise CorruptFile(f"{path} is no CIFAR-10 batch of {RECORDS:,} records of {RECORD} bytes; download it again")
    records = content.reshape(-1, RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def _mnist(folder: Path | None) -> tuple[Raw, Raw]:
    """60,000 and 10,000 images of 28 x 28 in grey; LeCun, Cortes and Burges."""
    where = _find(folder, "t10k-images-idx3-ubyte.gz", "mnist") or _find(folder, "t10k-images-idx3-ubyte", "mnist")
    if where is None:
        _refuse(folder, "mnist", "the four idx files, gzipped or not")
        where = _fetch_mnist()
    raw = []
    for part in ("train", "t10k"):
        images = _idx(where / f"{part}-images-idx3-ubyte", IDX_IMAGES)
        labels = _idx(where / f"{part}-labels-idx1-ubyte", IDX_LABELS)
        if labels.max(initial=0) > 9:
            raise CorruptFile(f"{where}: the {part} labels reach {labels.max()}; expected 0 .. 9; download them again")
        if len(images) != len(labels):
            raise CorruptFile(f"{where}: {len(images)} {part} images and {len(labels)} labels; download both again")
        raw.append((images[:, None], labels.astype(np.int64)))
    return raw[0], raw[1]


def _idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """The array of an idx file, gzipped or not."""
    packed = path.with_name(path.name + ".gz")
    path = packed if packed.is_file() else path
    content = _read(path)
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise CorruptFile(f"{path} cannot be unpacked ({error}); download it again") from error
    head = 4 * (1 + (magic & 0xFF))
    words = np.frombuffer(content[:head].ljust(head, b"\0"), dtype=">u4").tolist()
    if words[0] != magic or len(content) != head + prod(words[1:]):
        raise CorruptFile(f"{path} is no idx file of {magic & 0xFF} dimensions, or is cut short; download it again")
    return np.frombuffer(content[head:], dtype=np.uint8).reshape(words[1:])


DATASETS = {"cifar10": _cifar10, "mnist": _mnist}
"""Readers by name."""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TwinorError(f"{path} cannot be read ({error.strerror}); expected one of the official files") from error


def _find(folder: Path | None, file: str, inside: str) -> Path | None:
    """The folder that holds a file: the one given, or what it holds under the data set's own name."""
    base = folder or cache_folder() / "data"
    return next((place for place in (base, base / inside) if (place / file).is_file()), None)


def _refuse(folder: Path | None, name: str, files: str) -> None:
    """A folder that was given must hold the data; without one the download follows."""
    if folder is not None:
        raise TwinorError(
            f"{folder} does not hold {name}: expected {files}; without --data-dir and TWINOR_DATA it is downloaded"
        )


def _download(url: str, md5: str, *, unpack: bool = False) -> Path:
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise TwinorError(
            f"downloading needs pooch ({error}); install twinor[torch], or give --data-dir or TWINOR_DATA"
        ) from error
    base, name = cache_folder() / "data", url.rpartition("/")[2]
    processor = pooch.Untar(extract_dir=".") if unpack else None
    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(url, known_hash=f"md5:{md5}", path=base, fname=name, processor=processor)
    except Exception as error:  # requests raises its own, ours must say what to do
        raise TwinorError(
            f"{url} cannot be downloaded ({type(error).__name__}); get it elsewhere and give its folder by "
            "--data-dir or the environment variable TWINOR_DATA"
        ) from error
    return base


def _fetch_cifar10() -> Path:
    return _download(CIFAR10_URL, CIFAR10_MD5, unpack=True) / CIFAR10_FOLDER


def _fetch_mnist() -> Path:
    for name, md5 in MNIST_MD5.items():
        base = _download(MNIST_URL + name, md5)
    return base
