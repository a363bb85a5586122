# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/macro_ctrl.v: the model of order is `rounds.passes`, of cycles `golden.macro_ctrl.schedule`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cocotb
from twinor.golden import macro_ctrl
from twinor.rounds import ROUND_STRIDE, TABLE_ADDR, End, Start, pack, passes

from tb.common import bench
from tb.common.probes import uncleared
from tb.common.sequence import Expected, Fields
from tb.common.stimulus import at_the_top, random_chain
from tb.common.stream import StreamSource, never, pauses
from tb.common.values import to_int

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from twinor.config import Config
    from twinor.rounds import Chain, Round

INPUTS = ("word_valid_i", "word_addr_i", "word_data_i", "loading_i", "loaded_i", "wl_sum_i", "adc_done_i")


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
        self.hold_cycles: list[int] = []
        self.code_cycles: list[int] = []
        self.supply: list[Round] = []  # rounds whose activations are not all in
        self.loaded: list[Round] = []  # the round that is in the shadow latches
        self.beats = 0
        self.running: list[tuple[Round, int]] = []  # round and pass of every pass to come of a round that began
        self.driven, self.wl_sum = 0, 0
        self.to_sample, self.trial, self.step = 0, 0, 0
        self.owed = 0  # codes that were not taken, of rounds that began
        self.psum_lanes: list[int] = []  # lanes of the phases that still need partial sums
        self.have, self.lanes_left = 0, 0
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
        needs = self.read("first_o") and self.read("psum_o")
        empty = not self.read("final_o") or self.lanes_left <= 1
        return empty and (not needs or self.have == self.read("psum_lanes_o"))

    def sample(self) -> None:
        """See one cycle; every state below changes with its rising edge."""
        self.cycle += 1
        assert self.read("word_ready_o") == int(self.takes_words), f"word_ready_o at {bench.now()}"
        self._see_load()
        self._see_partial_sums()
        swap, hold, done = self.read("swap_o"), self.read("hold_o"), self.trial == 1
        self._see_codes(done=done)
        self._see_conversion(hold=bool(hold), done=done)
        self._see_word_lines(swap=bool(swap), hold=bool(hold))

    def _see_load(self) -> None:
        if not self.supply or self.loaded or not self.read("load_en_o") or next(self.idle):
            return
        load = (self.read("load_base_o"), self.read("load_count_o"))
        if self.first_beat < 0:
            self.first_beat = self.cycle
        self.beats += 1
        if self.beats * self.cfg.in_lanes >= load[1]:
            self.expected.checks["loads"].got(load, time=bench.now())
            self.loaded, self.beats = [self.supply.pop(0)], 0

    def _see_word_lines(self, *, swap: bool, hold: bool) -> None:
        drive, on = self.read("drive_o"), self.read("wl_on_o")
        assert drive == int(swap or hold), f"drive_o at {bench.now()}"
        if swap:
            assert self.loaded, f"swap at {bench.now()} without a loaded vector"
            assert not self.running, f"swap at {bench.now()} in the middle of a round"
            rnd = self.loaded.pop()
            self.swaps += 1
            self.running = [(rnd, n) for n in range(len(passes(self.cfg, rnd)))]
            self.owed += len(self.running) * macro_ctrl.phases(self.cfg, rnd)
        if not drive:
            return
        assert on == int(bool(self.running)), f"wl_on_o at {bench.now()}: word lines stay on or go off wrongly"
        if on:
            seen = {name: self.read(f"{name}_o") for name in ("swap", "slice", "row_first", "row_num")}
            self.expected.checks["drives"].got(seen, time=bench.now())
        most = self.cfg.active_rows * ((1 << self.cfg.dac_bits) - 1)
        self.wl_sum = int(self.rng.integers(0, most + 1)) if on else 0
        self.driven = self.cycle

    def _see_conversion(self, *, hold: bool, done: bool) -> None:
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
        if hold:
            assert self.running, f"hold at {bench.now()} without a pass"
            settled = self.cycle - self.driven
            enough = self.cfg.wl_cycles + self.cfg.settle_cycles
            assert settled >= enough, f"hold at {bench.now()} after {settled} cycles, {enough} are needed"
            assert not self.to_sample and not self.trial, f"hold at {bench.now()} while columns convert"
            self.expected.checks["holds"].got(self.read("w_slice_o"), time=bench.now())
            self._held(*self.running.pop(0))

    def _held(self, rnd: Round, n: int) -> None:
        phases = self.to_sample = macro_ctrl.phases(self.cfg, rnd)
        self.hold_cycles.append(self.cycle - self.first_beat)
        self.expected.checks["word-line sums of codes"].expect(*[self.wl_sum] * phases)
        if n == 0 and rnd.start is Start.PSUM:
            width = self.cfg.n_adcs
            self.psum_lanes += [min(width, rnd.col_count - m * width) for m in range(phases)]

    def _see_codes(self, *, done: bool) -> None:
        self.lanes_left = max(self.lanes_left - 1, 0)
        if not self.read("code_valid_o"):
            assert self.waiting is None, f"codes withdrawn at {bench.now()}"
            self.waiting = {} if done else None
            return
        code = self._code()
        assert self.waiting in ({}, code), f"codes {self.waiting} became {code} at {bench.now()}"
        taken = to_int(self.dut.code_ready_i)
        assert taken or not done, f"the last trial at {bench.now()} overwrites codes that wait"
        self.waiting = ({} if done else None) if taken else code
        if taken:
            self.expected.checks["word-line sums of codes"].got(self.read("wl_sum_o"), time=bench.now())
            self.expected.checks["codes"].got(code, time=bench.now())
            self.code_cycles.append(self.cycle - self.first_beat)
            self.owed -= 1
            if code["psum"]:
                self.psum_lanes.pop(0)
                self.have = 0
            if code["final"]:
                self.lanes_left = code["lanes"]

    def _code(self) -> Fields:
        names = ("phase", "first", "final", "slice_shift", "x_shift", "negate", "offset")
        code = {name: self.read(f"{name}_o") for name in names}
        code["step"] = self.read("code_step_shift_o") << 1 | self.read("code_step_three_o")
        code |= {name: code["first"] & self.read(f"{name}_o") for name in ("keep", "psum")}
        leaving = ("col", "lanes", "last", "raw", "shift", "lo", "hi") if code["final"] else ()
        return code | {name: self.read(f"{name}_o") for name in leaving}

    def _see_partial_sums(self) -> None:
        """Partial sums are wanted from the hold to the codes of every phase that needs them, in its lanes."""
        want = self.read("psum_want_o")
        assert want == int(bool(self.psum_lanes)), f"psum_want_o at {bench.now()}"
        if want:
            lanes = self.read("psum_lanes_o")
            assert lanes == self.psum_lanes[0], f"psum_lanes_o = {lanes} at {bench.now()}"
            self.have = min(self.have + 1, lanes)


