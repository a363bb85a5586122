# SPDX-License-Identifier: Apache-2.0
"""Dies in the loop of training: column quantities are what they are on one given die, or spread as on all of them.

All dies of a preset:

    q' = q + share * std(q) * N(0, 1)        share = std(q_die - gain * q) / std(q), measured on a sampled die

Programming errors, mismatch of word lines, wires, traps and read noise all grow with the cells that are driven, as the
quantity's own spread does, so one share serves layers of any size. What is the same for all columns, the gain, is left
to calibration. Every call draws anew: the network is trained for all dies, not for one.

One die, with the weights of the moment in its cells:

    q' = gain * x . (levels + deviations) + step * offset + share * std(q) * N(0, 1)

Deviations are those of the cells' mean currents from their levels, gain and offset those of the column's ADC and its
correction, each fitted by least squares; the share is what they leave: noise, and whatever is no product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from twinor.die import ideal_die, ideal_thresholds, sample_die
from twinor.fast import Engine
from twinor.golden.adc_frontend import array_columns
from twinor.golden.column_correct import GAIN_ONE
from twinor.quantize.macro import Deviations
from twinor.rounds import Round

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from twinor.config import Config
    from twinor.die import Die
    from twinor.place import PlacedLayer, Placement

    Floats = NDArray[np.float64]

__all__ = ["column_share", "deviations", "die_noise", "share_left"]

VECTORS = 64
"""Random vectors on which the share is measured."""


def column_share(config: Config, *, seed: int) -> float:
    """Standard deviation of a column quantity's error on a die, as a share of the quantity's own.

    Args:
        config: the macro.
        seed: of the die, its cells and the vectors.

    Example:
        >>> from twinor.config import load, replace
        >>> share = column_share(load("nor40_int4"), seed=0)
        >>> 0.01 < share < column_share(replace(load("nor40_int4"), cell_sigma=0.05), seed=0) < 0.3
        True
    """
    rng = np.random.default_rng([seed, 0])
    levels = rng.integers(0, 1 << config.cell_bits, (1, config.rows, config.bit_lines)).astype(np.uint8)
    steps = ((1,) * config.w_slices,) * config.x_slices
    rnd = Round(row_base=0, row_count=config.active_rows, col_base=0, col_count=config.out_cols, steps=steps)
    x = rng.integers(0, 1 << config.input_bits, (VECTORS, config.active_rows))
    dies = ideal_die(config, levels), sample_die(config, levels, seed=seed)
    exact, real = (torch.cat([q.flatten() for _, q, _ in Engine(config, die).held(0, rnd, x)]).double() for die in dies)
    gain = (exact * real).sum() / exact.square().sum()
    return float((real - gain * exact).std() / exact.std())


def deviations(config: Config, placement: Placement, die: Die, *, device: str = "cpu") -> Deviations:
    """What a die that holds a placed network adds to its column quantities.

    Args:
        config: the macro.
        placement: of the network.
        die: holds its levels.
        device: of the tensors.

    Example:
        >>> from twinor.config import load
        >>> from twinor.network import Linear, Requant
        >>> from twinor.place import place_layer
        >>> rule = Requant(mult=np.ones(2, np.int16), add=np.zeros(2, np.int32), shift=1, lo=0, hi=15)
        >>> layer = Linear(name="fc", weight=np.array([[3, -1, 0], [0, 2, 1]], dtype=np.int8), requant=rule)
        >>> placed = place_layer(load("tiny"), layer, ((1,), (1,)), (0, 3))
        >>> found = deviations(load("tiny"), placed, ideal_die(load("tiny"), placed.levels))
        >>> found.cells["fc"].shape, float(found.cells["fc"].abs().max()), found.offset["fc"].tolist()
        (torch.Size([1, 3, 2]), 0.0, [[0.0, 0.0]])
    """
    ideal = ideal_die(config, placement.levels)
    cells, offset = {}, {}
    for name, layer in placement.layers.items():
        found = _of_layer(config, layer, die, ideal)
        cells[name], offset[name] = (torch.from_numpy(table).float().to(device) for table in found)
    return Deviations(cells=cells, offset=offset)


def _of_layer(config: Config, layer: PlacedLayer, die: Die, ideal: Die) -> tuple[Floats, Floats]:
    """Deviations of the cells, [w_slices, rows, columns], and offsets, [tiles, columns], of one layer."""
    deep, wide = (max(c.rows[-1][1] for c in layer.chains), max(c.cols[1] for c in layer.chains))
    first = {c.cols[0]: min(d.rows[0][0] for d in layer.chains if d.cols == c.cols) for c in layer.chains}
    tiles = max((c.rows[-1][0] - first[c.cols[0]]) // config.rows + 1 for c in layer.chains)
    cells, offset = np.zeros((config.w_slices, deep, wide)), np.zeros((tiles, wide))
    for c in layer.chains:
        macro, cols = c.chain.macro, slice(*c.cols)
        held, wanted = (_held_levels(config, one, macro) for one in (die, ideal))
        gain, moved = _conversions(config, die, macro)
        for (top, bottom), rnd in zip(c.rows, c.chain.rounds, strict=True):
            columns = array_columns(config, np.arange(rnd.col_base, rnd.col_base + rnd.col_count))
            rows = slice(rnd.row_base, rnd.row_base + bottom - top)
            extra = held[rows, columns] * gain[columns, None] - wanted[rows, columns]
            cells[:, top:bottom, cols] = np.moveaxis(extra, 2, 0)
            offset[(top - first[c.cols[0]]) // config.rows, cols] = moved[columns]
    return cells, offset


def _held_levels(config: Config, die: Die, macro: int) -> Floats:
    """What every column of a macro holds, in levels, float64[rows, cols, w_slices]: least squares over the codes."""
    codes, one = np.arange(1 << config.dac_bits), 1 << 2 * config.frac_bits
    if die.cells is None:
        line = die.strength[macro] * (die.drive[macro] @ codes)[:, None]
    else:
        taken = die.cells.trap[macro] / (1 << 16) * die.cells.occupancy[macro] / 256
        line = np.einsum("rcb,c->rb", die.cells.current[macro].astype(np.float64), codes) * (1.0 - taken)
    pairs = line.reshape(config.rows, config.cols, config.w_slices, -1) / (codes @ codes * one)
    return np.asarray(pairs[..., 0] - pairs[..., 1] if config.lines_per_cell == 2 else pairs[..., 0])


def _conversions(config: Config, die: Die, macro: int) -> tuple[Floats, Floats]:
    """Gain, and offset in LSB, of every column's conversion and its correction, float64[cols]."""
    wanted = ideal_thresholds(config)[:1, 1:].astype(np.float64)
    found, away = die.threshold[macro, :, 1:].astype(np.float64), wanted - wanted.mean()
    slope = (found * away).sum(axis=1) / (wanted * away).sum(axis=1)  # exactly 1 of an ideal table
    level = found.mean(axis=1) - slope * wanted.mean(axis=1)
    adcs = np.arange(config.cols) % config.n_adcs
    gain, offset = die.gain[macro] / GAIN_ONE, die.offset[macro] / GAIN_ONE
    cut = np.where((gain % 1.0 == 0.0) & (offset % 1.0 == 0.0), 0.0, 0.5)  # the correction drops its fraction
    share = gain / slope[adcs]
    return share, offset - cut - share * level[adcs] / (1 << 2 * config.frac_bits)


