# SPDX-License-Identifier: Apache-2.0
"""The trained digits network by content: trained once, then read; torch is imported only to train."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from twinor import data as data_module
from twinor import network as network_module
from twinor.errors import CorruptFile, TwinorError
from twinor.network_file import Trained, load_trained, save_trained
from twinor.quantize.recipe import Recipe
from twinor.store import cache_folder

if TYPE_CHECKING:
    from twinor.quantize.train import Progress

__all__ = ["cache_path", "content_key", "trained_digits"]


def trained_digits(
    *,
    recipe: Recipe | None = None,
    fold: int = 0,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """The digits network of a recipe and test fold, from the cache if it is there, else trained and kept.

    Args:
        recipe: hyperparameters; the default ones if None.
        fold: the test fold, 0..4.
        cache_dir: folder of cached results; `store.cache_folder()` if None.
        progress: called after each epoch of training with stage, epoch, epochs, loss and accuracy.

    Returns:
        Network, test images and predictions to compare with.

    Raises:
        CorruptFile: if the cached file is damaged; it says to delete it.
        NonFinite: if training diverges; nothing is kept.
        TwinorError: if the folder cannot be written, or torch or scikit-learn are not installed.
    """
    recipe = recipe or Recipe()
    data = data_module.digits()
    key = content_key(data, recipe=recipe, fold=fold)
    path = cache_path(key, cache_dir=cache_dir)
    if path.exists():
        trained = load_trained(path)
        if trained.key != key:
            raise CorruptFile(
                f"{path} holds another result (key {trained.key[:16]}, expected {key[:16]}); delete it to retrain"
            )
        return trained
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # before training, not after
    except OSError as error:
        raise TwinorError(
            f"the cache folder {path.parent} cannot be made ({error.strerror}); set the "
            "environment variable TWINOR_CACHE to a folder that can be written"
        ) from error
    from twinor.quantize.digits import train_digits

    trained = train_digits(data, recipe=recipe, fold=fold, key=key, progress=progress)
    save_trained(path, trained)
    return trained


def cache_path(key: str, *, cache_dir: Path | None = None) -> Path:
    """File that holds the result of a key."""
    return (cache_dir or cache_folder()) / f"digits-{key[:16]}.npz"


def content_key(data: data_module.Dataset, *, recipe: Recipe, fold: int) -> str:
    """SHA-256 of all that decides the result: recipe, fold, images, labels, these sources and torch.

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
    total.update(json.dumps([asdict(recipe), fold, torch_version], sort_keys=True).encode())
    for array in (data.images, data.labels):
        total.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    sources = sorted(Path(__file__).parent.glob("*.py"))
    for module in (data_module, network_module):
        assert module.__file__ is not None
        sources.append(Path(module.__file__))
    for source in sources:
        total.update(source.name.encode() + hashlib.sha256(source.read_bytes()).digest())
    return total.hexdigest()
