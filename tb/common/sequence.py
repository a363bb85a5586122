# SPDX-License-Identifier: Apache-2.0
"""What the sequencer has to say at each seam, from `rounds.passes`, in the order of a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twinor.golden import macro_ctrl
from twinor.rounds import End, Start, converts, passes, step_code

from tb.common.checker import Checker

if TYPE_CHECKING:
    from twinor.config import Config
    from twinor.rounds import Pass, Round

__all__ = ["Expected", "Fields"]

Fields = dict[str, int]
SEAMS = (
    *("loads", "drives", "settled slices", "samples", "codes", "word-line sums of codes", "ends of rounds"),
    "errors",
)


class Expected:
    """What the sequencer has to say at each seam, round by round."""

    def __init__(self, cfg: Config) -> None:
        """Nothing yet."""
        self.cfg = cfg
        self.checks: dict[str, Checker[Any]] = {name: Checker(name) for name in SEAMS}

    def round(self, rnd: Round, *, last: bool) -> None:
        """Everything that one round of one vector brings about."""
        cfg, order = self.cfg, passes(self.cfg, rnd)
        self.checks["loads"].expect(
            (rnd.row_base, rnd.row_count, int(rnd.signed), rnd.bias_rows, rnd.bias_code if rnd.bias_rows else 0)
        )
        converted = [n for n, p in enumerate(order) if converts(cfg, rnd, p)]
        for n, p in enumerate(order):
            row = rnd.row_base + p.group * cfg.active_rows
            rows = min(rnd.row_base + rnd.driven_rows - row, cfg.active_rows)
            drive = {"swap": int(n == 0), "slice": p.x_slice, "phase": p.phase, "row_first": row, "row_num": rows}
            self.checks["drives"].expect(drive)
            self.checks["settled slices"].expect((p.w_slice, p.x_slice if cfg.analog_slices else 0, n in converted))
            if n in converted:
                self._conversion(rnd, p, first=n == converted[0], end=n == converted[-1], last=last)

    def _conversion(self, rnd: Round, p: Pass, *, first: bool, end: bool, last: bool) -> None:
        cfg, step = self.cfg, step_code(rnd.steps[p.x_slice][p.w_slice])
        leaves = end and rnd.end is not End.HOLD
        positions = macro_ctrl.phases(cfg, rnd)
        top = cfg.weight_encoding == "twos_complement" and p.w_slice == cfg.w_slices - 1
        x_shift = 0 if cfg.analog_slices else p.x_slice * cfg.dac_bits
        for position in range(positions):
            self.checks["samples"].expect((rnd.col_base // cfg.n_lanes + position, step))
            code = {
                "position": position,
                "step": step,
                "first": int(first),
                "keep": int(first and rnd.start is Start.LAST),
                "psum": int(first and rnd.start is Start.PSUM),
                "residual": int(first and rnd.residual),
                "final": int(leaves),
                "slice_shift": x_shift + p.w_slice * cfg.cell_bits,
                "x_shift": x_shift,
                "negate": int(top != bool(p.phase)),
                "offset": int(cfg.weight_encoding == "offset" and p.w_slice == 0),
            }
            self.checks["codes"].expect(code | (self._leaving(rnd, position, last=last) if leaves else {}))
            self.checks["ends of rounds"].expect(int(end and position == positions - 1))

    def _leaving(self, rnd: Round, position: int, *, last: bool) -> Fields:
        cfg, mask = self.cfg, (1 << self.cfg.acc_bits) - 1
        final_position = position == macro_ctrl.phases(cfg, rnd) - 1
        return {
            "col": position * cfg.n_lanes,
            "lanes": min(cfg.n_lanes, rnd.col_count - position * cfg.n_lanes),
            "last": int(last and final_position),
            "raw": int(rnd.end is End.RAW),
            "shift": rnd.shift,
            "lo": rnd.lo & mask,
            "hi": rnd.hi & mask,
        }
