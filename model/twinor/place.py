# SPDX-License-Identifier: Apache-2.0
"""Placement: layers become tiles on macros, and tiles become chains of rounds.

A layer is a matrix of K rows (one per input of its im2col vector) and C columns (one per output channel).
It is cut into tiles of at most `rows` x `out_cols`; bias rows, where the macro keeps some, follow those of the first
tile. Tiles of one column range that fit side by side in a macro form one chain, each round starting from the last one's
accumulators; further chains start from the raw accumulators of the chain before.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from twinor.bias import bias_code, bias_rows
from twinor.errors import PlacementError, UnsupportedLayer
from twinor.golden import flash_array
from twinor.golden.adc_frontend import array_columns, ref_columns
from twinor.network import Conv2d, Flatten, Linear, MaxPool2d
from twinor.rounds import Chain, End, Round, Start, validate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.network import IntegerNetwork, Layer, WeightLayer

__all__ = ["PlacedChain", "PlacedLayer", "Placement", "Steps", "full_steps", "place", "weight_matrix"]

Steps = tuple[tuple[int, ...], ...]
"""ADC steps of one layer, [x_slices][w_slices], in array units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedChain:
    """One chain of a layer.

    Attributes:
        tile: its name, `rows R..R, columns C..C`.
        chain: the rounds.
        rows: first and past-the-end layer row of each round.
        cols: first and past-the-end layer column.
        psum_from: index in the layer of the chain whose raw outputs it starts from, or None.
    """

    tile: str
    chain: Chain
    rows: tuple[tuple[int, int], ...]
    cols: tuple[int, int]
    psum_from: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedLayer:
    """A layer and its chains, in the order in which partial sums flow."""

    layer: WeightLayer
    steps: Steps
    chains: tuple[PlacedChain, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A whole network on macros: placed layers by name and programmed levels, uint8[macros, rows, bit_lines]."""

    layers: Mapping[str, PlacedLayer]
    levels: NDArray[np.uint8]


def weight_matrix(layer: WeightLayer) -> NDArray[np.int8]:
    """Weights as int8[K, C]: row k is input k of the im2col vector, column c output channel c."""
    return layer.weight.reshape(layer.weight.shape[0], -1).T


def full_steps(config: Config) -> Steps:
    """The smallest steps at which no column of an ideal die can clip."""
    return ((config.steps[-1],) * config.w_slices,) * config.x_slices


def place(config: Config, network: IntegerNetwork, steps: Mapping[str, Steps] | None = None) -> Placement:
    """Place every layer that has weights.

    Args:
        config: the macro.
        network: the integer network.
        steps: ADC steps by layer name; `full_steps` where a layer is not named.

    Raises:
        UnsupportedLayer: a layer is none of Conv2d, Linear, MaxPool2d, Flatten.
        PlacementError: weights, inputs or partial sums do not fit the macro.
    """
    _check_network(config, network, steps or {})
    signed = network.signed_inputs()
    images: list[NDArray[np.uint8]] = []
    placed: dict[str, PlacedLayer] = {}
    for layer in network.layers:
        if isinstance(layer, Conv2d | Linear):
            chosen = (steps or {}).get(layer.name, full_steps(config))
            placed[layer.name] = _place_layer(config, layer, chosen, images, signed=signed[layer.name])
    return Placement(layers=placed, levels=np.stack(images))


def _check_network(config: Config, network: IntegerNetwork, steps: Mapping[str, Steps]) -> None:
    if network.input_bits > config.input_bits:
        raise PlacementError(
            f"the network's input has {network.input_bits} bits, preset {config.name} takes {config.input_bits}"
        )
    for layer in network.layers:
        _check_layer(config, layer)
    names = [layer.name for layer in network.layers]
    twice = {name for name in names if names.count(name) > 1}
    weighted = [layer for layer in network.layers if isinstance(layer, Conv2d | Linear)]
    if twice or not weighted:
        raise PlacementError(
            f"layer name {sorted(twice)[0]} stands twice" if twice else "no layer of the network has weights"
        )
    for name in steps:
        if name not in {layer.name for layer in weighted}:
            raise PlacementError(f"ADC steps are given for {name}, which is no layer with weights of the network")
    for layer in weighted[:-1]:
        rule = layer.requant
        low = -(1 << (config.input_bits - 1)) if rule.lo < 0 else 0
        if rule.lo < low or rule.hi >= low + (1 << config.input_bits):
            raise PlacementError(
                f"layer {layer.name}: outputs {rule.lo} .. {rule.hi} do not fit the {config.input_bits} "
                f"{'signed' if low else 'unsigned'} bits that preset {config.name} takes in the next layer"
            )
    shape: tuple[int, ...] = network.input_shape
    for layer in network.layers:
        shape = _output_shape(layer, shape)


def _output_shape(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of one image behind a layer; refuses a layer that does not take what the one before gives."""
    if isinstance(layer, Flatten):
        return (prod(shape),)
    if isinstance(layer, Linear):
        fits, wanted = shape == (layer.weight.shape[1],), f"({layer.weight.shape[1]},)"
        result: tuple[int, ...] = (layer.weight.shape[0],)
    else:
        kernel = layer.weight.shape[2:] if isinstance(layer, Conv2d) else layer.kernel
        padding = layer.padding if isinstance(layer, Conv2d) else (0, 0)
        channels = layer.weight.shape[1] if isinstance(layer, Conv2d) else shape[0]
        wanted = f"({channels}, height, width) of at least {kernel[0] - 2 * padding[0]} x {kernel[1] - 2 * padding[1]}"
        sizes = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(shape[1:], padding, kernel, layer.stride, strict=False)]
        fits = len(shape) == 3 and shape[0] == channels and min(sizes) >= 1
        result = (layer.weight.shape[0] if isinstance(layer, Conv2d) else channels, *sizes)
    if not fits:
        raise PlacementError(f"layer {layer.name} takes images of shape {wanted}, the layer before gives {shape}")
    return result


