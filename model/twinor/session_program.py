# SPDX-License-Identifier: Apache-2.0
"""What `twinor program` does: macros of a die, golden or golden and Verilog, as tables, JSON and a die file."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from twinor import tables
from twinor.config import load
from twinor.die_file import save_die
from twinor.errors import TwinorError
from twinor.program import STATUSES, by_level, defects, program_die, programmed_die
from twinor.session import prepare, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from twinor.config import Config
    from twinor.program import MacroResult
    from twinor.workbench import Workbench

__all__ = ["program"]

BACKENDS = ("golden", "rtl")


def program(
    preset: str,
    *,
    backend: str,
    layer: str | None,
    macros: int | None,
    rows: int | None,
    retries: int,
    die_seed: int,
    seed: int,
    timeout: float,
    out: Path,
    console: Console,
) -> None:
    """Program the network's cells; tables, and `program-<preset>-die<seed>`, JSON and die."""
    config = _check(preset, backend, rows)
    bench = prepare(preset, images=1, seed=seed, die_seed=die_seed, die=None, console=console)
    chosen = _macros(bench, layer, macros)
    with tables.Progress(console) as progress:
        results = program_die(
            config,
            bench.die,
            bench.placement.levels,
            seed=die_seed,
            macros=chosen,
            rows=rows,
            retries=retries,
            progress=partial(progress.show, "program"),
        )
        compared = _in_verilog(bench, results, timeout, progress) if backend == "rtl" else 0
    _report(bench, results, console)
    name = f"program-{bench.title()}" + (f"-{layer}" if layer else "")
    die = programmed_die(config, bench.die, results, seed=die_seed)
    if compared:
        console.print(
            f"golden and rtl: {compared:,} statuses, codes, pulse counts and thresholds: 0 mismatches", soft_wrap=True
        )
    _save(bench, results, out, name, {"backend": backend, "layer": layer, "compared": compared}, console)
    save_die(out / f"{name}.npz", die)
    whole = "" if die.levels_digest else "; not every cell was programmed, so it is no die for `twinor cosim`"
    console.print(f"wrote {out / f'{name}.npz'}{whole}", soft_wrap=True)


def _check(preset: str, backend: str, rows: int | None) -> Config:
    """Mistakes that show before training."""
    if backend not in BACKENDS:
        raise TwinorError(f"unknown --backend {backend}: expected one of {', '.join(BACKENDS)}")
    config = load(preset)
    if rows is not None and rows > config.rows:
        raise TwinorError(f"--rows {rows}: preset {config.name} has {config.rows} word lines")
    if backend == "rtl":
        from twinor.cosim import icarus

        icarus.build(config)  # a missing simulator shows before anything long starts
    return config


def _macros(bench: Workbench, layer: str | None, macros: int | None) -> list[int]:
    """Macros of a layer, or of all, and of these the first ones."""
    layers = bench.placement.layers
    if layer is not None and layer not in layers:
        raise TwinorError(f"no layer {layer}: the network has {', '.join(layers)}")
    wanted = layers.values() if layer is None else [layers[layer]]
    chosen = sorted({c.chain.macro for placed in wanted for c in placed.chains})
    if macros is not None and macros > len(chosen):
        raise TwinorError(f"--macros {macros}: {layer or 'the network'} takes {len(chosen)} of them")
    return chosen[:macros]


def _in_verilog(bench: Workbench, results: Sequence[MacroResult], timeout: float, progress: tables.Progress) -> int:
    """The same operations in Icarus; how many values were compared."""
    from twinor.cosim import icarus
    from twinor.cosim.programming import check_macro

    model, compared = icarus.build(bench.config), 0
    for n, result in enumerate(results):
        compared += check_macro(bench.config, bench.die, result, model, seed=bench.die.seed, timeout=timeout)
        progress.show("rtl", n + 1, len(results))
    return compared


def _report(bench: Workbench, results: Sequence[MacroResult], console: Console) -> None:
    found = by_level(bench.config, results)
    tables.show("reached strength by level", tables.reached(found), console)
    tables.show(
        "pulses by macro, time at 100 MHz with pulses of 10 ms, 10 us and 1 us", tables.pulses(results), console
    )
    cells, bad = sum(row.cells for row in found), [sum(row.statuses[n] for row in found) for n in range(4)]
    rest = ", ".join(f"{n:,} {name}" for n, name in zip(bad, STATUSES, strict=True))
    seconds = sum(r.seconds for r in results)
    console.print()
    console.print(f"{cells:,} cells in {len(results)} macros, {seconds:.2f} s on the chip: {rest}", soft_wrap=True)


def _save(
    bench: Workbench, results: Sequence[MacroResult], out: Path, name: str, more: dict[str, Any], console: Console
) -> None:
    def entry(r: MacroResult) -> dict[str, Any]:
        erase, coarse, fine = r.pulses
        counts = {"erase_pulses": erase, "coarse_pulses": coarse, "fine_pulses": fine, "unerased": r.done.unerased}
        figures = {"reads": r.done.reads, "cycles": r.done.cycles, "seconds": r.seconds, "passes": len(r.done.passes)}
        return {"macro": r.macro, "rows": len(r.rows)} | counts | figures

    content = bench.applied() | more
    content |= {"settings": asdict(results[0].settings), "macros": [entry(r) for r in results]}
    content |= {"levels": [asdict(row) for row in by_level(bench.config, results)]}
    write_json(out / f"{name}.json", content | {"defects": defects(bench.config, results)}, console)
