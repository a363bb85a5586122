# SPDX-License-Identifier: Apache-2.0
"""Test plans: what a plan must be, and that plans and tests name each other without an orphan on either side."""

import doctest
from pathlib import Path

import pytest

from tb.common import plans
from tb.common.plans import PLANS, STAGES, Plan, PlanError, existing_tests, read_plan, read_plans

pytestmark = pytest.mark.fast

POINT = """
points:
- name: codes
  stimulus: Every sample.
  checks: The code is golden's.
  stage: V1
  tests: [tb_a.codes_match, test_a.test_codes]
"""


def planned(found: dict[str, Plan]) -> dict[str, str]:
    """Every test that a point names, with the place of the first one."""
    return {
        test: f"{block}.yaml: point {point.name}"
        for block, plan in reversed(found.items())
        for point in reversed(plan.points)
        for test in point.tests
    }


def demanded(tests: frozenset[str], blocks: set[str]) -> set[str]:
    """Tests that a plan must name: all of the benches and the environment, and those of tests/test_<block>.py."""
    return {test for test in tests if not test.startswith("test_") or test.split(".")[0][5:] in blocks}


def orphans(found: dict[str, Plan], tests: frozenset[str]) -> list[str]:
    """A sentence for each test that is named and does not exist, and for each that no point names."""
    named = planned(found)
    dead = [f"{named[test]} names {test}, which does not exist" for test in sorted(set(named) - tests)]
    lost = sorted(demanded(tests, set(found)) - set(named))
    return dead + [f"no point of tb/plans/*.yaml names {test}: add it to the demand that it shows" for test in lost]


def test_every_named_test_exists_and_every_test_is_named() -> None:
    """Else a demand has no evidence, or a test has no reason."""
    assert orphans(read_plans(), existing_tests()) == []


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_plan_reaches_every_stage_and_begins_with_the_parameters(path: Path) -> None:
    plan = read_plan(path.stem)
    assert {point.stage for point in plan.points} | {"V2"} == set(STAGES), "a block has basic function and corners"
    bench = f"tb_{plan.block}.elaborated_parameters_equal_the_configuration"
    assert plan.points[0].name == "parameters" and bench in plan.points[0].tests


def test_what_a_stage_means_is_said_once() -> None:
    text = (PLANS / "README.md").read_text(encoding="utf-8")
    assert all(text.count(f"| {stage} |") == 1 for stage in STAGES)


def test_the_examples_of_the_reader_run() -> None:
    result = doctest.testmod(plans)
    assert result.attempted and not result.failed


# The checks can fail //


def written(folder: Path, text: str) -> Path:
    """A folder of one plan, of block a."""
    (folder / "a.yaml").write_text(text, encoding="utf-8")
    return folder


def test_a_plan_is_read(tmp_path: Path) -> None:
    goals = "coverage:\n- goal: adc_code\n  meaning: Every code\n    was seen.\n"
    plan = read_plan("a", folder=written(tmp_path, POINT + goals))
    assert [(point.name, point.stage, point.tests) for point in plan.points] == [
        ("codes", "V1", ("tb_a.codes_match", "test_a.test_codes"))
    ]
    assert [(goal.goal, goal.meaning) for goal in plan.coverage] == [("adc_code", "Every code was seen.")]