def _check_layer(config: Config, layer: Layer) -> None:
    if not isinstance(layer, Conv2d | Linear | MaxPool2d | Flatten):
        raise UnsupportedLayer(
            f"layer {getattr(layer, 'name', '?')} is a {type(layer).__name__}: "
            "supported are Conv2d, Linear, MaxPool2d and Flatten"
        )
    if not isinstance(layer, Conv2d | Linear):
        return
    channels, tables = layer.weight.shape[0], (layer.requant.mult.shape, layer.requant.add.shape)
    if tables != ((channels,), (channels,)):
        raise PlacementError(
            f"layer {layer.name}: mult and add have shapes {tables[0]} and {tables[1]}, expected ({channels},) each"
        )
    low, high = int(layer.weight.min()), int(layer.weight.max())
    if low < config.weight_min or high > config.weight_max:
        raise PlacementError(
            f"layer {layer.name}: weights {low} .. {high}, preset {config.name} holds "
            f"{config.weight_min} .. {config.weight_max}"
        )


def _place_layer(
    config: Config, layer: WeightLayer, steps: Steps, images: list[NDArray[np.uint8]], *, signed: bool
) -> PlacedLayer:
    matrix = weight_matrix(layer)
    chains: list[PlacedChain] = []
    for left in range(0, matrix.shape[1], config.out_cols):
        cols = (left, min(left + config.out_cols, matrix.shape[1]))
        chains += _place_columns(config, layer, matrix, steps, cols, images, first=len(chains), signed=signed)
    if any(c.psum_from is not None for c in chains):
        _check_psums(config, layer, steps, matrix.shape[0], signed=signed)
    return PlacedLayer(layer=layer, steps=steps, chains=tuple(chains))


