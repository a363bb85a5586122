# SPDX-License-Identifier: Apache-2.0
"""`python -m twinor.spice`: every check against ngspice, a row for each; 1 if one fails, 2 if ngspice does not run."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.table import Table

from twinor.errors import TwinorError
from twinor.spice.checks import CHECKS, Check

__all__ = ["main", "row"]


def row(check: Check, seconds: float) -> list[str]:
    """One line of the table.

    Example:
        >>> row(Check(name="V4", what="resistors", unit="relative", measured=2.5e-11, limit=1e-9), 0.31)
        ['V4', 'resistors', '2.5e-11', '1.0e-09', 'relative', '0.3', 'passed']
    """
    outcome = "passed" if check.passed else "failed"
    measured, limit = (
        f"{value:.1e}" if check.unit != "codes" else f"{value:.0f}" for value in (check.measured, check.limit)
    )
    return [check.name, check.what, measured, limit, check.unit, f"{seconds:.1f}", outcome]


def main() -> int:
    """Make the checks and print them."""
    table = Table("check", "ngspice against us", box=None, header_style="bold")
    for head in ("apart", "at most"):
        table.add_column(head, justify="right")
    table.add_column("unit")
    table.add_column("seconds", justify="right")
    table.add_column("outcome")
    good = True
    for make in CHECKS:
        start = time.perf_counter()
        try:
            check = make()
        except TwinorError as error:
            print(f"twinor: {make.__name__.upper()}: {error}", file=sys.stderr)
            return 2
        good &= check.passed
        table.add_row(*row(check, time.perf_counter() - start), style=None if check.passed else "bold red")
    Console().print(table)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
