# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/macro_ctrl.v: the model of order is `rounds.passes`, of cycles `golden.macro_ctrl.schedule`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cocotb
from twinor.golden import macro_ctrl
from twinor.golden.round_check import RoundError, round_error
from twinor.rounds import ROUND_STRIDE, TABLE_ADDR, pack

from tb.common import bench
from tb.common.descriptors import spoiled
from tb.common.probes import uncleared
from tb.common.stimulus import random_chain
from tb.common.stream import StreamSource, pauses
from tb.common.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from twinor.rounds import Chain

INPUTS = ("word_valid_i", "word_addr_i", "word_data_i", "loading_i", "loaded_i", "wl_sum_i", "adc_done_i")


class MacroCtrl(bench.Bench):
    """The sequencer, its round words and its surroundings."""

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        """Wire everything."""
        self.cfg, self.rng = bench.config(), rng
        self.around = Surroundings(dut, self.cfg, rng)
        self.words = StreamSource(dut, "word", {"addr_i": 16, "data_i": 32})
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
        return [{"addr_i": address, "data_i": data} for address, data in pack(self.cfg, chain).tolist()]

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
        self.finish()

    def finish(self) -> None:
        """Nothing is left at any seam; each was looked at, that of errors apart."""
        for name, check in self.around.expected.checks.items():
            if name != "errors" or check.compared or check.outstanding:
                check.finish()

    async def run_bad(self, chain: Chain, bad: int, words: list[int], error: RoundError, *, at_rest: bool) -> None:
        """A chain whose round `bad` has other words: rounds before it run, then the error, and nothing loads."""
        around = self.around
        packed = self.words_of(chain)
        for offset, data in enumerate(words):
            next(word for word in packed if word["addr_i"] == ROUND_STRIDE * bad + offset)["data_i"] = data
        around.first_beat, around.rounds, around.swaps, around.strays = -1, len(chain.rounds), 0, False
        self.words.send(packed)
        await self.run(lambda: self.words.empty, limit=10_000)
        around.bad = (error, bad)
        around.expected.checks["errors"].expect((error, bad))
        self.expect(chain, *range(bad))
        around.supply += chain.rounds[bad:]
        left = len(chain.rounds) - bad
        await self.run(lambda: around.bad is None, limit=20_000)
        if at_rest:
            await self.run(lambda: around.takes_words, limit=20_000)
        for _ in range(8):
            assert not await self.cycle("load_en_o"), f"load_en_o after an error, at {bench.now()}"
        assert len(around.supply) == left, "a beat was taken after an error"
        around.supply.clear()


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
        codes = [c for v in range(3) for when in cycles for c in when.code[v].reshape(-1).tolist() if c]
        assert ctrl.around.hold_cycles == holds, f"holds in {ctrl.around.hold_cycles}, golden {holds}"
        assert ctrl.around.code_cycles == codes, f"codes in {ctrl.around.code_cycles}, golden {codes}"


@cocotb.test
async def chains_keep_their_order_under_random_traffic(dut: Any) -> None:
    """Random chains, late beats, codes that wait: same order, nothing lost or overwritten."""
    rng = bench.generator("traffic")
    ctrl = MacroCtrl(dut, rng)
    await ctrl.start()
    for n in range(8 if ctrl.cfg.rows <= 16 else 2):
        ctrl.around.idle = pauses(rng, 0.5)
        ctrl.around.busy = pauses(rng, (0.3, 0.9)[n % 2])
        chain = random_chain(ctrl.cfg, rng, rounds=None if ctrl.cfg.rows <= 16 else 3)
        await ctrl.run_chain(chain, vectors=2)


@cocotb.test
async def a_bad_descriptor_stops_the_chain(dut: Any) -> None:
    """Each rule broken in any round: rounds before it end, golden's code and round, no beat; then new words run."""
    rng = bench.generator("bad descriptors")
    ctrl = MacroCtrl(dut, rng)
    await ctrl.start()
    cfg, seen = ctrl.cfg, set[tuple[RoundError, bool]]()
    small = cfg.rows <= 16
    for n in range(80 if small else 3):
        chain = random_chain(cfg, rng, rounds=min(cfg.max_rounds, 1 + n % 3) if small else 2)
        found = list(broken(chain, ctrl, rng))
        firsts = {(error, bad == 0): (bad, words, error) for bad, words, error in reversed(found)}
        new = [case for rule, case in firsts.items() if rule not in seen]
        for bad, words, error in (new or found if n < 12 else new)[: 3 if small else 1]:
            seen.add((error, bad == 0))
            await ctrl.run_bad(chain, bad, words, error, at_rest=bool(rng.integers(2)))
            await ctrl.run(lambda: ctrl.around.takes_words, limit=20_000)
            ctrl.around.strays = True
        if n < 12:
            await ctrl.run_chain(random_chain(cfg, rng, rounds=1), vectors=1)
    await ctrl.run_chain(random_chain(cfg, rng, rounds=1), vectors=1)
    never = set(RoundError) - {RoundError.NONE, RoundError.LENGTH} - {error for error, _ in seen}
    assert not small or not never, f"rules that were never broken: {never}"
    cocotb.log.info("%d rules broken", len(seen))


def broken(chain: Chain, ctrl: MacroCtrl, rng: np.random.Generator) -> Iterator[tuple[int, list[int], RoundError]]:
    """Words of each round of a chain that break a rule, in random order, and the rule."""
    cfg = ctrl.cfg
    memory = {word["addr_i"]: word["data_i"] for word in ctrl.words_of(chain)}
    cases = []
    for r in range(len(chain.rounds)):
        before = chain.rounds[r - 1].col_count if r else 0
        words = [memory[ROUND_STRIDE * r + k] for k in range(cfg.round_words)]
        for _, changed in spoiled(cfg, words, cols_before=before):
            error = round_error(cfg, changed, index=r, cols_before=before)
            if error and (r < len(chain.rounds) - 1 or changed[2] >> 12 & 1):  # else nothing arms
                cases.append((r, changed, error))
    yield from (cases[k] for k in rng.permutation(len(cases)))


@cocotb.test
async def a_word_comes_before_an_error(dut: Any) -> None:
    """A word right after the one that arms a bad chain disarms it: no error."""
    ctrl = MacroCtrl(dut, bench.generator("word before error"))
    await ctrl.start()
    words = ctrl.words_of(random_chain(ctrl.cfg, ctrl.rng, rounds=1))
    first = next(word for word in words if word["addr_i"] == 0)
    first["data_i"] &= 0xFFFF  # no row
    ctrl.around.first_beat = -1
    ctrl.words.send([*words, first])
    await ctrl.run(lambda: ctrl.words.empty, limit=10_000)
    for _ in range(4):
        assert not await ctrl.cycle("load_en_o")  # error_valid_o is low in all of them, as the surroundings check
    ctrl.words.send([words[-1]])
    await ctrl.cycle()
    ctrl.around.bad = (RoundError.ROWS, 0)
    ctrl.around.expected.checks["errors"].expect(ctrl.around.bad)
    await ctrl.run(lambda: ctrl.around.bad is None, limit=4)
    await ctrl.run_chain(random_chain(ctrl.cfg, ctrl.rng, rounds=1), vectors=1)


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
        ctrl.finish()
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
