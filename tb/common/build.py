# SPDX-License-Identifier: Apache-2.0
"""Compiles a block for its bench, with Icarus Verilog or Verilator, through cocotb's runner."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

from cocotb_tools.runner import get_runner
from twinor.cosim import icarus, verilator

from tb.common.sources import declared_parameters, expected_parameters, sources_of, top_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cocotb_tools.runner import Runner
    from twinor.config import Config

__all__ = ["SIMULATORS", "STAND_IN_WAIVERS", "BuildFailed", "build", "tail"]

SIMULATORS = ("icarus", "verilator")

STAND_IN_WAIVERS = ["-Wno-WIDTH", "-Wno-BLKSEQ"]
"""Behavioural models index with integers, and their blocks are level-sensitive with an explicit list."""

LOG_TAIL = 4000
"""Characters of a log that a failure carries."""


class BuildFailed(Exception):
    """The simulator refused the sources; carries its messages."""


def build(
    block: str,
    config: Config,
    workdir: Path,
    *,
    rtl: Path,
    waves: bool = False,
    simulator: str = "icarus",
    models: Path | None = None,
    coverage: bool = False,
) -> tuple[Runner, Path]:
    """Compile a block, or find it compiled.

    Args:
        block: name of the block.
        config: gives the parameters.
        workdir: folder of the run, and of the log.
        rtl: folder of the Verilog.
        waves: prepare for waves.
        simulator: `icarus` or `verilator`.
        models: folder of compiled models; None compiles into `workdir`.
        coverage: let Verilator count lines and branches.

    Returns:
        cocotb's runner, and the folder of the model.

    Raises:
        BuildFailed: it does not compile.
        SimulatorError: Verilator is not installed.
    """
    values = expected_parameters(config, declared_parameters(block, rtl))
    arguments = _arguments(block, rtl, coverage=coverage) if simulator == "verilator" else []
    if simulator == "verilator":
        verilator.program(icarus.BUILD / "bin")
    runner = get_runner(simulator)
    if models is None:
        _compile(runner, block, workdir, workdir, rtl, values, arguments, waves=waves)
        return runner, workdir
    files = [*sources_of(block, rtl), *sorted(rtl.glob("*.vh"))]
    text = b"".join(path.read_bytes() for path in files) + repr((rtl, values, arguments)).encode()
    model = models / simulator / f"{block}-{config.name}-{hashlib.sha256(text).hexdigest()[:16]}"
    with _alone(model):
        if not (model / "complete").is_file():
            shutil.rmtree(model, ignore_errors=True)
            _compile(runner, block, model, workdir, rtl, values, arguments, waves=False)
            (model / "complete").touch()
    return runner, model


def _arguments(block: str, rtl: Path, *, coverage: bool) -> list[str]:
    """Verilator's options: every warning is an error, and what is never written is random."""
    stand_ins = any(path.parent != rtl for path in sources_of(block, rtl))
    start = ["--x-initial", "unique", "--x-assign", "unique"]
    counts = ["--coverage-line"] if coverage else []
    return ["-Wall", *(STAND_IN_WAIVERS if stand_ins else []), *verilator.ONE_FILE, *start, *counts]


def _compile(
    runner: Runner,
    block: str,
    folder: Path,
    workdir: Path,
    rtl: Path,
    values: dict[str, int],
    arguments: list[str],
    *,
    waves: bool,
) -> None:
    log = workdir / "build.log"
    try:
        with mock.patch.dict(os.environ, verilator.settings(icarus.BUILD / "bin") if arguments else {}):
            runner.build(
                sources=sources_of(block, rtl),
                includes=[rtl],
                parameters=values,
                hdl_toplevel=top_of(block),
                always=True,
                waves=waves,
                build_dir=folder,
                build_args=arguments,
                timescale=("1ns", "1ps"),
                log_file=log,
            )
    except RuntimeError:
        raise BuildFailed(f"{block} does not compile: {tail(log)}") from None


@contextmanager
def _alone(model: Path) -> Iterator[None]:
    """One process compiles a model; others wait for it."""
    model.parent.mkdir(parents=True, exist_ok=True)
    with model.with_name(f"{model.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def tail(path: Path) -> str:
    """The end of a log."""
    if not path.is_file():
        return f"no {path.name}"
    return path.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:]
