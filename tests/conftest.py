# SPDX-License-Identifier: Apache-2.0
"""Fixtures that many tests share, and the one setting of every property test."""

import os
import re
import zlib

import numpy as np
import pytest
from hypothesis import settings
from twinor.config import Config, load

# Derandomized: a property test that passed once passes until the code changes.
settings.register_profile("twinor", derandomize=True, deadline=None, database=None, max_examples=30)
settings.load_profile("twinor")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator of its own for every test; pytest shows the printed seed when the test fails."""
    seed = int(os.environ.get("TWINOR_TEST_SEED", zlib.crc32(request.node.nodeid.encode())))
    print(f"rng seed: repeat with TWINOR_TEST_SEED={seed}")
    return np.random.default_rng(seed)


@pytest.fixture(scope="session")
def tiny() -> Config:
    """The smallest preset."""
    return load("tiny")


@pytest.fixture(scope="session")
def nor40() -> Config:
    """The default preset."""
    return load("nor40_int4")


@pytest.fixture(scope="session")
def exact() -> Config:
    """The lossless preset."""
    return load("nor40_int4_exact")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The next step of every failed bench, last: pytest puts captured logs below the message that names it."""
    failed = [str(report.longrepr) for report in terminalreporter.getreports("failed")]
    steps = dict.fromkeys(step for text in failed for step in re.findall(r"see it in the waves: (make .+)", text))
    if steps:
        terminalreporter.section("see it in the waves")
        for step in steps:
            terminalreporter.write_line(step)
