# SPDX-License-Identifier: Apache-2.0
"""Every weight is programmed once, exactly where its round drives it, and what does not fit is refused by name."""

from dataclasses import dataclass
from dataclasses import replace as changed

import numpy as np
import pytest
from builders import Ints, configs, linear_network, random_weights, seeds, small_network
from hypothesis import given
from hypothesis import strategies as st
from layers import conv2d, max_pool2d
from twinor.config import Config, replace
from twinor.die import ideal_die
from twinor.errors import PlacementError, UnsupportedLayer
from twinor.golden import cim_macro
from twinor.network import Conv, Flatten, IntegerNetwork, Layer, Linear, Requant
from twinor.place import PlacedLayer, Placement, full_steps, place, weight_matrix
from twinor.rounds import End, Start, validate

from tb.common.configs import EXACT, NOR40, OFFSET, RAGGED, TINY, TWOS, ids

pytestmark = pytest.mark.fast


def roomy(config: Config) -> Config:
    """The same macro with partial sums wide enough for tall layers."""
    return replace(config, psum_bits=24)


def rule(channels: int, *, hi: int = 3) -> Requant:
    numbers = np.arange(1, channels + 1)
    return Requant(mult=numbers.astype(np.int16), add=(-numbers).astype(np.int32), shift=2, lo=0, hi=hi)


def placed_matrix(config: Config, matrix: Ints) -> Placement:
    """Place one linear layer with the weight matrix [K, C]."""
    network = linear_network(matrix.T, rule(matrix.shape[1], hi=0), input_bits=1)
    placement = place(config, network)
    assert list(placement.layers) == ["fc"]
    return placement


def weight_of(config: Config, levels: Ints, column: int) -> Ints:
    """The weights that the cells of one column hold, [rows], read back as a macro designer would."""
    lines = config.w_slices * config.lines_per_cell
    cells = levels[:, column * lines : (column + 1) * lines].astype(np.int64)
    weight = np.zeros(len(levels), dtype=np.int64)
    for j in range(config.w_slices):
        value = 2 ** (j * config.cell_bits)
        if config.weight_encoding == "differential":
            weight += value * (cells[:, 2 * j] - cells[:, 2 * j + 1])
        elif config.weight_encoding == "twos_complement" and j == config.w_slices - 1:
            weight -= value * cells[:, j]
        else:
            weight += value * cells[:, j]
    return weight - (2 ** (config.weight_bits - 1) if config.weight_encoding == "offset" else 0)


@dataclass
class Found:
    """What the rounds of a layer drive."""

    weights: Ints
    """Weight at each place of the layer, [K, C]."""
    times: Ints
    """How often a round drives that place, [K, C]."""
    used: Ints
    """How often a round drives a cell, [macros, rows, columns]."""


def walk(config: Config, placement: Placement, layer: PlacedLayer) -> Found:
    shape = weight_matrix(layer.layer).shape
    found = Found(
        np.zeros(shape, int), np.zeros(shape, int), np.zeros((len(placement.levels), config.rows, config.cols), int)
    )
    for c in layer.chains:
        for rnd, (top, bottom) in zip(c.chain.rounds, c.rows, strict=True):
            assert (rnd.row_count, rnd.col_count) == (bottom - top, c.cols[1] - c.cols[0])
            rows = slice(rnd.row_base, rnd.row_base + rnd.row_count)
            lanes = config.n_adcs - config.ref_cols
            for column in range(rnd.col_count):
                position, lane = divmod(rnd.col_base + column, lanes)
                if config.ref_cols and lane == 0:
                    reference = position * config.n_adcs
                    found.used[c.chain.macro, rows, reference] += 1
                    assert not weight_of(config, placement.levels[c.chain.macro], reference)[rows].any()
                place = position * config.n_adcs + lane + config.ref_cols
                found.used[c.chain.macro, rows, place] += 1
                held = weight_of(config, placement.levels[c.chain.macro], place)
                found.weights[top:bottom, c.cols[0] + column] = held[rows]
                found.times[top:bottom, c.cols[0] + column] += 1
    return found


