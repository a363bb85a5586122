# SPDX-License-Identifier: Apache-2.0
"""Bench of rtl/sim/adc_frontend.v: the bench is the SAR logic, `golden.sar_adc.convert` is the model."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import cocotb
import numpy as np
from cocotb.types import LogicArray
from twinor.golden import adc_frontend, sar_adc
from twinor.rounds import step_code

from tb.common import bench
from tb.common.checker import Checker
from tb.common.probes import spoil
from tb.common.values import has_unknown, needs_four_states, pack, to_int, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from twinor.config import Config

EXHAUST_TRIALS = 4
"""Up to so many trials every pattern of trials is compared for every sample."""

INPUTS = (
    *("q_i", "x_slice_i", "share_i", "hold_i", "mux_i", "sample_i"),
    *("step_shift_i", "step_three_i", "step_fine_i", "trial_i"),
)


Slices = list["NDArray[np.int64]"]


def comparator(
    cfg: Config, q: NDArray[np.int64], thresholds: NDArray[np.int32], trial: int, step: int, fine: bool
) -> NDArray[np.bool_]:
    """Golden decision of every ADC at one trial: a table of that threshold alone gives all ones or none."""
    alone = np.repeat(thresholds[:, trial : trial + 1], 1 << cfg.trials, axis=1)
    codes, _ = sar_adc.convert(cfg, q, alone, step=step, fine=fine)
    return codes == cfg.code_max


class Frontend(bench.Bench):
    """Shares, holds, samples and converts; `held` is what golden believes the columns are."""

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        """The configuration and the die of this run."""
        self.cfg, self.rng, self.thresholds = bench.config(), rng, bench.die().threshold[0]
        self.q_bits = self.cfg.current_bits + 1
        self.check: Checker[list[int]] = Checker("codes")
        self.trials: Checker[list[bool]] = Checker("decisions")
        super().__init__(dut)

    async def start(self) -> None:
        """Every input at rest; held and sampled columns stay as they are."""
        await self.reset(**dict.fromkeys(INPUTS, 0))

    def set(self, pins: dict[str, int]) -> None:
        """Set inputs by name."""
        for name, value in pins.items():
            getattr(self.dut, name).value = value

    def columns(self, step: int) -> Slices:
        """Column quantities of every slice that is held together, int64[cols] each.

        Half of the held ones are at or beside a threshold of their ADC, half anywhere in range.
        """
        cfg, rng = self.cfg, self.rng
        adc = adc_frontend.adc_of_column(cfg, np.arange(cfg.cols))
        trial = rng.integers(1, 1 << cfg.trials, cfg.cols)
        beside = self.thresholds[adc, trial].astype(np.int64) * step + rng.integers(-1, 2, cfg.cols)
        top, beside_them = 1 << cfg.current_bits, rng.random(cfg.cols) < 0.5
        slices: Slices = []
        for i in reversed(range(1, cfg.x_slices if cfg.analog_slices else 1)):
            some = rng.integers(-top if cfg.bipolar else 0, top, cfg.cols)
            weight = 1 << i * cfg.dac_bits
            near = np.clip(beside // weight + rng.integers(-1, 2, cfg.cols), -top, top - 1)
            slices.insert(0, np.where(beside_them, near, some))
            beside = beside - slices[0] * weight
        anywhere = rng.integers(-top if cfg.bipolar else 0, top, cfg.cols)
        return [np.where(beside_them, np.clip(beside, -top, top - 1), anywhere), *slices]

    def held(self, slices: Slices) -> NDArray[np.int64]:
        """What golden holds of slices, int64[cols]."""
        held = np.zeros(self.cfg.cols, dtype=np.int64)
        for i, q in enumerate(slices):
            held = adc_frontend.share(self.cfg, held, q, x_slice=i)
        return held

    async def share(self, slices: Slices) -> None:
        """Share all slices but the last, a cycle each; the last one is on the bit lines then, not yet held."""
        for i, q in enumerate(slices):
            self.set({"q_i": pack(q.tolist(), self.q_bits), "x_slice_i": i, "share_i": int(i < len(slices) - 1)})
            if i < len(slices) - 1:
                await self.cycle()

    async def hold(self, slices: Slices) -> None:
        """Hold columns at the end of a cycle; then the bit lines are X."""
        await self.share(slices)
        self.dut.hold_i.value = 1
        await self.cycle()
        self.let_go()

    def let_go(self) -> None:
        """Columns are held: bit lines and slice are X."""
        self.set({"hold_i": 0, "share_i": 0})
        spoil(self.dut.q_i)
        spoil(self.dut.x_slice_i)

    async def sample(self, mux: int, step: int, *, fine: bool = False) -> None:
        """Sample one multiplexer position at the end of one cycle; then the multiplexer is X."""
        self.set({"mux_i": mux, "sample_i": 1})
        await self.cycle()
        code = step_code(step)
        spoil(self.dut.mux_i)
        self.set({"sample_i": 0, "step_shift_i": code >> 1, "step_three_i": code & 1, "step_fine_i": int(fine)})

    async def decide(self, trials: NDArray[np.integer]) -> NDArray[np.bool_]:
        """The comparators' bits for one trial code per ADC."""
        self.dut.trial_i.value = pack(trials.tolist(), self.cfg.trials)
        cmp = await self.cycle("cmp_o")
        return np.array([bool(cmp >> a & 1) for a in range(self.cfg.n_adcs)])

    async def convert(self, q: NDArray[np.int64], step: int, *, fine: bool = False) -> None:
        """The search, made by the bench with the comparators' bits; then single trials in any order."""
        cfg = self.cfg
        self.check.expect(sar_adc.convert(cfg, q, self.thresholds, step=step, fine=fine)[0].tolist())
        result = np.zeros(cfg.n_adcs, dtype=np.int64)
        for bit in reversed(range(cfg.trials)):
            trial = result | 1 << bit
            result = np.where(await self.decide(trial), trial, result)
        kept = result[:, None] >> np.arange(cfg.trials)[::-1] & 1
        codes = np.minimum(kept @ np.array(cfg.weights), (1 << cfg.adc_bits) - 1) + cfg.code_min
        self.check.got(codes.tolist(), time=bench.now())
        every = range(1, 1 << cfg.trials)
        some = self.rng.choice(every, 4).tolist()
        for trial in every if cfg.trials <= EXHAUST_TRIALS else some:
            self.trials.expect(comparator(cfg, q, self.thresholds, trial, step, fine).tolist())
            self.trials.got((await self.decide(np.full(cfg.n_adcs, trial))).tolist(), time=bench.now())


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated block is what the configuration says."""
    bench.parameters_equal_configuration(dut, "adc_frontend")


@cocotb.test
@needs_four_states
async def nothing_is_known_before_the_first_sample(dut: Any) -> None:
    """Comparators are X until columns are held and sampled; sampling without a hold leaves them X."""
    front = Frontend(dut, bench.generator("unknown"))
    await front.start()
    dut.trial_i.value = 1
    await front.cycle()
    assert set(str(dut.cmp_o.value).upper()) == {"X"}
    await front.sample(0, 1)
    await front.cycle()
    assert set(str(dut.cmp_o.value).upper()) == {"X"}


@cocotb.test
async def decisions_match_golden_at_every_position_and_step(dut: Any) -> None:
    """Quantities around the die's thresholds: codes of the whole search, and single trials in any order."""
    rng = bench.generator("decisions")
    front = Frontend(dut, rng)
    await front.start()
    cfg = front.cfg
    for _ in range(6 if cfg.trials <= EXHAUST_TRIALS else 2):
        for step in cfg.steps:
            slices = front.columns(step)
            q = front.held(slices)
            await front.hold(slices)
            for mux in rng.permutation(cfg.cols_per_adc).tolist():
                await front.sample(mux, step)
                await front.convert(q.reshape(-1, cfg.n_adcs)[mux], step)
    front.check.finish()
    front.trials.finish()


