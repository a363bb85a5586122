# SPDX-License-Identifier: Apache-2.0
"""YAML files read strictly: safe, no key twice, no key unknown, none missing, every value of its type."""

from __future__ import annotations

import types
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import yaml

from twinor.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_keys", "read_table", "record_of"]

Record = TypeVar("Record")


def read_table(path: Path) -> dict[str, Any]:
    """The tables of a YAML file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, holds a key twice or no table.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.safe_load(text)
        _check_unique(path.name, yaml.compose(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # no UTF-8, no such date, a table in itself
        raise ConfigError(f"{path.name}: not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path.name}: expected a table of keys, got {type(tree).__name__}")
    return tree


def _check_unique(file: str, node: yaml.Node | None) -> None:
    """YAML lets the last of two equal keys win; here both are refused."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        if sum(other.value == key.value for other, _ in node.value) > 1:
            raise ConfigError(f"{file}: key {key.value} stands twice (line {key.start_mark.line + 1}): expected once")
        _check_unique(file, value)


def check_keys(
    file: str, prefix: str, got: Any, expected: dict[str, str], *, optional: frozenset[str] = frozenset()
) -> None:
    """Refuse what is no table, has unknown keys or lacks some.

    Args:
        file: for the message.
        prefix: of the keys, as `digital.`; empty at the top.
        got: what the file says.
        expected: what each key allows, in words.
        optional: keys that need not be there.

    Raises:
        ConfigError: names file, key and what is expected.
    """
    if not isinstance(got, dict):
        raise ConfigError(f"{file}: {prefix.rstrip('.')}: expected a table of keys, got {got!r}")
    for key in got:
        if key not in expected:
            raise ConfigError(
                f"{file}: unknown key {prefix}{key} = {got[key]!r}: expected {', '.join(sorted(expected))}"
            )
    for key in sorted(expected.keys() - got.keys() - optional):
        raise ConfigError(f"{file}: missing key {prefix}{key}: expected {expected[key]}")


def record_of(kind: type[Record], file: str, prefix: str, got: Any) -> Record:
    """A dataclass from a table whose keys are its fields; fields with a default may be missing.

    A field that is a dataclass, or a dataclass or None, is a table of its own.

    Raises:
        ConfigError: as `check_keys`; a value is of another type; the dataclass refuses it.

    Example:
        >>> from twinor.device.telegraph import Traps
        >>> record_of(Traps, "some.yaml", "traps.", {"per_cell": 2}).per_cell
        2
    """
    assert is_dataclass(kind)
    hints, own = get_type_hints(kind), fields(kind)
    words = {field.name: _words(hints[field.name]) for field in own}
    defaults = frozenset(field.name for field in own if field.default is not MISSING)
    check_keys(file, prefix, got, words, optional=defaults)
    values: dict[str, Any] = {}
    for key, value in got.items():
        of: list[Any] = [hint for hint in _alternatives(hints[key]) if is_dataclass(hint)]
        if of and value is not None:
            values[key] = record_of(of[0], file, f"{prefix}{key}.", value)
        elif not any(_fits(value, hint) for hint in _alternatives(hints[key])):
            raise ConfigError(f"{file}: {prefix}{key} = {value!r}: expected {words[key]}")
        else:
            values[key] = value
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(value, bool) or hint is bool:
        return hint is bool and isinstance(value, bool)
    return isinstance(value, (int, float) if hint is float else hint)


def _words(hint: Any) -> str:
    names = {float: "a number", int: "an integer", bool: "true or false", str: "a word", type(None): "null"}
    return " or ".join(names.get(one, "a table of keys") for one in _alternatives(hint))
