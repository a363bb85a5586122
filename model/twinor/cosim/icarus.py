# SPDX-License-Identifier: Apache-2.0
"""Icarus Verilog: compile the macro once per configuration, run it with a time limit."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from twinor.errors import SimulatorError
from twinor.params import RTL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twinor.config import Config

__all__ = ["BUILD", "build", "digest", "run", "sources", "tail", "version"]

BUILD = Path(os.environ.get("TWINOR_BUILD", RTL.parent / "build")).resolve()
"""Where compiled models and runs go."""

HARNESS = RTL.parent / "tb" / "cosim.v"
INSTALL = "install it with `apt-get install iverilog` (Icarus Verilog 11 or newer)"


def sources(rtl: Path = RTL) -> list[Path]:
    """Harness, synthesizable files of `rtl.f` and behavioural stand-ins, in compile order."""
    if not (rtl / "rtl.f").is_file():
        raise SimulatorError(f"{rtl} holds no Verilog of twinor (no rtl.f); run from a full checkout of twinor")
    listed = [rtl.parent / line for line in (rtl / "rtl.f").read_text(encoding="utf-8").split()]
    files = [HARNESS, *(rtl / path.name for path in listed), *sorted((rtl / "sim").glob("*.v"))]
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise SimulatorError(f"Verilog sources are missing: {', '.join(missing)}; run from a full checkout of twinor")
    return files


def digest(rtl: Path = RTL) -> str:
    """SHA-256 over names and contents of every module of a folder of Verilog, 64 hexadecimal digits.

    The harness is not a part of it, and parameter values are not: `Config.digest()` has those.

    Raises:
        SimulatorError: a source is missing.

    Example:
        >>> len(digest())
        64
    """
    total = hashlib.sha256()
    for path in sorted(set(sources(rtl)) - {HARNESS}, key=lambda path: path.relative_to(rtl).as_posix()):
        total.update(path.relative_to(rtl).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def version() -> str:
    """Version of Icarus Verilog, `11.0 (stable)`, or `not installed`."""
    if shutil.which("iverilog") is None:
        return "not installed"
    said = subprocess.run(["iverilog", "-V"], check=False, capture_output=True, text=True, timeout=60).stdout
    found = re.match(r"Icarus Verilog version (\S+(?: \(\w+\))?)", said)
    return found.group(1) if found else "unknown"


def build(config: Config, *, rtl: Path = RTL, folder: Path = BUILD) -> Path:
    """Compile the co-simulation harness for a configuration; an unchanged source is not compiled again.

    Returns:
        The compiled model.

    Raises:
        SimulatorError: Icarus Verilog is missing or refuses the source; carries its messages.
    """
    for program in ("iverilog", "vvp"):
        _require(program)
    rtl = rtl.resolve()
    files = sources(rtl)
    overrides = [f"-Pcosim.{name}={value}" for name, value in config.parameters().items()]
    text = b"".join(path.read_bytes() for path in [*files, *sorted(rtl.glob("*.vh"))]) + "".join(overrides).encode()
    model = folder / "icarus" / f"{config.name}-{hashlib.sha256(text).hexdigest()[:16]}.vvp"
    if model.is_file():
        return model
    model.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=model.parent, prefix=".", delete=False) as temporary:
        half = Path(temporary.name)
    try:
        command = ["iverilog", "-g2012", "-I", str(rtl), "-s", "cosim", *overrides, "-o", str(half)]
        _call(
            [*command, *map(str, files)],
            cwd=model.parent,
            timeout=300,
            what="Icarus Verilog could not compile",
        )
        half.replace(model)
    finally:
        half.unlink(missing_ok=True)
    return model


def run(model: Path, plusargs: Sequence[str], *, cwd: Path, timeout: float, waves: bool = False) -> str:
    """Run a compiled model, of Icarus or of Verilator, and return what it printed; Icarus alone writes waves.

    Raises:
        SimulatorError: missing simulator, crash, time-out; carries the tail of the log.
    """
    start = ["vvp", "-n", str(model)] if model.suffix == ".vvp" else [str(model)]
    args = [*start, *(["-fst", "+waves"] if waves else []), *plusargs]
    return _call(args, cwd=cwd, timeout=timeout, what="the simulation failed")


def _call(command: list[str], *, cwd: Path, timeout: float, what: str) -> str:
    _require(command[0])
    try:
        done = subprocess.run(
            command, cwd=cwd, timeout=timeout, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except subprocess.TimeoutExpired as error:
        log = (error.stdout or b"").decode(errors="replace")
        raise SimulatorError(f"{command[0]} did not end within {timeout:.0f} s; {tail(log)}") from None
    log = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise SimulatorError(f"{what} ({command[0]} exit status {done.returncode}); {tail(log)}")
    return log


def _require(program: str) -> None:
    if shutil.which(program) is None:
        raise SimulatorError(f"{program} is not installed: {INSTALL}")


def tail(log: str) -> str:
    """The last lines of a simulator's log, as the end of a sentence."""
    lines = log.strip().splitlines()
    return "its log ends:\n  " + "\n  ".join(lines[-12:]) if lines else "it printed nothing"
