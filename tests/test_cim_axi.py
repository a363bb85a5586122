# SPDX-License-Identifier: Apache-2.0
"""The macro on its buses: one register source and what follows from it, the driver, and the benches of the Verilog."""

import doctest
import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from twinor import registers
from twinor.cells import settings_of
from twinor.config import Config, load
from twinor.driver import IDENTIFICATION, MAGIC, MAJOR, Driver, DriverError
from twinor.errors import TwinorError
from twinor.rounds import Chain, pack

from tb.common.cases import Case, cases, run_case
from tb.common.stimulus import random_chain
from tb.registers import files, source, texts

CASES = [*cases("cim_axi"), *cases("cim_axi_regs"), *cases("cim_axi_prog")]
GENERATED = (
    *("rtl/regs/cim_axi_regs.sv", "rtl/regs/cim_axi_regs.vh", "rtl/registers.md"),
    *("model/twinor/registers.py", "tb/registers/model.py"),
)


@pytest.mark.rtl
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.bench}-{case}")
def test_verilog_matches_golden(case: Case, tmp_path: Path) -> None:
    run_case(case, tmp_path)


# One source //


@pytest.mark.fast
def test_every_generated_file_follows_the_register_map() -> None:
    files.check()


@pytest.mark.fast
@pytest.mark.parametrize("name", GENERATED)
def test_any_edit_of_a_generated_file_is_drift(name: str, tmp_path: Path) -> None:
    assert [path.relative_to(tmp_path).as_posix() for path in files.write(folder=tmp_path)] == list(GENERATED)
    files.check(folder=tmp_path)
    path = tmp_path / name
    text = path.read_text(encoding="utf-8")
    for edited in (text + "\n", text.rstrip("\n"), text.replace("do not edit", "edit"), ""):
        path.write_text(edited, encoding="utf-8")
        with pytest.raises(TwinorError, match=rf"{name} does not follow cim_axi.rdl: line \d+ .*; run `python -m tb"):
            files.check(folder=tmp_path)
    path.unlink()
    with pytest.raises(TwinorError, match=rf"{name} does not follow"):
        files.check(folder=tmp_path)


@pytest.mark.fast
def test_a_change_of_the_map_changes_every_file(tmp_path: Path) -> None:
    """A register moves: no file stays as it was."""
    moved = tmp_path / "cim_axi.rdl"
    text = source.RDL.read_text(encoding="utf-8")
    assert text.count("} clip_high @ 0x05C;") == 1
    moved.write_text(text.replace("} clip_high @ 0x05C;", "} clip_high @ 0x060;"), encoding="utf-8")
    before, after = files.texts(), files.texts(moved)
    assert [name for name in before if before[name] == after[name]] == ["rtl/regs/cim_axi_regs.vh"], (
        "it has no addresses"
    )


@pytest.mark.fast
def test_a_map_that_does_not_compile_is_told_in_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.rdl"
    broken.write_text("addrmap broken { reg { field { } x; } a @ ; };", encoding="utf-8")
    for path in (broken, tmp_path / "gone.rdl"):
        with pytest.raises(TwinorError, match=rf"^{path.name} is no SystemRDL: .+$"):
            source.compiled(path)


@pytest.mark.fast
def test_the_page_lists_every_register_and_field() -> None:
    page = texts.page(source.compiled())
    for name, address in registers.REGISTERS.items():
        assert page.count(f"| `0x{address:05X}` | [`{name}`](#{name}) |") == 1 and f"\n## {name}\n" in page
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert all(f"| `{field}` |" in section for field in registers.FIELDS[name])
    assert f"`0x{registers.WINDOW:05X}`" in page and registers.WINDOW_WORDS == 1 << 16


@pytest.mark.fast
def test_the_identification_registers_show_parameters_under_their_names(tiny: Config) -> None:
    shown = [field for register in IDENTIFICATION for field in registers.FIELDS[register]]
    assert len(shown) == len(set(shown)) and set(shown) <= {name.lower() for name in tiny.parameters()}


@pytest.mark.fast
@pytest.mark.parametrize("module", ["tb.registers.source", "tb.common.sources", "twinor.driver"])
def test_the_examples_of_the_generator_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted and not result.failed


# The driver, on a bus of Python //


