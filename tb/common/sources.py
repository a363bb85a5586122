# SPDX-License-Identifier: Apache-2.0
"""Which Verilog files and parameters a bench needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twinor.config import Config

__all__ = [
    *("REPO", "RTL", "bench_of", "declared_parameters", "expected_parameters", "file_of", "inside", "needs_die"),
    *("sources_of", "synthesizable", "top_of"),
]

REPO = Path(__file__).resolve().parents[2]
RTL = REPO / "rtl"


def top_of(block: str) -> str:
    """The Verilog module that a bench drives: the block itself, or the macro with its behavioural array."""
    return "macro_sim" if block == "cim_macro" else block


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
    lists = sorted(rtl.glob("*.f"), key=lambda path: path.name != "rtl.f")
    names = (Path(line) for path in lists for line in path.read_text(encoding="utf-8").split())
    return list(dict.fromkeys(name.stem for name in names if name.parent == Path("rtl")))


def file_of(block: str, rtl: Path = RTL) -> Path:
    """The Verilog file of a block."""
    leaf = rtl / f"{block}.v"
    return leaf if leaf.is_file() else rtl / "sim" / f"{block}.v"


def inside(block: str, rtl: Path = RTL) -> list[Path]:
    """Files of the synthesizable blocks inside a block, at any depth.

    Example:
        >>> "wl_dac.v" in [path.name for path in inside("cim_macro")]
        True
    """
    others = [name for name in synthesizable(rtl) if (rtl / f"{name}.v").is_file()]
    found, todo = list[Path](), [file_of(block, rtl)]
    while todo:
        text = todo.pop().read_text(encoding="utf-8")
        named = (rtl / f"{name}.v" for name in others if re.search(rf"^\s*{name}\s+(#\s*\(|u_)", text, re.MULTILINE))
        new = [path for path in named if path not in found]
        found += new
        todo += new
    return found


def sources_of(block: str, rtl: Path) -> list[Path]:
    """The Verilog files that a bench compiles: the block's own first, then those of the blocks inside."""
    if block == "cim_macro":
        names = (rtl / "rtl.f").read_text(encoding="utf-8").split()
        return [rtl / Path(name).relative_to("rtl") for name in names] + sorted((rtl / "sim").glob("*.v"))
    return [file_of(block, rtl), *inside(block, rtl)]


def needs_die(block: str) -> bool:
    """True if the bench of a block reads the die under test."""
    return "bench.die()" in (REPO / "tb" / f"tb_{block}.py").read_text(encoding="utf-8")


def declared_parameters(block: str, rtl: Path = RTL) -> list[str]:
    """Names of the parameters that the bench's top module declares, the included header's among them."""
    top = rtl / "sim" / "macro_sim.v" if block == "cim_macro" else sources_of(block, rtl)[0]
    text = top.read_text(encoding="utf-8")
    for include in re.findall(r'^`include "(macro_params\.vh)"', text, flags=re.MULTILINE):
        text += (rtl / include).read_text(encoding="utf-8")
    return re.findall(r"^\s*parameter\s+(?:integer\s+)?(\w+)", text, flags=re.MULTILINE)


def expected_parameters(config: Config, names: list[str]) -> dict[str, int]:
    """What the configuration says about declared parameters; a name that it does not know is an error."""
    known = config.parameters() | {"Q_BITS": config.current_bits + 1}
    return {name: known[name] for name in names}
