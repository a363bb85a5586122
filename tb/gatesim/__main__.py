# SPDX-License-Identifier: Apache-2.0
"""`python -m tb.gatesim`: the bench of the macro on the netlist that Yosys makes of its digital half."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from twinor.config import load, replace
from twinor.cosim import icarus
from twinor.die import sample_die
from twinor.errors import TwinorError

from tb.common.results import read_results
from tb.common.runner import BenchFailed, BuildFailed, run_bench
from tb.common.sources import RTL
from tb.gatesim.netlist import comparisons, gate_level
from tb.synth.flow import TOP, synthesise
from tb.uvm.run import DIE_SEED
from tb.uvm.stimulus import levels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twinor.config import Config

MEDIUM = replace(load("nor40_int4"), name="nor40_32x16", rows=32, cols=16, active_rows=32, cols_per_adc=4, max_rounds=4)
"""A corner of the default macro: its cells, slices and 8-bit ADCs at a size that gates simulate in a minute."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tb.gatesim", description=__doc__)
    default = ["tiny", MEDIUM.name]
    parser.add_argument(
        "--preset", nargs="+", default=default, help=f"names or .yaml files (default: {' '.join(default)})"
    )
    parser.add_argument("--seed", type=int, default=1, help="of stimulus and weights (default: 1)")
    parser.add_argument("--rtl", type=Path, default=RTL, help="another folder of Verilog")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Synthesise, run, say what was compared; netlists and logs stay in build/gatesim."""
    options = arguments(argv)
    rtl, began = options.rtl.resolve(), time.monotonic()
    configs = [MEDIUM if name == MEDIUM.name else load(name) for name in dict.fromkeys(options.preset)]
    runs = [_run(config, rtl, icarus.BUILD / "gatesim" / config.name, seed=options.seed) for config in configs]
    netlists = " and ".join(
        f"{config.name} ({cells:,} cells)" for config, (cells, _) in zip(configs, runs, strict=True)
    )
    seams = {seam for _, compared in runs for seam in compared}
    count = sum(sum(compared.values()) for _, compared in runs)
    what = f"{count:,} comparisons at {len(seams)} seams, 0 mismatches in {time.monotonic() - began:.0f} s"
    print(f"{TOP} as a netlist, {netlists}: {what}")
    return 0


def _run(config: Config, rtl: Path, folder: Path, *, seed: int) -> tuple[int, dict[str, int]]:
    """Cells of the netlist, and comparisons by seam.

    Raises:
        BuildFailed, BenchFailed: as `run_bench`.
        TwinorError: as `synthesise`.
    """
    print(f"{config.name}: Yosys synthesises", flush=True)
    netlist = synthesise(config, folder / "synth", rtl=rtl)
    cells = sum(netlist.cells.values())
    print(f"{config.name}: {cells:,} cells, the bench runs", flush=True)
    gates = gate_level(config, netlist.verilog, folder / "rtl", rtl=rtl)
    die = sample_die(config, levels(config, np.random.default_rng(seed)), seed=DIE_SEED)
    shutil.rmtree(folder / "bench", ignore_errors=True)
    run_bench(TOP, config, folder / "bench", rtl=gates, die=die, seed=seed)
    compared = comparisons((folder / "bench" / "sim.log").read_text(encoding="utf-8", errors="replace"))
    if not compared:
        raise TwinorError(f"the bench of {TOP} logged no comparisons on {config.name}: see {folder / 'bench'}/sim.log")
    passed = len(read_results(folder / "bench" / "results.xml") or [])
    seams = ", ".join(f"{seam} {count:,}" for seam, count in compared.items())
    print(f"{config.name}: {passed} tests passed; compared {seams}", flush=True)
    return cells, compared


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BenchFailed, BuildFailed, TwinorError) as error:
        sys.exit(f"twinor: {error}")
