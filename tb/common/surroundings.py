# SPDX-License-Identifier: Apache-2.0
"""What is around the sequencer in its own bench: word-line DAC, ADC bank, shift-add, and a check of every seam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twinor.golden import macro_ctrl
from twinor.rounds import ROUND_STRIDE, Start, converts, passes

from tb.common import bench
from tb.common.sequence import Expected, Fields
from tb.common.stream import never
from tb.common.values import to_int

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from twinor.config import Config
    from twinor.rounds import Pass, Round

__all__ = ["Surroundings"]


@dataclass
class Column:
    """A stream that begins accumulators: lanes and first column of every position still due, lanes that are in."""

    due: list[tuple[int, int]]
    have: int = 0


class Surroundings(bench.Agent):
    """Plays word-line DAC, ADC bank and shift-add, and checks what the sequencer tells them, cycle by cycle."""

    def __init__(self, dut: Any, cfg: Config, rng: np.random.Generator) -> None:
        """At rest; `idle` stops beats, `busy` stops codes (None: they wait for what they wait for in the macro).

        `strays` offers random words wherever none may be taken.
        """
        self.dut, self.cfg, self.rng = dut, cfg, rng
        self.idle: Iterator[bool] = never()
        self.busy: Iterator[bool] | None = None
        self.strays = True
        self.reset()

    def reset(self) -> None:
        """Forget everything under way."""
        self.expected = Expected(self.cfg)
        self.cycle, self.first_beat = 0, -1
        self.rounds, self.swaps = 1, 0  # rounds of the chain in the memory, rounds that began
        self.bad: tuple[int, int] | None = None  # rule that an armed chain breaks, and the round that breaks it
        self.hold_cycles: list[int] = []
        self.code_cycles: list[int] = []
        self.supply: list[Round] = []  # rounds whose activations are not all in
        self.loaded: list[Round] = []  # the round that is in the shadow latches
        self.beats = 0
        self.running: list[tuple[Round, Pass]] = []  # every pass to come of a round that began
        self.driven, self.wl_sum, self.shared = 0, 0, 0
        self.held_first = False  # a pass of the round that runs was held
        self.to_sample, self.trial, self.step = 0, 0, 0
        self.owed = 0  # codes that were not taken, of rounds that began
        self.streams = {"psum": Column([]), "res": Column([])}
        self.lanes_left = 0
        self.waiting: Fields | None = None

    @property
    def idle_now(self) -> bool:
        """Nothing is loading, loaded, settling, converting or waiting."""
        return not (self.beats or self.loaded or self.owed)

    @property
    def takes_words(self) -> bool:
        """Nothing is under way, and the next round to load is the first of its chain."""
        return self.idle_now and self.swaps % self.rounds == 0

    def read(self, name: str) -> int:
        """An output; X is a failure."""
        return to_int(getattr(self.dut, name))

    def drive(self) -> None:
        """Answer as the neighbours' registers would, and offer words that must not be taken."""
        dut = self.dut
        dut.loading_i.value, dut.loaded_i.value = int(self.beats > 0), int(bool(self.loaded))
        dut.wl_sum_i.value, dut.adc_done_i.value = self.wl_sum, int(self.trial == 1)
        dut.code_ready_i.value = int(self._ready())
        if not self.strays:
            return
        if not self.takes_words:
            dut.word_valid_i.value = int(self.rng.integers(2))
            dut.word_addr_i.value = int(self.rng.integers(self.cfg.max_rounds * ROUND_STRIDE))
            dut.word_data_i.value = int(self.rng.integers(1 << 32))
        elif self.first_beat >= 0:
            dut.word_valid_i.value = 0

    def _ready(self) -> bool:
        if self.busy is not None:
            return not next(self.busy)
        first = self.read("first_o")
        needs = [name for name, flag in (("psum", "psum_o"), ("res", "residual_o")) if first and self.read(flag)]
        empty = not self.read("final_o") or self.lanes_left <= 1
        return empty and all(self.streams[name].have == self.read(f"{name}_lanes_o") for name in needs)

    def sample(self) -> None:
        """See one cycle; every state below changes with its rising edge."""
        self.cycle += 1
        assert self.read("word_ready_o") == int(self.takes_words), f"word_ready_o at {bench.now()}"
        assert self.read("busy_o") == int(not self.takes_words), f"busy_o at {bench.now()}"
        self._see_error()
        self._see_load()
        for name in self.streams:
            self._see_start(name)
        swap, hold, share, done = (self.read(name) for name in ("swap_o", "hold_o", "share_o", "adc_done_i"))
        self._see_codes(done=bool(done))
        self._see_conversion(done=bool(done))
        if hold or share:
            self._see_settled(hold=bool(hold), share=bool(share))
        self._see_word_lines(swap=bool(swap), driven=bool(swap or hold or share))

    def _see_error(self) -> None:
        """A bad descriptor stops the chain in the first cycle in which its round could load, and in no other."""
        ready = self.bad is not None and not self.beats and not self.loaded and self.swaps == self.bad[1]
        moves = self.read("word_valid_i") and self.read("word_ready_o")
        assert self.read("error_valid_o") == int(ready and not moves), f"error_valid_o at {bench.now()}"
        assert ready or not self.read("error_code_o"), f"error_code_o without an error at {bench.now()}"
        if ready:
            assert not self.read("load_en_o"), f"load_en_o of a bad round at {bench.now()}"
            if not moves:
                error = (self.read("error_code_o"), self.read("error_round_o"))
                self.expected.checks["errors"].got(error, time=bench.now())
                self.swaps = 0
            self.bad = None

    def _see_load(self) -> None:
        if not self.supply or self.loaded or not self.read("load_en_o") or next(self.idle):
            return
        names = ("load_base", "load_count", "load_signed", "load_bias", "load_bias_code")
        base, count, signed, bias, code = (self.read(f"{name}_o") for name in names)
        if self.first_beat < 0:
            self.first_beat = self.cycle
        self.beats += 1
        if self.beats * self.cfg.in_lanes >= count + bias:
            load = (base, count, signed, bias, code if bias else 0)
            self.expected.checks["loads"].got(load, time=bench.now())
            self.loaded, self.beats = [self.supply.pop(0)], 0

    def _see_word_lines(self, *, swap: bool, driven: bool) -> None:
        drive, on = self.read("drive_o"), self.read("wl_on_o")
        assert drive == int(driven), f"drive_o at {bench.now()}"
        if swap:
            assert self.loaded, f"swap at {bench.now()} without a loaded vector"
            assert not self.running, f"swap at {bench.now()} in the middle of a round"
            rnd = self.loaded.pop()
            self.swaps += 1
            self.running = [(rnd, p) for p in passes(self.cfg, rnd)]
            self.held_first = False
            held = sum(converts(self.cfg, rnd, p) for _, p in self.running)
            self.owed += held * macro_ctrl.phases(self.cfg, rnd)
        if not drive:
            return
        assert on == int(bool(self.running)), f"wl_on_o at {bench.now()}: word lines stay on or go off wrongly"
        if on:
            seen = {name: self.read(f"{name}_o") for name in ("swap", "slice", "phase", "row_first", "row_num")}
            self.expected.checks["drives"].got(seen, time=bench.now())
        self.wl_sum = self._word_line_sum() if on else 0
        self.driven = self.cycle

    def _word_line_sum(self) -> int:
        """Any sum that the word lines of the next pass can have."""
        cfg, x_slice = self.cfg, self.running[0][1].x_slice
        bits = min(cfg.dac_bits, cfg.input_bits - x_slice * cfg.dac_bits)
        return int(self.rng.integers(0, cfg.active_rows * ((1 << bits) - 1) + 1))

    def _see_conversion(self, *, done: bool) -> None:
        """Trials that run, then a sample, then a hold: in this order an early sample or hold is noticed."""
        step = self.read("step_shift_o") << 1 | self.read("step_three_o")
        if self.trial:
            assert step == self.step, f"step changed in a trial at {bench.now()}"
            self.trial -= 1
        if self.read("sample_o"):
            assert self.to_sample and not done, f"sample at {bench.now()} with nothing held"
            assert not self.trial, f"sample at {bench.now()} during trials"
            self.expected.checks["samples"].got((self.read("mux_o"), step), time=bench.now())
            self.trial, self.step, self.to_sample = self.cfg.trials, step, self.to_sample - 1

    def _see_settled(self, *, hold: bool, share: bool) -> None:
        """A pass is shared as soon as it has settled, or held when the columns are free, never both."""
        assert self.running, f"hold or share at {bench.now()} without a pass"
        assert hold != share, f"hold and share at {bench.now()}"
        settled, enough = self.cycle - self.driven, self.cfg.wl_cycles + self.cfg.settle_cycles
        assert settled >= enough, f"hold or share at {bench.now()} after {settled} cycles, {enough} are needed"
        assert hold or settled == enough, f"share at {bench.now()} after {settled} cycles, {enough} are enough"
        self.hold_cycles.append(self.cycle - self.first_beat)
        slices = (self.read("w_slice_o"), self.read("x_slice_o"), hold)
        self.expected.checks["settled slices"].got(slices, time=bench.now())
        rnd, p = self.running.pop(0)
        weighed = self.wl_sum << (p.x_slice * self.cfg.dac_bits) if self.cfg.analog_slices else self.wl_sum
        self.shared = weighed + (self.shared if self.cfg.analog_slices and p.x_slice else 0)
        if hold:
            assert not self.to_sample and not self.trial, f"hold at {bench.now()} while columns convert"
            self._held(rnd)

    def _held(self, rnd: Round) -> None:
        phases = self.to_sample = macro_ctrl.phases(self.cfg, rnd)
        self.expected.checks["word-line sums of codes"].expect(*[self.shared] * phases)
        width = self.cfg.n_lanes
        due = [(min(width, rnd.col_count - m * width), m * width) for m in range(phases)]
        if not self.held_first and rnd.start is Start.PSUM:
            self.streams["psum"].due += due
        if not self.held_first and rnd.residual:
            self.streams["res"].due += due
        self.held_first = True

    def _see_codes(self, *, done: bool) -> None:
        self.lanes_left = max(self.lanes_left - 1, 0)
        taken = self.read("code_valid_o") and to_int(self.dut.code_ready_i)
        assert taken or not self.read("round_done_o"), f"round_done_o at {bench.now()} without codes"
        if not self.read("code_valid_o"):
            assert self.waiting is None, f"codes withdrawn at {bench.now()}"
            self.waiting = {} if done else None
            return
        code = self._code()
        assert self.waiting in ({}, code), f"codes {self.waiting} became {code} at {bench.now()}"
        assert taken or not done, f"the last trial at {bench.now()} overwrites codes that wait"
        self.waiting = ({} if done else None) if taken else code
        if taken:
            self.expected.checks["word-line sums of codes"].got(self.read("wl_sum_o"), time=bench.now())
            self.expected.checks["codes"].got(code, time=bench.now())
            self.expected.checks["ends of rounds"].got(self.read("round_done_o"), time=bench.now())
            self.code_cycles.append(self.cycle - self.first_beat)
            self.owed -= 1
            for name, needed in (("psum", code["psum"]), ("res", code["residual"])):
                if needed:
                    self.streams[name].due.pop(0)
                    self.streams[name].have = 0
            if code["final"]:
                self.lanes_left = code["lanes"]

    def _code(self) -> Fields:
        names = ("position", "first", "final", "slice_shift", "x_shift", "negate", "offset")
        code = {name: self.read(f"{name}_o") for name in names}
        code["step"] = self.read("code_step_shift_o") << 1 | self.read("code_step_three_o")
        code |= {name: code["first"] & self.read(f"{name}_o") for name in ("keep", "psum", "residual")}
        leaving = ("col", "lanes", "last", "raw", "shift", "lo", "hi") if code["final"] else ()
        return code | {name: self.read(f"{name}_o") for name in leaving}

    def _see_start(self, name: str) -> None:
        """Partial sums or residual codes are wanted from the hold to the codes of each position that needs them."""
        column, want = self.streams[name], self.read(f"{name}_want_o")
        assert want == int(bool(column.due)), f"{name}_want_o at {bench.now()}"
        if want:
            lanes = self.read(f"{name}_lanes_o")
            assert lanes == column.due[0][0], f"{name}_lanes_o = {lanes} at {bench.now()}"
            if name == "res":
                col = self.read("res_col_o")
                assert col == column.due[0][1], f"res_col_o = {col} at {bench.now()}"
            column.have = min(column.have + 1, lanes)