class MacroCtrl(bench.Bench):
    """The sequencer, its round words and its surroundings."""

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        """Wire everything."""
        self.cfg, self.rng = bench.config(), rng
        self.around = Surroundings(dut, self.cfg, rng)
        self.words = StreamSource(dut, "word", {"addr_i": 16, "data_i": 32})
        self.threes = False  # words say start 3 for 0 and end 3 for 2
        super().__init__(dut, self.around, self.words)

    async def start(self) -> None:
        """Reset with every input at rest."""
        await self.reset(code_ready_i=0, **dict.fromkeys(INPUTS, 0))

    async def write(self, chain: Chain) -> None:
        """Write all words of a chain and of the column table; the last one arms, any other disarms."""
        self.around.first_beat = -1
        self.around.rounds, self.around.swaps = len(chain.rounds), 0
        words = self.words_of(chain)
        for word in words[:-1]:
            await self.write_word(word, arms=False)
            if self.rng.random() < 0.2:
                await self.write_nowhere(armed=False)
        await self.write_not_last()
        await self.write_word(words[-1], arms=True)
        await self.write_nowhere(armed=True)
        for disarming in (words[0], words[-2]):
            await self.write_word(disarming, arms=False)
            await self.write_word(words[-1], arms=True)

    def words_of(self, chain: Chain) -> list[dict[str, int]]:
        """The words of the column table and of the rounds, in the order in which a host sends them."""
        words = [{"addr_i": address, "data_i": data} for address, data in pack(self.cfg, chain).tolist()]
        for n, rnd in enumerate(chain.rounds if self.threes else ()):
            flags = next(word for word in words if word["addr_i"] == ROUND_STRIDE * n + 2)
            flags["data_i"] |= (rnd.start is Start.ZERO) * 3 << 8 | (rnd.end is End.REQUANT) << 10
        return words

    def expect(self, chain: Chain, *rounds: int) -> None:
        """Supply activations of some rounds of a chain, and expect all that they bring about."""
        for n in rounds:
            self.around.expected.round(chain.rounds[n], last=n == len(chain.rounds) - 1)
            self.around.supply.append(chain.rounds[n])

    async def write_not_last(self) -> None:
        """Words at offset 2 that are no round's: their bit 12 does not say that the round is not the last one."""
        for address in (self.cfg.max_rounds * ROUND_STRIDE + 2, TABLE_ADDR + 2):
            await self.write_word({"addr_i": address, "data_i": 0}, arms=False)

    async def write_word(self, word: dict[str, int], *, arms: bool) -> None:
        """One word, taken at once because nothing runs; no beat is loaded while it is taken."""
        self.words.send([word])
        assert not await self.cycle("load_en_o"), f"beats and word {word} at {bench.now()}"
        assert self.words.empty, f"word {word} was not taken at {bench.now()}"
        assert await self.cycle("load_en_o") == int(arms), f"load_en_o after word {word}"

    async def write_nowhere(self, *, armed: bool) -> None:
        """A word that no round has, or of a round beyond the memory: it changes nothing."""
        cfg, rng = self.cfg, self.rng
        address = int(rng.integers(cfg.max_rounds)) * ROUND_STRIDE
        address += int(rng.integers(cfg.round_words, ROUND_STRIDE))
        if rng.random() < 0.5:
            address = cfg.max_rounds * ROUND_STRIDE + int(rng.integers(cfg.round_words))
        self.words.send([{"addr_i": address, "data_i": int(rng.integers(1 << 32))}])
        for _ in range(2):
            assert await self.cycle("load_en_o") == int(armed), f"load_en_o with or after word {address}"
        assert self.words.empty, f"word {address} was not taken"

    async def run_chain(self, chain: Chain, *, vectors: int) -> None:
        """Write a chain and run vectors through it, until nothing is under way and nothing is left."""
        await self.write(chain)
        around = self.around
        around.hold_cycles, around.code_cycles = [], []
        for _ in range(vectors):
            self.expect(chain, *range(len(chain.rounds)))
        await self.run(lambda: not around.supply and around.idle_now, limit=100_000)
        for _ in range(4):
            await self.cycle()
        for check in around.expected.checks.values():
            check.finish()


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated block is what the configuration says."""
    bench.parameters_equal_configuration(dut, "macro_ctrl")


@cocotb.test
async def chains_at_full_rate_run_in_the_cycles_that_golden_states(dut: Any) -> None:
    """Random chains, nobody waits: order of every seam, and the cycle of every hold and every code."""
    rng = bench.generator("full rate")
    ctrl = MacroCtrl(dut, rng)
    await ctrl.start()
    for _ in range(8 if ctrl.cfg.rows <= 16 else 2):
        chain = random_chain(ctrl.cfg, rng, rounds=None if ctrl.cfg.rows <= 16 else 3)
        await ctrl.run_chain(chain, vectors=3)
        cycles = macro_ctrl.schedule(ctrl.cfg, chain, vectors=3)
        holds = [c for v in range(3) for when in cycles for c in when.hold[v].tolist()]
        codes = [c for v in range(3) for when in cycles for c in when.code[v].reshape(-1).tolist()]
        assert ctrl.around.hold_cycles == holds, f"holds in {ctrl.around.hold_cycles}, golden {holds}"
        assert ctrl.around.code_cycles == codes, f"codes in {ctrl.around.code_cycles}, golden {codes}"


@cocotb.test
async def chains_keep_their_order_under_random_traffic(dut: Any) -> None:
    """Random chains, late beats, codes that wait, some fields at their top: same order, nothing lost or overwritten."""
    rng = bench.generator("traffic")
    ctrl = MacroCtrl(dut, rng)
    await ctrl.start()
    for n in range(8 if ctrl.cfg.rows <= 16 else 2):
        ctrl.around.idle = pauses(rng, 0.5)
        ctrl.around.busy = pauses(rng, (0.3, 0.9)[n % 2])
        chain = random_chain(ctrl.cfg, rng, rounds=None if ctrl.cfg.rows <= 16 else 3)
        if n % 4 == 3:
            chain = at_the_top(ctrl.cfg, rng, chain)
        await ctrl.run_chain(chain, vectors=2)


@cocotb.test
async def start_three_acts_as_zero_and_end_three_as_two(dut: Any) -> None:
    """Values that no host writes: a chain with them runs as the chain that golden packs."""
    ctrl = MacroCtrl(dut, bench.generator("threes"))
    await ctrl.start()
    ctrl.threes = True
    for _ in range(4):
        await ctrl.run_chain(random_chain(ctrl.cfg, ctrl.rng, rounds=2), vectors=1)


@cocotb.test
async def words_wait_for_the_end_of_the_chain(dut: Any) -> None:
    """Inputs pause between the rounds of a chain: nothing runs, yet words wait for its end; then they disarm."""
    rng = bench.generator("words wait")
    ctrl = MacroCtrl(dut, rng)
    await ctrl.start()
    around = ctrl.around
    most = min(ctrl.cfg.max_rounds, 4)
    for rounds in (2, most, most):
        chain, after = (random_chain(ctrl.cfg, rng, rounds=rounds) for _ in range(2))
        await ctrl.write(chain)
        around.strays = False
        ctrl.expect(chain, 0)
        await ctrl.run(lambda: not around.supply and around.idle_now, limit=20_000)
        words = ctrl.words_of(after)
        ctrl.words.send(words)
        sent = ctrl.words.sent
        for n in range(1, rounds):
            for _ in range(int(rng.integers(2, 8))):
                assert await ctrl.cycle("load_en_o"), f"at {bench.now()}: the chain does not go on"
            ctrl.expect(chain, n)
            await ctrl.run(lambda: not around.supply and around.idle_now, limit=20_000)
            assert ctrl.words.sent == sent, f"a word moved before the end of the chain, at {bench.now()}"
        for _ in words:
            assert not await ctrl.cycle("load_en_o"), f"at {bench.now()}: words that move do not disarm"
        assert ctrl.words.empty, "words wait although the chain ended"
        around.rounds, around.swaps = rounds, 0
        ctrl.expect(after, *range(rounds))
        await ctrl.run(lambda: not around.supply and around.idle_now, limit=50_000)
        await ctrl.cycle()
        for check in around.expected.checks.values():
            check.finish()
        around.strays = True


@cocotb.test
async def reset_disarms_and_a_new_chain_runs_as_if_nothing_had_been(dut: Any) -> None:
    """A reset at a random moment of a run: everything is off at once, and no beat is taken before new words."""
    rng = bench.generator("reset")
    ctrl = MacroCtrl(dut, rng)
    await ctrl.start()
    for _ in range(3):
        chain = random_chain(ctrl.cfg, rng, rounds=2)
        await ctrl.write(chain)
        ctrl.expect(chain, 0, 1)
        for _ in range(int(rng.integers(5, 60))):
            await ctrl.cycle()
        dut.rst_ni.value = 0
        dut.loading_i.value = dut.loaded_i.value = 0
        await bench.settle()
        assert not any(ctrl.read(name) for name in ("load_en_o", "hold_o", "sample_o", "code_valid_o", "drive_o"))
        assert not uncleared(dut), f"registers {uncleared(dut)} are not 0 under reset"
        await ctrl.start()
        ctrl.around.supply = list(chain.rounds)
        for _ in range(5):
            await ctrl.cycle()
        assert len(ctrl.around.supply) == 2 and not ctrl.around.beats, "a beat was taken without round words"
        ctrl.around.supply = []
        await ctrl.run_chain(random_chain(ctrl.cfg, rng, rounds=2), vectors=1)
