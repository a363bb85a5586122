# SPDX-License-Identifier: Apache-2.0
"""ngspice says the same as the models, and would say so if they were wrong; what is said when it cannot."""

from __future__ import annotations

import dataclasses
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from twinor.device.ladder import Wires
from twinor.errors import SimulatorError
from twinor.spice import __main__ as command
from twinor.spice import bsim, checks, run
from twinor.spice.checks import Check
from twinor.spice.netlist import capacitor_cell, circuit, ladders, pulse

if TYPE_CHECKING:
    from collections.abc import Callable

with_ngspice = pytest.mark.skipif(
    not run.installed(), reason="ngspice is not installed; install it with `apt-get install ngspice`"
)

# What ngspice finds //


@with_ngspice
@pytest.mark.parametrize("make", checks.CHECKS, ids=lambda make: make.__name__)
def test_ngspice_finds_what_the_model_says(make: Callable[[], Check]) -> None:
    found = make()
    assert found.name.lower() == make.__name__
    assert found.passed, f"{found.what}: {found.measured:.3g} {found.unit} apart, at most {found.limit:.3g} may be"


def shifted(name: str, **changes: float) -> Callable[[pytest.MonkeyPatch], None]:
    """A fault: a writer of circuits gets its first argument with changes to its values."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        real = getattr(checks, name)

        def write(first: Any, *rest: Any, **named: Any) -> Any:
            return real(dataclasses.replace(first, **changes), *rest, **named)

        patch.setattr(checks, name, write)

    return plant


def scaled(name: str, factor: float) -> Callable[[pytest.MonkeyPatch], None]:
    """A fault: a function gets its first argument, or gives its result, times a factor."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        real = getattr(checks, name)
        if name == "settling":
            patch.setattr(checks, name, lambda *given: factor * real(*given))
        else:
            patch.setattr(checks, name, lambda first, *rest, **named: real(first * factor, *rest, **named))

    return plant


def plant_a_tenth_of_a_millivolt(patch: pytest.MonkeyPatch) -> None:
    real = bsim.bsim_cell
    patch.setattr(bsim, "bsim_cell", lambda shift: real(shift + 1e-4))


def plant_a_capacitor(patch: pytest.MonkeyPatch) -> None:
    """One capacitor of the converters' circuits is off by a thousandth of all, as half an LSB would be."""
    for name in ("counting_cdac", "sar_ramp"):
        real = getattr(checks, name)

        def write(caps: list[float], rest: float, _real: Any = real, **named: float) -> str:
            return str(_real([caps[0] + 1e-3, *caps[1:]], rest - 1e-3, **named))

        patch.setattr(checks, name, write)


@with_ngspice
@pytest.mark.parametrize(
    ("make", "plant"),
    [
        pytest.param(checks.v1, shifted("ekv_cell", dibl=0.0301), id="v1-dibl"),
        pytest.param(checks.v1, shifted("ladders", r_sl_return_ohm=51.0), id="v1-return"),
        pytest.param(checks.v2, shifted("ladders", r_bl_ohm=0.50001), id="v2-wire"),
        pytest.param(checks.v2, shifted("ekv_cell", channel_modulation=0.0501), id="v2-modulation"),
        pytest.param(checks.v3, plant_a_tenth_of_a_millivolt, id="v3-shift"),
        pytest.param(checks.v4, scaled("resistor_cell", 1.00000001), id="v4-resistors"),
        pytest.param(checks.v5, plant_a_capacitor, id="v5-capacitor"),
        pytest.param(lambda: checks.v6(points=32), plant_a_capacitor, id="v6-capacitor"),
        pytest.param(checks.v7, scaled("settling", 1.03), id="v7-time"),
        pytest.param(checks.v8, shifted("ekv_cell", slope=1.402), id="v8-slope"),
    ],
)
def test_ngspice_contradicts_a_model_that_is_wrong(
    make: Callable[[], Check], plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert not make().passed


# What is said when it cannot //


@with_ngspice
def test_a_circuit_that_ngspice_refuses_is_told_with_its_words() -> None:
    bad = circuit("a divider", ["v1 a 0 1", "r1 a b 1", "b1 b 0 i=nonsense(v(b))"], [".op"])
    with pytest.raises(SimulatorError, match=r"ngspice could not solve a divider:\n(.*\n)*.*no such function"):
        run.simulate(bad)


@with_ngspice
def test_a_circuit_without_a_solution_is_told() -> None:
    jumps = circuit("a jump", ["v1 a 0 1", "r1 a b 1k", "b1 b 0 i=u(v(b)-0.5)*1e-2"], [".op"])
    with pytest.raises(SimulatorError, match="ngspice could not solve a jump"):
        run.simulate(jumps)


@pytest.mark.fast
def test_ngspice_that_is_missing_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.shutil, "which", lambda name: None)
    with pytest.raises(
        SimulatorError, match="ngspice is not installed: run `make spice`, or `apt-get install ngspice`"
    ):
        run.simulate("nothing\n.end\n")


