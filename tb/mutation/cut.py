# SPDX-License-Identifier: Apache-2.0
"""A block and a mutant of it as two netlists without registers: every register is an input `q:` and an output `d:`."""

from __future__ import annotations

import json
import math
import re
import resource
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tb.common.sources import TOPS, declared_parameters, expected_parameters, file_of, inside

if TYPE_CHECKING:
    from pathlib import Path

    from twinor.config import Config

__all__ = ["Cut", "NotProven", "Register", "cut", "yosys"]

SECONDS = 300
"""Yosys gives up after this time."""

BYTES = 3 << 30
"""Memory that Yosys may take."""

Netlist = dict[str, Any]


class NotProven(Exception):
    """Yosys refuses a netlist, or finds a difference; says what and where."""


@dataclass(frozen=True, slots=True)
class Register:
    """Bits of a register, and what reset puts there: None without a reset."""

    width: int
    reset: str | None


@dataclass(frozen=True, slots=True)
class Cut:
    """Ports (direction, width) and registers of a netlist, whose module is in the JSON file."""

    ports: dict[str, tuple[str, int]]
    registers: dict[str, Register]
    netlist: Netlist


def yosys(script: list[str], folder: Path, *, until: float = math.inf) -> str:
    """Run a script; returns what Yosys prints.

    Args:
        script: its lines.
        folder: where it runs.
        until: time of `time.monotonic` at which it is stopped.

    Raises:
        NotProven: Yosys stops with an error, or does not stop.
    """
    (folder / "script.ys").write_text("\n".join(script) + "\n", encoding="utf-8")
    command = ["yosys", "-s", "script.ys"]
    limit = (resource.RLIMIT_AS, (BYTES, BYTES))
    seconds = min(SECONDS, max(until - time.monotonic(), 0.1))
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=seconds,
            preexec_fn=lambda: resource.setrlimit(*limit),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NotProven(f"Yosys found neither a proof nor a difference in {seconds:.0f} s") from None
    if done.returncode:
        raise NotProven(f"Yosys: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return done.stdout


def cut(block: str, mutated: str, config: Config, rtl: Path, folder: Path) -> tuple[Cut, Cut]:
    """The block and its mutant for one configuration.

    Raises:
        NotProven: Yosys refuses one of them.
    """
    values = expected_parameters(config, declared_parameters(block, rtl))
    path = file_of(block, rtl)
    for name, text in (("gold", path.read_text(encoding="utf-8")), ("gate", mutated)):
        (folder / f"{name}.v").write_text(_plain(text, block, name), encoding="utf-8")
    setting = " ".join(
        f"-set {name} {value}" for name, value in values.items() if name in _parameters(block, path, rtl)
    )
    script = [
        *(f"read_verilog {'-sv' * (path.suffix == '.sv')} -I{rtl} {path}" for path in inside(block, rtl)),
        f"read_verilog -I{rtl} gold.v gate.v",
        f"chparam {setting} gold gate",
        "hierarchy",
        "proc -noopt",
        "flatten",
        "opt_clean",
        "memory -nomap",
        "memory_map",
        "dffunmap",
        "setundef -undriven -undef gold gate",
        "opt_clean",
        "write_json cut.json",
    ]
    yosys(script, folder)
    modules = json.loads((folder / "cut.json").read_text(encoding="utf-8"))["modules"]
    return _everted(modules["gold"]), _everted(modules["gate"])


def _parameters(block: str, path: Path, rtl: Path) -> list[str]:
    """Parameters of the file itself: the bench's top module of a whole macro is another one."""
    if block not in TOPS:
        return declared_parameters(block, rtl)
    text = (rtl / "macro_params.vh").read_text(encoding="utf-8")
    return re.findall(r"^\s*parameter\s+integer\s+(\w+)", text, flags=re.MULTILINE)


def _plain(text: str, block: str, name: str) -> str:
    """The module under another name; a memory that a file fills becomes one that could be written."""
    text = re.sub(rf"^module {block}\b", f"module {name}", text, flags=re.MULTILINE)
    fill = re.search(r"^\s*initial .*\$readmemh\(file, (\w+)\);$", text, flags=re.MULTILINE)
    if not fill:
        return text
    write = f"reg file_we, file_clk; always @(posedge file_clk) if (file_we) {fill[1]}[0] <= 0;"
    return text.replace(fill[0], write)


def _everted(module: Netlist) -> Cut:
    """Registers become ports; a reset becomes a choice in front of the input."""
    names = _names(module)
    fresh = 1 + max(bit for net in module["netnames"].values() for bit in net["bits"] if isinstance(bit, int))
    ports = {name: (port["direction"], len(port["bits"])) for name, port in module["ports"].items()}
    registers: dict[str, Register] = {}
    for key, cell in list(module["cells"].items()):
        if cell["type"] in ("$dlatch", "$adlatch", "$dffsr", "$aldff", "$dlatchsr", "$mem", "$mem_v2"):
            raise NotProven(f"it has a {cell['type']}")
        if cell["type"] not in ("$dff", "$adff"):
            continue
        wires = cell["connections"]
        bits, following, reset = wires["Q"], wires["D"], None
        name = names.get(tuple(bits), key)
        if cell["type"] == "$adff":
            reset = str(cell["parameters"]["ARST_VALUE"])
            following = list(range(fresh, fresh + len(bits)))
            fresh += len(bits)
            constant, low = list(reversed(reset)), cell["parameters"]["ARST_POLARITY"][-1] == "0"
            choice = {"A": constant if low else wires["D"], "B": wires["D"] if low else constant}
            module["cells"][f"reset:{key}"] = _mux(len(bits), choice | {"S": wires["ARST"], "Y": following})
        del module["cells"][key]
        registers[name] = Register(len(bits), reset)
        module["ports"][f"q:{name}"] = {"direction": "input", "bits": bits}
        module["ports"][f"d:{name}"] = {"direction": "output", "bits": following}
    return Cut(ports, registers, module)


def _names(module: Netlist) -> dict[tuple[Any, ...], str]:
    """Names of nets by their bits: a register's own `..._q`, else the shortest one that a person gave."""

    def worth(item: tuple[str, Netlist]) -> tuple[bool, bool, int]:
        return re.search(r"_q(\[\d+\])?$", item[0]) is not None, not item[1]["hide_name"], -len(item[0])

    return {tuple(net["bits"]): name for name, net in sorted(module["netnames"].items(), key=worth)}


def _mux(width: int, connections: Netlist) -> Netlist:
    directions = {port: "output" if port == "Y" else "input" for port in connections}
    return {
        "hide_name": 1,
        "type": "$mux",
        "parameters": {"WIDTH": f"{width:032b}"},
        "attributes": {},
        "port_directions": directions,
        "connections": connections,
    }
