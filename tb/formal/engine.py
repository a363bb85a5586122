# SPDX-License-Identifier: Apache-2.0
"""One proof on one configuration: a Yosys script, its answer, and the trace of what refutes it."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twinor.config import Config

    from tb.formal.proofs import Proof

__all__ = ["FOLDER", "Verdict", "attempt", "wires"]

FOLDER = Path(__file__).parent

LIMIT_S = 1800
"""A proof that takes longer is given up."""

SIGNAL = re.compile(r"^\s+(\d+|init)\s+\\(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s*$", re.MULTILINE)
"""A row of the table that `sat` prints: step, signal, decimal, hexadecimal, binary."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt came to.

    Attributes:
        config: name of the configuration.
        outcome: `proved`, `refuted` (a run from the reset breaks a property), `not kept` (a state that all
            properties allow breaks one in the next cycle) or `failed` (Yosys gave no answer).
        depth: cycles of the induction.
        seconds: that it took.
        broken: properties that the last cycle of the trace breaks.
        trace: for each signal of the property module, its value in every cycle of the trace.
        said: the end of what Yosys said, if it gave no answer.
    """

    config: str
    outcome: str
    depth: int = 0
    seconds: float = 0.0
    broken: tuple[str, ...] = ()
    trace: dict[str, tuple[str, ...]] | None = None
    said: str = ""


def wires(file: Path) -> tuple[list[str], list[str]]:
    """Properties and assumptions of a property module, in order.

    Example:
        >>> properties, assumptions = wires(FOLDER / "sar_adc.v")
        >>> properties[:2], assumptions
        (['p_left', 'p_trials'], ['a_reset', 'a_start', 'a_monotone'])
    """
    found = re.findall(r"^  wire\s+([ap]_\w+)\s+=", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [name for name in found if name[0] == "p"], [name for name in found if name[0] == "a"]


def script(proof: Proof, config: Config, rtl: Path, induct: bool) -> list[str]:
    """Commands that elaborate the properties and try the induction, or search for a run from the reset."""
    file = FOLDER / proof.file
    values = " ".join(f"-chparam {name} {value}" for name, value in proof.parameters(config).items())
    shown = " ".join(f"-show {name}" for name in [*wires(file)[0], *proof.show])
    how = f"-maxsteps {proof.depth}" if induct else f"-tempinduct-baseonly -maxsteps {proof.reach}"
    return [
        f"read_verilog -formal -mem2reg -I{rtl} "
        + " ".join(str(path) for path in (*(rtl / s for s in proof.sources), file)),
        f"hierarchy -check -top {proof.top} {values}",
        "proc",
        "flatten",
        "async2sync",
        "opt -nodffe -nosdff",
        "check -assert",
        *(f"select -assert-count 2 o:{end} i:{start}" for start, end in proof.apart),
        *(f"select -assert-none o:{end} %cie* i:{start} %i" for start, end in proof.apart),
        f"sat -tempinduct -prove-asserts -set-assumes -seq 0 {how} {shown} {proof.top}",
    ]


def attempt(proof: Proof, config: Config, rtl: Path, *, search: bool = True) -> Verdict:
    """Try a proof on a configuration; where the induction fails, look for a run from the reset that shows why.

    Args:
        proof: which.
        config: of the block.
        rtl: folder of the Verilog.
        search: look for that run; without, the outcome is `not kept`.
    """
    began = time.monotonic()
    verdict = _read(proof, config, _yosys(script(proof, config, rtl, induct=True)))
    if verdict.outcome == "not kept" and search:
        reached = _read(proof, config, _yosys(script(proof, config, rtl, induct=False)))
        verdict = reached if reached.outcome == "refuted" else verdict
    return replace(verdict, seconds=time.monotonic() - began)


def _yosys(commands: list[str]) -> str:
    """What Yosys says; its warnings are errors."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "proof.ys"
        path.write_text("\n".join(commands) + "\n", encoding="utf-8")
        command = ["yosys", "-e", ".", "-s", str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            return f"no answer within {LIMIT_S} s"
    return done.stdout + done.stderr


def _read(proof: Proof, config: Config, said: str) -> Verdict:
    if "Induction step proven: SUCCESS!" in said:
        depth = len(re.findall(r"Trying induction with length", said))
        return Verdict(config.name, "proved", depth)
    base, step = "model found for base case: FAIL!", "Reached maximum number of time steps"
    if base in said or step in said:
        trace = _trace(said)
        broken = tuple(n for n in wires(FOLDER / proof.file)[0] if trace.get(n, ("1",))[-1] == "0")
        return Verdict(config.name, "refuted" if base in said else "not kept", proof.depth, 0, broken, trace)
    if path := re.search(r"selection is not empty: o:(\w+) %cie\* i:(\w+)", said):
        return Verdict(config.name, "refuted", broken=(f"{path[1]} depends on {path[2]}",))
    return Verdict(config.name, "failed", proof.depth, said="\n".join(said.strip().splitlines()[-12:]))


def _trace(said: str) -> dict[str, tuple[str, ...]]:
    """The last table of the log, signal by signal; a value that is 0 or 1 stays, others are decimal."""
    rows: dict[str, dict[int, str]] = {}
    for step, signal, decimal, _, binary in SIGNAL.findall(said):
        if step != "init":
            rows.setdefault(signal, {})[int(step)] = binary if decimal == "--" else decimal
    return {signal: tuple(values[n] for n in sorted(values)) for signal, values in rows.items()}
