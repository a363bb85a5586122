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
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinor.errors import CorruptFile, TwinorError

__all__ = [
    "Arrays",
    "Header",
    "cache_folder",
    "make_folder",
    "read_archive",
    "unfit",
    "write_archive",
    "write_bytes",
    "write_text",
]

FORMAT = "twinor"
VERSION = 2
DIGEST_CHARS = 64

Arrays = dict[str, NDArray[Any]]
Header = dict[str, Any]


def cache_folder() -> Path:
    """Folder of cached results: the environment variable TWINOR_CACHE, else `~/.cache/twinor`."""
    chosen = os.environ.get("TWINOR_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "twinor"


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


def make_folder(folder: Path) -> None:
    """Make a folder for results, before the work that fills it.

    Raises:
        TwinorError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TwinorError(f"the folder {folder} cannot be made ({error.strerror}); choose another --out") from error


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
        raise unfit(path, error, remedy) from error
    if found != (FORMAT, VERSION, kind):
        raise CorruptFile(
            f"{path} is {found[0]} {found[2]}, version {found[1]}; "
            f"expected {FORMAT} {kind}, version {VERSION}; {remedy}"
        )
    return header, arrays


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def unfit(path: Path, error: Exception, remedy: str) -> CorruptFile:
    """The error of a file whose checksum is right and whose content is not."""
    return CorruptFile(
        f"{path} does not hold what a {FORMAT} file of version {VERSION} must hold "
        f"({str(error).splitlines()[0]}); {remedy}"
    )
