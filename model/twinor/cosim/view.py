# SPDX-License-Identifier: Apache-2.0
"""Saved views: from a template of signal names and an elaborated design to what GTKWave loads.

GTKWave finds a vector only by its exact range and leaves out, silently, what it does not find. Ranges depend on the
configuration, so the templates in `tb/waves/*.gtkw` hold none; they are read from the compiled model, with three forms:

    cosim.u_macro.hold             one signal
    cosim.u_macro.wl[ROWS]         a flat vector of ROWS words, one row for each word
    ...u_sar_adc.g_adc[N_ADCS].x   one signal of each scope of a generate loop
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from math import log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Focus", "Span", "render", "signals", "span"]

MOST = 8
"""Words of a vector, or scopes of a loop, that a view shows."""

COMMENT = "@200"
"""GTKWave's flag of a row that is text."""

FRAME_PIXELS, WINDOW_PIXELS = 200, 850
"""GTKWave's zoom is 2**-zoom units of time for 200 pixels; about 850 are left beside the names."""

Signals = dict[str, tuple[int, int]]
"""Most and least significant bit of every signal, by its path."""


def signals(model: str) -> Signals:
    r"""Every signal of a model that Icarus compiled, from the text of its `.vvp` file.

    Example:
        >>> text = 'S_1 .scope module, "sar_adc" "sar_adc" 3 14;\nv1_0 .net "trial_o", 7 0, L_1;  1 drivers\n'
        >>> text += 'S_2 .scope generate, "g_adc[0]" "g_adc[0]" 3 48, 3 48 0, S_1;\nv2_0 .var "result_q", 3 0;\n'
        >>> signals(text)
        {'sar_adc.trial_o': (7, 0), 'sar_adc.g_adc[0].result_q': (3, 0)}
    """
    found: Signals = {}
    paths: dict[str, str] = {}
    scope = ""
    for line in model.splitlines():
        if opened := re.match(r'(S_\w+) \.scope [\w.]+, "([^"]+)" .*?(?:, (S_\w+))?;', line):
            own, name, parent = opened.groups()
            scope = paths[own] = f"{paths[parent]}.{name}" if parent else name
        elif declared := re.match(r'v\w+ \.(?:net|var)\S* "([^"]+)", (-?\d+) (-?\d+)', line):
            found[f"{scope}.{declared[1]}"] = (int(declared[2]), int(declared[3]))
    return found


@dataclass(frozen=True, slots=True)
class Span:
    """How long a wave is and what its times count.

    Attributes:
        end: last time, in units.
        per_ns: units in a nanosecond, 1000 for picoseconds.
    """

    end: int
    per_ns: float


def span(wave: Path) -> Span:
    """Length and unit of an FST file, from its header."""
    with wave.open("rb") as file:
        header = file.read(74)
    (end,), (exponent,) = struct.unpack(">Q", header[17:25]), struct.unpack("b", header[73:74])
    return Span(end=end, per_ns=10.0 ** (-9 - exponent))


@dataclass(frozen=True, slots=True, kw_only=True)
class Focus:
    """Where a view looks.

    Attributes:
        marker: time of the marker in nanoseconds; None for a view of the beginning without a marker.
        window: nanoseconds that a screen shows.
        seam: groups that name it before the colon of their title come first.
        chosen: the one word or scope to show of a kind, as `{"N_ADCS": 3}`; the first `MOST` of any other kind.
        notes: comments on top.
    """

    marker: float | None = None
    window: float = 200
    seam: str = ""
    chosen: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()


