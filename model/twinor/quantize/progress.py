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
        float_key: of everything the float network depends on, which then stays beside `path` for other trainings on
            codes; empty keeps none.
        history: stage, epoch, loss and accuracy of every epoch so far.
        state: what was written last.
        before: seconds that killed processes took up to their last whole epoch.
        began: when this process began, on the monotonic clock.
    """

    path: Path | None = None
    key: str = ""
    float_key: str = ""
    history: list[tuple[str, int, float, float]] = field(default_factory=list)
    state: State = field(default_factory=dict)
    before: float = 0.0
    began: float = field(default_factory=lambda: time.monotonic())

    @property
    def seconds(self) -> float:
        """What the training has taken so far, in this process and in those before it."""
        return self.before + time.monotonic() - self.began

    @property
    def float_path(self) -> Path | None:
        """Where the float network stays."""
        if self.path is None or not self.float_key:
            return None
        return self.path.with_name(f"float-{self.float_key[:12]}.checkpoint")

    def read(self) -> None:
        """Take over what the file says, if there is one, else what that of the float network says.

        Raises:
            CorruptFile: it is damaged, or of another training.
        """
        for path, key in ((self.path, self.key), (self.float_path, self.float_key)):
            if path is not None and path.exists():
                self.state = _read(path, key)
                self.history = [tuple(entry) for entry in self.state["history"]]
                self.before = float(self.state["seconds"])
                return

    def write(self, **state: Any) -> None:
        """Keep the state; everything in it is a tensor, a number, a string or a container of these."""
        self.state = state | {"key": self.key, "history": self.history, "seconds": self.seconds}
        if self.path is not None:
            _write(self.path, self.state)

    def keep_float(self, teacher: State) -> None:
        """Keep the float network once it is trained; training on codes draws nothing that came before it."""
        self.state["teacher"] = teacher
        if self.float_path is not None:
            kept = {"key": self.float_key, "history": self.history, "seconds": self.seconds}
            _write(self.float_path, kept | {"teacher": teacher})

    def remove(self) -> None:
        """Nothing is left to go on from."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _read(path: Path, key: str) -> State:
    """The state in a file of this key."""
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
        found, _ = state["key"], (state["history"], float(state["seconds"]))
    except Exception as error:  # torch has no error of its own for a bad file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorruptFile(f"{path} is no checkpoint ({reason}); delete it to start again") from error
    if found != key:
        raise CorruptFile(
            f"{path} is of another training (other recipe, data, code or version of torch); "
            "delete it to start again, or choose another --out"
        )
    return state


def _write(path: Path, state: State) -> None:
    content = io.BytesIO()
    torch.save(state, content)
    write_bytes(path, content.getvalue())
