# SPDX-License-Identifier: Apache-2.0
"""Measured dies are read whole and in their order, and a file that is not one is refused with its line and reason."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from twinor.config import Config
from twinor.device.measured import read_currents, read_transitions
from twinor.errors import CorruptFile

pytestmark = pytest.mark.fast

MACROS = 2
CURRENTS = "macro,row,bit_line,current_nA"
TRANSITIONS = "macro,adc,transition,level_lsb"

Read = Callable[..., NDArray[np.float64]]


def csv_of(header: str, values: NDArray[np.float64], *, first: int = 0) -> list[str]:
    """Lines of a file, in order; the last index counts from `first`."""
    return [header] + [
        ",".join(map(str, (*index[:-1], index[-1] + first, repr(float(value)))))
        for index, value in np.ndenumerate(values)
    ]


@pytest.fixture
def currents(tiny: Config, rng: np.random.Generator) -> NDArray[np.float64]:
    """Currents of two macros."""
    return rng.uniform(0.0, 200.0, (MACROS, tiny.rows, tiny.bit_lines))


@pytest.fixture
def levels(tiny: Config, rng: np.random.Generator) -> NDArray[np.float64]:
    """Transition levels of the ADCs of two macros."""
    codes = np.arange(1 << tiny.adc_bits)[1:] + tiny.code_min - 0.5
    return codes + rng.normal(0.0, 0.1, (MACROS, tiny.n_adcs, codes.size))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a file goes."""
    return tmp_path / "die.csv"


def write(path: Path, lines: list[str], *, end: str = "\n", start: str = "") -> Path:
    path.write_bytes((start + end.join(lines) + end).encode())
    return path


# Read //


def test_currents_come_back_as_they_were_measured(tiny: Config, currents: NDArray[np.float64], path: Path) -> None:
    read = read_currents(write(path, csv_of(CURRENTS, currents)), tiny, macros=MACROS)
    assert read.dtype == np.float64 and np.array_equal(read, currents)


def test_levels_come_back_as_they_were_measured(tiny: Config, levels: NDArray[np.float64], path: Path) -> None:
    assert levels.min() < 0  # a bipolar ADC has negative ones
    read = read_transitions(write(path, csv_of(TRANSITIONS, levels, first=1)), tiny, macros=MACROS)
    assert read.shape == (MACROS, tiny.n_adcs, (1 << tiny.adc_bits) - 1) and np.array_equal(read, levels)


def test_lines_may_come_in_any_order_and_from_any_editor(
    tiny: Config, currents: NDArray[np.float64], path: Path, rng: np.random.Generator
) -> None:
    header, *lines = csv_of(CURRENTS, currents)
    rng.shuffle(lines)
    for end, start in (("\n", ""), ("\r\n", ""), ("\n", "\ufeff"), ("\r\n", "\ufeff")):
        write(path, [header, *lines], end=end, start=start)
        assert np.array_equal(read_currents(path, tiny, macros=MACROS), currents)
    path.write_bytes("\n".join([header, *lines]).encode())  # the last line without its end
    assert np.array_equal(read_currents(path, tiny, macros=MACROS), currents)


@pytest.mark.parametrize("text", ["1", "1.", ".5", "+1.5", "1e2", "1.5E-3", "0", "-0"])
def test_numbers_may_be_written_in_any_of_these_ways(
    text: str, tiny: Config, currents: NDArray[np.float64], path: Path
) -> None:
    lines = csv_of(CURRENTS, currents)
    lines[1] = f"0,0,0,{text}"
    assert read_currents(write(path, lines), tiny, macros=MACROS)[0, 0, 0] == float(text)


# Refused //


def refusal(read: Read, path: Path, config: Config) -> str:
    """The sentence with which a file is refused; it names the file and what is expected, on one line."""
    with pytest.raises(CorruptFile) as caught:
        read(path, config, macros=MACROS)
    said = str(caught.value)
    assert said.startswith(str(path)) and "; expected " in said and "\n" not in said and len(said) < 400
    return said


@pytest.mark.parametrize(
    ("line", "reason", "expected"),
    [
        ("0,0,1", "3 fields", f"expected 4: {CURRENTS}"),
        ("", "0 fields", "expected 4"),
        ("0,0,1,1,5", "5 fields", "expected 4"),
        ("0;0;1;1.5", "1 fields", "expected 4"),
        ("2,0,1,1.0", "macro is '2'", "expected 0 .. 1"),
        ("0,8,1,1.0", "row is '8'", "expected 0 .. 7"),
        ("0,0,8,1.0", "bit_line is '8'", "expected 0 .. 7"),
        ("-1,0,1,1.0", "macro is '-1'", "expected 0 .. 1"),
        ("0,0.0,1,1.0", "row is '0.0'", "expected 0 .. 7"),
        ("0,,1,1.0", "row is ''", "expected 0 .. 7"),
        ("0,\u0663,1,1.0", "row is '\u0663'", "expected 0 .. 7"),
        (f"0,{'9' * 5000},1,1.0", "row is '9999", "expected 0 .. 7"),
        ("0,0,0,1.0", "macro 0, row 0, bit_line 0 was on line 2 already", "expected it once"),
        ("0,0,1,", "current_nA is ''", "expected a number, 0 .."),
        ("0,0,1,1.0 nA", "current_nA is '1.0 nA'", "expected a number"),
        ("0,0,1,nan", "current_nA is 'nan'", "expected a number"),
        ("0,0,1,inf", "current_nA is 'inf'", "expected a number"),
        ("0,0,1,1e999", "current_nA is '1e999'", "expected a number"),
        ("0,0,1,1_0", "current_nA is '1_0'", "expected a number"),
        ("0,0,1,-0.1", "current_nA is '-0.1'", "expected a number, 0 .."),
        ('0,0,1,"1.0', "no line of a CSV file", "expected fields between commas"),
        ('0,0,1,"1"0', "no line of a CSV file", "expected fields between commas"),
        (f'0,0,1,"{"1" * 200_000}"', "no line of a CSV file", "expected fields between commas"),
    ],
)
def test_a_wrong_line_is_refused(
    line: str, reason: str, expected: str, tiny: Config, currents: NDArray[np.float64], path: Path
) -> None:
    lines = csv_of(CURRENTS, currents)
    lines[2] = line
    said = refusal(read_currents, write(path, lines), tiny)
    assert reason in said and expected in said
    assert ", line 3:" in said or "no line" in reason  # a quote without its end swallows the lines after it


