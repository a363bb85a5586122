# SPDX-License-Identifier: Apache-2.0
"""Verilog as tokens that put together again are the source, character for character."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Token", "tokenize"]

PATTERN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>//[^\n]*|/\*.*?\*/)
  | (?P<directive>`[^\n]*)
  | (?P<string>"(?:\\.|[^"\\\n])*")
  | (?P<number>(?:\d+)?'[sS]?[bodhBODH][0-9a-fA-FxXzZ_?]+|\d[\d_]*)
  | (?P<name>[$]?[A-Za-z_][\w$]*)
  | (?P<op><<<|>>>|===|!==|&&|\|\||==|!=|<=|>=|<<|>>|~\^|~&|~\||\+:|-:|[-+*/%<>=!~&|^?:;,.()\[\]{}@#])
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of source.

    Attributes:
        kind: space, comment, directive (to the end of its line), string, number, name or op.
        text: as it stands in the source.
        start: offset in the source.
    """

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """Offset of the character behind it."""
        return self.start + len(self.text)

    @property
    def quiet(self) -> bool:
        """True if a Verilog parser does not see it as a part of a statement."""
        return self.kind in ("space", "comment", "directive")


def tokenize(text: str) -> list[Token]:
    """Every character of a Verilog source, in order.

    Raises:
        ValueError: a character starts no token; names its line.

    Example:
        >>> [token.text for token in tokenize("q <= 4'd3; // on")]
        ['q', ' ', '<=', ' ', "4'd3", ';', ' ', '// on']
    """
    tokens, at = [], 0
    while at < len(text):
        match = PATTERN.match(text, at)
        if match is None:
            line = text.count("\n", 0, at) + 1
            raise ValueError(f"line {line}: {text[at : at + 20]!r} starts no Verilog token")
        tokens.append(Token(str(match.lastgroup), match[0], at))
        at = match.end()
    return tokens
