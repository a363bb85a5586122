# SPDX-License-Identifier: Apache-2.0
"""What the use of a die does to its integers: reads, pulses of neighbours, noise of word lines, wires that are slow."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.testing
from builders import Rng
from twinor.characterise.chip import chip_of, programmed
from twinor.cli import app
from twinor.config import Config, load
from twinor.config import replace as changed
from twinor.device.ageing import Disturb
from twinor.device.ekv import thermal_voltage
from twinor.device.ladder import settled
from twinor.device.life import CLOCK_MHZ, device_of, headroom
from twinor.device.programming import Ispp
from twinor.die import Die, sample_die
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


def test_pulses_of_a_row_raise_its_other_cells(rng: Rng) -> None:
    """Each cell by all pulses of its word line but its own; the same draws as without."""
    pulses = Ispp(step_mV=5.0, slope=0.0, electron_mV=0.0)
    base = {"ispp": pulses, "traps": None, "tracking": False}
    clean, dirty = (small(**base, disturb=d) for d in (None, Disturb(per_pulse_mV=0.001)))
    levels = rng.integers(0, 8, (1, clean.rows, clean.bit_lines)).astype(np.uint8)
    histories = [sample_die(c, levels, seed=1).history for c in (clean, dirty)]
    fresh, raised = (h.programmed[0] * 1e3 for h in histories if h is not None)
    own = np.rint((fresh - fresh.min()) / 5.0)  # pulses after the least programmed cell
    rise = raised - fresh
    assert np.all(rise > 0)
    assert (rise - rise.mean(axis=1, keepdims=True)) == pytest.approx(
        -0.001 * (own - own.mean(axis=1, keepdims=True)), abs=1.1e-3
    )


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
