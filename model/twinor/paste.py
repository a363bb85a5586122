# SPDX-License-Identifier: Apache-2.0
"""Commands in messages, written so that they run when pasted into the shell that printed them."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

__all__ = ["command", "near", "program"]


def near(path: Path | str) -> str:
    """A path as seen from the working directory if it lies below it, else the whole path.

    Example:
        >>> near(Path.cwd() / "build" / "cosim.fst"), near("/elsewhere/cosim.fst")
        ('build/cosim.fst', '/elsewhere/cosim.fst')
    """
    whole = Path(path).absolute()
    return str(whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole)


def program() -> str:
    """The name under which a shell finds this installation's `twinor`: `make` activates no virtual environment."""
    script = Path(sys.executable).with_name("twinor")
    found = shutil.which("twinor")
    if not script.is_file() or (found and Path(found).samefile(script)):
        return "twinor"
    return near(script)


def command(*words: Path | str) -> str:
    """A command line; paths are written as `near` does, and words quoted where a shell needs it.

    Example:
        >>> command("gtkwave", Path.cwd() / "my build" / "cosim.fst")
        "gtkwave 'my build/cosim.fst'"
    """
    return shlex.join(near(word) if isinstance(word, Path) else word for word in words)
