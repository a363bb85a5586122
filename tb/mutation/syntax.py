# SPDX-License-Identifier: Apache-2.0
"""Where a module of this project computes: expressions, branches, assignments and connections, as token ranges.

Left out: header and ports, names of declarations, sensitivity lists, heads of loops, `initial` blocks and the shape of
the memories that they fill, and the `unused_` sinks, which are read by linters alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tb.mutation.tokens import Token, tokenize

__all__ = ["Assignment", "Connection", "Module", "Range", "parse"]

Range = tuple[int, int]
"""First token and the one behind the last, among the tokens that are not quiet."""

OPEN, CLOSE = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}
DECLARATIONS = {"wire", "reg", "integer", "localparam", "genvar"}


@dataclass(frozen=True, slots=True)
class Assignment:
    """A procedural assignment with its semicolon; `reset` if it stands in the branch of an active reset."""

    whole: Range
    value: Range
    reset: bool


@dataclass(frozen=True, slots=True)
class Connection:
    """What an instance connects to a port: the port's name and the expression."""

    port: str
    value: Range


@dataclass
class Module:
    """A module and the places in it, in source order."""

    text: str
    tokens: list[Token]
    expressions: list[Range] = field(default_factory=list)
    widths: list[Range] = field(default_factory=list)
    """Declared ranges, without their brackets."""
    branches: list[Range] = field(default_factory=list)
    """Conditions of procedural `if`s."""
    assignments: list[Assignment] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    shapes: dict[str, str] = field(default_factory=dict)
    """Declared range of every input, wire and register, empty for one bit."""
    filled: set[str] = field(default_factory=set)
    """Names in `initial` blocks: memories that a file fills, whose shape is the file's."""
    constants: set[str] = field(default_factory=set)
    """Parameters of the body: local ones, and those of the header."""

    def source(self, span: Range) -> str:
        """The text of a range of tokens."""
        return self.text[self.tokens[span[0]].start : self.tokens[span[1] - 1].end] if span[0] < span[1] else ""

    def close(self, at: int) -> int:
        """The bracket that closes the one at `at`."""
        depth = 0
        for n in range(at, len(self.tokens)):
            depth += (self.tokens[n].text in OPEN) - (self.tokens[n].text in CLOSE)
            if depth == 0:
                return n
        raise ValueError(f"{self.tokens[at].text!r} at offset {self.tokens[at].start} is never closed")

    def find(self, at: int, *texts: str) -> int:
        """The next token outside brackets that is one of `texts`."""
        while self.tokens[at].text not in texts:
            at = self.close(at) + 1 if self.tokens[at].text in OPEN else at + 1
        return at


def parse(text: str) -> Module:
    """The places of the one module of a source file.

    Raises:
        ValueError: a construct that no file of this project has.

    Example:
        >>> m = parse("module m (input wire a); wire b; assign b = !a; endmodule")
        >>> [m.source(span) for span in m.expressions]
        ['!a']
    """
    module = Module(text, [token for token in tokenize(text) if not token.quiet])
    at = module.find(0, "module") + 1
    end = module.find(at, ";")
    _header(module, at, end)
    for n in (n for n, token in enumerate(module.tokens) if token.text == "initial"):
        module.filled.update(token.text for token in module.tokens[n : module.find(n, ";")] if token.kind == "name")
    at = end + 1
    while module.tokens[at].text != "endmodule":
        at = _item(module, at)
    return module


def _header(module: Module, at: int, end: int) -> None:
    """Parameters and inputs can be used in the body; nothing of the header is a place."""
    tokens = module.tokens
    for n in range(at, end):
        if tokens[n].text == "parameter":
            module.constants.add(tokens[n + 2].text)
        if tokens[n].text == "input":
            shape = n + 2 if tokens[n + 2].text == "[" else 0
            last = module.close(shape) if shape else n + 1
            module.shapes[tokens[last + 1].text] = module.source((shape + 1, last)) if shape else ""


def _item(module: Module, at: int) -> int:
    """One item of a module or generate body; returns the token behind it."""
    word = module.tokens[at].text
    if word in DECLARATIONS:
        return _declaration(module, at)
    if word == "assign":
        return _assign(module, at)
    if word == "always":
        after = at + 2
        after = module.close(after) + 1 if module.tokens[after].text == "(" else after + 1
        return _statement(module, after, reset=False)
    if word == "initial":
        return module.find(at, ";") + 1
    if word in ("generate", "endgenerate", "end", "else"):
        return at + 1
    if word == "begin":
        return at + (3 if module.tokens[at + 1].text == ":" else 1)
    if word == "for":
        return module.close(at + 1) + 1
    if word == "if":
        last = module.close(at + 1)
        module.expressions.append((at + 2, last))
        return last + 1
    return _instance(module, at)


def _declaration(module: Module, at: int) -> int:
    """Ranges and initial values of one declaration."""
    tokens, end = module.tokens, module.find(at, ";")
    if any(token.text.startswith("unused_") or token.text in module.filled for token in tokens[at:end]):
        return end + 1
    kind, shape, at = tokens[at].text, "", at + 1
    while at < end:
        text = tokens[at].text
        if text == "[":
            last = module.close(at)
            module.widths.append((at + 1, last))
            shape, at = module.source((at + 1, last)), last + 1
        elif text == "=":
            last = module.find(at, ",", ";")
            module.expressions.append((at + 1, last))
            at = last
        else:
            if kind in ("wire", "reg") and tokens[at].kind == "name" and text != "signed":
                module.shapes[text] = shape
            if kind == "localparam" and text != "integer":
                module.constants.add(text)
            at += 1
    return end + 1


def _assign(module: Module, at: int) -> int:
    equals = module.find(at, "=")
    end = module.find(equals, ";")
    module.expressions += [*_indices(module, at + 1, equals), (equals + 1, end)]
    return end + 1


def _indices(module: Module, at: int, end: int) -> list[Range]:
    """The target of an assignment, if it has an index: its brackets hold expressions."""
    return [(at, end)] if any(token.text == "[" for token in module.tokens[at:end]) else []


def _statement(module: Module, at: int, *, reset: bool) -> int:
    """One procedural statement; returns the token behind it."""
    word = module.tokens[at].text
    if word == "begin":
        at += 1
        while module.tokens[at].text != "end":
            at = _statement(module, at, reset=reset)
        return at + 1
    if word == "for":
        return _statement(module, module.close(at + 1) + 1, reset=reset)
    if word == "if":
        return _branch(module, at, reset=reset)
    end = module.find(at, ";")
    equals = module.find(at, "<=", "=")
    module.assignments.append(Assignment((at, end + 1), (equals + 1, end), reset))
    module.expressions += [*_indices(module, at, equals), (equals + 1, end)]
    return end + 1


def _branch(module: Module, at: int, *, reset: bool) -> int:
    last = module.close(at + 1)
    condition = (at + 2, last)
    module.branches.append(condition)
    module.expressions.append(condition)
    at = _statement(module, last + 1, reset=reset or module.source(condition) == "!rst_ni")
    if module.tokens[at].text == "else":
        at = _statement(module, at + 1, reset=reset)
    return at


def _instance(module: Module, at: int) -> int:
    """Parameter overrides and connections by name."""
    tokens, end = module.tokens, module.find(at, ";")
    if tokens[at].kind != "name":
        raise ValueError(f"offset {tokens[at].start}: no module item starts with {tokens[at].text!r}")
    for n in range(at, end):
        if tokens[n].text == ".":
            span = (n + 3, module.close(n + 2))
            module.connections.append(Connection(tokens[n + 1].text, span))
            module.expressions.append(span)
    return end + 1
