# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/prog_ctrl.v: the bench is array and ADC bank, `golden.prog_ctrl.program` is the model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from twinor.golden import sar_adc
from twinor.golden.flash_array import ERASE, THRESHOLD_MAX, moved

from tb.common import bench
from tb.common.checker import Checker
from tb.common.probes import junk, spoil, uncleared
from tb.common.programming import (
    COUNTERS,
    STATUS_FIELDS,
    Operation,
    beats,
    random_operation,
    setting_ports,
)
from tb.common.stream import StreamSink, StreamSource, never, pauses
from tb.common.values import has_unknown, needs_four_states, pack, to_int, unpack
from tb.common.word_lines import WordLines

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from twinor.config import Config
    from twinor.die import Die
    from twinor.golden.flash_array import Cells
    from twinor.golden.prog_ctrl import Programmed

EVENTS = ("prog_busy_o", "prog_erase_done_o", "prog_done_o", "prog_error_o", "own_o")
SEAM = (
    "wl_o",
    "wl_start_o",
    "w_slice_o",
    "line_sel_o",
    "mux_o",
    "hold_o",
    "sample_o",
    "step_shift_o",
    "step_three_o",
    "pulse_o",
)
START = ("op_i", "row_base_i", "row_count_i")


class Array(bench.Agent):
    """Cells, hold, converters: answers what the controller drives, and X where nothing was asked."""

    def __init__(self, dut: Any, cfg: Config, die: Die, rng: np.random.Generator) -> None:
        """Nothing is programmed yet."""
        self.dut, self.cfg, self.die, self.rng = dut, cfg, die, rng
        self.cells: Cells
        self.reset()

    def reset(self) -> None:
        """No conversion, no pulse."""
        self.held: NDArray[np.int64] | None = None
        self.code: NDArray[np.int16] | None = None
        self.left, self.pulsing, self.on, self.since = -1, 0, 0, 0
        self.word_lines = WordLines(self.cfg)

    def drive(self) -> None:
        """Codes in the cycle after the last trial; X and bits by turns in all others."""
        self.dut.adc_done_i.value = int(self.left == 1)
        if self.left == 0 and self.code is not None:
            self.dut.code_i.value = pack(self.code.tolist(), self.cfg.code_bits)
        else:
            junk(self.dut.code_i, self.rng)

    def row(self) -> int | None:
        """The word line that is on; None if all are off."""
        codes = unpack(to_int(self.dut.wl_o), self.cfg.wl_bits, self.cfg.rows)
        on = [row for row, code in enumerate(codes) if code]
        assert len(on) < 2 and all(codes[row] == (1 << self.cfg.wl_bits) - 1 for row in on), f"word lines {codes}"
        return on[0] if on else None

    def read_row(self, codes: list[int], row: int | None) -> int | None:
        """The word line of a read: on since its settling began, or a pulse of all slots in its first cycles."""
        settle = self.cfg.wl_cycles + self.cfg.settle_cycles
        if not self.cfg.pulsed:
            assert row is None or self.on >= settle, f"held after {self.on} of {settle} cycles at {bench.now()}"
            return row
        assert self.since == settle, f"held {self.since} cycles after the pulse began at {bench.now()}"
        driven = [n for n, code in enumerate(codes) if code]
        assert len(driven) < 2 and all(codes[n] == self.cfg.slots for n in driven), f"pulses {codes} at {bench.now()}"
        return driven[0] if driven else None

    def lines(self, columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bit lines of columns, as slice and line are selected."""
        cfg, sel = self.cfg, to_int(self.dut.line_sel_o)
        assert sel in (1, cfg.lines_per_cell), f"line_sel_o is {sel} at {bench.now()}"
        w_slice = to_int(self.dut.w_slice_o)
        assert w_slice < cfg.w_slices
        return (columns * cfg.w_slices + w_slice) * cfg.lines_per_cell + sel - 1

    def sample(self) -> None:
        """Hold, sample, trials, pulses."""
        dut, cfg = self.dut, self.cfg
        self.left = max(self.left - 1, -1)
        row, start = self.row(), to_int(dut.wl_start_o)
        codes = self.word_lines.sample(to_int(dut.wl_o), start)
        self.since = 1 if start else self.since + 1
        assert not (cfg.pulsed and row is not None and not to_int(dut.pulse_o)) or self.since <= cfg.slots, "late pulse"
        self.on = self.on + 1 if row is not None and not to_int(dut.pulse_o) else 0
        if to_int(dut.hold_o):
            self.held = self._quantities(self.read_row(codes, row))
        if to_int(dut.sample_o):
            assert self.held is not None and self.left < 0, "a sample without a hold, or during a conversion"
            mux = to_int(dut.mux_o)
            q = self.held[mux * cfg.n_adcs : (mux + 1) * cfg.n_adcs]
            step = (3 if to_int(dut.step_three_o) else 1) << to_int(dut.step_shift_o)
            self.code, _ = sar_adc.convert(cfg, q, self.die.threshold[0], step=step, fine=True)
            self.left, self.held = cfg.trials, None
        pulse = to_int(dut.pulse_o)
        if pulse and not self.pulsing:
            self._pulse(row)
        self.pulsing = pulse

    def _quantities(self, row: int | None) -> NDArray[np.int64]:
        columns = np.arange(self.cfg.cols)
        if row is None:
            return np.zeros(self.cfg.cols, dtype=np.int64)
        return self.cells.strength[row, self.lines(columns)].astype(np.int64) * int(self.die.drive[0, row, -1])

    def _pulse(self, row: int | None) -> None:
        dut, cfg = self.dut, self.cfg
        kind, level = to_int(dut.pulse_kind_o), to_int(dut.pulse_level_o)
        tables, threshold = self.cells.tables, self.cells.threshold.copy()
        if kind == ERASE:
            assert row is None, "a word line is on during an erase pulse"
            threshold = moved(tables, threshold, self.cells.speed, kind=kind, level=level)
        else:
            assert row is not None, "no word line is on during a pulse"
            mask = unpack(to_int(dut.pulse_mask_o), 1, cfg.n_adcs)
            lanes = np.flatnonzero(mask)
            assert len(lanes), "a pulse that reaches no lane"
            lines = self.lines(to_int(dut.mux_o) * cfg.n_adcs + lanes)
            threshold[row] = np.minimum(threshold[row] + tables.disturb, THRESHOLD_MAX)
            before, speed = self.cells.threshold[row, lines], self.cells.speed[row, lines]
            threshold[row, lines] = moved(tables, before, speed, kind=kind, level=level)
        self.cells = replace(self.cells, threshold=threshold)


class Watch(bench.Agent):
    """Every event and seam is known in every cycle; counts busy cycles and pulses of events."""

    def __init__(self, dut: Any) -> None:
        """Nothing seen."""
        self.dut = dut
        self.reset()

    def reset(self) -> None:
        """Start counting."""
        self.seen = dict.fromkeys(EVENTS, 0)

    def sample(self) -> None:
        """One cycle."""
        for name in EVENTS:
            self.seen[name] += to_int(getattr(self.dut, name))
        for name in SEAM:
            to_int(getattr(self.dut, name))


class Controller(bench.Bench):
    """Array, streams and checker around the controller."""

    def __init__(self, dut: Any, rng: np.random.Generator, *, traffic: bool) -> None:
        """Wire everything."""
        self.cfg, self.die, self.rng = bench.config(), bench.die(), rng
        self.array, self.watch = Array(dut, self.cfg, self.die, rng), Watch(dut)
        idle = pauses(rng, 0.3) if traffic else never()
        busy = pauses(rng, 0.3) if traffic else never()
        width = self.cfg.n_adcs * self.cfg.cell_bits
        self.source = StreamSource(dut, "prog_target", {"data_i": width}, idle=idle)
        self.status: Checker[dict[str, int]] = Checker("statuses")
        took = lambda beat: self.status.got(beat, time=bench.now())  # noqa: E731
        self.sink = StreamSink(dut, "prog_status", STATUS_FIELDS, took, backpressure=busy)
        super().__init__(dut, self.array, self.source, self.sink, self.watch)

    def ports(self, ports: dict[str, int] | None, names: tuple[str, ...] = ()) -> None:
        """Set ports by name, or spoil them."""
        for name in ports or names:
            pin = getattr(self.dut, f"prog_{name}")
            if ports is None:
                junk(pin, self.rng)
            else:
                pin.value = ports[name]

    async def begin(self) -> None:
        """Reset; nothing is asked."""
        await self.reset(prog_start_i=0, free_i=1)
        self.ports(None, START)
        self.status = Checker("statuses")
        self.sink._took = lambda beat: self.status.got(beat, time=bench.now())

    async def start(self, op: Operation) -> None:
        """One cycle of start, and settings that count until the end."""
        self.array.cells = op.cells
        self.ports(setting_ports(self.cfg, op.settings))
        self.ports(op.start())
        self.dut.prog_start_i.value = 1
        await self.cycle()
        self.dut.prog_start_i.value = 0
        self.ports(None, START)

    async def offer(self, op: Operation) -> Programmed:
        """Start an operation with its targets on offer and golden's statuses expected; returns golden's result."""
        golden = op.golden(self.cfg, self.die)
        self.watch.reset()
        if op.write:
            self.source.send(op.targets(self.cfg) * len(golden.passes))
        self.status.expect(*beats(self.cfg, golden, op.settings.retries))
        await self.start(op)
        return golden

    async def operate(self, op: Operation, *, exact: bool) -> None:
        """One operation from start to done, compared with golden; `exact` compares the cycles too."""
        golden = await self.offer(op)
        await self.run(lambda: bool(self.watch.seen["prog_done_o"]), limit=20 * golden.cycles + 100)
        seen = self.watch.seen
        assert not self.read("prog_busy_o") and self.source.empty and not self.status.outstanding
        assert seen["prog_done_o"] == 1 and seen["prog_error_o"] == 0 and seen["own_o"] == seen["prog_busy_o"] + 1
        erases = (len(golden.passes) or 1) if op.erase else len(golden.passes) - 1
        assert seen["prog_erase_done_o"] == erases, f"{seen['prog_erase_done_o']} erases done, expected {erases}"
        for name in COUNTERS:
            got, expected = self.read(f"prog_{name}_o"), getattr(golden, name)
            assert got == expected, f"{name}: expected {expected}, got {got}, at {bench.now()}"
        assert np.array_equal(self.array.cells.threshold, golden.cells.threshold), "thresholds differ"
        if exact:
            assert seen["prog_busy_o"] == golden.cycles, f"{seen['prog_busy_o']} cycles, expected {golden.cycles}"


def small(cfg: Config, op: Operation) -> Operation:
    """The same on one row and with few pulses where a bench would run for long."""
    if cfg.bit_lines <= 20:
        return op
    names = ("erase", "coarse", "fine")
    ramps = {name: replace(ramp, pulses=min(ramp.pulses, 3)) for name in names for ramp in [getattr(op.settings, name)]}
    return replace(op, rows=op.rows[:1], settings=replace(op.settings, retries=min(op.settings.retries, 1), **ramps))


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated block is what the configuration says."""
    bench.parameters_equal_configuration(dut, "prog_ctrl")


@cocotb.test
async def statuses_pulses_and_cycles_match_golden_at_full_rate(dut: Any) -> None:
    """Random operations on wild cells: statuses, codes, pulse counts, thresholds and cycles as golden."""
    rng = bench.generator("full rate")
    controller = Controller(dut, rng, traffic=False)
    await controller.begin()
    for _ in range(14 if controller.cfg.rows < 100 else 3):
        await controller.operate(small(controller.cfg, random_operation(controller.cfg, rng)), exact=True)
    controller.status.finish()


@cocotb.test
async def statuses_and_pulses_match_golden_under_random_traffic(dut: Any) -> None:
    """The same with pauses in both streams: beats wait unchanged, nothing is lost."""
    rng = bench.generator("traffic")
    controller = Controller(dut, rng, traffic=True)
    await controller.begin()
    for _ in range(5 if controller.cfg.rows < 100 else 2):
        await controller.operate(small(controller.cfg, random_operation(controller.cfg, rng)), exact=False)
    controller.status.finish()


@cocotb.test
async def every_row_and_group_is_reached(dut: Any) -> None:
    """One operation over all rows (the last one of a large macro), erase included."""
    rng = bench.generator("all rows")
    controller = Controller(dut, rng, traffic=False)
    cfg = controller.cfg
    await controller.begin()
    op = random_operation(cfg, rng, erase=True, write=True)
    ramps = {name: replace(getattr(op.settings, name), pulses=3, cycles=1) for name in ("erase", "coarse", "fine")}
    op = replace(op, settings=replace(op.settings, retries=0, **ramps))
    last = range(cfg.rows - (1 if cfg.rows >= 100 else cfg.rows), cfg.rows)
    await controller.operate(replace(op, rows=last), exact=True)


@cocotb.test
async def a_start_that_cannot_be_granted_is_refused(dut: Any) -> None:
    """A chain under way, no operation, rows that do not exist, a start during an operation: error, nothing else."""
    rng = bench.generator("refused")
    controller = Controller(dut, rng, traffic=False)
    cfg, watch = controller.cfg, controller.watch
    await controller.begin()
    op = small(cfg, random_operation(cfg, rng, erase=True, write=True))
    wrong = [{"op_i": 0}, {"row_count_i": 0}, {"row_base_i": cfg.rows, "row_count_i": 1}]
    wrong += [{"row_base_i": 1, "row_count_i": cfg.rows}, {"row_base_i": 65535, "row_count_i": 2}, {}]
    for change in wrong:
        watch.reset()
        dut.free_i.value = int(bool(change))
        controller.ports(op.start() | change)
        dut.prog_start_i.value = 1
        await controller.cycle()
        dut.prog_start_i.value = 0
        for _ in range(3):
            await controller.cycle()
        assert watch.seen == dict.fromkeys(EVENTS, 0) | {"prog_error_o": 1}, f"{change}: {watch.seen}"
    dut.free_i.value = 1
    golden = op.golden(cfg, controller.die)
    controller.source.send(op.targets(cfg) * len(golden.passes))
    controller.status.expect(*beats(cfg, golden, op.settings.retries))
    watch.reset()
    await controller.start(op)
    errors = 0
    while not watch.seen["prog_done_o"]:
        now = bool(watch.seen["prog_busy_o"] < golden.cycles - 1 and rng.random() < 0.2)
        controller.ports(op.start())
        dut.prog_start_i.value, errors = int(now), errors + now
        dut.free_i.value = int(rng.integers(2))
        await controller.cycle()
    assert watch.seen["prog_error_o"] == errors and watch.seen["prog_busy_o"] == golden.cycles
    controller.status.finish()


@cocotb.test
async def reset_ends_an_operation_at_once(dut: Any) -> None:
    """A reset in mid-operation: every register 0 without a clock edge; the next operation is right."""
    rng = bench.generator("reset")
    controller = Controller(dut, rng, traffic=False)
    await controller.begin()
    for _ in range(6 if controller.cfg.rows < 100 else 2):
        op = small(controller.cfg, random_operation(controller.cfg, rng, erase=True, write=True))
        cycles = int(rng.integers(2, op.golden(controller.cfg, controller.die).cycles))
        controller.source.send(op.targets(controller.cfg) * 3)
        await controller.start(op)
        controller.sink._took = lambda _: None
        for _ in range(cycles):
            await controller.cycle()
        dut.rst_ni.value = 0
        await bench.settle()
        assert not uncleared(dut), f"registers {uncleared(dut)} are not 0 under reset"
        assert not any(to_int(getattr(dut, name)) for name in EVENTS if name != "own_o")
        await controller.begin()
        op = replace(op, rows=op.rows[:1], write=False)
        await controller.operate(op, exact=True)


@cocotb.test
@needs_four_states
async def an_unknown_read_never_ends_as_a_good_cell(dut: Any) -> None:
    """X from all converters in one read, of the trim, the erase or a group: it shows in state, status or counters."""
    rng = bench.generator("unknown")
    controller = Controller(dut, rng, traffic=False)
    cfg = controller.cfg
    for read in (1, 2, 3, 5, 8):
        op = small(cfg, random_operation(cfg, rng, erase=True, write=True))
        await controller.begin()
        controller.agents = (controller.array, controller.source)
        controller.array.cells = op.cells
        controller.source.send(op.targets(cfg) * 3)
        dut.prog_status_ready_i.value = 1
        await controller.start(op)
        controller.agents = ()
        assert await poisoned(controller, read), f"X in read {read} was lost"


async def poisoned(controller: Controller, read: int) -> bool:
    """Run without golden until X shows; false if an operation ends cleanly after X came in."""
    dut, array = controller.dut, controller.array
    reads = 0
    for _ in range(20_000):
        if has_unknown(dut.state_q) or has_unknown(dut.prog_done_o):
            return True
        beat = (dut.prog_status_data_o, dut.prog_status_code_o, dut.prog_status_again_o)
        if to_int(dut.prog_status_valid_o) and any(has_unknown(pin) for pin in beat):
            return True
        if to_int(dut.prog_done_o):
            return any(has_unknown(getattr(dut, f"prog_{name}_o")) for name in COUNTERS)
        array.drive()
        controller.source.drive()
        reads += not array.left
        if not array.left and reads == read:
            spoil(dut.code_i)
        await bench.ReadOnly()
        if not has_unknown(dut.wl_o):
            array.sample()
        controller.source.sample()
        await bench.FallingEdge(dut.clk_i)
    return False
