# SPDX-License-Identifier: Apache-2.0
"""One chain through the Verilog macro: write its files, run Icarus, read every seam, compare with golden."""

from __future__ import annotations

import re
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from twinor.cosim import files, icarus
from twinor.errors import SimulatorError
from twinor.golden import cim_macro
from twinor.rounds import End
from twinor.trace import COUNTERS, Divergence, RoundTrace, first_divergence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.die import Die
    from twinor.rounds import Chain

__all__ = ["PERIOD", "Checked", "Job", "Simulated", "check", "chunks", "compare", "simulate"]

PERIOD = 10
"""Nanoseconds of a clock cycle in the harness."""
RESET_NS = 20


@dataclass(frozen=True, slots=True)
class Job:
    """Vectors for one chain of one macro.

    Attributes:
        config, die, chain: what runs.
        inputs: activations of each round, [vectors, row_count].
        psums: partial sums that stream in, [vectors, columns], or None.
        residuals: residual codes that stream in, [vectors, columns], or None.
        first: index of the first vector in the whole run, which its noise is drawn by.
    """

    config: Config
    die: Die
    chain: Chain
    inputs: Sequence[NDArray[np.integer]]
    psums: NDArray[np.integer] | None = None
    residuals: NDArray[np.integer] | None = None
    first: int = 0

    @property
    def vectors(self) -> int:
        """How many vectors run."""
        return int(self.inputs[0].shape[0])

    def golden(self) -> list[RoundTrace]:
        """What golden does with it."""
        streams = (self.inputs, self.psums, self.residuals, self.first)
        return cim_macro.run_chain(self.config, self.die, self.chain, *streams)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """The Verilog's trace, both clip counters at the end, and what the harness said if the macro stalled."""

    traces: Sequence[RoundTrace]
    clips: tuple[int, int]
    stall: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Both traces of a job, and the clip counters; every seam was compared and agrees."""

    golden: Sequence[RoundTrace]
    rtl: Sequence[RoundTrace]
    clips: tuple[int, int]


def simulate(
    job: Job,
    model: Path,
    *,
    timeout: float = 300,
    folder: Path | None = None,
    die_files: Path | None = None,
    waves: bool = False,
) -> Simulated:
    """Run a job in Icarus and return what the Verilog did.

    Args:
        job: what runs.
        model: compiled harness of the job's configuration.
        timeout: seconds of real time.
        folder: where the files of the run go; a temporary folder if None.
        die_files: where the die's tables go, for jobs that share them; `folder` if None.
        waves: write `cosim.fst` into the folder.

    Raises:
        SimulatorError: missing simulator, crash, time-out.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="twinor-") as temporary:
            return simulate(job, model, timeout=timeout, folder=Path(temporary), die_files=die_files)
    plusargs = _write_files(job, folder, die_files or folder)
    outs = job.vectors * sum(rnd.col_count for rnd in job.chain.rounds if rnd.end is not End.HOLD)
    plusargs += ["+log=seam", f"+outs={outs}", f"+watchdog={_quiet(job)}"]
    log = icarus.run(model, plusargs, cwd=folder, timeout=timeout, waves=waves)
    if "twinor: done" not in log and "twinor: stalled" not in log:
        raise SimulatorError(f"the simulation ended before its last output; {icarus.tail(log)}")
    traces = files.read_traces(job.config, job.chain, folder / "seam", vectors=job.vectors)
    stall = re.search("twinor: (stalled: .*)", log)
    return Simulated(traces=traces, clips=files.read_clips(folder / "seam"), stall=stall.group(1) if stall else "")


def _write_files(job: Job, folder: Path, die_files: Path) -> list[str]:
    """Write what the harness reads; returns its plusargs."""
    config, macro_index = job.config, job.chain.macro
    texts: dict[Path, Callable[[], str]] = {
        folder / "words.hex": lambda: files.words_hex(config, job.die, job.chain),
        folder / "beats.hex": lambda: files.beats_hex(config, job.inputs),
        folder / "psums.hex": lambda: files.psums_hex(config, job.psums),
        folder / "residuals.hex": lambda: files.residuals_hex(config, job.residuals),
        die_files / f"{macro_index}.cells.hex": lambda: files.cells_hex(config, job.die, macro_index),
        die_files / f"{macro_index}.thresholds.hex": lambda: files.thresholds_hex(job.die, macro_index),
    }
    for path, text in texts.items():
        if path.parent == folder or not path.is_file():
            whole = path.with_name(f".{path.name}.{threading.get_ident()}")  # several jobs may write the same die
            whole.write_text(text(), encoding="ascii")
            whole.replace(path)
    if job.die.noisy:
        (folder / "noise.hex").write_text(files.noise_hex(config, job.golden()), encoding="ascii")
        texts[folder / "noise.hex"] = str
    return [f"+{path.name.split('.')[-2]}={path.resolve()}" for path in texts]


def _quiet(job: Job) -> int:
    """Cycles without any event after which the macro must have stalled: ten times the longest single step."""
    config = job.config
    return 10 * (config.wl_cycles + config.settle_cycles + config.conversion_cycles + config.cols)


def check(job: Job, model: Path, *, timeout: float = 300, die_files: Path | None = None) -> Checked:
    """Run a job in golden and in Icarus and compare every seam.

    Raises:
        Divergence: at the first value that differs.
        SimulatorError: as `simulate`.
    """
    golden = job.golden()
    rtl = simulate(job, model, timeout=timeout, die_files=die_files)
    compare(job, golden, rtl)
    return Checked(golden=golden, rtl=rtl.traces, clips=rtl.clips)


def compare(job: Job, golden: Sequence[RoundTrace], rtl: Simulated) -> None:
    """Raise the first `Divergence`, if any, with its simulation time and what the harness said of a stall."""
    found = first_divergence(golden, rtl.traces) or _counters(job, golden, rtl.clips)
    if found is None:
        return
    words = len(files.words_hex(job.config, job.die, job.chain).splitlines())
    cycle = vars(found).pop("cycle")
    time = RESET_NS + PERIOD * (words + cycle) + PERIOD // 2 if cycle >= 0 else None
    raise Divergence(**(vars(found) | {"sim_time": time, "stall": rtl.stall}))


def _counters(job: Job, golden: Sequence[RoundTrace], clips: tuple[int, int]) -> Divergence | None:
    """A clip counter that differs at the end of the run; it is known no closer than that."""
    for name, own, other in zip(COUNTERS, map(sum, zip(*(t.clips for t in golden), strict=True)), clips, strict=True):
        if own != other:
            last = {"vector": job.vectors - 1, "round": len(golden) - 1}
            return Divergence(seam=name, golden=own, other=other, cycle=int(golden[-1].out_cycles.max()), **last)
    return None


def chunks(job: Job, size: int) -> list[Job]:
    """The same job in pieces of at most `size` vectors."""
    starts = range(0, job.vectors, size)
    return [
        replace(
            job,
            inputs=[x[k : k + size] for x in job.inputs],
            psums=None if job.psums is None else job.psums[k : k + size],
            residuals=None if job.residuals is None else job.residuals[k : k + size],
            first=job.first + k,
        )
        for k in starts
    ]
