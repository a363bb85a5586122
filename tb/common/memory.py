# SPDX-License-Identifier: Apache-2.0
"""The memory files of the behavioural array: macro 0 of a die, as `$readmemh` reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinor.cells import tables
from twinor.cosim import files

if TYPE_CHECKING:
    from pathlib import Path

    from twinor.config import Config
    from twinor.die import Die

__all__ = ["write_memories"]


def write_memories(config: Config, die: Die, folder: Path) -> list[str]:
    """Write cells, thresholds and what pulses need; returns the simulator's plusargs."""
    texts = {"cells": files.cells_hex(config, die, 0), "thresholds": files.thresholds_hex(die, 0)}
    texts |= files.pulse_hex(tables(config), die, 0)
    for name, text in texts.items():
        (folder / f"{name}.hex").write_text(text, encoding="ascii")
    return [f"+{name}={folder / f'{name}.hex'}" for name in texts]
