# SPDX-License-Identifier: Apache-2.0
"""Dies are drawn reproducibly with the configured spread, and their files are whole, checked and never half-written."""

from dataclasses import replace as changed
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import configs, random_levels, seeds
from hypothesis import given, settings
from numpy.typing import NDArray
from twinor.config import Config, replace
from twinor.die import Die, ideal_die, ideal_thresholds, sample_die
from twinor.die_file import load_die, save_die
from twinor.errors import ConfigError, CorruptFile, TwinorError
from twinor.store import read_archive, write_archive

pytestmark = pytest.mark.fast

TABLES = ("strength", "drive", "threshold")


def same(a: Die, b: Die) -> bool:
    header = (a.config_digest, a.levels_digest, a.seed) == (b.config_digest, b.levels_digest, b.seed)
    return header and all(np.array_equal(getattr(a, t), getattr(b, t)) for t in TABLES)


# Ideal //


@given(configs(), seeds)
def test_an_ideal_die_is_the_levels_and_codes_in_fixed_point(config: Config, seed: int) -> None:
    levels = random_levels(config, np.random.default_rng(seed), macros=2)
    die = ideal_die(config, levels)
    one = 1 << config.frac_bits
    assert die.seed is None and die.config_digest == config.digest()
    assert np.array_equal(die.strength, levels.astype(np.int64) * one)
    assert (
        np.array_equal(die.drive[1, -1], np.arange(1 << config.dac_bits) * one) and (die.drive == die.drive[0, 0]).all()
    )
    assert die.drive.shape == (2, config.rows, 1 << config.dac_bits)
    assert all(getattr(die, table).dtype == np.int32 for table in TABLES)


@given(configs())
def test_ideal_thresholds_lie_half_a_step_below_each_code(config: Config) -> None:
    table = ideal_thresholds(config)
    unit = 1 << 2 * config.frac_bits
    for trial in range(1, 1 << config.adc_bits):
        code = trial - (1 << config.adc_bits - 1) if config.bipolar else trial
        assert (table[:, trial] == (Fraction(code) - Fraction(1, 2)) * unit).all()
    assert table.shape == (config.n_adcs, 1 << config.adc_bits) and table.dtype == np.int32
    assert (table[:, 0] < table[:, 1]).all()


# Sampled //


def test_equal_seeds_give_equal_dies_and_others_do_not(tiny: Config, rng: np.random.Generator) -> None:
    levels = random_levels(tiny, rng, macros=2)
    die = sample_die(tiny, levels, seed=7)
    assert die.seed == 7 and same(die, sample_die(tiny, levels, seed=7))
    other = sample_die(tiny, levels, seed=8)
    for table in ("strength", "threshold"):
        assert not np.array_equal(getattr(die, table), getattr(other, table))
        assert not np.array_equal(getattr(die, table)[0], getattr(die, table)[1])  # macros differ too


def test_a_macro_does_not_depend_on_how_many_there_are(tiny: Config, rng: np.random.Generator) -> None:
    levels = random_levels(tiny, rng, macros=5)
    many, few = sample_die(tiny, levels, seed=3), sample_die(tiny, levels[:2], seed=3)
    for table in TABLES:
        assert np.array_equal(getattr(many, table)[:2], getattr(few, table))


def test_the_error_of_a_cell_does_not_depend_on_the_others_levels(tiny: Config) -> None:
    levels = np.full((1, 8, 8), 2, dtype=np.uint8)
    before = sample_die(tiny, levels, seed=3)
    levels[0, 0, 0] = 1
    after = sample_die(tiny, levels, seed=3)
    assert np.count_nonzero(after.strength != before.strength) == 1
    assert np.array_equal(after.threshold, before.threshold)


def test_a_die_without_spread_is_ideal(tiny: Config, rng: np.random.Generator) -> None:
    config = replace(tiny, cell_sigma=0.0, capacitor_sigma=0.0, comparator_sigma=0.0)
    levels = random_levels(config, rng)
    assert same(changed(sample_die(config, levels, seed=1), seed=None), ideal_die(config, levels))


