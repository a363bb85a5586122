# SPDX-License-Identifier: Apache-2.0
"""Functional coverage: what golden's predictions and the monitors say was exercised, in cocotb-coverage's database."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from cocotb_coverage.coverage import CoverPoint, coverage_db
from pyuvm import uvm_component
from twinor.config import ADD_BITS, MULT_BITS, SHIFT_MAX
from twinor.golden import adc_frontend, bitline, flash_array, sar_adc
from twinor.rounds import End, converts

from tb.uvm.goals import CLASSES, STREAMS, goals
from tb.uvm.scoreboard import imp

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from twinor.config import Config
    from twinor.die import Die
    from twinor.rounds import Round
    from twinor.trace import RoundTrace

    from tb.uvm.predictor import Predicted

__all__ = ["Coverage", "hits"]

GROUP = "cim_macro"


def hits() -> dict[str, dict[str, int]]:
    """Hits of every bin of every goal, over all tests of the run."""
    points = {name.removeprefix(f"{GROUP}."): point for name, point in coverage_db.items() if "." in name}
    return {name: dict(point.detailed_coverage) for name, point in points.items()}


class Coverage(uvm_component):
    """Samples every prediction and every cycle of the streams."""

    config: Config
    die: Die

    def build_phase(self) -> None:
        """One cover point a goal; those of an earlier test of the run go on counting."""
        self.bins = goals(self.config)
        self.points = {g: CoverPoint(f"{GROUP}.{g}", bins=list(bins))(_sampled) for g, bins in self.bins.items()}
        self.predicted = imp("predicted", self, self.vector)
        self.went = {s: imp(s.replace(" ", "_"), self, partial(self._went, s)) for s in STREAMS}

    def hit(self, goal: str, *bins: str) -> None:
        """Count bins; one that the goal does not have is a mistake here."""
        for name in bins:
            assert name in self.bins[goal], f"goal {goal} has no bin {name!r}"
            self.points[goal](name)

    def _went(self, stream: str, way: str) -> None:
        self.hit("traffic", f"{stream} {way}")

    @property
    def open(self) -> dict[str, list[str]]:
        """Bins without a hit, by goal."""
        missed = {goal: [name for name, count in found.items() if not count] for goal, found in hits().items()}
        return {goal: names for goal, names in missed.items() if names}

    # One vector //

    def vector(self, seen: Predicted) -> None:
        """A vector of a chain."""
        cfg, rounds = self.config, seen.chain.rounds
        self.hit("chain_length", f"{len(rounds)} rounds")
        self.hit("chain_again", "no new words" if seen.again else "new words")
        self.hit("partial_sum_in", *_classes(seen.psums, cfg.psum_bits))
        self.hit("residual_in", *_classes(seen.residuals, cfg.input_bits + 1))
        for x, trace in zip(seen.inputs, seen.traces, strict=True):
            rnd = trace.rnd
            self.hit("start_and_end", f"{rnd.start.name} to {rnd.end.name}")
            self.hit("activations", _activations(x, cfg))
            self.hit("signs", *_signs(rnd, x, cfg))
            self.hit("bias_rows", "some" if rnd.bias_rows else "none")
            if rnd.residual:
                self.hit("residual_multiplier", *_classes(seen.chain.residual_table[: rnd.col_count], MULT_BITS))
            self._region(rnd)
            self._conversions(trace)
            sums = trace.partial_sums[0, self._converted(trace)].astype(np.int64)
            before = sums[:-1], sums[1:]
            self.hit("sign_crossing", *(f"partial sum {way}" for way in _crossings(*before)))
            if rnd.end is End.REQUANT:
                self._requantization(seen, trace)

    def _region(self, rnd: Round) -> None:
        """Word lines, row groups and columns."""
        cfg = self.config
        rows = {1: "one", cfg.rows: "all"}.get(rnd.driven_rows, "some")
        higher = ["not from word line 0"] * (rnd.row_base > 0)
        self.hit("word_lines", rows, *higher, *["up to the last"] * (rnd.row_base + rnd.driven_rows == cfg.rows))
        whole, part = divmod(rnd.driven_rows, cfg.active_rows)
        groups = "part of one group" if not whole else "one whole group" if (whole, part) == (1, 0) else "whole groups"
        self.hit("row_groups", groups + " and a part" * bool(whole and part))
        phases, lanes = divmod(rnd.col_count, cfg.n_lanes)
        size = "whole phases" if not lanes else "whole phases and a part" if phases else "less than one phase"
        higher = ["not from column 0"] * (rnd.col_base > 0) + ["up to the last"] * (
            rnd.col_base + rnd.col_count == cfg.out_cols
        )
        self.hit("columns", size, *["one"] * (rnd.col_count == 1), *["all"] * (rnd.col_count == cfg.out_cols), *higher)
        self.hit("last_phase", f"{lanes or cfg.n_lanes} of {cfg.n_lanes} columns")
        first = rnd.col_base // cfg.n_lanes
        self.hit("multiplexer", *(f"position {first + m}" for m in range(phases + bool(lanes))))

    def _conversions(self, trace: RoundTrace) -> None:
        """Codes, steps, and what lies outside the ADC's range."""
        cfg, rnd = self.config, trace.rnd
        converted = self._converted(trace)
        self.hit("adc_code", *(f"code {code}" for code in np.unique(trace.codes[:, converted]).tolist()))
        for n in converted:
            p = trace.passes[n]
            step = rnd.steps[p.x_slice][p.w_slice]
            place = f"input slice {p.x_slice}, weight slice {p.w_slice}"
            self.hit("passes", f"plan of {len(rnd.steps)}, {place}")
            self.hit("adc_step", f"step {step} at {place}")
            codes = trace.codes[0, n, : rnd.col_count].astype(np.int64)
            ways = _crossings(codes[: -cfg.n_lanes], codes[cfg.n_lanes :])  # from one phase of an ADC to its next
            self.hit("sign_crossing", *(f"code {way}" for way in ways))
            q = self._column_quantities(trace, n)
            below, above = sar_adc.outside(cfg, q, step=step)
            outside = ["below"] * bool(below.any() and cfg.bipolar) + ["above"] * bool(above.any())
            inside = ["in range"] * bool((~below & ~above).any())
            self.hit("adc_clipping", *inside, *(f"{end} at {place}" for end in outside))

    def _converted(self, trace: RoundTrace) -> list[int]:
        """Passes that the ADCs convert."""
        return [n for n, p in enumerate(trace.passes) if converts(self.config, trace.rnd, p)]

    def _column_quantities(self, trace: RoundTrace, n: int) -> NDArray[np.int64]:
        """What the ADCs saw in a pass: its own column quantities, or those of all slices that were shared."""
        p = trace.passes[n]
        held = np.zeros((1, self.config.cols), dtype=np.int64)
        for k in range(n - p.x_slice, n + 1) if self.config.analog_slices else (n,):
            lines = trace.word_lines[:, k].astype(np.uint8)
            current = flash_array.currents(self.die.strength[0], self.die.drive[0], lines)
            q = bitline.column_quantity(self.config, current, w_slice=p.w_slice)
            held = adc_frontend.share(self.config, held, q, x_slice=trace.passes[k].x_slice)
        seen: NDArray[np.int64] = held[0, adc_frontend.converted_columns(self.config, trace.rnd)]
        return seen

    def _requantization(self, seen: Predicted, trace: RoundTrace) -> None:
        rnd, columns = trace.rnd, slice(trace.rnd.col_count)
        mult, add = seen.chain.mult[columns].astype(np.int64), seen.chain.add[columns].astype(np.int64)
        self.hit("multiplier", *_classes(mult, MULT_BITS))
        self.hit("addend", *_classes(add, ADD_BITS))
        self.hit("shift", str(rnd.shift) if rnd.shift in (1, SHIFT_MAX) else f"2 to {SHIFT_MAX - 1}")
        y = (trace.partial_sums[0, -1].astype(np.int64) * mult + add) >> rnd.shift
        where = {
            "saturates below": y < rnd.lo,
            "at lo": y == rnd.lo,
            "between": (y > rnd.lo) & (y < rnd.hi),
            "at hi": y == rnd.hi,
            "saturates above": y > rnd.hi,
        }
        self.hit("requantization", *(name for name, found in where.items() if found.any()))


def _sampled(_: str) -> None:
    """What a cover point watches."""


def _classes(values: NDArray[np.integer], bits: int) -> list[str]:
    limit = 1 << (bits - 1)
    found = (values == -limit, values < 0, values == 0, values > 0, values == limit - 1)
    return [name for name, is_there in zip(CLASSES, found, strict=True) if is_there.any()]


def _signs(rnd: Round, x: NDArray[np.integer], config: Config) -> list[str]:
    if not rnd.signed:
        return ["unsigned"]
    found = {"positive": x > 0, "negative": x < 0, "lowest": x == -(1 << (config.input_bits - 1))}
    return [f"signed, {name}" for name, where in found.items() if where.any()]


def _activations(x: NDArray[np.integer], config: Config) -> str:
    if not x.any():
        return "all zero"
    if (x == (1 << config.input_bits) - 1).all():
        return "all at the top"
    return "one word line" if np.count_nonzero(x) == 1 else "mixed"


def _crossings(before: NDArray[np.integer], after: NDArray[np.integer]) -> list[str]:
    ways = {"- to +": (before < 0) & (after > 0), "+ to -": (before > 0) & (after < 0)}
    return [way for way, found in ways.items() if found.any()]
