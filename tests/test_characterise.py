# SPDX-License-Identifier: Apache-2.0
"""Measurements find what was planted: gains, offsets, bows, noise, drift; and nothing on an ideal die."""

from dataclasses import replace as changed
from typing import Any

import numpy as np
import pytest
from builders import configs, seeds
from hypothesis import given, settings
from numpy.typing import NDArray
from scipy.stats import binomtest
from twinor.characterise import Chip, Limits, Settings, characterise, chip_of
from twinor.characterise.adcs import adc_figures, trimmed
from twinor.characterise.bench import Pattern, pattern, read, single_ended_pattern
from twinor.characterise.cells import cell_levels, cell_transfer
from twinor.characterise.chip import is_trimmed, programmed, single_ended
from twinor.characterise.mac import mac_figures
from twinor.characterise.noise import noise_figures
from twinor.characterise.stress import ageing, heating
from twinor.characterise.wires import wire_drop
from twinor.characterise.yields import OneDie, wilson, yield_of
from twinor.config import Config, load, replace
from twinor.converter.cdac import NEVER
from twinor.device.ekv import current, threshold_for
from twinor.device.ladder import Wires
from twinor.die import CellCurrents, Die, ideal_die

from tb.common.configs import EXACT, NOR40

Ints = NDArray[np.integer[Any]]
SMALL: dict[str, Any] = {"rows": 32, "active_rows": 32, "cols": 8, "cols_per_adc": 4}
VOLTAGE = replace(load("nor55_subthreshold"), name="voltage", **SMALL)
PULSED = replace(load("nor_triode_pwm"), name="pulsed", **SMALL)
MEASURED = replace(load("sonos40"), name="measured", **SMALL)
FEW = {"vectors": 200, "sweep_vectors": 64, "inputs": 2, "repeats": 256, "wire_inputs": 2, "dies": 0}
NOTHING_BUT = {"traps": None, "read_sigma": 0.0, "converter": None}


def quiet(config: Config, **device: Any) -> Config:
    """The same macro without programming error, noise, mismatch or errors of its word lines."""
    assert config.device is not None
    line = config.device.word_line and changed(config.device.word_line, sigma_mV=0.0)
    parts = changed(config.device, **(NOTHING_BUT | {"word_line": line} | device))
    return replace(config, cell_sigma=0.0, capacitor_sigma=0.0, comparator_sigma=0.0, device=parts)


def with_levels(config: Config, die: Die, change: Any) -> Die:
    """The die with threshold tables changed by a function of LSB."""
    lsb = 1 << 2 * config.frac_bits
    table = np.rint(change(die.threshold / lsb) * lsb)
    table[..., 0] = NEVER
    return changed(die, threshold=table.astype(np.int32))


def noisy(config: Config, die: Die, *, conversion: float = 0.0, read_units: float = 0.0, trap: float = 0.0) -> Die:
    """An ideal die with noise: sigma of a conversion in LSB, of a driven cell in array units, part that traps take."""
    one = 1 << 2 * config.frac_bits
    current = (die.strength[:, :, None].astype(np.int64) * die.drive[..., None]).astype(np.int32)
    cells = CellCurrents(
        current=current,
        variance=np.where(current > 0, round((read_units * one) ** 2), 0).astype(np.int32),
        trap=np.full(die.strength.shape, round(trap * (1 << 16)), dtype=np.int32),
        occupancy=np.full(die.strength.shape, 128, dtype=np.int32),
        conversion=np.full((1, config.n_adcs), round((conversion * one) ** 2), dtype=np.int64),
        noise_seed=5,
    )
    return changed(die, cells=cells)


def known_die(config: Config, *, vectors: int = 400) -> tuple[Pattern, Die]:
    """A pattern and an ideal die that holds it."""
    known = pattern(config, seed=3, vectors=vectors)
    return known, ideal_die(config, known.levels[None])


# The bench //


@settings(max_examples=10)
@given(configs(), seeds)
def test_both_engines_read_the_exact_quantities_of_an_ideal_die(config: Config, seed: int) -> None:
    """Reference columns, slices, signs of every encoding; where the ADC holds a column, its code is the quantity."""
    known = pattern(config, seed=seed, vectors=5)
    die = ideal_die(config, known.levels[None])
    got, golden = (read(config, die, known.steps, known.activations, backend=b) for b in ("fast", "golden"))
    assert np.array_equal(got.mac, golden.mac) and set(got.codes) == set(golden.codes) == set(known.ideal)
    for key, ideal in known.ideal.items():
        assert np.array_equal(got.codes[key], golden.codes[key])
        exact = np.floor(ideal / known.steps[key[0]][key[1]] + 0.5)
        assert np.array_equal(got.codes[key], np.clip(exact, config.code_min, config.code_max))


