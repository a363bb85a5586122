# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 and MNIST in their official formats, and one sentence for every file that is not."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pooch
import pytest
from twinor import datasets
from twinor.datasets import load_parts
from twinor.errors import ConfigError, CorruptFile, TwinorError

pytestmark = pytest.mark.fast

RECORDS = 20
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """The six batches with 20 records each, and what they hold."""
    monkeypatch.setattr(datasets, "RECORDS", RECORDS)
    rng = np.random.default_rng(1)
    records = rng.integers(0, 256, (6, RECORDS, datasets.RECORD)).astype(np.uint8)
    records[:, :, 0] %= 10
    for name, batch in zip([*datasets.CIFAR10_TRAIN, datasets.CIFAR10_TEST], records, strict=True):
        (tmp_path / f"{name}.bin").write_bytes(batch.tobytes())
    return tmp_path, records


def packed(content):
    """The same bytes in every second, for they are part of a test's name."""
    return gzip.compress(content, mtime=0)


DAMAGED = packed(bytes(99))[:10] + b"\xff" * 12
"""A sound gzip header, and deflate data that are none."""


def write_idx(path, array, *, zipped=True):
    head = np.array([0x800 + array.ndim, *array.shape], dtype=">u4").tobytes()
    content = head + array.astype(np.uint8).tobytes()
    path.write_bytes(packed(content) if zipped else content)


@pytest.fixture
def mnist(tmp_path):
    rng = np.random.default_rng(2)
    parts = {}
    for part, count in (("train", 7), ("t10k", 5)):
        parts[part] = rng.integers(0, 256, (count, 28, 28)), rng.integers(0, 10, count)
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", parts[part][0])
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", parts[part][1], zipped=False)
    return tmp_path, parts


def test_cifar_records_become_images_and_classes(cifar):
    folder, records = cifar
    parts = load_parts("cifar10", folder=folder, image="slices")
    assert parts.train.images.shape == (5 * RECORDS, 3, 32, 32) and parts.test.images.shape == (RECORDS, 3, 32, 32)
    assert parts.train.input_bits == 8 and parts.train.labels.dtype == np.int64
    assert np.array_equal(parts.test.labels, records[5, :, 0])
    red, blue = records[5, 3, 1 : 1 + 1024].reshape(32, 32), records[5, 3, 1 + 2048 :].reshape(32, 32)
    assert np.array_equal(parts.test.images[3, 0], red) and np.array_equal(parts.test.images[3, 2], blue)


def test_the_upper_nibble_is_half_of_the_bits(cifar):
    folder, _ = cifar
    whole, upper = (load_parts("cifar10", folder=folder, image=image).train for image in ("slices", "upper"))
    assert upper.input_bits == 4
    assert np.array_equal(upper.images, whole.images >> 4)


def test_both_nibbles_are_channels_of_their_own(cifar):
    folder, _ = cifar
    whole, both = (load_parts("cifar10", folder=folder, image=image).train for image in ("slices", "nibbles"))
    assert both.input_bits == 4 and both.images.shape[1] == 6
    assert np.array_equal(both.images[:, :3] * 16 + both.images[:, 3:], whole.images)


def test_images_that_are_not_the_originals_are_not_trained_on(cifar):
    folder, records = cifar
    exact = np.ones(5 * RECORDS, dtype=bool)
    exact[[3, 50]] = False
    np.savez(folder / "exact.npz", train=exact, test=np.zeros(RECORDS, dtype=bool))
    parts = load_parts("cifar10", folder=folder, image="upper")
    assert np.array_equal(parts.train.labels, records[:5, :, 0].ravel()[exact])
    assert len(parts.test.labels) == RECORDS  # all are tested


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-60]), "BadZipFile"),
        (lambda path: path.write_bytes(b"no archive at all"), "ValueError"),
        (lambda path: np.savez(path, test=np.ones(5 * RECORDS, bool)), "KeyError"),
        (lambda path: np.savez(path, train=np.ones(7, bool)), r"bool \(7,\)"),
        (lambda path: np.savez(path, train=np.ones(5 * RECORDS, int)), r"int64 \(100,\)"),
        (lambda path: np.savez(path, train=np.zeros(5 * RECORDS, bool)), r"bool \(100,\)"),
    ],
)
def test_marks_of_the_originals_that_are_none_are_told(cifar, spoil, found):
    path = cifar[0] / "exact.npz"
    np.savez(path, train=np.ones(5 * RECORDS, bool))
    spoil(path)
    with pytest.raises(
        CorruptFile, match=rf"exact\.npz does not say which .* \({found}\): .* bool \(100,\).*delete it"
    ):
        load_parts("cifar10", folder=cifar[0], image="upper")


def test_the_official_folder_may_be_inside_the_one_given(cifar, monkeypatch):
    folder, _ = cifar
    inside = folder / "outer" / datasets.CIFAR10_FOLDER
    inside.mkdir(parents=True)
    for path in folder.glob("*.bin"):
        path.rename(inside / path.name)
    assert len(load_parts("cifar10", folder=folder / "outer", image="upper").test.labels) == RECORDS
    monkeypatch.setenv("TWINOR_DATA", str(folder / "outer"))
    assert len(load_parts("cifar10", folder=None, image="upper").test.labels) == RECORDS


