# SPDX-License-Identifier: Apache-2.0
"""Test plans: what a sign-off demands of each block, read from `tb/plans/<block>.yaml`, and the tests that exist."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml
from twinor.errors import TwinorError

from tb.common.sources import REPO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["PLANS", "STAGES", "Goal", "Plan", "PlanError", "Point", "existing_tests", "read_plan", "read_plans"]

PLANS = REPO / "tb" / "plans"

STAGES = ("V1", "V2", "V3")
"""Basic function, complete, corners and robustness; `tb/plans/README.md` says when a stage is reached."""

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same answers, ten times as fast where PyYAML was built with its C library."""

TEST_DECORATORS = {"cocotb.test", "cocotb.parametrize", "pyuvm.test"}


class PlanError(TwinorError):
    """A test plan is not what a plan must be; names the file, the point and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One demand: what is applied, what must hold, and the tests that show it."""

    name: str
    stimulus: str
    checks: str
    stage: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One functional coverage goal: its name in the coverage model, and what it means."""

    goal: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The test plan of one block."""

    block: str
    points: tuple[Point, ...]
    coverage: tuple[Goal, ...] = ()


def read_plan(block: str, *, folder: Path = PLANS) -> Plan:
    """Read the plan of one block.

    Raises:
        PlanError: no such file, not YAML, unknown, missing or repeated keys, empty text, an unknown stage, a name that
            is not lower_snake or stands twice.

    Example:
        >>> plan = read_plan("sar_adc")
        >>> plan.block, plan.points[0].name, plan.points[0].tests
        ('sar_adc', 'parameters', ('tb_sar_adc.elaborated_parameters_equal_the_configuration',))
    """
    path = folder / f"{block}.yaml"
    try:
        loader = LOADER(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        _check_unique(path.name, node)
        tree: Any = loader.construct_document(node) if node else None
    except OSError as error:
        raise PlanError(f"{path.name}: cannot be read: {error.strerror}: expected a test plan") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PlanError(f"{path.name}: not a YAML file: {' '.join(str(error).split())}") from None
    _check_keys(path.name, tree, {"points"}, {"coverage"})
    points = tuple(_point(path.name, n, entry) for n, entry in enumerate(_entries(path.name, tree, "points"), start=1))
    _check_names(path.name, "point", [point.name for point in points])
    goals = _entries(path.name, tree, "coverage") if "coverage" in tree else []
    coverage = tuple(_goal(path.name, n, entry) for n, entry in enumerate(goals, start=1))
    _check_names(path.name, "goal", [goal.goal for goal in coverage])
    return Plan(block=block, points=points, coverage=coverage)


def read_plans(folder: Path = PLANS) -> dict[str, Plan]:
    """Every plan of a folder by block; the raises are those of `read_plan`."""
    return {path.stem: read_plan(path.stem, folder=folder) for path in sorted(folder.glob("*.yaml"))}


@cache
def existing_tests(repo: Path = REPO) -> frozenset[str]:
    """Qualified names of all tests: `tb_sar_adc.<cocotb test>`, `uvm.<test of tb/uvm>`, `test_sar_adc.<function>`.

    Example:
        >>> "test_sar_adc.test_verilog_matches_golden" in existing_tests()
        True
    """
    benches = [(path.stem, path) for path in sorted((repo / "tb").glob("tb_*.py"))]
    benches += [("uvm", path) for path in sorted((repo / "tb" / "uvm").glob("*.py"))]
    found = {f"{module}.{name}" for module, path in benches for name in _cocotb_tests(path)}
    for path in sorted((repo / "tests").glob("test_*.py")):
        functions = (node for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.FunctionDef))
        found |= {f"{path.stem}.{node.name}" for node in functions if node.name.startswith("test_")}
    return frozenset(found)


def _cocotb_tests(path: Path) -> set[str]:
    """Functions and classes under a decorator that makes a cocotb test of them, called or not."""
    tests = set()
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            made = (item.func if isinstance(item, ast.Call) else item for item in node.decorator_list)
            if TEST_DECORATORS & {ast.unparse(item) for item in made}:
                tests.add(node.name)
    return tests


def _point(file: str, number: int, entry: Any) -> Point:
    where = _where(file, "point", "name", number, entry)
    _check_keys(where, entry, {"name", "stimulus", "checks", "stage", "tests"})
    texts = {key: _text(where, entry, key) for key in ("stimulus", "checks")}
    name, stage, tests = _name(where, entry, "name"), entry["stage"], entry["tests"]
    if stage not in STAGES:
        raise PlanError(f"{where}: stage is {stage!r}: expected one of {', '.join(STAGES)}")
    if not isinstance(tests, list) or not tests:
        raise PlanError(f"{where}: tests is {tests!r}: expected a list of names such as tb_sar_adc.reset_ends_it")
    for test in tests:
        if not isinstance(test, str) or not re.fullmatch(r"\w+\.\w+", test):
            raise PlanError(f"{where}: test {test!r}: expected <bench or test file>.<test>")
    _check_names(where, "test", tests)
    return Point(name=name, **texts, stage=stage, tests=tuple(tests))


def _goal(file: str, number: int, entry: Any) -> Goal:
    where = _where(file, "goal", "goal", number, entry)
    _check_keys(where, entry, {"goal", "meaning"})
    return Goal(goal=_name(where, entry, "goal"), meaning=_text(where, entry, "meaning"))


def _where(file: str, kind: str, key: str, number: int, entry: Any) -> str:
    """The file and the entry, by its name where it has one."""
    name = entry.get(key) if isinstance(entry, dict) else None
    return f"{file}: {kind} {name if isinstance(name, str) and name else number}"


def _entries(file: str, tree: Mapping[str, Any], key: str) -> list[Any]:
    entries = tree[key]
    if not isinstance(entries, list) or not entries:
        raise PlanError(f"{file}: {key} is {entries!r}: expected a list with at least one entry")
    return entries


def _text(where: str, entry: Mapping[str, Any], key: str) -> str:
    value = entry[key]
    if not isinstance(value, str) or not value.strip():
        raise PlanError(f"{where}: {key} is {value!r}: expected a sentence")
    return " ".join(value.split())


def _name(where: str, entry: Mapping[str, Any], key: str) -> str:
    name = _text(where, entry, key)
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise PlanError(f"{where}: {key} is {name!r}: expected lower_snake, as in code_is_stable")
    return name


def _check_keys(where: str, entry: Any, needed: set[str], optional: Iterable[str] = ()) -> None:
    if not isinstance(entry, dict):
        raise PlanError(f"{where}: got {entry!r}: expected the keys {', '.join(sorted(needed))}")
    for key in entry:
        if key not in needed | set(optional):
            raise PlanError(f"{where}: unknown key {key}: expected {', '.join(sorted(needed | set(optional)))}")
    for key in sorted(needed - set(entry)):
        raise PlanError(f"{where}: missing key {key}: expected {', '.join(sorted(needed))}")


def _check_names(where: str, kind: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise PlanError(f"{where}: {kind} {name} stands twice: expected once")


def _check_unique(file: str, node: yaml.Node | None) -> None:
    """YAML lets the last of two equal keys win; here both are refused."""
    children = node.value if isinstance(node, yaml.CollectionNode) else []
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, _ in children:
            if str(key.value) in seen:
                line = key.start_mark.line + 1
                raise PlanError(f"{file}: key {key.value} stands twice, again in line {line}: expected once")
            seen.add(str(key.value))
        children = [value for _, value in children]
    for child in children:
        _check_unique(file, child)
