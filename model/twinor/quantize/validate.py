# SPDX-License-Identifier: Apache-2.0
"""Cross-validation: every image is classified once, by a network that never saw it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twinor import data as data_module
from twinor.network import IntegerNetwork
from twinor.quantize.cache import trained_digits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from twinor.quantize.progress import Progress
    from twinor.quantize.recipe import Recipe

__all__ = ["Evaluate", "FoldResult", "crossval", "total"]

Evaluate = Callable[[IntegerNetwork, NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.integer]]
"""(network, test images, training images to calibrate on) -> classes int[n_test]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldResult:
    """Images of one fold (or of all) and how many of them each network gets right."""

    images: int
    float_right: int
    fake_quant_right: int
    integer_right: int
    differing: int
    """Images that the integer network and the quantized torch network classify differently."""

    def percent(self) -> tuple[float, float, float]:
        """Accuracy of float, fake-quantized and integer network in percent."""
        scale = 100 / self.images
        return self.float_right * scale, self.fake_quant_right * scale, self.integer_right * scale


def crossval(
    recipe: Recipe, evaluate: Evaluate, *, cache_dir: Path | None = None, progress: Progress | None = None
) -> tuple[FoldResult, ...]:
    """Train (or read) the digits network of every fold and evaluate it on the fold left out.

    Args:
        recipe: hyperparameters, the same for every fold.
        evaluate: the engine: (network, test images, training images) to classes.
        cache_dir: as in `trained_digits`.
        progress: as in `trained_digits`.

    Returns:
        One result per fold; `total` sums them.
    """
    data = data_module.digits()
    results = []
    for fold in range(data_module.FOLDS):
        trained = trained_digits(recipe=recipe, fold=fold, cache_dir=cache_dir, progress=progress)
        test, labels = trained.test_index, data.labels[trained.test_index]
        predictions = evaluate(trained.network, data.images[test], data.images[trained.train_index])
        results.append(
            FoldResult(
                images=len(test),
                float_right=int((trained.float_predictions == labels).sum()),
                fake_quant_right=int((trained.fake_quant_predictions == labels).sum()),
                integer_right=int((predictions == labels).sum()),
                differing=int((predictions != trained.fake_quant_predictions).sum()),
            )
        )
    return tuple(results)


def total(results: Sequence[FoldResult]) -> FoldResult:
    """Sum of folds: every image once.

    Example:
        >>> one = FoldResult(images=50, float_right=50, fake_quant_right=49, integer_right=49, differing=0)
        >>> total([one, one]).percent()
        (100.0, 98.0, 98.0)
    """
    return FoldResult(
        images=sum(result.images for result in results),
        float_right=sum(result.float_right for result in results),
        fake_quant_right=sum(result.fake_quant_right for result in results),
        integer_right=sum(result.integer_right for result in results),
        differing=sum(result.differing for result in results),
    )
