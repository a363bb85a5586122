# SPDX-License-Identifier: Apache-2.0
"""Temporal noise: one input converted again and again, against what the tables of the die say.

    sigma**2 = conversion * step**2 + sum of the cells' variances + sum of (what a trap takes)**2 * p * (1 - p)

The code is a whole number, so the spread of codes is that of a normal distribution between the ADC's own thresholds,
and not sigma itself: an input in the middle of a code gives that code alone while sigma is small.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, sqrt
from typing import TYPE_CHECKING

import numpy as np

from twinor.characterise.bench import read
from twinor.converter.metrics import transfer
from twinor.golden import adc_frontend, bitline, flash_array, wl_dac
from twinor.golden.column_correct import correct
from twinor.noise import HOLD
from twinor.rounds import Pass, Round, converts, passes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.characterise.bench import Pattern, Slice
    from twinor.config import Config
    from twinor.die import Die

    Floats = NDArray[np.float64]

__all__ = ["Expected", "NoiseFigures", "expected", "noise_figures"]

_erf = np.frompyfunc(erf, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What tables say of one conversion of one input, float64[C] each, variances in LSB squared.

    Attributes:
        mean: of the input of the ADC, in LSB.
        conversion, read, telegraph: variances of the ADC, of the cells' reads, of their traps.
        codes: standard deviation of the codes.
    """

    mean: Floats
    conversion: Floats
    read: Floats
    telegraph: Floats
    codes: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFigures:
    """Standard deviations of codes of I inputs in LSB, by conversion.

    Attributes:
        name: of the conversion.
        measured, predicted: float64[I, C].
        conversion, read, telegraph: rms of each part at the input of the ADC, in LSB.
    """

    name: str
    measured: Floats
    predicted: Floats
    conversion: float
    read: float
    telegraph: float

    @property
    def sigma(self) -> float:
        """Rms of what was measured, in LSB."""
        return float(np.sqrt(np.mean(self.measured**2)))

    @property
    def ratio(self) -> float:
        """Measured over predicted, of all columns together; 1 where neither is any."""
        wanted = float(np.sqrt(np.mean(self.predicted**2)))
        return self.sigma / wanted if wanted else 1.0


def expected(
    config: Config, die: Die, steps: tuple[tuple[int, ...], ...], x: NDArray[np.int64], *, stretches: float = np.inf
) -> dict[Slice, Expected]:
    """What the tables of macro 0 say of one activation vector.

    Args:
        config: the macro.
        die: a noisy one.
        steps: ADC steps by input slice and weight slice.
        x: int64[rows of a group].
        stretches: of vectors in which no trap changes; of few, codes show less of the traps than there is.

    Raises:
        AssertionError: the die has no cells of its own, so nothing is noisy.
    """
    assert die.cells is not None
    rnd = Round(row_base=0, row_count=len(x), col_base=0, col_count=config.out_cols, steps=steps)
    columns = adc_frontend.converted_columns(config, rnd)[: config.out_cols]
    mean = variance = np.zeros((1, config.out_cols), dtype=np.int64)
    caught = np.zeros(die.cells.trap.shape[1:])
    found = {}
    for p in passes(config, rnd):
        wl = wl_dac.word_lines(config, rnd, x[None], p)
        q = bitline.column_quantity(config, flash_array.of_die(die, 0, wl), w_slice=p.w_slice)[:, columns]
        lines = flash_array.cell_currents(die.cells.variance[0], wl)
        total = bitline.column_total(config, lines, w_slice=p.w_slice)[:, columns]
        mean = adc_frontend.share(config, mean, q, x_slice=p.x_slice)
        variance = adc_frontend.share(config, variance, total, x_slice=2 * p.x_slice)
        current = die.cells.current[0, np.arange(config.rows), wl[0]] * (die.cells.trap[0] / (1 << 16))
        shift = p.x_slice * config.dac_bits if config.analog_slices else 0
        caught = current * 2**shift + (caught if config.analog_slices and p.x_slice else 0.0)
        if converts(config, rnd, p):
            share = _telegraph(config, die, caught, p, columns)
            step = steps[p.x_slice][p.w_slice]
            parts = (mean[0] - share[0], variance[0], share[1])
            found[p.x_slice, p.w_slice] = _expected(config, die, columns, step, parts, seen=1.0 - 1.0 / stretches)
    return found


