# SPDX-License-Identifier: Apache-2.0
"""Networks through the Verilog macro agree with golden at every seam, and a fault in the Verilog is told exactly."""

from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import (
    Ints,
    Rng,
    chain_of,
    configs,
    lossless,
    one_round,
    random_chain,
    random_levels,
    seeds,
    stimulus,
    wild_die,
)
from command_line import listing, mutated
from hypothesis import given, settings
from numpy.typing import NDArray
from small_networks import CONFIGS, SHIFTS, random_steps, small_images, tiled_network
from twinor.calibrate import calibrate
from twinor.config import Config, load, replace
from twinor.cosim import icarus
from twinor.cosim.chain import Job, check
from twinor.cosim.network import CosimResult, cosim
from twinor.cosim.reproducer import load_job, replay, write_reproducer
from twinor.die import Die, ideal_die, sample_die
from twinor.golden import macro, macro_ctrl
from twinor.network import Conv2d, IntegerNetwork, Linear
from twinor.params import RTL
from twinor.place import PlacedChain, PlacedLayer, Placement, place
from twinor.quantize import Recipe, trained_digits
from twinor.rounds import End, Start, passes
from twinor.run import chain_runner, forward
from twinor.trace import MISSING, SEAMS, UNKNOWN, Divergence, RoundTrace

from tb.common.configs import ids

pytestmark = pytest.mark.rtl

