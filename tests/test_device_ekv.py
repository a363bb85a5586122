# SPDX-License-Identifier: Apache-2.0
"""The cell's equation: its limits, the tables of the reference, its inversions and its derivatives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twinor.device.ekv import (
    Ekv,
    current,
    gate_for,
    inversion,
    operating_point,
    specific_current,
    thermal_voltage,
    threshold_for,
)
from twinor.errors import ConfigError

pytestmark = pytest.mark.fast

BARE = {"dibl": 0.0, "channel_modulation": 0.0, "off_current_pA": 0.0}
"""Without what is added to the equation of Enz, Krummenacher and Vittoz."""

K300, K358 = 300.0 - 273.15, 358.0 - 273.15
"""The temperatures of the reference's tables."""

cells = st.builds(
    Ekv,
    slope=st.floats(1.0, 2.0),
    specific_current_nA=st.floats(100.0, 1000.0),
    dibl=st.floats(0.0, 0.1),
    channel_modulation=st.floats(0.0, 0.2),
    threshold_mv_per_k=st.floats(-2.0, 0.0),
    mobility_exponent=st.floats(-2.0, -1.0),
    off_current_pA=st.floats(0.0, 10.0),
)
biases = st.fixed_dictionaries(
    {
        "drain": st.floats(0.35, 1.0),
        "source": st.floats(0.0, 0.3),
        "celsius": st.floats(-40.0, 125.0),
    }
)
currents = st.floats(0.1, 10_000.0)


def exponential(cell: Ekv, gate: float, threshold: float, celsius: float) -> float:
    """The subthreshold limit of section 2.1, saturated: Is exp((Vg - Vt) / (n UT))."""
    vt = threshold + 1e-3 * cell.threshold_mv_per_k * (celsius - 25.0)
    ut = float(thermal_voltage(celsius))
    return float(specific_current(cell, celsius)) * float(np.exp((gate - vt) / (cell.slope * ut)))


# The two limits //


@pytest.mark.parametrize("celsius", [-40.0, 25.0, 125.0])
def test_far_below_the_threshold_the_current_is_an_exponential(celsius: float) -> None:
    cell = Ekv(**BARE)
    ut = float(thermal_voltage(celsius))
    for span in (0.01, 0.05, 0.3):
        got = current(cell, gate=0.4, drain=span, source=0.0, threshold=1.5, celsius=celsius)
        wanted = exponential(cell, 0.4, 1.5, celsius) * (1.0 - np.exp(-span / ut))
        assert float(got) == pytest.approx(wanted, rel=1e-3 if celsius > 100 else 1e-4)


def test_four_thermal_voltages_of_drain_saturate_it_to_two_percent() -> None:
    low, high = (
        float(current(Ekv(**BARE), gate=0.4, drain=v, source=0.0, threshold=1.5, celsius=25.0)) for v in (0.105, 1.0)
    )
    assert 0.98 < low / high < 0.985


def test_far_above_the_threshold_it_is_the_triode_parabola() -> None:
    cell = Ekv(**BARE)
    ut = float(thermal_voltage(25.0))
    beta = cell.specific_current_nA / (2.0 * cell.slope * ut**2)
    for span in (0.02, 0.1, 0.3):
        got = current(cell, gate=3.0, drain=span, source=0.0, threshold=1.0, celsius=25.0)
        assert float(got) == pytest.approx(beta * (2.0 - cell.slope * span / 2.0) * span, rel=1e-9)


def test_no_voltage_overflows() -> None:
    for gate in (-1000.0, 1000.0):
        at = operating_point(Ekv(), gate=gate, drain=0.3, source=0.0, threshold=1.0, celsius=25.0)
        assert all(np.isfinite(value) for value in at)
    off = current(Ekv(off_current_pA=3.0), gate=-1000.0, drain=0.3, source=0.0, threshold=1.0, celsius=25.0)
    assert float(off) == pytest.approx(3e-3, rel=1e-4)