@cocotb.test
async def decisions_match_golden_at_every_sixteenth(dut: Any) -> None:
    """Steps in sixteenths of an array unit, down to one: quantities around the thresholds, the largest ones too."""
    rng = bench.generator("sixteenths")
    front = Frontend(dut, rng)
    await front.start()
    cfg = front.cfg
    for step in (1, 2, 3, 4, 6, 8, 12, 16, 24, 48):
        q = front.columns(step)[0]
        beside = rng.random(cfg.cols) < 0.5  # thresholds are a sixteenth as far apart here
        q = np.where(beside, (q >> 4) + rng.integers(-1, 2, cfg.cols), q)
        await front.hold([q])
        for mux in rng.permutation(cfg.cols_per_adc).tolist():
            await front.sample(mux, step, fine=True)
            await front.convert(q.reshape(-1, cfg.n_adcs)[mux], step, fine=True)
    front.check.finish()
    front.trials.finish()
    cocotb.log.info("%d searches, %d single trials compared", front.check.compared, front.trials.compared)


@cocotb.test
async def the_next_columns_are_held_while_the_last_ones_convert(dut: Any) -> None:
    """Sharing or holding in trials changes no decision; a sample in the cycle of a hold still takes the old columns."""
    rng = bench.generator("double buffer")
    front = Frontend(dut, rng)
    await front.start()
    cfg = front.cfg
    step = cfg.steps[-1]
    old = front.columns(step)
    await front.hold(old)
    for _ in range(10):
        new = front.columns(step)
        await front.sample(0, step)
        await front.share(new)  # during trials
        await front.convert(front.held(old)[: cfg.n_adcs], step)
        front.dut.hold_i.value = 1
        await front.sample(0, step)
        front.let_go()
        await front.convert(front.held(old)[: cfg.n_adcs], step)
        await front.sample(0, step)
        await front.hold(front.columns(step))  # during trials
        await front.convert(front.held(new)[: cfg.n_adcs], step)
        old = front.columns(step)
        await front.hold(old)
    front.check.finish()


