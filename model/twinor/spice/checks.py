# SPDX-License-Identifier: Apache-2.0
"""What ngspice is asked: one function per check, each with a measured figure and the most that it may be.

V1, V2  columns of EKV cells, below and above the threshold      solver against solver, the equation is shared
        of nor40_iscas2021 and nor_triode_pwm, and on wires far worse
V3      columns of BSIM4 cells                                   the equation is ngspice's
V4      columns of resistors                                     and a dense nodal solution beside
V5, V6  the CDAC and the whole SAR converter of a sampled die    its threshold table, and the golden search
V7      how a bit line settles                                   its time constant
V8      pulses of 1 to 15 slots, integrated on a capacitor       the charge is the sum of currents by slots
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.config import load, replace
from twinor.device.array import device_of, thresholds_of
from twinor.device.ekv import Ekv, threshold_for
from twinor.device.ladder import Wires, column, settling, solve
from twinor.device.model import CLOCK_MHZ
from twinor.die import sample_die
from twinor.golden.sar_adc import convert
from twinor.spice import bsim
from twinor.spice.converters import SLOT_S, conversion_slots, counting_cdac, sar_ramp
from twinor.spice.netlist import (
    EXACT,
    TRANSIENT,
    CellWriter,
    capacitor_cell,
    circuit,
    ekv_cell,
    ladders,
    number,
    pulse,
    resistor_cell,
    word_lines,
)
from twinor.spice.run import simulate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from twinor.config import Config

    Floats = NDArray[np.float64]

__all__ = ["CHECKS", "Check", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8"]

SHAPE = (64, 4)
"""Rows and columns of the arrays that are compared."""

CELSIUS = 40.0
"""Not the temperature at which a cell's values are stated."""

INTEGRATOR_F = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one check found.

    Attributes:
        name: V1 .. V8.
        what: what was compared.
        unit: what the figures count.
        measured: how far the two are apart, at worst.
        limit: the most that passes.
    """

    name: str
    what: str
    unit: str
    measured: float
    limit: float

    @property
    def passed(self) -> bool:
        """True if the figure is within its limit; a figure that is not a number is not."""
        return self.measured <= self.limit


def _cell_currents(title: str, wires: Wires, gate: Floats, cell: CellWriter, *models: str) -> Floats:
    """Currents of an array's cells by ngspice, nA [rows, columns]."""
    rows, columns = gate.shape
    lines = ladders(wires, rows, columns, cell)
    found = simulate(circuit(title, [EXACT, *models], word_lines(gate), lines, [".op"]))
    return 1e9 * np.array([[found[f"i(vi{r}_{c})"][0] for c in range(columns)] for r in range(rows)])


def _apart(ours: Floats, theirs: Floats) -> float:
    """Largest relative difference of columns and of their cells."""
    columns = np.abs(theirs.sum(axis=0) / ours.sum(axis=0) - 1.0)
    return float(max(columns.max(), np.max(np.abs(theirs / ours - 1.0))))


def _ekv_array(name: str, what: str, cell: Ekv, wires: Wires, gate: Floats, threshold: Floats) -> Check:
    ours = column(cell, wires, gate=gate, threshold=threshold, celsius=CELSIUS)
    theirs = _cell_currents(what, wires, gate, ekv_cell(cell, threshold, celsius=CELSIUS))
    return Check(name=name, what=what, unit="relative", measured=_apart(ours.cells, theirs), limit=1e-6)


def _preset_array(name: str, what: str, preset: str, seed: int) -> Check:
    """Cells of all levels as a preset makes and wires them, half of them on."""
    rng, device = np.random.default_rng(seed), device_of(load(preset))
    assert device.cell is not None and device.wires is not None and device.word_line is not None
    threshold = thresholds_of(load(preset), device.top_current_nA * rng.uniform(0.01, 1.0, SHAPE))
    gate = np.where(rng.random(SHAPE) < 0.5, device.word_line.on_v, 0.0)
    return _ekv_array(name, what, device.cell, device.wires, gate, threshold)


def _worst(*checks: Check) -> Check:
    """One check for several cases of it."""
    return max(checks, key=lambda check: np.nan_to_num(check.measured, nan=np.inf))


def v1() -> Check:
    """The cells of nor40_iscas2021; and cells of up to 30 nA on thin and long wires, half of them on."""
    rng, cell, wires = np.random.default_rng(1), Ekv(), Wires(r_bl_ohm=50.0, r_sl_ohm=50.0, r_clamp_ohm=5e3)
    amount = rng.uniform(0.01, 30.0, SHAPE)
    threshold = threshold_for(cell, amount, gate=1.0, drain=wires.v_clamp, celsius=CELSIUS)
    gate = np.where(rng.random(SHAPE) < 0.5, 1.0, -1.0)
    what = "64 x 4 EKV, subthreshold"
    hard = _ekv_array("V1", what, cell, wires, gate, threshold)
    return _worst(_preset_array("V1", what, "nor40_iscas2021", seed=11), hard)