def test_engines_agree_on_a_noisy_chip() -> None:
    known = pattern(VOLTAGE, seed=1, vectors=70)
    die = programmed(Chip(config=VOLTAGE, seed=2), known.levels)
    for one in (die, single_ended(VOLTAGE, die)):
        macs = [read(VOLTAGE, one, known.steps, known.activations, backend=b).mac for b in ("fast", "golden")]
        assert np.array_equal(*macs)


def test_products_are_those_of_matrices() -> None:
    known, _ = known_die(EXACT)
    weights = known.levels[: EXACT.active_rows].astype(int) - 8
    assert np.array_equal(known.dot, known.activations @ weights)
    pair, _ = known_die(NOR40)
    plus = pair.levels[:, ::2].astype(int)
    assert np.array_equal(pair.dot, pair.activations @ (plus - pair.levels[:, 1::2]))
    assert np.array_equal(single_ended_pattern(NOR40, pair).dot, pair.activations @ plus)


def test_a_chip_keeps_its_converters_and_its_life_when_it_is_programmed_anew() -> None:
    lived = Die.sample(VOLTAGE, seed=4).age(hours=50, celsius=125).at(celsius=60.0)
    trim = changed(lived, gain=lived.gain - 9, offset=lived.offset + 40)
    levels = cell_levels(VOLTAGE, seed=0)
    die = programmed(chip_of(VOLTAGE, trim), levels)
    wanted = lived.program(levels[None]).age(hours=50, celsius=125).at(celsius=60.0)
    assert die.cells is not None and wanted.cells is not None
    assert np.array_equal(die.cells.current, wanted.cells.current) and np.array_equal(die.threshold, wanted.threshold)
    assert np.array_equal(die.gain, trim.gain) and np.array_equal(die.offset, trim.offset)
    assert is_trimmed(chip_of(VOLTAGE, trim)) and not is_trimmed(chip_of(VOLTAGE, lived))


# Nothing on an ideal die //


def test_an_ideal_die_has_no_error() -> None:
    known, die = known_die(EXACT)
    adcs = adc_figures(EXACT, die)
    assert max(adcs.worst_inl, adcs.worst_dnl) < 1e-9 and not adcs.missing.any()
    assert np.all(adcs.gain == 1.0) and np.all(adcs.offset == 0.0) and adcs.enob == pytest.approx(8.0, abs=0.05)
    for found in mac_figures(EXACT, die, known, read(EXACT, die, known.steps, known.activations)):
        assert found.error == found.residual == found.worst_inl == 0.0 and found.snr == np.inf


def test_cells_of_an_ideal_die_read_as_products_within_half_a_fine_step() -> None:
    for config in (NOR40, EXACT, load("tiny")):
        levels = cell_levels(config, seed=1)
        die = ideal_die(config, levels[None])
        found = cell_transfer(config, die, levels, adc_figures(config, die, per_lsb=64))
        top = found.ideal.max()
        assert np.abs(found.mean - found.ideal).max() <= 1.1 * top / config.code_max and found.sigma.max() == 0.0


# What is planted is found //


@pytest.mark.parametrize(("gain", "offset"), [(1.1, 0.4), (0.93, -1.3), (1.0, 2.2)])
def test_gain_and_offset_of_adcs_are_found_and_trimmed_away(gain: float, offset: float) -> None:
    config = replace(NOR40, name="corrected", column_correction=True)
    known, ideal = known_die(config)
    die = with_levels(config, ideal, lambda lsb: (lsb - offset) / gain)
    adcs = adc_figures(config, die)
    assert adcs.gain == pytest.approx(gain, abs=2e-3) and adcs.offset == pytest.approx(offset, abs=5e-3)
    plain = mac_figures(config, die, known, read(config, die, known.steps, known.activations))[0]
    assert plain.gain == pytest.approx(gain, abs=0.01) and plain.offset == pytest.approx(offset, abs=0.1)
    chip = trimmed(Chip(config=config, seed=None, tables={"threshold": die.threshold}), adcs.levels)
    better = programmed(chip, known.levels)
    trim = mac_figures(config, better, known, read(config, better, known.steps, known.activations))[0]
    assert trim.error < 0.5 < plain.error and abs(trim.bias) < 0.3  # parts of an LSB stay where no gain spreads them
    assert trimmed(chip, adcs.levels * 2) is chip  # a correction that is there stays


