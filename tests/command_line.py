# SPDX-License-Identifier: Apache-2.0
"""The command line as a user runs it: a child process with folders of its own, and stand-ins for the simulator."""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest import MonkeyPatch

if TYPE_CHECKING:
    import pytest

__all__ = ["REPO", "CommandLine", "InProcess", "Said", "listing", "mutated", "once", "shared_command_line", "stand_in"]

REPO = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a command ended."""

    status: int
    out: str
    err: str

    def sentence(self) -> str:
        """What a failed command said: one paragraph on stderr, not a traceback, and a status for scripts."""
        assert self.status == 1, f"exit status {self.status}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.err + self.out
        assert self.err.startswith("twinor: ") and self.err.endswith("\n")
        return self.err.removeprefix("twinor: ").rstrip("\n")


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """Runs `twinor` in `folder`, where everything relative goes; trained networks and models are shared."""

    folder: Path
    shared: Path

    def __call__(self, *args: object, **changes: str) -> Said:
        """Run a verb; `changes` are environment variables, nothing else of this process's environment goes in."""
        return self.python("-m", "twinor", *args, **changes)

    def python(self, *args: object, **changes: str) -> Said:
        """Run the interpreter of this test."""
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ} | {
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(temporary),
            "OMP_NUM_THREADS": "1",
            "TWINOR_CACHE": str(self.shared / "cache"),
            "TWINOR_BUILD": str(self.shared / "build"),
        }
        done = subprocess.run(
            [sys.executable, *map(str, args)],
            cwd=self.folder,
            env=environment | changes,
            check=False,
            capture_output=True,
            text=True,
            timeout=240,
            preexec_fn=_heed_interrupts,
        )
        return Said(status=done.returncode, out=done.stdout, err=done.stderr)


def _heed_interrupts() -> None:
    """A shell that runs the tests in the background ignores Ctrl-C, and a child of theirs would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class InProcess(CommandLine):
    """The same in this process, which has imported torch already; `TWINOR_BUILD` keeps its value."""

    def __call__(self, *args: object, **changes: str) -> Said:
        """Run a verb."""
        from twinor import cli

        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        out, err = io.StringIO(), io.StringIO()
        with MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["twinor", *map(str, args)])
            patch.setattr(tempfile, "tempdir", str(temporary))
            for name, value in ({"TWINOR_CACHE": str(self.shared / "cache")} | changes).items():
                patch.setenv(name, value)
            try:
                cli.main()
                status = 0
            except SystemExit as end:
                status = int(end.code or 0)
        return Said(status=status, out=out.getvalue(), err=err.getvalue())


def shared_command_line(folder: Path, factory: pytest.TempPathFactory) -> CommandLine:
    """A command line with the trained network of seed 0 in its cache; one training serves all workers of a run."""
    base = factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "command-line"
    shared.mkdir(exist_ok=True)
    command = CommandLine(folder=folder, shared=shared)
    once(command, "train")
    return command


def once(command: CommandLine, verb: str) -> str:
    """What a verb printed when the first worker of this run needed it; files it wrote to `shared / verb` stay there."""
    report = command.shared / f"{verb}.txt"
    with (command.shared / f"{verb}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not report.exists():
            there = replace(command, folder=command.shared)  # torch leaves a folder beside temporary files
            said = there(verb, *(["--out", command.shared / verb] if verb != "train" else []))
            assert said.status == 0, said.err
            report.write_text(said.out, encoding="utf-8")
    return report.read_text(encoding="utf-8")


def stand_in(folder: Path, name: str, script: str) -> str:
    """Put a shell script in the place of a tool; returns the PATH that finds it first."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def mutated(folder: Path, file: str, before: str, after: str) -> Path:
    """A copy of `rtl/` with one expression of one file changed."""
    rtl = folder / "rtl"
    shutil.copytree(REPO / "rtl", rtl)
    text = (rtl / file).read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{before!r} stands {text.count(before)} times in {file}"
    (rtl / file).write_text(text.replace(before, after), encoding="utf-8")
    return rtl


def listing(*folders: Path) -> set[Path]:
    """Every file and folder below these, hidden ones too, but for the folder that torch makes for itself."""
    found = {path for folder in folders for path in folder.rglob("*")}
    return {path for path in found if not any("torchinductor" in part for part in path.parts)}