@pytest.mark.parametrize(
    "header",
    [
        TRANSITIONS,
        "0,0,0,1.0",
        "",
        "macro,row,bit_line",
        "row,macro,bit_line,current_nA",
        "Macro,Row,Bit_line,Current_nA",
        "macro,row,bit_line,current_uA",
        "macro, row, bit_line, current_nA",
        "macro;row;bit_line;current_nA",
    ],
)
def test_a_wrong_header_is_refused(header: str, tiny: Config, currents: NDArray[np.float64], path: Path) -> None:
    lines = [header, *csv_of(CURRENTS, currents)[1:]]
    said = refusal(read_currents, write(path, lines), tiny)
    assert "line 1: the header is" in said and said.endswith(f"expected {CURRENTS}")


def test_a_missing_cell_is_named(tiny: Config, currents: NDArray[np.float64], path: Path) -> None:
    lines = csv_of(CURRENTS, currents)
    del lines[1 + 8 * 8 + 3 * 8 + 5]
    said = refusal(read_currents, write(path, lines), tiny)
    assert "has 127 of 128 lines: macro 1, row 3, bit_line 5 is missing" in said
    assert "expected one for each of 2 macros x 8 rows x 8 bit_lines" in said
    assert "has 0 of 128 lines" in refusal(read_currents, write(path, lines[:1]), tiny)


def test_a_file_of_another_die_is_refused(tiny: Config, currents: NDArray[np.float64], path: Path) -> None:
    write(path, csv_of(CURRENTS, currents[:1]))
    assert "macro 1, row 0, bit_line 0 is missing" in refusal(read_currents, path, tiny)
    write(path, csv_of(CURRENTS, np.concatenate([currents, currents])))
    assert "line 130: macro is '2'" in refusal(read_currents, path, tiny)


def test_a_wrong_transition_is_refused(tiny: Config, levels: NDArray[np.float64], path: Path) -> None:
    top = (1 << tiny.adc_bits) - 1
    lines = csv_of(TRANSITIONS, levels, first=1)
    for line, reason in (
        ("0,0,0,1.0", f"line 3: transition is '0'; expected 1 .. {top}"),
        (f"0,0,{top + 1},1.0", f"line 3: transition is '{top + 1}'; expected 1 .. {top}"),
        (f"0,{tiny.n_adcs},1,1.0", f"line 3: adc is '{tiny.n_adcs}'; expected 0 .. {tiny.n_adcs - 1}"),
        ("0,0,2,nan", "line 3: level_lsb is 'nan'; expected a number"),
        ("0,0,2,1e9", "line 3: level_lsb is '1e9'; expected a number, -64 .. 64"),
        ("0,0,1,0.5", "line 3: macro 0, adc 0, transition 1 was on line 2 already; expected it once"),
    ):
        assert reason in refusal(read_transitions, write(path, [*lines[:2], line, *lines[3:]]), tiny)
    said = refusal(read_transitions, write(path, [*lines[:2], *lines[3:]]), tiny)
    assert "macro 0, adc 0, transition 2 is missing" in said


def test_what_is_no_text_is_refused(tiny: Config, currents: NDArray[np.float64], path: Path, tmp_path: Path) -> None:
    good = write(path, csv_of(CURRENTS, currents)).read_bytes()
    for content, reason in (
        (b"", "is empty"),
        (b"\xff\xfe" + good, "line 1: byte 0xff is no text"),
        (good + b"\x89PNG", "line 130: byte 0x89 is no text"),
        (good.decode().encode("utf-16"), "line 1: byte 0xff is no text"),
        (bytes(4096), "line 1: the header is"),
        (good[:-20], "missing"),
    ):
        path.write_bytes(content)
        assert reason in refusal(read_currents, path, tiny) or content == good[:-20]
    assert "cannot be read" in refusal(read_currents, tmp_path / "gone.csv", tiny)
    assert "cannot be read" in refusal(read_currents, tmp_path, tiny)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_read_whole_or_refused(
    data: st.DataObject, tiny: Config, currents: NDArray[np.float64], path: Path
) -> None:
    """Bytes changed, cut out or put in anywhere: every cell is there and allowed, or one line says why not."""
    content = bytearray("\n".join(csv_of(CURRENTS, currents)).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path.write_bytes(bytes(content))
    try:
        read = read_currents(path, tiny, macros=MACROS)
    except CorruptFile as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert read.shape == currents.shape and np.isfinite(read).all() and read.min() >= 0
