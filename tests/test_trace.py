# SPDX-License-Identifier: Apache-2.0
"""The first difference of two traces is found where a signal first goes wrong, and told with every coordinate."""

from dataclasses import replace as changed
from typing import Any

import numpy as np
import pytest
from builders import chain_of, one_round, stimulus, wild_die
from twinor.errors import TwinorError
from twinor.golden import cim_macro
from twinor.rounds import End, Pass, Start
from twinor.trace import (
    MISSING,
    SEAMS,
    UNKNOWN,
    Divergence,
    RoundTrace,
    first_divergence,
    mismatches,
)

from tb.common.configs import RAGGED, REFERENCED

pytestmark = pytest.mark.fast

VECTORS = 3
ARRAYS = {  # seam of every array of a trace
    "word_lines": "word_lines",
    "trials": "trials",
    "codes": "codes",
    "partial_sums": "partial_sums",
    "outputs": "outputs",
    "last_flags": "last_flags",
    "hold_cycles": "cycles",
    "code_cycles": "cycles",
    "out_cycles": "cycles",
}


@pytest.fixture(scope="module")
def traces() -> list[RoundTrace]:
    """Golden traces of a chain whose first round holds and whose second has a partial last phase."""
    rng = np.random.default_rng(2)
    rounds = (
        one_round(RAGGED, row_count=7, col_count=8, end=End.HOLD),
        one_round(RAGGED, row_base=3, row_count=9, col_count=8, start=Start.LAST, end=End.RAW),
    )
    chain = chain_of(RAGGED, *rounds)
    flow = stimulus(RAGGED, chain, rng, vectors=VECTORS)
    return cim_macro.run_chain(RAGGED, wild_die(RAGGED, rng), chain, flow.inputs)


def damaged(traces: list[RoundTrace], *faults: tuple[int, str, tuple[int, ...], int | None]) -> list[RoundTrace]:
    """A copy with (round, array, index) set to a value, or raised by one where the value is None."""
    copy = list(traces)
    for index, name, at, value in faults:
        array = getattr(copy[index], name).astype(np.int64)
        array[at] = array[at] + 1 if value is None else value
        copy[index] = changed(copy[index], **{name: array})
    return copy


def found(traces: list[RoundTrace], *faults: tuple[int, str, tuple[int, ...], int | None]) -> Divergence:
    divergence = first_divergence(traces, damaged(traces, *faults))
    assert divergence is not None
    return divergence


def test_equal_traces_do_not_diverge(traces: list[RoundTrace]) -> None:
    assert first_divergence(traces, damaged(traces)) is None
    assert mismatches(traces, damaged(traces)) == dict.fromkeys(SEAMS, 0)


def test_every_array_of_a_trace_is_compared() -> None:
    fields = set(RoundTrace.__dataclass_fields__) - {"rnd", "passes", "clipped", "clips", "converted", "noise"}
    assert fields == set(ARRAYS) and set(ARRAYS.values()) == set(SEAMS)


def test_traces_of_different_length_are_not_compared(traces: list[RoundTrace]) -> None:
    for compare in (first_divergence, mismatches):
        with pytest.raises(ValueError, match="zip"):
            compare(traces, traces[:1])


@pytest.mark.parametrize("name", ARRAYS)
def test_one_wrong_value_anywhere_is_found_and_counted(name: str, traces: list[RoundTrace]) -> None:
    for index, trace in enumerate(traces):
        array = getattr(trace, name)
        for at in ([0] * array.ndim, [size - 1 for size in array.shape]):
            if array.size == 0:  # a round that holds its accumulators sends nothing
                continue
            wrong = damaged(traces, (index, name, tuple(at), None))
            divergence = first_divergence(traces, wrong)
            assert divergence is not None
            assert (divergence.seam, divergence.vector, divergence.round) == (ARRAYS[name], at[0], index)
            assert divergence.golden == array[tuple(at)] and divergence.other == array[tuple(at)] + 1
            assert mismatches(traces, wrong) == dict.fromkeys(SEAMS, 0) | {ARRAYS[name]: 1}


def test_a_reference_column_is_told_by_its_position() -> None:
    """Trials and codes of the references stand behind those of the round's columns."""
    rng = np.random.default_rng(3)
    chain = chain_of(REFERENCED, one_round(REFERENCED, col_base=2, col_count=3))
    flow = stimulus(REFERENCED, chain, rng, vectors=2)
    golden = cim_macro.run_chain(REFERENCED, wild_die(REFERENCED, rng), chain, flow.inputs)
    assert golden[0].codes.shape[2] == 3 + 2 and golden[0].partial_sums.shape[2] == 3
    assert golden[0].conversions == 2 * golden[0].converted * 5
    for seam, at in (("codes", (1, 2, 4)), ("trials", (1, 2, 4, 0))):
        told = found(golden, (0, seam, at, None))
        assert (told.seam, told.column, told.reference, told.cycle) == (
            seam,
            None,
            1,
            int(golden[0].code_cycles[1, 2, 4]),
        )
        assert "weight slice 0, reference column of position 1: golden" in str(told)
    assert found(golden, (0, "codes", (1, 2, 2), None)).reference is None


