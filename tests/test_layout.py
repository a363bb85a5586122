# SPDX-License-Identifier: Apache-2.0
"""One block name, all its files; nothing unlisted; every link leads somewhere; nothing larger than its budget."""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from statistics import median

import pytest
from twinor import config
from twinor.config import ANALOG, DIGITAL, load

from tb.common.sources import REPO, declared_parameters, expected_parameters

pytestmark = pytest.mark.fast

TOP_LEVEL = {
    *("README.md", "CHANGELOG.md", "LICENSE", "Makefile", "pyproject.toml", "requirements.lock"),
    *("rtl", "model", "tb", "tests", ".ci", ".gitignore"),
}

FILE_TYPES = {
    ".py": ("model/twinor", "tb", "tests"),
    ".v": ("rtl", "tb"),
    ".vh": ("rtl",),
    ".f": ("rtl",),
    ".core": ("rtl",),
    ".md": ("", "rtl", "tb", "tests", "model"),
    ".yaml": ("model/twinor/presets", "tb/plans", "tb/coverage"),
    ".gtkw": ("tb/waves",),
    ".css": ("model/twinor/report",),
    ".js": ("model/twinor/report",),
    ".jinja": ("model/twinor/report",),
    ".typed": ("model/twinor",),
    ".sh": (".ci",),
    ".toml": ("",),
    ".lock": ("",),
    "": ("", ".ci"),  # Makefile, LICENSE, .gitignore, .ci/run
}
"""Where files of each type may be: in these folders and below, "" is the top level alone."""

LICENCE = "SPDX-License-Identifier: Apache-2.0"
WITHOUT_LICENCE_LINE = {".md", ".f", ".gtkw", ".typed", ".lock", "LICENSE", ".gitignore"}
"""Prose, and files whose readers take no comment."""

WIRING = {"macro_sim": "cim_macro"}
"""Modules without files of their own beside the specification: the block that they wire up has them."""

HEADINGS = [
    *("What it computes", "Interface", "Timing", "Parameters"),
    *("Rounding, saturation, corner cases", "Golden twin and tests"),
]

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def files() -> tuple[Path, ...]:
    """Every file of the repository but those that .gitignore names, relative to its root."""
    ignored = [line.strip("/") for line in (REPO / ".gitignore").read_text(encoding="utf-8").split()]
    found: list[Path] = []
    folders = [REPO]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            if path.name == ".git" or any(fnmatch(path.name, pattern) for pattern in ignored):
                continue
            if path.is_dir():
                folders.append(path)
            else:
                found.append(path.relative_to(REPO))
    return tuple(sorted(found))


@cache
def text_of(path: Path) -> str:
    """A file of the repository."""
    return (REPO / path).read_text(encoding="utf-8")


def of_type(suffix: str, folder: str = "") -> list[Path]:
    """Files of a type below a folder."""
    return [path for path in files() if path.suffix == suffix and path.is_relative_to(folder or ".")]


def blocks() -> dict[str, Path]:
    """Verilog modules by name."""
    return {path.stem: path for path in of_type(".v", "rtl")}


# One block name, all its files //


def missing_files(block: str, verilog: Path) -> list[str]:
    """What a block lacks of its files."""
    home = WIRING.get(block, block)
    wanted = [
        verilog.with_suffix(".md"),
        Path(f"model/twinor/golden/{home}.py"),
        Path(f"tb/tb_{home}.py"),
        Path(f"tb/plans/{home}.yaml"),
        Path(f"tests/test_{home}.py"),
    ]
    return [str(path) for path in wanted if path not in files()]


def test_every_verilog_module_has_its_files() -> None:
    found = blocks()
    assert found, "no Verilog below rtl/"
    lacking = {block: missing for block, path in found.items() if (missing := missing_files(block, path))}
    assert lacking == {}, f"blocks without some of their files (rtl/README.md, Adding a block): {lacking}"


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        (r"model/twinor/golden/(?!__init__)(\w+)\.py", "golden twin"),
        (r"rtl/(?:sim/)?(?!README)(\w+)\.md", "specification"),
        (r"tb/tb_(\w+)\.py", "bench"),
        (r"tb/plans/(\w+)\.yaml", "test plan"),
        (r"tb/waves/(?!cosim)(\w+)\.gtkw", "saved view"),
    ],
)
def test_every_file_of_a_block_has_its_verilog(pattern: str, what: str) -> None:
    """A bench may have a second file, `tb_<block>_<more>.py`."""
    names = [match[1] for path in files() if (match := re.fullmatch(pattern, path.as_posix()))]
    known = tuple(blocks())
    lonely = [
        n for n in names if n not in known and not (what == "bench" and n.startswith(tuple(b + "_" for b in known)))
    ]
    assert names and lonely == [], f"{what} without a module of that name in rtl/ or rtl/sim/: {lonely}"


