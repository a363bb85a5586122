# SPDX-License-Identifier: Apache-2.0
"""Builds a block with Icarus Verilog and runs its bench; the only file that knows cocotb's runner."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

import yaml
from cocotb_tools.runner import get_runner
from twinor.config import ANALOG, DIGITAL
from twinor.die import save_die

from tb.common.memory import write_memories
from tb.common.sources import RTL, declared_parameters, expected_parameters, needs_die, sources_of, top_of

if TYPE_CHECKING:
    from pathlib import Path

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

    Raises:
        ValueError: the bench reads a die and `die` is None.
        BuildFailed: the Verilog does not compile.
        BenchFailed: a cocotb test failed, or the simulator died; names the tests, configuration and seed.
    """
    if die is None and needs_die(block):
        raise ValueError(f"tb_{block} reads a die and got none: run_bench(..., die=ideal_die(config, levels))")
    workdir.mkdir(parents=True, exist_ok=True)
    runner = get_runner("icarus")
    try:
        runner.build(
            sources=sources_of(block, rtl),
            includes=[rtl],
            parameters=expected_parameters(config, declared_parameters(block, rtl)),
            hdl_toplevel=top_of(block),
            always=True,
            build_dir=workdir,
            timescale=("1ns", "1ps"),
            log_file=workdir / "build.log",
        )
    except RuntimeError:
        raise BuildFailed(f"{block} does not compile: {_tail(workdir / 'build.log')}") from None
    environment = _environment(config, workdir, rtl, die, seed)
    results = workdir / "results.xml"
    with suppress(SystemExit, RuntimeError):  # what happened is read from the results file
        runner.test(
            test_module=module or f"tb.tb_{block}",
            hdl_toplevel=top_of(block),
            build_dir=workdir,
            test_dir=workdir,
            plusargs=write_memories(config, die, workdir) if die else [],
            extra_env=environment,
            results_xml=str(results),
            test_filter=tests,
            log_file=workdir / "sim.log",
        )
    _judge(block, f"{config.name}, TWINOR_SEED={environment['TWINOR_SEED']}", results)


def _environment(config: Config, workdir: Path, rtl: Path, die: Die | None, seed: int) -> dict[str, str]:
    preset = workdir / f"{config.name}.yaml"
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


def _judge(block: str, what: str, results: Path) -> None:
    log = _tail(results.with_name("sim.log"))
    try:
        cases = list(ET.parse(results).iter("testcase"))
    except (OSError, ET.ParseError):
        raise BenchFailed(f"tb_{block} ({what}): the simulator left no results: {log}") from None
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    failed = tuple(str(case.get("name")) for case in bad)
    if failed:
        raise BenchFailed(f"tb_{block} ({what}): {', '.join(failed)} failed: {log}", failed)
    if not cases:
        raise BenchFailed(f"tb_{block} ({what}): no test ran: {log}")


def _tail(path: Path) -> str:
    if not path.is_file():
        return f"no {path.name}"
    return path.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:]
