# SPDX-License-Identifier: Apache-2.0
"""The CDAC and a whole SAR converter as circuits: capacitors, ideal switches and a behavioural comparator.

Bottom plates stand at 0 V or at a reference of 1 V; the top plate is the node `top`. Capacitors come as fractions of
what hangs on the top plate, the dummy included; their sum is 1 where there is no parasitic one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinor.spice.netlist import circuit, number, pulse

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SLOT_S", "conversion_slots", "counting_cdac", "sar_ramp"]

SLOT_S = 10e-9
"""Seconds of one trial; what is fast is a thousand times faster."""

EDGE_S = SLOT_S / 20

OPTIONS = ".options method=gear reltol=1e-6 abstol=1e-15 vntol=1e-9 gmin=1e-20 chgtol=1"
"""Every result is a steady state, so no step need be small: a `chgtol` of 1 C leaves that to the switches' edges."""

SWITCH = ".model ideal sw vt=0.5 vh=0 ron=1 roff=1e15"

FARAD = 1e-12
"""What hangs on the top plate; 1 ps through a switch."""


def counting_cdac(capacitors: Sequence[float], rest: float) -> str:
    """Every pattern in turn: bottom plate k toggles every 2**k slots, and the top plate is freed in the first.

    Args:
        capacitors: last trial first.
        rest: dummy and parasitic capacitance together, to ground.
    """
    lines = [OPTIONS, SWITCH, f"crest top 0 {number(rest * FARAD)}", "sfree top 0 free 0 ideal"]
    lines += [pulse("vfree", "free", 1.0, start=0.0, width=SLOT_S / 2, edge=EDGE_S, period=1.0)]
    for k, value in enumerate(capacitors):
        half = SLOT_S * (1 << k)
        lines.append(pulse(f"vp{k}", f"p{k}", 1.0, start=half, width=half - EDGE_S, edge=EDGE_S, period=2 * half))
        lines.append(f"cp{k} top p{k} {number(value * FARAD)}")
    stop = SLOT_S * (1 << len(capacitors))
    return circuit("a CDAC that counts", lines, [".save v(top)", f".tran {number(SLOT_S)} {number(stop)}"])


def conversion_slots(trials: int) -> int:
    """Slots of a conversion: one to sample, the trials, one to read the code."""
    return trials + 2


def sar_ramp(capacitors: Sequence[float], rest: float, *, start: float, step: float, points: int) -> str:
    """Conversions of a staircase; at the end of each, `v(h<k>)` is 1 V where the trial of capacitor k was kept.

    A trial raises its bottom plate; a comparator decides while it is up; the decision is held on a capacitor, and from
    then on the bottom plate follows it.

    Args:
        capacitors: last trial first.
        rest: dummy and parasitic capacitance together, to ground.
        start: first input in volts, with all offsets.
        step: volts from one conversion to the next.
        points: conversions.
    """
    trials = len(capacitors)
    period = SLOT_S * conversion_slots(trials)
    staircase = f"{number(start)}+{number(step)}*floor(time/{number(period)}+1e-6)"
    lines = [OPTIONS, SWITCH, f"crest top 0 {number(rest * FARAD)}", "sfree top 0 free 0 ideal"]
    lines += [_high("free", 0.0, 0.8, period), f"bin in 0 v={staircase}", "bcmp cmp 0 v=u(v(in)-v(top))"]
    for k, value in enumerate(capacitors):
        slot = trials - k  # the first trial is in slot 1
        lines += [
            _high(f"try{k}", slot, slot + 1, period),
            _high(f"strobe{k}", slot + 0.5, slot + 0.8, period),
            _high(f"hold{k}", slot + 1, conversion_slots(trials) - 0.1, period),
            f"bp{k} p{k} 0 v=v(try{k})+v(hold{k})*v(h{k})",
            f"cp{k} top p{k} {number(value * FARAD)}",
            f"sh{k} cmp h{k} strobe{k} 0 ideal",
            f"ch{k} h{k} 0 {number(FARAD)}",
        ]
    kept = " ".join(f"v(h{k})" for k in range(trials))
    times = f"{number(SLOT_S)} {number(period * points)} 0 {number(SLOT_S)}"
    return circuit("a SAR converter on a ramp", lines, [f".save {kept}", f".tran {times}"])


def _high(node: str, first: float, last: float, period: float) -> str:
    """A clock: high from one slot to another, edges included, of every conversion."""
    width = (last - first) * SLOT_S - EDGE_S  # the falling edge of one slot is the rising edge of the next
    return pulse(f"v{node}", node, 1.0, start=first * SLOT_S, width=width, edge=EDGE_S, period=period)
