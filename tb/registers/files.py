# SPDX-License-Identifier: Apache-2.0
"""Writes the files that follow from the register map, or says which one no longer does."""

from __future__ import annotations

from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING

from twinor.errors import TwinorError
from twinor.store import write_text

from tb.common.sources import REPO
from tb.registers.source import RDL, compiled
from tb.registers.texts import COMMAND, driver_map, instance, page, register_model, verilog

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check", "texts", "write"]


@cache
def texts(rdl: Path = RDL) -> dict[str, str]:
    """Every generated file, by its path in the repository; a process reads a register map once.

    Raises:
        TwinorError: the register map does not compile.
    """
    top = compiled(rdl)
    return {
        "rtl/regs/cim_axi_regs.sv": verilog(top),
        "rtl/regs/cim_axi_regs.vh": instance(verilog(top)),
        "rtl/registers.md": page(top),
        "model/twinor/registers.py": driver_map(top),
        "tb/registers/model.py": register_model(top),
    }


def write(*, rdl: Path = RDL, folder: Path = REPO) -> list[Path]:
    """Write all of them; returns their paths.

    Raises:
        TwinorError: the register map does not compile, or a file cannot be written.
    """
    made = texts(rdl)
    for name, text in made.items():
        write_text(folder / name, text)
    return [folder / name for name in made]


def check(*, rdl: Path = RDL, folder: Path = REPO) -> None:
    """Compare all of them with the register map.

    Raises:
        TwinorError: a file is missing or differs; names the first line that does and the command to run.
    """
    for name, text in texts(rdl).items():
        path = folder / name
        found = path.read_text(encoding="utf-8") if path.is_file() else ""
        if found != text:
            pairs = zip_longest(found.splitlines(keepends=True), text.splitlines(keepends=True), fillvalue="")
            number, (got, expected) = next((n, p) for n, p in enumerate(pairs, start=1) if p[0] != p[1])
            raise TwinorError(
                f"{name} does not follow {rdl.name}: line {number} is {got!r}, expected {expected!r}; run `{COMMAND}`"
            )