@given(configs(input_bits=1, dac_bits=1, psum_bits=24, bias_rows=0), seeds, st.integers(1, 60), st.integers(1, 30))
def test_every_weight_lies_where_its_round_drives_it(config: Config, seed: int, rows: int, cols: int) -> None:
    matrix = random_weights(config, np.random.default_rng(seed), rows, cols)
    placement = placed_matrix(config, matrix)
    found = walk(config, placement, placement.layers["fc"])
    assert np.array_equal(found.weights, matrix)
    assert (found.times == 1).all() and found.used.max() == 1
    lines = config.w_slices * config.lines_per_cell
    assert not placement.levels[np.repeat(found.used, lines, axis=2) == 0].any()  # other cells stay off
    assert placement.levels.dtype == np.uint8
    assert sorted(c.chain.macro for c in placement.layers["fc"].chains) == list(range(len(placement.levels)))


@given(configs(input_bits=1, dac_bits=1, psum_bits=24, bias_rows=0), seeds, st.integers(1, 60), st.integers(1, 30))
def test_chains_run_and_partial_sums_flow_from_one_to_the_next(config: Config, seed: int, rows: int, cols: int) -> None:
    matrix = random_weights(config, np.random.default_rng(seed), rows, cols)
    layer = placed_matrix(config, matrix).layers["fc"]
    for index, c in enumerate(layer.chains):
        validate(config, c.chain)
        first, last = c.rows[0][0] == 0, c.rows[-1][1] == rows
        assert c.psum_from == (None if first else index - 1)
        if not first:
            before = layer.chains[index - 1]
            assert (before.cols, before.rows[-1][1]) == (c.cols, c.rows[0][0])
        starts = [rnd.start for rnd in c.chain.rounds]
        assert starts == [Start.ZERO if first else Start.PSUM, *[Start.LAST] * (len(starts) - 1)]
        ends = [rnd.end for rnd in c.chain.rounds]
        assert ends == [*[End.HOLD] * (len(ends) - 1), End.REQUANT if last else End.RAW]
        numbers = np.arange(c.cols[0] + 1, c.cols[1] + 1)
        assert np.array_equal(c.chain.mult, np.pad(numbers, (0, config.out_cols - len(numbers))))
        assert np.array_equal(c.chain.add, np.pad(-numbers, (0, config.out_cols - len(numbers))))
        assert {(rnd.shift, rnd.lo, rnd.hi) for rnd in c.chain.rounds} == {(2, 0, 0)}


def test_bias_rows_stand_below_the_first_tile_and_leave_the_sum_as_it_was() -> None:
    """16 rows on a macro of 8 with 2 bias rows: tiles of 6; 105 = 7 * 3 * 5 becomes cells of weight 3 and 2."""
    config = roomy(replace(TINY, bias_rows=2))
    odd = changed(rule(4), mult=np.full(4, 7, dtype=np.int16), add=np.array([105, -105, 0, 1], dtype=np.int32), shift=1)
    layer = linear("fc", np.ones((4, 16)), requant=odd)
    placement = place(config, network_of(layer))
    chains = placement.layers["fc"].chains
    assert [c.rows for c in chains] == [((0, 6),), ((6, 12),), ((12, 16),)]
    assert [(rnd.bias_rows, rnd.bias_code) for c in chains for rnd in c.chain.rounds] == [(2, 3), (0, 3), (0, 3)]
    lines = placement.levels[0, 6:8].reshape(2, config.cols, config.w_slices, 2)
    weights = (lines[:, :, 0, 0].astype(int) - lines[:, :, 0, 1]).tolist()
    assert weights == [[3, -2, 0, 0], [2, -3, 0, 0]]
    assert chains[0].chain.add.tolist() == [0, 0, 0, 1] and not placement.levels[1:, 6:8].any()


def test_tiles_stand_side_by_side_up_to_the_width_and_the_round_memory() -> None:
    config = roomy(replace(TINY, cols=12, cols_per_adc=6))  # 2 ADCs: a tile of 3 columns takes 2 of 6 positions
    layer = placed_matrix(config, np.ones((50, 3), dtype=int)).layers["fc"]  # 7 tiles of at most 8 rows
    places = [[(rnd.row_base, rnd.col_base) for rnd in c.chain.rounds] for c in layer.chains]
    assert places == [[(0, 0), (0, 4), (0, 8)], [(0, 0), (0, 4), (0, 8)], [(0, 0)]]
    assert [c.rows for c in layer.chains] == [((0, 8), (8, 16), (16, 24)), ((24, 32), (32, 40), (40, 48)), ((48, 50),)]
    assert [c.tile for c in layer.chains] == [
        "rows 0..23, columns 0..2",
        "rows 24..47, columns 0..2",
        "rows 48..49, columns 0..2",
    ]
    narrow = placed_matrix(replace(config, max_rounds=2), np.ones((50, 1), dtype=int)).layers["fc"]
    assert [len(c.chain.rounds) for c in narrow.chains] == [2, 2, 2, 1]