def v2() -> Check:
    """The cells of nor_triode_pwm; and cells of about 85 uA at 0.1 V, half on, whose wires take a third of it."""
    rng, cell = np.random.default_rng(2), Ekv(specific_current_nA=1000.0)
    wires = Wires(r_bl_ohm=0.5, r_sl_ohm=0.5, r_clamp_ohm=1.0, r_sl_return_ohm=1.0, v_clamp=0.1)
    threshold = 1.37 + rng.uniform(-0.2, 0.2, SHAPE)
    gate = np.where(rng.random(SHAPE) < 0.5, 3.0, -2.0)
    hard = _ekv_array("V2", "64 x 4 EKV, triode", cell, wires, gate, threshold)
    return _worst(_preset_array("V2", "64 x 4 EKV, triode", "nor_triode_pwm", seed=12), hard)


def v3() -> Check:
    """BSIM4 cells in weak and moderate inversion, solved with their table; those that are off do not count."""
    rng, wires = np.random.default_rng(3), Wires(r_bl_ohm=20.0, r_sl_ohm=20.0, r_clamp_ohm=2e3)
    table = bsim.extract(bsim.Axis(0.2, 0.01, 141), bsim.Axis(0.16, 0.02, 9), bsim.Axis(0.0, 0.01, 4))
    shift, on = rng.uniform(0.2, 0.4, SHAPE), rng.random(SHAPE) < 0.5
    gate = np.where(on, 1.45, 0.65)
    what = "64 x 4 BSIM4, by table"
    ours = solve(wires, table.cells(gate - shift), SHAPE).cells
    theirs = _cell_currents(what, wires, gate, bsim.bsim_cell(shift), bsim.MODEL)
    measured = _apart(ours, np.where(on, theirs, ours))
    return Check(name="V3", what=what, unit="relative", measured=measured, limit=1e-3)


def v4() -> Check:
    """Resistors of 10 kOhm to 1 MOhm: ngspice and the ladder, each against the inverse of the nodal matrix."""
    rng, wires = np.random.default_rng(4), Wires(r_bl_ohm=5.0, r_sl_ohm=3.0, r_clamp_ohm=1e3)
    ohms = 10.0 ** rng.uniform(4.0, 6.0, SHAPE)

    def cells(drain: Floats, source: Floats) -> tuple[Floats, Floats, Floats]:
        return 1e9 / ohms * (drain - source), 1e9 / ohms, -1e9 / ohms

    what = "64 x 4 resistors, dense"
    ours = solve(wires, cells, SHAPE).cells
    theirs = _cell_currents(what, wires, np.zeros(SHAPE), resistor_cell(ohms))
    dense = np.stack([_dense(wires, ohms[:, c]) for c in range(SHAPE[1])], axis=1)
    measured = max(_apart(dense, ours), _apart(dense, theirs))
    return Check(name="V4", what=what, unit="relative", measured=measured, limit=1e-9)


def _dense(wires: Wires, ohms: Floats) -> Floats:
    """Currents in nA of one column of resistors from its nodal matrix; bit line first, then source line."""
    rows = len(ohms)
    pairs = [(r, rows + r, ohms[r]) for r in range(rows)]
    pairs += [(r, r + 1, wires.r_bl_ohm) for r in range(rows - 1)]
    pairs += [(rows + r, rows + r + 1, wires.r_sl_ohm) for r in range(rows - 1)]
    matrix, feed = np.zeros((2 * rows, 2 * rows)), np.zeros(2 * rows)
    for a, b, ohm in pairs:
        matrix[[a, b], [a, b]] += 1.0 / ohm
        matrix[[a, b], [b, a]] -= 1.0 / ohm
    matrix[0, 0] += 1.0 / wires.r_clamp_ohm
    matrix[rows, rows] += 1.0 / wires.r_sl_return_ohm
    feed[0] = wires.v_clamp / wires.r_clamp_ohm
    volts = np.linalg.solve(matrix, feed)
    return np.asarray(1e9 * (volts[:rows] - volts[rows:]) / ohms)


# The converter //


def _sampled_cdac() -> tuple[Config, NDArray[np.int32], Floats, float, Floats]:
    """One ADC of a sampled die: configuration, thresholds, capacitors as fractions of all, offset in LSB, and levels.

    The lone trials of its threshold table say what the capacitors are, its last entry what they are together.
    """
    fine = replace(load("nor40_int4"), frac_bits=10, capacitor_sigma=0.03, comparator_sigma=0.5)
    blank = np.zeros((1, fine.rows, fine.bit_lines), dtype=np.uint8)
    thresholds = sample_die(fine, blank, seed=6).threshold[0, 0]
    whole, trials = 1 << fine.adc_bits, fine.trials
    level = thresholds / (1 << 2 * fine.frac_bits) + 0.5 - fine.code_min
    alone = level[1 << np.arange(trials)]
    offset = (alone.sum() - level[-1]) / (trials - 1)
    return fine, thresholds, (alone - offset) / whole, float(offset), level - offset


