# SPDX-License-Identifier: Apache-2.0
"""The linter as a test: a width that no value needs changes no simulation, but Verilator sees that it does not fit."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from tb.common.sources import listed
from tb.mutation.benches import Kill

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from twinor.config import Config

__all__ = ["run_lint"]


def run_lint(configs: Sequence[Config], rtl: Path) -> Kill | None:
    """What `tests/test_lint.py` finds first: Verilator's warning about the synthesizable files; None if it is silent.

    Without Verilator nothing is found, and the mutant needs a proof.
    """
    if shutil.which("verilator") is None:
        return None
    files = [str(path) for path in listed(rtl)]
    for config in configs:
        values = [f"-G{name}={value}" for name, value in config.parameters().items()]
        command = ["verilator", "--lint-only", "-Wall", f"-I{rtl}", "--top-module", "cim_axi", *values, *files]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stdout or done.stderr:
            message = (done.stderr or done.stdout).splitlines()[0]
            return Kill("test_lint", config.name, "test_verilator_says_nothing", message)
    return None
