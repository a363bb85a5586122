# SPDX-License-Identifier: Apache-2.0
"""Network files survive a round trip, are never half-written, and are refused when damaged."""

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from layers import conv2d, max_pool2d
from twinor import store
from twinor.errors import CorruptFile, TwinorError
from twinor.network import Flatten, IntegerNetwork, Linear, Requant
from twinor.network_file import Trained, load_network, load_trained, save_network, save_trained
from twinor.store import read_archive, write_archive

pytestmark = pytest.mark.fast


def requant(channels, *, shift=9, lo=0, hi=15):
    mult = np.arange(-1, channels - 1, dtype=np.int16) * 7
    return Requant(mult=mult, add=np.full(channels, -(2**31) + 1, dtype=np.int32), shift=shift, lo=lo, hi=hi)


def small_network():
    rng = np.random.default_rng(3)
    conv = rng.integers(-7, 8, (4, 2, 3, 1)).astype(np.int8)
    linear = rng.integers(-7, 8, (3, 48)).astype(np.int8)
    return IntegerNetwork(
        input_shape=(2, 9, 8),
        input_bits=4,
        layers=(
            conv2d(name="conv1", weight=conv, stride=(2, 1), padding=(1, 0), requant=requant(4)),
            max_pool2d(name="pool1", kernel=(2, 3), stride=(1, 2)),
            Flatten(name="flatten"),
            Linear(name="linear", weight=linear, requant=requant(3, shift=1, lo=-(2**19), hi=2**19 - 1)),
        ),
        provenance={"made by": "a test", "β": "√2"},
    )


def small_trained():
    return Trained(
        network=small_network(),
        key="ab" * 32,
        fold=2,
        train_index=np.arange(5),
        test_index=np.arange(5, 9),
        float_predictions=np.array([1, 2, 0, 1], dtype=np.int16),
        fake_quant_predictions=np.array([1, 2, 0, 2], dtype=np.int16),
    )


def assert_same(a, b):
    """Equal types, values, shapes and dtypes, all the way down."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    elif hasattr(a, "__dataclass_fields__"):
        for name in a.__dataclass_fields__:
            assert_same(getattr(a, name), getattr(b, name))
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        assert a == b


def sign(body):
    """Any npz bytes with the checksum a genuine file would have."""
    content = io.BytesIO(body)
    with zipfile.ZipFile(content, "a") as archive:
        archive.comment = b"0" * 64
    body = content.getvalue()[:-64]
    return body + hashlib.sha256(body).hexdigest().encode()


def test_network_survives_a_round_trip(tmp_path):
    save_network(tmp_path / "net.npz", small_network())
    assert_same(load_network(tmp_path / "net.npz"), small_network())


def test_trained_survives_a_round_trip(tmp_path):
    save_trained(tmp_path / "deep" / "folder" / "net.npz", small_trained())
    assert_same(load_trained(tmp_path / "deep" / "folder" / "net.npz"), small_trained())


def test_equal_networks_give_equal_bytes(tmp_path):
    save_network(tmp_path / "a.npz", small_network())
    save_network(tmp_path / "b.npz", small_network())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_numpy_reads_the_file_as_it_is(tmp_path):
    save_network(tmp_path / "net.npz", small_network())
    with np.load(tmp_path / "net.npz", allow_pickle=False) as arrays:
        assert set(arrays.files) == {"header", "0.weight", "0.mult", "0.add", "3.weight", "3.mult", "3.add"}


def test_any_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "net.npz"
    save_trained(path, small_trained())
    good = path.read_bytes()
    for position in range(0, len(good), 11):
        bad = bytearray(good)
        bad[position] ^= 1 << (position % 8)
        path.write_bytes(bad)
        with pytest.raises(CorruptFile, match=r"net\.npz is damaged .*; delete it to retrain$"):
            load_trained(path)


@pytest.mark.parametrize("keep", [0, 1, 63, 64, 65, 1000, -1])
def test_a_file_cut_short_is_noticed(tmp_path, keep):
    path = tmp_path / "net.npz"
    save_network(path, small_network())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptFile, match="damaged or cut short"):
        load_network(path)


def test_another_version_is_named(tmp_path, monkeypatch):
    path = tmp_path / "net.npz"
    monkeypatch.setattr(store, "VERSION", 7)
    save_trained(path, small_trained())
    monkeypatch.undo()
    with pytest.raises(CorruptFile, match=r"is twinor trained, version 7; expected .*version 2; delete it"):
        load_trained(path)


def test_another_kind_is_named(tmp_path):
    save_trained(tmp_path / "net.npz", small_trained())
    with pytest.raises(CorruptFile, match=r"is twinor trained.*expected twinor network"):
        load_network(tmp_path / "net.npz")


def test_a_pickled_object_is_refused_even_with_a_valid_checksum(tmp_path):
    body = io.BytesIO()
    np.savez(body, header=np.array({"format": "twinor"}, dtype=object))
    (tmp_path / "net.npz").write_bytes(sign(body.getvalue()))
    with pytest.raises(CorruptFile, match="Object arrays cannot be loaded"):
        load_network(tmp_path / "net.npz")


def test_an_object_array_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_archive(tmp_path / "x.npz", kind="x", header={}, arrays={"a": np.array([{}], dtype=object)})
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_npz_is_refused(tmp_path):
    body = io.BytesIO()
    np.savez(body, weights=np.arange(3))
    (tmp_path / "net.npz").write_bytes(sign(body.getvalue()))
    with pytest.raises(CorruptFile, match="does not hold what"):
        load_network(tmp_path / "net.npz")


def test_bytes_that_are_no_archive_are_refused(tmp_path):
    body = b"not a zip file"
    (tmp_path / "net.npz").write_bytes(body + hashlib.sha256(body).hexdigest().encode())
    with pytest.raises(CorruptFile, match="does not hold what"):
        load_network(tmp_path / "net.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.weight": np.zeros(12, np.float32)}, r"weights of shape \(4, 2, 3, 1\) take 12 bytes, got float32"),
        ({"3.weight": np.zeros(71, np.uint8)}, r"weights of shape \(3, 48\) take 72 bytes, got uint8 \(71,\)"),
        ({"0.mult": np.zeros(3, np.int16)}, "layer 0 has 4 channels, 3 mult"),
        ({"0.add": None}, "0.add"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, change, message):
    path = tmp_path / "net.npz"
    save_network(path, small_network())
    header, arrays = read_archive(path, kind="network", remedy="")
    arrays = {name: array for name, array in (arrays | change).items() if array is not None}
    write_archive(path, kind="network", header=header, arrays=arrays)
    with pytest.raises(CorruptFile, match=message):
        load_network(path)


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(CorruptFile, match=r"none\.npz cannot be read \(No such file or directory\)"):
        load_network(tmp_path / "none.npz")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "net.npz"
    save_network(path, small_network())
    before = path.read_bytes()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(TwinorError, match=r"cannot be written \(No space left on device\)"):
        save_network(path, replace(small_network(), input_bits=3))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TwinorError, match="cannot be written"):
        save_network(tmp_path / "file" / "net.npz", small_network())


def test_the_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TWINOR_CACHE", str(tmp_path / "here"))
    assert store.cache_folder() == tmp_path / "here"
    monkeypatch.delenv("TWINOR_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.cache_folder() == tmp_path / ".cache" / "twinor"
