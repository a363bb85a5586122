# SPDX-License-Identifier: Apache-2.0
"""What the use of a die does to its integers: reads, pulses of neighbours, noise of word lines, wires that are slow."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.testing
from builders import Rng
from twinor.cells import tables
from twinor.characterise.chip import chip_of, programmed
from twinor.cli import app
from twinor.config import Config, load
from twinor.config import replace as changed
from twinor.converter.cdac import Converter
from twinor.device.ageing import Disturb
from twinor.device.array import device_of
from twinor.device.defects import DefectRates
from twinor.device.ekv import thermal_voltage
from twinor.device.ladder import settled
from twinor.device.measured import read_currents
from twinor.device.model import CLOCK_MHZ, headroom
from twinor.device.programming import Ispp
from twinor.die import Die, cut_out, sample_die
from twinor.die_file import load_die, save_die
from twinor.errors import ConfigError, CorruptFile
from twinor.store import read_archive, write_archive

pytestmark = pytest.mark.fast

NAME = "nor40_iscas2021"
DISTURBED = Disturb(per_read_mV=1e-6)


def small(name: str = NAME, **device: Any) -> Config:
    """A preset with few rows and columns and some other device."""
    config = load(name)
    sizes = {"rows": 16, "active_rows": 8, "cols": 8, "cols_per_adc": 4}
    spread = 0.0 if "ispp" in device else config.cell_sigma
    return changed(config, **sizes, cell_sigma=spread, device=replace(device_of(config), **device))


def tops(config: Config) -> Any:
    """Every cell at the top level."""
    return np.full((1, config.rows, config.bit_lines), (1 << config.cell_bits) - 1, dtype=np.uint8)


def currents(die: Die) -> Any:
    """At every code but 0, in array units."""
    assert die.cells is not None and die.history is not None
    return die.cells.current[0][:, 1:] / (1 << 2 * die.history.config.frac_bits)


# Reads //


def test_reads_raise_thresholds_and_references_follow() -> None:
    """A millivolt takes `1 / (n UT)` of a current in weak inversion; where references are read too, next to nothing."""
    for tracking, lost in ((False, 10e-3 / (1.4 * float(thermal_voltage(25.0)))), (True, 0.0)):
        config = small(disturb=DISTURBED, tracking=tracking)
        die = sample_die(config, tops(config), seed=3)
        read = die.read(4_000_000).read(6_000_000)
        assert read.history is not None and read.history.reads == 10_000_000
        # in moderate inversion less than the exponential says; 7/7 cells have an inversion coefficient of 0.1
        assert 1.0 - currents(read).mean() / currents(die).mean() == pytest.approx(1.0 - np.exp(-lost), abs=0.03)
        assert read.program(tops(config)).history.reads == 0  # type: ignore[union-attr]


def test_reads_survive_a_file_and_a_broken_number_does_not(tmp_path: Path) -> None:
    config = small(disturb=DISTURBED)
    die, path = sample_die(config, tops(config), seed=3).read(5_000_000), tmp_path / "die.npz"
    save_die(path, die)
    back = load_die(path, config)
    assert back.history is not None and back.history.reads == 5_000_000
    assert np.array_equal(currents(back.read(1)), currents(die.read(1)))
    header, arrays = read_archive(path, kind="die", remedy="")
    for reads in (-1, 1.5, None):
        write_archive(path, kind="die", header=header | {"reads": reads}, arrays=arrays)
        with pytest.raises(CorruptFile, match="reads must be an integer of at least 0"):
            load_die(path, config)


def test_reads_that_change_nothing_are_refused() -> None:
    for device in ({}, {"disturb": Disturb()}):
        config = small(**device)
        with pytest.raises(ConfigError, match=r"reads change nothing: expected disturb\.per_read_mV"):
            sample_die(config, tops(config), seed=0).read(1)
    config = small(disturb=DISTURBED)
    with pytest.raises(ConfigError, match="reads = -1 is not allowed"):
        sample_die(config, tops(config), seed=0).read(-1)


def test_the_command_line_reads_a_die_and_tells_of_cells_that_are_cut_off(tmp_path: Path) -> None:
    """`--reads` where nothing is disturbed; and untracked heat, which takes cells beyond twice the top level."""
    runner, file = typer.testing.CliRunner(), tmp_path / "die.npz"
    result = runner.invoke(app, ["die", str(file), "--preset", NAME, "--reads", "5"])
    assert isinstance(result.exception, ConfigError) and "reads change nothing" in str(result.exception)
    assert not file.exists()
    text = (Path("model/twinor/presets") / f"{NAME}.yaml").read_text().replace("tracking: true", "tracking: false")
    preset = tmp_path / "untracked.yaml"
    preset.write_text(text.replace("  retention:", "  disturb:\n    per_read_mV: 1.0e-6\n  retention:"))
    told = runner.invoke(app, ["die", str(file), "--preset", str(preset), "--celsius", "85", "--reads", "5"])
    assert told.exit_code == 0, told.output
    die = load_die(file, load(preset))
    assert die.history is not None and die.history.reads == 5 and die.clipped > 1000
    assert f"{die.clipped:,} of {die.strength.size:,} cells stand at twice the top level" in told.output


# Pulses of neighbours //


def test_pulses_of_a_row_raise_its_other_cells_and_verify_reads_see_it(rng: Rng) -> None:
    """A cell that has passed goes on rising by the pulses of those that have not, and no further."""
    exact = {"ispp": Ispp(step_mV=5.0, slope=0.0, electron_mV=0.0), "traps": None, "tracking": False}
    clean, dirty = (small(**exact, disturb=d) for d in (None, Disturb(per_pulse_mV=0.001)))
    levels = rng.integers(0, 8, (1, clean.rows, clean.bit_lines)).astype(np.uint8)
    histories = [sample_die(c, levels, seed=1).history for c in (clean, dirty)]
    fresh, raised = (h.programmed[0] * 1e3 for h in histories if h is not None)
    least = {int(level): float(fresh[levels[0] == level].min()) for level in np.unique(levels)}
    pulses = np.rint((fresh - fresh.min()) / 5.0) + 1  # roughly; what comes after a cell has passed counts
    for row in range(clean.rows):
        for line in range(clean.bit_lines):
            after = np.maximum(pulses[row] - pulses[row, line], 0).sum()
            assert raised[row, line] >= least[int(levels[0, row, line])] - 5.0 - 1e-9  # never below its target
            assert raised[row, line] - fresh[row, line] <= 0.001 * (after + clean.bit_lines) + 5.0
    earliest = fresh == fresh.min(axis=1, keepdims=True)
    assert (raised - fresh)[earliest].min() > -5.0 and (raised - fresh)[earliest].mean() > 0.05
    assert np.all(np.abs(raised - fresh) < 5.0 + 0.001 * pulses.sum(axis=1, keepdims=True))


def test_the_controller_programs_cells_that_disturb_each_other() -> None:
    assert tables(small()).disturb == 0
    disturbed = small(ispp=Ispp(step_mV=5.0), disturb=Disturb(per_pulse_mV=0.5))
    assert tables(disturbed).disturb == 16  # half a millivolt of 32 units


# Noise of word lines //


def test_noise_of_a_word_line_is_that_of_its_cells_currents() -> None:
    """EKV's transconductance, `I / (n UT) * (1 - exp(-sqrt(i))) / sqrt(i)`; in strong inversion hardly any."""
    shares = {}
    for name in (NAME, "nor_triode_pwm"):
        line = device_of(load(name)).word_line
        assert line is not None
        config = small(name, read_sigma=0.0, traps=None, word_line=replace(line, noise_mV=0.5))
        die = sample_die(config, tops(config), seed=2)
        assert die.cells is not None and not die.cells.variance[0][:, 0].any()
        shares[name] = (np.sqrt(die.cells.variance[0][:, 1:]) / die.cells.current[0][:, 1:]).mean(axis=(0, 2))
    inversion = np.sqrt(np.array([1.0, 2.0, 3.0]) / 3.0 * 100.0 / 1000.0)
    weak = 0.5e-3 / (1.4 * float(thermal_voltage(25.0)))
    assert shares[NAME] == pytest.approx(weak * -np.expm1(-inversion) / inversion, rel=0.01)
    assert 0.0 < shares["nor_triode_pwm"].max() < 0.3 * weak
    silent = sample_die(small(read_sigma=0.0, traps=None), tops(small()), seed=2)
    assert silent.cells is not None and not silent.cells.variance.any()


