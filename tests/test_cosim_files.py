# SPDX-License-Identifier: Apache-2.0
"""What is written for the Verilog reads back alike, and its logs become traces in which nothing gets lost."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace as changed
from pathlib import Path

import numpy as np
import pytest
from builders import chain_of, configs, one_round, random_chain, random_levels, referenced, seeds, stimulus, wild_die
from hypothesis import given, settings
from twinor.config import Config
from twinor.cosim import files
from twinor.die import ideal_die, sample_die
from twinor.golden import cim_macro
from twinor.rounds import Chain, End, Start, converts, pack
from twinor.trace import MISSING, SEAMS, UNKNOWN, RoundTrace, first_divergence, mismatches

from tb.common.configs import NOR40, RAGGED, TINY
from tb.common.values import signed, unpack

pytestmark = pytest.mark.fast


# Written for the harness //


def hex_lanes(line: str, bits: int, count: int) -> list[int]:
    """The lanes of one line, lane 0 in the low bits; the line is whole bytes and pads with zeros."""
    assert len(line) == -(-bits * count // 8) * 2
    assert int(line, 16) >> bits * count == 0
    return unpack(int(line, 16), bits, count)


@given(configs(), seeds)
def test_cells_are_currents_by_row_and_code(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    die = sample_die(config, random_levels(config, rng, macros=2), seed=seed)
    lines = files.cells_hex(config, die, 1).splitlines()
    words = 1 << config.dac_bits
    assert len(lines) == config.rows * words
    for row in range(config.rows):
        for word in range(words):
            current = [int(s) * int(die.drive[1, row, word]) for s in die.strength[1, row]]
            assert hex_lanes(lines[row * words + word], config.current_bits, config.bit_lines) == current


def test_a_current_beyond_the_behavioural_array_is_refused() -> None:
    """What counts is the sum of one bit line over as many rows as are driven at once, and not one bit less."""
    die = ideal_die(TINY, np.zeros((1, 8, 8), dtype=np.uint8))
    die.drive[0, :, 1] = 1
    quarter = 1 << TINY.current_bits - 2
    die.strength[0, :, 5] = quarter - 1  # 8 rows, of which 4 are active
    die.strength[0, np.arange(8), np.arange(8)] = 3 * quarter  # no bit line has two of these
    die.strength[0, 5, 5] = quarter + 2
    files.cells_hex(TINY, die, 0)
    die.strength[0, 5, 5] = quarter + 3
    with pytest.raises(ValueError, match=f"exceeds the {TINY.current_bits} bits of the behavioural array"):
        files.cells_hex(TINY, die, 0)


@given(configs(), seeds)
def test_thresholds_are_signed_words_by_adc_and_trial(config: Config, seed: int) -> None:
    die = wild_die(config, np.random.default_rng(seed), macros=2)
    lines = files.thresholds_hex(die, 1).splitlines()
    found = [signed(hex_lanes(line, 64, 1)[0], 64) for line in lines]
    assert np.array_equal(np.reshape(found, die.threshold[1].shape), die.threshold[1])


@given(configs(), seeds)
def test_words_are_address_and_data(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    chain, die = random_chain(config, rng), wild_die(config, rng)
    found = [[int(word, 16) for word in line.split()] for line in files.words_hex(config, die, chain).splitlines()]
    assert found == pack(config, chain).tolist()


@given(configs(), seeds)
def test_beats_go_round_by_round_of_each_vector(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    chain = random_chain(config, rng)
    inputs = stimulus(config, chain, rng, vectors=3).inputs
    lines = iter(files.beats_hex(config, inputs).splitlines())
    for vector in range(3):
        for x in inputs:
            beats = -(-x.shape[1] // config.in_lanes)
            sent = [v for _ in range(beats) for v in hex_lanes(next(lines), config.input_bits, config.in_lanes)]
            values = [int(value) % (1 << config.input_bits) for value in x[vector]]  # two's complement
            assert sent == [*values, *[0] * (len(sent) - x.shape[1])]
    assert next(lines, None) is None


@given(configs(), seeds)
def test_partial_sums_are_signed_words_by_vector_and_column(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    limit = 1 << config.psum_bits - 1
    psums = rng.integers(-limit, limit, (3, 5))
    psums[0, :2] = -limit, limit - 1
    lines = files.psums_hex(config, psums).splitlines()
    assert [signed(hex_lanes(line, config.psum_bits, 1)[0], config.psum_bits) for line in lines] == psums.reshape(
        -1
    ).tolist()
    assert files.psums_hex(config, None) == ""


def test_residual_codes_are_signed_words_of_one_bit_more_than_an_activation() -> None:
    lines = files.residuals_hex(TINY, np.array([[-4, 3], [0, -1]])).splitlines()
    assert [signed(hex_lanes(line, 3, 1)[0], 3) for line in lines] == [-4, 3, 0, -1]
    assert files.residuals_hex(TINY, None) == ""


# Read from the harness //


def digits(words: Iterable[int], bits: int) -> str:
    """Words as the harness prints them: two's complement, word 0 in the low bits, whole bytes."""
    words = [int(word) & (1 << bits) - 1 for word in words]
    value = sum(word << k * bits for k, word in enumerate(words))
    return f"{value:0{-(-bits * len(words) // 8) * 2}x}"


