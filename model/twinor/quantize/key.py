# SPDX-License-Identifier: Apache-2.0
"""What a training depends on, as one digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from twinor.config import load
from twinor.errors import TwinorError

if TYPE_CHECKING:
    from twinor.data import Dataset
    from twinor.quantize.recipe import Recipe

__all__ = ["content_key"]

PACKAGE = Path(__file__).parent.parent
SOURCES = ("quantize/*.py", "models/*.py", "data.py", "network.py")


def content_key(data: Dataset, *, recipe: Recipe, fold: int | None = None, threads: int = 1, die: bytes = b"") -> str:
    """SHA-256 of all that decides a training: recipe, images, labels, fold, threads, die, these sources and torch.

    Returns:
        64 hexadecimal digits.

    Raises:
        TwinorError: if torch is not installed.
    """
    try:
        torch_version = version("torch")
    except PackageNotFoundError as error:
        raise TwinorError("training needs torch, which is not installed; install twinor[torch]") from error
    total = hashlib.sha256()
    total.update(json.dumps([asdict(recipe), fold, threads, torch_version], sort_keys=True).encode())
    for array in (data.images, data.labels):
        total.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    total.update(die + (load(recipe.macro).digest().encode() if recipe.macro else b""))
    for source in sorted(path for pattern in SOURCES for path in PACKAGE.glob(pattern)):
        total.update(source.name.encode() + hashlib.sha256(source.read_bytes()).digest())
    return total.hexdigest()