def _telegraph(
    config: Config, die: Die, caught: Floats, p: Pass, columns: NDArray[np.integer]
) -> tuple[Floats, Floats]:
    """Mean and variance of what the traps of a column take away, in `2**(-2 * frac_bits)` array units."""
    assert die.cells is not None
    share = die.cells.occupancy[0] / 256
    lines = (caught * share).sum(axis=0), (caught**2 * share * (1.0 - share)).sum(axis=0)
    mean = bitline.column_quantity(config, lines[0][None], w_slice=p.w_slice)
    variance = bitline.column_total(config, lines[1][None], w_slice=p.w_slice)
    return np.asarray(mean[0, columns], dtype=np.float64), np.asarray(variance[0, columns], dtype=np.float64)


def _expected(
    config: Config,
    die: Die,
    columns: NDArray[np.integer],
    step: int,
    parts: tuple[Floats, NDArray[np.int64], Floats],
    *,
    seen: float,
) -> Expected:
    """Mean, variance of reads and variance of traps as parts of an LSB; `seen` of the last shows in the codes."""
    assert die.cells is not None
    unit = float(step << 2 * config.frac_bits)
    mean, read, telegraph = parts[0] / unit, parts[1] / unit**2, parts[2] / unit**2
    conversion = die.cells.conversion[0, adc_frontend.adc_of_column(config, columns)] / 2.0 ** (4 * config.frac_bits)
    sigma = np.sqrt(conversion + read + seen * telegraph)
    codes = _code_sigma(config, die, columns, mean, sigma)
    return Expected(mean=mean, conversion=conversion, read=read, telegraph=telegraph, codes=codes)


def _code_sigma(config: Config, die: Die, columns: NDArray[np.integer], mean: Floats, sigma: Floats) -> Floats:
    """Standard deviation of the codes of normal inputs, through the tables of the ADCs and the column correction."""
    adc = adc_frontend.adc_of_column(config, columns)
    q, codes = transfer(config, die.threshold[0], weights=die.weight[0])
    edges = q[1:, adc] / (1 << 2 * config.frac_bits)
    scaled = (edges - mean) / (np.where(sigma > 0, sigma, 1e-12) * sqrt(2.0))
    below = 0.5 * (1.0 + np.asarray(_erf(np.clip(scaled, -6.0, 6.0)), dtype=np.float64))
    share = np.diff(below, axis=0, prepend=0.0, append=1.0)
    given = correct(config, codes[:, adc], die.gain[0, columns], die.offset[0, columns]).astype(np.float64)
    centre = (share * given).sum(axis=0)
    return np.asarray(np.sqrt((share * (given - centre) ** 2).sum(axis=0)))


def noise_figures(
    config: Config, die: Die, known: Pattern, *, inputs: int, repeats: int, backend: str = "fast"
) -> list[NoiseFigures]:
    """Convert the first inputs of a pattern again and again.

    Args:
        config: the macro.
        die: a noisy one, programmed with the pattern.
        known: the pattern.
        inputs: how many of its vectors.
        repeats: how often each is converted.
        backend: the engine.

    Returns:
        Figures of every conversion.
    """
    chosen = known.activations[:inputs]
    told = [expected(config, die, known.steps, x, stretches=max(1.0, repeats / HOLD)) for x in chosen]
    seen: dict[Slice, list[Floats]] = {key: [] for key in told[0]}
    for n, x in enumerate(chosen):
        again = read(config, die, known.steps, np.tile(x, (repeats, 1)), backend=backend, first=n * repeats)
        for key, codes in again.codes.items():
            seen[key].append(codes.std(axis=0))
    return [_figures(config, key, np.stack(seen[key]), [of[key] for of in told]) for key in seen]


def _figures(config: Config, key: Slice, measured: Floats, told: list[Expected]) -> NoiseFigures:
    name = "all input slices" if config.analog_slices else f"input slice {key[0]}"
    return NoiseFigures(
        name=name + (f", weight slice {key[1]}" if config.w_slices > 1 else ""),
        measured=measured,
        predicted=np.stack([one.codes for one in told]),
        conversion=float(np.sqrt(np.mean([one.conversion for one in told]))),
        read=float(np.sqrt(np.mean([one.read for one in told]))),
        telegraph=float(np.sqrt(np.mean([one.telegraph for one in told]))),
    )
