# SPDX-License-Identifier: Apache-2.0
"""A fault in the Verilog is told with its place, values and time, and its reproducer shows it again."""

from dataclasses import replace as changed
from pathlib import Path

import numpy as np
import pytest
from builders import (
    Ints,
    Rng,
    chain_of,
    job_of,
    one_round,
    stimulus,
    wild_die,
)
from command_line import listing, mutated
from placed_networks import Case, layer_input, placed_case
from planted_faults import FAULTS
from small_networks import CONFIGS, SHIFTS
from twinor.config import replace
from twinor.cosim import icarus
from twinor.cosim.chain import Job, check
from twinor.cosim.reproducer import load_job, replay, write_reproducer
from twinor.golden import cim_macro
from twinor.params import RTL
from twinor.place import PlacedChain
from twinor.rounds import End, Start, passes
from twinor.trace import MISSING, SEAMS, UNKNOWN, Divergence, RoundTrace

pytestmark = pytest.mark.rtl
TINY = CONFIGS[0]


# One wrong value //

FAULTY = replace(CONFIGS[4], name="tiny_faulty")
"""Nothing divides anything: 3 ADCs for 9 columns, groups of 5 rows, 3 input bits in slices of 2."""


def faulty_job(rng: Rng) -> Job:
    """Three vectors through a chain with every start and end, and with last phases of one and of two columns."""
    rounds = (
        one_round(FAULTY, row_count=7, col_count=7, start=Start.PSUM, end=End.RAW),
        one_round(FAULTY, row_base=3, row_count=9, col_base=3, col_count=5, end=End.HOLD),
        one_round(FAULTY, row_count=4, col_count=5, start=Start.LAST, end=End.REQUANT, shift=1, lo=-200, hi=200),
    )
    chain = chain_of(FAULTY, *rounds, mult=np.full(FAULTY.out_cols, 2, dtype=np.int32))
    flow = stimulus(FAULTY, chain, rng, vectors=3)
    return job_of(FAULTY, wild_die(FAULTY, rng), chain, flow)


def places(job: Job, kind: str) -> list[tuple[int, int, int, int]]:
    """(vector, round, pass, first column) of every hold, code or output, in order of time."""
    result = []
    for vector in range(job.vectors):
        for index, rnd in enumerate(job.chain.rounds):
            order = passes(job.config, rnd)
            phases = range(0, rnd.col_count, job.config.n_lanes) if kind == "code" else range(1)
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
    golden = cim_macro.run_chain(FAULTY, job.die, job.chain, job.inputs, job.psums)
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
    "comparators inverted": ("tiny", "sar_adc.v", "{TRIALS{cmp_i[a]}", "{TRIALS{~cmp_i[a]}", "trials", FIRST),
    "unsigned conversion": ("tiny", "sar_adc.v", "WEIGHT_ENCODING == 0", "WEIGHT_ENCODING == 1", "codes", FIRST),
    "codes without sign": ("tiny", "shift_add.v", "{code[CODE_BITS-1]}", "{1'b0}", "partial_sums", FIRST),
    "partial sums ignored": ("tiny", "shift_add.v", "begun  = psum_i ?", "begun  = 1'b0 ?", "partial_sums", PSUM),
    "accumulators cleared": ("tiny", "shift_add.v", "first_i && !keep_i", "first_i", "partial_sums", BESIDE),
    "columns of a tile beside": (
        "tiny",
        "macro_ctrl.v",
        "convert_mux + phase_q",
        "phase_q",
        "trials or codes",
        BESIDE,
    ),
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
    "an unknown bit": (
        "tiny",
        "shift_add.v",
        "start + added + (negate_i",
        "start + added + 1'bx + (negate_i",
        "partial_sums",
        FIRST,
    ),
    "a macro that stalls": (
        "tiny",
        "macro_ctrl.v",
        "load_en_o        = armed_q",
        "load_en_o        = 1'b0",
        "word_lines",
        FIRST,
    ),
}


@pytest.mark.parametrize("fault", NETWORK_FAULTS)
def test_a_fault_is_told_and_its_reproducer_shows_it_again(fault: str, rng: Rng, tmp_path: Path) -> None:
    name, file, before, after, seam, tile = NETWORK_FAULTS[fault]
    c = placed_case(next(config for config in CONFIGS if config.name == name), rng, die="sampled")
    rtl, folder = mutated(tmp_path, file, before, after), tmp_path / "reproducers"
    found = c.diverges(rtl, folder)
    assert found.seam in seam.split(" or ") and (found.layer, found.tile) == ("conv1", tile)
    trace = c.golden()["conv1", tile][found.round]
    p = [(w.group, w.x_slice, w.w_slice) for w in trace.passes].index((found.row_group, found.x_slice, found.w_slice))
    assert found.golden in _golden_values(trace, found.seam, found.vector, p, found.column)
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
        if (found.seam, key) not in {("cycles", "golden"), ("cycles", "other")}:  # a round alone starts earlier
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
    """Wrong only for a layer's shift, a column's multiplier and one value, which first occurs far into the run."""
    c = placed_case(TINY, rng, count=3)
    firsts: dict[tuple[int, int], tuple[int, PlacedChain, int]] = {}
    golden = c.golden()
    for chain in c.placement.layers[layer].chains:
        if chain.chain.rounds[-1].end is End.REQUANT:
            sums = golden[layer, chain.tile][-1].partial_sums[:, -1]
            for (vector, column), value in np.ndenumerate(sums):
                firsts.setdefault((int(value), int(chain.chain.mult[column])), (vector, chain, column))
    those = [(first, key) for key, first in firsts.items() if len(first[1].rows) == beside]
    (vector, chain, column), (value, mult) = max(those, key=lambda item: item[0][0])
    half = golden[layer, chain.tile][-1].outputs.shape[0] // 2
    assert vector >= half or beside > 1  # beyond the first run of the simulator

    condition = f"shift_q == {SHIFTS[layer]} && acc == {value} && mult == {mult} && !raw_q"
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
    x = layer_input(c, name)
    return [x[:, top:bottom] for top, bottom in chain.rows]


def test_a_fault_that_needs_a_history_keeps_it(rng: Rng, tmp_path: Path) -> None:
    """The 50th accumulation since reset is wrong: one vector alone has not so many."""
    c = placed_case(TINY, rng)
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
    golden = cim_macro.run_chain(config, job.die, chain, job.inputs, job.psums)
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
    c = placed_case(TINY, rng)
    folder = tmp_path / "reproducers"
    for extra in (1, 2):
        rtl = mutated(tmp_path / str(extra), "shift_add.v", "start + added", f"start + {extra} + added")
        found = c.diverges(rtl, folder)
        assert found.golden is not None and found.other == found.golden + extra
    reproducer = Path(found.reproducer)
    assert listing(folder) == {reproducer, reproducer / "job.npz", reproducer / "divergence.txt"}
    assert f"golden {found.golden}, rtl {found.other} " in (reproducer / "divergence.txt").read_text(encoding="utf-8")