def test_coordinates_name_the_pass_and_the_column(traces: list[RoundTrace]) -> None:
    assert list(traces[1].passes) == [Pass(0, 0, 0), Pass(0, 1, 0), Pass(1, 0, 0), Pass(1, 1, 0)]
    divergence = found(traces, (1, "codes", (2, 3, 6), None))
    where = {"vector": 2, "round": 1, "row_group": 1, "x_slice": 1, "w_slice": 0, "column": 6}
    assert {key: getattr(divergence, key) for key in where} == where
    assert found(traces, (0, "word_lines", (1, 1, 11), None)).column == 11
    assert found(traces, (0, "trials", (1, 1, 4, 2), None)).column == 4
    assert found(traces, (0, "hold_cycles", (1, 1), None)).column is None
    for name in ("outputs", "last_flags"):  # what leaves, leaves after the last pass
        divergence = found(traces, (1, name, (0, 5), None))
        assert (divergence.row_group, divergence.x_slice, divergence.column) == (1, 1, 5)


def test_the_earliest_difference_is_told_first(traces: list[RoundTrace]) -> None:
    """By vector, then round, then pass, then seam in signal order, then column."""
    late_to_early = [
        (1, "outputs", (2, 7), None),
        (1, "outputs", (2, 0), None),
        (1, "partial_sums", (2, 3, 7), None),
        (1, "codes", (2, 3, 7), None),
        (1, "codes", (2, 3, 1), None),
        (1, "trials", (2, 3, 1, 3), None),
        (1, "word_lines", (2, 3, 0), None),
        (1, "hold_cycles", (2, 2), None),
        (1, "partial_sums", (2, 1, 0), None),
        (0, "codes", (2, 3, 0), None),
        (1, "word_lines", (1, 0, 0), None),
        (0, "partial_sums", (0, 3, 7), None),
        (0, "code_cycles", (0, 0, 7), None),
        (0, "word_lines", (0, 0, 0), None),
    ]
    faults: list[Any] = []
    for fault in late_to_early:
        index, name, at, _ = fault
        faults.append(fault)
        divergence = found(traces, *faults)
        assert (divergence.round, divergence.seam, divergence.vector) == (index, ARRAYS[name], at[0])
        if name not in ("outputs", "hold_cycles", "code_cycles"):
            assert (traces[index].passes[at[1]].group, divergence.column) == (divergence.row_group, at[2])


@pytest.mark.parametrize("column", range(8))
def test_the_cycle_of_a_code_is_that_of_its_own_multiplexer_position(column: int, traces: list[RoundTrace]) -> None:
    """Also in a last phase that is not full: 3 ADCs, 8 columns."""
    divergence = found(traces, (1, "codes", (1, 2, column), None))
    taken = traces[1].code_cycles[1, 2]
    assert vars(divergence)["cycle"] == taken[column]
    assert taken.tolist() == sorted(taken.tolist())
    phase = [int(cycle) for cycle in dict.fromkeys(taken.tolist())]
    assert phase.index(int(taken[column])) == column // RAGGED.n_lanes


def test_the_cycle_of_other_seams(traces: list[RoundTrace]) -> None:
    assert vars(found(traces, (1, "word_lines", (1, 2, 0), None)))["cycle"] == traces[1].hold_cycles[1, 2]
    assert vars(found(traces, (1, "outputs", (1, 4), None)))["cycle"] == traces[1].out_cycles[1, 4]


# The sentence //


def test_the_sentence_has_every_coordinate() -> None:
    divergence = Divergence(
        layer="conv2", tile="rows 0..255, columns 64..99", seam="codes", vector=41, round=3, row_group=7, x_slice=1,
        w_slice=2, column=17, golden=-12, other=11, sim_time=10245,
    )  # fmt: skip
    assert str(divergence) == (
        "divergence at seam codes: layer conv2, tile rows 0..255, columns 64..99, vector 41, round 3, row group 7, "
        "input slice 1, weight slice 2, column 17: golden -12, rtl 11 at 10245 ns"
    )
    assert isinstance(divergence, TwinorError) and divergence.args == (str(divergence),)


def test_a_bare_chain_has_no_layer_and_an_engine_without_clock_no_time() -> None:
    said = str(Divergence(seam="word_lines", column=4, golden=3, other=2, other_name="fast"))
    assert said.startswith("divergence at seam word_lines: vector 0, round 0, ")
    assert said.endswith("word line 4: golden 3, fast 2")
    assert str(Divergence(seam="cycles", golden=3, other=2)).endswith("weight slice 0: golden 3, rtl 2")


@pytest.mark.parametrize(("value", "shown"), [(UNKNOWN, "X"), (MISSING, "nothing"), (None, "nothing"), (0, "0")])
def test_unknown_and_missing_values_are_said_so(value: int | None, shown: str) -> None:
    assert f", rtl {shown} at 5 ns" in str(Divergence(seam="codes", column=0, golden=0, other=value, sim_time=5))


def test_unknown_and_missing_are_no_values_of_the_hardware() -> None:
    assert UNKNOWN != MISSING and max(UNKNOWN, MISSING) < -(1 << 48)  # negative cycles are no time at all


@pytest.mark.parametrize("value", [UNKNOWN, MISSING])
@pytest.mark.parametrize("name", ARRAYS)
def test_unknown_and_missing_never_pass(value: int, name: str, traces: list[RoundTrace]) -> None:
    array = getattr(traces[1], name)
    at = tuple(size - 1 for size in array.shape)
    divergence = found(traces, (1, name, at, value))
    assert divergence.other == value and divergence.golden == array[at]
    assert divergence.seam == ARRAYS[name]
