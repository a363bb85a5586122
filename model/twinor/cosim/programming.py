# SPDX-License-Identifier: Apache-2.0
"""Programming in the Verilog: the controller and the cells run in a simulator, and everything they did is compared."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from twinor.cells import blank
from twinor.cosim import files, icarus
from twinor.errors import SimulatorError, TwinorError
from twinor.golden.prog_ctrl import groups
from twinor.rounds import step_code

if TYPE_CHECKING:
    from twinor.config import Config
    from twinor.die import Die
    from twinor.golden.prog_ctrl import Programmed, Ramp, Settings
    from twinor.program import MacroResult

__all__ = ["ProgrammingDiffers", "check_macro"]


WHERE = "golden and rtl differ in programming macro"


class ProgrammingDiffers(TwinorError):
    """Golden and the Verilog did not do the same; names macro, quantity, place and both values."""


def check_macro(config: Config, die: Die, result: MacroResult, model: Path, *, seed: int | None, timeout: float) -> int:
    """Run one macro's operation in the simulator and compare statuses, codes, pulses, cycles and every threshold.

    Args:
        config: the macro.
        die: gives drive levels and thresholds.
        result: what golden did.
        model: the compiled harness.
        seed: of the cells' spread.
        timeout: seconds of real time.

    Returns:
        How many values were compared.

    Raises:
        ProgrammingDiffers: at the first value that differs.
        SimulatorError: missing simulator, crash, time-out.
    """
    with tempfile.TemporaryDirectory(prefix="twinor-") as name:
        folder = Path(name)
        plusargs = _write(config, die, result, folder, seed)
        log = icarus.run(model, [*plusargs, "+log=run"], cwd=folder, timeout=timeout)
        if "twinor: done" not in log:
            raise SimulatorError(f"the simulation ended before the programming did; {icarus.tail(log)}")
        statuses = [line.split() for line in (folder / "run.prog").read_text(encoding="ascii").splitlines()]
        states = (folder / "run.states").read_text(encoding="ascii")
    _compare_streams(config, result, statuses)
    words = _compare_cells(config, result, states)
    return (len(statuses) - 1) * (2 * config.n_adcs + 4) + 5 + words


def _compare_streams(config: Config, result: MacroResult, statuses: list[list[str]]) -> None:
    """Statuses, codes and pulse counts of every group, then counters and cycles."""
    *seen, end = statuses
    expected = _statuses(config, result.done)
    for n, (got, wanted) in enumerate(zip(seen, expected, strict=False)):
        if got != wanted:
            place = _place(config, result, n)
            raise ProgrammingDiffers(f"{WHERE} {result.macro}: {place}: golden {wanted}, rtl {got}")
    counters = [result.done.cycles, *result.pulses, result.done.unerased]
    ends = ["end", *(f"{value:08x}" for value in counters)]
    if (len(seen), end) != (len(expected), ends):
        raise ProgrammingDiffers(
            f"{WHERE} {result.macro}: golden {ends} after {len(expected)} groups, rtl {end} after {len(seen)}; "
            "the figures are cycles, erase, coarse and fine pulses, and cells that did not erase, in hexadecimal"
        )


def _compare_cells(config: Config, result: MacroResult, states: str) -> int:
    """Speed and threshold of every cell; how many there are."""
    lines = [line for line in states.split("\n") if line and not line.startswith("//")]
    expected = files.states_hex(result.done.cells).split()
    for n, (got, wanted) in enumerate(zip(" ".join(lines).split(), expected, strict=True)):
        if got.lower() != wanted:
            cell = f"row {n // config.bit_lines}, bit line {n % config.bit_lines}"
            what = f"speed and threshold of {cell}"
            raise ProgrammingDiffers(f"{WHERE} {result.macro}: {what}: golden {wanted}, rtl {got}")
    return len(expected)


def _write(config: Config, die: Die, result: MacroResult, folder: Path, seed: int | None) -> list[str]:
    """Write what the harness reads; returns its plusargs."""
    macro, cells = result.macro, blank(config, macro=result.macro, seed=seed)
    beats = groups(config, result.levels[result.rows.start : result.rows.stop]).reshape(-1, config.n_adcs)
    texts = {
        "states": files.states_hex(cells),
        "thresholds": files.thresholds_hex(die, macro),
        "settings": _settings_hex(config, result.settings, result.rows),
        "targets": files.lanes_hex(beats, config.cell_bits),
        **files.pulse_hex(cells.tables, die, macro),
    }
    for name, text in texts.items():
        (folder / f"{name}.hex").write_text(text, encoding="ascii")
    return [f"+{name}={name}.hex" for name in texts]


def _settings_hex(config: Config, settings: Settings, rows: range) -> str:
    def ramp(r: Ramp) -> int:
        return r.cycles << 24 | r.pulses << 16 | r.step << 8 | r.start

    targets = sum(code << n * config.code_bits for n, code in enumerate(settings.targets))
    values = (3, rows.start, len(rows), settings.retries, step_code(settings.step), settings.erase_limit)
    more = (settings.margin, settings.window, ramp(settings.erase), ramp(settings.coarse), ramp(settings.fine), targets)
    return " ".join(f"{value:x}" for value in values + more) + "\n"


def _statuses(config: Config, done: Programmed) -> list[list[str]]:
    """The status stream as the harness logs it."""
    lines: list[list[str]] = []
    for n, p in enumerate(done.passes):
        status = files.lanes_hex(p.status.reshape(-1, config.n_adcs), 2).split()
        codes = files.lanes_hex(p.code.reshape(-1, config.n_adcs), config.code_bits).split()
        again = n + 1 < len(done.passes)
        digits = -(-2 * config.n_adcs // 4), -(-config.code_bits * config.n_adcs // 4)
        counts = zip(p.coarse.ravel().tolist(), p.fine.ravel().tolist(), strict=True)
        for k, (s, c, (coarse, fine)) in enumerate(zip(status, codes, counts, strict=True)):
            last = k + 1 == len(status)
            flags = [str(int(last)), str(int(last and again))]
            lines.append([s[-digits[0] :], c[-digits[1] :], f"{coarse:02x}", f"{fine:02x}", *flags])
    return lines


def _place(config: Config, result: MacroResult, n: int) -> str:
    """Which group the n-th status is of."""
    per_row = config.bit_lines // config.n_adcs
    number, group = divmod(n, len(result.rows) * per_row)
    row, of_row = divmod(group, per_row)
    rest, mux = divmod(of_row, config.cols_per_adc)
    w_slice, line = divmod(rest, config.lines_per_cell)
    return (
        f"pass {number}, row {result.rows.start + row}, weight slice {w_slice}, line {line}, position {mux} "
        "(statuses, codes, coarse, fine, last, again; hexadecimal)"
    )
