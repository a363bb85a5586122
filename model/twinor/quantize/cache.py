# SPDX-License-Identifier: Apache-2.0
"""The trained digits network by content: trained once, then read; torch is imported only to train."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from twinor import data as data_module
from twinor.errors import CorruptFile, TwinorError
from twinor.network_file import Trained, load_trained, save_trained
from twinor.quantize.key import content_key
from twinor.quantize.recipe import Recipe
from twinor.store import cache_folder

if TYPE_CHECKING:
    from pathlib import Path

    from twinor.quantize.progress import Progress

__all__ = ["cache_path", "trained_digits"]


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
    trained = _train(data, recipe, fold=fold, key=key, progress=progress)
    save_trained(path, trained)
    return trained


def _train(data: data_module.Dataset, recipe: Recipe, *, fold: int, key: str, progress: Progress | None) -> Trained:
    """Train on all folds but one, and classify the fold left out."""
    import torch

    from twinor.quantize.fitting import fit
    from twinor.quantize.train import deterministic, predict

    parts = data_module.split(data.labels, fold=fold)
    train = replace(data, images=data.images[parts.train], labels=data.labels[parts.train])
    fitted = fit(recipe, train, provenance={"data": "scikit-learn digits", "fold": str(fold)}, progress=progress)
    test = torch.from_numpy(data.images[parts.test])
    with deterministic():
        float_classes = predict(fitted.teacher, test, input_step=fitted.input_step)
        quant_classes = predict(fitted.model, test)
    return Trained(
        network=fitted.network,
        key=key,
        fold=fold,
        train_index=parts.train,
        test_index=parts.test,
        float_predictions=float_classes.numpy().astype(np.int16),
        fake_quant_predictions=quant_classes.numpy().astype(np.int16),
    )


def cache_path(key: str, *, cache_dir: Path | None = None) -> Path:
    """File that holds the result of a key."""
    return (cache_dir or cache_folder()) / f"digits-{key[:16]}.npz"
