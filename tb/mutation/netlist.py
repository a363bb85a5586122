# SPDX-License-Identifier: Apache-2.0
"""What Icarus Verilog elaborates, so that a change which no configuration elaborates is not counted as a mutant."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from tb.common.sources import declared_parameters, expected_parameters, sources_of, top_of

if TYPE_CHECKING:
    from pathlib import Path

    from twinor.config import Config

__all__ = ["netlist"]


def netlist(block: str, config: Config, rtl: Path) -> str | None:
    """The compiled block for one configuration, comparable between runs; None if it does not compile.

    Addresses of the compiler's objects become numbers in order of appearance; paths and values of constants that
    nothing uses go.
    """
    top = top_of(block)
    values = expected_parameters(config, declared_parameters(block, rtl))
    command = ["iverilog", "-g2012", "-o/dev/stdout", f"-I{rtl}", "-s", top]
    command += [f"-P{top}.{name}={value}" for name, value in values.items()]
    command += [str(path) for path in sources_of(block, rtl)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    numbers: dict[str, str] = {}
    text = re.sub(r"^P_.*\n", "", done.stdout, flags=re.MULTILINE).replace(str(rtl), "rtl")
    return re.sub(r"0x[0-9a-f]+", lambda match: numbers.setdefault(match[0], f"#{len(numbers)}"), text)
