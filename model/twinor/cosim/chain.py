# SPDX-License-Identifier: Apache-2.0
"""One chain through the Verilog macro: write its files, run Icarus, read every seam, compare with golden."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from twinor.cosim import files, icarus
from twinor.errors import SimulatorError
from twinor.golden import macro
from twinor.trace import Divergence, RoundTrace, first_divergence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.die import Die
    from twinor.rounds import Chain

__all__ = ["PERIOD", "Job", "check", "simulate"]

PERIOD = 10
"""Nanoseconds of a clock cycle in the harness."""
RESET_NS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Vectors for one chain of one macro.

    Attributes:
        config, die, chain: what runs.
        inputs: activations of each round, unsigned [vectors, row_count].
        psums: partial sums that stream in, [vectors, columns], or None.
    """

    config: Config
    die: Die
    chain: Chain
    inputs: Sequence[NDArray[np.integer]]
    psums: NDArray[np.integer] | None = None

    @property
    def vectors(self) -> int:
        """How many vectors run."""
        return int(self.inputs[0].shape[0])


def simulate(job: Job, model: Path, *, timeout: float = 300, folder: Path | None = None) -> list[RoundTrace]:
    """Run a job in Icarus and return the Verilog's trace.

    Args:
        job: what runs.
        model: compiled harness of the job's configuration.
        timeout: seconds of real time.
        folder: where the files and waves go; a temporary folder (and no waves) if None.

    Raises:
        SimulatorError: missing simulator, crash, time-out.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="twinor-") as temporary:
            return _simulate(job, model, timeout=timeout, folder=Path(temporary), waves=False)
    return _simulate(job, model, timeout=timeout, folder=folder, waves=True)


def _simulate(job: Job, model: Path, *, timeout: float, folder: Path, waves: bool) -> list[RoundTrace]:
    config, chain = job.config, job.chain
    texts = {
        "cells": files.cells_hex(config, job.die, chain.macro),
        "thresholds": files.thresholds_hex(job.die, chain.macro),
        "words": files.words_hex(config, chain),
        "beats": files.beats_hex(config, job.inputs),
        "psums": files.psums_hex(config, job.psums),
    }
    for name, text in texts.items():
        (folder / f"{name}.hex").write_text(text, encoding="ascii")
    outs = job.vectors * sum(t.col_count for t in chain.rounds if t.end)
    plusargs = [f"+{name}={name}.hex" for name in texts] + ["+log=seam", f"+outs={outs}", f"+watchdog={_quiet(job)}"]
    log = icarus.run(model, plusargs, cwd=folder, timeout=timeout, waves=waves)
    if "twinor: done" not in log and "twinor: stalled" not in log:
        raise SimulatorError(f"the simulation ended early; its log ends:\n  {log.strip()[-800:]}")
    return files.read_traces(config, chain, folder / "seam", vectors=job.vectors)


def _quiet(job: Job) -> int:
    """Cycles without any event after which the macro must have stalled: ten times the longest single step."""
    config = job.config
    return 10 * (config.wl_cycles + config.settle_cycles + config.conversion_cycles + config.cols)


def check(job: Job, model: Path, *, timeout: float = 300) -> tuple[list[RoundTrace], list[RoundTrace]]:
    """Run a job in golden and in Icarus; both traces.

    Raises:
        Divergence: at the first value that differs.
        SimulatorError: as `simulate`.
    """
    golden = macro.run_chain(job.config, job.die, job.chain, job.inputs, job.psums)
    rtl = simulate(job, model, timeout=timeout)
    compare(job, golden, rtl)
    return golden, rtl


def compare(job: Job, golden: Sequence[RoundTrace], rtl: Sequence[RoundTrace]) -> None:
    """Raise the first `Divergence`, if any, with its simulation time."""
    found = first_divergence(golden, rtl)
    if found is not None:
        words = len(files.words_hex(job.config, job.chain).splitlines())
        cycle = vars(found).pop("cycle")
        known = cycle >= 0
        time = RESET_NS + PERIOD * (words + cycle) + PERIOD // 2 if known else None
        raise Divergence(**(vars(found) | {"sim_time": time}))


def chunks(job: Job, size: int) -> list[Job]:
    """The same job in pieces of at most `size` vectors."""
    starts = range(0, job.vectors, size)
    return [
        Job(
            config=job.config,
            die=job.die,
            chain=job.chain,
            inputs=[x[k : k + size] for x in job.inputs],
            psums=None if job.psums is None else job.psums[k : k + size],
        )
        for k in starts
    ]