def test_a_bow_and_a_missing_code_are_found() -> None:
    """The bow of products is that of the ADC, less the line through the codes that they reach."""
    config = replace(NOR40, name="coarse", adc_bits=6)
    known, ideal = known_die(config, vectors=800)
    die = with_levels(config, ideal, lambda lsb: lsb - 2.5 * np.cos(np.pi * lsb / 63))
    found = mac_figures(config, die, known, read(config, die, known.steps, known.activations))[0]
    middle = np.abs(found.mean_at) < 20  # of 32: no input clips there
    bow = 2.5 * np.cos(np.pi * found.mean_at[middle] / 63)
    assert np.ptp(bow) > 1.0 and np.abs(found.mean[middle] - bow).max() < 0.3
    bent, at = found.inl[middle] - bow, found.mean_at[middle]
    assert np.ptp(found.inl[middle]) > 1.0 and np.abs(bent - np.polyval(np.polyfit(at, bent, 1), at)).max() < 0.15
    die.threshold[:, 3, 40] = die.threshold[:, 3, 41]
    adcs = adc_figures(config, die)
    assert adcs.worst_inl == pytest.approx(2.44, abs=0.02) and adcs.missing.tolist() == [0, 0, 0, 1, 0, 0, 0, 0]


def test_errors_of_cells_are_the_residual_and_the_spread() -> None:
    """Gaussian strengths of 2 % of the top level: sqrt(sum of x**2) of them in a column, less what its line takes."""
    known, die = known_die(replace(NOR40, name="wide", adc_bits=12, step="calibrated"), vectors=800)
    config = replace(NOR40, name="wide", adc_bits=12, step="calibrated")
    error = np.random.default_rng(0).standard_normal(die.strength.shape) * 0.02 * 7
    varied = changed(die, strength=np.maximum(np.rint(die.strength + 64 * error), 0).astype(np.int32))
    actual = (varied.strength[0, :, ::2] - varied.strength[0, :, 1::2]) / 64 - (
        known.levels[:, ::2] - 1.0 * known.levels[:, 1::2]
    )
    wanted = known.activations @ actual
    found = mac_figures(config, varied, known, read(config, varied, known.steps, known.activations))[-1]
    assert found.error * found.lsb == pytest.approx(np.sqrt((wanted**2).mean()), rel=0.02)
    assert found.residual * found.lsb == pytest.approx(np.sqrt(wanted.var(axis=0).mean()), rel=0.1)
    levels = cell_levels(NOR40, seed=0)
    spread = np.rint(64 * np.maximum(levels + error[0], 0)).astype(np.int32)
    cells = changed(ideal_die(NOR40, levels[None]), strength=spread[None])
    transfer = cell_transfer(NOR40, cells, levels, adc_figures(NOR40, cells, per_lsb=64))
    assert transfer.sigma[3:, -1] == pytest.approx(0.02 * 7 * 3, rel=0.12)


# Noise //


def test_noise_of_conversions_takes_bits_as_theory_has_it() -> None:
    _, die = known_die(NOR40)
    loud = adc_figures(NOR40, noisy(NOR40, die, conversion=0.5))
    assert loud.enob == pytest.approx(8 - 0.5 * np.log2(1 + 12 * 0.25), abs=0.06)
    assert loud.worst_inl < 0.2  # a histogram averages it


