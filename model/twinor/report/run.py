# SPDX-License-Identifier: Apache-2.0
"""What a verb hands to its report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twinor.params import RTL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from twinor.cosim.network import LayerResult
    from twinor.workbench import Workbench

    Progress = Callable[[int, int], None]

__all__ = ["Run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of `twinor cosim` or `twinor run`."""

    verb: str
    """`cosim` or `run`."""
    bench: Workbench
    engine: str
    """Engine that gave the logits."""
    logits: NDArray[np.integer]
    """int[images, classes]."""
    scores: dict[str, float]
    """Accuracy in percent by engine, references first."""
    layers: Sequence[LayerResult] | None = None
    """What each layer did in the Verilog; None for `run`, which compares nothing."""
    rtl: Path = RTL
    """Folder of the Verilog."""

    @property
    def name(self) -> str:
        """Name of the result's files, without suffix."""
        return f"{self.verb}-{self.bench.title()}"
