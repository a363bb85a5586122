# SPDX-License-Identifier: Apache-2.0
"""Circuits in ngspice's language, written from the objects that the models take.

A column c has the nodes `b<row>_<c>` of its bit line and `s<row>_<c>` of its source line; the word line of a row is a
column's own, `g<row>_<c>`. The current of a cell is that of the ammeter `vi<row>_<c>`, of a column that of `vclamp<c>`.
Currents are amperes here, nanoamperes in the models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twinor.device.ekv import specific_current, thermal_voltage

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from twinor.device.ekv import Ekv
    from twinor.device.ladder import Wires

    Floats = NDArray[np.float64]

__all__ = [
    *(
        "EXACT",
        "TRANSIENT",
        "CellWriter",
        "capacitor_cell",
        "circuit",
        "ekv_cell",
        "ladders",
        "number",
        "pulse",
        "resistor_cell",
    ),
    "word_lines",
]

EXACT = ".options gmin=1e-20 abstol=1e-16 vntol=1e-13 chgtol=1e-22 reltol=1e-9 itl1=1000"
"""Far below what is compared; the default gmin of 1e-12 S would add 0.3 pA to every cell that is off."""

TRANSIENT = ".options gmin=1e-20 abstol=1e-16 reltol=1e-6"
"""As much as a course in time needs."""


class CellWriter(Protocol):
    """Writes the cell of a row and a column between its drain, gate and source nodes."""

    def __call__(self, row: int, column: int, *, drain: str, gate: str, source: str) -> list[str]: ...


def number(value: float) -> str:
    """A number with every digit of a double.

    Example:
        >>> number(0.1), number(3e-9)
        ('0.1', '3e-09')
    """
    return repr(float(value))


def circuit(title: str, *parts: Iterable[str]) -> str:
    r"""A netlist: title, parts in order, end.

    Example:
        >>> circuit("divider", ["v1 a 0 1"], [".op"])
        'divider\nv1 a 0 1\n.op\n.end\n'
    """
    return "\n".join([title, *(line for part in parts for line in part), ".end", ""])


def ladders(wires: Wires, rows: int, columns: int, cell: CellWriter) -> list[str]:
    r"""Columns of cells between the ladders of `device.ladder`, one clamp each.

    Example:
        >>> from twinor.device.ladder import Wires
        >>> print("\n".join(ladders(Wires(), 1, 1, capacitor_cell(Wires()))))
        vclamp0 clamp0 0 0.3
        rclamp0 clamp0 b0_0 500.0
        rreturn0 s0_0 0 50.0
        vi0_0 b0_0 d0_0 0
        cc0_0 d0_0 0 8.000000000000001e-16
    """
    lines = []
    for c in range(columns):
        lines += [
            f"vclamp{c} clamp{c} 0 {number(wires.v_clamp)}",
            f"rclamp{c} clamp{c} b0_{c} {number(wires.r_clamp_ohm)}",
            f"rreturn{c} s0_{c} 0 {number(wires.r_sl_return_ohm)}",
        ]
        for r in range(rows):
            if r:
                lines.append(f"rb{r}_{c} b{r - 1}_{c} b{r}_{c} {number(wires.r_bl_ohm)}")
                lines.append(f"rs{r}_{c} s{r - 1}_{c} s{r}_{c} {number(wires.r_sl_ohm)}")
            lines.append(f"vi{r}_{c} b{r}_{c} d{r}_{c} 0")
            lines += cell(r, c, drain=f"d{r}_{c}", gate=f"g{r}_{c}", source=f"s{r}_{c}")
    return lines


def word_lines(gate: Floats) -> list[str]:
    """Constant word-line voltages, volts [rows, columns]."""
    return [f"vg{r}_{c} g{r}_{c} 0 {number(gate[r, c])}" for r in range(gate.shape[0]) for c in range(gate.shape[1])]


def ekv_cell(cell: Ekv, threshold: Floats, *, celsius: float) -> CellWriter:
    """Cells of the EKV equation as behavioural sources.

    Args:
        cell: the kind of cell.
        threshold: volts as at 25 C, [rows, columns].
        celsius: temperature; the circuit has the numbers that follow from it.
    """
    ut, scale = float(thermal_voltage(celsius)), 1e-9 * float(specific_current(cell, celsius))
    drift = 1e-3 * cell.threshold_mv_per_k * (celsius - 25.0)

    def write(row: int, column: int, *, drain: str, gate: str, source: str) -> list[str]:
        span = f"(v({drain})-v({source}))"
        vt = number(threshold[row, column] + drift)
        pinch_off = f"((v({gate})-{vt}+{number(cell.dibl)}*{span})/{number(cell.slope)})"
        ends = [f"ln(1+exp(({pinch_off}-v({node}))/{number(2 * ut)}))" for node in (source, drain)]
        channel = f"{number(scale)}*({ends[0]}*{ends[0]}-{ends[1]}*{ends[1]})"
        leak = f"{number(1e-12 * cell.off_current_pA)}*tanh({span}/{number(2 * ut)})"
        return [
            f"bc{row}_{column} {drain} {source}",
            f"+ i={channel}",
            f"+ *(1+{number(cell.channel_modulation)}*{span})+{leak}",
        ]

    return write


def resistor_cell(ohms: Floats) -> CellWriter:
    """Cells that are resistors, [rows, columns]."""

    def write(row: int, column: int, *, drain: str, gate: str, source: str) -> list[str]:
        return [f"rc{row}_{column} {drain} {source} {number(ohms[row, column])}"]

    return write


def capacitor_cell(wires: Wires) -> CellWriter:
    """The bit-line capacitance of a cell, and nothing else of it."""

    def write(row: int, column: int, *, drain: str, gate: str, source: str) -> list[str]:
        return [f"cc{row}_{column} {drain} 0 {number(wires.c_bl_fF * 1e-15)}"]

    return write


def pulse(name: str, node: str, volts: float, *, start: float, width: float, edge: float, period: float) -> str:
    """A source that leaves 0 V for `volts` at `start`, is there for `width` between its two edges, and repeats itself.

    Example:
        >>> pulse("vg", "g", 1.0, start=1e-9, width=5e-9, edge=1e-12, period=1e-6)
        'vg g 0 pulse(0 1.0 1e-09 1e-12 1e-12 5e-09 1e-06)'
    """
    return f"{name} {node} 0 pulse(0 {' '.join(map(number, (volts, start, edge, edge, width, period)))})"
