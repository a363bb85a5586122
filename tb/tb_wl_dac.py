# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/wl_dac.v: `golden.wl_dac` is the model of the word lines and of their sum."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from cocotb.types import LogicArray
from twinor.golden import wl_dac
from twinor.rounds import Pass, Round, passes

from tb.common import bench
from tb.common.beats import activation_beats
from tb.common.checker import Checker
from tb.common.probes import junk, uncleared
from tb.common.stream import StreamSource, never, pauses
from tb.common.values import has_unknown, needs_four_states, to_int, unknown, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from twinor.config import Config

EXHAUST_ROWS = 16
"""Up to this many word lines every region is driven, and every word of the first group's activations."""

INPUTS = (
    "load_en_i",
    "load_base_i",
    "load_count_i",
    "load_signed_i",
    "load_bias_i",
    "bias_code_i",
    "swap_i",
    "drive_i",
    "wl_on_i",
    "slice_i",
    "phase_i",
    "row_first_i",
)
Lines = tuple[tuple[int, ...], int]
"""Word-line codes and their sum."""


class Monitor(bench.Agent):
    """Compares the word lines in every cycle: levels change with a drive alone, pulses end after as many cycles."""

    def __init__(self, dut: Any, cfg: Config) -> None:
        """Watch from the first drive on."""
        self.dut, self.cfg = dut, cfg
        self.check: Checker[Lines] = Checker("word lines")
        self.reset()

    def reset(self) -> None:
        """A reset turns all word lines off."""
        self.now: Lines = ((0,) * self.cfg.rows, 0)
        self.slot = self.cfg.slots

    def driven(self, now: Lines) -> None:
        """The codes of a drive, whose first cycle comes."""
        self.now, self.slot = now, 0

    def sample(self) -> None:
        """See one cycle."""
        cfg, (codes, total) = self.cfg, self.now
        lines = tuple(int(self.slot < code) for code in codes) if cfg.pulsed else codes
        start = to_int(self.dut.wl_start_o)
        assert start == int(cfg.pulsed and self.slot == 0), f"wl_start_o is {start} in slot {self.slot}, {bench.now()}"
        self.check.expect((lines, total))
        got = tuple(unpack(to_int(self.dut.wl_o), cfg.wl_bits, cfg.rows))
        self.check.got((got, to_int(self.dut.wl_sum_o)), time=bench.now())
        self.slot += 1