@pytest.mark.parametrize("noise", [{"conversion": 0.6}, {"read_units": 0.12}, {"trap": 0.2}])
def test_repeated_conversions_spread_as_planted_and_as_the_tables_say(noise: dict[str, float]) -> None:
    known, ideal = known_die(NOR40)
    die = noisy(NOR40, ideal, **noise)
    for found in noise_figures(NOR40, die, known, inputs=3, repeats=2048):
        assert found.ratio == pytest.approx(1.0, abs=0.04)
        parts = {"conversion": found.conversion, "read_units": found.read, "trap": found.telegraph}
        key = next(iter(noise))
        assert [name for name, value in parts.items() if value > 0] == [key]
        at_input = 0.6 if key == "conversion" else parts[key]
        assert found.sigma == pytest.approx(np.sqrt(at_input**2 + 1 / 12), rel=0.1)  # rounding to codes is there too
    if "read_units" in noise:
        x, step = known.activations[:3] & 3, known.steps[0][0]
        driven = ((x > 0).astype(int) @ (known.levels > 0)).reshape(3, -1, 2).sum(axis=2)
        first = noise_figures(NOR40, die, known, inputs=3, repeats=64)[0]
        assert first.read == pytest.approx(np.sqrt((0.12**2 * driven).mean()) / step, rel=1e-3)


# Time, temperature //


def shares(config: Config, *, celsius: float = 25.0, lost: float = 0.0) -> NDArray[np.float64]:
    """Current of every level over its target, from the equations alone: at a temperature, or with charge lost."""
    device = config.device
    assert device is not None and device.cell is not None and device.word_line is not None
    at = {"gate": device.word_line.on_v, "drain": 0.3}
    target = device.top_current_nA * np.arange(1, 8) / 7
    threshold = threshold_for(device.cell, target, celsius=25.0, **at)
    threshold = threshold - lost * (threshold - 0.8)
    now = current(device.cell, threshold=threshold, source=0.0, celsius=celsius, **at)
    return np.concatenate([[0.0], now / target])


def slope(config: Config, share: NDArray[np.float64], reference: float) -> float:
    """Gain of single-ended products whose levels carry shares, in percent more than before."""
    known = single_ended_pattern(config, pattern(config, seed=0, vectors=64))
    plus = known.levels[:, ::2]
    product = known.activations @ (plus * share[plus] / reference)
    return 100 * float((product * known.dot).sum() / (known.dot.astype(float) ** 2).sum() - 1)


@pytest.fixture(scope="module")
def still() -> Config:
    """Cells that spread in nothing, between wires that drop nothing, and an ADC of 12 bits."""
    wires = Wires(r_bl_ohm=1e-6, r_sl_ohm=1e-6, r_clamp_ohm=1e-6, r_sl_return_ohm=1e-6)
    assert PULSED.device is not None and PULSED.device.retention is not None
    config = quiet(PULSED, wires=wires, retention=changed(PULSED.device.retention, spread=0.0))
    return replace(config, name="still", adc_bits=12)


def test_drift_is_that_of_the_law(still: Config) -> None:
    found = ageing(Chip(config=still, seed=0), pattern(still, seed=0, vectors=64), [0.0, 999.0], celsius=125.0)
    by_name = {curve.name: [p.drift for p in curve.points] for curve in found.curves}
    share = shares(still, lost=0.003 * 3)  # decades at the temperature for which the law is stated
    assert by_name["single-ended, not tracked"] == pytest.approx([0.0, slope(still, share, 1.0)], abs=0.1)
    assert by_name["single-ended, tracked"] == pytest.approx([0.0, slope(still, share, share[4])], abs=0.1)


def test_temperature_moves_products_as_the_equations_say(still: Config) -> None:
    found = heating(Chip(config=still, seed=0), pattern(still, seed=0, vectors=64), [25.0, 60.0])
    by_name = {curve.name: [p.drift for p in curve.points] for curve in found.curves}
    share = shares(still, celsius=60.0)
    wanted = {"not tracked": slope(still, share, 1.0), "tracked": slope(still, share, share[4])}
    for name, percent in wanted.items():  # cells at level 0 leak, which `shares` leaves out
        assert by_name[f"single-ended, {name}"] == pytest.approx([0.0, percent], abs=0.25)


@pytest.mark.parametrize("config", [VOLTAGE, PULSED], ids=lambda c: c.name)
def test_tracking_and_pairs_each_keep_products_better(config: Config) -> None:
    chip, known = Chip(config=config, seed=1), pattern(config, seed=0, vectors=64, adc_gain=1.1)
    for sweep in (ageing(chip, known, [1e4], celsius=125.0), heating(chip, known, [-40.0, 0.0, 85.0, 125.0])):
        snr = {curve.name: [p.snr for p in curve.points] for curve in sweep.curves}
        for k in range(len(sweep.at)):
            for pairing in ("differential", "single-ended"):
                assert snr[f"{pairing}, tracked"][k] > snr[f"{pairing}, not tracked"][k] + 1
            for tracking in ("tracked", "not tracked"):
                assert snr[f"differential, {tracking}"][k] > snr[f"single-ended, {tracking}"][k]


