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

__all__ = ["content_key", "sources"]

PACKAGE = Path(__file__).parent.parent

SOURCES = ("quantize/*.py", "models/*.py", "data.py", "network.py", "config.py", "limits.py")
"""What every training runs through."""

MACRO_SOURCES = ("*.py", "golden/*.py", "device/*.py", "converter/*.py")
"""What a macro in the loop runs through besides: placement, calibration, dies, their physics and their noise."""


def content_key(
    data: Dataset,
    *,
    recipe: Recipe,
    fold: int | None = None,
    threads: int = 1,
    device: str = "cpu",
    die: bytes = b"",
) -> str:
    """SHA-256 of all that decides the bits of a training, the sources that it runs through and torch included.

    Args:
        data: training images and labels.
        recipe: network and hyperparameters; of its macro the preset's content counts.
        fold: the test fold, where there are folds.
        threads: of torch.
        device: `cpu` or `cuda`, which is where it runs, not what it was asked for; not which processor or GPU it is.
        die: content of the file of the die that is in the loop; empty without one.

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
    figures = [asdict(recipe), fold, threads, device, torch_version, data.input_bits]
    total.update(json.dumps(figures, sort_keys=True).encode())
    for array in (data.images, data.labels):
        total.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    total.update(die + (load(recipe.macro).digest().encode() if recipe.macro else b""))
    for source in sources(macro=bool(recipe.macro)):
        total.update(source.relative_to(PACKAGE).as_posix().encode() + hashlib.sha256(source.read_bytes()).digest())
    return total.hexdigest()


def sources(*, macro: bool) -> list[Path]:
    """Source files that a training runs through, with a macro in its loop or without; each once, in a fixed order."""
    patterns = (*SOURCES, *MACRO_SOURCES) if macro else SOURCES
    return sorted({path for pattern in patterns for path in PACKAGE.glob(pattern)})
