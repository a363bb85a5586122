# SPDX-License-Identifier: Apache-2.0
"""`python -m tb.formal`: prove the properties of tb/formal/*.v on every configuration, a row for each proof."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from twinor.paste import near
from twinor.store import write_text

from tb.common.sources import RTL
from tb.formal.engine import FOLDER, Verdict, attempt, wires
from tb.formal.proofs import PROOFS, Proof

if TYPE_CHECKING:
    from collections.abc import Sequence

LAST = 8
"""Cycles of a trace that are printed, the last ones."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    names = [proof.name for proof in PROOFS]
    parser = argparse.ArgumentParser(prog="python -m tb.formal", description=__doc__)
    parser.add_argument("--proof", nargs="+", choices=names, default=names, help="proofs (default: all)")
    parser.add_argument("--out", type=Path, default=Path("build/formal.json"), help="file of the results")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Try the proofs; 1 if anything is not proven."""
    options = arguments(argv)
    if shutil.which("yosys") is None:
        print("twinor: yosys is not installed: run make setup", file=sys.stderr)
        return 2
    results: dict[str, list[Verdict]] = {}
    print(f"{'proof':<20}  properties  configurations  depth  seconds  outcome", flush=True)
    for proof in PROOFS:
        if proof.name in options.proof:
            results[proof.name] = [attempt(proof, config, RTL) for config in proof.configs]
            print(row(proof, results[proof.name]), flush=True)
    bad = [(name, v) for name, verdicts in results.items() for v in verdicts if v.outcome != "proved"]
    for name, verdict in bad:
        print("\n".join(["", *story(name, verdict)]))
    record = {name: [asdict(verdict) for verdict in verdicts] for name, verdicts in results.items()}
    write_text(options.out, json.dumps(record, indent=1) + "\n")
    print(f"wrote {near(options.out)}")
    print(figure(results))
    return int(bool(bad))


def properties(proof: Proof) -> int:
    """How many properties a proof has, with the pairs that no path may join."""
    return len(wires(FOLDER / proof.file)[0]) + len(proof.apart)


def row(proof: Proof, verdicts: list[Verdict]) -> str:
    """One proof: the worst outcome counts.

    Example:
        >>> row(PROOFS[0], [Verdict("tiny", "proved", 1, 0.2), Verdict("tiny_twos", "refuted", 3, 0.4)])
        'sar_adc                        9               2      3        1  refuted (tiny_twos)'
    """
    bad = [v for v in verdicts if v.outcome != "proved"]
    outcome = f"{bad[0].outcome} ({', '.join(v.config for v in bad)})" if bad else "proved"
    depth, seconds = max(v.depth for v in verdicts), sum(v.seconds for v in verdicts)
    return f"{proof.name:<20}  {properties(proof):>10}  {len(verdicts):>14}  {depth:>5}  {seconds:>7.0f}  {outcome}"


def story(name: str, verdict: Verdict) -> list[str]:
    """What refutes a proof: broken properties, and the last cycles of the key signals."""
    how = {
        "refuted": "a run from the reset breaks",
        "not kept": "a state that all properties allow is followed by one that breaks",
        "failed": "Yosys gave no answer:",
    }[verdict.outcome]
    lines = [f"{name}, {verdict.config}: {how} {', '.join(verdict.broken)}".rstrip(), *verdict.said.splitlines()]
    trace = {signal: values for signal, values in (verdict.trace or {}).items() if signal[:2] != "p_"}
    for signal, values in trace.items():
        lines.append(f"  {signal:<16}" + "".join(f" {value:>8}" for value in values[-LAST:]))
    return lines


def figure(results: dict[str, list[Verdict]]) -> str:
    """The last line.

    Example:
        >>> figure({"sar_adc": [Verdict("tiny", "proved", 1)]})
        '1 proofs of 9 properties on 1 configurations by k-induction: 1 of 1 proved'
    """
    chosen = [proof for proof in PROOFS if proof.name in results]
    verdicts = [v for found in results.values() for v in found]
    good = sum(v.outcome == "proved" for v in verdicts)
    return (
        f"{len(chosen)} proofs of {sum(map(properties, chosen))} properties on "
        f"{len({v.config for v in verdicts})} configurations by k-induction: {good} of {len(verdicts)} proved"
    )


if __name__ == "__main__":
    sys.exit(main())
