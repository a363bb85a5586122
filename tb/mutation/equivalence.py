# SPDX-License-Identifier: Apache-2.0
"""A proof by Yosys that a mutant is the block: equal outputs, and a relation of the registers that every step keeps.

The relation starts as: all registers are equal. What a counterexample to the step refutes is weakened, to equality
while the register counts (`interfaces.py`), then to nothing, until the rest is kept. It must hold after reset, too;
registers without a reset hold the same unknown value in both when power comes.
"""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tb.common.sources import expected_parameters
from tb.mutation.cut import Cut, NotProven, cut, yosys
from tb.mutation.interfaces import INTERFACES, Interface

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from twinor.config import Config

    from tb.mutation.mutants import Mutant

__all__ = ["Proof", "prove"]

SECONDS = 900
"""Of one mutant's proof, all configurations and assumptions together; without one it counts as a survivor."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What an attempt came to.

    Attributes:
        holds: True if the mutant equals the block on every configuration.
        assumptions: names of the interface assumptions that the proof needs.
        reason: what stands against a proof, empty if it holds.
    """

    holds: bool
    assumptions: tuple[str, ...]
    reason: str


class _Attempt(NamedTuple):
    """Where a proof is made, and when it is given up."""

    folder: Path
    until: float


@dataclass
class Claim:
    """A row of the relation: an expression now and in the next cycle, and a weaker claim to fall back to."""

    name: str
    now: str
    following: str
    weaker: Claim | None = None
    powered: bool = False
    """True for a register that neither side resets: equal when power comes."""


def prove(mutant: Mutant, configs: Sequence[Config], rtl: Path, folder: Path) -> Proof:
    """Try without assumptions, then with those of the interface, as few as do."""
    interface = INTERFACES.get(mutant.block, Interface())
    pairs: list[tuple[Config, Cut, Cut]] = []
    try:
        pairs += [(config, *cut(mutant.block, mutant.mutated, config, rtl, folder)) for config in configs]
        return _least(interface, pairs, _Attempt(folder, time.monotonic() + SECONDS))
    except NotProven as reason:
        return Proof(False, (), str(reason))


def _least(interface: Interface, pairs: list[tuple[Config, Cut, Cut]], attempt: _Attempt) -> Proof:
    """The first configuration tells which assumptions can go; the others must agree."""

    def proven(assumed: list[str], some: list[tuple[Config, Cut, Cut]]) -> bool:
        with suppress(NotProven):
            _prove_all(interface, assumed, some, attempt)
            return True
        return False

    if proven([], pairs):
        return Proof(True, (), "")
    every = needed = list(interface.assumptions)
    _prove_all(interface, every, pairs[:1], attempt)
    for name in every:
        fewer = [other for other in needed if other != name]
        needed = fewer if proven(fewer, pairs[:1]) else needed
    if not proven(needed, pairs):
        needed = every
        _prove_all(interface, needed, pairs, attempt)
    return Proof(True, tuple(needed), "")


def _prove_all(
    interface: Interface, assumed: list[str], pairs: list[tuple[Config, Cut, Cut]], attempt: _Attempt
) -> None:
    for config, gold, gate in pairs:
        for name, part in (("gold", gold), ("gate", gate)):
            text = json.dumps({"creator": "twinor", "modules": {name: part.netlist}})
            (attempt.folder / f"{name}.json").write_text(text, encoding="utf-8")
        try:
            _induct(interface, assumed, config, gold, gate, attempt)
        except NotProven as reason:
            raise NotProven(f"{config.name}: {reason}") from None


