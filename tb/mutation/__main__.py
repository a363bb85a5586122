# SPDX-License-Identifier: Apache-2.0
"""`python -m tb.mutation`: draw mutants of every block, name the test that kills each, prove the rest equivalent."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from twinor.paste import near
from twinor.store import write_text

from tb.mutation.benches import BLOCKS
from tb.mutation.campaign import ControlFailed, campaign
from tb.mutation.table import HEADER, killed, record, row, survivors, tally, total

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tb.mutation.campaign import Verdict


LEAST, LEAST_OF_A_BLOCK, DEMAND = 300, 20, 97.0
"""Mutants of a whole campaign, and of each block of it; percent that have to be killed."""

SPARE = 8
"""Percent of mutants beyond the least: a small block may not have as many as the others."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tb.mutation", description=__doc__)
    parser.add_argument("--block", nargs="+", choices=BLOCKS, default=BLOCKS, help="blocks (default: all)")
    each = max(LEAST_OF_A_BLOCK, -(-LEAST * (100 + SPARE) // (100 * len(BLOCKS))))
    parser.add_argument("--count", type=_positive, default=each, help=f"mutants of each block (default: {each})")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of mutants (default: 1)")
    parser.add_argument("--jobs", type=_positive, default=2, help="processes (default: 2)")
    parser.add_argument("--out", type=Path, default=Path("build/mutation.json"), help="file of the results")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run a campaign; 1 if too much survives without a proof, or a whole campaign has too few mutants."""
    options = arguments(argv)
    for tool in ("iverilog", "yosys"):
        if shutil.which(tool) is None:
            print(f"twinor: {tool} is not installed: run make setup", file=sys.stderr)
            return 2
    began = time.monotonic()
    print(f"seed {options.seed}, {options.count} mutants of each block", flush=True)
    print(HEADER, flush=True)
    blocks = list(dict.fromkeys(options.block))
    try:
        drafts, verdicts = campaign(blocks, count=options.count, seed=options.seed, jobs=options.jobs, report=_say)
    except ControlFailed as error:
        print(f"twinor: {error}", file=sys.stderr)
        return 2
    print("\n".join(["", *survivors(verdicts)]))
    print("\n".join(["", *(tally(draft, verdicts) for draft in drafts)]))
    result = {"seed": options.seed, "count": options.count, "mutants": [record(verdict) for verdict in verdicts]}
    result["passed_over"] = {d.block: {"refused": d.refused, "unchanged": d.unchanged} for d in drafts}
    write_text(options.out, json.dumps(result, indent=1) + "\n")
    print(f"wrote {near(options.out)} after {time.monotonic() - began:.0f} s")
    few = [draft.block for draft in drafts if len(draft.mutants) < LEAST_OF_A_BLOCK]
    whole = options.count >= LEAST_OF_A_BLOCK and set(blocks) == set(BLOCKS)
    if whole and (few or len(verdicts) < LEAST):
        said = f"fewer than {LEAST_OF_A_BLOCK} of {', '.join(few)}" if few else f"fewer than {LEAST} in all"
        print(f"twinor: {said}: more kinds of changes are wanted in tb/mutation/changes.py", file=sys.stderr)
        return 1
    print(total(len(blocks), verdicts))
    return int(killed(verdicts) < DEMAND)


def _say(verdict: Verdict) -> None:
    print(row(verdict), flush=True)


if __name__ == "__main__":
    sys.exit(main())