def test_columns_beyond_a_macro_start_chains_of_their_own() -> None:
    layer = placed_matrix(roomy(TINY), np.ones((20, 9), dtype=int)).layers["fc"]
    assert [c.cols for c in layer.chains] == [(0, 4)] * 3 + [(4, 8)] * 3 + [(8, 9)] * 2
    assert [c.psum_from for c in layer.chains] == [None, 0, 1, None, 3, 4, None, 6]
    assert [c.chain.macro for c in layer.chains] == list(range(8))


@pytest.mark.parametrize("config", [NOR40, EXACT], ids=ids)
def test_layers_get_macros_of_their_own(config: Config, rng: np.random.Generator) -> None:
    network = small_network(rng)
    placement = place(config, network)
    assert list(placement.layers) == ["conv1", "conv2", "fc1", "fc2"]
    macros = [c.chain.macro for layer in placement.layers.values() for c in layer.chains]
    assert macros == list(range(len(placement.levels)))
    for layer in placement.layers.values():
        assert np.array_equal(walk(config, placement, layer).weights, weight_matrix(layer.layer))
        assert layer.steps == full_steps(config)


def test_a_convolution_is_a_matrix_of_inputs_by_channels() -> None:
    weight = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2).astype(np.int8)
    layer = conv2d(name="conv", weight=weight, requant=rule(2))
    matrix = weight_matrix(layer)
    assert matrix.shape == (12, 2)
    assert all(matrix[(i * 2 + y) * 2 + x, o] == weight[o, i, y, x] for o, i, y, x in np.ndindex(weight.shape))


# Steps //


def test_steps_are_taken_by_layer_name_and_full_where_none_are_given() -> None:
    network = small_network(np.random.default_rng(0))
    placement = place(NOR40, network, steps={"conv2": ((3,), (8,))})
    assert placement.layers["conv1"].steps == full_steps(NOR40) == ((64,), (64,))
    assert placement.layers["conv2"].steps == ((3,), (8,))
    assert {rnd.steps for c in placement.layers["conv2"].chains for rnd in c.chain.rounds} == {((3,), (8,))}


def test_steps_that_the_macro_lacks_are_refused_with_the_layer() -> None:
    network = small_network(np.random.default_rng(0))
    with pytest.raises(PlacementError, match=r"layer conv2: .*steps = \(\(5,\), \(8,\)\)"):
        place(NOR40, network, steps={"conv2": ((5,), (8,))})
    with pytest.raises(PlacementError, match="ADC steps are given for conv3"):
        place(NOR40, network, steps={"conv3": ((3,), (8,))})
    with pytest.raises(PlacementError, match="ADC steps are given for pool"):
        place(NOR40, network, steps={"pool": ((3,), (8,))})


# Refusals //


POOL = max_pool2d(name="pool", kernel=(2, 2), stride=(2, 2))


def conv(channels: int, kernel: tuple[int, int], *, padding: tuple[int, int] = (0, 0)) -> Conv:
    weight = np.ones((2, channels, *kernel), dtype=np.int8)
    return conv2d(name="conv", weight=weight, padding=padding, requant=rule(2))


