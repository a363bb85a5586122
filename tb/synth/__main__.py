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
from tb.synth.flow import BUSES, synthesise, synthesise_buses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twinor.config import Config

    from tb.synth.cost import Cost

    Blocks = dict[str, dict[str, int]]
    """Cells of each type, by block."""

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
    """Synthesise each preset, print its blocks and the buses around them, write the cells of each type."""
    options = arguments(argv)
    configs = [load(name) for name in dict.fromkeys(options.preset)]
    began, rtl = time.monotonic(), options.rtl.resolve()
    print(ROW.format("preset", "block", "cells", "flip-flops", "transistors"), flush=True)
    found = [(config, _blocks(config, rtl), _buses(config, rtl)) for config in configs]
    presets = [_report(config, blocks, buses) for config, blocks, buses in found]
    write_text(options.out, json.dumps({"rtl": icarus.digest(rtl), "presets": presets}, indent=1) + "\n")
    print(f"wrote {near(options.out)} after {time.monotonic() - began:.0f} s")
    print("; ".join(_sentence(config, _total(blocks)) for config, blocks, _ in found))
    return 0


def _blocks(config: Config, rtl: Path) -> Blocks:
    """Synthesise one preset and print its rows."""
    with tempfile.TemporaryDirectory(prefix="twinor-synth-") as folder:
        blocks = synthesise(config, Path(folder) / config.name, rtl=rtl).blocks
    _rows(config, [(name, cost(cells)) for name, cells in blocks.items()] + [("all", _total(blocks))])
    return blocks


def _buses(config: Config, rtl: Path) -> Blocks:
    """Synthesise the buses around a preset and print their rows."""
    with tempfile.TemporaryDirectory(prefix="twinor-synth-") as folder:
        buses = synthesise_buses(config, Path(folder) / BUSES, rtl=rtl)
    _rows(config, [(name, cost(cells)) for name, cells in buses.items()])
    return buses


def _rows(config: Config, made: list[tuple[str, Cost]]) -> None:
    for name, one in made:
        figures = (f"{n:,}" for n in (one.cells, one.flip_flops, one.transistors))
        print(ROW.format(config.name, name, *figures), flush=True)


def _total(blocks: Blocks) -> Cost:
    return reduce(add, map(cost, blocks.values()))


def _report(config: Config, blocks: Blocks, buses: Blocks) -> dict[str, object]:
    parts, around = (
        {name: asdict(cost(cells)) | {"cells_by_type": cells} for name, cells in some.items()}
        for some in (blocks, buses)
    )
    total = asdict(_total(blocks))
    return {"preset": config.name, "config": config.digest(), "blocks": parts, "total": total, "buses": around}


def _sentence(config: Config, made: Cost) -> str:
    what = f"{made.cells:,} cells, {made.flip_flops:,} of them flip-flops, about {made.transistors:,} transistors"
    return f"{config.name}: {what}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TwinorError as error:
        sys.exit(f"twinor: {error}")
