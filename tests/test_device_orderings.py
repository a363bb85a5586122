# SPDX-License-Identifier: Apache-2.0
"""What published chips found comes out of the equations: which input coding and which pairing of cells is the better.

G. Malavena, A. S. Spinelli, C. Monzio Compagnoni, Electronics 10:2784, 2021: pulse width is less sensitive than pulse
amplitude to program noise, telegraph noise and temperature. X. Guo et al., CICC 2017: a differential gate-coupled
multiplier drifts by less than 3 % over 25 .. 85 C.
"""

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from twinor.device.ekv import Ekv, current, gate_for, threshold_for
from twinor.device.telegraph import Traps, draw_telegraph

pytestmark = pytest.mark.fast

CELL, DRAIN = Ekv(), 0.3
REFERENCE = 1.0
"""Threshold of the cell from which the DAC derives its word-line voltages, in volts."""
AMPLITUDE_NA, PULSE_NA = 100.0, 2000.0
"""Largest cell current: a subthreshold array with a voltage DAC, and one driven by pulses of one height."""

Floats = NDArray[np.float64]


# Pulse width against pulse amplitude //


def gate_at(share: ArrayLike, top: float) -> Floats:
    """The word-line voltage at which the reference cell carries a share of the top current at 25 C."""
    return gate_for(CELL, np.asarray(share) * top, threshold=REFERENCE, drain=DRAIN, celsius=25.0)


def thresholds(weights: Floats, top: float) -> Floats:
    """Thresholds that carry their weights at the full word-line voltage."""
    return threshold_for(CELL, weights * top, gate=gate_at(1.0, top), drain=DRAIN, celsius=25.0)


def amplitude_coded(threshold: Floats, x: Floats, *, top: float = AMPLITUDE_NA, celsius: float = 25.0) -> Floats:
    """Column sums with the input as height of the word-line pulse; 0 leaves it off."""
    gate = gate_at(np.maximum(x, 1 / 15), top)
    cells = current(CELL, gate=gate, drain=DRAIN, source=0.0, threshold=threshold, celsius=celsius)
    return np.asarray((cells * (x > 0)).sum(axis=1) / top)


def width_coded(threshold: Floats, x: Floats, *, top: float = PULSE_NA, celsius: float = 25.0) -> Floats:
    """Column sums with the input as width of the word-line pulse."""
    cells = current(CELL, gate=gate_at(1.0, top), drain=DRAIN, source=0.0, threshold=threshold, celsius=celsius)
    return np.asarray((cells * x).sum(axis=1) / top)


def error(got: Floats, wanted: Floats) -> float:
    """Spread of the error of column sums over their own, once a common gain is taken off as a tracking ADC does."""
    return float(np.std(got * (wanted @ got) / (got @ got) - wanted) / np.std(wanted))


@pytest.fixture
def weights(rng: np.random.Generator) -> Floats:
    """Seven levels in 500 columns of 64 cells."""
    return rng.integers(1, 8, (500, 64)) / 7


@pytest.fixture
def inputs(rng: np.random.Generator) -> Floats:
    """4-bit inputs of the same columns."""
    return rng.integers(0, 16, (500, 64)) / 15


def test_a_height_multiplies_in_subthreshold_alone_and_a_width_anywhere(weights: Floats, inputs: Floats) -> None:
    """Why a pulse may be driven harder: its height need not carry a product."""
    exact = (weights * inputs).sum(axis=1)
    for top, least, most in ((10.0, 0.0, 0.01), (AMPLITUDE_NA, 0.01, 0.04), (PULSE_NA, 0.08, 1.0)):
        assert least < error(amplitude_coded(thresholds(weights, top), inputs, top=top), exact) < most
        assert error(width_coded(thresholds(weights, top), inputs, top=top), exact) < 1e-9


def errors_of_noise(weights: Floats, inputs: Floats, noise: Floats) -> tuple[float, float]:
    """Errors by threshold noise in volts: of amplitude coding, of width coding."""
    low, high = thresholds(weights, AMPLITUDE_NA), thresholds(weights, PULSE_NA)
    by_height = error(amplitude_coded(low + noise, inputs), amplitude_coded(low, inputs))
    return by_height, error(width_coded(high + noise, inputs), width_coded(high, inputs))


