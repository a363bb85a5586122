# SPDX-License-Identifier: Apache-2.0
"""Which Verilog files and parameters a bench needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twinor.config import Config

__all__ = [
    *(
        "REPO",
        "RTL",
        "TOPS",
        "bench_of",
        "declared_parameters",
        "expected_parameters",
        "file_of",
        "inside",
        "listed",
        "needs_die",
    ),
    *("sources_of", "synthesizable", "top_of"),
]

REPO = Path(__file__).resolve().parents[2]
RTL = REPO / "rtl"


TOPS = {"cim_macro": "rtl/sim/macro_sim.v", "cim_axi": "tb/axi_sim.v"}
"""Blocks whose bench needs the behavioural array: the file of the module around both."""


def top_of(block: str) -> str:
    """The Verilog module that a bench drives: the block itself, or the macro with its behavioural array."""
    return Path(TOPS.get(block, block)).stem


def _top_file(block: str, rtl: Path) -> Path:
    """The file of `top_of`; a bench's own module is not part of a copy of the Verilog."""
    path = Path(TOPS[block]) if block in TOPS else file_of(block, rtl)
    return rtl / path.relative_to("rtl") if path.parts[0] == "rtl" else REPO / path


def bench_of(module: str) -> str:
    """The name of a module of cocotb tests on a command line.

    Example:
        >>> bench_of("tb.tb_sar_adc"), bench_of("tb.uvm.tests")
        ('sar_adc', 'uvm')
    """
    return module.removeprefix("tb.").removeprefix("tb_").removesuffix(".tests")


def synthesizable(rtl: Path = RTL) -> list[str]:
    """Blocks that are hardware: what `rtl.f` and other lists `*.f` name, generated files in folders of their own apart.

    Example:
        >>> synthesizable()[:2]
        ['wl_dac', 'sar_adc']
    """
    return [path.stem for path in listed(rtl) if path.parent == rtl]


def listed(rtl: Path = RTL) -> list[Path]:
    """Files that `rtl.f` and then other lists `*.f` name, generated ones included.

    Example:
        >>> "cim_axi_regs.sv" in [path.name for path in listed()]
        True
    """
    lists = sorted(rtl.glob("*.f"), key=lambda path: path.name != "rtl.f")
    names = (line for path in lists for line in path.read_text(encoding="utf-8").split())
    return list(dict.fromkeys(rtl / Path(name).relative_to("rtl") for name in names))


def file_of(block: str, rtl: Path = RTL) -> Path:
    """The Verilog file of a block."""
    leaf = rtl / f"{block}.v"
    return leaf if leaf.is_file() else rtl / "sim" / f"{block}.v"


def inside(block: str, rtl: Path = RTL) -> list[Path]:
    """Files of the synthesizable blocks inside a block, at any depth, generated ones included.

    Example:
        >>> "wl_dac.v" in [path.name for path in inside("cim_macro")]
        True
    """
    others = [path for path in listed(rtl) if path.is_file()]
    found, todo = list[Path](), [file_of(block, rtl)]
    while todo:
        text = todo.pop().read_text(encoding="utf-8")
        text += "".join(
            (rtl / name).read_text(encoding="utf-8") for name in re.findall(r'^`include "(.*)"', text, re.M)
        )
        named = (path for path in others if re.search(rf"^\s*{path.stem}\s+(#\s*\(|u_)", text, re.MULTILINE))
        new = [path for path in named if path not in found]
        found += new
        todo += new
    return found


def sources_of(block: str, rtl: Path) -> list[Path]:
    """The Verilog files that a bench compiles: the block's own first, then those of the blocks inside."""
    if block == "cim_macro":
        names = (rtl / "rtl.f").read_text(encoding="utf-8").split()
        return [rtl / Path(name).relative_to("rtl") for name in names] + sorted((rtl / "sim").glob("*.v"))
    stand_ins = [*sorted((rtl / "sim").glob("*.v")), _top_file(block, rtl)] if block in TOPS else []
    return [file_of(block, rtl), *inside(block, rtl), *stand_ins]


def needs_die(block: str) -> bool:
    """True if the bench of a block reads the die under test."""
    return "bench.die()" in (REPO / "tb" / f"tb_{block}.py").read_text(encoding="utf-8")


def declared_parameters(block: str, rtl: Path = RTL) -> list[str]:
    """Names of the parameters that the bench's top module declares, the included header's among them."""
    text = _top_file(block, rtl).read_text(encoding="utf-8")
    for include in re.findall(r'^`include "(macro_params\.vh)"', text, flags=re.MULTILINE):
        text += (rtl / include).read_text(encoding="utf-8")
    return re.findall(r"^\s*parameter\s+(?:integer\s+)?(\w+)", text, flags=re.MULTILINE)


def expected_parameters(config: Config, names: list[str]) -> dict[str, int]:
    """What the configuration says about declared parameters; a name that it does not know is an error."""
    known = config.parameters() | {"Q_BITS": config.current_bits + 1, "HOLD_BITS": config.hold_bits}
    return {name: known[name] for name in names}
