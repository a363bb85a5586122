# SPDX-License-Identifier: Apache-2.0
"""The confusion matrix of a run's images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["confusion"]


def confusion(logits: NDArray[np.integer], labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Images by class and by what they were read as.

    Args:
        logits: int[images, classes]; the first of equal logits wins.
        labels: int[images].

    Returns:
        int64[classes, classes], true class first.

    Example:
        >>> confusion(np.array([[9, 1], [2, 3], [5, 4]]), np.array([0, 0, 1])).tolist()
        [[1, 1], [1, 0]]
    """
    matrix = np.zeros((logits.shape[1],) * 2, dtype=np.int64)
    np.add.at(matrix, (labels, logits.argmax(axis=1)), 1)
    return matrix
