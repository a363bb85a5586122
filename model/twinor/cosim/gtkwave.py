# SPDX-License-Identifier: Apache-2.0
"""Opening a wave with its saved view, or saying how."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from twinor.cosim.view import Focus, render, signals, span
from twinor.errors import SimulatorError
from twinor.params import RTL
from twinor.paste import command, near
from twinor.store import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["TEMPLATES", "save_view", "show"]

TEMPLATES = RTL.parent / "tb" / "waves"
"""One template for each bench, and `cosim.gtkw`."""

INSTALL = "gtkwave is not installed: `apt-get install gtkwave`, or open both files where it is"


def save_view(wave: Path, *, template: str, model: Path, counts: Mapping[str, int], focus: Focus) -> None:
    """Write the view of a wave beside it, as `<wave>.gtkw`.

    Args:
        wave: the FST file.
        template: name of a template in `tb/waves`.
        model: the `.vvp` file that wrote the wave.
        counts: the Verilog's parameters.
        focus: where the view looks.
    """
    text = (TEMPLATES / f"{template}.gtkw").read_text(encoding="utf-8")
    design = signals(model.read_text(encoding="utf-8", errors="replace"))
    write_text(wave.with_suffix(".gtkw"), render(text, design, counts, span(wave), focus))


def show(wave: Path, *, open_it: bool | None = None) -> list[str]:
    """Open GTKWave on a wave and its view, or say how.

    Args:
        wave: the FST file, its view beside it.
        open_it: open or do not; None opens where a person sits at a display: a script never gets a window.

    Returns:
        Lines for the person.

    Raises:
        SimulatorError: it was to be opened and cannot.
    """
    there, display = shutil.which("gtkwave"), _display()
    line: list[Path | str] = ["gtkwave", wave, wave.with_suffix(".gtkw")]
    if open_it is False or (open_it is None and not (there and display and sys.stdout.isatty())):
        return [f"waves: {near(wave)}", f"open them: {command(*line)}", *([] if there else [INSTALL])]
    if not there:
        raise SimulatorError(INSTALL)
    if not display:
        raise SimulatorError(f"there is no display here to open the waves on; where there is one: {command(*line)}")
    silent = subprocess.DEVNULL
    subprocess.Popen(line, stdin=silent, stdout=silent, stderr=silent, start_new_session=True)
    return [f"waves: {near(wave)}", f"opened with: {command(*line)}"]


def _display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or sys.platform == "darwin"