def test_measured_cells_age_for_five_days_and_have_no_reference() -> None:
    found = characterise(Chip(config=MEASURED, seed=0), Settings(**FEW))
    assert found.drift is not None and found.drift.at == (0.0, 24.0, 48.0, 72.0, 96.0, 120.0)
    assert {curve.tracking for curve in found.drift.curves} == {None} and found.heat is found.wires is None
    assert "temperature, wire drop and reference cells are left out" in found.left_out[0]
    old = Die.sample(MEASURED, seed=0).age(hours=72)
    assert characterise(chip_of(MEASURED, old), Settings(**FEW)).drift.at == (0.0, 24.0, 48.0)  # type: ignore[union-attr]


# Wires //


@pytest.mark.parametrize("config", [VOLTAGE, PULSED], ids=lambda c: c.name)
def test_the_wire_drop_is_exact_at_its_operating_point_and_bounded_elsewhere(config: Config) -> None:
    assert config.device is not None
    lossy = Wires(r_bl_ohm=40.0, r_sl_ohm=10.0, r_clamp_ohm=4e3)
    known = pattern(config, seed=0, vectors=4)
    ends = {}
    for activity in (0.0, 0.25, 1.0):
        device = changed(config.device, wires=lossy, activity=activity)
        chip = Chip(config=replace(config, device=device), seed=1)
        for name, x in (("random", known.activations), ("full", np.full_like(known.activations, 15))):
            found = wire_drop(chip, changed(known, activations=x), inputs=2)
            assert np.abs(found.error).max() <= found.bound + 0.01
            ends[activity, name] = found
    assert np.abs(ends[1.0, "full"].error).max() < 0.01 < 0.1 < np.abs(ends[0.25, "full"].error).max()
    assert abs(ends[0.0, "random"].loss) < 1e-3 < 0.1 < ends[1.0, "random"].loss
    assert ends[0.25, "random"].figures["remaining_rms"] < ends[0.25, "random"].figures["error_rms"]
    assert ends[0.25, "full"].error_lsb == pytest.approx(ends[0.25, "full"].error / known.steps[0][0])


def test_wires_without_resistance_leave_nothing(still: Config) -> None:
    found = wire_drop(Chip(config=still, seed=0), pattern(still, seed=0, vectors=4), inputs=4)
    assert np.abs(found.error).max() < 0.01 and found.bound < 0.05 and found.line < 0.01


def test_wires_that_are_slow_are_no_drop() -> None:
    """What has not settled is another matter than what the wires take in direct current."""
    assert VOLTAGE.device is not None and VOLTAGE.device.wires is not None
    heavy = replace(VOLTAGE, device=changed(VOLTAGE.device, wires=changed(VOLTAGE.device.wires, c_bl_fF=20_000.0)))
    known = pattern(VOLTAGE, seed=0, vectors=4)
    slow, quick = (wire_drop(Chip(config=config, seed=0), known, inputs=2) for config in (heavy, VOLTAGE))
    assert np.array_equal(slow.error, quick.error)


# Yield //


def test_dies_are_counted_against_each_limit_and_all() -> None:
    figures = [(0.1, 25.0, 1.0), (0.6, 25.0, 1.0), (0.1, 19.0, 1.0), (0.6, 19.0, 9.0), (0.5, 20.0, 3.0)]
    dies = [OneDie(seed=n, inl=inl, snr=snr, mac_error=error) for n, (inl, snr, error) in enumerate(figures)]
    found = yield_of(dies, Limits())
    assert found.counts == {"INL": 3, "SNR": 3, "MAC error": 4, "all": 2}
    assert yield_of(dies, Limits(max_inl=1.0, min_snr=0.0, max_mac_error=10.0)).counts["all"] == 5
    wilson_s = binomtest(2, 5).proportion_ci(method="wilson")
    assert found.interval == pytest.approx((100 * wilson_s.low, 100 * wilson_s.high), abs=0.01)
    assert wilson(5, 5)[1] == 1.0 and wilson(0, 5)[0] == 0.0
