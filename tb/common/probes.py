# SPDX-License-Identifier: Apache-2.0
"""What a bench of the whole macro looks at beyond its streams: outputs, the states of its stages, its memories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cocotb.handle import ArrayObject, HierarchyArrayObject, HierarchyObject
from twinor.cosim import files
from twinor.rounds import TABLE_ADDR
from twinor.trim import WEIGHT_ADDR

from tb.common.bench import Agent
from tb.common.values import to_int, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from twinor.config import Config
    from twinor.die import Die
    from twinor.rounds import Chain

__all__ = ["AT_REST", "Memories", "Outputs", "States", "junk", "registers", "spoil", "uncleared"]

PORTS = (
    *("round_ready_o", "in_ready_o", "psum_ready_o", "out_valid_o", "out_data_o", "out_last_o"),
    *("clip_low_o", "clip_high_o"),
    *("res_ready_o", "busy_o", "round_done_o", "chain_done_o", "error_valid_o", "error_code_o"),
)
WIRES = ("wl", "share", "hold", "sample")
"""Towards the array, below `macro_sim`."""

AT_REST = {"round_ready_o": 1} | dict.fromkeys((*PORTS[1:], *WIRES), 0)
"""What a reset brings about at once: the macro takes words, and everything else is off."""


class Outputs(Agent):
    """Reads every output in every cycle: none is ever X."""

    def __init__(self, dut: Any) -> None:
        """Watch from the first cycle on."""
        self.signals = {name: getattr(dut, name) for name in (*PORTS, *WIRES)}

    def sample(self) -> None:
        """See one cycle."""
        self.read()

    def read(self) -> dict[str, int]:
        """Every output; X is a failure."""
        return {name: to_int(signal) for name, signal in self.signals.items()}


class States(Agent):
    """Names the states that the macro's stages are in, as the coming rising edge will find them."""

    def __init__(self, dut: Any, cfg: Config) -> None:
        """Attach to the registers and handshakes inside."""
        self.dut, self.cfg, self.now = dut, cfg, set[str]()
        self.ctrl, self.dac = dut.u_cim_macro.u_macro_ctrl, dut.u_cim_macro.u_wl_dac
        self.adder, self.requant = dut.u_cim_macro.u_shift_add, dut.u_cim_macro.u_requantize
        self.sar, self.residual = dut.u_cim_macro.u_sar_adc, dut.u_cim_macro.u_residual

    @staticmethod
    def names(cfg: Config) -> list[str]:
        """Every state there is."""
        beats, settled = cfg.rows // cfg.in_lanes, cfg.wl_cycles + cfg.settle_cycles - 1
        names = ["mult moves", "add moves", *(f"word {w} moves" for w in range(cfg.round_words))]
        names += ["armed", *(f"{n} beats in" for n in range(1, beats)), "a vector waits"]
        names += [*(f"settling {n}" for n in range(settled)), "settled and waiting", "holding", "negative rows"]
        names += ["sharing"] if cfg.analog_slices else []
        positions = range(cfg.cols_per_adc)
        names += [
            "sample waits",
            "sampling",
            *(f"trial {b} of position {m}" for m in positions for b in range(cfg.trials)),
        ]
        names += ["codes wait", "codes move", "partial sums due", "residuals due"]
        counted = ("partial sums in", "residuals in", "sums to leave")
        names += [f"{n} {what}" for what in counted for n in range(1, cfg.n_lanes + 1)]
        return [*names, "output waits", "output moves"]

    def sample(self) -> None:
        """See one cycle."""
        self.now = self._words() | self._settling() | self._converting() | self._leaving()

    def _words(self) -> set[str]:
        dut, ctrl, dac = self.dut, self.ctrl, self.dac
        names = {"armed"} if to_int(ctrl.armed_q) else set()
        if to_int(dut.round_valid_i) and to_int(dut.round_ready_o):
            address = to_int(dut.round_addr_i)
            if address < WEIGHT_ADDR:
                table = ("mult moves", "add moves")[address % 2]
                names.add(table if address >= TABLE_ADDR else f"word {address % 32} moves")
        names.add(f"{to_int(dac.fill_q) // self.cfg.in_lanes} beats in")
        return names | ({"a vector waits"} if to_int(dac.loaded_q) else set())

    def _settling(self) -> set[str]:
        ctrl, cfg = self.ctrl, self.cfg
        if not to_int(ctrl.busy_q):
            return set()
        settled = to_int(ctrl.wait_q) == cfg.wl_cycles + cfg.settle_cycles - 1
        ends = {"holding": to_int(ctrl.hold_o), "sharing": to_int(ctrl.share_o), "settled and waiting": 1}
        waiting = next(name for name, now in ends.items() if now)
        negative = {"negative rows"} if to_int(ctrl.s_q) else set()
        return {waiting if settled else f"settling {to_int(ctrl.wait_q)}"} | negative

    def _converting(self) -> set[str]:
        ctrl, trial = self.ctrl, to_int(self.sar.seq_q)
        names = {f"trial {trial.bit_length() - 1} of position {to_int(ctrl.phase_q)}"} if trial else set()
        if to_int(ctrl.sample_q):
            names.add("sampling" if to_int(ctrl.sample_o) else "sample waits")
        if to_int(ctrl.code_valid_o):
            names.add("codes move" if to_int(ctrl.code_ready_i) else "codes wait")
        return names

    def _leaving(self) -> set[str]:
        adder, dut = self.adder, self.dut
        names = {f"{to_int(adder.have_q)} partial sums in", f"{to_int(self.requant.left_q)} sums to leave"}
        names.add(f"{to_int(self.residual.have_q)} residuals in")
        if to_int(adder.psum_ready_o):
            names.add("partial sums due")
        if to_int(self.residual.ready_o):
            names.add("residuals due")
        if to_int(dut.out_valid_o):
            names.add("output moves" if to_int(dut.out_ready_i) else "output waits")
        return names