FLATTEN, FC32 = Flatten(name="flatten"), Linear(name="fc", weight=np.ones((2, 32), dtype=np.int8), requant=rule(2))
MISFITS: dict[str, tuple[tuple[Layer, ...], str]] = {
    "channels": ((conv(2, (1, 1)),), "layer conv takes images of shape (2, height, width)"),
    "too low": ((conv(1, (5, 4)),), "of at least 5 x 4, the layer before gives (1, 4, 4)"),
    "too low with padding": ((conv(1, (4, 7), padding=(0, 1)),), "of at least 4 x 5"),
    "pool of nothing": (
        (conv(1, (4, 3)), POOL),
        "layer pool takes images of shape (2, height, width) of at least 2 x 2",
    ),
    "flat too early": ((FLATTEN, conv(1, (1, 1))), "layer conv takes images"),
    "not flat": ((conv(1, (1, 1)), FC32), "layer fc takes images of shape (32,), the layer before gives (2, 4, 4)"),
    "flat, of another length": ((conv(1, (1, 2)), FLATTEN, FC32), "(32,), the layer before gives (24,)"),
    "behind a pool": ((conv(1, (1, 1)), POOL, FLATTEN, FC32), "(32,), the layer before gives (8,)"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_layer_must_take_what_the_layer_before_gives(name: str) -> None:
    layers, said = MISFITS[name]
    assert said in refused(roomy(TINY), *layers)


def test_layers_that_follow_are_taken() -> None:
    place(roomy(TINY), network_of(conv(1, (2, 1), padding=(0, 1)), POOL, FLATTEN, linear("fc", np.ones((2, 6)))))
    place(roomy(TINY), network_of(conv(1, (4, 4)), FLATTEN, linear("fc", np.ones((2, 2)))))


def network_of(*layers: Layer, input_bits: int = 2) -> IntegerNetwork:
    """A network whose images fit its first layer."""
    first = layers[0]
    shape = (first.weight.shape[1], 1, 1) if isinstance(first, Linear) else (1, 4, 4)
    flatten = (Flatten(name="flatten"),) if isinstance(first, Linear) else ()
    return IntegerNetwork(input_shape=shape, input_bits=input_bits, layers=(*flatten, *layers))


def refused(config: Config, *layers: Layer, input_bits: int = 2) -> str:
    with pytest.raises(PlacementError) as caught:
        place(config, network_of(*layers, input_bits=input_bits))
    return str(caught.value)


def linear(name: str, weight: Ints, *, requant: Requant | None = None) -> Linear:
    return Linear(name=name, weight=weight.astype(np.int8), requant=requant or rule(len(weight)))


def test_the_smallest_weight_needs_an_encoding_that_holds_it() -> None:
    weight = np.zeros((3, 5))
    weight[1, 2] = -4
    said = refused(TINY, linear("fc7", weight))
    assert said == "layer fc7: weights -4 .. 0, preset tiny holds -3 .. 3"
    for config in (roomy(OFFSET), roomy(TWOS)):
        placement = place(config, network_of(linear("fc7", weight)))
        assert walk(config, placement, placement.layers["fc7"]).weights[2, 1] == -4


def test_weights_too_large_are_refused() -> None:
    assert "layer fc7: weights 0 .. 4" in refused(OFFSET, linear("fc7", np.array([[0, 4]])))
    assert "layer conv: weights -8 .. 7" in refused(
        NOR40, conv2d(name="conv", weight=np.array([[[[-8, 7]]]], dtype=np.int8), requant=rule(1))
    )


def test_inputs_of_more_bits_than_the_macro_takes_are_refused() -> None:
    layer = linear("fc", np.ones((2, 16)))
    assert refused(TINY, layer, input_bits=3) == "the network's input has 3 bits, preset tiny takes 2"


@pytest.mark.parametrize(("lo", "hi", "kind"), [(0, 4, "unsigned"), (-1, 2, "signed"), (-3, 1, "signed")])
def test_hidden_outputs_that_the_next_layer_cannot_take_are_refused(lo: int, hi: int, kind: str) -> None:
    odd = changed(rule(4), lo=lo, hi=hi)
    layer = linear("fc1", np.ones((4, 16)), requant=odd)
    said = refused(TINY, layer, linear("fc2", np.ones((2, 4))))
    assert f"layer fc1: outputs {lo} .. {hi} do not fit the 2 {kind} bits" in said
    place(TINY, network_of(layer))  # the last layer may


def test_what_a_column_table_or_a_round_cannot_hold_is_refused_with_the_layer() -> None:
    wide = changed(rule(4), hi=1 << 20)
    assert refused(TINY, linear("fc", np.ones((4, 16)), requant=wide)).startswith("layer fc: ")
    shifted = changed(rule(4), shift=32)
    assert "shift = 32 is not allowed" in refused(TINY, linear("fc", np.ones((4, 16)), requant=shifted))


@pytest.mark.parametrize("channels", [3, 5])
def test_requantization_of_another_number_of_channels_is_refused(channels: int) -> None:
    said = refused(TINY, linear("fc", np.ones((4, 16)), requant=rule(channels)))
    assert said.startswith("layer fc: ")


def test_names_must_differ_and_something_must_have_weights() -> None:
    assert "layer name fc stands twice" in refused(TINY, linear("fc", np.ones((2, 4))), linear("fc", np.ones((2, 2))))
    assert "no layer of the network has weights" in refused(TINY, Flatten(name="flatten"))


@dataclass(frozen=True)
class Sigmoid:
    """A layer that no macro has."""

    name: str


def test_an_unsupported_layer_is_named() -> None:
    with pytest.raises(UnsupportedLayer) as caught:
        place(TINY, network_of(POOL, Sigmoid("squash")))  # type: ignore[arg-type]
    said = str(caught.value)
    assert said == "layer squash is a Sigmoid: supported are Conv, Linear, MaxPool, AvgPool, Concat and Flatten"


# Partial sums //


def test_partial_sums_beyond_the_macros_range_are_refused_at_the_first_row_too_many() -> None:
    # one row group reaches 2 (step) * 8 (code) * (1 + 2) (slices) = 48; 512 / 48 = 10.67 groups of 4 rows
    ten = linear_network(np.ones((2, 40)), rule(2), input_bits=2)
    place(TINY, ten)
    eleven = linear_network(np.ones((2, 41)), rule(2), input_bits=2)
    with pytest.raises(PlacementError) as caught:
        place(TINY, eleven)
    assert str(caught.value) == (
        "layer fc: partial sums of 41 rows reach 528, more than the 10 signed bits of preset tiny"
    )
    place(TINY, eleven, steps={"fc": ((1,), (1,))})  # smaller steps reach less


def reach(config: Config, rows: int, *, steps: int = 1) -> str:
    """The refusal of a layer of so many rows for its partial sums, empty if it is placed."""
    chosen = {"fc": ((steps,) * config.w_slices,) * config.x_slices}
    try:
        place(config, linear_network(np.ones((2, rows)), rule(2, hi=0), input_bits=1), chosen)
    except PlacementError as error:
        return str(error)
    return ""


def test_the_bound_of_partial_sums_is_exact() -> None:
    serial = replace(TINY, input_bits=1)  # 8 (code) a group of 4 rows: 64 groups reach 512
    assert reach(serial, 252) == "" and "253 rows reach 512, more than the 10 signed bits" in reach(serial, 253)
    coarse = replace(OFFSET, adc_bits=2, active_rows=8)  # offsets of 4 * 3 a row outweigh the codes
    assert reach(coarse, 42) == "" and "43 rows reach 516" in reach(coarse, 43)


def test_a_layer_whose_partial_sums_stay_in_the_macro_needs_no_room_for_them() -> None:
    assert reach(OFFSET, 16) == ""  # two tiles side by side, one chain
    assert "partial sums of 17 rows reach" in reach(OFFSET, 17)


@pytest.mark.parametrize("config", [TINY, OFFSET, TWOS, RAGGED], ids=ids)
def test_the_tallest_layer_that_is_placed_streams_its_partial_sums_whatever_the_codes(config: Config) -> None:
    """Golden refuses a partial sum that does not fit; thresholds make every code the largest or the smallest."""
    config = replace(config, psum_bits=13)
    steps = {"fc": ((1,) * config.w_slices,) * config.x_slices}
    tallest = 0
    for rows in range(config.rows, 60 * config.rows, config.rows):
        try:
            placement = place(config, linear_network(np.ones((2, rows)), rule(2, hi=0), input_bits=1), steps)
        except PlacementError as error:
            assert "partial sums of" in str(error)
            break
        tallest = rows
    assert tallest >= 2 * config.rows
    placement = place(config, linear_network(np.ones((2, tallest)), rule(2, hi=0), input_bits=1), steps)
    x = np.full((1, tallest), (1 << config.input_bits) - 1)
    for threshold in (np.iinfo(np.int32).min, np.iinfo(np.int32).max):
        die = ideal_die(config, placement.levels)
        die.threshold[...] = threshold
        raw: list[Ints] = []
        for c in placement.layers["fc"].chains:
            inputs = [x[:, top:bottom] for top, bottom in c.rows]
            psums = None if c.psum_from is None else raw[c.psum_from]
            raw.append(cim_macro.outputs(cim_macro.run_chain(config, die, c.chain, inputs, psums)))
        assert len(raw) > 1  # partial sums did stream
