# SPDX-License-Identifier: Apache-2.0
"""The core files list the files and parameters that the checkout has; FuseSoC itself is not needed."""

import re
import tomllib
from typing import Any

import pytest
import yaml
from twinor.params import RTL

from tb.common.sources import REPO

pytestmark = pytest.mark.fast

CORE: dict[str, Any] = yaml.safe_load((RTL / "cim_macro.core").read_text(encoding="utf-8"))
AXI: dict[str, Any] = yaml.safe_load((RTL / "cim_axi.core").read_text(encoding="utf-8"))


def listed(fileset: str) -> tuple[list[str], list[str]]:
    """Sources and headers of a file set; a header is a mapping of its name to its attributes."""
    files = CORE["filesets"][fileset]["files"]
    headers = [name for entry in files if isinstance(entry, dict) for name in entry]
    return [entry for entry in files if isinstance(entry, str)], headers


@pytest.mark.parametrize("name", ["cim_macro", "cim_axi"])
def test_the_first_line_is_what_fusesoc_looks_for(name: str) -> None:
    assert (RTL / f"{name}.core").read_text(encoding="utf-8").startswith("CAPI=2:\n")


def test_the_synthesizable_files_are_those_of_the_file_list_in_its_order() -> None:
    names = (RTL / "rtl.f").read_text(encoding="utf-8").split()
    assert listed("rtl") == ([name.removeprefix("rtl/") for name in names], ["macro_params.vh"])


def test_the_simulation_adds_every_stand_in_and_the_header_that_they_include() -> None:
    stand_ins = sorted(path.relative_to(RTL).as_posix() for path in (RTL / "sim").glob("*.v"))
    assert listed("sim") == (stand_ins, ["macro_params_inst.vh"])


def test_the_parameters_are_those_of_the_header_with_its_defaults() -> None:
    """Every target passes all of them on, so that a changed one cannot meet a derived one of another macro."""
    text = (RTL / "macro_params.vh").read_text(encoding="utf-8")
    header = {name: int(value) for name, value in re.findall(r"^parameter integer (\w+) += (\d+)", text, re.MULTILINE)}
    assert {name: parameter["default"] for name, parameter in CORE["parameters"].items()} == header
    assert {(p["datatype"], p["paramtype"]) for p in CORE["parameters"].values()} == {("int", "vlogparam")}
    assert header and all(target["parameters"] == list(header) for target in CORE["targets"].values())


@pytest.mark.parametrize(
    ("target", "top", "filesets"),
    [("default", "cim_macro", ["rtl"]), ("lint", "cim_macro", ["rtl"]), ("sim", "macro_sim", ["rtl", "sim"])],
)
def test_a_target_has_the_top_module_and_the_files_that_it_needs(target: str, top: str, filesets: list[str]) -> None:
    assert (CORE["targets"][target]["toplevel"], CORE["targets"][target]["filesets"]) == (top, filesets)


def test_name_and_version_are_those_of_the_project() -> None:
    version = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert CORE["name"] == f"twinor:cim:cim_macro:{version}"
    assert AXI["name"] == f"twinor:cim:cim_axi:{version}"


def test_the_core_of_the_buses_adds_its_file_list_to_that_of_the_macro() -> None:
    sets = AXI["filesets"]
    names = (RTL / "cim_axi.f").read_text(encoding="utf-8").split()
    files = [entry for name in ("registers", "rtl") for entry in sets[name]["files"] if isinstance(entry, str)]
    assert files == [name.removeprefix("rtl/") for name in names] and sets["rtl"]["depend"] == [CORE["name"]]
    assert all(target["filesets"] == ["registers", "rtl"] for target in AXI["targets"].values())
    assert {target["toplevel"] for target in AXI["targets"].values()} == {"cim_axi"}
