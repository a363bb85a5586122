# SPDX-License-Identifier: Apache-2.0
"""Random configurations, dies, chains and networks that keep every rule and reach every corner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from layers import conv2d, max_pool2d
from numpy.typing import NDArray
from twinor.config import ACCUMULATIONS, ENCODINGS, INPUT_MODES, Config, load, replace
from twinor.cosim.chain import Job
from twinor.die import Die, ideal_die
from twinor.golden import flash_array
from twinor.golden.adc_frontend import array_columns
from twinor.network import Flatten, IntegerNetwork, Linear, Requant
from twinor.rounds import Chain, End, Round, Start

from tb.common.dies import random_levels as random_levels
from tb.common.dies import random_weights as random_weights
from tb.common.dies import wild_die as wild_die

Ints = NDArray[np.integer[Any]]
Rng = np.random.Generator

seeds = st.integers(0, 2**32 - 1)


@st.composite
def configs(draw: st.DrawFn, /, **fixed: Any) -> Config:
    """Small macros of every encoding, slicing and shape."""
    encoding = fixed.pop("weight_encoding", None) or draw(st.sampled_from(ENCODINGS))
    weight_bits = draw(st.integers(1, 6))
    stored = max(weight_bits - 1, 1) if encoding == "differential" else weight_bits
    input_bits = fixed.get("input_bits") or draw(st.integers(1, 6))
    lanes, share = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    adcs = draw(st.integers(2 if fixed.get("ref_cols") else 1, 4))
    rows = lanes * draw(st.integers(1, 6))
    dac_bits = fixed.get("dac_bits") or draw(st.integers(1, min(4, input_bits)))
    mode = fixed.pop("input_mode", None) or draw(st.sampled_from(INPUT_MODES))
    keys: dict[str, Any] = {
        "name": "random",
        "rows": rows,
        "cols": adcs * share,
        "active_rows": -(-rows // draw(st.integers(1, rows))),
        "cols_per_adc": share,
        "weight_encoding": encoding,
        "weight_bits": weight_bits,
        "cell_bits": 1 if encoding == "twos_complement" else draw(st.integers(1, stored)),
        "input_bits": input_bits,
        "dac_bits": dac_bits,
        "input_mode": mode,
        "slice_accumulation": draw(st.sampled_from(ACCUMULATIONS)) if dac_bits < input_bits else "digital",
        "adc_bits": draw(st.sampled_from([3, 4, 2, 6, 8])),
        "ref_cols": encoding == "offset" and adcs > 1 and draw(st.booleans()),
        "in_lanes": lanes,
        "bias_rows": draw(st.integers(0, min(rows - 1, 2))),
        "max_rounds": draw(st.integers(2, 5)),
        "psum_bits": draw(st.integers(8, 20)),
        "frac_bits": draw(st.integers(6, 8)),
        "wl_cycles": (1 << dac_bits) - 1 if mode == "pulse_width" else draw(st.integers(1, 3)),
        "settle_cycles": draw(st.integers(1, 12)),
    }
    return replace(load("tiny"), **(keys | fixed))


referenced = configs(weight_encoding="offset", ref_cols=True)
"""Macros with reference columns, which `configs` seldom draws."""


def redundant(config: Config, rng: Rng) -> Config:
    """The same macro with a random search that is longer than its code."""
    top = (1 << config.adc_bits) - 1
    while True:
        weights = [1]
        while sum(weights) < top:
            weights.insert(0, int(rng.integers(weights[0], min(sum(weights) + 1, top) + 1)))
        if len(weights) <= 14 and config.adc_bits < len(weights) and sum(weights) <= 2 * top:
            return replace(config, name="redundant", sar_weights=tuple(weights))


def lossless(config: Config) -> Config:
    """The same macro with a step of 1, and so few active rows that the ADC holds every column."""
    bits = config.dac_bits + config.cell_bits + (config.weight_encoding == "differential")
    adc_bits = max(config.adc_bits, bits)
    codes = (1 << adc_bits - 1) - 1 if config.bipolar else (1 << adc_bits) - 1
    per_row = ((1 << config.dac_bits) - 1) * ((1 << config.cell_bits) - 1)
    rows = min(config.rows, codes // per_row)
    return replace(config, adc_bits=adc_bits, active_rows=rows, step="unit", slice_accumulation="digital")


def programmed(config: Config, weights: Ints) -> Die:
    """An ideal die of one macro whose output columns hold these weights, and its reference columns 0."""
    held = np.zeros((len(weights), config.cols), dtype=np.int64)
    held[:, array_columns(config, np.arange(weights.shape[1]))] = weights
    return ideal_die(config, flash_array.levels(config, held)[None])


def every_width(encoding: str, bits: int) -> Config:
    """A lossless macro for weights and activations of so many bits, one bit a cell and a word line at a time."""
    widths = {"weight_bits": bits, "input_bits": bits, "cell_bits": 1, "dac_bits": 1, "psum_bits": 24}
    return replace(load("tiny"), name=f"{bits}_bits", weight_encoding=encoding, step="unit", **widths)


def one_round(config: Config, **changes: Any) -> Round:
    """A round over the whole macro at steps of 1 that starts from zero and ends raw."""
    steps = ((1,) * config.w_slices,) * config.x_slices
    whole: dict[str, Any] = {
        "row_base": 0,
        "row_count": config.rows,
        "col_base": 0,
        "col_count": config.out_cols,
        "steps": steps,
    }
    return Round(**(whole | changes))


def chain_of(config: Config, *rounds: Round, **changes: Any) -> Chain:
    """A chain on macro 0 with an empty column table."""
    zero = np.zeros(config.out_cols, dtype=np.int32)
    plain: dict[str, Any] = {"macro": 0, "rounds": rounds, "mult": zero, "add": zero}
    return Chain(**(plain | changes))


def _random_round(config: Config, rng: Rng, before: Round | None, *, last: bool) -> Round:
    row_base = int(rng.integers(config.rows // config.in_lanes)) * config.in_lanes
    col_base = int(rng.integers(config.cols_per_adc)) * config.n_lanes
    col_count = int(rng.integers(1, config.out_cols - col_base + 1))
    starts = [Start.ZERO, Start.PSUM, *([Start.LAST] * 3 if before else [])]
    start = Start(int(rng.choice(starts)))
    if before is not None and start is Start.LAST:  # accumulators stay where they are
        col_count = before.col_count
        col_base = int(rng.integers((config.out_cols - col_count) // config.n_lanes + 1)) * config.n_lanes
    plan = int(rng.integers(1, config.x_slices + 1))
    each = rng.choice(config.steps, (1 if config.analog_slices else plan, config.w_slices)).tolist()
    steps = each * plan if config.analog_slices else each
    row_count = int(rng.integers(1, config.rows - row_base + 1))
    limit = 1 << min(config.acc_bits, 32) - 1
    lo, hi = np.sort(rng.integers(-limit, limit, 2)).tolist()
    return Round(
        row_base=row_base,
        row_count=row_count,
        col_base=col_base,
        col_count=col_count,
        steps=tuple(tuple(row) for row in steps),
        signed=bool(rng.random() < 0.3),
        residual=bool(rng.random() < 0.3) and start is not Start.LAST,
        bias_rows=int(rng.integers(config.rows - row_base - row_count + 1)) if rng.random() < 0.3 else 0,
        bias_code=int(rng.integers(1 << config.input_bits)),
        start=start,
        end=End(int(rng.choice([End.RAW, End.REQUANT] if last else list(End)))),
        shift=int(rng.integers(1, 32)),
        lo=lo,
        hi=hi,
    )


def random_chain(config: Config, rng: Rng, *, macros: int = 1) -> Chain:
    """A chain of 1 .. max_rounds rounds with every start, end, step, region, sign, bias and input slice plan."""
    rounds: list[Round] = []
    length = int(rng.integers(config.max_rounds)) + 1
    for n in range(length):
        rounds.append(_random_round(config, rng, rounds[-1] if rounds else None, last=n == length - 1))
    return Chain(
        macro=int(rng.integers(macros)),
        rounds=tuple(rounds),
        mult=rng.integers(-(2**15), 2**15, config.out_cols).astype(np.int32),
        add=rng.integers(-(2**31), 2**31, config.out_cols).astype(np.int32),
        residual_mult=rng.integers(-(2**15), 2**15, config.out_cols).astype(np.int32),
    )


@dataclass(frozen=True, kw_only=True)
class Stimulus:
    """What a chain takes in."""

    inputs: list[Ints]
    psums: Ints | None
    residuals: Ints | None = None

    @property
    def streams(self) -> tuple[list[Ints], Ints | None, Ints | None]:
        """In the order in which engines take them."""
        return self.inputs, self.psums, self.residuals


def stimulus(config: Config, chain: Chain, rng: Rng, *, vectors: int) -> Stimulus:
    """Random activations, partial sums and residual codes over their whole range."""
    limit = 1 << config.psum_bits - 1
    wanted = sum(rnd.col_count for rnd in chain.rounds if rnd.start is Start.PSUM)
    added, top = sum(rnd.col_count for rnd in chain.rounds if rnd.residual), 1 << config.input_bits
    inputs: list[Ints] = [
        rng.integers(0, top, (vectors, rnd.row_count)) - (top // 2 if rnd.signed else 0) for rnd in chain.rounds
    ]
    return Stimulus(
        inputs=inputs,
        psums=rng.integers(-limit, limit, (vectors, wanted)) if wanted else None,
        residuals=rng.integers(-top, top, (vectors, added)) if added else None,
    )


def job_of(config: Config, die: Die, chain: Chain, flow: Stimulus) -> Job:
    """A chain and what it takes in, for the co-simulation."""
    return Job(config=config, die=die, chain=chain, inputs=flow.inputs, psums=flow.psums, residuals=flow.residuals)


def hidden(rng: Rng, channels: int, *, top: int = 15) -> Requant:
    """Requantization to activations; shifts, signs and addends so that both clips and the middle occur."""
    mult = rng.integers(20, 200, channels).astype(np.int16)
    mult[::5] *= -1
    add = rng.integers(-(2**11), 2**13, channels).astype(np.int32)
    return Requant(mult=mult, add=add, shift=11, lo=0, hi=top)


def logits(rng: Rng, channels: int) -> Requant:
    """Outputs equal to the accumulator plus a bias."""
    bias = rng.integers(-100, 100, channels).astype(np.int32)
    mult = np.full(channels, 2, dtype=np.int16)
    return Requant(mult=mult, add=2 * bias + 1, shift=1, lo=-(2**19), hi=2**19 - 1)


def small_network(rng: Rng, *, low: int = -7, classes: int = 10) -> IntegerNetwork:
    """Uneven kernels, strides and paddings, a pool and two linear layers; weights low .. 7."""

    def weight(*shape: int) -> NDArray[np.int8]:
        return rng.integers(low, 8, shape).astype(np.int8)

    layers = (
        conv2d(name="conv1", weight=weight(6, 2, 3, 2), stride=(2, 3), padding=(1, 0), requant=hidden(rng, 6)),
        conv2d(name="conv2", weight=weight(5, 6, 3, 3), padding=(1, 1), requant=hidden(rng, 5)),
        max_pool2d(name="pool", kernel=(2, 3), stride=(1, 2)),
        Flatten(name="flatten"),
        Linear(name="fc1", weight=weight(7, 30), requant=hidden(rng, 7)),
        Linear(name="fc2", weight=weight(classes, 7), requant=logits(rng, classes)),
    )
    return IntegerNetwork(input_shape=(2, 7, 17), input_bits=4, layers=layers)


def linear_network(weight: Ints, requant: Requant, *, input_bits: int = 4) -> IntegerNetwork:
    """One linear layer named `fc`, int8[out, in]."""
    layer = Linear(name="fc", weight=weight.astype(np.int8), requant=requant)
    layers = (Flatten(name="flatten"), layer)
    return IntegerNetwork(input_shape=(weight.shape[1], 1, 1), input_bits=input_bits, layers=layers)
