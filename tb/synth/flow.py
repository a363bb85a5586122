# SPDX-License-Identifier: Apache-2.0
"""The flow: rtl.f and a configuration go in, a netlist of generic gates and its cells by block come out."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twinor.cosim import icarus
from twinor.errors import TwinorError

from tb.common.sources import RTL, listed

if TYPE_CHECKING:
    from twinor.config import Config

__all__ = ["BUSES", "TOP", "Netlist", "synthesise", "synthesise_buses"]

TOP = "cim_macro"
"""The digital half; in tables of cells it stands for what it has beside its blocks."""

BUSES = "cim_axi"
"""The shell that puts the digital half on buses."""

SECONDS = 3600
"""Yosys is stopped after this time; the largest preset needs a few minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Netlist:
    """What Yosys made of one configuration.

    Attributes:
        verilog: the flat netlist, one module `cim_macro` without parameters.
        cells: how many cells of each type it has.
        blocks: how many cells of each type a block has, in the order of rtl.f.
        estimate: transistors that Yosys itself counts, without flip-flops that have a reset or an enable.
    """

    verilog: Path
    cells: dict[str, int]
    blocks: dict[str, dict[str, int]]
    estimate: int


def synthesise(config: Config, folder: Path, *, rtl: Path = RTL) -> Netlist:
    """Synthesise the digital half block by block, then write it flat.

    Blocks keep their borders while Yosys optimises; the flat netlist only loses what nothing outside a block uses.
    Memories, the round memory and the word-line latches among them, become flip-flops.

    Args:
        config: the macro.
        folder: of this run's own; what Yosys reads, says and writes is left in it.
        rtl: folder of the Verilog.

    Raises:
        TwinorError: Yosys is missing, or stops; carries the end of its log.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = [Path(line).name for line in (rtl / "rtl.f").read_text(encoding="utf-8").split()]
    for path in [*(rtl / name for name in names), *rtl.glob("*.vh")]:
        shutil.copy(path, folder)
    (folder / "flow.ys").write_text(_script(config, names), encoding="utf-8")
    _yosys(config, folder)
    modules = _cells(folder / "cells.json")
    blocks = {name: {c: n for c, n in cells.items() if _block(c) not in modules} for name, cells in modules.items()}
    order = [Path(name).stem for name in names]
    counted = re.findall(r"transistors:\s+(\d+)", (folder / "cmos.txt").read_text(encoding="utf-8"))
    return Netlist(
        verilog=folder / "netlist.v",
        cells=_cells(folder / "flat.json")[TOP],
        blocks={name: blocks[name] for name in order},
        estimate=int(counted[-1]),
    )


def synthesise_buses(config: Config, folder: Path, *, rtl: Path = RTL) -> dict[str, dict[str, int]]:
    """Synthesise the shell and its register block around the digital half, which stays an empty box.

    Args:
        config: the macro, which gives the widths of the buses.
        folder: of this run's own; what Yosys reads, says and writes is left in it.
        rtl: folder of the Verilog.

    Returns:
        How many cells of each type the shell and the register block have.

    Raises:
        TwinorError: as `synthesise`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    values = " ".join(f"-set {name} {value}" for name, value in config.parameters().items())
    lines = [
        *(f"read_verilog {'-sv' * (path.suffix == '.sv')} -I{rtl} {path}" for path in listed(rtl)),
        f"chparam {values} {BUSES}",
        f"hierarchy -check -top {BUSES}",
        f"blackbox *{TOP}",
        f"synth -top {BUSES}",
        "tee -q -o cells.json stat -json",
    ]
    (folder / "flow.ys").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _yosys(config, folder, top=BUSES)
    found = _cells(folder / "cells.json")
    return {name: {c: n for c, n in cells.items() if c.startswith("$_")} for name, cells in found.items()}


def _script(config: Config, names: list[str]) -> str:
    values = " ".join(f"-set {name} {value}" for name, value in config.parameters().items())
    lines = [
        f"read_verilog -I. {' '.join(names)}",
        f"chparam {values} {TOP}",
        f"hierarchy -check -top {TOP}",
        f"synth -top {TOP}",
        "tee -q -o cells.json stat -json",
        f"tee -q -o cmos.txt stat -tech cmos -top {TOP}",
        "flatten",
        "opt_clean",
        "tee -q -o flat.json stat -json",
        "write_verilog -noattr netlist.v",
    ]
    return "\n".join(lines) + "\n"


def _yosys(config: Config, folder: Path, *, top: str = TOP) -> None:
    command = ["yosys", "-q", "-l", "yosys.log", "-s", "flow.ys"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS)
    except FileNotFoundError:
        raise TwinorError("yosys is not installed: run make setup") from None
    except subprocess.TimeoutExpired:
        raise TwinorError(f"Yosys did not end within {SECONDS} s on {config.name}") from None
    if done.returncode:
        log = (folder / "yosys.log").read_text(encoding="utf-8", errors="replace")
        raise TwinorError(f"Yosys could not synthesise {top} for {config.name}; {icarus.tail(log)}")


def _cells(path: Path) -> dict[str, dict[str, int]]:
    """How many cells of each type a module has, modules inside it included."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^ +[^\s\"]+ +\d+\n", "", text, flags=re.MULTILINE)  # Yosys 0.23 draws a deep hierarchy between them
    found = json.loads(text)["modules"]
    return {_block(name): module["num_cells_by_type"] for name, module in found.items()}


def _block(module: str) -> str:
    r"""The name in the source: Yosys writes `$paramod$<hash>\wl_dac`, `$paramod\wl_dac\ROWS=...` or `\wl_dac`."""
    found = re.match(r"(?:\$paramod(?:\$[0-9a-f]+)?)?\\(\w+)", module)
    return found[1] if found else module
