# SPDX-License-Identifier: Apache-2.0
"""Which bench runs on which configuration and die: one table for the tests, the regression and the coverage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tb.common.configs import (
    CORRECTED,
    EXACT,
    NOR40,
    NOR40_REDUNDANT,
    OFFSET,
    PULSED,
    PULSED_OFFSET,
    RAGGED,
    RAGGED_OFFSET,
    REDUNDANT,
    REFERENCED,
    SHARED,
    SHARED_OFFSET,
    SLICED,
    TINY,
    TWOS,
    WIDE_CORRECTED,
)
from tb.common.dies import make_die
from tb.common.runner import run_bench
from tb.common.sources import RTL

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from twinor.config import Config

    from tb.common.results import Outcome

__all__ = ["CASES", "Case", "cases", "run_case"]

SMALL = (TINY, OFFSET, TWOS, SLICED, RAGGED, CORRECTED)
PRESETS = (TINY, NOR40, EXACT)
CONVERTERS = ("ideal", "varied", "unordered", "extreme")
LARGE_X = "elaborated|an_unknown"
"""Resets of `tb_cim_macro_x` run on small macros: the states of the large ones are the same, only more of each."""


@dataclass(frozen=True, slots=True)
class Case:
    """One run of a bench.

    Attributes:
        bench: `tb/tb_<bench>.py`.
        config: the macro.
        die: kind of die (`dies.make_die`), empty for a bench that reads none.
        tests: only the cocotb tests whose names match; all if None.
    """

    bench: str
    config: Config
    die: str = ""
    tests: str | None = None

    @property
    def block(self) -> str:
        """The block that the bench compiles: the longest name of a Verilog file that its own name begins with."""
        names = (path.stem for path in RTL.rglob("*.v") if f"{self.bench}_".startswith(f"{path.stem}_"))
        return max(names, key=len, default="cim_macro")

    def __str__(self) -> str:
        """Configuration and die: what a test's name says in brackets.

        Example:
            >>> [str(case) for case in cases("flash_array")][:2]
            ['tiny-any', 'tiny-strongest']
        """
        return f"{self.config.name}-{self.die}" if self.die else self.config.name


def _all(bench: str, configs: Iterable[Config], *dies: str, tests: str | None = None) -> list[Case]:
    return [Case(bench, config, die, tests) for config in configs for die in dies or ("",)]


CASES = [
    *_all("wl_dac", (*PRESETS, OFFSET, RAGGED, RAGGED_OFFSET, SHARED_OFFSET, PULSED, PULSED_OFFSET)),
    *_all("sar_adc", (*PRESETS, SLICED, REDUNDANT, NOR40_REDUNDANT)),
    *_all("residual", (*PRESETS, RAGGED, SHARED_OFFSET)),
    *_all("shift_add", (*PRESETS, OFFSET, TWOS, SLICED, RAGGED, RAGGED_OFFSET, SHARED, SHARED_OFFSET, REFERENCED)),
    *_all("requantize", (TINY, NOR40, RAGGED)),
    *_all("round_check", (*PRESETS, OFFSET, TWOS, SLICED, RAGGED, SHARED, REFERENCED)),
    *_all("macro_ctrl", (*PRESETS, OFFSET, TWOS, SLICED, RAGGED, RAGGED_OFFSET, SHARED, SHARED_OFFSET, REFERENCED)),
    *_all("column_correct", (CORRECTED, WIDE_CORRECTED, TINY)),
    *_all("prog_ctrl", (*PRESETS, TWOS, SLICED, RAGGED, RAGGED_OFFSET, PULSED), "unordered"),
    *_all("prog_ctrl_passes", (TINY, TWOS, RAGGED, RAGGED_OFFSET, PULSED), "unordered"),
    *_all("clip_count", (*PRESETS, TWOS, RAGGED)),
    *_all("flash_array", (*PRESETS, RAGGED, PULSED, PULSED_OFFSET), "any", "strongest"),
    *_all("bitline", (*PRESETS, OFFSET, TWOS, SLICED)),
    *_all("adc_frontend", (*PRESETS, RAGGED, REDUNDANT, SHARED, SHARED_OFFSET), *CONVERTERS),
    *_all("cim_macro", (TINY,), "ideal", "varied", "wild"),
    *_all("cim_macro", (NOR40,), "varied", "wild"),
    *_all("cim_macro", (EXACT,), "ideal", "varied"),
    *_all("cim_macro", (OFFSET, TWOS, SLICED, RAGGED, REDUNDANT, CORRECTED, SHARED, SHARED_OFFSET), "wild"),
    *_all("cim_macro", (PULSED, PULSED_OFFSET, REFERENCED), "wild"),
    *_all("cim_axi", (TINY, RAGGED, NOR40, REFERENCED), "wild"),
    *_all("cim_axi_regs", (TINY, NOR40), "wild"),
    *_all("cim_axi_prog", (TINY, OFFSET, TWOS, PULSED), "varied"),
    *_all("cim_macro_words", (TINY, RAGGED, OFFSET, REDUNDANT, CORRECTED), "wild"),
    *_all("cim_macro_prog", (TINY, RAGGED, OFFSET, PULSED, REFERENCED), "varied"),
    *_all("cim_macro_x", (*SMALL, PULSED, REFERENCED), "wild"),
    *_all("cim_macro_x", (NOR40, EXACT), "wild", tests=LARGE_X),
]
"""Every run; the environment in `tb/uvm` and the harness `tb/cosim.v` are no benches and are run apart."""


def cases(bench: str) -> list[Case]:
    """The runs of one bench.

    Raises:
        KeyError: the table does not have it.
    """
    found = [case for case in CASES if case.bench == bench]
    if not found:
        raise KeyError(f"{bench} is not in tb/common/cases.py: add the configurations on which its bench runs")
    return found


def run_case(case: Case, workdir: Path, **options: Any) -> list[Outcome]:
    """Run one case; options and errors are those of `run_bench`."""
    die = make_die(case.die, case.config) if case.die else None
    module = f"tb.tb_{case.bench}"
    return run_bench(case.block, case.config, workdir, die=die, tests=case.tests, module=module, **options)