@settings(max_examples=20)
@given(configs(cell_sigma=0.5, capacitor_sigma=0.2, comparator_sigma=8.0), seeds)
def test_the_largest_spread_stays_within_what_the_array_and_the_tables_hold(config: Config, seed: int) -> None:
    die = sample_die(config, random_levels(config, np.random.default_rng(seed)), seed=seed)
    assert die.strength.min() >= 0
    assert die.strength.max() <= 2 * ((1 << config.cell_bits) - 1) << config.frac_bits
    span = 1 << config.adc_bits + 2 * config.frac_bits
    assert np.abs(die.threshold[..., 1:].astype(np.int64)).max() < 2 * span + (80 << 2 * config.frac_bits)


def test_a_negative_seed_is_refused(tiny: Config) -> None:
    with pytest.raises(ConfigError, match="seed"):
        sample_die(tiny, np.zeros((1, 8, 8), dtype=np.uint8), seed=-1)


def assert_spread(values: NDArray[np.floating[Any]], sigma: float) -> None:
    """Mean 0 and standard deviation sigma, each within five standard errors."""
    n = values.size
    assert abs(values.mean()) < 5 * sigma / np.sqrt(n)
    assert abs(values.std() / sigma - 1) < 5 / np.sqrt(2 * n)


def test_cells_spread_by_a_fraction_of_the_top_level(nor40: Config) -> None:
    config = replace(nor40, cell_sigma=0.05, frac_bits=10)  # 0.35 levels: mid levels are never cut off
    levels = np.random.default_rng(0).integers(3, 6, (1, 256, 128)).astype(np.uint8)
    error = sample_die(config, levels, seed=11).strength / 1024 - levels
    assert_spread(error, 0.05 * 7)
    for level in (3, 5):  # whatever the level
        assert_spread(error[levels == level], 0.05 * 7)


def test_cells_that_are_off_never_turn_negative(nor40: Config) -> None:
    die = sample_die(nor40, np.zeros((1, 256, 128), dtype=np.uint8), seed=11)
    stuck = np.count_nonzero(die.strength == 0) / die.strength.size
    assert die.strength.min() == 0 and 0.45 < stuck < 0.62  # half the errors are negative, some round to zero


def bare_adcs(config: Config, *, seed: int) -> NDArray[np.float64]:
    """Threshold errors in LSB of 20 macros without cells, [macros * adcs, trials from 1]."""
    cells = np.zeros((20, config.rows, config.bit_lines), dtype=np.uint8)
    error = sample_die(config, cells, seed=seed).threshold - ideal_thresholds(config).astype(np.int64)
    lsb: NDArray[np.float64] = error.reshape(-1, 1 << config.adc_bits)[:, 1:] / (1 << 2 * config.frac_bits)
    return lsb


def test_a_comparator_offset_moves_all_thresholds_of_an_adc_alike(nor40: Config) -> None:
    config = replace(nor40, rows=8, active_rows=8, capacitor_sigma=0.0, comparator_sigma=0.25)
    error = bare_adcs(config, seed=1)
    assert np.ptp(error, axis=1).max() <= 2 / (1 << 12)  # equal but for rounding
    assert_spread(error[:, 0], 0.25)


def test_capacitors_spread_as_their_areas_do(nor40: Config) -> None:
    sigma, bits = 0.02, nor40.adc_bits
    config = replace(nor40, rows=8, active_rows=8, capacitor_sigma=sigma, comparator_sigma=0.0)
    error = bare_adcs(config, seed=2)
    for bit in range(bits):
        # level = C_bit / (sum of all): the capacitor's own deviation less its share of the sum's
        share = Fraction(1 << bit, 1 << bits)
        others = sum(1 << k for k in range(bits) if k != bit)
        variance = (1 - share) ** 2 * (1 << bit) + share**2 * others
        assert_spread(error[:, (1 << bit) - 1], sigma * float(variance) ** 0.5)
    # the dummy unit is exact, so the full scale moves only with the sum: far less than the middle
    assert error[:, -1].std() < 0.2 * error[:, 127].std()


