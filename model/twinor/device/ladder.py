# SPDX-License-Identifier: Apache-2.0
"""One column of the array in direct current: cells between the ladder of their bit line and that of their source line.

    v_clamp --r_clamp--+--r_bl--+--r_bl--+-- ...         bit line
                     cell 0   cell 1   cell 2  ...
    ground --r_return--+--r_sl--+--r_sl--+-- ...         source line

Kirchhoff's law at the 2 N nodes, solved by Newton's method for all columns at once. Unknown are the drops, `v_clamp`
minus the bit line and the source line minus ground: small numbers, so that rounding is small beside them. Row by row
the Jacobian has 2 x 2 blocks on its diagonal and the wires beside it, so one sweep down and one up solve it exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinor.device.ekv import operating_point
from twinor.device.ranges import check_ranges
from twinor.errors import ConfigError, TwinorError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from twinor.device.ekv import Ekv

__all__ = ["Cells", "Solution", "Wires", "column", "settled", "settling", "solve"]

Floats = NDArray[np.float64]

Cells = Callable[[Floats, Floats], tuple[Floats, Floats, Floats]]
"""Cells of any kind: drain and source in volts, each [rows, columns], to current in nA and its derivatives in nA/V."""

SETTLED_V = 1e-10
"""The last step of a solution, in volts; Newton's method squares it, so what is left is below rounding."""

STEPS, HALVINGS = 60, 30
"""Newton steps at most, and halvings of one step."""