TINY = CONFIGS[0]
DIES = ["ideal", "sampled", "wild"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network on placed macros with images."""

    config: Config
    network: IntegerNetwork
    placement: Placement
    die: Die
    images: Ints

    def cosim(self, **options: Any) -> CosimResult:
        """Co-simulate the images."""
        return cosim(self.config, self.network, self.placement, self.die, self.images, **options)

    def diverges(self, rtl: Path, folder: Path) -> Divergence:
        """Co-simulate them on other Verilog, which must differ."""
        with pytest.raises(Divergence) as caught:
            self.cosim(rtl=rtl, reproducers=folder, timeout=60)
        return caught.value

    def golden(self) -> dict[tuple[str, str], list[RoundTrace]]:
        """Golden traces by layer and tile, from an ordinary forward pass."""
        traces: dict[tuple[str, str], list[RoundTrace]] = {}

        def run_chain(placed: PlacedLayer, c: PlacedChain, inputs: Any, psums: Ints | None) -> NDArray[np.int64]:
            trace = macro.run_chain(self.config, self.die, c.chain, inputs, psums)
            traces[placed.layer.name, c.tile] = trace
            return macro.outputs(trace)

        forward(self.network, self.placement, self.images, run_chain)
        return traces


def case(config: Config, rng: Rng, *, die: str = "ideal", count: int = 2) -> Case:
    network = tiled_network(config, rng)
    placement = place(config, network, random_steps(config, network, rng))
    dies = {
        "ideal": lambda: ideal_die(config, placement.levels),
        "sampled": lambda: sample_die(replace(config, cell_sigma=0.1), placement.levels, seed=5),
        "wild": lambda: wild_die(config, rng, macros=len(placement.levels)),
    }
    images = small_images(config, network, rng, count=count)
    return Case(config=config, network=network, placement=placement, die=dies[die](), images=images)


# No difference //


@pytest.mark.parametrize("die", DIES)
@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_networks_agree_at_every_seam(config: Config, die: str, rng: Rng) -> None:
    c = case(config, rng, die=die)
    chains = [chain for layer in c.placement.layers.values() for chain in layer.chains]
    assert any(chain.psum_from is not None for chain in chains)  # partial sums leave and come back
    assert any(len(chain.rows) > 1 for chain in chains)  # tiles side by side in one macro
    assert len({chain.cols[0] for chain in c.placement.layers["conv1"].chains}) > 1  # more columns than one tile

    result = c.cosim()
    assert [layer.mismatches for layer in result.layers] == [dict.fromkeys(SEAMS, 0)] * 4
    logits = forward(c.network, c.placement, c.images, chain_runner(config, c.die, backend="fast"))
    assert np.array_equal(result.rtl_logits, logits) and np.array_equal(result.golden_logits, logits)
    _check_figures(c, result)


def _check_figures(c: Case, result: CosimResult) -> None:
    """What a layer reports, from its shape and golden alone."""
    golden, positions = c.golden(), {"conv1": 12, "conv2": 12, "fc1": 1, "fc2": 1}
    weighted = [layer for layer in c.network.layers if isinstance(layer, Conv2d | Linear)]
    for layer, told in zip(weighted, result.layers, strict=True):
        columns, rows = len(layer.weight), layer.weight[0].size
        row_tiles, column_tiles = -(-rows // c.config.rows), -(-columns // c.config.cols)
        vectors = len(c.images) * positions[layer.name]
        tiles = [min(c.config.rows, rows - top) for top in range(0, rows, c.config.rows)]
        groups = sum(-(-tile // c.config.active_rows) for tile in tiles)
        assert (told.name, told.rows, told.cols) == (layer.name, rows, columns)
        assert told.tiles == row_tiles * column_tiles
        assert told.rounds == vectors * row_tiles * column_tiles
        assert told.conversions == vectors * groups * c.config.x_slices * c.config.w_slices * columns
        traces = [trace for (name, _), chain in golden.items() if name == layer.name for trace in chain]
        assert told.clipped == sum(trace.clipped for trace in traces)
        chains = [chain.chain for chain in c.placement.layers[layer.name].chains]
        assert told.floor_cycles == vectors * sum(macro_ctrl.floor_cycles(c.config, chain) for chain in chains)
        assert told.floor_cycles < told.cycles
        assert not told.exact


def test_calibrated_steps_agree_too(rng: Rng) -> None:
    config = CONFIGS[4]
    network = tiled_network(config, rng)
    images = small_images(config, network, rng, count=2)
    placement = place(config, network, calibrate(config, network, images))
    die = sample_die(config, placement.levels, seed=1)
    result = cosim(config, network, placement, die, images)
    golden = forward(network, placement, images, chain_runner(config, die, backend="golden"))
    assert np.array_equal(result.rtl_logits, golden)


def test_progress_ends_at_one_for_every_layer_in_order(rng: Rng) -> None:
    told: dict[str, list[tuple[int, int]]] = {}
    case(TINY, rng).cosim(progress=lambda layer, done, total: told.setdefault(layer, []).append((done, total)))
    assert list(told) == list(SHIFTS)
    for parts in told.values():
        done, totals = zip(*parts, strict=True)
        assert len(parts) > 1 and list(done) == sorted(set(done)) and done[-1] == totals[0] and len(set(totals)) == 1


@settings(max_examples=12)
@given(config=configs(), seed=seeds)
def test_random_chains_on_random_macros_agree(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = icarus.build(config)
    for die in (ideal_die(config, random_levels(config, rng, macros=2)), wild_die(config, rng, macros=2)):
        chain = random_chain(config, rng, macros=2)
        flow = stimulus(config, chain, rng, vectors=3)
        checked = check(Job(config=config, die=die, chain=chain, inputs=flow.inputs, psums=flow.psums), model)
        assert len(checked.golden) == len(checked.rtl) == len(chain.rounds)
        for golden, rtl in zip(checked.golden, checked.rtl, strict=True):
            assert np.array_equal(golden.outputs, rtl.outputs) and np.array_equal(golden.trials, rtl.trials)


def test_trained_digits_agree_on_a_varied_die(tmp_path: Path) -> None:
    """The whole way at full size with a short training: one conversion per column takes the 4-bit activation."""
    from twinor import data

    recipe = Recipe(float_epochs=1, quant_epochs=1, sample_steps=10)
    trained = trained_digits(recipe=recipe, cache_dir=tmp_path)
    images = data.digits().images
    test = images[trained.test_index[:2]]
    config = load("nor40_int4_dac4")
    steps = calibrate(config, trained.network, images[trained.train_index[:16]])
    placement = place(config, trained.network, steps)
    die = sample_die(config, placement.levels, seed=3)
    result = cosim(config, trained.network, placement, die, test)
    shapes = [(layer.rows, layer.cols, layer.tiles) for layer in result.layers]
    assert shapes == [(9, 32, 1), (288, 96, 4), (384, 10, 2)]
    assert sum(sum(layer.mismatches.values()) for layer in result.layers) == 0
    fast = forward(trained.network, placement, test, chain_runner(config, die, backend="fast"))
    assert np.array_equal(result.rtl_logits, fast)


# Exact mode //


@pytest.fixture
def exact_case(rng: Rng) -> Case:
    """A macro that loses nothing: offset columns and steps of one."""
    config = replace(lossless(CONFIGS[1]), psum_bits=16)
    network = tiled_network(config, rng)
    placement = place(config, network)
    images = small_images(config, network, rng, count=2)
    return Case(
        config=config, network=network, placement=placement, die=ideal_die(config, placement.levels), images=images
    )


def test_a_lossless_macro_is_compared_with_pytorch(exact_case: Case) -> None:
    result = exact_case.cosim()
    assert all(layer.exact for layer in result.layers)


def test_a_varied_die_is_not_compared_with_pytorch(exact_case: Case) -> None:
    c = changed(exact_case, die=sample_die(exact_case.config, exact_case.placement.levels, seed=2))
    assert not any(layer.exact for layer in c.cosim().layers)


@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc1", "fc2"])
def test_an_accumulator_that_is_not_the_dot_product_is_told(layer: str, exact_case: Case, tmp_path: Path) -> None:
    """One cell of a die that calls itself ideal is off, so golden and Verilog agree on a wrong sum."""
    c = exact_case
    chain = c.placement.layers[layer].chains[0]
    strength = c.die.strength.copy()
    line = 0  # of output column 0 of the first tile
    strength[chain.chain.macro, : chain.rows[0][1] - chain.rows[0][0], line] += 1 << c.config.frac_bits
    with pytest.raises(Divergence) as caught:
        changed(c, die=changed(c.die, strength=strength)).cosim(reproducers=tmp_path)
    found = caught.value
    assert (found.layer, found.seam, found.other_name) == (layer, "partial_sums", "PyTorch")
    assert found.tile == [c.tile for c in c.placement.layers[layer].chains if c.cols == chain.cols][-1]
    assert found.column == chain.cols[0]
    x = _layer_input(c, layer)[found.vector]
    exact = int(x.astype(np.int64) @ _matrix(c, layer)[:, found.column])
    assert found.other == exact
    assert found.golden == exact + int(x[slice(*chain.rows[0])].sum())
    earlier = _layer_input(c, layer)[: found.vector, slice(*chain.rows[0])]
    assert not earlier.any()  # the first vector in which the cell conducts


def _matrix(c: Case, name: str) -> Ints:
    layer = c.placement.layers[name].layer
    return layer.weight.reshape(len(layer.weight), -1).T.astype(np.int64)


def _layer_input(c: Case, name: str) -> Ints:
    """Every vector that a layer sees, [vectors, K], read off the chains' inputs."""
    seen = np.zeros((0, 0), dtype=np.int64)
    runner = chain_runner(c.config, c.die, backend="fast")

    def run_chain(placed: PlacedLayer, chain: PlacedChain, inputs: Any, psums: Ints | None) -> NDArray[np.int64]:
        nonlocal seen
        if placed.layer.name == name:
            seen = np.zeros((len(inputs[0]), placed.layer.weight[0].size), dtype=np.int64) if not seen.size else seen
            for (top, bottom), x in zip(chain.rows, inputs, strict=True):
                seen[:, top:bottom] = x
        return runner(placed, chain, inputs, psums)

    forward(c.network, c.placement, c.images, run_chain)
    return seen


# One wrong value //

FAULTY = replace(CONFIGS[4], name="tiny_faulty")
"""Nothing divides anything: 3 ADCs for 9 columns, groups of 5 rows, 3 input bits in slices of 2."""

DECLARED = """);
  reg [31:0] target [0:0];
  reg [31:0] count = 32'd0;
  wire       now   = count == target[0];
  reg        late  = 1'b0;
"""
COUNTED = """
  initial $readmemh("{folder}/target.hex", target);
  always @(posedge clk_i) if ({event}) count <= count + 32'd1;
  {more}

endmodule
"""
MONITOR = """
  integer times;
  initial times = $fopen("{folder}/times.txt", "w");
  always @(posedge clk_i) begin
    if (hold_o) $fdisplay(times, "hold %0d", $time);
    if (code_valid && code_ready) $fdisplay(times, "code %0d", $time);
    if (out_valid_o) $fdisplay(times, "out %0d", $time);
  end

endmodule
"""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One wrong value at the n-th event of a kind, for an n that the mutated Verilog reads when it starts."""

    file: str
    event: str
    """Condition that counts events."""
    before: str
    after: str
    """What replaces `before`; `now` is true from the event before the n-th up to the n-th."""
    kind: str
    """What the event leads to: hold, code or out."""
    more: str = ""

    def plant(self, folder: Path) -> Path:
        """A copy of the Verilog with this fault, which also writes the time of every hold, code and output."""
        rtl = mutated(folder, self.file, self.before, self.after)
        counted = COUNTED.format(folder=folder, event=self.event, more=self.more)
        for file, changes in ((self.file, {"\n);\n": f"\n{DECLARED}"}), ("cim_macro.v", {})):
            path = rtl / file
            text = path.read_text(encoding="utf-8")
            for before, after in changes.items():
                text = text.replace(before, after, 1).replace("\nendmodule\n", counted)
            if file == "cim_macro.v":
                text = text.replace("\nendmodule\n", MONITOR.format(folder=folder))
            path.write_text(text, encoding="utf-8")
        return rtl


FAULTS = {
    "word_lines": Fault(
        file="wl_dac.v",
        event="drive_i && wl_on_i",
        before="& {LINE_BITS{wl_on_i}};",
        after="& {LINE_BITS{wl_on_i}} ^ (now ? 1 << off_low : 0);",  # the first row of the group
        kind="hold",
    ),
    "trials": Fault(
        file="sar_adc.v",
        event="done_o",
        before="trial = result_q | seq_q;",
        after="trial = (now && a == 1 && seq_q == 2) ^ (result_q | seq_q);",
        kind="code",
    ),
    "codes": Fault(
        file="sar_adc.v",
        event="start_i",
        before="= {1'b0, result_q} -",
        after="= (late && a == 1) + {1'b0, result_q} -",  # the code is there from the last trial to the next start
        more="always @(posedge clk_i) if (start_i) late <= now;",
        kind="code",
    ),
    "partial_sums": Fault(
        file="shift_add.v",
        event="accept",
        before="= start + (negate_i",
        after="= start + (now && a == 1) + (negate_i",
        kind="code",
    ),
    "outputs": Fault(
        file="requantize.v",
        event="out_valid_o",
        before="out_data_o  = out_data_q;",
        after="out_data_o  = out_data_q + now;",
        kind="out",
    ),
    "last_flags": Fault(
        file="requantize.v",
        event="out_valid_o",
        before="out_last_o  = out_last_q;",
        after="out_last_o  = out_last_q ^ now;",
        kind="out",
    ),
    "cycles": Fault(
        file="macro_ctrl.v",
        event="hold",
        before="hold   = busy_q && wait_q == SETTLED && convert_free;",
        after="hold   = busy_q && wait_q == SETTLED && convert_free && !(now && !late);",
        more="always @(posedge clk_i) late <= now && busy_q && wait_q == SETTLED && convert_free;",
        kind="hold",
    ),
}


def faulty_job(rng: Rng) -> Job:
    """Three vectors through a chain with every start and end, and with last phases of one and of two columns."""
    rounds = (
        one_round(FAULTY, row_count=7, col_count=7, start=Start.PSUM, end=End.RAW),
        one_round(FAULTY, row_base=3, row_count=9, col_base=3, col_count=5, end=End.HOLD),
        one_round(FAULTY, row_count=4, col_count=5, start=Start.LAST, end=End.REQUANT, shift=1, lo=-200, hi=200),
    )
    chain = chain_of(FAULTY, *rounds, mult=np.full(FAULTY.cols, 2, dtype=np.int32))
    flow = stimulus(FAULTY, chain, rng, vectors=3)
    return Job(config=FAULTY, die=wild_die(FAULTY, rng), chain=chain, inputs=flow.inputs, psums=flow.psums)


def places(job: Job, kind: str) -> list[tuple[int, int, int, int]]:
    """(vector, round, pass, first column) of every hold, code or output, in order of time."""
    result = []
    for vector in range(job.vectors):
        for index, rnd in enumerate(job.chain.rounds):
            order = passes(job.config, rnd)
            phases = range(0, rnd.col_count, job.config.n_adcs) if kind == "code" else range(1)
            if kind != "out":
                result += [(vector, index, p, column) for p in range(len(order)) for column in phases]
            elif rnd.end is not End.HOLD:
                result += [(vector, index, len(order) - 1, column) for column in range(rnd.col_count)]
    return result


@pytest.mark.parametrize("seam", SEAMS)
def test_one_wrong_value_is_told_with_its_place_and_time(seam: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    job, fault = faulty_job(rng), FAULTS[seam]
    model = icarus.build(FAULTY, rtl=fault.plant(tmp_path))
    golden = macro.run_chain(FAULTY, job.die, job.chain, job.inputs, job.psums)
    lane = 1 if fault.kind == "code" else 0
    events = [
        (n, (v, r, p, column + lane))
        for n, (v, r, p, column) in enumerate(places(job, fault.kind))
        if column + lane < job.chain.rounds[r].col_count
    ]
    for k in (0, *rng.integers(1, len(events) - 1, 4), -1):
        n, (vector, index, p, column) = events[k]
        (tmp_path / "target.hex").write_text(f"{n:x}\n", encoding="ascii")
        with pytest.raises(Divergence) as caught:
            check(job, model, timeout=60)
        found, where = caught.value, golden[index].passes[p]
        assert (found.seam, found.vector, found.round) == (seam, vector, index)
        assert (found.row_group, found.x_slice, found.w_slice) == (where.group, where.x_slice, where.w_slice)
        _check_values(golden[index], found, vector, p, column)
        times = [line.split() for line in (tmp_path / "times.txt").read_text(encoding="ascii").splitlines()]
        assert found.sim_time == [int(time) for kind, time in times if kind == fault.kind][n]
    (tmp_path / "target.hex").write_text(f"{len(places(job, fault.kind)):x}\n", encoding="ascii")
    check(job, model, timeout=60)  # without a wrong value nothing is told


def _check_values(golden: RoundTrace, found: Divergence, vector: int, p: int, column: int) -> None:
    """Column and both values, given what the fault does to the golden one."""
    rnd, where = golden.rnd, golden.passes[p]
    if found.seam == "word_lines":
        column = rnd.row_base + where.group * FAULTY.active_rows
        value, wrong = golden.word_lines[vector, p, column], golden.word_lines[vector, p, column] ^ 1
    elif found.seam == "trials":
        value, wrong = golden.trials[vector, p, column, 2], golden.trials[vector, p, column, 2] ^ 1
    elif found.seam == "cycles":
        value, wrong = golden.hold_cycles[vector, p], golden.hold_cycles[vector, p] + 1
    elif found.seam == "last_flags":
        value, wrong = golden.last_flags[vector, column], 1 - golden.last_flags[vector, column]
    elif found.seam == "outputs":
        value, wrong = golden.outputs[vector, column], golden.outputs[vector, column] + 1
    else:
        value = getattr(golden, found.seam)[vector, p, column]
        wrong = value + 1
    assert (found.golden, found.other) == (value, wrong)
    assert found.column == (None if found.seam == "cycles" else column)


def test_an_output_too_many_is_told(rng: Rng, tmp_path: Path) -> None:
    job = faulty_job(rng)
    job = changed(job, inputs=[x[:1] for x in job.inputs], psums=None if job.psums is None else job.psums[:1])
    again = "reg again = 0; always @(posedge clk_i) again <= out_valid_q && out_last_q; assign out_valid_o = again ||"
    rtl = mutated(tmp_path, "requantize.v", "assign out_valid_o =", again)
    with pytest.raises(Divergence) as caught:
        check(job, icarus.build(FAULTY, rtl=rtl), timeout=60)
    assert caught.value.round == 2 and caught.value.seam in ("outputs", "last_flags", "cycles")


# Faults in a network, and their reproducers //

FIRST, PSUM, BESIDE = "rows 0..7, columns 0..3", "rows 8..11, columns 0..3", "rows 0..11, columns 4..4"
"""Tiles of conv1 on macros of 8 x 4: the first, the one that starts from its partial sums, two side by side."""

NETWORK_FAULTS = {
    "rows of other groups driven": (
        "tiny",
        "wl_dac.v",
        "(ALL_ON >> off_len) << off_low",
        "ALL_ON",
        "word_lines",
        FIRST,
    ),
    "comparators inverted": ("tiny", "sar_adc.v", "cmp_i[a]}", "~cmp_i[a]}", "trials", FIRST),
    "unsigned conversion": ("tiny", "sar_adc.v", "WEIGHT_ENCODING == 0", "WEIGHT_ENCODING == 1", "codes", FIRST),
    "codes without sign": ("tiny", "shift_add.v", "{code[CODE_BITS-1]}", "{1'b0}", "partial_sums", FIRST),
    "partial sums ignored": ("tiny", "shift_add.v", "begun  = psum_i ?", "begun  = 1'b0 ?", "partial_sums", PSUM),
    "accumulators cleared": ("tiny", "shift_add.v", "first_i && !keep_i", "first_i", "partial_sums", BESIDE),
    "columns of the first tile": ("tiny", "macro_ctrl.v", "convert_mux + phase_q", "phase_q", "trials", BESIDE),
    "logical shift": ("tiny", "requantize.v", ">>> shift_q", ">> shift_q", "outputs", PSUM),
    "last flag too often": ("tiny", "requantize.v", "last_q && left_q == 16'd1", "last_q", "last_flags", FIRST),
    "settling too long": (
        "tiny",
        "macro_ctrl.v",
        "WL_CYCLES + SETTLE_CYCLES - 1",
        "WL_CYCLES + SETTLE_CYCLES",
        "cycles",
        FIRST,
    ),
    "sign slice added": ("tiny_twos", "macro_ctrl.v", "WEIGHT_ENCODING == 2", "1'b0", "partial_sums", FIRST),
    "offset kept": ("tiny_offset", "macro_ctrl.v", "WEIGHT_ENCODING == 1", "1'b0", "partial_sums", FIRST),
    "an unknown bit": ("tiny", "shift_add.v", "start + (negate_i", "start + 1'bx + (negate_i", "partial_sums", FIRST),
    "a macro that stalls": (
        "tiny",
        "macro_ctrl.v",
        "load_en_o    = armed_q",
        "load_en_o    = 1'b0",
        "word_lines",
        FIRST,
    ),
}


@pytest.mark.parametrize("fault", NETWORK_FAULTS)
def test_a_fault_is_told_and_its_reproducer_shows_it_again(fault: str, rng: Rng, tmp_path: Path) -> None:
    name, file, before, after, seam, tile = NETWORK_FAULTS[fault]
    c = case(next(config for config in CONFIGS if config.name == name), rng, die="sampled")
    rtl, folder = mutated(tmp_path, file, before, after), tmp_path / "reproducers"
    found = c.diverges(rtl, folder)
    assert (found.seam, found.layer, found.tile) == (seam, "conv1", tile)
    trace = c.golden()["conv1", tile][found.round]
    p = [(w.group, w.x_slice, w.w_slice) for w in trace.passes].index((found.row_group, found.x_slice, found.w_slice))
    assert found.golden in _golden_values(trace, seam, found.vector, p, found.column)
    assert found.other != found.golden
    assert (found.other == UNKNOWN) == (fault == "an unknown bit")
    assert (found.other == MISSING) == (found.sim_time is None) == (fault == "a macro that stalls")

    reproducer = Path(found.reproducer)
    assert listing(folder) == {reproducer, reproducer / "job.npz", reproducer / "divergence.txt"}
    said = (reproducer / "divergence.txt").read_text(encoding="utf-8")
    assert said == f"{found}\n" and f"twinor replay {reproducer} --waves" in said
    job, recorded = load_job(reproducer)
    assert recorded == rtl and job.config == c.config
    rounds = 2 if fault == "accumulators cleared" else 1  # a round alone starts from what streams in, and is right
    assert (job.vectors, len(job.chain.rounds), len(job.die.strength)) == (1, rounds, 1)
    with pytest.raises(Divergence) as caught:
        replay(reproducer)
    again = caught.value
    for key in ("seam", "row_group", "x_slice", "w_slice", "column", "golden", "other"):
        if (seam, key) not in {("cycles", "golden"), ("cycles", "other")}:  # a round alone starts earlier
            assert getattr(again, key) == getattr(found, key), key
    assert (again.vector, again.round) == (0, rounds - 1)
    replay(reproducer, rtl=RTL)  # the fault mended, nothing differs


def _golden_values(trace: RoundTrace, seam: str, vector: int, p: int, column: int | None) -> list[int]:
    if seam == "cycles":
        return [int(trace.hold_cycles[vector, p])]
    assert column is not None
    if seam in ("outputs", "last_flags"):
        return [int(getattr(trace, seam)[vector, column])]
    return list(np.atleast_1d(getattr(trace, seam)[vector, p, column]).tolist())


@pytest.mark.parametrize(
    ("layer", "beside"),
    [("conv1", 1), ("conv1", 2), ("conv2", 1), ("fc1", 1), ("fc2", 1)],
    ids=lambda value: str(value),
)
def test_a_rare_fault_is_told_with_layer_tile_vector_and_column(
    layer: str, beside: int, rng: Rng, tmp_path: Path
) -> None:
    """Wrong only for one layer's shift and one value of its accumulators, which first occurs far into the run."""
    c = case(TINY, rng, count=3)
    firsts: dict[int, tuple[int, PlacedChain, int]] = {}
    golden = c.golden()
    for chain in c.placement.layers[layer].chains:
        if chain.chain.rounds[-1].end is End.REQUANT:
            sums = golden[layer, chain.tile][-1].partial_sums[:, -1]
            for (vector, column), value in np.ndenumerate(sums):
                firsts.setdefault(int(value), (vector, chain, column))
    those = [(first, value) for value, first in firsts.items() if len(first[1].rows) == beside]
    (vector, chain, column), value = max(those, key=lambda item: item[0][0])
    half = golden[layer, chain.tile][-1].outputs.shape[0] // 2
    assert vector >= half or beside > 1  # beyond the first run of the simulator

    condition = f"shift_q == {SHIFTS[layer]} && $signed(acc) == {value} && !raw_q"
    rtl = mutated(tmp_path, "requantize.v", "<= raw_q ? acc :", f"<= ({condition}) ? 77 : raw_q ? acc :")
    found = c.diverges(rtl, tmp_path / "reproducers")
    assert (found.layer, found.tile, found.seam) == (layer, chain.tile, "outputs")
    assert (found.vector, found.round, found.column) == (vector, len(chain.rows) - 1, column)
    assert (found.golden, found.other) == (golden[layer, chain.tile][-1].outputs[vector, column], 77)
    assert Path(found.reproducer).name.startswith(f"{layer}-rows{chain.rows[0][0]}_")
    job, _ = load_job(Path(found.reproducer))
    x = [x[vector] for x in _chain_inputs(c, layer, chain)]
    assert (job.vectors, len(job.chain.rounds)) == (1, 1) and np.array_equal(job.inputs[0][0], x[found.round])
    with pytest.raises(Divergence) as caught:
        replay(Path(found.reproducer))
    assert (caught.value.golden, caught.value.other, caught.value.column) == (found.golden, 77, column)


def _chain_inputs(c: Case, name: str, chain: PlacedChain) -> list[Ints]:
    x = _layer_input(c, name)
    return [x[:, top:bottom] for top, bottom in chain.rows]


def test_a_fault_that_needs_a_history_keeps_it(rng: Rng, tmp_path: Path) -> None:
    """The 50th accumulation since reset is wrong: one vector alone has not so many."""
    c = case(TINY, rng)
    fault = changed(FAULTS["partial_sums"], after="= start + (count >= 50) + (negate_i")
    rtl = fault.plant(tmp_path)
    (tmp_path / "target.hex").write_text("0\n", encoding="ascii")
    found = c.diverges(rtl, tmp_path / "reproducers")
    chain = c.placement.layers["conv1"].chains[0].chain
    one = Job(config=TINY, die=c.die, chain=chain, inputs=[np.zeros((1, 8), dtype=np.int64)])
    per_vector = len(places(one, "code"))
    assert (found.layer, found.tile, found.vector) == ("conv1", FIRST, 50 // per_vector)
    job, _ = load_job(Path(found.reproducer))
    assert job.vectors == found.vector + 1 > 1
    with pytest.raises(Divergence) as caught:
        replay(Path(found.reproducer))
    assert (caught.value.seam, caught.value.vector, caught.value.sim_time) == (found.seam, found.vector, found.sim_time)


def test_a_round_alone_takes_its_own_partial_sums(rng: Rng, tmp_path: Path) -> None:
    """Of a chain whose first two rounds both start from partial sums, the second one is wrong."""
    config = CONFIGS[0]
    both = [one_round(config, start=Start.PSUM, col_count=count, end=End.RAW) for count in (3, 4)]
    chain = chain_of(config, *both)
    flow = stimulus(config, chain, rng, vectors=2)
    psums = rng.integers(-100, 100, (2, 7))
    psums[1, 4] = 400  # of column 1 of the second round, out of reach of any other column
    job = Job(config=config, die=wild_die(config, rng), chain=chain, inputs=flow.inputs, psums=psums)
    golden = macro.run_chain(config, job.die, chain, job.inputs, job.psums)
    value = int(golden[1].outputs[1, 1])
    assert sum(np.count_nonzero(trace.outputs == value) for trace in golden) == 1
    rtl = mutated(tmp_path, "requantize.v", "raw_q ? acc :", f"$signed(acc) == {value} ? 77 : raw_q ? acc :")
    with pytest.raises(Divergence) as caught:
        check(job, icarus.build(config, rtl=rtl))
    found = write_reproducer(caught.value, job, tmp_path / "reproducers", rtl=rtl)
    small, _ = load_job(Path(found.reproducer))
    assert small.psums is not None and small.psums.tolist() == psums[1:, 3:].tolist()
    with pytest.raises(Divergence) as again:
        replay(Path(found.reproducer))
    assert (again.value.golden, again.value.other, again.value.column) == (value, 77, 1)


def test_a_second_divergence_at_the_same_place_replaces_the_reproducer(rng: Rng, tmp_path: Path) -> None:
    c = case(TINY, rng)
    folder = tmp_path / "reproducers"
    for extra in (1, 2):
        rtl = mutated(tmp_path / str(extra), "shift_add.v", "start + (negate_i", f"start + {extra} + (negate_i")
        found = c.diverges(rtl, folder)
        assert found.golden is not None and found.other == found.golden + extra
    reproducer = Path(found.reproducer)
    assert listing(folder) == {reproducer, reproducer / "job.npz", reproducer / "divergence.txt"}
    assert f"golden {found.golden}, rtl {found.other} " in (reproducer / "divergence.txt").read_text(encoding="utf-8")
