# SPDX-License-Identifier: Apache-2.0
"""A cell whose equations are not ours: a BSIM4 transistor of ngspice, and its table that the ladder solves with.

Charge on a floating gate shifts a threshold as a voltage source in series with the gate does. BSIM4's own `delvto` is
another thing: above the threshold it is 9 % off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.spice.netlist import EXACT, CellWriter, circuit, number
from twinor.spice.run import simulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.device.ladder import Cells

    Floats = NDArray[np.float64]

__all__ = ["Axis", "Table", "bsim_cell", "extract"]

MODEL = ".model nor nmos level=14 version=4.8 toxe=9e-9"
"""Everything else as the model has it: 83 to 88 mV per decade."""

SIZE = "nor l=4e-7 w=4e-7"


@dataclass(frozen=True, slots=True)
class Axis:
    """Equally spaced voltages."""

    start: float
    step: float
    count: int

    @property
    def stop(self) -> float:
        """The last voltage."""
        return self.start + self.step * (self.count - 1)


@dataclass(frozen=True, slots=True)
class Table:
    """Logarithm of a cell's current in nA by gate, drain and source voltage, float64[gate, drain, source].

    Between its points it is the product of three cubics, each through the four nearest.
    """

    gate: Axis
    drain: Axis
    source: Axis
    log_current: Floats

    def cells(self, gate: Floats) -> Cells:
        """Cells at gate voltages [rows, columns], as `device.ladder.solve` takes them.

        Example:
            >>> axis = Axis(0.0, 1.0, 4)
            >>> volts = np.arange(4.0)[None, :, None]  # ln I = Vd
            >>> table = Table(axis, axis, axis, np.broadcast_to(volts, (4, 4, 4)))
            >>> at = table.cells(np.ones((1, 1)))(np.full((1, 1), 0.5), np.zeros((1, 1)))
            >>> [float(value[0, 0].round(4)) for value in at[:2]]
            [1.6487, 1.6487]
        """
        at_gate, by_gate, _ = _cubic(self.gate, gate)

        def cells(drain: Floats, source: Floats) -> tuple[Floats, Floats, Floats]:
            at_drain, by_drain, drain_slope = _cubic(self.drain, drain)
            at_source, by_source, source_slope = _cubic(self.source, source)
            near = self.log_current[
                at_gate[..., :, None, None], at_drain[..., None, :, None], at_source[..., None, None, :]
            ]
            line = np.einsum("...gds,...g->...ds", near, by_gate)
            current = np.exp(np.einsum("...ds,...d,...s->...", line, by_drain, by_source))
            slope_d = np.einsum("...ds,...d,...s->...", line, drain_slope, by_source)
            slope_s = np.einsum("...ds,...d,...s->...", line, by_drain, source_slope)
            return current, current * slope_d, current * slope_s

        return cells


def _cubic(axis: Axis, volts: Floats) -> tuple[NDArray[np.intp], Floats, Floats]:
    """The four points nearest to voltages, their weights in Lagrange's cubic and in its derivative, each [..., 4]."""
    place = (volts - axis.start) / axis.step
    first = np.clip(np.floor(place).astype(np.intp) - 1, 0, axis.count - 4)
    u = (place - first)[..., None] - np.arange(4.0)  # distance from each point
    weights, slopes = np.empty_like(u), np.empty_like(u)
    for k in range(4):
        a, b, c = (n for n in range(4) if n != k)
        scale = 1.0 / ((k - a) * (k - b) * (k - c))
        x, y, z = u[..., a], u[..., b], u[..., c]
        weights[..., k], slopes[..., k] = scale * x * y * z, scale * (x * y + y * z + z * x) / axis.step
    return first[..., None] + np.arange(4), weights, slopes


def extract(gate: Axis, drain: Axis, source: Axis) -> Table:
    """Have ngspice measure the cell: one transistor for every source voltage, gate and drain swept together.

    Raises:
        SimulatorError: ngspice is missing or fails.
    """
    lines = [MODEL, "vd d 0 0", "vg g 0 0"]
    for k in range(source.count):
        lines += [f"m{k} d g s{k} 0 {SIZE}", f"vs{k} s{k} 0 {number(source.start + k * source.step)}"]
    sweeps = (
        f"{name} {number(a.start)} {number(a.stop + 0.5 * a.step)} {number(a.step)}"
        for name, a in (("vd", drain), ("vg", gate))
    )
    found = simulate(circuit("a BSIM4 cell's table", [EXACT], lines, [f".dc {' '.join(sweeps)}"]))
    currents = [1e9 * found[f"i(vs{k})"].reshape(gate.count, drain.count) for k in range(source.count)]
    return Table(gate, drain, source, np.log(np.stack(currents, axis=-1)))


def bsim_cell(shift: Floats) -> CellWriter:
    """BSIM4 cells whose thresholds are shifted up by volts, [rows, columns]; the circuit needs `MODEL`."""

    def write(row: int, column: int, *, drain: str, gate: str, source: str) -> list[str]:
        floating = f"f{row}_{column}"
        return [
            f"vf{row}_{column} {gate} {floating} {number(shift[row, column])}",
            f"mc{row}_{column} {drain} {floating} {source} 0 {SIZE}",
        ]

    return write