def _place_columns(
    config: Config,
    layer: WeightLayer,
    matrix: NDArray[np.int8],
    steps: Steps,
    cols: tuple[int, int],
    images: list[NDArray[np.uint8]],
    *,
    first: int,
    signed: bool,
) -> list[PlacedChain]:
    """All row tiles of one column range, as many side by side in a macro as fit."""
    width = -(-(cols[1] - cols[0]) // config.n_lanes)  # multiplexer positions
    beside = min(config.cols_per_adc // width, config.max_rounds)
    height = config.rows - config.bias_rows
    tiles = [(top, min(top + height, matrix.shape[0])) for top in range(0, matrix.shape[0], height)]
    bias, table = _column_table(config, layer, cols)
    groups = [tiles[k : k + beside] for k in range(0, len(tiles), beside)]
    chains = []
    for index, rows in enumerate(groups):
        last = index == len(groups) - 1
        rounds = _rounds(config, layer, steps, rows, cols, width, resumed=index > 0, last=last, signed=signed)
        chain = Chain(macro=len(images), rounds=rounds, mult=table[0], add=table[1])
        try:
            validate(config, chain)
        except PlacementError as error:
            raise PlacementError(f"layer {layer.name}: {error}") from None
        images.append(_program(config, matrix, rows, cols, rounds, bias))
        name = f"rows {rows[0][0]}..{rows[-1][1] - 1}, columns {cols[0]}..{cols[1] - 1}"
        before = first + index - 1 if index else None
        chains.append(PlacedChain(tile=name, chain=chain, rows=tuple(rows), cols=cols, psum_from=before))
    return chains


def _rounds(
    config: Config,
    layer: WeightLayer,
    steps: Steps,
    rows: list[tuple[int, int]],
    cols: tuple[int, int],
    width: int,
    *,
    resumed: bool,
    last: bool,
    signed: bool,
) -> tuple[Round, ...]:
    rounds = []
    for n, (top, bottom) in enumerate(rows):
        end = End.HOLD if n < len(rows) - 1 else End.REQUANT if last else End.RAW
        rounds.append(
            Round(
                row_base=0,
                row_count=bottom - top,
                col_base=n * width * config.n_lanes,
                col_count=cols[1] - cols[0],
                steps=steps,
                start=Start.LAST if n else Start.PSUM if resumed else Start.ZERO,
                end=end,
                shift=layer.requant.shift,
                lo=layer.requant.lo,
                hi=layer.requant.hi,
                signed=signed,
                bias_rows=0 if n or resumed else config.bias_rows,
                bias_code=bias_code(config) if config.bias_rows else 0,
            )
        )
    return tuple(rounds)


def _column_table(
    config: Config, layer: WeightLayer, cols: tuple[int, int]
) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """Weights of the bias rows, int8[bias_rows, columns]; `mult` and `add` of the column table, int32[2, out_cols]."""
    bias, rest = bias_rows(config, layer.requant)
    table = np.zeros((2, config.out_cols), dtype=np.int32)
    table[0, : cols[1] - cols[0]] = layer.requant.mult[cols[0] : cols[1]]
    table[1, : cols[1] - cols[0]] = rest[cols[0] : cols[1]]
    return bias[:, cols[0] : cols[1]], table


def _program(
    config: Config,
    matrix: NDArray[np.int8],
    rows: list[tuple[int, int]],
    cols: tuple[int, int],
    rounds: tuple[Round, ...],
    bias: NDArray[np.int8],
) -> NDArray[np.uint8]:
    """Cell levels of one macro; cells of no tile stay at level 0 (off). A reference column holds weights of 0."""
    levels = np.zeros((config.rows, config.cols, config.w_slices * config.lines_per_cell), dtype=np.uint8)
    for (top, bottom), rnd in zip(rows, rounds, strict=True):
        weights = np.concatenate([matrix[top:bottom, cols[0] : cols[1]], bias[: rnd.bias_rows]])
        columns = np.arange(rnd.col_base, rnd.col_base + rnd.col_count)
        driven = levels[rnd.row_base : rnd.row_base + rnd.driven_rows]
        if config.ref_cols:
            driven[:, ref_columns(config, columns)] = flash_array.levels(config, np.zeros((1, 1), dtype=np.int8))
        tile = flash_array.levels(config, weights)
        driven[:, array_columns(config, columns)] = tile.reshape(*weights.shape, -1)
    return levels.reshape(config.rows, config.bit_lines)


def _check_psums(config: Config, layer: WeightLayer, steps: Steps, rows: int, *, signed: bool) -> None:
    """No partial sum of the layer can exceed what the macro takes back in, whatever the codes."""
    code = max(-config.code_min, config.code_max)
    converted = steps[-1:] if config.analog_slices else steps
    slices = [(i, j, s) for i, row in enumerate(converted) for j, s in enumerate(row)]
    one_group = sum(s * code << (i * config.dac_bits + j * config.cell_bits) for i, j, s in slices)
    offset = config.digital_offset * ((1 << config.input_bits) - 1) * (rows + config.bias_rows)
    height = config.rows - config.bias_rows
    driven = [min(height, rows - top) + (config.bias_rows if top == 0 else 0) for top in range(0, rows, height)]
    groups = sum(-(-count // config.active_rows) for count in driven)
    if signed:  # a phase may hold the codes and the other the offset
        groups, offset = 2 * groups, 2 * offset
    bound = max(groups * one_group, offset)  # codes of an offset column are not negative: the two never add up
    if bound >= 1 << (config.psum_bits - 1):
        raise PlacementError(
            f"layer {layer.name}: partial sums of {rows} rows reach {bound}, "
            f"more than the {config.psum_bits} signed bits of preset {config.name}"
        )
