# SPDX-License-Identifier: Apache-2.0
"""Cells one by one: every level at every word-line code, read as a verify read does it.

One word line is driven, one line of a pair is selected, and the ADC converts in sixteenths of an array unit. The code,
less the ADC's own offset and over its own gain, is the current of the cell. Every cell is read 16 times: the noise of
the ADC is what resolves less than its step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.golden import adc_frontend, bitline, sar_adc
from twinor.noise import HOLD, conversion_words, gaussian, trapped_currents

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.characterise.adcs import AdcFigures
    from twinor.config import Config
    from twinor.die import Die

    Floats = NDArray[np.float64]

__all__ = ["CellTransfer", "cell_levels", "cell_transfer", "fine_step", "read_cells"]

ROWS = 64
"""Word lines that are read, evenly spread."""

READS = 16
"""Reads of every cell: within one stretch of vectors in which no trap changes."""

HEADROOM = 1.6
"""Range of the ADC over the current of an exact cell: 1.1 for the ADC's gain, the rest for cells that are strong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTransfer:
    """Currents of L levels at X word-line codes, code 0 left out, in array units; float64[L, X] each.

    Attributes:
        ideal: products of level and code.
        mean: over the cells of a level.
        sigma: standard deviation among them.
        cells: int64[L], cells of each level that were read.
        clipped: part of all reads that gave the largest code, and may be more.
    """

    ideal: Floats
    mean: Floats
    sigma: Floats
    cells: NDArray[np.int64]
    clipped: float


def cell_levels(config: Config, *, seed: int) -> NDArray[np.uint8]:
    """A level for every cell, as many cells of each, at random places; uint8[rows, bit_lines].

    Example:
        >>> from twinor.config import load
        >>> np.bincount(cell_levels(load("tiny"), seed=1).ravel()).tolist()
        [16, 16, 16, 16]
    """
    count = config.rows * config.bit_lines
    levels = np.arange(count) % (1 << config.cell_bits)
    return np.random.default_rng([seed, 1]).permutation(levels).reshape(config.rows, config.bit_lines).astype(np.uint8)


def fine_step(config: Config, most: float) -> int:
    """The finest step of a verify read, in sixteenths of an array unit, over whose range a current fits.

    Args:
        config: gives the largest code.
        most: array units.

    Example:
        >>> from twinor.config import load
        >>> fine_step(load("nor40_int4"), 21.0), fine_step(load("nor40_int4"), 7.0)
        (3, 1)
    """
    return min(m << k for k in range(24) for m in (1, 3) if config.code_max * (m << k) >= 16 * most)


def cell_transfer(config: Config, die: Die, levels: NDArray[np.uint8], adcs: AdcFigures) -> CellTransfer:
    """Read cells of macro 0 at every word-line code.

    Args:
        config: the macro.
        die: its tables.
        levels: uint8[rows, bit_lines], what its cells were programmed to.
        adcs: what was measured of its ADCs.

    Example:
        >>> from twinor.characterise.adcs import adc_figures
        >>> from twinor.config import load
        >>> from twinor.die import ideal_die
        >>> config = load("tiny")
        >>> levels = cell_levels(config, seed=0)
        >>> die = ideal_die(config, levels[None])
        >>> found = cell_transfer(config, die, levels, adc_figures(config, die))
        >>> float(abs(found.mean - found.ideal).max()) < 0.5, found.cells.tolist()
        (True, [16, 16, 16, 16])
    """
    rows = np.unique(np.linspace(0, config.rows - 1, min(ROWS, config.rows)).astype(int))
    codes, kinds = np.arange(1, 1 << config.dac_bits), np.arange(1 << config.cell_bits)
    places = [levels[rows] == kind for kind in kinds]
    reads = [read_cells(config, die, rows, int(code), adcs) for code in codes]
    return CellTransfer(
        ideal=np.outer(kinds, codes).astype(np.float64),
        mean=np.array([[found[at].mean() for found, _ in reads] for at in places]),
        sigma=np.array([[found[at].std() for found, _ in reads] for at in places]),
        cells=np.array([np.count_nonzero(at) for at in places], dtype=np.int64),
        clipped=float(np.mean([ends for _, ends in reads])),
    )


def read_cells(
    config: Config, die: Die, rows: NDArray[np.integer], code: int, adcs: AdcFigures
) -> tuple[Floats, float]:
    """Currents of the cells of some word lines, each driven alone with a code; and the part of reads at the top.

    Returns:
        float64[rows, bit_lines] in array units.
    """
    top = ((1 << config.cell_bits) - 1) * code
    step = fine_step(config, HEADROOM * top)
    alone = _alone(die, rows, code)
    on = np.zeros_like(alone) if die.cells is None else die.cells.variance[0, rows, code].astype(np.int64)
    found = np.empty((len(rows), config.cols, config.w_slices, config.lines_per_cell))
    columns, ends = np.arange(config.cols), 0.0
    adc = adc_frontend.adc_of_column(config, columns)
    for j in range(config.w_slices):
        for line in range(config.lines_per_cell):
            q = bitline.column_quantity(config, alone, w_slice=j, line_sel=line + 1)
            variance = bitline.column_quantity(config, on, w_slice=j, line_sel=line + 1)
            codes = _codes(config, die, rows, q, variance, step=step, w_slice=j, line=line)
            ends += float(np.mean(codes == config.code_max))
            lsb = (codes.mean(axis=0) - adcs.offset[adc]) / adcs.gain[adc]
            found[:, :, j, line] = lsb * step / 16
    return found.reshape(len(rows), config.bit_lines), ends / (config.w_slices * config.lines_per_cell)


def _alone(die: Die, rows: NDArray[np.integer], code: int) -> NDArray[np.int64]:
    """What each cell brings while its word line alone is driven, int64[rows, bit_lines]; traps are as they are."""
    cells = die.cells
    if cells is None:
        return np.asarray(die.strength[0, rows].astype(np.int64) * die.drive[0, rows, code][:, None])
    current: NDArray[np.int64] = cells.current[0, rows, code].astype(np.int64)
    if cells.trap[0].any():
        current = current - trapped_currents(cells, 0, 0, rows)[:, code]
    return current


def _codes(
    config: Config,
    die: Die,
    rows: NDArray[np.integer],
    q: NDArray[np.int64],
    variance: NDArray[np.int64],
    *,
    step: int,
    w_slice: int,
    line: int,
) -> NDArray[np.int16]:
    """Raw codes of `READS` reads, int16[reads, rows, cols]; one read where nothing is noisy."""
    columns, cells = np.arange(config.cols), die.cells
    adc = adc_frontend.adc_of_column(config, columns)
    samples = q[None]
    if cells is not None and cells.noisy:
        samples = np.repeat(samples, READS, axis=0)
        total = variance + (cells.conversion[0, adc] * step**2 >> 2 * adc_frontend.FINE_BITS)
        for at, row in enumerate(rows.tolist()):
            where = {"macro": cells.first_macro, "row": row, "x_slice": 0, "w_slice": w_slice, "phase": line}
            words = conversion_words(cells.noise_seed, vectors=np.arange(READS), columns=columns, **where)
            samples[:, at] += gaussian(np.broadcast_to(total[at], words.shape), words)
    table = die.threshold[0][adc]
    return sar_adc.convert(config, samples, table, step=step, fine=True, weights=die.weight[0])[0]


assert READS <= HOLD, "a cell's trap keeps its state while the cell is read"
