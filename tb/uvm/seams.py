# SPDX-License-Identifier: Apache-2.0
"""Monitors of the macro's inside: the seams between the streams, and the state of every stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyuvm import uvm_analysis_port, uvm_monitor

from tb.common.values import signed, to_int, unpack
from tb.common.word_lines import WordLines
from tb.uvm.items import Conversion, Held

if TYPE_CHECKING:
    from twinor.config import Config

    from tb.uvm.agents import Clocking

__all__ = ["SeamMonitor", "states"]


class SeamMonitor(uvm_monitor):
    """Publishes the word lines of every hold or share, and trials, codes and accumulators of every phase."""

    clocking: Clocking
    config: Config

    def build_phase(self) -> None:
        """Find the signals."""
        self.held = uvm_analysis_port("held", self)
        self.converted = uvm_analysis_port("converted", self)
        self.dut, self.inside = self.clocking.dut, self.clocking.dut.u_cim_macro
        self.word_lines = WordLines(self.config)
        self.reset()

    def reset(self) -> None:
        """No conversion is under way."""
        self.trials: list[list[int]] = []

    def sample(self) -> None:
        """See one cycle."""
        cycle = self.clocking.cycle
        driven = self.word_lines.sample(to_int(self.dut.wl), to_int(self.dut.wl_start))
        settled = to_int(self.dut.hold) or to_int(self.dut.share)
        if settled or to_int(self.dut.sample):
            self.clocking.moved = cycle
        if settled:
            self.held.write(Held(cycle, driven))
        if to_int(self.inside.code_valid) and to_int(self.inside.code_ready):
            self.converted.write(self._conversion(cycle))
        if to_int(self.dut.sample):
            self.trials = []
        if to_int(self.inside.u_sar_adc.seq_q):
            self.trials.append(unpack(to_int(self.dut.trial), self.config.trials, self.config.n_adcs))

    def _conversion(self, cycle: int) -> Conversion:
        cfg, lanes = self.config, to_int(self.inside.lanes)
        adcs = lanes + cfg.ref_cols
        words = {
            name: [signed(word, width) for word in unpack(self._used(signal, width, count), width, count)]
            for name, signal, width, count in (
                ("codes", self.inside.code, cfg.code_bits, adcs),
                ("partial_sums", self.inside.sum, cfg.acc_bits, lanes),
            )
        }
        trials = [list(column) for column in zip(*self.trials, strict=True)][:adcs]
        return Conversion(cycle=cycle, trials=trials, **words)

    @staticmethod
    def _used(signal: Any, width: int, lanes: int) -> int:
        """The lanes in use; an X in another one is nobody's value."""
        return to_int(_Text(str(signal.value)[-width * lanes :]))


class _Text:
    """Bits as a signal, for `to_int`."""

    def __init__(self, value: str) -> None:
        self.value = value


def states(dut: Any, words_taken: bool) -> set[str]:
    """States that hold now, in the words of `goals.reset_states`.

    Args:
        dut: the bench's top module.
        words_taken: some words, and not yet the last, were taken since the macro was disarmed.
    """
    inside = dut.u_cim_macro
    ctrl, sar, add, out = inside.u_macro_ctrl, inside.u_sar_adc, inside.u_shift_add, inside.u_requantize
    armed, busy, converting = (to_int(s) for s in (ctrl.armed_q, ctrl.busy_q, ctrl.convert_busy_q))
    loading, loaded, hold = (to_int(s) for s in (ctrl.loading_i, ctrl.loaded_i, ctrl.hold))
    idle = not (busy or converting or loading or loaded or to_int(inside.code_valid))
    waits = busy and to_int(ctrl.wait_q) == to_int(ctrl.SETTLED)
    found = {
        "disarmed": not armed and not words_taken,
        "words half written": not armed and words_taken,
        "armed and idle": armed and idle,
        "vector half loaded": loading,
        "vector loaded": loaded,
        "settling": busy and not waits,
        "settled, converters busy": waits and not hold,
        "hold": hold,
        "sample": to_int(dut.sample),
        "codes wait": to_int(inside.code_valid) and not to_int(inside.code_ready),
        "partial sums half in": to_int(add.have_q),
        "residuals half in": to_int(inside.u_residual.have_q),
        "lanes leave": to_int(out.left_q),
        "output waits": to_int(dut.out_valid_o) and not to_int(dut.out_ready_i),
    }
    seq = to_int(sar.seq_q)
    return {name for name, holds in found.items() if holds} | ({f"trial {seq.bit_length() - 1}"} if seq else set())
