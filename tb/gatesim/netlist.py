# SPDX-License-Identifier: Apache-2.0
"""A folder that benches take for rtl/, with the netlist in place of the synthesizable files."""

from __future__ import annotations

import ast
import re
import shutil
from collections import Counter
from typing import TYPE_CHECKING

from twinor.params import header

from tb.common.sources import RTL
from tb.synth.flow import TOP

if TYPE_CHECKING:
    from pathlib import Path

    from twinor.config import Config

__all__ = ["comparisons", "gate_level"]

BAKED = "// SPDX-License-Identifier: Apache-2.0\n// The netlist has no parameters.\n"


def gate_level(config: Config, netlist: Path, folder: Path, *, rtl: Path = RTL) -> Path:
    """Make the folder: netlist, behavioural analog half, and the parameter list of this configuration alone.

    Args:
        config: what the netlist was made for; the bench compares the parameters of `macro_sim` with it.
        netlist: the file that `synthesise` wrote.
        folder: to make; what is there goes.
        rtl: where the analog half comes from.

    Returns:
        The folder.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(rtl / "sim", folder / "sim", ignore=shutil.ignore_patterns("*.md"))
    shutil.copy(netlist, folder / f"{TOP}.v")
    (folder / "rtl.f").write_text(f"rtl/{TOP}.v\n", encoding="utf-8")
    (folder / "macro_params.vh").write_text(header(config), encoding="utf-8")
    (folder / "macro_params_inst.vh").write_text(BAKED, encoding="utf-8")
    return folder


def comparisons(log: str) -> dict[str, int]:
    """How often the bench of the macro compared at each seam, from the lines that its traffic tests log.

    Example:
        >>> comparisons("10 ns INFO {'codes': 3, 'outputs': 2} 20 ns INFO {'codes': 1, 'outputs': 4}")
        {'codes': 4, 'outputs': 6}
    """
    total: Counter[str] = Counter()
    for text in re.findall(r"\{'\w[^{}]*': \d+\}", log):
        total.update(ast.literal_eval(text))
    return dict(total)
