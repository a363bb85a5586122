# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/round_check.v: `golden.round_check.round_error` is the model of every code."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

import cocotb
from cocotb.triggers import Timer
from twinor.golden.round_check import RoundError, round_error
from twinor.rounds import ROUND_STRIDE, STEP_WORD, End, Start, pack, step_code

from tb.common import bench
from tb.common.checker import Checker
from tb.common.descriptors import field, spoiled, with_field
from tb.common.stimulus import random_chain
from tb.common.values import has_unknown, needs_four_states, partly, to_int, unknown
from tb.common.values import pack as pack_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from twinor.config import Config

Words = list[int]


class RoundCheck:
    """Puts descriptors on the inputs and compares the code; no clock is involved."""

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        """The configuration of this run."""
        self.dut, self.rng, self.cfg = dut, rng, bench.config()
        self.check: Checker[tuple[int, str]] = Checker("codes")
        self.seen: dict[RoundError, int] = dict.fromkeys(RoundError, 0)

    async def error(self, words: Words, *, index: int, before: int) -> int:
        """What the block says of a descriptor."""
        self.dut.desc_i.value = pack_words(words, 32)
        self.dut.index_i.value, self.dut.before_i.value = index, before
        await Timer(1, "ns")
        return to_int(self.dut.error_o)

    async def same(self, words: Words, *, index: int, before: int, what: str = "") -> RoundError:
        """The block says what golden says; returns it."""
        expected = round_error(self.cfg, words, index=index, cols_before=before)
        told = f"{what or 'words'} of round {index} after {before} columns: {' '.join(f'{w:08x}' for w in words)}"
        self.check.expect((int(expected), told))
        code = await self.error(words, index=index, before=before)
        self.check.got((code, told), time=bench.now())
        self.seen[expected] += 1
        return expected

    def rounds(self) -> Iterator[tuple[Words, int, int]]:
        """Good rounds of a random chain: words, place and columns of the round before."""
        chain = random_chain(self.cfg, self.rng)
        memory = dict(pack(self.cfg, chain).tolist())
        for index, _ in enumerate(chain.rounds):
            words = [memory[ROUND_STRIDE * index + k] for k in range(self.cfg.round_words)]
            yield words, index, chain.rounds[index - 1].col_count if index else 0


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated block is what the configuration says."""
    bench.parameters_equal_configuration(dut, "round_check")


@cocotb.test
async def rounds_of_valid_chains_pass(dut: Any) -> None:
    """Every round that `rounds.pack` writes of a chain that `rounds.validate` lets pass."""
    unit = RoundCheck(dut, bench.generator("valid"))
    for _ in range(60):
        for words, index, before in unit.rounds():
            assert not await unit.same(words, index=index, before=before)
    unit.check.finish()


@cocotb.test
async def every_field_matches_golden_at_its_limits(dut: Any) -> None:
    """Each field of random rounds at both sides of each of its limits, one change at a time; every rule is broken."""
    unit = RoundCheck(dut, bench.generator("limits"))
    for _ in range(20):
        for words, index, before in unit.rounds():
            for what, changed in spoiled(unit.cfg, words, cols_before=before):
                await unit.same(changed, index=index, before=before, what=what)
                if unit.rng.random() < 0.2:
                    places = {0, 1, unit.cfg.max_rounds - 2, unit.cfg.max_rounds - 1, unit.cfg.max_rounds, 255} - {-1}
                    for place in places:
                        await unit.same(changed, index=place, before=before, what=what)
    unit.check.finish()
    never = [error.name for error, count in unit.seen.items() if not count]
    assert not never, f"rules that were never broken: {never}"
    cocotb.log.info("%d descriptors compared: %s", unit.check.compared, unit.seen)


def limits(cfg: Config) -> dict[RoundError, tuple[str, int]]:
    """One field and value for each rule that breaks that rule alone in the descriptor of `lone`."""
    step = step_code(1 << (cfg.step_shift_max + 1))
    return {
        RoundError.ROWS: ("row_count", 0),
        RoundError.COLUMNS: ("mux", 0xFFFF),
        RoundError.PLAN: ("plan", cfg.x_slices + 1),
        RoundError.START: ("start", 3),
        RoundError.END: ("end", 3),
        RoundError.STEP: ("step0", step),
        RoundError.REQUANT: ("shift", 0),
        RoundError.RESIDUAL: ("residual", 1),
        RoundError.LENGTH: ("last", 0),
    }


def lone(cfg: Config) -> Words:
    """A round of one row and column at the end of the memory that requantizes and starts from the last one."""
    words = [1 << 16, 1 << 16, 1 | Start.LAST << 8 | End.REQUANT << 10 | 1 << 12 | 1 << 16, 0, 0, 0]
    return words + [0] * (cfg.round_words - STEP_WORD)


@cocotb.test
async def the_first_broken_rule_is_reported(dut: Any) -> None:
    """Rules alone, in pairs and in bigger sets: the lowest code wins, whatever else is broken."""
    unit = RoundCheck(dut, bench.generator("order"))
    cfg, rules = unit.cfg, limits(unit.cfg)
    index = cfg.max_rounds - 1
    good = lone(cfg)
    if not index:  # a memory of one round: nothing starts from a last one
        good = with_field(good, "start", Start.ZERO)
        rules.pop(RoundError.RESIDUAL)
    assert not await unit.same(good, index=index, before=1)
    sets = [*combinations(rules, 1), *combinations(rules, 2), *combinations(rules, 3), tuple(rules)]
    for broken in sets:
        words = good
        for error in broken:
            words = with_field(words, *rules[error])
        expected = min(broken)
        if broken[:1] == (RoundError.START,) or RoundError.END in broken or RoundError.START in broken:
            expected = round_error(
                cfg, words, index=index, cols_before=1
            )  # start 3 is no last, end 3 no requantization
        assert await unit.same(words, index=index, before=1, what=str(broken)) == expected
    unit.check.finish()


@cocotb.test
async def random_words_match_golden(dut: Any) -> None:
    """Fields around their limits in any combination, and words of any bits: what no host writes."""
    unit = RoundCheck(dut, bench.generator("random"))
    rng, cfg = unit.rng, unit.cfg
    for _ in range(40):
        for words, index, before in unit.rounds():
            cases = [changed for _, changed in spoiled(cfg, words, cols_before=before)]
            names = [what.split(" = ")[0] for what, _ in spoiled(cfg, words, cols_before=before)][:-1]
            for _ in range(20):
                mixed = words
                for k in rng.integers(0, len(names), 3).tolist():
                    mixed = with_field(mixed, names[k], field(cases[k], names[k]))
                await unit.same(mixed, index=index, before=before)
            mixed = [int(rng.integers(1 << 32)) if rng.random() < 0.3 else word for word in words]
            await unit.same(mixed, index=int(rng.integers(256)), before=int(rng.integers(1 << 16)))
    for _ in range(200):
        words = [int(word) for word in rng.integers(0, 1 << 32, cfg.round_words)]
        await unit.same(words, index=int(rng.integers(256)), before=int(rng.integers(1 << 16)))
    unit.check.finish()


@cocotb.test
async def every_pair_of_limits_is_compared_as_signed(dut: Any) -> None:
    """`lo` and `hi` over zero, both ends and their neighbours; bits above ACC_BITS do not count."""
    unit = RoundCheck(dut, bench.generator("signed"))
    cfg = unit.cfg
    half, top = 1 << (cfg.acc_bits - 1), 1 << 32
    ends = (0, 1, -1, half - 1, -half, half - 2, 1 - half)
    words = with_field(lone(cfg), "start", Start.ZERO)
    for lo, hi in permutations(ends, 2):
        for above in (0, top - 2 * half):
            low, high = lo % (2 * half) | above, hi % (2 * half) | (top - 2 * half - above)
            changed = with_field(with_field(words, "lo", low), "hi", high)
            expected = RoundError.REQUANT if lo > hi else RoundError.NONE
            assert await unit.same(changed, index=cfg.max_rounds - 1, before=1) == expected
    unit.check.finish()


@cocotb.test
async def fields_that_do_not_count_may_be_unknown(dut: Any) -> None:
    """X in bias code, signed, unused bits, steps beyond the plan, limits of a round that does not requantize."""
    unit = RoundCheck(dut, bench.generator("unknown"))
    cfg = unit.cfg
    words = with_field(with_field(lone(cfg), "end", End.RAW), "start", Start.ZERO)
    known = [0xFFFFFFFF, 0xFFFFFFFF, 0x5FFF, 0, 0, 0xFFFF]
    known += [sum(0xFF << 8 * (k % 4) for k in range(cfg.w_slices) if k // 4 == w) for w in range(cfg.round_words - 6)]
    bits = "".join(str(partly(word, 32, mask)) for word, mask in zip(reversed(words), reversed(known), strict=True))
    dut.desc_i.value = type(partly(0, 1, 1))(bits)
    dut.index_i.value, dut.before_i.value = cfg.max_rounds - 1, unknown(16)
    await Timer(1, "ns")
    assert to_int(dut.error_o) == RoundError.NONE


@cocotb.test
@needs_four_states
async def an_unknown_field_that_counts_makes_the_code_unknown(dut: Any) -> None:
    """X in rows, columns, plan, start, end or a step in use: no code is made of it."""
    unit = RoundCheck(dut, bench.generator("unknown that counts"))
    cfg = unit.cfg
    good = with_field(lone(cfg), "start", Start.ZERO)
    for name, word, low, width in (
        *(("row_base", 0, 0, 16), ("row_count", 0, 16, 16), ("mux", 1, 0, 16), ("col_count", 1, 16, 16)),
        *(("plan", 2, 0, 8), ("start", 2, 8, 2), ("end", 2, 10, 2), ("shift", 2, 16, 5), ("bias_rows", 5, 0, 16)),
        ("step0", STEP_WORD, 0, 8),
    ):
        mask = ~(((1 << width) - 1) << 32 * word + low) & ((1 << 32 * cfg.round_words) - 1)
        dut.desc_i.value = partly(pack_words(good, 32), 32 * cfg.round_words, mask)
        dut.index_i.value, dut.before_i.value = cfg.max_rounds - 1, 1
        await Timer(1, "ns")
        assert has_unknown(dut.error_o), f"error_o = {dut.error_o.value} with X in {name}"