class WlDac(bench.Bench):
    """Stream source, monitor and the sequencer's part."""

    def __init__(self, dut: Any, rng: np.random.Generator, *, idle: float) -> None:
        """Wire everything; `idle` is the share of cycles in which the source offers nothing."""
        self.cfg = cfg = bench.config()
        self.rng = rng
        self.source = StreamSource(dut, "in", {"data_i": cfg.in_lanes * cfg.input_bits}, idle=pauses(rng, idle))
        self.monitor = Monitor(dut, cfg)
        super().__init__(dut, self.source, self.monitor)

    async def start(self) -> None:
        """Reset with every control at rest."""
        await self.reset(row_num_i=1, in_data_i=0, **dict.fromkeys(INPUTS, 0))

    def offer(self, rnd: Round, x: NDArray[np.integer]) -> None:
        """Queue the beats of one vector; lanes beyond its rows are X."""
        assert x.size == rnd.row_count
        self.source.send(activation_beats(self.cfg, x.tolist()))

    async def load(self, rnd: Round) -> None:
        """Load the vector that was offered; the enable may drop between beats, the last of which may be bias alone."""
        self.set(loading(rnd))
        lanes, filled, start = self.cfg.in_lanes, 0, self.source.sent
        while not self.read("loaded_o"):
            assert self.read("loading_o") == int(filled > 0), f"loading_o after {filled} rows, at {bench.now()}"
            enable, streamed = int(self.rng.random() < 0.8), filled < rnd.row_count
            self.dut.load_en_i.value = enable
            sent, ready = self.source.sent, await self.cycle("in_ready_o")
            expected = enable if streamed else 0
            assert ready == expected, f"in_ready_o is {ready} with load_en_i at {enable} and room, at {bench.now()}"
            filled += lanes * ((self.source.sent - sent) if streamed else enable)
            assert self.read("loaded_o") == int(filled >= rnd.driven_rows), f"loaded_o after {filled} rows"
        beats = -(-rnd.row_count // lanes)
        assert self.source.sent - start == beats, f"loaded_o after {self.source.sent - start} of {beats} beats"
        assert not self.read("in_ready_o"), "a full shadow latch takes no beat"
        assert not self.read("loading_o"), "a full shadow latch is not loading"

    async def drive(self, rnd: Round, x: NDArray[np.integer], order: list[Pass], *, first: bool) -> None:
        """Drive passes of a vector; the first one may come with the swap."""
        for n, p in enumerate(order):
            row_first = rnd.row_base + p.group * self.cfg.active_rows
            row_num = min(self.cfg.active_rows, rnd.row_base + rnd.driven_rows - row_first)
            on = int(self.rng.random() < 0.9)
            pins = {"drive_i": 1, "swap_i": int(first and n == 0), "slice_i": p.x_slice, "wl_on_i": on}
            self.set(pins | {"phase_i": p.phase, "row_first_i": row_first, "row_num_i": row_num})
            lines = wl_dac.word_lines(self.cfg, rnd, x[None], p) * on
            taking = await self.cycle("in_ready_o")
            if first and n == 0:
                assert not taking, f"a beat is taken in the swap cycle at {bench.now()}"
                assert self.read("in_ready_o") == to_int(self.dut.load_en_i), f"no room after the swap at {bench.now()}"
            total = int(wl_dac.word_line_sum(lines)[0]) if self.cfg.weight_encoding == "offset" else 0
            self.monitor.driven((tuple(lines[0].tolist()), total))
            for _ in range(
                int(self.rng.integers(0, 3 + (2 * self.cfg.slots if self.cfg.pulsed else 0)))
            ):  # controls without drive_i move nothing
                self.rest()
                await self.cycle()
        self.rest()

    def rest(self) -> None:
        """Drive nothing: what comes with drive_i is X or random."""
        self.set({"drive_i": 0, "swap_i": 0})
        for name in ("slice_i", "phase_i", "wl_on_i", "row_first_i", "row_num_i"):
            junk(getattr(self.dut, name), self.rng)

    def set(self, pins: dict[str, int]) -> None:
        """Set inputs by name."""
        for name, value in pins.items():
            getattr(self.dut, name).value = value

    async def run_all(self, vectors: Iterator[tuple[Round, NDArray[np.integer]]]) -> None:
        """Vector after vector: while one is driven pass by pass, the shadow latches load the next one."""
        await self.start()
        for rnd, x in vectors:
            self.offer(rnd, x)
            await self.load(rnd)
            order = [p for p in passes(self.cfg, rnd) if p.w_slice == 0]
            begin = int(self.rng.integers(len(order)))  # any pass may come with the swap
            again = [order[k] for k in self.rng.integers(0, len(order), 2)]  # any pass, any time
            await self.drive(rnd, x, order[begin:] + order[:begin] + again, first=True)
        await self.cycle()
        assert self.source.empty
        self.monitor.check.finish()
        cocotb.log.info("%d cycles compared", self.monitor.check.compared)


def loading(rnd: Round) -> dict[str, int]:
    """Pins that say what a vector of a round is."""
    pins = {"load_base_i": rnd.row_base, "load_count_i": rnd.row_count, "load_signed_i": int(rnd.signed)}
    return pins | {"load_bias_i": rnd.bias_rows, "bias_code_i": rnd.bias_code}


def plan(cfg: Config, base: int, count: int, *, signed: bool = False, bias: tuple[int, int] = (0, 0)) -> Round:
    """A round of a region, with every input slice; bias rows and their code follow the activations."""
    steps = ((1,) * cfg.w_slices,) * cfg.x_slices
    rnd = Round(row_base=base, row_count=count, col_base=0, col_count=1, steps=steps)
    return replace(rnd, signed=signed, bias_rows=bias[0], bias_code=bias[1])


def random_plan(cfg: Config, rng: np.random.Generator, base: int, count: int) -> tuple[Round, NDArray[np.integer]]:
    """A round of a region, signed or not, with or without bias rows in the region's end, and activations for it."""
    top, signed = 1 << cfg.input_bits, bool(rng.integers(2))
    rows = int(rng.integers(0, count)) if rng.random() < 0.6 else 0
    rnd = plan(cfg, base, count - rows, signed=signed, bias=(rows, int(rng.integers(top))))
    return rnd, rng.integers(0, top, rnd.row_count) - (top >> 1 if signed else 0)


def regions(cfg: Config, rng: np.random.Generator) -> Iterator[tuple[Round, NDArray[np.integer]]]:
    """Every region of a small macro and every value on every row of it; a sample of regions elsewhere."""
    top = 1 << cfg.input_bits
    spans = [(b, n) for b in range(0, cfg.rows, cfg.in_lanes) for n in range(1, cfg.rows - b + 1)]
    if cfg.rows > EXHAUST_ROWS:
        spans = [
            (0, cfg.rows),
            (cfg.rows - cfg.in_lanes, 1),
            *(spans[k] for k in rng.integers(0, len(spans), 10)),
        ]
    for (base, count), turn in product(spans, range(min(top, 4))):
        x = (np.arange(count) + turn * (top // min(top, 4)) + base) % top
        signed = bool(turn % 2)
        yield plan(cfg, base, count, signed=signed), np.where(x >= top >> 1, x - top, x) if signed else x
    if cfg.rows <= EXHAUST_ROWS:
        rows = min(4, cfg.active_rows)
        for word in range(1 << cfg.input_bits * rows) if cfg.input_bits * rows <= 8 else ():
            yield plan(cfg, cfg.in_lanes, rows), np.array(unpack(word, cfg.input_bits, rows))


@cocotb.test
async def signed_activations_and_bias_rows_match_golden(dut: Any) -> None:
    """Every region of a small macro: two phases of signed activations, bias rows in beats of their own and shared."""
    rng = bench.generator("signs")
    dac = WlDac(dut, rng, idle=0.2)
    cfg = dac.cfg
    spans = [(b, n) for b in range(0, cfg.rows, cfg.in_lanes) for n in range(1, cfg.rows - b + 1)]
    picked = rng.permutation(len(spans))[: 60 if cfg.rows <= EXHAUST_ROWS else 8]
    await dac.run_all(random_plan(cfg, rng, *spans[k]) for k in picked)


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated block is what the configuration says."""
    bench.parameters_equal_configuration(dut, "wl_dac")


@cocotb.test
async def word_lines_match_golden_in_every_region(dut: Any) -> None:
    """Every region and value at `tiny`: codes of every pass and their sum; X in idle lanes."""
    rng = bench.generator("regions")
    dac = WlDac(dut, rng, idle=0.0)
    await dac.run_all(regions(dac.cfg, rng))


@cocotb.test
async def word_lines_match_golden_with_an_idle_source(dut: Any) -> None:
    """Random regions and activations; beats come with gaps, the enable drops between them."""
    rng = bench.generator("idle")
    dac = WlDac(dut, rng, idle=0.6)
    cfg = dac.cfg

    def vectors() -> Iterator[tuple[Round, NDArray[np.integer]]]:
        for _ in range(20 if cfg.rows <= EXHAUST_ROWS else 6):
            base = int(rng.integers(0, cfg.rows // cfg.in_lanes)) * cfg.in_lanes
            yield random_plan(cfg, rng, base, int(rng.integers(1, cfg.rows - base + 1)))

    await dac.run_all(vectors())


@cocotb.test
async def the_next_vector_loads_while_one_is_driven(dut: Any) -> None:
    """Beats of the next vector go into the shadow latches alone, none in the cycle of the swap."""
    rng = bench.generator("shadow")
    dac = WlDac(dut, rng, idle=0.3)
    cfg = dac.cfg
    await dac.start()
    half = 1 << (cfg.input_bits - 1)
    rnd = plan(cfg, 0, cfg.rows, signed=True)
    order = [p for p in passes(cfg, rnd) if p.w_slice == 0]
    x = rng.integers(-half, half, (4, cfg.rows))
    dac.set(loading(rnd) | {"load_en_i": 1})
    dac.offer(rnd, x[0])
    await dac.run(lambda: bool(dac.read("loaded_o")), limit=20 * cfg.rows)
    for turn, (now, after) in enumerate(zip(x, [*x[1:], None], strict=True)):
        if after is not None:
            dac.offer(rnd, after)
            dac.source.idle = pauses(rng, 0.3) if turn % 2 else never()  # a beat is on offer in the swap cycle
        await dac.drive(rnd, now, order[:1], first=True)
        while after is not None and not dac.read("loaded_o"):
            await dac.drive(rnd, now, [order[int(rng.integers(len(order)))]], first=False)
        await dac.drive(rnd, now, order, first=False)
    await dac.cycle()
    dac.monitor.check.finish()


@cocotb.test
async def ready_does_not_depend_on_valid(dut: Any) -> None:
    """in_valid_i toggles within the cycle, before, in and after a vector: in_ready_o stays as it is."""
    dac = WlDac(dut, bench.generator("ready"), idle=0.5)
    await dac.start()
    dac.set({"load_count_i": dac.cfg.rows})
    dac.offer(plan(dac.cfg, 0, dac.cfg.rows), np.zeros(dac.cfg.rows, dtype=np.int64))
    for enable in (0, 1, *[int(dac.rng.integers(2)) for _ in range(6 * dac.cfg.rows // dac.cfg.in_lanes)], 1):
        dac.set({"load_en_i": enable})
        await bench.settle()
        await dac.independent("in_ready_o", "in_valid_i")
        await dac.cycle()


@cocotb.test
@needs_four_states
async def an_unknown_activation_makes_its_own_word_line_unknown(dut: Any) -> None:
    """X in one activation: its word line holds X when it is driven, no other does, and a sum over it is no number."""
    dac = WlDac(dut, bench.generator("unknown"), idle=0.0)
    cfg, dac.agents = dac.cfg, (dac.source,)
    for row in {0, 1, cfg.active_rows - 1, cfg.rows - 1}:
        await dac.start()
        beats = [LogicArray("0" * cfg.in_lanes * cfg.input_bits) for _ in range(cfg.rows // cfg.in_lanes)]
        low = row % cfg.in_lanes * cfg.input_bits
        beats[row // cfg.in_lanes][low + cfg.input_bits - 1 : low] = unknown(cfg.input_bits)
        dac.source.send({"data_i": beat} for beat in beats)
        await dac.load(plan(cfg, 0, cfg.rows))
        first = row // cfg.active_rows * cfg.active_rows
        pins = {"drive_i": 1, "swap_i": 1, "wl_on_i": 1, "row_first_i": first}
        dac.set(pins | {"row_num_i": min(cfg.active_rows, cfg.rows - first)})
        await dac.cycle()
        text = str(dut.wl_o.value).upper()
        lines = [text[len(text) - (r + 1) * cfg.wl_bits :][: cfg.wl_bits] for r in range(cfg.rows)]
        assert [r for r, line in enumerate(lines) if "X" in line] == [row], f"X in row {row}: word lines {lines}"
        assert has_unknown(dut.wl_sum_o) == (cfg.weight_encoding == "offset"), f"wl_sum_o = {dut.wl_sum_o.value}"


@cocotb.test
async def reset_turns_word_lines_off_and_drops_a_vector_half_loaded(dut: Any) -> None:
    """A reset in the middle of loading and driving: all lines off, then a whole run matches."""
    rng = bench.generator("reset")
    dac = WlDac(dut, rng, idle=0.0)
    rnd, x = plan(dac.cfg, 0, dac.cfg.rows, signed=True), np.arange(dac.cfg.rows) % 2 - 1
    await dac.run_all(iter([(rnd, x)]))
    dac.offer(rnd, x)
    dac.set(loading(rnd) | {"load_en_i": 1})
    await dac.cycle()
    assert dac.read("loading_o"), "a vector is half in"
    dut.rst_ni.value = 0
    await bench.settle()
    assert not any(dac.read(name) for name in ("wl_o", "wl_start_o", "loading_o", "loaded_o"))
    assert not uncleared(dut), f"registers {uncleared(dut)} are not 0 under reset"
    await dac.run_all(regions(dac.cfg, rng))