def test_a_file_holds_the_module_of_its_name_and_no_other() -> None:
    found = {
        name: re.findall(r"^\s*module\s+(\w+)", text_of(path), flags=re.MULTILINE) for name, path in blocks().items()
    }
    assert found == {name: [name] for name in found}


def test_the_file_list_is_what_goes_to_synthesis() -> None:
    """rtl.f lists every file of rtl/, and nothing of rtl/sim/."""
    listed = text_of(Path("rtl/rtl.f")).split()
    assert sorted(listed) == sorted(path.as_posix() for path in of_type(".v", "rtl") if path.parent.name == "rtl")


@pytest.mark.parametrize("block", sorted(blocks()))
def test_a_specification_has_the_six_headings(block: str) -> None:
    text = text_of(blocks()[block].with_suffix(".md"))
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == HEADINGS
    assert text.startswith(f"# {block}: "), f"the title of {block}.md is not `# {block}: ...`"


@pytest.mark.parametrize("block", sorted(blocks()))
def test_a_header_names_formula_twin_and_specification(block: str) -> None:
    """The first comment, before the module: golden twin and specification are files that exist."""
    head = text_of(blocks()[block]).split("module ")[0]
    twin = f"model/twinor/golden/{WIRING.get(block, block)}.py"
    spec = blocks()[block].with_suffix(".md").as_posix()
    assert f"Golden twin : {twin}" in head and f"Spec        : {spec}" in head


@pytest.mark.parametrize("block", sorted(blocks()))
def test_verilog_parameters_are_names_of_the_configuration(block: str) -> None:
    """A key or a derived value in capitals, the width of a column quantity in the stand-ins, or a fixed width."""
    names = declared_parameters(WIRING.get(block, block))
    known = {key.upper() for key in DIGITAL} | {name.upper() for name in vars(config.Config)} | {"Q_BITS"}
    known |= {name for name, value in vars(config).items() if name.isupper() and isinstance(value, int)}
    unknown = [name for name in names if name not in known or name.lower() in ANALOG]
    assert names and unknown == [], f"{block}: parameters that no configuration key or property has: {unknown}"
    assert list(expected_parameters(load("tiny"), names)) == names


# Nothing unlisted //


def misplaced(path: Path) -> bool:
    """True for a file whose type has no place where it is."""
    allowed = FILE_TYPES.get(path.suffix, ())
    return not any(path.is_relative_to(folder) if folder else path.parent == Path() for folder in allowed)


def test_no_top_level_entry_is_unlisted() -> None:
    extra = {path.parts[0] for path in files()} - TOP_LEVEL
    assert extra == set(), f"not in TOP_LEVEL of tests/test_layout.py: {sorted(extra)}; scratch belongs below build/"


def test_every_file_has_a_type_and_a_place() -> None:
    extra = [str(path) for path in files() if misplaced(path)]
    assert extra == [], f"not where FILE_TYPES of tests/test_layout.py has such files: {extra}"


def test_every_file_begins_with_its_licence() -> None:
    """In the first line, or the second after `#!` or FuseSoC's `CAPI=2:`."""
    bare = []
    for path in files():
        if not {path.suffix, path.name} & WITHOUT_LICENCE_LINE:
            lines = [*text_of(path).splitlines()[:2], "", ""]
            if LICENCE not in lines[lines[0].startswith(("#!", "CAPI=2:"))]:
                bare.append(str(path))
    assert bare == [], f"first line without {LICENCE}: {bare}"


# Links //

FOLDERS = ["", "rtl", "tb", "tests", "model", "model/twinor"]
"""Where a file in backticks may be, besides the folder of its page and the folders that the page names."""