def _induct(interface: Interface, assumed: list[str], config: Config, gold: Cut, gate: Cut, attempt: _Attempt) -> None:
    """Weaken the relation until it is kept.

    Raises:
        NotProven: an output differs in a state that the relation allows.
    """
    claims = _claims(interface, gold, gate)
    outputs = [name for name, (direction, _) in gold.ports.items() if direction == "output"]
    while True:
        text = _miter(interface, assumed, config, gold, gate, claims, outputs)
        (attempt.folder / "miter.v").write_text(text, encoding="utf-8")
        failing = _check(len(outputs) + 2 * len(claims), attempt)
        if not failing:
            return
        bad = [outputs[n] for n in failing if n < len(outputs)]
        if bad:
            lost = " and ".join(bad)
            raise NotProven(f"{lost} may differ")
        gone = {(n - len(outputs)) // 2 for n in failing}
        weaker = [claim.weaker if n in gone else claim for n, claim in enumerate(claims)]
        claims = [claim for claim in weaker if claim is not None]


def _claims(interface: Interface, gold: Cut, gate: Cut) -> list[Claim]:
    """Every register equal, and the facts about the block's own registers."""
    claims = [Claim(f"fact {n}", f"({fact})", f"({_following(fact, gold)})") for n, fact in enumerate(interface.facts)]
    for name, register in gold.registers.items():
        if name not in gate.registers:
            continue
        now = f"({_id('gold q:' + name)} === {_id('gate q:' + name)})"
        after = f"({_id('gold d:' + name)} === {_id('gate d:' + name)})"
        powered = register.reset is None and gate.registers[name].reset is None
        condition = interface.counts.get(name)
        weaker = None
        if condition:
            then = _following(condition, gold)
            weaker = Claim(name, f"(!({condition}) || {now})", f"(!({then}) || {after})", None, powered)
        claims.append(Claim(name, now, after, weaker, powered))
    return claims


def _following(expression: str, gold: Cut) -> str:
    """The expression over the registers' next values."""
    aliases = {_alias(name) for name in gold.registers}
    return re.sub(r"[A-Za-z_]\w*", lambda m: f"next_{m[0]}" if m[0] in aliases else m[0], expression)


def _alias(name: str) -> str:
    """How an interface names a register: its instance in front, `u_block__name_q`."""
    return name.replace(".", "__")


def _id(name: str) -> str:
    """A Verilog name of any characters."""
    return f"\\{name.replace(' ', ':')} "


def _miter(
    interface: Interface, assumed: list[str], config: Config, gold: Cut, gate: Cut, claims: list[Claim],
    outputs: list[str],
) -> str:  # fmt: skip
    """Both netlists, and a bit for each output and each row of the relation: now to next, and after reset."""
    inputs = {name: width for name, (direction, width) in gold.ports.items() if direction == "input"}
    equal = {claim.name for claim in claims if claim.weaker or claim.name not in interface.counts}
    shared = {n for n, r in gold.registers.items() if n in equal and gate.registers.get(n) == r}
    known = config.parameters() | expected_parameters(config, ["Q_BITS", "HOLD_BITS"])
    lines = [f"localparam {name} = {value};" for name, value in known.items()]
    heads = ["input base", *(f"input [{width - 1}:0] {name}" for name, width in inputs.items())]
    for side, part in (("gold", gold), ("gate", gate)):
        links = [f".{name}({name})" for name in inputs]
        for name in outputs:
            lines.append(f"wire [{part.ports[name][1] - 1}:0] {_id(f'{side} {name}')};")
            links.append(f".{name}({_id(f'{side} {name}')})")
        for name, register in part.registers.items():
            q, d, bits = _id(f"{side} q:{name}"), _id(f"{side} d:{name}"), f"[{register.width - 1}:0]"
            if side == "gate" and name in shared:
                lines.append(f"wire {bits} {q} = {_id(f'gold q:{name}')};")
            else:
                heads.append(f"input {bits} {q}")
            lines.append(f"wire {bits} {d};")
            links += [f".{_id(f'q:{name}')}({q})", f".{_id(f'd:{name}')}({d})"]
            if side == "gold" and re.fullmatch(r"\w+", _alias(name)):
                lines.append(f"wire {bits} {_alias(name)} = {q}; wire {bits} next_{_alias(name)} = {d};")
        lines.append(f"{side} u_{side} ({', '.join(links)});")
    lines += [f"wire [{gold.ports[name][1] - 1}:0] {name} = {_id(f'gold {name}')};" for name in outputs]
    given = [f"({interface.assumptions[name]})" for name in assumed] + [claim.now for claim in claims]
    lines.append(f"wire given = {' && '.join(given) or '1'};")
    reset = "rst_ni" if "rst_ni" in inputs else "1'b1"
    checks = []
    for name in outputs:
        same = f"{_id(f'gold {name}')} === {_id(f'gate {name}')}"
        checks.append(f"base || !given || !({interface.observed.get(name, '1')}) || ({same})")
    for claim in claims:
        checks.append(f"base || !given || {claim.following}")
        checks.append("1'b1" if claim.powered else f"!base || {reset} || {claim.following}")
    lines += [f"assign ok[{n}] = {check};" for n, check in enumerate(checks)]
    head = ",\n  ".join([*heads, f"output [{len(checks) - 1}:0] ok"])
    return f"`default_nettype none\nmodule miter (\n  {head}\n);\n" + "\n".join(lines) + "\nendmodule\n"


def _check(width: int, attempt: _Attempt) -> list[int]:
    """Bits of `ok` that a counterexample clears; none if there is no counterexample."""
    script = [
        "read_json gold.json",
        "read_json gate.json",
        "read_verilog miter.v",
        "hierarchy -check -top miter",
        "flatten",
        "opt_expr -keepdc",
        "opt_merge -share_all",
        "opt_clean",
        f"sat -enable_undef -set-def-inputs -prove ok {width}'b{'1' * width} -show ok miter",
    ]
    said = yosys(script, attempt.folder, until=attempt.until)
    if "no model found: SUCCESS" in said:
        return []
    model = re.search(r"^\s*\\ok\s.*?([01x]+)\s*$", said, flags=re.MULTILINE)
    if "model found: FAIL" not in said or model is None:
        raise NotProven("Yosys found neither a proof nor a difference")
    return [n for n, bit in enumerate(reversed(model[1])) if bit != "1"]