# Files //


@pytest.fixture
def saved(tiny: Config, rng: np.random.Generator, tmp_path: Path) -> Path:
    """A file with a varied die of two macros."""
    path = tmp_path / "die.npz"
    save_die(path, sample_die(tiny, random_levels(tiny, rng, macros=2), seed=5))
    return path


@pytest.mark.parametrize("seed", [None, 0, 2**63])
def test_a_die_survives_its_file(seed: int | None, tiny: Config, rng: np.random.Generator, tmp_path: Path) -> None:
    levels = random_levels(tiny, rng, macros=2)
    die = ideal_die(tiny, levels) if seed is None else sample_die(tiny, levels, seed=seed)
    path = tmp_path / "deep" / "er" / "die.npz"
    save_die(path, die)
    loaded = load_die(path, tiny)
    assert same(loaded, die)
    assert all(getattr(loaded, table).dtype == np.int32 for table in TABLES)
    save_die(tmp_path / "again.npz", loaded)
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def refusal(path: Path, config: Config, *, levels: NDArray[np.uint8] | None = None) -> str:
    """The sentence with which a file is refused; it names the file and stays on one line."""
    with pytest.raises(CorruptFile) as caught:
        load_die(path, config, levels=levels)
    said = str(caught.value)
    assert str(path) in said and "\n" not in said
    return said


def test_a_die_of_another_configuration_is_refused(saved: Path, tiny: Config) -> None:
    for key, value in (("cell_sigma", 0.03), ("wl_cycles", 2), ("adc_bits", 5)):
        assert "another configuration than preset tiny" in refusal(saved, replace(tiny, **{key: value}))


def test_a_die_of_other_weights_is_refused(tiny: Config, rng: np.random.Generator, tmp_path: Path) -> None:
    levels, path = random_levels(tiny, rng, macros=2), tmp_path / "die.npz"
    for die in (ideal_die(tiny, levels), sample_die(tiny, levels, seed=5)):
        save_die(path, die)
        assert same(load_die(path, tiny, levels=levels), die)
        other = levels.copy()
        other[1, 7, 7] ^= 1
        for wrong in (other, levels[:1], levels.reshape(1, 16, 8), np.concatenate([levels, levels])):
            assert "programmed with other weights" in refusal(path, tiny, levels=wrong)


def test_a_missing_file_is_refused(tiny: Config, tmp_path: Path) -> None:
    refusal(tmp_path / "gone.npz", tiny)
    refusal(tmp_path, tiny)


def test_a_cut_file_is_refused(saved: Path, tiny: Config) -> None:
    content = saved.read_bytes()
    for length in (*range(0, len(content), 61), len(content) - 1):
        saved.write_bytes(content[:length])
        refusal(saved, tiny)
    saved.write_bytes(content + b"\n")
    refusal(saved, tiny)


def test_any_flipped_bit_is_found(saved: Path, tiny: Config, rng: np.random.Generator) -> None:
    content = saved.read_bytes()
    for place in {*rng.integers(0, len(content), 100).tolist(), 0, len(content) - 1}:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(flipped)
        refusal(saved, tiny)


class Bomb:
    """A pickle that leaves a file behind when something loads it."""

    def __init__(self, path: Path) -> None:
        """Remember what to make."""
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """What `pickle.load` calls."""
        return (Path.touch, (self.path,))


def test_pickled_objects_are_refused_and_never_run(tiny: Config, tmp_path: Path) -> None:
    sprung, path = tmp_path / "sprung", tmp_path / "die.npz"
    np.savez(path, header=np.array([Bomb(sprung)], dtype=object))
    refusal(path, tiny)
    np.array([Bomb(sprung)], dtype=object).dump(path)
    refusal(path, tiny)
    assert not sprung.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"not a die"], ids=["empty", "empty zip", "text"])