@pytest.mark.fast
def test_ngspice_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*args: Any, timeout: float, **named: Any) -> None:
        raise subprocess.TimeoutExpired("ngspice", timeout)

    monkeypatch.setattr(run, "installed", lambda: True)
    monkeypatch.setattr(run.subprocess, "run", hang)
    with pytest.raises(SimulatorError, match="ngspice took more than 3 s for a bit line settles"):
        run.simulate("a bit line settles\n.end\n", timeout=3.0)


COUNTS = b"Title: x\nFlags: real\nNo. Variables: 2\nNo. Points: 2     \n"
HEAD = COUNTS + b"Variables:\n\t0\tv(A)\tvoltage\n\t1\ti(vb)\tcurrent\n"


@pytest.mark.fast
def test_a_raw_file_is_read_point_by_point_with_every_digit() -> None:
    values = np.array([[0.1, 1 / 3], [np.nextafter(1.0, 2.0), -2e-300]])
    found = run.parse(HEAD + b"Binary:\n" + values.tobytes())
    assert {name: vector.tolist() for name, vector in found.items()} == {
        "v(a)": [0.1, np.nextafter(1.0, 2.0)],
        "i(vb)": [1 / 3, -2e-300],
    }


@pytest.mark.fast
@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "no raw file of real numbers"),
        (HEAD.replace(b"real", b"complex") + b"Binary:\n" + bytes(32), "no raw file of real numbers"),
        (HEAD.replace(b"Variables: 2", b"Variables: 3") + b"Binary:\n" + bytes(48), "no raw file of real numbers"),
        (HEAD + b"Binary:\n" + bytes(24), "has 24 bytes of numbers: expected one analysis to its end"),
        (HEAD.replace(b"Points: 2", b"Points: 0") + b"Binary:\n", "has 0 bytes of numbers"),
    ],
)
def test_a_raw_file_that_is_none_is_refused(raw: bytes, said: str) -> None:
    with pytest.raises(SimulatorError, match=said):
        run.parse(raw)


# The command //


def check(measured: float) -> Callable[[], Check]:
    return lambda: Check(name="V9", what="nothing", unit="relative", measured=measured, limit=1e-3)


def missing() -> Check:
    raise SimulatorError("ngspice is not installed")


@pytest.mark.fast
@pytest.mark.parametrize(
    ("found", "code"), [([1e-3], 0), ([1e-3, 1.1e-3], 1), ([float("nan"), 0.0], 1), (["missing"], 2)]
)
def test_the_command_ends_with_what_it_found(
    found: list[Any], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    makers = tuple(missing if value == "missing" else check(value) for value in found)
    monkeypatch.setattr(command, "CHECKS", makers)
    assert command.main() == code
    said = capsys.readouterr()
    if code == 2:
        assert said.err == "twinor: MISSING: ngspice is not installed\n" and said.out == ""
    else:
        assert said.out.count("V9") == len(found) and ("failed" in said.out) == bool(code)


# Circuits and tables //


@pytest.mark.fast
def test_a_column_of_two_cells_is_wired_as_the_ladder_is() -> None:
    wires = Wires(r_bl_ohm=1.0, r_sl_ohm=2.0, r_clamp_ohm=3.0, r_sl_return_ohm=4.0, c_bl_fF=0.5)
    lines = ladders(wires, 2, 1, capacitor_cell(wires))
    assert {"rclamp0 clamp0 b0_0 3.0", "rreturn0 s0_0 0 4.0", "rb1_0 b0_0 b1_0 1.0", "rs1_0 s0_0 s1_0 2.0"} < set(lines)
    assert [line for line in lines if line.startswith("cc")] == ["cc0_0 d0_0 0 5e-16", "cc1_0 d1_0 0 5e-16"]
    assert pulse("v", "n", 2.0, start=1.0, width=3.0, edge=0.5, period=9.0) == "v n 0 pulse(0 2.0 1.0 0.5 0.5 3.0 9.0)"


@pytest.mark.fast
def test_a_table_of_a_cubic_is_exact_between_its_points(rng: np.random.Generator) -> None:
    axes = bsim.Axis(-1.0, 0.5, 7), bsim.Axis(0.0, 0.25, 5), bsim.Axis(0.0, 0.5, 4)
    points = np.meshgrid(*(a.start + a.step * np.arange(a.count) for a in axes), indexing="ij")

    def log_current(g: Any, d: Any, s: Any) -> Any:
        return 0.3 * g**3 - g * d + 0.2 * d**3 - 0.5 * s**2 * g

    table = bsim.Table(*axes, log_current(*points))
    g, d, s = (rng.uniform(a.start, a.stop, (6, 3)) for a in axes)
    current, by_drain, by_source = table.cells(g)(d, s)
    assert np.allclose(current, np.exp(log_current(g, d, s)), rtol=1e-12)
    assert np.allclose(by_drain, current * (0.6 * d**2 - g), rtol=1e-9, atol=1e-12)
    assert np.allclose(by_source, current * (-s * g), rtol=1e-9, atol=1e-12)