def test_a_cell_that_is_off_leaks_both_ways_and_not_at_all_without_a_voltage() -> None:
    cell, ut = Ekv(off_current_pA=3.0), float(thermal_voltage(25.0))
    at = {"gate": -1000.0, "source": 0.0, "threshold": 1.0, "celsius": 25.0}
    got = current(cell, drain=[-ut, 0.0, ut, 2.0 * ut], **at)
    assert np.allclose(got, 3e-3 * np.tanh([-0.5, 0.0, 0.5, 1.0]), rtol=1e-12)


def test_drain_and_source_change_places() -> None:
    cell = Ekv(dibl=0.0, channel_modulation=0.0)
    at = {"gate": 1.2, "threshold": 1.0, "celsius": 25.0}
    one, other = current(cell, drain=0.2, source=0.1, **at), current(cell, drain=0.1, source=0.2, **at)
    assert float(one) == pytest.approx(-float(other), rel=1e-12)


# Tables of the reference, sections 2.1 and 2.2 //


@pytest.mark.parametrize(
    ("slope", "celsius", "percent"),
    [(1.4, K300, 2.80), (1.4, K358, 2.34), (1.2, K300, 3.28), (2.0, K300, 1.95)],  # 3.276 is printed there as 3.27
)
def test_a_millivolt_of_threshold_changes_the_current_as_tabulated(
    slope: float, celsius: float, percent: float
) -> None:
    cell = Ekv(slope=slope, **BARE)
    at = {"gate": 0.2, "drain": 0.5, "source": 0.0, "celsius": celsius}
    ratio = current(cell, threshold=1.499, **at) / current(cell, threshold=1.5, **at)
    assert round(100.0 * float(ratio - 1.0), 2) == percent


def test_ten_millivolts_a_percent_and_the_last_step_of_a_dac_are_as_tabulated() -> None:
    cell = Ekv(**BARE)
    at = {"gate": 0.2, "drain": 0.5, "source": 0.0, "celsius": K300}
    ratio = current(cell, threshold=1.49, **at) / current(cell, threshold=1.5, **at)
    assert round(100.0 * float(ratio - 1.0), 1) == 31.8
    volts = gate_for(cell, np.array([1.0, 1.01, 15.0, 14.0]) * 1e-6, threshold=1.0, drain=0.5, celsius=K300)
    assert round(1e3 * float(volts[1] - volts[0]), 2) == 0.36
    assert round(1e3 * float(volts[2] - volts[3]), 1) == 2.5
    assert round(1e3 * float(volts[2] - volts[0])) == 98  # span of a 4-bit logarithmic DAC, section 3.2


@pytest.mark.parametrize(("amount", "per_kelvin", "factor"), [(1, 5.35, 12.8), (10, 4.55, 8.8), (100, 3.75, 6.1)])
def test_the_exponential_drifts_with_temperature_as_tabulated(amount: float, per_kelvin: float, factor: float) -> None:
    """The table is the subthreshold limit with Is = 1 uA, from 300 K to 301 K and to 358 K."""
    cell = Ekv(specific_current_nA=1000.0 * (298.15 / 300.0) ** 0.5, **BARE)  # Is = 1 uA at 300 K
    ut = float(thermal_voltage(K300))
    threshold = 1.0 + 1.85e-3 + cell.slope * ut * np.log(1000.0 / amount)  # as at 25 C, 1.85 K below
    low, next_kelvin, high = (exponential(cell, 1.0, threshold, t) for t in (K300, K300 + 1.0, K358))
    assert round(low, 6) == amount
    assert round(100.0 * (next_kelvin / low - 1.0), 2) == per_kelvin
    assert round(high / low, 1) == factor


def test_moderate_inversion_drifts_less_than_the_exponential() -> None:
    """What the table leaves out: at 100 nA of a 1 uA cell the whole equation says 4.4, not 6.1."""
    cell = Ekv(specific_current_nA=1000.0, **BARE)
    threshold = threshold_for(cell, 100.0, gate=1.0, drain=0.5, celsius=25.0)
    hot = current(cell, gate=1.0, drain=0.5, source=0.0, threshold=threshold, celsius=85.0)
    assert round(float(hot) / 100.0, 1) == 4.4