# Wires that are slow //


@pytest.mark.parametrize(("name", "farads"), [(NAME, 20_000.0), ("nor_triode_pwm", 80_000.0)])
def test_what_has_not_settled_is_not_converted(name: str, farads: float) -> None:
    """The same cells behind heavier bit lines, row by row and code by code."""
    wires = device_of(load(name)).wires
    assert wires is not None
    slow, quick = replace(wires, c_bl_fF=farads, r_clamp_ohm=30.0), replace(wires, c_bl_fF=1e-3, r_clamp_ohm=30.0)
    configs = [small(name, wires=w, traps=None, read_sigma=0.0) for w in (slow, quick)]
    late, whole = (currents(sample_die(c, tops(c), seed=4)) for c in configs)
    codes = np.arange(1, 1 << configs[0].dac_bits)
    cycle = 1e3 / CLOCK_MHZ
    waited = configs[0].settle_cycles * cycle + (configs[0].slots - codes) * cycle * configs[0].pulsed
    share = settled(slow, 16, ns=waited, pulse_ns=codes * cycle * configs[0].pulsed)
    assert 0.5 < share.min() < 0.99
    assert late / whole == pytest.approx(np.broadcast_to(share[:, :, None], late.shape), rel=2e-3)


def test_the_headroom_is_twice_the_top_level() -> None:
    config = small()
    assert headroom(config) == 2 * 7 * 3 << 12