@pytest.mark.parametrize("spoil", [lambda c: c[:-1], lambda c: c + b"0", lambda c: bytes([11]) + c[1:]])
def test_a_batch_that_is_none_is_named(cifar, spoil):
    folder, _ = cifar
    path = folder / "data_batch_3.bin"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(CorruptFile, match=r"data_batch_3\.bin is no CIFAR-10 batch of 20 records of 3073 bytes"):
        load_parts("cifar10", folder=folder, image="upper")


def test_mnist_is_read_gzipped_or_not(mnist):
    folder, expected = mnist
    parts = load_parts("mnist", folder=folder, image="slices")
    for name, part in (("train", parts.train), ("t10k", parts.test)):
        assert np.array_equal(part.images[:, 0], expected[name][0])
        assert np.array_equal(part.labels, expected[name][1])


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("train-images-idx3-ubyte.gz", b"\x1f\x8b broken", "cannot be unpacked"),
        ("train-images-idx3-ubyte.gz", packed(b"\0\0\x08\x01\0\0\0\x07"), "is no idx file of 3 dimensions"),
        ("train-images-idx3-ubyte.gz", DAMAGED, "cannot be unpacked (Error -3 while decompressing data"),
        ("train-images-idx3-ubyte.gz", packed(b"\0\0\x08"), "is no idx file of 3 dimensions, or is cut short"),
        ("t10k-labels-idx1-ubyte", b"", "is no idx file of 1 dimensions, or is cut short"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x08\x01\0\0\0\x05\0\0\0\x0a\0", "the t10k labels reach 10; expected 0 .. 9"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x08\x01\0\0\0\x05\0\0", "is no idx file of 1 dimensions, or is cut short"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x08\x01\0\0\0\x01\0", "5 t10k images and 1 labels"),
    ],
)
def test_an_idx_file_that_is_none_is_named(mnist, file, content, words):
    folder, _ = mnist
    (folder / file).write_bytes(content)
    with pytest.raises(CorruptFile) as caught:
        load_parts("mnist", folder=folder, image="upper")
    assert words in str(caught.value) and ("download" in str(caught.value))


def test_unknown_names_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown --data imagenet: expected one of digits, cifar10, mnist"):
        load_parts("imagenet", folder=tmp_path, image="upper")
    with pytest.raises(ConfigError, match="unknown image mode lower: expected one of upper, nibbles, slices"):
        load_parts("mnist", folder=tmp_path, image="lower")
    with pytest.raises(TwinorError, match=r"does not hold cifar10: expected cifar-10-batches-bin/ of cifar-10-binary"):
        load_parts("cifar10", folder=tmp_path, image="upper")


def test_a_folder_of_the_environment_is_named_by_its_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("TWINOR_DATA", str(tmp_path))
    with pytest.raises(TwinorError, match=r"does not hold mnist.*without --data-dir and TWINOR_DATA it is downloaded"):
        load_parts("mnist", folder=None, image="upper")


@pytest.mark.parametrize("name", ["cifar10", "mnist"])
def test_a_download_that_fails_says_what_to_do(name, tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setenv("TWINOR_CACHE", str(tmp_path))
    monkeypatch.setattr(pooch, "retrieve", unreachable)
    with pytest.raises(TwinorError, match=r"cannot be downloaded \(ConnectionError\); get it elsewhere .* --data-dir"):
        load_parts(name, folder=None, image="upper")


def test_a_download_is_checked_and_found_again(cifar, tmp_path, monkeypatch):
    folder, _ = cifar
    asked = []

    def retrieve(url, known_hash, path, fname, processor):
        asked.append((url, known_hash, processor is not None))
        inside = path / datasets.CIFAR10_FOLDER
        inside.mkdir(parents=True)
        for file in folder.glob("*.bin"):
            (inside / file.name).write_bytes(file.read_bytes())

    monkeypatch.setenv("TWINOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    for _ in range(2):
        assert len(load_parts("cifar10", folder=None, image="upper").test.labels) == RECORDS
    assert asked == [(datasets.CIFAR10_URL, f"md5:{datasets.CIFAR10_MD5}", True)]


@pytest.fixture(scope="session")
def real_data(tmp_path_factory):
    """CIFAR-10 and MNIST in their official formats, where the images are."""
    script = SHARED / "unpack_cifar10.py"
    if not script.is_file():
        pytest.skip(f"no {script.parent}: CIFAR-10 and MNIST are not here")
    folder = tmp_path_factory.mktemp("data")
    subprocess.run([sys.executable, script, folder], check=True, capture_output=True)
    (folder / "mnist").symlink_to(SHARED / "mnist")
    return folder


def test_the_real_files_are_read(real_data):
    cifar, mnist = (load_parts(name, folder=real_data, image="upper") for name in ("cifar10", "mnist"))
    assert len(cifar.train.labels) == 49_927 and len(cifar.test.labels) == 10_000
    assert np.bincount(cifar.test.labels).tolist() == [1000] * 10
    assert len(mnist.train.labels) == 60_000 and mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
