# SPDX-License-Identifier: Apache-2.0
"""What the bench of the whole macro drives and watches beside its streams: clip counters, status pins, seams inside."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from twinor.golden import clip_count

from tb.common import bench
from tb.common.stream import never
from tb.common.values import lanes, to_int
from tb.common.word_lines import WordLines

if TYPE_CHECKING:
    from twinor.config import Config

    from tb.common.checker import Checker

__all__ = ["Clearing", "Pulses", "SeamMonitor"]


class Clearing(bench.Agent):
    """Clears the clip counters in the cycles that `when` says."""

    def __init__(self, dut: Any) -> None:
        """Never."""
        self.dut, self.when = dut, never()

    def reset(self) -> None:
        """Clear nothing."""
        self.dut.clip_clear_i.value = 0

    def drive(self) -> None:
        """A new decision each cycle."""
        self.dut.clip_clear_i.value = int(next(self.when))


class Pulses(bench.Agent):
    """Counts the status pulses and keeps what came with the last error."""

    def __init__(self, dut: Any) -> None:
        """Nothing yet."""
        self.dut, self.seen, self.error = dut, Counter[str](), (0, 0)

    def sample(self) -> None:
        """See one cycle."""
        for name in ("round_done_o", "chain_done_o", "error_valid_o"):
            if to_int(getattr(self.dut, name)):
                self.seen[name] += 1
        if to_int(self.dut.error_valid_o):
            self.error = to_int(self.dut.error_code_o), to_int(self.dut.error_round_o)


class SeamMonitor(bench.Agent):
    """Sees word lines at a hold or a share, codes and sums when shift-add takes them, clip counters in every cycle."""

    def __init__(self, dut: Any, cfg: Config, checks: dict[str, Checker[Any]]) -> None:
        """Attach to the macro's inside."""
        self.dut, self.inside, self.cfg, self.checks = dut, dut.u_cim_macro, cfg, checks
        self.lanes: list[int] = []  # columns in use of the phases to come
        self.cycle, self.word_lines = 0, WordLines(cfg)
        self.clips, self.cleared = (0, 0), 0  # counters, and what clears have forgotten
        self.holds: list[int] = []
        self.codes: list[int] = []

    def reset(self) -> None:
        """Forget what was to come."""
        self.lanes, self.holds, self.codes, self.clips = [], [], [], (0, 0)

    def sample(self) -> None:
        """See one cycle."""
        self.cycle += 1
        cfg, inside = self.cfg, self.inside
        self._counters()
        driven = self.word_lines.sample(to_int(self.dut.wl), to_int(self.dut.wl_start))
        if (to_int(inside.hold_o) or to_int(inside.share_o)) and not to_int(self.dut.prog_busy_o):
            self.checks["word lines"].got(driven, time=bench.now())
            self.holds.append(self.cycle)
            assert to_int(self.dut.busy_o), f"busy_o is low at {bench.now()}"
        if to_int(inside.code_valid) and to_int(inside.code_ready):
            assert self.lanes, f"codes at {bench.now()} that no pass owes"
            count = self.lanes.pop(0)
            adcs = count + cfg.ref_cols
            self.checks["codes"].got(lanes(inside.code, cfg.code_bits, adcs), time=bench.now())
            raw = inside.raw_code if cfg.column_correction else inside.code  # a netlist keeps one name of the two
            codes = np.array(lanes(raw, cfg.code_bits, adcs))
            self.clips = clip_count.count(cfg, codes, before=self.clips)
            self.checks["partial sums"].got(lanes(inside.sum, cfg.acc_bits, count), time=bench.now())
            self.codes.append(self.cycle)

    def _counters(self) -> None:
        """What was taken before this cycle is counted; a clear forgets it."""
        counted = to_int(self.dut.clip_low_o), to_int(self.dut.clip_high_o)
        assert counted == self.clips, f"clip counters at {bench.now()}: expected {self.clips}, got {counted}"
        if to_int(self.dut.clip_clear_i):
            self.cleared += sum(self.clips)
            self.clips = (0, 0)