def test_a_chip_is_measured_as_often_read_as_it_came() -> None:
    config = small(disturb=DISTURBED, tracking=False)
    die = sample_die(config, tops(config), seed=3).read(10_000_000)
    chip = chip_of(config, die)
    assert chip.reads == 10_000_000
    assert np.array_equal(currents(programmed(chip, tops(config)[0])), currents(die))


# What was measured //


def test_cells_that_are_off_and_spreads_that_are_wide_have_thresholds() -> None:
    """Nothing at all is a measured current; and a spread of 10 % takes some cells below their own leak."""
    for name in (NAME, "nor55_subthreshold", "nor_triode_pwm"):
        config = small(name, traps=None)
        die = sample_die(config, tops(config), seed=1)
        assert die.history is not None
        read = die.with_currents(np.zeros(die.history.levels.shape))
        assert currents(read)[:, -1].max() < 0.01 * config.slots
        wide = changed(config, cell_sigma=0.1)
        spread = currents(sample_die(wide, np.ones_like(tops(wide)), seed=1))[:, -1] / config.slots
        assert spread.min() < 0.5 and spread.std() == pytest.approx(0.7, rel=0.2)


def test_a_current_of_no_cell_is_refused_with_its_line(tmp_path: Path) -> None:
    """Four times the top current and more is a slip of the pen, as nA for pA."""
    config, path = small(), tmp_path / "cells.csv"
    places = [(row, line) for row in range(config.rows) for line in range(config.bit_lines)]
    values = ["400" if n else "401" for n in range(len(places))]
    lines = [f"0,{row},{line},{value}" for (row, line), value in zip(places, values, strict=True)]
    path.write_text("\n".join(["macro,row,bit_line,current_nA", *lines]) + "\n")
    with pytest.raises(CorruptFile, match=r"cells\.csv, line 2: current_nA is '401'; expected a number, 0 \.\. 400"):
        read_currents(path, config, macros=1)
    path.write_text(path.read_text().replace("401", "400"))
    assert read_currents(path, config, macros=1).max() == 400.0


