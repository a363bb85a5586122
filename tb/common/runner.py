# SPDX-License-Identifier: Apache-2.0
"""Runs the bench of a block on Icarus Verilog or Verilator."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

import yaml
from twinor.config import ANALOG, DIGITAL, PRESETS, load
from twinor.die_file import save_die
from twinor.paste import command, near

from tb.common.build import BuildFailed, build, tail
from tb.common.memory import write_memories
from tb.common.results import Outcome, read_results
from tb.common.sources import RTL, bench_of, needs_die, top_of

if TYPE_CHECKING:
    from pathlib import Path

    from twinor.config import Config
    from twinor.die import Die

__all__ = ["BenchFailed", "BuildFailed", "run_bench"]


class BenchFailed(Exception):
    """The bench failed, or the simulator died.

    Attributes:
        tests: names of the cocotb tests that failed; empty if the simulator left no results.
    """

    def __init__(self, message: str, tests: tuple[str, ...] = ()) -> None:
        """Keep the names apart from the message."""
        super().__init__(message)
        self.tests = tests


def run_bench(
    block: str,
    config: Config,
    workdir: Path,
    *,
    rtl: Path = RTL,
    die: Die | None = None,
    seed: int = 1,
    tests: str | None = None,
    module: str | None = None,
    waves: bool = False,
    simulator: str = "icarus",
    models: Path | None = None,
    coverage: bool = False,
) -> list[Outcome]:
    """Build `block` for a configuration and run `tb/tb_<block>.py`, or another module of cocotb tests.

    Args:
        block: name of the block.
        config: the macro; the bench reads it back from a file in `workdir`.
        workdir: an empty folder of this run's own.
        rtl: folder of the Verilog, another one for a mutated copy.
        die: the die of the behavioural array, for blocks that have one; its macro 0 is used.
        seed: of the bench's stimulus; the environment's TWINOR_SEED wins.
        tests: only the cocotb tests whose names match this regular expression.
        module: the cocotb tests, importable; `tb.tb_<block>` if None.
        waves: write `<top>.fst` into `workdir`; the environment's WAVES=1 does so too.
        simulator: `icarus` or `verilator`, which has no X: benches drive random bits in its place.
        models: folder of compiled models, in which an unchanged one is found again; None compiles into `workdir`.
        coverage: have Verilator write `coverage.dat` into `workdir`.

    Returns:
        The cocotb tests that passed or were skipped.

    Raises:
        ValueError: the bench reads a die and `die` is None.
        BuildFailed: the Verilog does not compile.
        SimulatorError: Verilator or what it needs is not installed.
        BenchFailed: a cocotb test failed, or the simulator died; names the tests, configuration and seed, and the
            command that shows the waves.
    """
    if die is None and needs_die(block):
        raise ValueError(f"tb_{block} reads a die and got none: run_bench(..., die=ideal_die(config, levels))")
    workdir.mkdir(parents=True, exist_ok=True)
    runner, model = build(
        block, config, workdir, rtl=rtl, waves=waves, simulator=simulator, models=models, coverage=coverage
    )
    environment = _environment(config, workdir, rtl, die, seed)
    results = workdir / "results.xml"
    with suppress(SystemExit, RuntimeError):  # what happened is read from the results file
        runner.test(
            test_module=module or f"tb.tb_{block}",
            hdl_toplevel=top_of(block),
            hdl_toplevel_lang="verilog",
            build_dir=model,
            test_dir=workdir,
            waves=waves,
            plusargs=_plusargs(config, die, workdir, environment["TWINOR_SEED"], simulator),
            extra_env=environment,
            results_xml=str(results),
            test_filter=tests,
            log_file=workdir / "sim.log",
        )
    test, seed_used = bench_of(module) if module else block, environment["TWINOR_SEED"]
    again = _again(test, config, workdir, rtl, None if test == "uvm" else die, seed_used)  # its die is the seed's
    return _judge(block, f"{config.name}, TWINOR_SEED={seed_used}, {simulator}", results, again)


def _plusargs(config: Config, die: Die | None, workdir: Path, seed: str, simulator: str) -> list[str]:
    """The die's files; in Verilator registers and memories hold anything when power comes."""
    files = write_memories(config, die, workdir) if die else []
    start = ["+verilator+rand+reset+2", f"+verilator+seed+{int(seed) % (2**31 - 1) + 1}"]
    return files + start * (simulator == "verilator")


def _preset(config: Config, workdir: Path) -> Path:
    return workdir / f"{config.name}.yaml"


def _environment(config: Config, workdir: Path, rtl: Path, die: Die | None, seed: int) -> dict[str, str]:
    preset = _preset(config, workdir)
    values = asdict(config)
    digital, analog = ({key: values[key] for key in table} for table in (DIGITAL, ANALOG))
    tree = {"follows": config.follows, "digital": digital, "analog": analog}
    preset.write_text(yaml.safe_dump(tree), encoding="utf-8")
    environment = {
        "TWINOR_PRESET": str(preset),
        "TWINOR_RTL": str(rtl),
        "TWINOR_SEED": os.environ.get("TWINOR_SEED", str(seed)),
        "COCOTB_ANSI_OUTPUT": "0",
        "OMP_NUM_THREADS": "1",
    }
    if die:
        save_die(workdir / "die.npz", die)
        environment["TWINOR_DIE"] = str(workdir / "die.npz")
    return environment


def _judge(block: str, what: str, results: Path, again: str) -> list[Outcome]:
    log = tail(results.with_name("sim.log"))
    outcomes = read_results(results)
    if outcomes is None:
        raise BenchFailed(f"tb_{block} ({what}): the simulator left no results: {log}")
    bad = [outcome for outcome in outcomes if outcome.message is not None]
    if bad:
        names = tuple(outcome.name for outcome in bad)
        told = f"{', '.join(names)} failed, first {bad[0].sentence()}\n{log}"
        raise BenchFailed(f"tb_{block} ({what}): {told}\nsee it in the waves: {again}", names)
    if not outcomes:
        raise BenchFailed(f"tb_{block} ({what}): no test ran: {log}")
    return outcomes


def _again(test: str, config: Config, workdir: Path, rtl: Path, die: Die | None, seed: str) -> str:
    """The command that runs a bench again and shows its waves; what is not in the checkout is named by its file."""
    shipped = (PRESETS / f"{config.name}.yaml").is_file() and load(config.name) == config
    preset = config.name if shipped else near(_preset(config, workdir))
    more = {"TWINOR_SEED": seed if seed != "1" else "", "RTL": near(rtl) if rtl != RTL else ""}
    more["DIE"] = near(workdir / "die.npz") if die else ""
    variables = {"TEST": test, "PRESET": preset} | {name: value for name, value in more.items() if value}
    return command("make", "waves", *(f"{name}={value}" for name, value in variables.items()))