def render(template: str, design: Signals, counts: Mapping[str, int], time: Span, focus: Focus) -> str:
    r"""Fill a template for a design; a signal that the design lacks becomes a comment, for GTKWave says nothing.

    Args:
        template: flags (`@22`), comments (`-title`) and signals, one a line; a comment opens a group.
        design: as `signals` returns it.
        counts: the values of the names in brackets, the Verilog's parameters.
        time: of the wave.
        focus: where the view looks.

    Example:
        >>> design = {"sar_adc.done_o": (0, 0), "sar_adc.code_o": (9, 0)}
        >>> template = "@200\n-codes\n@420\nsar_adc.code_o[N_ADCS]\nsar_adc.data_o"
        >>> view = render(template, design, {"N_ADCS": 5}, Span(900, 1000.0), Focus(chosen={"N_ADCS": 4}))
        >>> for line in view.splitlines()[-5:]:
        ...     print(line)
        @420
        #{code_o[4]} (0)sar_adc.code_o[9:0] (1)sar_adc.code_o[9:0]
        @200
        -not in this Verilog: sar_adc.data_o
        @420
    """
    lines = [line for note in focus.notes for line in (COMMENT, f"-{note}")]
    for group in _ordered(_groups(template), focus.seam):
        lines += [COMMENT, "-"] if lines else []
        for line in group:
            try:
                lines += _rows(line, design, counts, focus.chosen)
            except KeyError as error:
                flag = next(row for row in reversed(lines) if row[0] == "@")
                lines += [COMMENT, f"-not in this Verilog: {error.args[0]}", flag]
    return "\n".join([*_frame(time, focus), *lines, ""])


def _groups(template: str) -> list[list[str]]:
    """Lines of each group, the first one its title; each group starts with the comment's flag."""
    groups: list[list[str]] = []
    for line in template.splitlines():
        if line == COMMENT:
            groups.append([])
        if line:
            groups[-1].append(line)
    return groups


def _ordered(groups: list[list[str]], seam: str) -> list[list[str]]:
    """The clock's group, then the seam's, then the others in signal order."""
    if not seam:
        return groups
    words = re.compile(rf"\b{re.escape(_spaced(seam))}\b")
    return groups[:1] + sorted(groups[1:], key=lambda group: not words.search(_spaced(group[1].split(":")[0])))


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _rows(line: str, design: Signals, counts: Mapping[str, int], chosen: Mapping[str, int]) -> Iterator[str]:
    several = re.fullmatch(r"(.+)\[([A-Z_]+)\](\..+)?", line)
    if several is None:
        yield line if line[0] in "@-" else _reference(line, design)
        return
    path, kind, rest = several.groups()
    for k in [chosen[kind]] if kind in chosen else range(min(counts[kind], MOST)):
        if rest:
            yield f"+{{{rest[1:]}[{k}]}} {_reference(f'{path}[{k}]{rest}', design)}"
        else:
            yield _word(path, design, counts[kind], k)


def _reference(path: str, design: Signals) -> str:
    msb, lsb = design[path]
    return path if msb == lsb == 0 else f"{path}[{msb}:{lsb}]"


def _word(path: str, design: Signals, count: int, k: int) -> str:
    """Word k of a flat vector, word 0 in the low bits; GTKWave numbers bits from the left."""
    width = (design[path][0] + 1) // count
    whole = _reference(path, design)
    if count == 1:
        return whole
    first = (count - 1 - k) * width
    return f"#{{{path.split('.')[-1]}[{k}]}} " + " ".join(f"({bit}){whole}" for bit in range(first, first + width))


def _frame(time: Span, focus: Focus) -> list[str]:
    """Window, zoom and marker; the marker has two thirds of the window before it."""
    window = focus.window * time.per_ns
    zoom = -log2(window * FRAME_PIXELS / WINDOW_PIXELS)
    marker = -1 if focus.marker is None else round(focus.marker * time.per_ns)
    # GTKWave goes to time 0 where less than a window is left, so a marker near the end is shown near the right edge.
    start = max(0, round(min(marker - window * 2 / 3, time.end - 1.05 * window)))
    return [
        f"[timestart] {start}",
        "[size] 1500 900",
        "[pos] -1 -1",
        f"*{zoom:.6f} {marker}{' -1' * 26}",
        "[sst_width] 40",
        "[signals_width] 600",
        "[sst_expanded] 0",
    ]