@pytest.mark.parametrize(("weight", "percent"), [(0.9, 1.7), (0.5, 11.9), (0.3, 21.5), (0.1, 45)])
def test_gate_coupling_leaves_only_the_drift_of_the_weight(weight: float, percent: float) -> None:
    """A peripheral cell carries the input and makes the word-line voltage: w(T) = w0**(T0 / T)."""
    cell = Ekv(specific_current_nA=1e6, **BARE)
    threshold = threshold_for(cell, [1e-3, weight * 1e-3], gate=1.0, drain=0.5, celsius=K300)
    gate = gate_for(cell, 1e-3, threshold=threshold[0], drain=0.5, celsius=K358)
    hot = current(cell, gate=gate, drain=0.5, source=0.0, threshold=threshold[1], celsius=K358)
    drift = 100.0 * (float(hot) / (weight * 1e-3) - 1.0)
    assert round(drift, 1 if percent < 40 else 0) == percent


def test_a_source_that_rises_costs_more_than_a_bit_line_that_falls() -> None:
    """Section 2.7: -3.8 %/mV and -32 % per 10 mV of source, 0.83 % per 10 mV of drain at 0.03 V/V."""
    bare, dibl = Ekv(**BARE), Ekv(channel_modulation=0.0, off_current_pA=0.0, dibl=0.03)
    at = {"gate": 0.2, "threshold": 1.5, "celsius": K300}
    still, rise, more = (float(current(bare, drain=0.5, source=v, **at)) for v in (0.0, 1e-3, 1e-2))
    assert round(100.0 * (rise / still - 1.0), 1) == -3.8 and round(100.0 * (more / still - 1.0)) == -32
    low, high = (float(current(dibl, drain=v, source=0.0, **at)) for v in (0.49, 0.5))
    assert round(100.0 * (high / low - 1.0), 2) == 0.83


# Finding 4: a word-line voltage does not multiply in the triode regime //


def pair(gate: list[float]) -> np.ndarray:
    """Difference of two cells, thresholds 1.0 V and 1.2 V, at 50 mV of drain."""
    at = {"gate": np.array(gate), "drain": 0.05, "source": 0.0, "celsius": 25.0}
    return np.asarray(current(Ekv(**BARE), threshold=1.0, **at) - current(Ekv(**BARE), threshold=1.2, **at))


def test_a_triode_pair_does_not_multiply_its_gate_voltage() -> None:
    strong = pair([2.0, 2.5, 3.0, 3.5])
    assert np.ptp(strong) < 1e-4 * strong.mean()  # the input is not in the result
    weak = pair([0.70, 0.75, 0.80])
    assert np.all(weak[1:] / weak[:-1] > 3.5)  # below the threshold it is, exponentially
    cell, ut = Ekv(**BARE), float(thermal_voltage(25.0))
    beta = cell.specific_current_nA / (2.0 * cell.slope * ut**2)
    assert strong[0] == pytest.approx(beta * 0.05 * 0.2, rel=1e-4)  # k Vds (Vt- - Vt+)


def test_a_logarithmic_word_line_does_multiply_below_the_threshold() -> None:
    cell = Ekv(specific_current_nA=1e5, **BARE)
    thresholds = threshold_for(cell, [1e-3, 5e-3], gate=1.0, drain=0.3, celsius=25.0)
    codes = np.arange(1, 16)
    gates = gate_for(cell, codes / 15.0 * 1e-3, threshold=thresholds[0], drain=0.3, celsius=25.0)
    got = [current(cell, gate=gates, drain=0.3, source=0.0, threshold=t, celsius=25.0) for t in thresholds]
    assert np.allclose(got[0], codes / 15.0 * 1e-3, rtol=1e-12)
    assert np.allclose(got[1] / got[0], 5.0, rtol=1e-3)


# Inversions //


@given(cells, biases, currents, st.floats(0.0, 3.0))
def test_a_programmed_cell_carries_its_current(cell: Ekv, bias: dict[str, float], amount: float, gate: float) -> None:
    threshold = threshold_for(cell, amount, gate=gate, **bias)
    assert float(current(cell, gate=gate, threshold=threshold, **bias)) == pytest.approx(amount, rel=1e-12)
    assert float(gate_for(cell, amount, threshold=threshold, **bias)) == pytest.approx(gate, abs=1e-12)