def write_logs(config: Config, traces: Sequence[RoundTrace], prefix: Path) -> None:
    """The three logs that the harness of tb/cosim.v would write for these traces; idle lanes hold anything."""
    rng = np.random.default_rng(0)
    adcs, hold, code, out = config.n_adcs, [], [], []
    ref, count = int(config.ref_cols), config.n_adcs - config.ref_cols
    for v in range(len(traces[0].hold_cycles)):
        for t in traces:
            for p in range(len(t.passes)):
                hold.append(digits([t.hold_cycles[v, p]], 32) + digits(t.word_lines[v, p], config.dac_bits))
                for first in range(0, t.rnd.col_count if converts(config, t.rnd, t.passes[p]) else 0, count):
                    own = list(range(first, min(first + count, t.rnd.col_count)))
                    columns = [t.rnd.col_count + first // count] * ref + own  # the reference's ADC is the first

                    def lanes(values: np.ndarray, width: int = adcs) -> list[int]:
                        return [*values.tolist(), *rng.integers(0, 8, width - len(values)).tolist()]

                    trials = [k for n in range(config.trials)[::-1] for k in lanes(t.trials[v, p, columns, n])]
                    code.append(
                        digits([t.code_cycles[v, p, first]], 32)
                        + digits(trials, config.trials)
                        + digits(lanes(t.codes[v, p, columns]), config.code_bits)
                        + digits(lanes(t.partial_sums[v, p, own], count), config.acc_bits)
                    )
            for c in range(t.outputs.shape[1]):
                flag = digits([t.last_flags[v, c]], 8)
                out.append(digits([t.out_cycles[v, c]], 32) + flag + digits([t.outputs[v, c]], config.acc_bits))
    for name, lines in (("hold", hold), ("code", code), ("out", out)):
        prefix.with_suffix(f".{name}").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


@settings(max_examples=25)
@given(config=configs() | referenced, seed=seeds)
def test_logs_of_any_chain_read_back_as_its_trace(
    config: Config, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(seed)
    chain = random_chain(config, rng)
    flow = stimulus(config, chain, rng, vectors=2)
    golden = cim_macro.run_chain(config, wild_die(config, rng), chain, *flow.streams)
    prefix = tmp_path_factory.mktemp("logs") / "seam"
    write_logs(config, golden, prefix)
    found = files.read_traces(config, chain, prefix, vectors=2)
    assert mismatches(golden, found) == dict.fromkeys(SEAMS, 0)
    assert [(t.rnd, list(t.passes)) for t in found] == [(t.rnd, list(t.passes)) for t in golden]


class Run:
    """A golden run of RAGGED, its logs, and what they read back as after an edit."""

    def __init__(self, prefix: Path) -> None:
        """Two rounds of 8 columns on 3 ADCs, 2 vectors."""
        rng = np.random.default_rng(5)
        first = one_round(RAGGED, row_count=7, col_count=8, end=End.HOLD)
        second = one_round(RAGGED, row_base=3, row_count=9, col_count=8, start=Start.LAST, end=End.RAW)
        self.chain: Chain = chain_of(RAGGED, first, second)
        inputs = stimulus(RAGGED, self.chain, rng, vectors=2).inputs
        self.golden = cim_macro.run_chain(RAGGED, wild_die(RAGGED, rng), self.chain, inputs)
        self.prefix = prefix
        write_logs(RAGGED, self.golden, prefix)

    def edit(self, name: str, change: Callable[[list[str]], list[str]]) -> list[RoundTrace]:
        """The traces after a change of the lines of one log."""
        path = self.prefix.with_suffix(name)
        path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
        return self.read()

    def read(self) -> list[RoundTrace]:
        """The traces as the logs stand."""
        return files.read_traces(RAGGED, self.chain, self.prefix, vectors=2)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Logs to damage."""
    return Run(tmp_path / "seam")


def put(line: int, at: int, text: str) -> Callable[[list[str]], list[str]]:
    """Overwrite characters of one line, counted from its end if negative (the newline is not counted)."""

    def change(lines: list[str]) -> list[str]:
        body = lines[line].rstrip("\n")
        start = at if at >= 0 else len(body) + at
        lines[line] = body[:start] + text + body[start + len(text) :] + "\n"
        return lines

    return change


@pytest.mark.parametrize("letter", "xXzZ")
def test_a_digit_that_is_not_known_makes_its_values_unknown_and_no_others(letter: str, run: Run) -> None:
    # the last digit of a hold line: word lines 0 and 1 of 2 bits each
    found = run.edit(".hold", put(1, -1, letter))
    wanted = run.golden[0].word_lines.astype(np.int64)
    wanted[0, 1, :2] = UNKNOWN
    assert np.array_equal(found[0].word_lines, wanted)
    assert mismatches(run.golden, found) == dict.fromkeys(SEAMS, 0) | {"word_lines": 2}
    divergence = first_divergence(run.golden, found)
    assert divergence is not None and ", rtl X" in str(divergence)
    assert (divergence.seam, divergence.column, divergence.x_slice) == ("word_lines", 0, 1)


UNKNOWNS = [
    (".hold", 0, "hold_cycles"),
    (".code", 7, "code_cycles"),
    (".code", 8, "trials"),
    (".code", -1, "partial_sums"),
    (".out", 7, "out_cycles"),
    (".out", 9, "last_flags"),
    (".out", -1, "outputs"),
]


@pytest.mark.parametrize(("log", "at", "name"), UNKNOWNS, ids=[name for *_, name in UNKNOWNS])
def test_an_unknown_value_is_found_in_every_field(log: str, at: int, name: str, run: Run) -> None:
    found = run.edit(log, put(0, at, "x"))
    unknown = [getattr(t, name) == UNKNOWN for t in found]
    assert sum(int(mask.sum()) for mask in unknown) >= 1
    for trace, mask, golden in zip(found, unknown, run.golden, strict=True):
        assert np.array_equal(getattr(trace, name)[~mask], getattr(golden, name)[~mask])
    assert sum(mismatches(run.golden, found).values()) == sum(int(mask.sum()) for mask in unknown)


def test_codes_that_are_not_known_are_found(run: Run) -> None:
    sums = -(-RAGGED.n_lanes * RAGGED.acc_bits // 8) * 2
    found = run.edit(".code", put(2, -sums - 1, "X"))  # the low digit of the codes: ADC 0 of the third phase
    assert found[0].codes[0, 0, 6] == UNKNOWN
    assert mismatches(run.golden, found)["codes"] == 1


@pytest.mark.parametrize(
    ("log", "seams"),
    [
        (".hold", {"word_lines", "cycles"}),
        (".code", {"trials", "codes", "partial_sums", "cycles"}),
        (".out", {"outputs", "last_flags", "cycles"}),
    ],
)
@pytest.mark.parametrize("damage", ["short", "cut", "empty", "gone"])
def test_events_that_never_came_are_missing(log: str, seams: set[str], damage: str, run: Run) -> None:
    path = run.prefix.with_suffix(log)
    text = path.read_text()
    width = text.index("\n") + 1
    path.write_text({"short": text[:-width], "cut": text[: -width // 2]}.get(damage, ""))
    if damage == "gone":
        path.unlink()
    found = run.read()
    wrong = {seam for seam, count in mismatches(run.golden, found).items() if count}
    assert wrong == seams
    name = {".hold": "hold_cycles", ".code": "codes", ".out": "outputs"}[log]
    assert getattr(found[1], name)[-1, -1].reshape(-1)[-1] == MISSING
    if damage in ("short", "cut"):  # only what the last line held
        assert (getattr(found[1], name) == MISSING).sum() == {".hold": 1, ".code": 2, ".out": 1}[log]
    divergence = first_divergence(run.golden, found)
    assert divergence is not None and ", rtl nothing" in str(divergence)


@pytest.mark.parametrize("log", [".hold", ".code", ".out"])
@pytest.mark.parametrize("where", [0, 3, -1])
def test_a_line_too_many_is_noticed(log: str, where: int, run: Run) -> None:
    """Also behind the last one: every event has a cycle of its own."""

    def later(line: str) -> str:
        return f"{int(line[:8], 16) + 1:08x}{line[8:]}"

    def insert(lines: list[str]) -> list[str]:
        at = len(lines) if where < 0 else where
        return [*lines[:at], later(lines[at - 1] if at else lines[0]), *lines[at:]]

    assert mismatches(run.golden, run.edit(log, insert))["cycles"] > 0


@pytest.mark.parametrize("log", [".hold", ".code", ".out"])
def test_lines_in_another_order_are_noticed(log: str, run: Run) -> None:
    def swap(lines: list[str]) -> list[str]:
        return [lines[1], lines[0], *lines[2:]]

    assert mismatches(run.golden, run.edit(log, swap))["cycles"] >= 2


def test_a_stray_round_of_outputs_does_not_pass_for_another(run: Run) -> None:
    """Outputs of vector 1 in place of vector 0's are told as vector 0's."""
    found = run.edit(".out", lambda lines: lines[8:] + lines[:8])
    divergence = first_divergence(run.golden, found)
    assert divergence is not None and (divergence.vector, divergence.round) == (0, 1)


def test_negative_sums_and_outputs_of_the_full_width_survive(tmp_path: Path) -> None:
    low, high = -(1 << NOR40.acc_bits - 1), (1 << NOR40.acc_bits - 1) - 1
    chain = chain_of(NOR40, one_round(NOR40, row_count=8, col_count=2))
    die = ideal_die(NOR40, np.zeros((1, 256, 128), dtype=np.uint8))
    golden = cim_macro.run_chain(NOR40, die, chain, [np.zeros((1, 8), dtype=int)])[0]
    ends = np.array([[low, high]])
    extreme = changed(golden, partial_sums=np.stack([ends] * 2, axis=1), outputs=ends, codes=golden.codes - 128)
    write_logs(NOR40, [extreme], tmp_path / "seam")
    found = files.read_traces(NOR40, chain, tmp_path / "seam", vectors=1)
    assert mismatches([extreme], found) == dict.fromkeys(SEAMS, 0)
