# SPDX-License-Identifier: Apache-2.0
"""What the sequencer has to say at each seam, from `rounds.passes`, in the order of a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twinor.golden import macro_ctrl
from twinor.rounds import End, Start, passes, step_code

from tb.common.checker import Checker

if TYPE_CHECKING:
    from twinor.config import Config
    from twinor.rounds import Round

__all__ = ["Expected", "Fields"]

Fields = dict[str, int]
SEAMS = ("loads", "drives", "holds", "samples", "codes", "word-line sums of codes")


class Expected:
    """What the sequencer has to say at each seam, round by round."""

    def __init__(self, cfg: Config) -> None:
        """Nothing yet."""
        self.cfg = cfg
        self.checks: dict[str, Checker[Any]] = {name: Checker(name) for name in SEAMS}

    def round(self, rnd: Round, *, last: bool) -> None:
        """Everything that one round of one vector brings about."""
        cfg, order = self.cfg, passes(self.cfg, rnd)
        self.checks["loads"].expect((rnd.row_base, rnd.row_count))
        for n, p in enumerate(order):
            row = rnd.row_base + p.group * cfg.active_rows
            rows = min(rnd.row_base + rnd.row_count - row, cfg.active_rows)
            drive = {"swap": int(n == 0), "slice": p.x_slice, "row_first": row, "row_num": rows}
            self.checks["drives"].expect(drive)
            self.checks["holds"].expect(p.w_slice)
            step = step_code(rnd.steps[p.x_slice][p.w_slice])
            begins, ends = n == 0, n == len(order) - 1 and rnd.end is not End.HOLD
            for phase in range(macro_ctrl.phases(cfg, rnd)):
                self.checks["samples"].expect((rnd.col_base // cfg.n_adcs + phase, step))
                code = {
                    "phase": phase,
                    "step": step,
                    "first": int(begins),
                    "keep": int(begins and rnd.start is Start.LAST),
                    "psum": int(begins and rnd.start is Start.PSUM),
                    "final": int(ends),
                    "slice_shift": p.x_slice * cfg.dac_bits + p.w_slice * cfg.cell_bits,
                    "x_shift": p.x_slice * cfg.dac_bits,
                    "negate": int(cfg.weight_encoding == "twos_complement" and p.w_slice == cfg.w_slices - 1),
                    "offset": int(cfg.weight_encoding == "offset" and p.w_slice == 0),
                }
                self.checks["codes"].expect(code | (self._leaving(rnd, phase, last=last) if ends else {}))

    def _leaving(self, rnd: Round, phase: int, *, last: bool) -> Fields:
        cfg, mask = self.cfg, (1 << self.cfg.acc_bits) - 1
        final_phase = phase == macro_ctrl.phases(cfg, rnd) - 1
        return {
            "col": phase * cfg.n_adcs,
            "lanes": min(cfg.n_adcs, rnd.col_count - phase * cfg.n_adcs),
            "last": int(last and final_phase),
            "raw": int(rnd.end is End.RAW),
            "shift": rnd.shift,
            "lo": rnd.lo & mask,
            "hi": rnd.hi & mask,
        }
