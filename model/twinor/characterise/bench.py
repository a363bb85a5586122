# SPDX-License-Identifier: Apache-2.0
"""The bench: known weights into cells, known activations onto word lines, codes out of an engine.

Weights are rounded normals of 3/8 of the largest, activations rounded half-normals of 0.23 of the largest, both
clipped: much like a layer of a network, and what an 8-bit ADC over 3.75 sigma converts at 41 dB. One row group is
driven, from word line 0 on, and every output column is converted. ADC steps are those that lose least on the ideal
quantities of the pattern, given the ADCs' gain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from twinor.errors import TwinorError
from twinor.golden import adc_frontend, bitline, cim_macro, flash_array, shift_add, wl_dac
from twinor.rounds import Chain, Pass, Round, converts, passes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.die import Die

__all__ = ["BACKENDS", "Pattern", "Reading", "Slice", "lsb", "pattern", "read", "single_ended_pattern", "weigh"]

Slice = tuple[int, int]
"""Input slice and weight slice of a conversion."""

BACKENDS = ("golden", "fast")
"""Engines that give codes."""

WEIGHT_SIGMA, ACTIVATION_SIGMA = 0.375, 0.23
"""Standard deviations, as fractions of the largest value."""

FITTED = 256
"""Vectors on which ADC steps are fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """What is known of a measurement before it is made; V vectors, C output columns.

    Attributes:
        levels: uint8[rows, bit_lines], what cells are programmed to.
        activations: int64[V, rows of a group].
        dot: int64[V, C], exact dot products.
        ideal: int64[V, C] in array units by conversion: what an ideal array gives to the ADC.
        steps: ADC steps by input slice and weight slice.
        adc_gain: codes per LSB that the steps are fitted to.
    """

    levels: NDArray[np.uint8]
    activations: NDArray[np.int64]
    dot: NDArray[np.int64]
    ideal: dict[Slice, NDArray[np.int64]]
    steps: tuple[tuple[int, ...], ...]
    adc_gain: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What came out.

    Attributes:
        codes: int64[V, C] by conversion.
        mac: int64[V, C], accumulators.
    """

    codes: dict[Slice, NDArray[np.int64]]
    mac: NDArray[np.int64]


def pattern(config: Config, *, seed: int, vectors: int, adc_gain: float = 1.0) -> Pattern:
    """Random weights and activations.

    Args:
        config: the macro.
        seed: of the pattern.
        vectors: how many; the first ones do not depend on it.
        adc_gain: codes per LSB of the ADCs, which is what their range is smaller by.

    Example:
        >>> from twinor.config import load
        >>> found = pattern(load("nor40_int4"), seed=1, vectors=300)
        >>> found.steps, round(float(found.dot.std())), found.ideal[1, 0].shape
        (((2,), (1,)), 137, (300, 64))
    """
    rng = np.random.default_rng([seed, 0])
    weights = np.zeros((config.rows, config.cols), dtype=np.int64)
    normal = rng.standard_normal((config.rows, config.out_cols)) * WEIGHT_SIGMA * config.weight_max
    own = np.clip(np.rint(normal), config.weight_min, config.weight_max).astype(np.int64)
    weights[:, adc_frontend.array_columns(config, np.arange(config.out_cols))] = own
    top, on = (1 << config.input_bits) - 1, _rows(config)
    half = np.abs(rng.standard_normal((vectors, on))) * ACTIVATION_SIGMA * top
    x = np.minimum(np.rint(half), top).astype(np.int64)
    exact = x.astype(np.float64) @ own[:on].astype(np.float64)
    return _known(config, flash_array.levels(config, weights), x, np.rint(exact).astype(np.int64), adc_gain)


def single_ended_pattern(config: Config, both: Pattern) -> Pattern:
    """The same pattern as the plus lines alone have it, with ADC steps of its own."""
    levels = both.levels * (np.arange(config.bit_lines) % 2 == 0).astype(np.uint8)
    known = _known(config, levels, both.activations, both.dot, both.adc_gain)
    return replace(known, dot=weigh(config, known.ideal))


def _known(
    config: Config, levels: NDArray[np.uint8], x: NDArray[np.int64], dot: NDArray[np.int64], adc_gain: float
) -> Pattern:
    ideal = _quantities(config, levels, x)
    steps = _steps(config, ideal, adc_gain)
    return Pattern(levels=levels, activations=x, dot=dot, ideal=ideal, steps=steps, adc_gain=adc_gain)


def _rows(config: Config) -> int:
    return min(config.active_rows, config.rows)


def _round(config: Config, steps: tuple[tuple[int, ...], ...]) -> Round:
    return Round(row_base=0, row_count=_rows(config), col_base=0, col_count=config.out_cols, steps=steps)


def _quantities(config: Config, levels: NDArray[np.uint8], x: NDArray[np.int64]) -> dict[Slice, NDArray[np.int64]]:
    """Exact column quantities of every conversion, in array units."""
    rnd = _round(config, ((1,) * config.w_slices,) * config.x_slices)
    columns = adc_frontend.converted_columns(config, rnd)[: config.out_cols]
    held, found = np.zeros((len(x), config.out_cols), dtype=np.int64), {}
    for p in passes(config, rnd):
        wl = wl_dac.word_lines(config, rnd, x, p)
        lines = np.rint(wl.astype(np.float64) @ levels.astype(np.float64)).astype(np.int64)  # exact below 2**53
        q = bitline.column_quantity(config, lines, w_slice=p.w_slice)[:, columns]
        held = adc_frontend.share(config, held, q, x_slice=p.x_slice)
        if converts(config, rnd, p):
            found[p.x_slice, p.w_slice] = held
    return found


def _steps(config: Config, ideal: dict[Slice, NDArray[np.int64]], adc_gain: float) -> tuple[tuple[int, ...], ...]:
    from twinor.calibrate import best_step  # torch is imported only to run

    unit = adc_gain * (1 << 2 * config.frac_bits)
    best = {key: best_step(config, np.rint(q[:FITTED] * unit).astype(np.int64)) for key, q in ideal.items()}
    last = config.x_slices - 1  # the one that is converted where slices come together before the ADC
    rows = [last if config.analog_slices else i for i in range(config.x_slices)]
    return tuple(tuple(best[i, j] for j in range(config.w_slices)) for i in rows)


def weigh(config: Config, quantities: dict[Slice, NDArray[np.int64]]) -> NDArray[np.int64]:
    """Quantities of the conversions of differential pairs, in array units, as shift-add puts them together."""
    shape = next(iter(quantities.values())).shape
    acc, none = np.zeros(shape, dtype=np.int64), np.zeros(shape[0], dtype=np.int64)
    for (i, j), q in quantities.items():
        acc = shift_add.accumulate(config, acc, q, none, p=Pass(0, i, j), step=1)  # type: ignore[arg-type]
    return acc


def lsb(config: Config, steps: tuple[tuple[int, ...], ...]) -> int:
    """What a code of the heaviest conversion is in the accumulator, in array units.

    Example:
        >>> from twinor.config import load
        >>> lsb(load("nor40_int4"), ((2,), (1,)))
        4
    """
    inputs = [0 if config.analog_slices else i * config.dac_bits for i in range(len(steps))]
    return max(
        s << (shift + j * config.cell_bits) for shift, of in zip(inputs, steps, strict=True) for j, s in enumerate(of)
    )


def read(
    config: Config,
    die: Die,
    steps: tuple[tuple[int, ...], ...],
    x: NDArray[np.int64],
    *,
    backend: str = "fast",
    first: int = 0,
) -> Reading:
    """Run activations through macro 0.

    Args:
        config: the macro.
        die: its tables.
        steps: ADC steps by input slice and weight slice.
        x: activations, int64[V, rows of a group].
        backend: engine, `golden` or `fast`; both give the same integers.
        first: index of the first vector, by which noise is drawn.

    Raises:
        TwinorError: there is no such engine.
    """
    if backend not in BACKENDS:
        raise TwinorError(f"unknown --backend {backend}: expected one of {', '.join(BACKENDS)}")
    return (_read_golden if backend == "golden" else _read_fast)(config, die, _round(config, steps), x, first)


def _read_golden(config: Config, die: Die, rnd: Round, x: NDArray[np.int64], first: int) -> Reading:
    none = np.zeros(config.out_cols, dtype=np.int32)
    chain = Chain(macro=0, rounds=(rnd,), mult=none, add=none)
    trace = cim_macro.run_chain(config, die, chain, [x], first=first)[0]
    kept = [(k, p) for k, p in enumerate(trace.passes) if converts(config, rnd, p)]
    codes = {(p.x_slice, p.w_slice): trace.codes[:, k, : config.out_cols].astype(np.int64) for k, p in kept}
    return Reading(codes=codes, mac=trace.partial_sums[:, -1].astype(np.int64))


def _read_fast(config: Config, die: Die, rnd: Round, x: NDArray[np.int64], first: int) -> Reading:
    from twinor.fast import Engine  # torch is imported only to run

    engine = Engine(config, die)
    codes: dict[Slice, NDArray[np.int64]] = {}
    acc = np.zeros((len(x), config.out_cols), dtype=np.int64)
    for p, q, total in engine.held(0, rnd, x, first=first):
        step = rnd.steps[p.x_slice][p.w_slice]
        code = engine.convert(0, rnd, q, step).numpy()
        own, reference = code[:, : config.out_cols], None
        if config.ref_cols:
            reference = code[:, config.out_cols :][:, adc_frontend.positions(config, rnd)]
        acc = shift_add.accumulate(config, acc, own, total.numpy()[:, 0], reference, p=p, step=step)
        codes[p.x_slice, p.w_slice] = own
    return Reading(codes=codes, mac=acc)
