# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/clip_count.v: `golden.clip_count.count` is the model."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from cocotb.types import LogicArray
from twinor.golden import clip_count

from tb.common import bench
from tb.common.probes import junk, uncleared
from tb.common.values import has_unknown, needs_four_states, pack, to_int

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Counters(bench.Bench):
    """Codes in, counts out; `counts` is what golden has counted."""

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        """Nothing is counted."""
        self.cfg, self.rng, self.counts = bench.config(), rng, (0, 0)
        super().__init__(dut)

    async def start(self) -> None:
        """Reset, every input at rest."""
        self.counts = (0, 0)
        await self.reset(take_i=0, clear_i=0, lanes_i=0, code_i=0)

    def codes(self) -> NDArray[np.int64]:
        """Codes of every ADC, int64[n_adcs]: a third at the ends, a third beside them, a third anywhere."""
        cfg, rng = self.cfg, self.rng
        low, high = cfg.code_min, cfg.code_max
        kinds = [rng.choice([low, high], cfg.n_adcs), rng.choice([low + 1, high - 1], cfg.n_adcs)]
        return np.choose(rng.integers(0, 3, cfg.n_adcs), [*kinds, rng.integers(low, high + 1, cfg.n_adcs)])

    async def turn(self, codes: NDArray[np.int64] | None, lanes: int = 0, *, clear: bool = False) -> None:
        """One cycle: codes or none (then they are X or anything), and what the counters were before it."""
        dut, cfg = self.dut, self.cfg
        if codes is None:
            junk(dut.code_i, self.rng)
            junk(dut.lanes_i, self.rng)
        else:
            unused = "".join(self.rng.choice(["X", "0", "1"], (cfg.n_adcs - lanes) * cfg.code_bits))
            used = pack(codes[:lanes].tolist(), cfg.code_bits)
            dut.code_i.value = LogicArray(unused + f"{used:0{lanes * cfg.code_bits}b}")
            dut.lanes_i.value = lanes
        dut.take_i.value, dut.clear_i.value = int(codes is not None), int(clear)
        low = await self.cycle("low_o")
        assert low == self.counts[0], f"low at {bench.now()}: expected {self.counts[0]}, got {low}"
        before = (0, 0) if clear else self.counts
        self.counts = before if codes is None else clip_count.count(cfg, codes[:lanes], before=before)
        counted = self.read("low_o"), self.read("high_o")
        assert counted == self.counts, f"counts at {bench.now()}: expected {self.counts}, got {counted}"


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated block is what the configuration says."""
    bench.parameters_equal_configuration(dut, "clip_count")


@cocotb.test
async def every_code_on_every_adc_counts_as_in_golden(dut: Any) -> None:
    """One code at an end, or beside it, or any other, on each ADC alone, for every number of columns in use."""
    counters = Counters(dut, bench.generator("codes"))
    cfg = counters.cfg
    await counters.start()
    ends = {cfg.code_min, cfg.code_min + 1, cfg.code_max - 1, cfg.code_max, 0, -1 if cfg.bipolar else 1}
    codes = sorted(ends) if cfg.adc_bits > 4 else range(cfg.code_min, cfg.code_max + 1)
    inner = cfg.code_max - 2
    for code, adc in product(codes, range(cfg.n_adcs)):
        alone = np.full(cfg.n_adcs, inner)
        alone[adc] = code
        for lanes in {1, adc, adc + 1, cfg.n_adcs} - {0}:
            await counters.turn(alone, lanes)


@cocotb.test
async def random_codes_and_clears_count_as_in_golden(dut: Any) -> None:
    """Codes at both ends at once, pauses with X on every field, clears with and without codes."""
    rng = bench.generator("random")
    counters = Counters(dut, rng)
    await counters.start()
    for _ in range(400):
        taken = rng.random() < 0.7
        lanes = int(rng.integers(1, counters.cfg.n_adcs + 1))
        await counters.turn(counters.codes() if taken else None, lanes, clear=rng.random() < 0.1)


@cocotb.test
async def a_full_counter_stays_full_until_it_is_cleared(dut: Any) -> None:
    """Both counters just below 2**32: they reach the end exactly, stay, and begin anew with a clear."""
    counters = Counters(dut, bench.generator("full"))
    cfg, top = counters.cfg, clip_count.COUNT_MAX
    for end, below in product((cfg.code_min, cfg.code_max), range(2 * cfg.n_adcs + 1)):
        await counters.start()
        dut.low_q.value, dut.high_q.value = top - below, top - below
        counters.counts = (top - below, top - below)
        await bench.settle()
        for _ in range(3):
            await counters.turn(np.full(cfg.n_adcs, end), cfg.n_adcs)
        assert top in counters.counts
        await counters.turn(np.full(cfg.n_adcs, end), 1, clear=True)
        assert 1 in counters.counts and 0 in counters.counts


@cocotb.test
async def reset_clears_both_counters_at_once(dut: Any) -> None:
    """A reset between two edges: both are 0 without a clock edge."""
    counters = Counters(dut, bench.generator("reset"))
    cfg = counters.cfg
    await counters.start()
    for end in (cfg.code_min, cfg.code_max):
        await counters.turn(np.full(cfg.n_adcs, end), cfg.n_adcs)
    assert counters.read("low_o") and counters.read("high_o")
    dut.rst_ni.value = 0
    await bench.settle()
    assert not uncleared(dut) and counters.read("low_o") == counters.read("high_o") == 0
    await counters.start()
    await counters.turn(np.full(cfg.n_adcs, cfg.code_max), cfg.n_adcs)


@cocotb.test
@needs_four_states
async def an_unknown_code_makes_an_unknown_count(dut: Any) -> None:
    """X in one bit of a code that counts: the count that it may belong to holds X until it is cleared."""
    counters = Counters(dut, bench.generator("unknown"))
    cfg = counters.cfg
    for end, port in ((cfg.code_min, dut.low_o), (cfg.code_max, dut.high_o)):
        await counters.start()
        bits = f"{pack([end], cfg.code_bits):0{cfg.code_bits}b}"
        dut.code_i.value = LogicArray("0" * (cfg.n_adcs - 1) * cfg.code_bits + bits[:-1] + "X")
        dut.lanes_i.value, dut.take_i.value = 1, 1
        await counters.cycle()
        dut.take_i.value = 0
        await counters.cycle()
        assert has_unknown(port), f"an unknown code was counted as {to_int(port)}"
        dut.clear_i.value = 1
        await counters.cycle()
        assert to_int(port) == 0
