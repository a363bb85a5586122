# SPDX-License-Identifier: Apache-2.0
"""Preset `wtm2101` is the published integer rule of its chip, output for output, in golden, `fast` and Verilog.

    acc    = sum_i x[i] * w[i] + 128 * sum_r b[r]           x uint8, w and b int8
    code10 = acc / (G / 4), truncated toward zero
    y      = clip((code10 + 2) >> 2, lo, 127)               lo is 0 behind a ReLU, else -128

The oracle here is these three lines in plain Python; the weights and inputs are this test's own.
"""

from dataclasses import dataclass
from dataclasses import replace as changed
from fractions import Fraction

import numpy as np
import pytest
from builders import (
    Ints,
    Rng,
    Stimulus,
    chain_of,
    configs,
    job_of,
    linear_network,
    one_round,
    programmed,
    random_weights,
    redundant,
    seeds,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from twinor.config import Config, load, replace
from twinor.converter.calibrate import code_centres, fit_correction
from twinor.converter.metrics import transfer, transitions
from twinor.cosim import icarus
from twinor.cosim.chain import check
from twinor.die import ideal_die, ideal_thresholds, sample_die
from twinor.errors import ConfigError, PlacementError
from twinor.fast import Engine
from twinor.golden import flash_array, sar_adc
from twinor.golden.column_correct import correct
from twinor.network import IntegerNetwork, Requant
from twinor.place import Placement, place
from twinor.report.converter import converter
from twinor.rounds import Round
from twinor.run import chain_runner, forward

from tb.common.configs import TRUNCATING

GAINS = (256, 512, 1024, 2048, 4096, 8192)
WTM = load("wtm2101")
SLICE = replace(WTM, name="wtm2101_slice", rows=64, active_rows=64, cols=8, cols_per_adc=4)
"""A corner of the macro, for many runs in Icarus."""
NEAREST = replace(WTM, name="wtm2101_nearest", adc_rounding="nearest", max_rounds=2)
"""The macro with an ADC that rounds; its steps and so its accumulators are larger."""


# The rule, in Python's integers and fractions alone //


def accumulated(x: list[int], w: list[int], b: list[int]) -> int:
    return sum(xi * wi for xi, wi in zip(x, w, strict=True)) + 128 * sum(b)


def chip(acc: int, gain: int, lo: int) -> int:
    code10 = int(Fraction(acc, gain // 4))  # int() of a fraction truncates toward zero
    return min(max((code10 + 2) >> 2, lo), 127)


def half_up(acc: int, gain: int, lo: int) -> int:
    """What rounds acc / G, halves up: also what floor in place of truncation comes to."""
    assert (acc // (gain // 4) + 2) >> 2 == (acc + gain // 2) // gain
    return min(max((acc + gain // 2) // gain, lo), 127)


def half_away(acc: int, gain: int, lo: int) -> int:
    """What rounds acc / G, halves away from zero."""
    size = (abs(acc) + gain // 2) // gain
    return min(max(size if acc >= 0 else -size, lo), 127)


# Layers //


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A linear layer as the chip has it, and vectors for it."""

    x: Ints
    """[vectors, rows], 0 .. 255."""
    w: Ints
    """[rows, columns], int8."""
    b: Ints
    """[16, columns], int8."""
    gain: int

    def accumulators(self) -> list[list[int]]:
        """Of every vector and column."""
        columns = [(w, b) for w, b in zip(self.w.T.tolist(), self.b.T.tolist(), strict=True)]
        return [[accumulated(x, w, b) for w, b in columns] for x in self.x.tolist()]

    def outputs(self, lo: int) -> list[list[int]]:
        """What the chip puts out."""
        return [[chip(acc, self.gain, lo) for acc in row] for row in self.accumulators()]

    def network(self, lo: int) -> IntegerNetwork:
        """The same for the placer: 2 codes are half an output, and the bias is part of the addend."""
        step = self.gain // 4
        add = 2 * step + 128 * self.b.sum(axis=0)
        shift = 2 + step.bit_length() - 1
        rule = Requant(mult=np.ones_like(add, np.int16), add=add.astype(np.int32), shift=shift, lo=lo, hi=127)
        return linear_network(self.w.T, rule, input_bits=8)

    def placed(self, config: Config, lo: int) -> Placement:
        """On a macro, with an ADC step of G / 4."""
        return place(config, self.network(lo), {"fc": ((self.gain // 4,),) * 2})

    def run(self, config: Config, lo: int, *, backend: str) -> list[list[int]]:
        """What an engine makes of it."""
        placement = self.placed(config, lo)
        runner = chain_runner(config, ideal_die(config, placement.levels), backend=backend)
        y: list[list[int]] = forward(self.network(lo), placement, self.x[:, :, None, None], runner).tolist()
        return y


def layer_of(rng: Rng, *, rows: int, columns: int, gain: int, vectors: int = 4) -> Layer:
    """Random operands of random size; column for column the first accumulator is at or beside a multiple of G / 4."""
    x = np.stack([rng.integers(0, 1 << bits, rows) for bits in rng.integers(1, 9, vectors)])
    w = rng.integers(-128, 128, (rows, columns)) >> rng.integers(0, 8, columns)
    x[0] *= rng.permutation(rows) < 5  # so few that a bias reaches the aim
    x[0, -1], w[-1] = 1, 0
    aim = rng.integers(-11, 12, columns) * (gain // 4) + rng.integers(-1, 2, columns)
    need = aim - x[0] @ w
    total = np.clip((need + 64) // 128, 16 * -128, 16 * 127)
    w[-1] = np.clip(need - 128 * total, -128, 127)
    b = total // 16 + (np.arange(16)[:, None] < total % 16)
    moved = rng.integers(0, np.minimum(127 - b[::2], b[1::2] + 128) + 1)
    b[::2], b[1::2] = b[::2] + moved, b[1::2] - moved
    return Layer(x=x, w=w, b=b, gain=gain)


def full_layer(w: int, x: int, b: int, gain: int) -> Layer:
    """All operands alike, over every row."""
    return Layer(x=np.full((1, 2032), x), w=np.full((2032, 1), w), b=np.full((16, 1), b), gain=gain)


# Golden and fast //


@pytest.mark.fast
@pytest.mark.parametrize("lo", [-128, 0])
@pytest.mark.parametrize("gain", GAINS)
@settings(max_examples=5)
@given(seed=seeds, rows=st.integers(1, 2032), columns=st.integers(1, 64))
def test_golden_and_fast_are_the_chip(gain: int, lo: int, seed: int, rows: int, columns: int) -> None:
    layer = layer_of(np.random.default_rng(seed), rows=rows, columns=columns, gain=gain)
    expected = layer.outputs(lo)
    assert layer.run(WTM, lo, backend="golden") == expected
    assert layer.run(WTM, lo, backend="fast") == expected


@pytest.mark.fast
@pytest.mark.parametrize("gain", GAINS)
def test_the_largest_operands_are_the_chip(gain: int) -> None:
    for w, x, b in ((-128, 255, -128), (127, 255, 127), (-128, 255, 127), (-1, 1, 0), (0, 0, -1), (0, 255, 0)):
        layer = full_layer(w, x, b, gain)
        assert layer.run(WTM, -128, backend="golden") == layer.run(WTM, -128, backend="fast") == layer.outputs(-128)


@pytest.mark.fast
@pytest.mark.parametrize("gain", GAINS)
def test_every_accumulator_around_zero_and_at_the_ends_is_truncated(gain: int) -> None:
    step = gain // 4
    near = np.concatenate([np.arange(-4 * step, 4 * step + 1), np.arange(-514, 515) * step])
    acc = np.concatenate([near, near - 1])
    codes = sar_adc.convert(WTM, acc[:, None] << 12, ideal_thresholds(WTM)[:1], step=step)[0][:, 0]
    assert codes.tolist() == [min(max(int(Fraction(a, step)), -512), 511) for a in acc.tolist()]


@pytest.mark.fast
@pytest.mark.parametrize("gain", GAINS)
def test_other_roundings_fail_on_these_layers(gain: int, rng: Rng) -> None:
    """Round half up, which is also floor, round half away, and this macro with an ADC that rounds: none is the chip."""
    layer = layer_of(rng, rows=100, columns=64, gain=gain)
    expected, acc = layer.outputs(-128), [a for row in layer.accumulators() for a in row]
    for rule in (half_up, half_away):
        assert sum(rule(a, gain, -128) != chip(a, gain, -128) for a in acc) > 5
    assert layer.run(NEAREST, -128, backend="golden") != expected
    assert layer.run(WTM, -128, backend="golden") == expected


# Verilog //


def both_ends(layer: Layer, config: Config) -> tuple[Placement, tuple[Round, Round]]:
    """The layer's one round, without and with a ReLU."""
    placement = layer.placed(config, -128)
    (rnd,) = placement.layers["fc"].chains[0].chain.rounds
    return placement, (rnd, changed(rnd, lo=0))


@pytest.mark.rtl
@pytest.mark.parametrize("gain", GAINS)
def test_a_slice_in_verilog_is_the_chip(gain: int, rng: Rng) -> None:
    layer = layer_of(rng, rows=48, columns=8, gain=gain)
    placement, rounds = both_ends(layer, SLICE)
    chain = changed(placement.layers["fc"].chains[0].chain, rounds=rounds)
    flow = Stimulus(inputs=[layer.x, layer.x], psums=None)
    checked = check(job_of(SLICE, ideal_die(SLICE, placement.levels), chain, flow), icarus.build(SLICE))
    assert [trace.outputs.tolist() for trace in checked.rtl] == [layer.outputs(-128), layer.outputs(0)]
    assert all(rnd.driven_rows == 64 for rnd in rounds)


@pytest.mark.rtl
def test_all_rows_and_columns_of_the_preset_in_verilog_are_the_chip(rng: Rng) -> None:
    layer = layer_of(rng, rows=2032, columns=64, gain=4096, vectors=2)
    placement = layer.placed(WTM, -128)
    chain, flow = placement.layers["fc"].chains[0].chain, Stimulus(inputs=[layer.x], psums=None)
    checked = check(job_of(WTM, ideal_die(WTM, placement.levels), chain, flow), icarus.build(WTM))
    assert checked.rtl[0].outputs.tolist() == layer.outputs(-128)
    assert checked.rtl[0].word_lines[:, :, 2032:].reshape(2, 2, 16).tolist() == [[[0] * 16, [8] * 16]] * 2  # 128


# Placement //


@pytest.mark.fast
def test_the_bias_lies_on_sixteen_rows_that_128_drives(rng: Rng) -> None:
    layer = layer_of(rng, rows=100, columns=64, gain=1024)
    placement = layer.placed(WTM, 0)
    (c,) = placement.layers["fc"].chains
    (rnd,) = c.chain.rounds
    assert (rnd.row_count, rnd.bias_rows, rnd.bias_code, rnd.steps) == (100, 16, 128, ((256,), (256,)))
    cells = placement.levels[0, 100:116].reshape(16, 64, 2).astype(int)
    held = cells[..., 0] - cells[..., 1]
    assert held.min() >= -128 and held.max() <= 127 and np.array_equal(held.sum(axis=0), layer.b.sum(axis=0))
    assert set(c.chain.add.tolist()) == {2 * 256}
    assert placement.levels.max() == 128 and not placement.levels[0, 116:].any()  # -128 in one cell of a pair


@pytest.mark.fast
def test_small_activations_still_get_all_slices_of_the_bias_code() -> None:
    """Inputs of 4 bits need one slice, the bias rows' 128 two."""
    layer = Layer(x=np.full((1, 9), 15), w=np.ones((9, 1), int), b=np.ones((16, 1), int), gain=256)
    network = changed(layer.network(-128), input_bits=4)
    placement = place(WTM, network)
    assert placement.layers["fc"].chains[0].chain.rounds[0].steps == ((4096,),) * 2
    with pytest.raises(PlacementError, match="ADC steps for fewer than the 2 input slices it needs"):
        place(WTM, network, {"fc": ((64,),)})


@pytest.mark.fast
def test_a_bias_that_int8_rows_cannot_hold_stays_in_the_addend() -> None:
    """The pairs would hold 255, and the chip's bias is at most 16 * 127 * 128."""
    layer = Layer(x=np.ones((1, 3), int), w=np.ones((3, 2), int), b=np.full((16, 2), [200, -200]), gain=256)
    (c,) = layer.placed(WTM, -128).layers["fc"].chains
    assert c.chain.add[:2].tolist() == [128 + 128 * 16 * 73, 128 - 128 * 16 * 72]


# Truncation in general //


@pytest.mark.fast
@given(config=configs(adc_rounding="toward_zero"), seed=seeds, longer=st.booleans())
def test_an_ideal_conversion_of_any_macro_truncates(config: Config, seed: int, longer: bool) -> None:
    """Of every encoding, at every step that can be set, also by a redundant search; a die without spread is ideal."""
    rng = np.random.default_rng(seed)
    config = redundant(config, rng) if longer else config
    still = replace(config, cell_sigma=0.0, capacitor_sigma=0.0, comparator_sigma=0.0)
    drawn = sample_die(still, np.zeros((1, config.rows, config.bit_lines), dtype=np.uint8), seed=1).threshold[0]
    assert np.array_equal(drawn, ideal_thresholds(config))
    for step in config.steps:
        ends = np.array([config.code_min - 2, config.code_max + 2]) * step
        units = rng.integers(ends[0], ends[1], 100, endpoint=True)
        units = np.concatenate([units, units // step * step, units // step * step - 1])
        q = units[:, None] << 2 * config.frac_bits
        exact = [int(Fraction(u, step)) for u in units.tolist()]
        codes = [min(max(code, config.code_min), config.code_max) for code in exact]
        assert sar_adc.convert(config, q, drawn[:1], step=step)[0][:, 0].tolist() == codes
        assert sar_adc.clipped(config, q, step=step) == sum(a != b for a, b in zip(codes, exact, strict=True))


@pytest.mark.fast
def test_truncation_is_exact_up_to_the_largest_step_and_none_is_larger() -> None:
    assert WTM.step_shift_max == 12 and NEAREST.step_shift_max == 18
    top, table = WTM.steps[-1], ideal_thresholds(WTM)[:1]
    q = np.array([[-top], [1 - top], [top - 1], [top]]) << 12
    assert top == 4096 and sar_adc.convert(WTM, q, table, step=top)[0].ravel().tolist() == [-1, 0, 0, 1]
    assert sar_adc.convert(WTM, q * 2, table, step=2 * top)[0].ravel().tolist() == [-1, 0, 0, 1]
    assert sar_adc.convert(WTM, q * 2 + (1 << 12), table, step=2 * top)[0].ravel().tolist() != [0, 0, 0, 1]


@pytest.mark.fast
@given(config=configs(adc_rounding="toward_zero", column_correction=True, adc_bits=8), longer=st.booleans(), seed=seeds)
def test_reports_and_corrections_take_truncation_for_ideal(config: Config, longer: bool, seed: int) -> None:
    config = redundant(config, np.random.default_rng(seed)) if longer else config
    die = ideal_die(config, np.zeros((1, config.rows, config.bit_lines), dtype=np.uint8))
    assert not converter(config, die).deviation.any()
    q, codes = transfer(config, die.threshold[0])
    gain, offset = fit_correction(config, *code_centres(config, transitions(config, q, codes)))
    columns = slice(config.n_adcs)
    assert np.array_equal(correct(config, codes, gain[columns], offset[columns]), codes)


@pytest.mark.rtl
def test_a_small_truncating_macro_agrees_on_ideal_and_varied_dies(rng: Rng) -> None:
    config, step = TRUNCATING, TRUNCATING.steps[-3]
    weights, x = random_weights(config, rng, 12, 9), rng.integers(0, 8, (6, 12))
    ideal = programmed(config, weights)
    chain = chain_of(config, one_round(config, steps=((step,),) * 2))
    varied = sample_die(config, flash_array.levels(config, weights)[None], seed=3)
    for die in (ideal, varied):
        checked = check(job_of(config, die, chain, Stimulus(inputs=[x], psums=None)), icarus.build(config))
        assert np.array_equal(Engine(config, die).run_chain(chain, [x]), checked.rtl[0].outputs)
        exact = [x[:, top : top + 5] @ weights[top : top + 5] for top in (0, 5, 10)]  # by row group
        codes = np.clip(np.trunc(np.array(exact) / step), -8, 7).sum(axis=0)
        assert np.array_equal(checked.rtl[0].outputs, step * codes) == (die is ideal)


# Refusals //


@pytest.mark.fast
def test_a_gain_beyond_exact_truncation_and_a_broken_step_are_refused(rng: Rng) -> None:
    for gain in (4 * 8192, 4 * 5):
        with pytest.raises(PlacementError, match=rf"steps = \(\({gain // 4},\), .* is not allowed: expected values of"):
            full_layer(1, 1, 0, gain).placed(WTM, 0)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"adc_rounding": "floor"}, "adc_rounding = 'floor' is not allowed: expected one of nearest, toward_zero"),
        ({"bias_code": 256}, "bias_code = 256 is not allowed: expected largest, or an integer 1 .. 255"),
        ({"bias_code": 0}, "bias_code = 0 is not allowed: expected largest, or an integer 1 .. 255"),
        ({"bias_code": "most"}, "bias_code = 'most' is not allowed: expected largest, or an integer 1 .. 255"),
        ({"bias_code": True}, "bias_code = True is not allowed: expected largest, or an integer 1 .. 255"),
        ({"bias_code": 128, "input_bits": 7}, "bias_code = 128 exceeds the largest code of input_bits = 7"),
        (
            {"weight_encoding": "offset"},
            "weight_bits = 9: weights are int8, for which weight_encoding = offset takes 8",
        ),
    ],
)
def test_what_contradicts_the_rule_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(WTM, **changes)
    assert str(caught.value).startswith(f"preset wtm2101: {said}")