@cocotb.test
@needs_four_states
async def slice_0_forgets_an_unknown_charge(dut: Any) -> None:
    """Charge of a vector that was shared and never held is forgotten; a slice upon nothing shared is unknown."""
    front = Frontend(dut, bench.generator("anew"))
    await front.start()
    cfg, step = front.cfg, front.cfg.steps[-1]
    if cfg.analog_slices:
        spoil(dut.share_q)
        front.set({"q_i": 0, "x_slice_i": 1, "hold_i": 1})
        await front.cycle()
        front.let_go()
        await front.sample(0, step)
        dut.trial_i.value = pack([1] * cfg.n_adcs, cfg.trials)
        await front.cycle()
        assert set(str(dut.cmp_o.value).upper()) == {"X"}
    for _ in range(4):
        dropped, slices = front.columns(step), front.columns(step)
        await front.share(dropped)
        await front.hold(slices)
        await front.sample(0, step)
        await front.convert(front.held(slices)[: cfg.n_adcs], step)
    front.check.finish()


@cocotb.test
@needs_four_states
async def unknown_quantities_and_trials_make_unknown_decisions(dut: Any) -> None:
    """X on one column reaches the ADC that samples it, no other; so do an unknown trial and a position that is not."""
    front = Frontend(dut, bench.generator("unknown columns"))
    await front.start()
    cfg = front.cfg
    for column in product(range(min(cfg.cols_per_adc, 2)), {0, cfg.n_adcs - 1}):
        bad = column[0] * cfg.n_adcs + column[1]
        words = ["X" * front.q_bits if c == bad else "0" * front.q_bits for c in range(cfg.cols)]
        dut.q_i.value, dut.x_slice_i.value, dut.hold_i.value = LogicArray("".join(reversed(words))), 0, 1
        await front.cycle()
        dut.hold_i.value = 0
        await front.sample(column[0], 1)
        dut.trial_i.value = pack([1] * cfg.n_adcs, cfg.trials)
        await front.cycle()
        text = str(dut.cmp_o.value).upper()
        assert [a for a in range(cfg.n_adcs) if text[-1 - a] == "X"] == [column[1]], f"column {bad}: {text}"
    await front.hold([np.zeros(cfg.cols, dtype=np.int64)])
    await front.sample(0, 1)
    await front.decide(np.ones(cfg.n_adcs, dtype=np.int64))
    assert not has_unknown(dut.cmp_o) and to_int(dut.cmp_o) >= 0
    dut.trial_i.value = LogicArray("X" * len(dut.trial_i))
    await front.cycle()
    assert set(str(dut.cmp_o.value).upper()) == {"X"}
    dut.trial_i.value = pack([1] * cfg.n_adcs, cfg.trials)
    await front.sample(cfg.cols_per_adc, 1)  # one past the last multiplexer position
    await front.cycle()
    assert set(str(dut.cmp_o.value).upper()) == {"X"}


@cocotb.test
@needs_four_states
async def an_unknown_step_or_table_makes_unknown_decisions(dut: Any) -> None:
    """X in the step reaches every ADC, X in one threshold the ADC and trial that read it, and no other."""
    front = Frontend(dut, bench.generator("unknown tables"))
    await front.start()
    cfg = front.cfg
    await front.hold([np.zeros(cfg.cols, dtype=np.int64)])
    await front.sample(0, 1)
    for pin in (dut.step_shift_i, dut.step_three_i, dut.step_fine_i):
        dut.trial_i.value = pack([1] * cfg.n_adcs, cfg.trials)
        before, pin.value = pin.value, unknown(len(pin))
        await front.cycle()
        assert set(str(dut.cmp_o.value).upper()) == {"X"}, f"{pin._name} is X, yet cmp_o = {dut.cmp_o.value}"
        pin.value = before
    for adc, trial in product({0, cfg.n_adcs - 1}, {1, (1 << cfg.trials) - 1}):
        word = dut.threshold_mem[(adc << cfg.trials) + trial]
        before, word.value = word.value, unknown(len(word))
        dut.trial_i.value = pack([trial] * cfg.n_adcs, cfg.trials)
        await front.cycle()
        text = str(dut.cmp_o.value).upper()
        assert [a for a in range(cfg.n_adcs) if text[-1 - a] == "X"] == [adc], f"threshold of ADC {adc}: {text}"
        word.value = before
    await front.decide(np.ones(cfg.n_adcs, dtype=np.int64))