ALLOWED = {
    "r_bl_ohm": (1e-6, 1e9),
    "r_sl_ohm": (1e-6, 1e9),
    "r_clamp_ohm": (1e-6, 1e9),
    "r_sl_return_ohm": (1e-6, 1e9),
    "c_bl_fF": (0.0, 1e6),
    "v_clamp": (1e-3, 5.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wires:
    """What a column is wired with.

    Raises:
        ConfigError: a value is not a number in its range.

    Example:
        >>> Wires(r_bl_ohm=0.0)
        Traceback (most recent call last):
        twinor.errors.ConfigError: wires: r_bl_ohm = 0.0 is not allowed: expected 1e-06 .. 1e+09
    """

    r_bl_ohm: float = 2.0
    """Bit line from one cell to the next."""
    r_sl_ohm: float = 2.0
    """Source line from one cell to the next."""
    r_clamp_ohm: float = 500.0
    """Output resistance of the bit-line clamp."""
    r_sl_return_ohm: float = 50.0
    """From the source line to ground."""
    c_bl_fF: float = 0.8
    """Bit-line capacitance of one cell."""
    v_clamp: float = 0.3
    """Volts of the bit-line clamp."""

    def __post_init__(self) -> None:
        """Check every value."""
        check_ranges("wires", self, ALLOWED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Columns in direct current.

    Attributes:
        current: float64[columns], nA out of the clamp: the sum of a column's cells.
        cells: float64[rows, columns], nA of every cell.
        bit_line, source_line: float64[rows, columns], volts at every cell.
        residual: largest current that Kirchhoff's law misses at any node, nA.
        steps: Newton steps that were made.
    """

    current: Floats
    cells: Floats
    bit_line: Floats
    source_line: Floats
    residual: float
    steps: int


class _State(NamedTuple):
    """Drops of both lines, the cells' answer and what Kirchhoff's law misses there."""

    drop: Floats
    cells: tuple[Floats, Floats, Floats]
    missed: Floats


def column(cell: Ekv, wires: Wires, *, gate: ArrayLike, threshold: ArrayLike, celsius: float) -> Solution:
    """Solve columns of EKV cells.

    Args:
        cell: the kind of cell.
        wires: the wires of every column.
        gate: volts, [rows, columns] or what broadcasts to it: `gate[:, None]` for word lines.
        threshold: volts as at 25 C, [rows, columns]; row 0 is next to the clamp.
        celsius: temperature.

    Raises:
        ConfigError: gate and threshold are no matrix of finite volts, or the temperature is out of range.
        TwinorError: no solution was found.

    Example:
        >>> from twinor.device.ekv import Ekv, threshold_for
        >>> vt = threshold_for(Ekv(), 100.0, gate=1.0, drain=0.3, celsius=25.0)
        >>> got = column(Ekv(), Wires(), gate=1.0, threshold=np.full((64, 1), vt), celsius=25.0)
        >>> got.current.round(1).tolist()  # of 6400
        [6274.7]
    """
    gates, thresholds = np.broadcast_arrays(np.asarray(gate, np.float64), np.asarray(threshold, np.float64))
    if gates.ndim != 2:
        raise ConfigError(f"gate and threshold: expected [rows, columns] together, got shape {gates.shape}")
    if not np.all(np.isfinite(gates) & np.isfinite(thresholds)):
        row, at = np.argwhere(~(np.isfinite(gates) & np.isfinite(thresholds)))[0]
        raise ConfigError(f"gate and threshold: expected finite volts, got nan or infinity at row {row}, column {at}")

    def cells(drain: Floats, source: Floats) -> tuple[Floats, Floats, Floats]:
        at = operating_point(cell, gate=gates, drain=drain, source=source, threshold=thresholds, celsius=celsius)
        return at.current, at.drain, at.source

    return solve(wires, cells, gates.shape)


def solve(wires: Wires, cells: Cells, shape: tuple[int, ...]) -> Solution:
    """Solve columns of cells of any kind.

    Newton's steps, each halved until the missed current of every column shrinks.

    Args:
        wires: the wires of every column.
        cells: the cells; called with both voltages as float64[rows, columns].
        shape: rows and columns.

    Raises:
        TwinorError: the steps do not end, or a cell's current is not a number.

    Example:
        >>> def resistor(drain, source):
        ...     return 10.0 * (drain - source), np.array([[10.0]]), np.array([[-10.0]])
        >>> solve(Wires(r_clamp_ohm=1e8, r_sl_return_ohm=1.0), resistor, (1, 1)).current.round(6).tolist()
        [1.5]
    """
    conductance = _conductances(wires, shape[0])
    state = _state(wires, conductance, cells, np.zeros((2, *shape)))
    for steps in range(1, STEPS + 1):
        move = _newton_step(conductance, state)
        moved = _advance(wires, conductance, cells, state, move)
        if moved is None:
            break
        state = moved
        if np.max(np.abs(move)) <= SETTLED_V:
            return _solution(wires, state, steps)
    raise TwinorError(
        f"a column of the array has no solution: Newton's step {steps} leaves {np.max(np.abs(state.missed)):g} nA "
        "missing at a node; expected cells of finite current, which rises with the drain and falls with the source"
    )


def _conductances(wires: Wires, rows: int) -> Floats:
    """nA/V of the wires before each cell of the bit line and of the source line, [2, rows + 1, 1]; the last has 0."""
    line = np.array([[wires.r_bl_ohm], [wires.r_sl_ohm]])
    before = np.repeat(1e9 / line, rows + 1, axis=1)
    before[:, 0] = 1e9 / np.array([wires.r_clamp_ohm, wires.r_sl_return_ohm])
    before[:, -1] = 0.0
    return np.asarray(before[:, :, None])


def _state(wires: Wires, conductance: Floats, cells: Cells, drop: Floats) -> _State:
    """Missed is what the cells draw minus what the wires bring, [2, rows, columns]; both lines carry the same cells."""
    found = cells(wires.v_clamp - drop[0], drop[1])
    nothing = np.zeros_like(drop[:, :1])
    flow = conductance * np.diff(drop, axis=1, prepend=nothing, append=nothing)
    return _State(drop, found, np.asarray(found[0] - (flow[:, :-1] - flow[:, 1:])))


def _advance(wires: Wires, conductance: Floats, cells: Cells, state: _State, move: Floats) -> _State | None:
    """The state after a step, halved as often as it takes to help every column; None where no part of it does."""
    before = np.linalg.norm(state.missed, axis=(0, 1))
    final = np.max(np.abs(move), axis=(0, 1)) <= SETTLED_V  # what is left is rounding
    for halving in range(HALVINGS):
        after = _state(wires, conductance, cells, state.drop + 0.5**halving * move)
        if np.all(final | (np.linalg.norm(after.missed, axis=(0, 1)) < before)):
            return after
    return None


def _newton_step(conductance: Floats, state: _State) -> Floats:
    """Solve Jacobian * step = missed: eliminate down the rows, then substitute up; float64[2, rows, columns].

    Of a row: [[p, q], [r, s]] is its block, where p and s hold the wires on both sides and the cell.
    """
    _, by_drain, by_source = state.cells
    up = conductance[:, 1:-1]
    own = conductance[:, :-1] + conductance[:, 1:]
    p, q = own[0] + by_drain, -by_source
    r, s = np.array(by_drain), own[1] - by_source
    bit, source = state.missed[0].copy(), state.missed[1].copy()
    for i in range(len(p)):
        if i:
            b, c = up[0, i - 1], up[1, i - 1]
            p[i] -= b * b * p[i - 1]
            q[i] -= b * c * q[i - 1]
            r[i] -= b * c * r[i - 1]
            s[i] -= c * c * s[i - 1]
            bit[i] += b * bit[i - 1]
            source[i] += c * source[i - 1]
        scale = 1.0 / (p[i] * s[i] - q[i] * r[i])
        p[i], q[i], r[i], s[i] = s[i] * scale, -q[i] * scale, -r[i] * scale, p[i] * scale  # the block's inverse
        bit[i], source[i] = p[i] * bit[i] + q[i] * source[i], r[i] * bit[i] + s[i] * source[i]
    for i in range(len(p) - 2, -1, -1):
        b, c = up[0, i] * bit[i + 1], up[1, i] * source[i + 1]
        bit[i] += p[i] * b + q[i] * c
        source[i] += r[i] * b + s[i] * c
    return np.stack([bit, source])


def _solution(wires: Wires, state: _State, steps: int) -> Solution:
    return Solution(
        current=np.asarray(state.cells[0].sum(axis=0)),
        cells=state.cells[0],
        bit_line=wires.v_clamp - state.drop[0],
        source_line=state.drop[1],
        residual=float(np.max(np.abs(state.missed))),
        steps=steps,
    )


def settling(wires: Wires, rows: int) -> float:
    """Time constant of a bit line in ns: the mean delay of its far end, `(r_clamp + r_bl (rows - 1) / 2) rows c_bl`.

    After W. C. Elmore, "The Transient Response of Damped Linear Networks", Journal of Applied Physics 19:55, 1948:
    the area above the step response, exact for any ladder.

    Example:
        >>> round(settling(Wires(), 256), 4)
        0.1546
    """
    return float(_delays(wires, rows)[-1])


def _delays(wires: Wires, rows: int) -> Floats:
    """Mean delay in ns from a cell's current to that of the clamp, float64[rows]; the same back, by reciprocity."""
    near = np.arange(rows)
    shared = near * (near + 1) / 2 + near * (rows - 1 - near)  # segments that both have before them
    return np.asarray((wires.r_clamp_ohm * rows + wires.r_bl_ohm * shared) * wires.c_bl_fF * 1e-6)


def settled(wires: Wires, rows: int, *, ns: ArrayLike, pulse_ns: ArrayLike = 0.0) -> Floats:
    """Share of a cell's current, or of the charge of its pulse, that has come through the clamp: one pole per cell.

        1 - exp(-t / tau)                                     a current that began t ago
        1 - tau / T exp(-t / tau) (1 - exp(-T / tau))         a pulse of length T that ended t ago

    Args:
        wires: of the column.
        rows: cells on it.
        ns: t, [...].
        pulse_ns: T, [...]; 0 for a current.

    Returns:
        float64[rows, ...].

    Example:
        >>> slow = Wires(c_bl_fF=100.0)
        >>> settled(slow, 256, ns=40.0)[[0, 255]].round(3).tolist()
        [0.956, 0.874]
    """
    t, length = np.broadcast_arrays(np.asarray(ns, dtype=np.float64), np.asarray(pulse_ns, dtype=np.float64))
    tau = np.maximum(_delays(wires, rows), 1e-9).reshape(rows, *(1,) * t.ndim)
    pulses = length > 0
    whole = np.where(pulses, length, 1.0)
    left = np.where(pulses, tau / whole * -np.expm1(-whole / tau), 1.0)
    return np.asarray(1.0 - np.exp(-t / tau) * left)
