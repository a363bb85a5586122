# SPDX-License-Identifier: Apache-2.0
"""Reproducers: a divergence cut down to one round and one vector where possible, with its die, in one folder."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from twinor.config import config_of
from twinor.cosim import icarus
from twinor.cosim.chain import Job, check, compare, simulate
from twinor.cosim.gtkwave import save_view
from twinor.cosim.view import Focus, span
from twinor.die import cut_out
from twinor.die_file import die_content, die_of
from twinor.errors import CorruptFile, SimulatorError
from twinor.params import RTL
from twinor.rounds import Chain, End, Start, pack, unpack
from twinor.store import read_archive, write_archive
from twinor.trace import Divergence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.trace import RoundTrace

__all__ = ["WAVE", "load_job", "replay", "write_reproducer"]

JOB, WAVE = "job.npz", "cosim.fst"


def write_reproducer(found: Divergence, job: Job, folder: Path, *, rtl: Path = RTL, timeout: float = 300) -> Divergence:
    """Write the smallest job that still diverges, in a new folder named after the place.

    Args:
        found: the divergence, located in the network.
        job: the chain and vectors of the run that diverged.
        folder: parent of the reproducer.
        rtl: the Verilog that diverged.
        timeout: seconds of real time for one run of the simulator.

    Returns:
        The same divergence with its `reproducer`.
    """
    small = _smallest(job, rtl=rtl, timeout=timeout)
    name = "-".join(filter(None, (found.layer, found.tile.replace(" ", "").replace(",", "-"), found.seam)))
    target = folder / name.replace("..", "_")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
        half = Path(temporary) / "whole"
        half.mkdir()
        located = Divergence(**(vars(found) | {"reproducer": str(target)}))
        _save_job(half / JOB, small, rtl=rtl)
        (half / "divergence.txt").write_text(f"{located}\n", encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        half.replace(target)
    return located


def _smallest(job: Job, *, rtl: Path, timeout: float) -> Job:
    """One round and one vector if that still diverges, else all vectors up to the first that does."""
    model = icarus.build(job.config, rtl=rtl)
    golden = job.golden()
    first = _divergence(job, model, timeout)
    if first is None:
        return job
    start = _accumulators_before(job, golden, first.round)
    one = _one_round(job, first.round, first.vector, start)
    if one is not None and _divergence(one, model, timeout) is not None:
        return one
    upto = first.vector + 1
    psums = None if job.psums is None else job.psums[:upto]
    residuals = None if job.residuals is None else job.residuals[:upto]
    return replace(job, inputs=[x[:upto] for x in job.inputs], psums=psums, residuals=residuals)


def _divergence(job: Job, model: Path, timeout: float) -> Divergence | None:
    try:
        check(job, model, timeout=timeout)
    except Divergence as found:
        return found
    except SimulatorError:
        return None
    return None


def _accumulators_before(job: Job, golden: Sequence[RoundTrace], index: int) -> NDArray[np.int64] | None:
    rnd = job.chain.rounds[index]
    if rnd.start is Start.LAST:
        return golden[index - 1].partial_sums[:, -1].astype(np.int64)
    if rnd.start is Start.PSUM and job.psums is not None:
        taken = sum(r.col_count for r in job.chain.rounds[:index] if r.start is Start.PSUM)
        return job.psums[:, taken : taken + rnd.col_count].astype(np.int64)
    return None


def _one_round(job: Job, index: int, vector: int, start: NDArray[np.integer] | None) -> Job | None:
    """The round alone, from the accumulators before it; None if those do not fit a partial sum."""
    if start is not None and np.any(np.abs(start[vector]) >= 1 << (job.config.psum_bits - 1)):
        return None
    rnd = job.chain.rounds[index]
    alone = replace(
        rnd,
        start=Start.ZERO if start is None else Start.PSUM,
        end=End.RAW if rnd.end is End.HOLD else rnd.end,
    )
    one = slice(vector, vector + 1)
    return replace(
        job,
        chain=replace(job.chain, rounds=(alone,)),
        inputs=[job.inputs[index][one]],
        psums=None if start is None else start[one],
        residuals=_residuals_of(job, index, one),
        first=job.first + vector,
    )


def _residuals_of(job: Job, index: int, vectors: slice) -> NDArray[np.integer] | None:
    """Residual codes of one round."""
    if job.residuals is None or not job.chain.rounds[index].residual:
        return None
    before = sum(r.col_count for r in job.chain.rounds[:index] if r.residual)
    return job.residuals[vectors, before : before + job.chain.rounds[index].col_count]


def _save_job(path: Path, job: Job, *, rtl: Path) -> None:
    """Only the macro of the chain travels: it becomes macro 0 of a die of one."""
    header, arrays = die_content(cut_out(job.die, job.chain.macro))
    arrays |= {f"input{k}": x.astype(np.int16) for k, x in enumerate(job.inputs)}
    arrays["words"] = pack(job.config, job.chain)
    if job.psums is not None:
        arrays["psums"] = job.psums.astype(np.int64)
    if job.residuals is not None:
        arrays["residuals"] = job.residuals.astype(np.int64)
    header |= {
        "macro": asdict(job.config),
        "first": job.first,
        "rtl": str(rtl.resolve()),
        "rounds": len(job.chain.rounds),
    }
    write_archive(path, kind="reproducer", header=header, arrays=arrays)


def load_job(folder: Path) -> tuple[Job, Path]:
    """A reproducer's job and the folder of the Verilog it was found in.

    Raises:
        CorruptFile: missing, damaged, or not a reproducer.
    """
    header, arrays = read_archive(folder / JOB, kind="reproducer", remedy="run the co-simulation again")
    try:
        config, die = config_of(header["macro"]), die_of(header, arrays)
        chain: Chain = unpack(config, arrays["words"])
        inputs = [arrays[f"input{k}"] for k in range(header["rounds"])]
    except (KeyError, TypeError) as error:
        raise CorruptFile(f"{folder / JOB} lacks {error}; run the co-simulation again") from None
    job = Job(
        config=config,
        die=die,
        chain=chain,
        inputs=inputs,
        psums=arrays.get("psums"),
        residuals=arrays.get("residuals"),
        first=header["first"],
    )
    return job, Path(header["rtl"])


def replay(folder: Path, *, waves: bool = False, rtl: Path | None = None, timeout: float = 300) -> None:
    """Run a reproducer again, in its folder; with waves, `cosim.fst` and its view `cosim.gtkw` are written there.

    Raises:
        Divergence: it still diverges; the view looks at that place.
        CorruptFile, SimulatorError: as `load_job` and `simulate`.
    """
    job, recorded = load_job(folder)
    model = icarus.build(job.config, rtl=rtl or recorded)
    golden = job.golden()
    simulated = simulate(job, model, timeout=timeout, folder=folder, waves=waves)
    found: Divergence | None = None
    try:
        compare(job, golden, simulated)
    except Divergence as error:
        found = error
    if waves:
        wave, counts = folder / WAVE, job.config.parameters()
        save_view(wave, template="cosim", model=model, counts=counts, focus=_focus(found, wave, job.config))
    if found:
        raise found


def _focus(found: Divergence | None, wave: Path, config: Config) -> Focus:
    """The place of a divergence: just before its clock edge, where the values of all signals are what the edge sees."""
    if found is None:
        return Focus(chosen={"N_ADCS": int(config.ref_cols), "N_LANES": 0, "ROWS": 0})
    column, time = found.column or 0, span(wave)
    lane = 0 if found.reference is not None else column % config.n_lanes
    adc = 0 if found.reference is not None else lane + config.ref_cols
    marker, seam, where = time.end / time.per_ns, "cycles", "it never came: the marker is at the end"
    if found.sim_time is not None:
        marker, seam = found.sim_time - 1, found.seam
        where = f"the marker is 1 ns before the edge at {found.sim_time} ns"
    return Focus(
        marker=marker,
        seam=seam,
        chosen={"N_ADCS": adc, "N_LANES": lane, "ROWS": column if found.seam == "word_lines" else 0},
        notes=(f"seam {found.seam}, {found.unit() or 'column 0'}", found.values(), where),
    )
