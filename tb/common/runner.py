# SPDX-License-Identifier: Apache-2.0
"""Builds a block with Icarus Verilog and runs its bench; the only file that knows cocotb's runner."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

import yaml
from cocotb_tools.runner import get_runner
from twinor.config import ANALOG, DIGITAL, PRESETS, load
from twinor.die import save_die
from twinor.paste import command, near

from tb.common.memory import write_memories
from tb.common.results import read_results
from tb.common.sources import RTL, bench_of, declared_parameters, expected_parameters, needs_die, sources_of, top_of

if TYPE_CHECKING:
    from pathlib import Path

    from cocotb_tools.runner import Runner
    from twinor.config import Config
    from twinor.die import Die

__all__ = ["BenchFailed", "BuildFailed", "run_bench"]

LOG_TAIL = 4000
"""Characters of the simulator's log that a failure carries."""


class BuildFailed(Exception):
    """Icarus Verilog refused the sources; carries its messages."""


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
) -> None:
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

    Raises:
        ValueError: the bench reads a die and `die` is None.
        BuildFailed: the Verilog does not compile.
        BenchFailed: a cocotb test failed, or the simulator died; names the tests, configuration and seed, and the
            command that shows the waves.
    """
    if die is None and needs_die(block):
        raise ValueError(f"tb_{block} reads a die and got none: run_bench(..., die=ideal_die(config, levels))")
    workdir.mkdir(parents=True, exist_ok=True)
    runner = _build(block, config, workdir, rtl=rtl, waves=waves)
    environment = _environment(config, workdir, rtl, die, seed)
    results = workdir / "results.xml"
    with suppress(SystemExit, RuntimeError):  # what happened is read from the results file
        runner.test(
            test_module=module or f"tb.tb_{block}",
            hdl_toplevel=top_of(block),
            build_dir=workdir,
            test_dir=workdir,
            waves=waves,
            plusargs=write_memories(config, die, workdir) if die else [],
            extra_env=environment,
            results_xml=str(results),
            test_filter=tests,
            log_file=workdir / "sim.log",
        )
    test, seed_used = bench_of(module) if module else block, environment["TWINOR_SEED"]
    drawn = test == "uvm"  # its die follows from the seed
    again = _again(test, config, workdir, rtl, None if drawn else die, seed_used)
    _judge(block, f"{config.name}, TWINOR_SEED={seed_used}", results, again)


def _build(block: str, config: Config, workdir: Path, *, rtl: Path, waves: bool) -> Runner:
    runner = get_runner("icarus")
    try:
        runner.build(
            sources=sources_of(block, rtl),
            includes=[rtl],
            parameters=expected_parameters(config, declared_parameters(block, rtl)),
            hdl_toplevel=top_of(block),
            always=True,
            waves=waves,
            build_dir=workdir,
            timescale=("1ns", "1ps"),
            log_file=workdir / "build.log",
        )
    except RuntimeError:
        raise BuildFailed(f"{block} does not compile: {_tail(workdir / 'build.log')}") from None
    return runner


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


def _judge(block: str, what: str, results: Path, again: str) -> None:
    log = _tail(results.with_name("sim.log"))
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


def _again(test: str, config: Config, workdir: Path, rtl: Path, die: Die | None, seed: str) -> str:
    """The command that runs a bench again and shows its waves; what is not in the checkout is named by its file."""
    shipped = (PRESETS / f"{config.name}.yaml").is_file() and load(config.name) == config
    preset = config.name if shipped else near(_preset(config, workdir))
    more = {"TWINOR_SEED": seed if seed != "1" else "", "RTL": near(rtl) if rtl != RTL else ""}
    more["DIE"] = near(workdir / "die.npz") if die else ""
    variables = {"TEST": test, "PRESET": preset} | {name: value for name, value in more.items() if value}
    return command("make", "waves", *(f"{name}={value}" for name, value in variables.items()))


def _tail(path: Path) -> str:
    if not path.is_file():
        return f"no {path.name}"
    return path.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:]