@pytest.mark.parametrize("sigma_mV", [1.0, 3.0, 10.0])
def test_program_noise_hurts_pulse_width_less(
    sigma_mV: float, weights: Floats, inputs: Floats, rng: np.random.Generator
) -> None:
    by_height, by_width = errors_of_noise(weights, inputs, 1e-3 * sigma_mV * rng.standard_normal(weights.shape))
    assert 0.0 < by_width < 0.6 * by_height


def test_telegraph_noise_hurts_pulse_width_less(weights: Floats, inputs: Floats, rng: np.random.Generator) -> None:
    traps = draw_telegraph(Traps(), (500, 64), rng)
    filled = rng.random(weights.shape) < traps.occupancy
    by_height, by_width = errors_of_noise(weights, inputs, 1e-3 * traps.amplitude_mV * filled)
    assert 0.0 < by_width < 0.6 * by_height


@pytest.mark.parametrize("celsius", [0.0, 55.0, 85.0])
def test_temperature_hurts_pulse_width_less(celsius: float, weights: Floats, inputs: Floats) -> None:
    """With a gain that tracks, at the same current too; without one, by how far the sums move."""
    low, high = thresholds(weights, AMPLITUDE_NA), thresholds(weights, PULSE_NA)
    reference = amplitude_coded(low, inputs)
    by_height = error(amplitude_coded(low, inputs, celsius=celsius), reference)
    same = width_coded(low, inputs, top=AMPLITUDE_NA, celsius=celsius)
    assert error(same, width_coded(low, inputs, top=AMPLITUDE_NA)) < 0.8 * by_height
    assert error(width_coded(high, inputs, celsius=celsius), width_coded(high, inputs)) < 0.8 * by_height
    moved = [
        abs(np.log(coded(vt, inputs, celsius=celsius).mean() / coded(vt, inputs).mean()))
        for coded, vt in ((amplitude_coded, low), (width_coded, high))
    ]
    assert moved[1] < 0.5 * moved[0]


# Differential against single-ended //

INPUT_NA = 10.0
CENTRE = np.exp(-1.0)
"""Weight about which a pair is programmed: there the drift of a weight, -w ln w, is largest and so flat."""


def coupled(weight: ArrayLike, celsius: ArrayLike, *, cell: Ekv = CELL, input_nA: float = INPUT_NA) -> Floats:
    """Weight at a temperature of a cell whose gate is that of a peripheral cell which carries the input."""
    at_25, now = (gate_for(cell, input_nA, threshold=REFERENCE, drain=DRAIN, celsius=c) for c in (25.0, celsius))
    vt = threshold_for(cell, np.asarray(weight) * input_nA, gate=at_25, drain=DRAIN, celsius=25.0)
    return current(cell, gate=now, drain=DRAIN, source=0.0, threshold=vt, celsius=celsius) / input_nA


def test_a_gate_coupled_weight_drifts_with_the_ratio_of_temperatures() -> None:
    """w(T) = w ** (T0 / T) deep in subthreshold."""
    ideal, weights = Ekv(off_current_pA=0.0), np.array([0.9, 0.5, 0.3, 0.1])
    drifted = coupled(weights, 85.0, cell=ideal, input_nA=0.1)
    assert drifted == pytest.approx(weights ** (298.15 / 358.15), rel=1e-3)
    assert 100 * (drifted / weights - 1) == pytest.approx([1.7, 11.9, 21.5, 45.0], rel=0.05)  # printed for 300 K


def test_a_differential_pair_drifts_by_less_than_three_percent_and_a_single_cell_does_not() -> None:
    """Of the full scale, over 25 .. 85 C and every weight; at a fixed gate voltage the current grows sevenfold."""
    celsius, weights = np.linspace(25.0, 85.0, 13)[:, None], np.linspace(0.02, 0.5, 25)
    single = np.abs(coupled(weights, celsius) - weights).max() / 0.5
    pair = coupled(CENTRE + weights / 2, celsius) - coupled(CENTRE - weights / 2, celsius)
    differential = np.abs(pair - weights).max() / 0.5
    assert differential < 0.03 < 0.10 < single
    vt = threshold_for(CELL, 0.5 * INPUT_NA, gate=1.0, drain=DRAIN, celsius=25.0)
    fixed = current(CELL, gate=1.0, drain=DRAIN, source=0.0, threshold=vt, celsius=85.0) / (0.5 * INPUT_NA)
    assert 6.0 < fixed < 9.0
