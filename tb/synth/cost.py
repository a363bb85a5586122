# SPDX-License-Identifier: Apache-2.0
"""Transistors of Yosys' generic cells, as static CMOS; an estimate that compares blocks, not a chip's area."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twinor.errors import TwinorError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ENABLE", "FLIP_FLOP", "GATES", "RESET", "Cost", "cost", "transistors"]

GATES = {"NOT": 2, "NAND": 4, "NOR": 4, "AND": 6, "OR": 6, "ANDNOT": 6, "ORNOT": 6, "MUX": 12, "XOR": 12, "XNOR": 12}
"""As in `stat -tech cmos` of Yosys."""

FLIP_FLOP = 16
"""A flip-flop without reset and enable, as in `stat -tech cmos`, which counts no other kind."""

RESET = 4
"""More for an asynchronous reset: a NAND instead of an inverter in both latches."""

ENABLE = 12
"""More for an enable: a multiplexer in front."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a block, or a whole macro, consists of."""

    cells: int
    flip_flops: int
    transistors: int

    def __add__(self, other: Cost) -> Cost:
        """Both together."""
        return Cost(
            cells=self.cells + other.cells,
            flip_flops=self.flip_flops + other.flip_flops,
            transistors=self.transistors + other.transistors,
        )


def transistors(cell: str) -> int:
    """Transistors of one generic cell.

    Raises:
        TwinorError: the flow left a cell that has no count here.

    Example:
        >>> transistors("$_NAND_"), transistors("$_DFF_P_"), transistors("$_DFFE_PN0P_")
        (4, 16, 32)
    """
    gate = re.fullmatch(r"\$_([A-Z]+)_", cell)
    if gate and gate[1] in GATES:
        return GATES[gate[1]]
    # Clock edge; then level and value of an asynchronous reset; then level of an enable.
    flip_flop = re.fullmatch(r"\$_DFF(E?)_[NP]([NP][01])?[NP]?_", cell)
    if flip_flop:
        return FLIP_FLOP + ENABLE * bool(flip_flop[1]) + RESET * bool(flip_flop[2])
    raise TwinorError(f"the netlist has a cell {cell}, which has no transistor count in tb/synth/cost.py")


def cost(cells: Mapping[str, int]) -> Cost:
    """Add up cells, given how many there are of each type.

    Raises:
        TwinorError: as `transistors`.

    Example:
        >>> cost({"$_NAND_": 3, "$_DFF_PN0_": 2})
        Cost(cells=5, flip_flops=2, transistors=52)
    """
    return Cost(
        cells=sum(cells.values()),
        flip_flops=sum(count for cell, count in cells.items() if "DFF" in cell),
        transistors=sum(count * transistors(cell) for cell, count in cells.items()),
    )