def dead_links(page: Path) -> list[str]:
    """Links, and files in backticks, that lead nowhere."""
    text = text_of(page)
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    dead = [link for link in links if not (REPO / page.parent / link).exists()]
    kinds = "|".join(suffix[1:] for suffix in FILE_TYPES if suffix)
    named = re.findall(rf"`([\w./-]+\.(?:{kinds}))`", text)
    places = [REPO / page.parent, *(REPO / folder for folder in FOLDERS)]
    places += [place / folder for folder in re.findall(r"`([\w./-]+)/`", text) for place in places]
    return dead + [name for name in named if not any((place / name).is_file() for place in places)]


@pytest.mark.parametrize("page", of_type(".md"), ids=str)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    assert dead_links(page) == []


# Size //


def lines(path: Path) -> int:
    """Lines of a file."""
    return len(text_of(path).splitlines())


@pytest.mark.parametrize(
    ("suffix", "folder", "middle", "most"),
    [(".v", "rtl", 150, 480), (".py", "model", 180, 400), (".py", "tb", 180, 400), (".py", "tests", 180, 400)],
)
def test_files_keep_to_their_budget(suffix: str, folder: str, middle: int, most: int) -> None:
    counts = {str(path): lines(path) for path in of_type(suffix, folder)}
    long = {name: count for name, count in counts.items() if count > most}
    assert long == {}, f"more than {most} lines: split along a seam"
    assert median(counts.values()) <= middle, f"half of the files of {folder} have more than {middle} lines"


def lines_of_code(source: str, function: Function) -> int:
    """Lines of a function without decorators, docstring, comments and blank lines."""
    first = function.body[0]
    is_doc = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    doc = range(first.lineno, (first.end_lineno or 0) + 1) if is_doc else range(0)
    body = enumerate(source.splitlines()[function.lineno - 1 : function.end_lineno], start=function.lineno)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and n not in doc for n, line in body)


def functions(node: ast.AST) -> Iterator[Function]:
    """Functions and methods, those inside others included; expressions are not searched, for speed."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from functions(child)
            if isinstance(child, Function):
                yield child


def long_functions(source: str) -> dict[str, int]:
    """Functions of more than 40 lines of code."""
    most = 40
    spans = (node for node in functions(ast.parse(source)) if (node.end_lineno or 0) - node.lineno >= most)
    return {node.name: count for node in spans if (count := lines_of_code(source, node)) > most}


def test_functions_have_at_most_forty_lines_of_code() -> None:
    paths = [path for folder in ("model", "tb", "tests") for path in of_type(".py", folder)]
    long = {str(path): found for path in paths if (found := long_functions(text_of(path)))}
    assert paths and long == {}, f"functions of more than 40 lines of code, whose parts want names: {long}"


# The checks can fail //


@pytest.mark.parametrize(
    "path", ["rtl/a.sv", "notes.py", "tests/data.csv", "rtl/sim/a.py", "tb/plans/sub.md.bak", "x.yaml"]
)
def test_a_file_out_of_place_is_noticed(path: str) -> None:
    assert misplaced(Path(path))


def test_a_block_without_its_files_is_noticed() -> None:
    assert len(missing_files("sar_dac", Path("rtl/sar_dac.v"))) == 5
    assert missing_files("sar_adc", Path("rtl/sim/sar_adc.v")) == ["rtl/sim/sar_adc.md"]


def test_code_is_counted_without_docstring_comments_and_blank_lines() -> None:
    source = (
        '@twice\ndef f(\n    a,\n):\n    """One.\n\n    Two."""\n    # why\n\n    s = """x\n    y"""\n    return s\n'
    )
    assert [lines_of_code(source, function) for function in functions(ast.parse(source))] == [6]


def test_a_long_function_is_noticed_wherever_it_is() -> None:
    """A method of 41 lines behind an `if`, and one of 40."""
    for rest, found in ((39, {}), (40, {"f": 41})):
        source = "if x:\n class A:\n  def f(self):\n" + "   x = 1\n" * rest
        assert long_functions(source) == found


def test_a_dead_link_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("[a](gone.md) [b](page.md#x) [c](https://x.org/y.md) `rtl/sar_adc.v` `golden/gone.py` `<b>.py`\n")
    assert dead_links(page) == ["gone.md", "golden/gone.py"]
