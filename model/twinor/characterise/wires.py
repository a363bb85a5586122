# SPDX-License-Identifier: Apache-2.0
"""What is left of the wire drop: columns solved for the inputs that they get, against the integers of the die.

The integers have the drop at one operating point: every word line of a group on for `activity` of the time. An input
that drives more loses more. Here the ladder of every column is solved for random inputs, cell by cell:

    error = what the integers add up to - what the solved column carries        of a pair: plus line less minus line

Bound: no cell carries less than while all word lines are on at the largest code, and none more than without a drop.
Both lines of a pair may be at opposite ends of that. Noise, traps and defects are left out, and so is the leak of word
lines that are off, which the integers do not have and which is the same on both lines.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from twinor.characterise.bench import lsb
from twinor.characterise.chip import programmed
from twinor.characterise.mac import fit_lines
from twinor.config import replace as configured
from twinor.device import life
from twinor.device.array import device_of
from twinor.device.ekv import current, operating_point
from twinor.device.ladder import solve
from twinor.golden import bitline, flash_array

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from twinor.characterise.bench import Pattern
    from twinor.characterise.chip import Chip
    from twinor.config import Config
    from twinor.device.life import History
    from twinor.device.model import Device

    Floats = NDArray[np.float64]
    Progress = Callable[[int, int], None]

__all__ = ["WireDrop", "wire_drop"]

BATCH = 1 << 17
"""Cells that are solved at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireDrop:
    """Errors of N inputs in C columns.

    Attributes:
        solved: float64[N, C], what solved columns carry, in array units.
        error: float64[N, C], in array units.
        error_lsb: float64[N, C], of the ADC step that the input's slice has.
        remaining, remaining_lsb: float64[N, C], what a gain and an offset of each column do not take off.
        line: rms of the error of single lines, in array units.
        bound: the largest error that any input of the worst column can have, in array units.
        bound_lsb: that over the smallest step.
        loss: what the operating point of the integers loses against wires without resistance, in percent.
        leak: what word lines that are off let through on a line at most, in array units.
    """

    solved: Floats
    error: Floats
    error_lsb: Floats
    remaining: Floats
    remaining_lsb: Floats
    line: float
    bound: float
    bound_lsb: float
    loss: float
    leak: float

    @property
    def figures(self) -> dict[str, float]:
        """Rms and largest size of every error by name."""
        names = ("error", "error_lsb", "remaining", "remaining_lsb")
        rms = {f"{name}_rms": float(np.sqrt(np.mean(getattr(self, name) ** 2))) for name in names}
        return rms | {f"{name}_most": float(np.abs(getattr(self, name)).max()) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Array:
    """Floats of the physics of macro 0, as `device.life` has them before it rounds them."""

    config: Config
    device: Device
    history: History
    thresholds: Floats
    gates: Floats
    unit: float

    @property
    def top(self) -> int:
        return (1 << self.config.dac_bits) - 1


def wire_drop(chip: Chip, known: Pattern, *, inputs: int, progress: Progress = lambda _done, _total: None) -> WireDrop:
    """Solve the columns of a chip for the first inputs of a pattern, each input slice by itself.

    Args:
        chip: with cells that have wires; it is measured as old and as warm as it is.
        known: what it is programmed with and driven by.
        inputs: how many vectors of it.
        progress: called with inputs that are solved and inputs that there are.

    Raises:
        TwinorError: a column has no solution.
    """
    device = device_of(chip.config)
    assert device.wires is not None  # the caller has seen to it
    settled = replace(device, defects=None, wires=replace(device.wires, c_bl_fF=0.0))
    sound = replace(chip, config=configured(chip.config, device=settled))
    die, config, seed = programmed(sound, known.levels), sound.config, sound.seed
    assert die.history is not None and die.cells is not None and seed is not None  # a chip with wires is physical
    at = (config, die.history, seed, 0)
    array = _Array(
        config=config,
        device=device_of(config),
        history=die.history,
        thresholds=life.thresholds_now(*at),
        gates=life.gates_now(*at),
        unit=life.array_unit_nA(config, die.history),
    )
    codes, weights = _codes(config, known, inputs)
    one = 1 << 2 * config.frac_bits
    folded = flash_array.of_die(die, 0, codes) / one
    solved = _columns(array, codes, progress)
    cells = die.cells.current[0] / one
    return _figures(array, known, cells, folded, solved, weights)


def _codes(config: Config, known: Pattern, inputs: int) -> tuple[NDArray[np.uint8], Floats]:
    """Word-line codes of every input slice, uint8[N, rows], and the LSB of one array unit there, float64[N, 1]."""
    x, mask = known.activations[:inputs], (1 << config.dac_bits) - 1
    lines = np.zeros((len(known.steps), len(x), config.rows), dtype=np.uint8)
    weights = np.zeros((len(known.steps), len(x), 1))
    for i, steps in enumerate(known.steps):
        lines[i, :, : x.shape[1]] = x >> i * config.dac_bits & mask
        weights[i] = (1 << i * config.dac_bits if config.analog_slices else 1) / min(steps)
    return lines.reshape(-1, config.rows), weights.reshape(-1, 1)


def _columns(array: _Array, codes: NDArray[np.uint8], progress: Progress) -> Floats:
    """What every line carries while word lines are driven with codes, float64[N, bit_lines] in array units."""
    top, pulsed = array.top, array.config.pulsed
    slots = top if pulsed else 1
    states = np.stack([np.where(codes > s, top, 0) for s in range(top)], axis=1) if pulsed else codes[:, None]
    each = max(1, BATCH // (slots * array.thresholds.size))
    found = []
    for start in range(0, len(codes), each):
        part = states[start : start + each].astype(np.int64)
        carried = _solve(array, part.reshape(-1, part.shape[2]))
        found.append(carried.reshape(len(part), slots, -1).sum(axis=1) / slots)
        progress(min(start + each, len(codes)), len(codes))
    return np.concatenate(found) / array.unit


def _solve(array: _Array, states: NDArray[np.int64]) -> Floats:
    """Currents of all lines in nA for states of the word lines, codes [S, rows]; float64[S, bit_lines]."""
    rows, lines = array.thresholds.shape
    gate = np.repeat(array.gates[np.arange(rows)[:, None], states.T], lines, axis=1)
    on = np.repeat((states.T > 0).astype(np.float64), lines, axis=1)
    return _ladder(array, gate, on, np.tile(array.thresholds, (1, len(states))))[0].reshape(len(states), lines)


def _ladder(array: _Array, gate: Floats, on: Floats, thresholds: Floats) -> tuple[Floats, Floats, Floats]:
    """Currents of columns, and the volts of both lines at every cell."""
    cell, wires = array.device.cell, array.device.wires
    assert cell is not None and wires is not None

    def cells(drain: Floats, source: Floats) -> tuple[Floats, Floats, Floats]:
        at = {"gate": gate, "drain": drain, "source": source, "threshold": thresholds}
        point = operating_point(cell, celsius=array.history.celsius, **at)
        return on * point.current, on * point.drain, on * point.source

    found = solve(wires, cells, thresholds.shape)
    return found.current, found.bit_line, found.source_line


def _by_code(array: _Array, drain: Floats, source: Floats) -> Floats:
    """Current of every cell by code at voltages of its lines, float64[rows, codes, bit_lines] in array units."""
    cell = array.device.cell
    assert cell is not None
    at = {"drain": drain[:, None], "source": source[:, None], "threshold": array.thresholds[:, None]}
    gates = array.gates[:, -1:, None] if array.config.pulsed else array.gates[:, :, None]
    carried = current(cell, gate=gates, celsius=array.history.celsius, **at) / array.unit
    share = np.arange(array.top + 1) / array.top if array.config.pulsed else np.arange(array.top + 1) > 0
    return np.asarray(carried * share[:, None])


def _extremes(array: _Array, cells: Floats) -> tuple[Floats, Floats, float]:
    """Largest sum that the integers have too much and too little on each line, [bit_lines]; and the loss in percent."""
    config, wires = array.config, array.device.wires
    assert wires is not None
    rows = slice(0, min(config.active_rows, config.rows))
    on = np.zeros_like(array.thresholds)
    on[rows] = 1.0
    gate = np.broadcast_to(array.gates[:, -1:], on.shape)
    _, drain, source = _ladder(array, gate, on, array.thresholds)
    least = _by_code(array, drain, source)[rows]
    most = _by_code(array, np.full_like(drain, wires.v_clamp), np.zeros_like(source))[rows]
    over = np.maximum(cells[rows] - least, 0.0).max(axis=1).sum(axis=0)
    under = np.maximum(most - cells[rows], 0.0).max(axis=1).sum(axis=0)
    return over, under, 100.0 * float(1.0 - cells[rows, -1].sum() / most[:, -1].sum())


def _figures(array: _Array, known: Pattern, cells: Floats, folded: Floats, solved: Floats, weights: Floats) -> WireDrop:
    config, device = array.config, array.device
    assert device.cell is not None
    over, under, loss = _extremes(array, cells)
    ends = np.stack([over, under]).reshape(2, config.cols, config.w_slices, config.lines_per_cell)
    bound = ends.max(axis=0).sum(axis=-1) if config.lines_per_cell == 1 else _opposite(ends)
    carried, error = (_pairs(config, of) for of in (solved, folded - solved))
    lines = fit_lines(carried, carried + error, np.full(carried.shape, True))
    remaining = carried + error - lines.at(carried)
    smallest = min(min(of) for of in known.steps)
    return WireDrop(
        solved=carried,
        error=error,
        error_lsb=error * weights,
        remaining=remaining,
        remaining_lsb=remaining * weights,
        line=float(np.sqrt(np.mean((folded - solved) ** 2))),
        bound=float(bound.max()),
        bound_lsb=float(bound.max()) / smallest * (lsb(config, known.steps) / smallest if config.analog_slices else 1),
        loss=loss,
        leak=config.rows * device.cell.off_current_pA * 1e-3 / array.unit,
    )


def _opposite(ends: Floats) -> Floats:
    """The worst of a pair whose lines are at opposite ends, [cols, w_slices]."""
    over, under = ends
    return np.asarray(np.maximum(over[..., 0] + under[..., 1], over[..., 1] + under[..., 0]))


def _pairs(config: Config, lines: Floats) -> Floats:
    """Columns of lines, all weight slices side by side."""
    parts = [bitline.column_quantity(config, lines, w_slice=j) for j in range(config.w_slices)]  # type: ignore[arg-type]
    return np.asarray(np.concatenate(parts, axis=1), dtype=np.float64)
