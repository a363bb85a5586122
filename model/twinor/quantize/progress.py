# SPDX-License-Identifier: Apache-2.0
"""Where training stands: what is reported after each epoch, and the file that a killed run goes on from."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from twinor.errors import CorruptFile
from twinor.store import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Checkpoint", "Progress"]

Progress = Callable[[str, int, int, float, float], None]
"""Called after each epoch with stage, epoch (from 1), epochs, mean loss, accuracy on the training images."""

State = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Checkpoint:
    """The state after the last whole epoch, in a file that is written whole or not at all.

    Attributes:
        path: the file; None keeps nothing.
        key: of everything the training depends on; a file of another key is refused.
        history: stage, epoch, loss and accuracy of every epoch so far.
        state: what was written last.
        before: seconds that killed processes took up to their last whole epoch.
        began: when this process began, on the monotonic clock.
    """

    path: Path | None = None
    key: str = ""
    history: list[tuple[str, int, float, float]] = field(default_factory=list)
    state: State = field(default_factory=dict)
    before: float = 0.0
    began: float = field(default_factory=lambda: time.monotonic())

    @property
    def seconds(self) -> float:
        """What the training has taken so far, in this process and in those before it."""
        return self.before + time.monotonic() - self.began

    def read(self) -> None:
        """Take over what the file says, if there is one.

        Raises:
            CorruptFile: it is damaged, or of another training.
        """
        if self.path is None or not self.path.exists():
            return
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            key, history, before = state["key"], state["history"], float(state["seconds"])
        except Exception as error:  # torch has no error of its own for a bad file
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CorruptFile(f"{self.path} is no checkpoint ({reason}); delete it to start again") from error
        if key != self.key:
            raise CorruptFile(
                f"{self.path} is of another training (other recipe, data, code or version of torch); "
                "delete it to start again, or choose another --out"
            )
        self.state, self.history, self.before = state, [tuple(entry) for entry in history], before

    def write(self, **state: Any) -> None:
        """Keep the state; everything in it is a tensor, a number, a string or a container of these."""
        self.state = state | {"key": self.key, "history": self.history, "seconds": self.seconds}
        if self.path is not None:
            content = io.BytesIO()
            torch.save(self.state, content)
            write_bytes(self.path, content.getvalue())

    def remove(self) -> None:
        """Nothing is left to go on from."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