def test_measured_cells_are_defects_and_all() -> None:
    """Defects are not drawn over what was measured, and nobody knows such cells with other levels."""
    config = small(traps=None, defects=DefectRates(stuck_on=0.1, stuck_off=0.1))
    die = sample_die(config, tops(config), seed=1)
    assert die.history is not None
    ours = np.full(die.history.levels.shape, 50.0)
    measured, controlled = die.with_currents(ours), die.with_currents(ours, measured=False)
    shares = currents(measured)[:, -1] / (config.slots * 7)
    assert shares.min() > 0.4 and shares.max() < 0.6
    assert currents(controlled)[:, -1].min() < 0.1 and controlled.clipped > 10
    for refused in (lambda: measured.holding(config, tops(config)), lambda: chip_of(config, measured)):
        with pytest.raises(ConfigError, match=r"were measured with the levels they hold.* measured converters stay"):
            refused()
    again = measured.program(tops(config)).holding(config, tops(config))  # programmed anew, they are drawn again
    assert np.array_equal(currents(again), currents(die))


def test_measured_cells_stay_measured_in_a_file(tmp_path: Path) -> None:
    config = small(traps=None, defects=DefectRates(stuck_on=0.1))
    die = sample_die(config, tops(config), seed=1)
    save_die(tmp_path / "die.npz", die.with_currents(np.full(die.strength.shape, 50.0)))
    back = load_die(tmp_path / "die.npz", config)
    assert back.history is not None and back.history.measured
    assert currents(back.age(hours=1e-3)).max() < 0.6 * config.slots * 7


# Heat //


def test_stuck_cells_conduct_all_there_is_room_for_at_any_temperature() -> None:
    config = small(defects=DefectRates(stuck_on=1.0))
    die = sample_die(config, tops(config), seed=1)
    for celsius in (-40.0, 25.0, 85.0, 125.0):
        assert np.all(currents(die.at(celsius=celsius))[:, -1] == 2 * 7 * config.slots), celsius


def test_no_die_works_beyond_its_temperatures(tmp_path: Path) -> None:
    config = small()
    die, path = sample_die(config, tops(config), seed=1), tmp_path / "die.npz"
    for celsius in (-41.0, 125.5, float("nan")):
        with pytest.raises(ConfigError, match=r"celsius = .* is not allowed: expected -40 \.\. 125"):
            die.at(celsius=celsius)
    save_die(path, die.at(celsius=-40))
    assert load_die(path, config).history.celsius == -40.0  # type: ignore[union-attr]
    header, arrays = read_archive(path, kind="die", remedy="")
    write_archive(path, kind="die", header=header | {"celsius": 126.0}, arrays=arrays)
    with pytest.raises(CorruptFile, match="126"):
        load_die(path, config)
    assert cut_out(die, 0).history is None  # its draws would have another place


def test_sampling_noise_follows_the_temperature_of_the_die() -> None:
    config = small(converter=Converter(unit_capacitor_ff=0.1))
    die = sample_die(config, tops(config), seed=1)
    cold, hot = (d.cells.conversion.mean() for d in (die.at(celsius=-40), die.at(celsius=125)) if d.cells is not None)
    assert hot / cold == pytest.approx(398.15 / 233.15, rel=1e-3)


# Noise of cells //


def test_noise_is_as_large_at_any_resolution_or_refused() -> None:
    config = load(NAME)
    quiet = replace(device_of(config), traps=None)
    for bits in (6, 10):
        fine = changed(config, rows=16, active_rows=8, cols=8, cols_per_adc=4, frac_bits=bits, device=quiet)
        die = sample_die(fine, tops(fine), seed=2)
        assert die.cells is not None
        share = np.sqrt(die.cells.variance[0][:, 1:]) / die.cells.current[0][:, 1:]
        assert share.mean() == pytest.approx(0.005, rel=1e-3)
    loud = changed(fine, active_rows=16, device=replace(quiet, read_sigma=0.5))
    assert sample_die(loud, tops(loud), seed=2).noisy
    big = changed(config, frac_bits=10, device=replace(quiet, read_sigma=0.5))
    with pytest.raises(ConfigError, match=r"have no exact sums: expected at most .* or fewer frac_bits"):
        sample_die(big, tops(big), seed=2)
