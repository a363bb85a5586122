# SPDX-License-Identifier: Apache-2.0
"""Data sets as the macro sees them: unsigned integer codes, and fixed folds to divide them by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.errors import TwinorError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Dataset", "Split", "digits", "folds", "split"]

FOLDS = 5
"""Cross-validation folds used throughout, about 360 test images each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Images as unsigned codes and their classes."""

    images: NDArray[np.uint8]
    """uint8[n, channels, height, width], below `2**input_bits`."""
    labels: NDArray[np.int64]
    """int64[n]: class of each image, 0 upwards."""
    input_bits: int
    """Bits of an image code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Training and test part of a data set; together they are all of it, each index ascending."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def digits() -> Dataset:
    """Handwritten digits that come with scikit-learn, as 4-bit codes; nothing is downloaded.

    The 8 x 8 images have 17 grey levels, 0..16.
    Level 16 becomes 15, so that a pixel is one 4-bit word-line code and paper is code 0, as padding is.

    Returns:
        1,797 images uint8[1797, 1, 8, 8] with codes 0..15 and their classes 0..9.

    Raises:
        TwinorError: if scikit-learn is not installed.

    Example:
        >>> data = digits()
        >>> data.images.shape, int(data.images.max()), int(data.labels.max())
        ((1797, 1, 8, 8), 15, 9)
    """
    try:
        from sklearn.datasets import load_digits  # 0.6 s to import, needed nowhere else
    except ModuleNotFoundError as error:
        raise TwinorError(f"the digits images need scikit-learn ({error}); install twinor[torch]") from error

    levels, labels = load_digits(return_X_y=True)
    codes = np.minimum(levels, 15).astype(np.uint8).reshape(-1, 1, 8, 8)
    return Dataset(images=codes, labels=labels.astype(np.int64), input_bits=4)


def folds(labels: NDArray[np.integer], *, n: int = FOLDS, seed: int = 0) -> NDArray[np.int64]:
    """Fold of every image: stratified, shuffled within a class, sizes that differ by one at most.

    Args:
        labels: int[n_images] classes.
        n: number of folds, 2 upwards.
        seed: of the shuffle; the same seed gives the same folds.

    Returns:
        int64[n_images], 0..n-1.

    Raises:
        ValueError: if `n` is below 2 or above the number of images.

    Example:
        >>> np.bincount(folds(np.array([0, 0, 1, 1, 2, 2, 2]), n=3)).tolist()
        [3, 2, 2]
    """
    if not 2 <= n <= len(labels):
        raise ValueError(f"folds must be 2..{len(labels)} (the number of images), got {n}")
    rng = np.random.Generator(np.random.PCG64(seed))
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    fold = np.empty(len(labels), dtype=np.int64)
    fold[by_class] = np.arange(len(labels)) % n  # dealt like cards, class after class
    return fold


def split(labels: NDArray[np.integer], *, fold: int = 0, n: int = FOLDS, seed: int = 0) -> Split:
    """Fold `fold` as the test part, the others as the training part.

    Args:
        labels: int[n_images] classes.
        fold: the fold that is tested, 0..n-1.
        n: number of folds.
        seed: of the folds.

    Returns:
        Indices of the training and of the test images.

    Raises:
        ValueError: if there is no such fold.

    Example:
        >>> parts = split(digits().labels, fold=0)
        >>> len(parts.train), len(parts.test)
        (1437, 360)
    """
    if not 0 <= fold < n:
        raise ValueError(f"fold must be 0..{n - 1}, got {fold}")
    number = folds(labels, n=n, seed=seed)
    return Split(train=np.flatnonzero(number != fold), test=np.flatnonzero(number == fold))
