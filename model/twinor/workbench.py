# SPDX-License-Identifier: Apache-2.0
"""What a verb works on: a trained network on placed macros, its die, and the test images it is to classify."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twinor.device.array import CELSIUS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.data import Dataset
    from twinor.die import Die
    from twinor.network_file import Trained
    from twinor.place import Placement, Steps

__all__ = ["CALIBRATION_IMAGES", "Workbench", "percent"]

CALIBRATION_IMAGES = 128
"""Training images on which ADC steps are calibrated."""


def percent(classes: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """Share of equal entries of two int[n], in percent.

    Example:
        >>> import numpy as np
        >>> percent(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5]))
        75.0
    """
    return 100.0 * float((classes == labels).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """A trained network on placed macros and the test images it is to classify."""

    config: Config
    seed: int
    """Seed of training."""
    dataset: Dataset
    trained: Trained
    steps: dict[str, Steps]
    """ADC steps by layer name."""
    placement: Placement
    die: Die
    programmed: bool = False
    """True if the program-verify controller has set the die's cells in this run."""
    count: int
    """How many images of the test part are classified, from its start."""

    @property
    def images(self) -> NDArray[np.uint8]:
        """Unsigned codes, uint8[count, channels, height, width]."""
        return self.dataset.images[self.trained.test_index[: self.count]]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Classes of the images, int64[count]."""
        return self.dataset.labels[self.trained.test_index[: self.count]]

    @property
    def calibration(self) -> NDArray[np.uint8]:
        """Training images on which ADC steps are calibrated."""
        return self.dataset.images[self.trained.train_index[:CALIBRATION_IMAGES]]

    def references(self) -> dict[str, float]:
        """Float and fake-quantized accuracy on the images, in percent."""
        return {
            "float": percent(self.trained.float_predictions[: self.count], self.labels),
            "fake-quantized": percent(self.trained.fake_quant_predictions[: self.count], self.labels),
        }

    def percent(self, logits: NDArray[np.integer]) -> float:
        """Accuracy of an engine's logits."""
        return percent(logits.argmax(axis=1), self.labels)

    def title(self) -> str:
        """Preset and die, for file names: a varied die does not overwrite the ideal one's result."""
        name = self.config.name + ("" if self.die.seed is None else f"-die{self.die.seed}")
        lived = self.die.history
        if lived is not None:
            hours = sum(bake.seconds for bake in lived.bakes) / 3600
            name += f"-{hours:g}h" * bool(lived.bakes) + f"-{lived.celsius:g}C" * (lived.celsius != CELSIUS)
            name += f"-{lived.reads}reads" * bool(lived.reads)
        return name + "-programmed" * self.programmed

    def applied(self) -> dict[str, Any]:
        """What a result has to say about its origin."""
        return {
            "preset": self.config.name,
            "config": self.config.digest(),
            "network": self.trained.key,
            "seed": self.seed,
            "die_seed": self.die.seed,
            "programmed": self.programmed,
            "bakes": [] if self.die.history is None else [[b.seconds, b.celsius] for b in self.die.history.bakes],
            "celsius": CELSIUS if self.die.history is None else self.die.history.celsius,
            "reads": 0 if self.die.history is None else self.die.history.reads,
            "images": self.count,
            "steps": self.steps,
        }
