# SPDX-License-Identifier: Apache-2.0
"""The Verilog is clean in Icarus Verilog, Verilator and Yosys at once, for every configuration: no output at all."""

import shutil
import subprocess
from pathlib import Path

import pytest
from twinor.config import PRESETS, Config, load
from twinor.params import RTL

from tb.common.configs import (
    CORRECTED,
    OFFSET,
    PULSED,
    PULSED_OFFSET,
    RAGGED,
    REDUNDANT,
    REFERENCED,
    SHARED,
    SHARED_OFFSET,
    SLICED,
    TWOS,
    ids,
)

pytestmark = pytest.mark.lint

CONFIGS = [
    *(load(path) for path in sorted(PRESETS.glob("*.yaml"))),
    *(OFFSET, TWOS, SLICED, RAGGED, REDUNDANT, CORRECTED, SHARED, SHARED_OFFSET, PULSED, PULSED_OFFSET),
    REFERENCED,
]

STAND_IN_WAIVERS = ["-Wno-WIDTH", "-Wno-BLKSEQ"]
"""Behavioural models index with integers, and their blocks are level-sensitive with an explicit list."""


def needs(tool: str) -> None:
    """Skip without the tool; Icarus Verilog is never skipped, nothing works without it."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed: `make setup` installs the linters")


SMALL = [load("tiny"), RAGGED, PULSED]
"""Enough for the buses, whose widths alone depend on the configuration."""


def sources(rtl: Path, top: str) -> list[str]:
    """The synthesizable files, or all of them."""
    lists = ["rtl.f"] + ["cim_axi.f"] * (top == "cim_axi")
    names = [Path(line) for name in lists for line in (rtl / name).read_text(encoding="utf-8").split()]
    found = [str(rtl / name.relative_to("rtl")) for name in names]
    return found + [str(path) for path in sorted((rtl / "sim").glob("*.v"))] * (top == "macro_sim")


def complaints(command: list[str]) -> str:
    """What a tool prints, and its exit status if it is not 0."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    status = f"\nexit status {done.returncode}" if done.returncode else ""
    return done.stdout + done.stderr + status


def icarus(config: Config, rtl: Path, *, top: str = "cim_macro") -> str:
    """Icarus Verilog, Verilog-2005 unless the generated register block is among the files."""
    dialect = "-g2012" if top == "cim_axi" else "-g2005"
    overrides = [f"-P{top}.{name}={value}" for name, value in config.parameters().items()]
    command = ["iverilog", dialect, "-Wall", "-tnull", f"-I{rtl}", "-s", top, *overrides]
    return complaints(command + sources(rtl, top))


def verilator(config: Config, rtl: Path, *, top: str = "cim_macro") -> str:
    """Verilator's linter."""
    overrides = [f"-G{name}={value}" for name, value in config.parameters().items()]
    waivers = STAND_IN_WAIVERS if top == "macro_sim" else []
    command = ["verilator", "--lint-only", "-Wall", *waivers, f"-I{rtl}", "--top-module", top, *overrides]
    return complaints(command + sources(rtl, top))


def yosys(config: Config, rtl: Path, *, top: str = "cim_macro") -> str:
    """Yosys: reads Verilog-2005 and the register block, finds no latch, no loop, no undriven or doubly driven net."""
    values = " ".join(f"-set {name} {value}" for name, value in config.parameters().items())
    script = [
        *(f"read_verilog {'-sv' * file.endswith('.sv')} -I{rtl} {file}" for file in sources(rtl, top)),
        f"chparam {values} {top}",
        f"hierarchy -check -top {top}",
        "proc",
        "check -assert",
        "select -assert-none t:$dlatch*",
    ]
    return complaints(["yosys", "-q", "-p", "; ".join(script)])


@pytest.mark.parametrize("top", ["cim_macro", "macro_sim"])
@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_icarus_says_nothing(config: Config, top: str) -> None:
    assert icarus(config, RTL, top=top) == ""


@pytest.mark.parametrize("top", ["cim_macro", "macro_sim"])
@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_verilator_says_nothing(config: Config, top: str) -> None:
    needs("verilator")
    assert verilator(config, RTL, top=top) == ""


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_yosys_says_nothing(config: Config) -> None:
    needs("yosys")
    assert yosys(config, RTL) == ""


@pytest.mark.parametrize("tool", ["icarus", "verilator", "yosys"])
@pytest.mark.parametrize("config", SMALL, ids=ids)
def test_no_tool_says_anything_about_the_buses(config: Config, tool: str) -> None:
    needs("iverilog" if tool == "icarus" else tool)
    assert {"icarus": icarus, "verilator": verilator, "yosys": yosys}[tool](config, RTL, top="cim_axi") == ""


@pytest.mark.parametrize("tool", ["icarus", "verilator", "yosys"])
def test_a_planted_fault_is_reported(tool: str, tmp_path: Path) -> None:
    """A port too narrow, a value too narrow, a latch: each tool says so, else its silence means nothing."""
    old, new, block = {
        "icarus": (".position_i(position),", ".position_i(position[14:0]),", "cim_macro"),
        "verilator": ("<= lanes_i;", "<= lanes_i[14:0];", "requantize"),
        "yosys": ("always @(posedge clk_i) begin\n    if (accept)", "always @* begin\n    if (accept)", "shift_add"),
    }[tool]
    run = {"icarus": icarus, "verilator": verilator, "yosys": yosys}[tool]
    needs("iverilog" if tool == "icarus" else tool)
    rtl = shutil.copytree(RTL, tmp_path / "rtl")
    path = rtl / f"{block}.v"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    assert run(load("tiny"), rtl) != ""
