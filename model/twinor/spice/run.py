# SPDX-License-Identifier: Apache-2.0
"""Run ngspice on one circuit and read every digit of what it found."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from twinor.errors import SimulatorError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["installed", "parse", "simulate"]

ALONE = os.environ | {"OMP_THREAD_LIMIT": "1"}
"""ngspice evaluates BSIM4 on threads that wait for each other in vain where cores are busy."""

TAIL = 8
"""Lines of ngspice's log that an error carries."""


def installed() -> bool:
    """True where ngspice can be started."""
    return shutil.which("ngspice") is not None


def simulate(netlist: str, *, timeout: float = 120.0) -> dict[str, NDArray[np.float64]]:
    """Have ngspice make the one analysis of a circuit.

    Args:
        netlist: the circuit with its analysis.
        timeout: seconds.

    Returns:
        Every vector by its name in lower case, `v(out)` or `i(vclamp0)`: float64[points].

    Raises:
        SimulatorError: ngspice is missing, refuses the circuit, finds no solution or takes too long.
    """
    if not installed():
        raise SimulatorError("ngspice is not installed: run `make spice`, or `apt-get install ngspice`")
    with tempfile.TemporaryDirectory(prefix="twinor-spice-") as folder:
        circuit, raw = Path(folder) / "circuit.cir", Path(folder) / "result.raw"
        circuit.write_text(netlist, encoding="ascii")
        command = ["ngspice", "-n", "-b", "-r", raw.name, circuit.name]  # -n: no start-up file of the user changes it
        try:
            done = subprocess.run(
                command, cwd=folder, env=ALONE, check=False, capture_output=True, text=True, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            raise SimulatorError(f"ngspice took more than {timeout:g} s for {_title(netlist)}") from None
        if done.returncode or not raw.is_file():
            raise SimulatorError(f"ngspice could not solve {_title(netlist)}:\n{_tail(done.stderr or done.stdout)}")
        return parse(raw.read_bytes())


def parse(raw: bytes) -> dict[str, NDArray[np.float64]]:
    r"""Read a raw file of one analysis, as ngspice writes it: a header in ASCII, then doubles point by point.

    Raises:
        SimulatorError: it is not such a file, or it ends early.

    Example:
        >>> head = b"Title: x\nFlags: real\nNo. Variables: 1\nNo. Points: 2\nVariables:\n\t0\tv(a)\tvoltage\n"
        >>> parse(head + b"Binary:\n" + np.array([1.5, 2.0]).tobytes())["v(a)"].tolist()
        [1.5, 2.0]
    """
    head, mark, body = raw.partition(b"Binary:\n")
    text = head.decode("ascii", errors="replace")
    counts = dict(re.findall(r"^No\. (Variables|Points):\s*(\d+)", text, re.M))
    names = re.findall(r"^\t\d+\t(\S+)\t", text, re.M)
    if not mark or "Flags: real" not in text or len(names) != int(counts.get("Variables", -1)):
        raise SimulatorError("ngspice wrote no raw file of real numbers: expected version 39 or newer")
    points = int(counts["Points"])
    if len(body) != 8 * points * len(names) or points == 0:
        raise SimulatorError(f"ngspice's raw file has {len(body)} bytes of numbers: expected one analysis to its end")
    values = np.frombuffer(body, dtype="<f8").reshape(points, len(names))
    return {name.lower(): values[:, n].copy() for n, name in enumerate(names)}


def _title(netlist: str) -> str:
    """The first line of a circuit is its title."""
    return netlist.partition("\n")[0]


def _tail(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in lines[-TAIL:])