def share_left(config: Config, placement: Placement, die: Die, *, seed: int) -> float:
    """What deviations leave of a column quantity's error on a die, as a share of the quantity's own spread.

    Args:
        config: the macro.
        placement: of the network; its first chain is asked.
        die: holds its levels.
        seed: of the vectors.
    """
    chain = next(iter(placement.layers.values())).chains[0].chain
    rnd, levels = chain.rounds[0], _held_levels(config, die, chain.macro)
    slices, mask = len(rnd.steps), (1 << config.dac_bits) - 1
    x = np.random.default_rng([seed, 1]).integers(0, 1 << slices * config.dac_bits, (VECTORS, rnd.row_count))
    columns = array_columns(config, np.arange(rnd.col_base, rnd.col_base + rnd.col_count))
    error, own = [], []
    for p, q, _ in Engine(config, die).held(chain.macro, rnd, x):
        if p.phase:
            continue
        span = slice(p.group * config.active_rows, (p.group + 1) * config.active_rows)
        codes = x[:, span] if config.analog_slices else x[:, span] >> p.x_slice * config.dac_bits & mask
        rows = slice(rnd.row_base + span.start, rnd.row_base + span.start + codes.shape[1])
        found = q.numpy() / (1 << 2 * config.frac_bits)
        error.append((found - codes @ levels[rows, columns, p.w_slice]).ravel())
        own.append(found.ravel())
    return float(np.concatenate(error).std() / np.concatenate(own).std())


def die_noise(share: float, *, seed: int, epoch: int) -> Callable[[Tensor], Tensor]:
    """Noise that a macro in the loop adds to its column quantities.

    Args:
        share: of a column quantity's own spread, from `column_share` or `share_left`.
        seed: of training.
        epoch: draws differ from epoch to epoch, and not after a killed run goes on.
    """
    generators = dict[torch.device, torch.Generator]()

    def disturb(q: Tensor) -> Tensor:
        if q.device not in generators:
            generators[q.device] = torch.Generator(q.device).manual_seed(seed * 1_000_003 + epoch)
        drawn = torch.randn(q.shape, generator=generators[q.device], device=q.device, dtype=q.dtype)
        return drawn * (share * q.std())

    return disturb