def test_what_is_not_a_die_is_refused(content: bytes, tiny: Config, tmp_path: Path) -> None:
    (tmp_path / "die.npz").write_bytes(content)
    refusal(tmp_path / "die.npz", tiny)


def test_a_plain_array_is_refused(tiny: Config, tmp_path: Path) -> None:
    np.save(tmp_path / "die.npy", np.zeros(3))
    refusal(tmp_path / "die.npy", tiny)


def shift(table: NDArray[Any], at: tuple[int, ...], value: int) -> NDArray[Any]:
    copy = table.copy()
    copy[at] = value
    return copy


FORGED: dict[str, dict[str, Any]] = {
    "strength too high": {"strength": lambda t: shift(t, (0, 0, 0), (6 << 6) + 1)},
    "strength negative": {"strength": lambda t: shift(t, (1, 7, 7), -1)},
    "drive too high": {"drive": lambda t: shift(t, (0, 0, 1), 65)},
    "drive negative": {"drive": lambda t: shift(t, (0, 0, 1), -1)},
    "code 0 drives": {"drive": lambda t: shift(t, (1, 3, 0), 1)},
    "threshold of another type": {"threshold": lambda t: t.astype(np.int64)},
    "strength as float": {"strength": lambda t: t.astype(np.float32)},
    "drive of another shape": {"drive": lambda t: t[:, :7]},
    "drive of fewer macros": {"drive": lambda t: t[:1]},
    "no macros": dict.fromkeys(TABLES, lambda t: t[:0]),
    "strength is a number": {"strength": lambda t: t[0, 0, 0]},
    "a table is gone": {"threshold": lambda t: None},
}


@pytest.mark.parametrize("name", FORGED)
def test_a_well_formed_file_with_bad_tables_is_refused(name: str, saved: Path, tiny: Config) -> None:
    header, tables = read_archive(saved, kind="die", remedy="")
    for table, change in FORGED[name].items():
        tables[table] = change(tables[table])
        if tables[table] is None:
            del tables[table]
    write_archive(saved, kind="die", header=header, arrays=tables)
    refusal(saved, tiny)


def test_the_limits_themselves_are_allowed(saved: Path, tiny: Config) -> None:
    header, tables = read_archive(saved, kind="die", remedy="")
    tables["strength"][0, 0, 0], tables["drive"][0, 0, 1] = 6 << 6, 64
    write_archive(saved, kind="die", header=header, arrays=tables)
    assert load_die(saved, tiny).strength[0, 0, 0] == 384


@pytest.mark.parametrize("entry", ["config", "levels", "seed"])
def test_a_header_that_lacks_an_entry_is_refused(entry: str, saved: Path, tiny: Config) -> None:
    """Without its seed a varied die would pass for an ideal one, without its levels for any network's."""
    header, tables = read_archive(saved, kind="die", remedy="")
    del header[entry]
    write_archive(saved, kind="die", header=header, arrays=tables)
    assert entry in refusal(saved, tiny)


def test_a_header_that_names_no_configuration_is_refused(saved: Path, tiny: Config) -> None:
    _, tables = read_archive(saved, kind="die", remedy="")
    write_archive(saved, kind="die", header={"seed": 5}, arrays=tables)
    refusal(saved, tiny)


def test_a_file_of_another_kind_is_refused(saved: Path, tiny: Config) -> None:
    header, tables = read_archive(saved, kind="die", remedy="")
    write_archive(saved, kind="network", header=header, arrays=tables)
    assert "die" in refusal(saved, tiny)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    saved: Path, tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(TwinorError, match="No space left"):
        save_die(saved, ideal_die(tiny, np.zeros((2, 8, 8), dtype=np.uint8)))
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
