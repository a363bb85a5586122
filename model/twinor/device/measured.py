# SPDX-License-Identifier: Apache-2.0
"""A measured die: cell currents and ADC transition levels from CSV files, read whole or refused.

    macro,row,bit_line,current_nA          current of every cell on its own, in nA, 0 .. 4 times the top current
    macro,adc,transition,level_lsb         level at which an ADC's code becomes `transition`, in LSB

The first line is that header. Then comes one line for every cell, or for every transition of every ADC, in any order:
none may be missing and none may stand twice. Currents are those of fresh cells at 25 C, read alone with the largest
word-line code; a level is the ADC's input, 0 for equal lines of a pair, within 4 times its range.
Indices count from 0, transitions from 1 to the
largest code; the codes of a bipolar ADC are counted from its lowest. Decimal points are points, and the text is UTF-8.
"""

from __future__ import annotations

import csv
import io
import math
import re
from typing import TYPE_CHECKING

import numpy as np

from twinor.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from twinor.config import Config

    Floats = NDArray[np.float64]
    Axes = dict[str, range]

__all__ = ["read_currents", "read_transitions"]

INDEX = re.compile(r"[0-9]{1,9}")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
MOST = 4.0
"""Of the top current, and of an ADC's range: the most that a measurement can mean."""

SHOWN = 40
"""Characters of a wrong field that a message shows."""


def read_currents(path: Path, config: Config, *, macros: int) -> Floats:
    """Measured currents of the cells of a die, float64[macros, rows, bit_lines] in nA.

    Args:
        path: a CSV file with the columns macro, row, bit_line and current_nA.
        config: gives rows and bit lines.
        macros: how many the die has.

    Raises:
        CorruptFile: names file and line, what is wrong with it and what is expected.
    """
    axes = {"macro": range(macros), "row": range(config.rows), "bit_line": range(config.bit_lines)}
    top = math.inf if config.device is None else config.device.top_current_nA
    return _read(path, axes, "current_nA", allowed=(0.0, MOST * top))


def read_transitions(path: Path, config: Config, *, macros: int) -> Floats:
    """Measured transition levels of the ADCs of a die, float64[macros, n_adcs, 2**adc_bits - 1] in LSB.

    Args:
        path: a CSV file with the columns macro, adc, transition and level_lsb.
        config: gives the number of ADCs and their codes.
        macros: how many the die has.

    Returns:
        The level of transition t at `[macro, adc, t - 1]`; they need not rise, a code may be missing.

    Raises:
        CorruptFile: names file and line, what is wrong with it and what is expected.
    """
    codes = range(1, 1 << config.adc_bits)
    axes = {"macro": range(macros), "adc": range(config.n_adcs), "transition": codes}
    most = MOST * (1 << config.adc_bits)
    return _read(path, axes, "level_lsb", allowed=(-most, most))


def _read(path: Path, axes: Axes, value: str, *, allowed: tuple[float, float]) -> Floats:
    """One number for every index of the axes.

    Raises:
        CorruptFile: the file is not that.
    """
    shape = tuple(map(len, axes.values()))
    header = [*axes, value]
    table = np.full(shape, np.nan)
    first: dict[tuple[int, ...], int] = {}
    lines = _lines(path)
    number, names = next(lines, (0, []))
    if number == 0:
        raise CorruptFile(f"{path} is empty; expected the line {','.join(header)}, then one for each of {_sizes(axes)}")
    if names != header:
        raise _wrong(path, number, f"the header is {','.join(names)[:SHOWN]!r}", f"{','.join(header)}")
    for number, fields in lines:
        if len(fields) != len(header):
            raise _wrong(path, number, f"{len(fields)} fields", f"{len(header)}: {','.join(header)}")
        named = zip(fields[:-1], axes.items(), strict=True)
        index = tuple(_index(path, number, field, name, of) for field, (name, of) in named)
        if index in first:
            raise _wrong(path, number, f"{_place(axes, index)} was on line {first[index]} already", "it once")
        first[index] = number
        table[index] = _number(path, number, fields[-1], value, allowed)
    missing = np.argwhere(np.isnan(table))
    if len(missing):
        place = _place(axes, tuple(missing[0].tolist()))
        raise CorruptFile(
            f"{path} has {len(first):,} of {table.size:,} lines: {place} is missing; "
            f"expected one for each of {_sizes(axes)}"
        )
    return table


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of every line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorruptFile(f"{path} cannot be read ({error.strerror}); expected a CSV file") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _wrong(path, line, f"byte {content[error.start]:#04x} is no text", "a CSV file in UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for fields in reader:
            yield reader.line_num, fields
    except csv.Error as error:
        raise _wrong(path, reader.line_num, f"no line of a CSV file ({error})", "fields between commas") from error


def _index(path: Path, line: int, text: str, name: str, allowed: range) -> int:
    """Position along an axis of an index as it is written."""
    if not INDEX.fullmatch(text) or int(text) not in allowed:
        raise _wrong(path, line, f"{name} is {text[:SHOWN]!r}", f"{allowed[0]} .. {allowed[-1]}")
    return int(text) - allowed[0]


def _number(path: Path, line: int, text: str, name: str, allowed: tuple[float, float]) -> float:
    number = float(text) if NUMBER.fullmatch(text) else math.nan
    if not (math.isfinite(number) and allowed[0] <= number <= allowed[1]):
        raise _wrong(path, line, f"{name} is {text[:SHOWN]!r}", f"a number, {allowed[0]:g} .. {allowed[1]:g}")
    return number


def _wrong(path: Path, line: int, what: str, expected: str) -> CorruptFile:
    return CorruptFile(f"{path}, line {line}: {what}; expected {expected}")


def _place(axes: Axes, index: tuple[int, ...]) -> str:
    return ", ".join(f"{name} {position + axes[name][0]}" for name, position in zip(axes, index, strict=True))


def _sizes(axes: Axes) -> str:
    return " x ".join(f"{len(allowed)} {name}s" for name, allowed in axes.items())
