# SPDX-License-Identifier: Apache-2.0
"""What a mutant changes: (span in the source, new text) of every possible change of a module, by class."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tb.mutation.syntax import Module, Range
    from tb.mutation.tokens import Token

__all__ = ["CLASSES", "Change", "changes"]

Change = tuple[int, int, str]
"""Start and end offset in the source, and what stands there instead."""

BINARY = {
    "+": ["-"], "-": ["+"], "*": ["+"], "<<": [">>"], ">>": ["<<"], ">>>": [">>"], "<<<": [">>>"],
    "==": ["!="], "!=": ["=="], "===": ["!=="], "<": ["<=", ">="], "<=": ["<", ">"], ">": [">=", "<="],
    ">=": [">", "<"], "&&": ["||"], "||": ["&&"], "&": ["|"], "|": ["&"], "^": ["|"],
}  # fmt: skip
UNARY = {"!": [""], "~": [""], "-": [""], "&": ["|"], "|": ["&"], "^": ["&"]}


def operators(module: Module) -> Iterator[Change]:
    """One operator becomes a related one, or a unary one goes."""
    for at in _values(module):
        token = module.tokens[at]
        table = BINARY if _ends_operand(module.tokens[at - 1]) else UNARY
        for new in table.get(token.text, []) if token.kind == "op" else []:
            yield token.start, token.end, new


def constants(module: Module) -> Iterator[Change]:
    """A number or a parameter off by one; a single bit inverted. Reset values are arcs."""
    resets = {n for a in module.assignments if a.reset for n in range(*a.value)}
    for at in _values(module):
        token = module.tokens[at]
        if at in resets:
            continue
        if token.kind == "number":
            for new in _neighbours(token.text):
                yield token.start, token.end, new
        elif token.kind == "name" and _constant(module, token):
            yield token.start, token.end, f"({token.text} - 1)"
            yield token.start, token.end, f"({token.text} + 1)"


def widths(module: Module) -> Iterator[Change]:
    """A range, part-select or replication loses a bit, or a select moves by one; 32-bit index arithmetic stays."""
    for first, last in module.widths:
        tokens = module.tokens[first:last]
        if module.source((first, last)) != "31:0":
            yield _less(tokens[: _colon(tokens)] if tokens[-1].text == "0" else tokens[_colon(tokens) + 1 :])
    for first, last in _replications(module):
        start, end = _offsets(module, (first, last))
        yield start, end, f"({module.source((first, last)).removeprefix('(').removesuffix(')')} - 1)"
    for first, last in _brackets(module):
        tokens = module.tokens[first:last]
        if len(tokens) == 1 and tokens[0].kind == "number":
            for new in _neighbours(tokens[0].text):
                yield tokens[0].start, tokens[0].end, new
        colon = _colon(tokens)
        if not colon:
            continue
        yield _less(tokens[:colon] if tokens[colon].text == ":" else tokens[colon + 1 :])
        if tokens[colon].text == "+:":
            yield tokens[colon - 1].end, tokens[colon - 1].end, " + 1"


def selects(module: Module) -> Iterator[Change]:
    """Arms of a `?:` swapped, its condition stuck, an index at 0, a connection crossed or stuck."""
    for question in (at for at in _inside(module) if module.tokens[at].text == "?"):
        condition, yes, no = _ternary(module, question)
        start, end = module.tokens[yes[0]].start, module.tokens[no[1] - 1].end
        middle = module.text[module.tokens[yes[1] - 1].end : module.tokens[no[0]].start]
        yield start, end, f"{module.source(no)}{middle}{module.source(yes)}"
        for stuck in ("1'b0", "1'b1"):
            yield *_offsets(module, condition), stuck
    for first, last in _brackets(module):
        tokens = module.tokens[first:last]
        index = tokens[: _colon(tokens) or len(tokens)]
        if _plain(tokens) and any(t.kind == "name" and not _constant(module, t) for t in index):
            yield index[0].start, index[-1].end, "0"
    yield from _connections(module)


def arcs(module: Module) -> Iterator[Change]:
    """A branch never or always taken, an assignment dropped, a reset value changed."""
    for condition in module.branches:
        for stuck in ("1'b0", "1'b1"):
            yield *_offsets(module, condition), stuck
    for assignment in module.assignments:
        yield *_offsets(module, assignment.whole), ";"
        value = module.source(assignment.value)
        if assignment.reset and value.count("'b0") + value.count("'d0") == 1:
            new = value.replace("'b0", "'b1").replace("'d0", "'d1")
            yield *_offsets(module, assignment.value), new


CLASSES = {"operator": operators, "constant": constants, "width": widths, "select": selects, "arc": arcs}
"""Name and generator of every class, in the order in which a campaign takes them in turn."""


def changes(module: Module) -> dict[str, list[Change]]:
    """Every change of a module by class, each once, in source order."""
    seen: set[Change] = set()
    found: dict[str, list[Change]] = {}
    for name, make in reversed(CLASSES.items()):  # the more specific class keeps what two have
        found[name] = sorted(change for change in dict.fromkeys(make(module)) if change not in seen)
        seen.update(found[name])
    return {name: found[name] for name in CLASSES}


def _inside(module: Module) -> Iterator[int]:
    """Every token of an expression, once."""
    seen = {at for span in module.expressions for at in range(*span)}
    yield from sorted(seen)


def _values(module: Module) -> Iterator[int]:
    """Tokens of expressions that compute a value or an index, not the width of a part-select or a replication."""
    bounds = {at for span in _replications(module) for at in range(*span)}
    for first, last in _brackets(module):
        tokens = module.tokens[first:last]
        colon = _colon(tokens)
        if colon or (len(tokens) == 1 and tokens[0].kind == "number"):
            bounds.update(range(first + colon if colon and tokens[colon].text == "+:" else first, last))
    yield from (at for at in _inside(module) if at not in bounds)


def _replications(module: Module) -> Iterator[Range]:
    """Counts of `{count{...}}`."""
    for at in _inside(module):
        if module.tokens[at].text == "{":
            past = module.close(at + 1) + 1 if module.tokens[at + 1].text == "(" else at + 2
            if module.tokens[past].text == "{" and module.tokens[at + 1].text not in "{}":
                yield at + 1, past


def _brackets(module: Module) -> Iterator[Range]:
    """What stands between the square brackets of expressions."""
    for at in _inside(module):
        if module.tokens[at].text == "[":
            yield at + 1, module.close(at)


def _ends_operand(token: Token) -> bool:
    return token.kind in ("number", "name", "string") or token.text in (")", "]", "}")


def _constant(module: Module, token: Token) -> bool:
    return token.text in module.constants or re.fullmatch(r"[A-Z][A-Z0-9_]*", token.text) is not None


def _neighbours(number: str) -> list[str]:
    """Numbers beside a literal, in its own width.

    Example:
        >>> _neighbours("4'd0"), _neighbours("1'b1"), _neighbours("7"), _neighbours("2'b1x")
        (["4'd1", "4'd15"], ["1'b0"], ['8', '6'], [])
    """
    size, base, digits = re.fullmatch(r"(?:(\d*)'(\w))?(\w+)", number).groups()  # type: ignore[union-attr]
    if base not in (None, "d") and not (base == "b" and digits in ("0", "1")):
        return []
    value, top = int(digits), 1 << int(size or 31)
    near = sorted({(value + 1) % top, (value - 1) % top}, reverse=value != 0)
    return [f"{size}'{base}{n}" if base else str(n) for n in near if base or n <= value + 1]


def _colon(tokens: list[Token]) -> int:
    """Position of the range operator, 0 without one."""
    depth = 0
    for n, token in enumerate(tokens):
        depth += (token.text in "([{") - (token.text in ")]}")
        if not depth and token.text in (":", "+:"):
            return n
    return 0


def _plain(tokens: list[Token]) -> bool:
    """True for an index or an indexed part-select, false for a constant range."""
    colon = _colon(tokens)
    return not colon or tokens[colon].text == "+:"


def _less(tokens: list[Token]) -> Change:
    """One less than a bound."""
    last = tokens[-1]
    if last.kind == "number" and (len(tokens) == 1 or tokens[-2].text == "-"):
        return last.start, last.end, str(int(last.text) + (1 if len(tokens) > 1 else -1))
    return last.end, last.end, " - 1"


def _offsets(module: Module, span: Range) -> tuple[int, int]:
    return module.tokens[span[0]].start, module.tokens[span[1] - 1].end


def _ternary(module: Module, question: int) -> tuple[Range, Range, Range]:
    """Condition and arms of the `?:` at a question mark."""
    tokens, before, depth = module.tokens, question - 1, 0
    while depth or (
        tokens[before].text not in ("(", "[", "{", ",", "=", "?", ":", ";")
        and not (tokens[before].text == "<=" and any(before + 1 == a.value[0] for a in module.assignments))
    ):
        depth += (tokens[before].text in ")]}") - (tokens[before].text in "([{")
        before -= 1
    colon, nested = question, 1
    while nested:
        colon = module.find(colon + 1, "?", ":")
        nested += 1 if tokens[colon].text == "?" else -1
    end, nested = colon + 1, 0
    while nested or tokens[end].text not in (")", "]", "}", ",", ";", ":"):
        nested += (tokens[end].text == "?") - (tokens[end].text == ":")
        end = module.close(end) + 1 if tokens[end].text in "([{" else end + 1
    return (before + 1, question), (question + 1, colon), (colon + 1, end)


def _connections(module: Module) -> Iterator[Change]:
    """An input of an instance takes another signal of the same width, or a constant if it has one bit."""
    names = sorted(module.shapes)
    for connection in module.connections:
        wire = module.source(connection.value)
        if not connection.port.endswith("_i") or wire not in module.shapes or wire == "clk_i":
            continue
        same = [name for name in names if module.shapes[name] == module.shapes[wire] and name not in (wire, "clk_i")]
        near = names.index(wire)
        others = sorted(same, key=lambda name: abs(names.index(name) - near))[:3]
        for new in others + (["1'b0", "1'b1"] if not module.shapes[wire] else []):
            yield *_offsets(module, connection.value), new
