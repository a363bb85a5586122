# SPDX-License-Identifier: Apache-2.0
"""Which bench and which of its tests a person means."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twinor.cosim import icarus
from twinor.errors import TwinorError
from twinor.paste import command, program

from tb.common.sources import REPO, bench_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Choice", "benches", "choose", "cocotb_tests"]

WHOLE = "cim_macro"
"""The block of a bench that is not named after a block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A bench: its name, the block it drives, its module, and the tests as a regular expression, None for all."""

    bench: str
    block: str
    module: str
    tests: str | None


def benches() -> dict[str, Path]:
    """The file of every module of cocotb tests, by the name of its bench."""
    files = [*(REPO / "tb").glob("tb_*.py"), *(REPO / "tb").glob("*/tests.py")]
    return {bench_of(_module(path)): path for path in sorted(files)}


def cocotb_tests(path: Path) -> list[str]:
    """Names of the cocotb and pyuvm tests of a module, in its order."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    functions = [n for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    marks = re.compile(r"(cocotb|pyuvm)\.(test|parametrize)\b")
    return [f.name for f in functions if any(marks.match(ast.unparse(mark)) for mark in f.decorator_list)]


def choose(wanted: str) -> Choice:
    """The bench, and the tests of it, that `BENCH` or `BENCH.PATTERN` names.

    Raises:
        TwinorError: no such bench or test; names those that exist.
    """
    name, _, pattern = wanted.partition(".")
    known = benches()
    if name == "cosim":
        raise TwinorError(_cosim())
    if name not in known:
        said = f"no bench is called {name}" if name else "no bench was named, as in TEST=sar_adc"
        raise TwinorError(f"{said}: expected one of {', '.join(known)}, or cosim")
    path, names = known[name], cocotb_tests(known[name])
    try:
        hit = any(re.search(pattern, test) for test in names)
    except re.error as error:
        raise TwinorError(f"{pattern} is not a regular expression ({error})") from None
    if not hit:
        raise TwinorError(f"no test of {name} matches {pattern}; it has\n  " + "\n  ".join(names))
    module = _module(path)
    tests = rf"^{re.escape(module)}\..*(?:{pattern})" if pattern else None
    blocks = [b for b in known if (REPO / "tb" / "waves" / f"{b}.gtkw").is_file() and f"{name}_".startswith(f"{b}_")]
    return Choice(bench=name, block=max(blocks, key=len, default=WHOLE), module=module, tests=tests)


def _module(path: Path) -> str:
    return ".".join(path.relative_to(REPO).with_suffix("").parts)


def _cosim() -> str:
    """Co-simulation has its own way to the waves; names the newest reproducer."""
    found = sorted((icarus.BUILD / "reproducers").glob("*/job.npz"), key=lambda path: path.stat().st_mtime)
    if not found:
        return "co-simulation shows waves of a divergence: run `make sim`; where it diverges it says what to type"
    return f"co-simulation shows waves of a divergence: {command(program(), 'replay', found[-1].parent, '--waves')}"
