# SPDX-License-Identifier: Apache-2.0
"""Dies with physics: what time, temperature and measurements do to their integers, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from builders import Rng
from twinor.config import PRESETS, Config, load
from twinor.config import replace as changed
from twinor.device.array import device_of
from twinor.device.defects import DefectRates
from twinor.device.measured import read_currents, read_transitions
from twinor.die import Die, cut_out, ideal_die, sample_die
from twinor.die_file import load_die, save_die
from twinor.errors import ConfigError, CorruptFile
from twinor.store import read_archive, write_archive

pytestmark = pytest.mark.fast

PHYSICAL = ("nor40_iscas2021", "nor55_subthreshold", "nor_triode_pwm", "sonos40")
EKV = PHYSICAL[:3]
TABLES = ("current", "variance", "trap", "occupancy", "conversion")


def small(name: str, **changes: Any) -> Config:
    """A preset with few rows and columns."""
    return changed(load(name), rows=16, active_rows=8, cols=8, cols_per_adc=4, **changes)


def levels_of(config: Config, rng: Rng, macros: int = 1) -> Any:
    return rng.integers(0, 1 << config.cell_bits, (macros, config.rows, config.bit_lines)).astype(np.uint8)


def same(a: Die, b: Die) -> bool:
    assert a.cells is not None and b.cells is not None
    tables = [np.array_equal(getattr(a.cells, name), getattr(b.cells, name)) for name in TABLES]
    return all(tables) and np.array_equal(a.threshold, b.threshold)


def currents(die: Die) -> Any:
    assert die.cells is not None
    return die.cells.current


def mean_currents(die: Die) -> Any:
    """Over the states of the traps, in array units."""
    assert die.cells is not None and die.history is not None
    taken = die.cells.trap / 65536 * die.cells.occupancy / 256
    return die.cells.current / (1 << 2 * die.history.config.frac_bits) * (1 - taken)[:, :, None]


# Sampling //


@pytest.mark.parametrize("name", PHYSICAL)
def test_a_macro_does_not_depend_on_how_many_there_are(name: str, rng: Rng) -> None:
    config = small(name)
    levels = levels_of(config, rng, macros=3)
    whole, one = sample_die(config, levels, seed=5), sample_die(config, levels[:1], seed=5)
    assert same(cut_out(whole, 0), one) and not same(one, sample_die(config, levels[:1], seed=6))
    assert same(one, Die.sample(config, seed=5).program(levels[:1]))


@pytest.mark.parametrize("name", PHYSICAL)
def test_currents_are_products_but_for_the_spread_that_is_stated(name: str, rng: Rng) -> None:
    """Means of every level at every code: at most 6 % of the product off, or 0.15 of a level."""
    config = load(name)
    levels = levels_of(config, rng)
    found = mean_currents(sample_die(config, levels, seed=1))[0]
    top = (1 << config.dac_bits) - 1
    for code in range(1, top + 1):
        for level in range(1 << config.cell_bits):
            mean = found[:, code][levels[0] == level].mean()
            assert abs(mean - level * code) < max(0.15 * code, 0.06 * level * code), (code, level)
    assert np.all(found[:, 0] == 0)


def test_a_device_without_flaws_is_the_ideal_die(rng: Rng) -> None:
    """Pulses of SONOS cells without spread would be products; EKV cells in deep subthreshold nearly are."""
    config = small("nor_triode_pwm", cell_sigma=0.0, capacitor_sigma=0.0, comparator_sigma=0.0)
    device = device_of(config)
    assert device.word_line is not None and device.wires is not None
    short = replace(device.wires, r_bl_ohm=1e-6, r_sl_ohm=1e-6, r_clamp_ohm=1e-6, r_sl_return_ohm=1e-6)
    line = replace(device.word_line, sigma_mV=0.0)
    quiet = replace(device, word_line=line, wires=short, traps=None, read_sigma=0.0, converter=None)
    config = changed(config, device=quiet)
    levels = levels_of(config, rng)
    die, ideal = sample_die(config, levels, seed=0), ideal_die(config, levels)
    exact = ideal.strength[:, :, None] * ideal.drive[..., None]
    off = np.broadcast_to((levels == 0)[:, :, None], exact.shape)
    assert np.max(np.abs(currents(die) - exact)[~off]) <= 1 and currents(die)[off].max() < 1 << 2 * config.frac_bits - 6
    assert np.array_equal(die.threshold, ideal.threshold) and not die.noisy


# Time and temperature //


@pytest.mark.parametrize("name", EKV)
def test_ageing_twice_is_ageing_once(name: str, rng: Rng) -> None:
    config = small(name)
    die = sample_die(config, levels_of(config, rng), seed=2)
    both = die.age(hours=3, celsius=125).age(hours=4, celsius=125)
    assert same(both, die.age(hours=7, celsius=125)) and not same(both, die)
    assert same(die.at(celsius=85).at(celsius=25), die)


def test_measured_cells_age_as_their_statistics_say(rng: Rng) -> None:
    config = changed(load("sonos40"), rows=1024, active_rows=1024)
    levels = np.full((1, config.rows, config.bit_lines), 7, dtype=np.uint8)
    fresh = sample_die(config, levels, seed=1)
    unit = device_of(config).top_current_nA / 7
    for die, mean, sigma in ((fresh, 1600.0, 19.9), (fresh.age(hours=120), 1600.0 - 40.7, 34.6)):
        found = currents(die)[0, :, 1] * unit / (1 << 2 * config.frac_bits)
        assert abs(found.mean() - mean) < 0.5 and abs(found.std() / sigma - 1) < 0.01


@pytest.mark.parametrize("name", EKV)
def test_reference_cells_track_temperature(name: str, rng: Rng) -> None:
    tracking, fixed = (small(name, device=replace(device_of(load(name)), tracking=on)) for on in (True, False))
    levels = levels_of(tracking, rng)
    drift = []
    for config in (tracking, fixed):
        die = sample_die(config, levels, seed=3)
        cold, hot = (currents(die.at(celsius=celsius))[0, :, -1].sum() for celsius in (25.0, 85.0))
        drift.append(abs(hot / cold - 1))
    assert drift[0] < 0.25 * drift[1]


@pytest.mark.parametrize("name", EKV)
def test_lost_charge_moves_a_top_level_up_where_thresholds_fall(name: str, rng: Rng) -> None:
    config = small(name)
    config = changed(config, device=replace(device_of(config), tracking=False))
    levels = np.full((1, config.rows, config.bit_lines), 3, dtype=np.uint8)
    die = sample_die(config, levels, seed=4)
    before, after = (currents(d)[0, :, -1].mean() for d in (die, die.age(hours=1e5, celsius=125)))
    neutral = device_of(config).retention
    assert neutral is not None and die.history is not None
    fallen = die.history.programmed.mean() > neutral.neutral_mV * 1e-3
    assert (after > before) == fallen and after != before


def test_a_die_that_is_programmed_again_keeps_its_converters_and_its_place(rng: Rng) -> None:
    config = small("nor40_iscas2021")
    die = sample_die(config, levels_of(config, rng), seed=2)
    read = np.sort(rng.normal(0, 60, (1, config.n_adcs, (1 << config.adc_bits) - 1)), axis=2)
    hot = die.with_transitions(config, read).age(hours=9, celsius=125).at(celsius=85)
    other = levels_of(config, rng)
    again = hot.program(other)
    assert np.array_equal(again.threshold, hot.threshold) and not np.array_equal(again.threshold, die.threshold)
    assert again.history is not None and (again.history.celsius, again.history.bakes) == (85.0, ())
    assert np.array_equal(currents(again), currents(sample_die(config, other, seed=2).at(celsius=85)))
    with pytest.raises(ConfigError, match="this die has cells"):
        hot.program(levels_of(config, rng, macros=2))


@pytest.mark.parametrize("name", ["nor40_iscas2021", "sonos40"])
def test_a_missing_cell_makes_no_noise(name: str, rng: Rng) -> None:
    config = small(name)
    config = changed(config, device=replace(device_of(config), defects=DefectRates(missing=1.0)))
    die = sample_die(config, levels_of(config, rng), seed=2)
    assert die.cells is not None and not die.cells.current.any() and not die.cells.variance.any()


# Files //


def test_a_die_in_a_file_ages_on_as_the_die_itself(tmp_path: Path, rng: Rng) -> None:
    config = small("nor40_iscas2021")
    die = sample_die(config, levels_of(config, rng, macros=2), seed=8).age(hours=10, celsius=125).at(celsius=60)
    save_die(tmp_path / "die.npz", die)
    again = load_die(tmp_path / "die.npz", config)
    assert same(again, die) and same(again.age(hours=5, celsius=85), die.age(hours=5, celsius=85))
    assert again.cells is not None and die.cells is not None and again.cells.noise_seed == die.cells.noise_seed


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("bakes", [[1.0]], "bakes"),
        ("bakes", [[-1.0, 25.0]], "seconds"),
        ("bakes", 3, "bakes"),
        ("celsius", 1e9, "celsius"),
        ("celsius", "hot", "celsius"),
        ("noise_seed", -1, "noise_seed"),
        ("first_macro", 0.5, "first_macro"),
    ],
)
def test_a_die_with_an_impossible_past_is_refused(key: str, value: Any, named: str, tmp_path: Path, rng: Rng) -> None:
    config = small("nor40_iscas2021")
    save_die(tmp_path / "die.npz", sample_die(config, levels_of(config, rng), seed=8))
    header, arrays = read_archive(tmp_path / "die.npz", kind="die", remedy="")
    write_archive(tmp_path / "bad.npz", kind="die", header=header | {key: value}, arrays=arrays)
    with pytest.raises(CorruptFile, match=named):
        load_die(tmp_path / "bad.npz", config)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("current", lambda t: t + (1 << 24)),
        ("current", lambda t: t.astype(np.int64)),
        ("variance", lambda t: t - (1 << 30)),
        ("trap", lambda t: t + (1 << 17)),
        ("occupancy", lambda t: t + 300),
        ("conversion", lambda t: t - (1 << 41)),
        ("programmed", lambda t: t * np.nan),
        ("cell_levels", lambda t: t + 8),
        ("cell_levels", lambda t: t[:, 1:]),
    ],
)
def test_a_die_with_an_impossible_table_is_refused(name: str, change: Any, tmp_path: Path, rng: Rng) -> None:
    config = small("nor40_iscas2021")
    save_die(tmp_path / "die.npz", sample_die(config, levels_of(config, rng), seed=8))
    header, arrays = read_archive(tmp_path / "die.npz", kind="die", remedy="")
    write_archive(tmp_path / "bad.npz", kind="die", header=header, arrays=arrays | {name: change(arrays[name])})
    with pytest.raises(CorruptFile, match="current 0|" + name):
        load_die(tmp_path / "bad.npz", config)


# Measured dies //


def test_measured_currents_become_the_cells(tmp_path: Path, rng: Rng) -> None:
    config = small("nor40_iscas2021")
    die = sample_die(config, levels_of(config, rng), seed=9)
    wanted = rng.uniform(1, 100, (1, config.rows, config.bit_lines))
    lines = [f"{m},{r},{b},{float(value)!r}" for (m, r, b), value in np.ndenumerate(wanted)]
    (tmp_path / "cells.csv").write_text("macro,row,bit_line,current_nA\n" + "\n".join(lines))
    measured = die.with_currents(read_currents(tmp_path / "cells.csv", config, macros=1))
    unit = device_of(config).top_current_nA / 21
    found = mean_currents(measured)[:, :, 3] * unit
    assert np.max(np.abs(found / wanted - 1)) < 0.12  # the same cells behind wires and DACs
    assert np.array_equal(measured.threshold, die.threshold)


def test_measured_transitions_become_the_thresholds_for_life(tmp_path: Path, rng: Rng) -> None:
    config = small("nor40_iscas2021")
    die = sample_die(config, levels_of(config, rng), seed=9)
    levels = die.threshold[:, :, 1:] / (1 << 2 * config.frac_bits)
    lines = [f"{m},{a},{t + 1},{float(value)!r}" for (m, a, t), value in np.ndenumerate(levels)]
    (tmp_path / "adc.csv").write_text("macro,adc,transition,level_lsb\n" + "\n".join(lines))
    read = read_transitions(tmp_path / "adc.csv", config, macros=1)
    other = sample_die(config, levels_of(config, rng), seed=10).with_transitions(config, read)
    assert np.array_equal(other.threshold, die.threshold)
    assert np.array_equal(other.age(hours=1).at(celsius=50).threshold, die.threshold)
    save_die(tmp_path / "die.npz", other)
    assert np.array_equal(load_die(tmp_path / "die.npz", config).age(hours=1).threshold, die.threshold)


def test_transitions_of_a_redundant_search_are_refused(rng: Rng) -> None:
    config = small("nor40_iscas2021", sar_weights=(128, 64, 30, 16, 8, 4, 2, 2, 1))
    die = sample_die(config, levels_of(config, rng), seed=9)
    with pytest.raises(ConfigError, match="redundant"):
        die.with_transitions(config, np.zeros((1, config.n_adcs, 255)))


# Refusals //


def test_a_die_without_physics_does_not_live(rng: Rng) -> None:
    config = load("tiny")
    for die in (ideal_die(config, levels_of(config, rng)), sample_die(config, levels_of(config, rng), seed=1)):
        for event in (lambda d: d.age(hours=1), lambda d: d.at(celsius=85), lambda d: d.with_currents(np.zeros(1))):
            with pytest.raises(ConfigError, match="no physics"):
                event(die)


def test_measured_cells_know_neither_heat_nor_years(rng: Rng) -> None:
    config = small("sonos40")
    die = sample_die(config, levels_of(config, rng), seed=1)
    with pytest.raises(ConfigError, match="room temperature"):
        die.at(celsius=85)
    with pytest.raises(ConfigError, match="days"):
        die.age(hours=24 * 6)
    with pytest.raises(ConfigError, match="no thresholds"):
        die.with_currents(np.zeros((1, config.rows, config.bit_lines)))


def preset_with(tmp_path: Path, name: str, table: str, **values: Any) -> Path:
    """A preset file with some values of a table changed, or dropped where they are None; '' is the device itself."""
    tree = yaml.safe_load((PRESETS / f"{name}.yaml").read_text())
    at = tree["device"] if not table else tree[table] if table in tree else tree["device"][table]
    for key, value in values.items():
        at.pop(key) if value is None else at.update({key: value})
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.mark.parametrize(
    ("name", "table", "values", "named"),
    [
        ("nor_triode_pwm", "digital", {"input_mode": "voltage", "wl_cycles": 1}, "do not multiply"),
        ("sonos40", "digital", {"dac_bits": 2}, "one word-line voltage"),
        ("nor40_iscas2021", "", {"regime": "triode"}, "expected at least 10 times"),
        ("nor40_iscas2021", "", {"top_current_nA": 2000.0}, "no exponential"),
        ("nor40_iscas2021", "", {"regime": "linear"}, "subthreshold, triode, measured"),
        ("nor40_iscas2021", "", {"cell": None}, "regime subthreshold needs it"),
        ("nor40_iscas2021", "", {"read_sigma": 2.0}, "expected 0 .. 0.5"),
        ("nor40_iscas2021", "", {"read_sigma": "much"}, "expected a number"),
        ("nor40_iscas2021", "", {"tracking": 1}, "expected true or false"),
        ("nor40_iscas2021", "", {"tempo": 1}, "unknown key device.tempo"),
        ("nor40_iscas2021", "cell", {"tempo": 1}, "unknown key device.cell.tempo"),
        ("nor40_iscas2021", "cell", {"slope": 0.1}, "slope = 0.1"),
        ("nor40_iscas2021", "retention", {"neutral_mV": None}, "missing key device.retention.neutral_mV"),
        ("nor40_iscas2021", "", {"disturb": {"per_pulse_mV": 0.05}}, "no effect without ispp, whose pulses it counts"),
        ("nor40_iscas2021", "", {"disturb": {"per_read_mV": 2.0}}, "per_read_mV = 2.0 is not allowed"),
        ("nor40_iscas2021", "", {"disturb": {"per_day": 2.0}}, "unknown key device.disturb.per_day"),
        ("sonos40", "", {"disturb": {"per_read_mV": 0.1}}, "disturb has no effect"),
        ("nor40_iscas2021", "word_line", {"noise_mV": -1.0}, "noise_mV = -1.0"),
        ("nor40_iscas2021", "", {"wires": 3}, "device.wires: expected a table"),
        ("nor40_iscas2021", "", {"ispp": {"step_mV": 5.0}}, "cell_sigma = 0.01 has no effect"),
        ("sonos40", "", {"read_sigma": 0.01}, "read_sigma has no effect"),
        ("sonos40", "", {"traps": {"per_cell": 1.0}}, "traps has no effect"),
        ("sonos40", "", {"top_current_nA": 2000.0}, "measured up to 1600"),
        ("sonos40", "analog", {"cell_sigma": 0.01}, "cell_sigma = 0.01 has no effect"),
    ],
)
def test_a_device_that_contradicts_itself_is_refused(
    name: str, table: str, values: dict[str, Any], named: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=named):
        load(preset_with(tmp_path, name, table, **values))


def test_every_physical_preset_differs_in_its_digest_by_every_device_value(tmp_path: Path) -> None:
    before = load("nor40_iscas2021").digest()
    for table, values in (("", {"read_sigma": 0.006}), ("cell", {"dibl": 0.02}), ("wires", {"v_clamp": 0.31})):
        assert load(preset_with(tmp_path, "nor40_iscas2021", table, **values)).digest() != before
    assert load(preset_with(tmp_path, "nor40_iscas2021", "", top_current_nA=100)).digest() == before  # 100 is 100.0