class Memories:
    """What no reset clears; `forget` makes all of it X, `leave` keeps what one chain reads of the array."""

    def __init__(self, dut: Any, cfg: Config, die: Die) -> None:
        """Pair every word of the array and of the comparators with what the die has there."""
        inside, analog = dut.u_cim_macro, dut.u_analog_sim
        front = analog.u_adc_frontend
        self.cfg = cfg
        self.cells = _loaded(analog.u_flash_array.cell_mem, files.cells_hex(cfg, die, 0))
        self.thresholds = _loaded(front.threshold_mem, files.thresholds_hex(die, 0))
        table = (inside.u_requantize.mult_mem, inside.u_requantize.add_mem, inside.u_residual.mult_mem)
        self.unreset = [word for memory in (inside.u_shift_add.acc_q, *table) for word in memory]
        self.unreset += [front.share_q, front.hold_q, front.sample_q]
        if cfg.column_correction:
            correction = inside.u_column_correct.g_correct
            self.unreset += [*correction.gain_mem, *correction.offset_mem]

    def forget(self) -> None:
        """Accumulators, column table and correction, held and sampled columns become X."""
        for word in self.unreset:
            spoil(word)

    def leave(self, chain: Chain) -> None:
        """X in cells at code 0 or of rows no round drives, in thresholds of trial 0 or of ADCs no column uses."""
        codes, trials = 1 << self.cfg.dac_bits, 1 << self.cfg.trials
        rows = {row for rnd in chain.rounds for row in range(rnd.row_base, rnd.row_base + rnd.driven_rows)}
        adcs = max(rnd.col_count for rnd in chain.rounds) + self.cfg.ref_cols  # the reference's is the first
        for n, (word, value) in enumerate(self.cells):
            word.value = value if n // codes in rows and n % codes else unknown(len(word))
        for n, (word, value) in enumerate(self.thresholds):
            word.value = value if n // trials < adcs and n % trials else unknown(len(word))


def registers(scope: Any) -> Iterator[Any]:
    """Every register below a module: what is named `..._q`, memories apart."""
    for child in scope:
        if isinstance(child, HierarchyObject | HierarchyArrayObject):
            yield from registers(child)
        elif child._name.endswith("_q") and not isinstance(child, ArrayObject):
            yield child


def uncleared(scope: Any) -> list[str]:
    """Registers below a module that are not 0, which is what every reset brings about; X is a failure."""
    return [register._name for register in registers(scope) if to_int(register)]


def _loaded(memory: Any, text: str) -> list[tuple[Any, int]]:
    return [(word, int(line, 16)) for word, line in zip(memory, text.splitlines(), strict=True)]


def spoil(word: Any) -> None:
    """X in every bit of a memory word or register."""
    word.value = unknown(len(word))


def junk(signal: Any, rng: np.random.Generator) -> None:
    """A value that must not count: X, which no data path hides, or bits, which an `if` may wrongly heed."""
    width = len(signal)
    bits = int.from_bytes(rng.bytes(-(-width // 8)), "little") >> -width % 8
    signal.value = unknown(width) if rng.random() < 0.5 else bits
