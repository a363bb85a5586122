# SPDX-License-Identifier: Apache-2.0
"""Placement: layers become tiles on macros, and tiles become chains of rounds.

A layer is a matrix of K rows (one per input of its im2col vector) and C columns (one per output channel); of a grouped
convolution as many groups as fit stand in one such matrix, with zeros beside them.
It is cut into tiles of at most `rows` x `out_cols`; bias rows, where the macro keeps some, follow those of the first
tile. Tiles of one column range that fit side by side in a macro form one chain, each round starting from the last one's
accumulators; further chains start from the raw accumulators of the chain before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinor.bias import bias_code, bias_rows
from twinor.errors import PlacementError
from twinor.golden import flash_array
from twinor.golden.adc_frontend import array_columns, ref_columns
from twinor.network import Conv
from twinor.rounds import Chain, End, Round, Start, validate
from twinor.shapes import check_graph

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.network import IntegerNetwork, WeightLayer

__all__ = [
    "PlacedChain",
    "PlacedLayer",
    "Placement",
    "Steps",
    "full_steps",
    "input_slices",
    "place",
    "place_layer",
    "weight_matrix",
]

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
    """Weights as int8[K, C]: row k is input k of the im2col vector, column c output channel c, groups one by one.

    Example:
        >>> from twinor.network import Requant
        >>> rule = Requant(mult=np.ones(2, np.int16), add=np.zeros(2, np.int32), shift=1, lo=0, hi=15)
        >>> one = {"stride": (1,), "padding": ((0, 0),), "dilation": (1,), "groups": 2, "requant": rule}
        >>> weight_matrix(Conv(name="depthwise", weight=np.array([[[3, 4]], [[5, 6]]], dtype=np.int8), **one)).tolist()
        [[3, 0], [4, 0], [0, 5], [0, 6]]
    """
    groups = layer.groups if isinstance(layer, Conv) else 1
    parts = layer.weight.reshape(groups, len(layer.weight) // groups, -1)
    _, wide, deep = parts.shape
    matrix = np.zeros((groups * deep, groups * wide), dtype=np.int8)
    for g, part in enumerate(parts):
        matrix[g * deep : (g + 1) * deep, g * wide : (g + 1) * wide] = part.T
    return matrix


def _bundles(config: Config, layer: WeightLayer) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Rows and columns of what is placed as one matrix: a layer, or as many of its groups as fit a macro."""
    groups = layer.groups if isinstance(layer, Conv) else 1
    wide, deep = len(layer.weight) // groups, layer.weight[0].size
    each = max(1, min((config.rows - config.bias_rows) // deep, config.out_cols // wide))
    for first in range(0, groups, each):
        past = min(first + each, groups)
        yield (first * deep, past * deep), (first * wide, past * wide)


def input_slices(config: Config, codes: tuple[int, int]) -> int:
    """Input slices that activations of a range need, and the code of the bias rows if there are any.

    Example:
        >>> from twinor.config import load
        >>> [input_slices(load("nor40_int4"), codes) for codes in ((0, 15), (0, 3), (-8, 7))]
        [2, 1, 2]
        >>> input_slices(load("wtm2101"), (0, 3))  # 128 on the bias rows
        2
    """
    magnitude = max(-codes[0], codes[1], bias_code(config) if config.bias_rows else 1)
    return -(-magnitude.bit_length() // config.dac_bits)


def full_steps(config: Config, slices: int | None = None) -> Steps:
    """The smallest steps at which no column of an ideal die can clip, or the largest, for so many input slices."""
    return ((config.steps[-1],) * config.w_slices,) * (config.x_slices if slices is None else slices)


def place(config: Config, network: IntegerNetwork, steps: Mapping[str, Steps] | None = None) -> Placement:
    """Place every layer that has weights.

    Args:
        config: the macro.
        network: the integer network.
        steps: ADC steps by layer name; `full_steps` where a layer is not named.

    Raises:
        UnsupportedLayer: a layer is of no kind that an integer network has.
        PlacementError: weights, inputs or partial sums do not fit the macro.
    """
    _check_network(config, network, steps or {})
    ranges = network.input_ranges()
    images: list[NDArray[np.uint8]] = []
    placed: dict[str, PlacedLayer] = {}
    for layer in network.weight_layers():
        codes = ranges[layer.name]
        chosen = (steps or {}).get(layer.name, full_steps(config, input_slices(config, codes)))
        placed[layer.name] = _place_layer(config, layer, chosen, images, codes)
    return Placement(layers=placed, levels=np.stack(images))


def place_layer(config: Config, layer: WeightLayer, steps: Steps, codes: tuple[int, int]) -> Placement:
    """Place one layer alone, on macros of its own; `codes` are the lowest and highest activation that it can see."""
    images: list[NDArray[np.uint8]] = []
    placed = _place_layer(config, layer, steps, images, codes)
    return Placement(layers={layer.name: placed}, levels=np.stack(images))


def _check_network(config: Config, network: IntegerNetwork, steps: Mapping[str, Steps]) -> None:
    if network.input_bits > config.input_bits:
        raise PlacementError(
            f"the network's input has {network.input_bits} bits, preset {config.name} takes {config.input_bits}"
        )
    check_graph(network)
    weighted = {layer.name: layer for layer in network.weight_layers()}
    if not weighted:
        raise PlacementError("no layer of the network has weights")
    for layer in weighted.values():
        _check_layer(config, layer)
    for name in steps:
        if name not in weighted:
            raise PlacementError(f"ADC steps are given for {name}, which is no layer with weights of the network")
    ranges, sources = network.ranges(), network.sources()
    for layer in weighted.values():
        source, *codes = sources[layer.name]
        _check_range(config, source, ranges[source], layer.name)
        slices = input_slices(config, ranges[source])
        if len(steps.get(layer.name, full_steps(config, slices))) < slices:
            raise PlacementError(f"layer {layer.name}: ADC steps for fewer than the {slices} input slices it needs")
        if codes:
            _check_shortcut(config, codes[0], ranges[codes[0]], layer.name)


def _check_range(config: Config, source: str, codes: tuple[int, int], layer: str) -> None:
    """What a layer takes must fit the word lines."""
    low = -(1 << (config.input_bits - 1)) if codes[0] < 0 else 0
    if codes[0] < low or codes[1] >= low + (1 << config.input_bits):
        raise PlacementError(
            f"layer {source}: outputs {codes[0]} .. {codes[1]} do not fit the {config.input_bits} "
            f"{'signed' if low else 'unsigned'} bits that preset {config.name} takes in layer {layer}"
        )


def _check_shortcut(config: Config, source: str, codes: tuple[int, int], layer: str) -> None:
    limit = 1 << config.input_bits
    if codes[0] < -limit or codes[1] >= limit:
        raise PlacementError(
            f"layer {source}: outputs {codes[0]} .. {codes[1]} do not fit the residual codes {-limit} .. {limit - 1} "
            f"that preset {config.name} takes in layer {layer}"
        )


def _check_layer(config: Config, layer: WeightLayer) -> None:
    channels, rule = layer.weight.shape[0], layer.requant
    tables = {"mult": rule.mult.shape, "add": rule.add.shape}
    if layer.shortcut:
        tables["the shortcut's mult"] = layer.shortcut.mult.shape
    for name, shape in tables.items():
        if shape != (channels,):
            raise PlacementError(f"layer {layer.name}: {name} has shape {shape}, expected ({channels},)")
    low, high = int(layer.weight.min()), int(layer.weight.max())
    if low < config.weight_min or high > config.weight_max:
        raise PlacementError(
            f"layer {layer.name}: weights {low} .. {high}, preset {config.name} holds "
            f"{config.weight_min} .. {config.weight_max}"
        )


def _place_layer(
    config: Config, layer: WeightLayer, steps: Steps, images: list[NDArray[np.uint8]], codes: tuple[int, int]
) -> PlacedLayer:
    matrix = weight_matrix(layer)
    chains: list[PlacedChain] = []
    deepest = 0
    for rows, columns in _bundles(config, layer):
        deepest = max(deepest, rows[1] - rows[0])
        for left in range(*columns, config.out_cols):
            cols = (left, min(left + config.out_cols, columns[1]))
            first, signed = len(chains), codes[0] < 0
            chains += _place_columns(config, layer, matrix, steps, rows, cols, images, first=first, signed=signed)
    if any(c.psum_from is not None for c in chains):
        _check_psums(config, layer, steps, deepest, signed=codes[0] < 0)
    return PlacedLayer(layer=layer, steps=steps, chains=tuple(chains))


def _place_columns(
    config: Config,
    layer: WeightLayer,
    matrix: NDArray[np.int8],
    steps: Steps,
    rows: tuple[int, int],
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
    tiles = [(top, min(top + height, rows[1])) for top in range(*rows, height)]
    bias, table = _column_table(config, layer, cols)
    groups = [tiles[k : k + beside] for k in range(0, len(tiles), beside)]
    chains = []
    for index, tops in enumerate(groups):
        last = index == len(groups) - 1
        rounds = _rounds(config, layer, steps, tops, cols, width, resumed=index > 0, last=last, signed=signed)
        residual = None if index or layer.shortcut is None else table[2]
        chain = Chain(macro=len(images), rounds=rounds, mult=table[0], add=table[1], residual_mult=residual)
        try:
            validate(config, chain)
        except PlacementError as error:
            raise PlacementError(f"layer {layer.name}: {error}") from None
        images.append(_program(config, matrix, tops, cols, rounds, bias))
        name = f"rows {tops[0][0]}..{tops[-1][1] - 1}, columns {cols[0]}..{cols[1] - 1}"
        before = first + index - 1 if index else None
        chains.append(PlacedChain(tile=name, chain=chain, rows=tuple(tops), cols=cols, psum_from=before))
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
                residual=layer.shortcut is not None and not n and not resumed,
                bias_rows=0 if n or resumed else config.bias_rows,
                bias_code=bias_code(config) if config.bias_rows else 0,
            )
        )
    return tuple(rounds)


def _column_table(
    config: Config, layer: WeightLayer, cols: tuple[int, int]
) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """Weights of the bias rows, int8[bias_rows, columns]; mult, add and the shortcut's mult, int32[3, out_cols]."""
    bias, rest = bias_rows(config, layer.requant)
    table = np.zeros((3, config.out_cols), dtype=np.int32)
    shortcut = layer.shortcut.mult if layer.shortcut else np.zeros_like(rest)
    for n, entry in enumerate((layer.requant.mult, rest, shortcut)):
        table[n, : cols[1] - cols[0]] = entry[cols[0] : cols[1]]
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
    added = (
        0 if layer.shortcut is None else int(np.abs(layer.shortcut.mult.astype(np.int64)).max()) << config.input_bits
    )
    bound = added + max(groups * one_group, offset)  # codes of an offset column are not negative: the two never add up
    if bound >= 1 << (config.psum_bits - 1):
        raise PlacementError(
            f"layer {layer.name}: partial sums of {rows} rows reach {bound}, "
            f"more than the {config.psum_bits} signed bits of preset {config.name}"
        )