BAD = [
    ("stage: V1", "stage: V4", "a.yaml: point codes: stage is 'V4': expected one of V1, V2, V3"),
    ("  stage: V1\n", "", "a.yaml: point codes: missing key stage: expected checks, name, stage, stimulus, tests"),
    ("stage: V1", "stage: V1\n  stages: V1", "a.yaml: point codes: unknown key stages: expected checks, name"),
    ("stage: V1", "stage: V1\n  stage: V2", "a.yaml: key stage stands twice, again in line 7: expected once"),
    ("name: codes", "name: ''", "a.yaml: point 1: name is '': expected a sentence"),
    ("name: codes", "name: Every code", "a.yaml: point Every code: name is 'Every code': expected lower_snake"),
    ("Every sample.", "' '", "a.yaml: point codes: stimulus is ' ': expected a sentence"),
    ("The code is golden's.", "", "a.yaml: point codes: checks is None: expected a sentence"),
    ("The code is golden's.", "yes", "a.yaml: point codes: checks is True: expected a sentence"),
    ("[tb_a.codes_match, test_a.test_codes]", "[]", "a.yaml: point codes: tests is []: expected a list of names"),
    ("[tb_a.codes_match, test_a.test_codes]", "tb_a.x", "a.yaml: point codes: tests is 'tb_a.x': expected a list"),
    ("tb_a.codes_match", "codes_match", "test 'codes_match': expected <bench or test file>.<test>"),
    ("tb_a.codes_match", "test_a.test_codes", "a.yaml: point codes: test test_a.test_codes stands twice"),
    ("points:", "point:", "a.yaml: unknown key point: expected coverage, points"),
    ("points:", "coverage: []\npoints:", "a.yaml: coverage is []: expected a list with at least one entry"),
    ("points:", "coverage: [{goal: x}]\npoints:", "a.yaml: goal x: missing key meaning: expected goal, meaning"),
    ("points:", "coverage: [x]\npoints:", "a.yaml: goal 1: got 'x': expected the keys goal, meaning"),
    ("- name", "- [name", "a.yaml: not a YAML file"),
    (POINT, "", "a.yaml: got None: expected the keys points"),
    (POINT, POINT + POINT.replace("\npoints:\n", ""), "a.yaml: point codes stands twice: expected once"),
]


@pytest.mark.parametrize(("old", "new", "said"), BAD, ids=[said.removeprefix("a.yaml: ") for _, _, said in BAD])
def test_a_bad_plan_is_refused_with_its_place(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert POINT.count(old) == 1
    with pytest.raises(PlanError) as refused:
        read_plan("a", folder=written(tmp_path, POINT.replace(old, new)))
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_missing_plan_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"^b\.yaml: cannot be read: No such file or directory: expected a test plan$"):
        read_plan("b", folder=tmp_path)


def test_tests_are_found_where_their_decorators_are(tmp_path: Path) -> None:
    """Called or not, functions and classes; helpers and tests inside other functions do not count."""
    two = "@cocotb.test()\n@cocotb.parametrize(x=[1])\nasync def two(d): ...\n"
    sources = {
        "tb/tb_a.py": "@cocotb.test\nasync def one(d): ...\n" + two,
        "tb/tb_b.py": "async def helper(d): ...\n@other.test\nasync def three(d): ...\n",
        "tb/uvm/tests.py": "@pyuvm.test(stage=1)\nclass All: ...\nclass Base: ...\n",
        "tests/test_a.py": "def test_it(): ...\ndef helper():\n    def test_no(): ...\n",
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert existing_tests(tmp_path) == {"tb_a.one", "tb_a.two", "uvm.All", "test_a.test_it"}


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ({"tb_a.codes_match", "test_a.test_codes", "test_other.test_x"}, []),
        ({"test_a.test_codes"}, ["a.yaml: point codes names tb_a.codes_match, which does not exist"]),
        ({"tb_a.codes_match"}, ["a.yaml: point codes names test_a.test_codes, which does not exist"]),
        *[
            (
                {"tb_a.codes_match", "test_a.test_codes", more},
                [f"no point of tb/plans/*.yaml names {more}: add it to the demand that it shows"],
            )
            for more in ("tb_a.more", "tb_a_x.more", "tb_b.more", "test_a.test_more", "uvm.More")
        ],
    ],
    ids=lambda value: "" if isinstance(value, set) else "-".join(value) or "none",
)
def test_orphans_of_either_side_are_told(tests: set[str], said: list[str], tmp_path: Path) -> None:
    found = {"a": read_plan("a", folder=written(tmp_path, POINT))}
    assert orphans(found, frozenset(tests)) == said