class Bus:
    """A macro that is registers alone: it takes words after `busy` polls of its status, and keeps what is written."""

    def __init__(self, config: Config, busy: int = 0) -> None:
        """Every register at 0 but those that say who this is."""
        self.log: list[tuple[int, int]] = []
        self.values: dict[int, int] = {}
        self.busy = busy
        known = {"magic": MAGIC, "major": MAJOR} | {k.lower(): v for k, v in config.parameters().items()}
        for register, fields in registers.FIELDS.items():
            word = sum(known.get(name, 0) << low for name, (low, _) in fields.items())
            self.values[registers.REGISTERS[register]] = word

    def read(self, address: int) -> int:
        """What a register holds."""
        if address == registers.REGISTERS["status"]:
            self.busy -= 1
            return int(self.busy < 0) << registers.FIELDS["status"]["words"][0]
        return self.values[address]

    def write(self, address: int, value: int) -> None:
        """Keep in order what was written."""
        self.log.append((address, value))


@pytest.fixture
def chain(tiny: Config) -> Chain:
    return random_chain(tiny, np.random.default_rng(1), rounds=2)


@pytest.mark.fast
def test_the_driver_loads_a_chain_between_disable_and_enable(tiny: Config, chain: Chain) -> None:
    bus = Bus(tiny, busy=3)
    driver = Driver(bus.read, bus.write)
    driver.identify(tiny)
    driver.load(tiny, chain)
    control = registers.REGISTERS["control"]
    words = [(registers.WINDOW + 4 * address, data) for address, data in pack(tiny, chain).tolist()]
    assert bus.log == [(control, 0), *words, (control, 1)] and bus.busy < 0


@pytest.mark.fast
def test_the_driver_waits_for_an_event_and_clears_it(tiny: Config) -> None:
    bus = Bus(tiny)
    driver = Driver(bus.read, bus.write)
    low = registers.FIELDS["intr_status"]["chain_done"][0]
    bus.values[registers.REGISTERS["intr_status"]] = 1 << low
    driver.wait("chain_done")
    driver.interrupts("chain_done")
    driver.clear_clips()
    driver.reset()
    addresses = [registers.REGISTERS[name] for name in ("intr_status", "intr_enable", "command", "control", "control")]
    assert bus.log == list(zip(addresses, (1 << low, 1 << low, 1, 2, 0), strict=True))


@pytest.mark.fast
def test_the_driver_starts_an_operation_after_all_its_settings(tiny: Config) -> None:
    bus, settings = Bus(tiny), settings_of(tiny, retries=2)
    driver = Driver(bus.read, bus.write)
    driver.program(settings, range(2, 5), write=False)
    written = [address for address, _ in bus.log]
    assert len(set(written)) == 12 and written[-1] == registers.REGISTERS["command"]
    assert written.count(registers.REGISTERS["prog_target"]) == len(settings.targets)
    values = dict(bus.log)
    assert values[registers.REGISTERS["prog_rows"]] == 3 << 16 | 2
    assert values[registers.REGISTERS["prog_operation"]] & 0xFF == 2 << 4 | 1
    for name, count in driver.program_counts().items():
        assert count == 0 and f"prog_{name}" in registers.REGISTERS


@pytest.mark.fast
@pytest.mark.parametrize(
    ("act", "error", "said"),
    [
        (
            lambda d, c, _: d.identify(load("nor40_int4")),
            DriverError,
            r"shape.rows reads 8: expected 256, as preset nor",
        ),
        (lambda d, c, chain: d.load(c, chain, polls=4), DriverError, r"took no words in 4 reads of status: a chain is"),
        (lambda d, c, _: d.wait("chain_done", polls=4), DriverError, r"intr_status.chain_done did not rise in 4 reads"),
        (lambda d, c, _: d.write("control", enable=2), ValueError, r"control.enable = 2: expected 0 .. 1"),
    ],
    ids=["another macro", "no words", "no event", "too wide"],
)
def test_the_driver_says_what_is_wrong(
    act: Callable[[Driver, Config, Chain], None], error: type[Exception], said: str, tiny: Config, chain: Chain
) -> None:
    bus = Bus(tiny, busy=1000)
    with pytest.raises(error, match=said):
        act(Driver(bus.read, bus.write), tiny, chain)
    assert bus.log in ([], [(registers.REGISTERS["control"], 0)])