def v5() -> Check:
    """Every pattern of a mismatched CDAC, a tenth of parasitic capacitance beside it."""
    config, _, capacitors, _, levels = _sampled_cdac()
    parasitic = 0.1
    found = simulate(counting_cdac(capacitors.tolist(), 1.0 - capacitors.sum() + parasitic))
    read = (np.arange(1, len(levels)) + 0.8) * SLOT_S
    theirs = np.interp(read, found["time"], found["v(top)"])
    ours = levels[1:] / (1 << config.adc_bits) / (1.0 + parasitic)
    what = "255 patterns of a CDAC"
    return Check(name="V5", what=what, unit="of Vref", measured=float(np.max(np.abs(theirs - ours))), limit=1e-6)


def v6(points: int = 512) -> Check:
    """A staircase of 0.51 LSB through the whole range, from below it to above."""
    config, thresholds, capacitors, offset, _ = _sampled_cdac()
    one, volts = 1 << 2 * config.frac_bits, 1.0 / (1 << config.adc_bits)
    start, step = round((config.code_min - 2.3) * one), round(0.51 * one)
    ours, _ = convert(config, (start + step * np.arange(points))[:, None], thresholds[None], step=1)
    first = start / one + 0.5 - config.code_min - offset  # in LSB above the smallest code's level
    found = simulate(
        sar_ramp(
            capacitors.tolist(), 1.0 - capacitors.sum(), start=first * volts, step=step / one * volts, points=points
        )
    )
    slots = conversion_slots(config.trials)
    read = (np.arange(points) * slots + slots - 0.5) * SLOT_S
    kept = [np.interp(read, found["time"], found[f"v(h{k})"]) > 0.5 for k in range(config.trials)]
    theirs = sum(bit * (1 << k) for k, bit in enumerate(kept)) + config.code_min
    what = f"{points} SAR conversions"
    return Check(name="V6", what=what, unit="codes", measured=float(np.sum(theirs != ours[:, 0])), limit=0.0)


# In time //


def v7() -> Check:
    """The far end of a bit line of nor40_iscas2021: the area above its step response, and when it is 1 - 1/e there."""
    config = load("nor40_iscas2021")
    wires, rows = device_of(config).wires, config.rows
    assert wires is not None
    tau, far = 1e-9 * settling(wires, rows), f"v(b{rows - 1}_0)"
    lines = ladders(wires, rows, 1, capacitor_cell(wires))
    run = f".tran {number(tau / 200)} {number(15 * tau)} 0 {number(tau / 200)} uic"  # all at 0 V, the clamp is on
    found = simulate(circuit("a bit line settles", [TRANSIENT], lines, [f".save {far}", run]))
    way = found[far] / wires.v_clamp
    theirs = np.trapezoid(1.0 - way, found["time"]), np.interp(1.0 - np.exp(-1.0), way, found["time"])
    measured = max(abs(float(time) / tau - 1.0) for time in theirs)
    return Check(name="V7", what="settling of 256 cells", unit="relative", measured=measured, limit=0.02)


def v8() -> Check:
    """A cell of nor_triode_pwm for each of its slots, word line r high for r + 1; the clamp's current charges 1 pF."""
    config, rng = load("nor_triode_pwm"), np.random.default_rng(8)
    device, rows, slot = device_of(config), config.slots, 1e-6 / CLOCK_MHZ
    cell, wires, line = device.cell, device.wires, device.word_line
    assert cell is not None and wires is not None and line is not None
    threshold = thresholds_of(config, device.top_current_nA * rng.uniform(0.01, 1.0, (rows, 1)))
    high = np.arange(1, rows + 1)[:, None] > np.arange(rows + 1)  # [rows, slots], none in the last slot
    amounts = column(cell, wires, gate=line.on_v * high, threshold=threshold, celsius=CELSIUS).current
    edge, stop = slot / 1000, slot * (rows + 1)
    pulses = [
        pulse(f"vg{r}", f"g{r}_0", line.on_v, start=edge, width=(r + 1) * slot - edge, edge=edge, period=1.0)
        for r in range(rows)
    ]
    cells = ladders(wires, rows, 1, _both(ekv_cell(cell, threshold, celsius=CELSIUS), capacitor_cell(wires)))
    integrator = ["fcopy 0 q vclamp0 -1", f"cq q 0 {number(INTEGRATOR_F)}", ".ic v(q)=0"]
    run = [".save v(q)", f".tran {number(slot / 20)} {number(stop + edge)} 0 {number(slot / 20)}"]
    found = simulate(circuit("pulses on a capacitor", [TRANSIENT], pulses, cells, integrator, run))
    charge = INTEGRATOR_F * float(found["v(q)"][-1] - found["v(q)"][0])
    measured = abs(charge / (1e-9 * slot * float(amounts.sum())) - 1.0)
    what = "charge of 15 pulses"
    return Check(name="V8", what=what, unit="relative", measured=measured, limit=1e-3)


def _both(one: CellWriter, other: CellWriter) -> CellWriter:
    """Two cells side by side."""

    def write(row: int, column: int, *, drain: str, gate: str, source: str) -> list[str]:
        nodes = {"drain": drain, "gate": gate, "source": source}
        return one(row, column, **nodes) + other(row, column, **nodes)

    return write


CHECKS: tuple[Callable[[], Check], ...] = (v1, v2, v3, v4, v5, v6, v7, v8)
"""Every check, in order."""
