# SPDX-License-Identifier: Apache-2.0
"""`python -m tb.synth`: synthesise the digital half of the macro and print what each block costs."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

from twinor.config import load
from twinor.cosim import icarus
from twinor.errors import TwinorError
from twinor.paste import near
from twinor.store import write_text

from tb.common.sources import RTL
from tb.synth.cost import cost
from tb.synth.flow import synthesise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twinor.config import Config

    from tb.synth.cost import Cost

PRESETS = ["tiny", "nor40_int4"]

ROW = "{:<16} {:<12} {:>9} {:>11} {:>12}"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tb.synth", description=__doc__)
    parser.add_argument(
        "--preset", nargs="+", default=PRESETS, help=f"names or .yaml files (default: {' '.join(PRESETS)})"
    )
    parser.add_argument("--rtl", type=Path, default=RTL, help="another folder of Verilog")
    parser.add_argument("--out", type=Path, default=Path("build/synth.json"), help="file of the results")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Synthesise each preset, print its blocks, write the cells of each type."""
    options = arguments(argv)
    configs = [load(name) for name in dict.fromkeys(options.preset)]
    began, rtl = time.monotonic(), options.rtl.resolve()
    print(ROW.format("preset", "block", "cells", "flip-flops", "transistors"), flush=True)
    reports = [_report(config, rtl) for config in configs]
    write_text(options.out, json.dumps({"rtl": icarus.digest(rtl), "presets": reports}, indent=1) + "\n")
    print(f"wrote {near(options.out)} after {time.monotonic() - began:.0f} s")
    print("; ".join(_sentence(str(report["preset"]), report["total"]) for report in reports))
    return 0


def _report(config: Config, rtl: Path) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="twinor-synth-") as folder:
        blocks = synthesise(config, Path(folder) / config.name, rtl=rtl).blocks
    costs = {name: cost(cells) for name, cells in blocks.items()}
    total = reduce(add, costs.values())
    for name, made in costs.items():
        print(_row(config.name, name, made))
    print(_row(config.name, "all", total), flush=True)
    parts = {name: asdict(made) | {"cells_by_type": blocks[name]} for name, made in costs.items()}
    return {"preset": config.name, "config": config.digest(), "blocks": parts, "total": asdict(total)}


def _row(preset: str, block: str, made: Cost) -> str:
    figures = (f"{n:,}" for n in (made.cells, made.flip_flops, made.transistors))
    return ROW.format(preset, block, *figures)


def _sentence(preset: str, total: object) -> str:
    assert isinstance(total, dict)
    cells, flip_flops, transistors = total["cells"], total["flip_flops"], total["transistors"]
    return f"{preset}: {cells:,} cells, {flip_flops:,} of them flip-flops, about {transistors:,} transistors"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TwinorError as error:
        sys.exit(f"twinor: {error}")