@given(cells, st.floats(1e-3, 0.1), st.floats(0.1, 1000.0))
def test_inversions_hold_where_the_drain_end_conducts_too(cell: Ekv, span: float, amount: float) -> None:
    threshold = threshold_for(cell, amount, gate=1.0, drain=span, celsius=25.0)
    got = current(cell, gate=1.0, drain=span, source=0.0, threshold=threshold, celsius=25.0)
    assert float(got) == pytest.approx(amount, rel=1e-9)


def test_an_inversion_far_above_the_threshold_does_not_overflow() -> None:
    cell = Ekv(specific_current_nA=1e-3, off_current_pA=0.0)
    threshold = threshold_for(cell, 1e5, gate=1.0, drain=500.0, celsius=25.0)
    got = current(cell, gate=1.0, drain=500.0, source=0.0, threshold=threshold, celsius=25.0)
    assert float(got) == pytest.approx(1e5, rel=1e-12)


def test_a_saturated_cell_has_the_closed_form() -> None:
    cell = Ekv(**BARE)
    root = np.sqrt(np.array([1.0, 100.0, 3000.0]) / 300.0)
    wanted = 1.5 - 2.0 * cell.slope * thermal_voltage(25.0) * np.log(np.expm1(root))
    assert np.allclose(threshold_for(cell, 300.0 * root**2, gate=1.5, drain=2.0, celsius=25.0), wanted, atol=1e-12)


def test_inversion_is_the_current_in_specific_currents() -> None:
    assert inversion(Ekv(), 30.0, celsius=25.0) == pytest.approx(0.1)
    assert inversion(Ekv(), 30.0, celsius=85.0) < 0.1


@pytest.mark.parametrize(
    ("amount", "drain", "said"),
    [
        (0.004, 0.3, r"current 0.004 nA is not above the leak of 0.00499\d* nA"),
        (float("nan"), 0.3, "not above the leak"),
        (10.0, 0.0, "expected every drain above its source"),
    ],
)
def test_a_current_that_no_threshold_gives_is_refused(amount: float, drain: float, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        threshold_for(Ekv(), amount, gate=1.0, drain=drain, celsius=25.0)


# Derivatives //


@given(cells, st.floats(0.0, 3.0), st.floats(-0.2, 1.0), st.floats(0.0, 0.3), st.floats(-40.0, 125.0))
def test_derivatives_are_those_of_the_current(cell: Ekv, gate: float, drain: float, source: float, t: float) -> None:
    at = {"gate": gate, "drain": drain, "source": source}
    analytic = operating_point(cell, **at, threshold=1.0, celsius=t)[1:]
    step = 1e-5
    scale = max(map(abs, map(float, analytic))) + 1e-3  # nA/V; a difference of currents has no more digits
    for name, value in zip(at, analytic, strict=True):
        above, below = (
            float(current(cell, **(at | {name: at[name] + move}), threshold=1.0, celsius=t)) for move in (step, -step)
        )
        assert float(value) == pytest.approx((above - below) / (2.0 * step), abs=2e-6 * scale)


@given(cells, st.floats(0.0, 3.0), st.floats(0.0, 1.0))
def test_raising_every_terminal_alike_does_what_the_bulk_does(cell: Ekv, gate: float, drain: float) -> None:
    """The sum of the three derivatives is minus that by the bulk, which is positive for a slope above 1."""
    total = sum(operating_point(cell, gate=gate, drain=drain, source=0.0, threshold=1.0, celsius=25.0)[1:])
    if cell.slope == 1.0:
        assert float(total) == pytest.approx(0.0, abs=1e-6)
    else:
        assert float(total) <= 1e-6


# What a cell may be //


@pytest.mark.parametrize(
    ("key", "value"),
    [("slope", 0.9), ("specific_current_nA", 0.0), ("dibl", -0.1), ("off_current_pA", float("nan")), ("slope", True)],
)
def test_a_value_out_of_range_is_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"cell: {key} = .* is not allowed: expected"):
        Ekv(**{key: value})


def test_a_temperature_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"temperature 400 C is not allowed: expected -100 .. 300"):
        current(Ekv(), gate=1.0, drain=0.3, source=0.0, threshold=1.0, celsius=400)
