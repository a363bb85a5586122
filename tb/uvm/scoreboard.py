# SPDX-License-Identifier: Apache-2.0
"""The scoreboard: golden's prediction of the observed inputs against the observed seams, in order, bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyuvm import uvm_analysis_port, uvm_scoreboard, uvm_subscriber
from twinor.golden.macro_ctrl import schedule
from twinor.rounds import converts
from twinor.trace import SEAMS

from tb.common.beats import by_position
from tb.common.checker import Checker
from tb.common.values import UnknownValue, signed
from tb.uvm.predictor import Predicted, Predictor

if TYPE_CHECKING:
    from collections.abc import Callable

    from twinor.config import Config
    from twinor.die import Die
    from twinor.rounds import Chain

    from tb.uvm.items import Beat, Conversion, Held

__all__ = ["Scoreboard", "imp"]


def imp(name: str, parent: Any, write: Callable[[Any], None]) -> Any:
    """An analysis export that calls a function."""
    return uvm_subscriber.uvm_AnalysisImp(name, parent, write)


class Scoreboard(uvm_scoreboard):
    """Compares every seam; a mismatch raises at the moment it is seen, which ends the test as failed.

    Attributes:
        compared: values compared by seam, over all tests of the run.
    """

    config: Config
    die: Die
    compared: dict[str, int]

    def build_phase(self) -> None:
        """Exports for every monitor, and the prediction for whoever wants it."""
        self.predicted = uvm_analysis_port("predicted", self)
        handlers: dict[str, Callable[[Any], None]] = {
            "words": self.word,
            "activations": self.beat,
            "psums": self.psum,
            "residuals": self.residual,
            "held": self.held,
            "converted": self.converted,
            "outputs": self.output,
        }
        self.exports = {name: imp(name, self, write) for name, write in handlers.items()}
        self.predictor = Predictor(self.config, self.die)
        self.reset()

    def reset(self) -> None:
        """Whatever was under way is void."""
        self.predictor.reset()
        self.checks: dict[str, Checker[Any]] = {seam: Checker(seam) for seam in SEAMS if seam != "cycles"}
        self.wanted = dict.fromkeys(SEAMS, 0)
        self.seen: dict[str, list[int]] = {"beat": [], "hold": [], "code": [], "out": []}

    # What the monitors saw //

    def word(self, beat: Beat) -> None:
        """A round word; what the macro must not look at is X there and anything here."""
        self.predictor.word(int(beat.bits["addr_i"], 2), int(beat.bits["data_i"].replace("X", "0"), 2))

    def beat(self, beat: Beat) -> None:
        """A beat of activations."""
        self.seen["beat"].append(beat.cycle)
        text, bits = beat.bits["data_i"], self.config.input_bits
        lanes = [text[len(text) - (n + 1) * bits : len(text) - n * bits] for n in range(self.config.in_lanes)]
        self._expect(self.predictor.beat([int(lane, 2) if "X" not in lane else -1 for lane in lanes]))

    def psum(self, beat: Beat) -> None:
        """A partial sum."""
        self._expect(self.predictor.psum(signed(int(beat.bits["data_i"], 2), self.config.psum_bits)))

    def residual(self, beat: Beat) -> None:
        """A residual code."""
        self._expect(self.predictor.residual(signed(int(beat.bits["data_i"], 2), self.config.input_bits + 1)))

    def held(self, held: Held) -> None:
        """Word lines at a hold, or as charge is shared."""
        self.seen["hold"].append(held.cycle)
        self._got("word_lines", held.word_lines, held.cycle)

    def converted(self, conversion: Conversion) -> None:
        """The columns of one phase."""
        self.seen["code"].append(conversion.cycle)
        self._got("trials", conversion.trials, conversion.cycle)
        self._got("codes", conversion.codes, conversion.cycle)
        self._got("partial_sums", conversion.partial_sums, conversion.cycle)

    def output(self, beat: Beat) -> None:
        """An output; X is a failure."""
        for name, bits in beat.bits.items():
            if not set(bits) <= {"0", "1"}:
                raise UnknownValue(f"out_{name} = {bits} in cycle {beat.cycle}: expected 0 and 1 only")
        self.seen["out"].append(beat.cycle)
        self._got("outputs", [signed(int(beat.bits["data_o"], 2), self.config.acc_bits)], beat.cycle)
        self._got("last_flags", [int(beat.bits["last_o"], 2)], beat.cycle)

    def _got(self, seam: str, values: list[Any], cycle: int) -> None:
        self.checks[seam].got(values, time=f"cycle {cycle}")

    # What golden says //

    def _expect(self, predictions: list[Predicted]) -> None:
        for prediction in predictions:
            for trace in prediction.traces:
                self._expect_round(trace)
            self.predicted.write(prediction)

    def _expect_round(self, trace: Any) -> None:
        seams = ("trials", "codes", "partial_sums")
        for p, where in enumerate(trace.passes):
            self._want("word_lines", trace.word_lines[0, p])
            if not converts(self.config, trace.rnd, where):
                continue
            positions = [by_position(self.config, trace.rnd, getattr(trace, seam)[0, p]) for seam in seams]
            for position in zip(*positions, strict=True):
                for seam, values in zip(seams, position, strict=True):
                    self._want(seam, values)
        for value, flag in zip(trace.outputs[0], trace.last_flags[0], strict=True):
            self._want("outputs", value.reshape(1))
            self._want("last_flags", flag.reshape(1))

    def _want(self, seam: str, values: Any) -> None:
        self.checks[seam].expect(values.tolist())
        self.wanted[seam] += values.size

    # At the end of a burst //

    @property
    def outstanding(self) -> int:
        """Items that golden expects and nobody has seen."""
        return sum(check.outstanding for check in self.checks.values())

    def finish(self) -> None:
        """Nothing may be left on either side; only now does what golden wanted count as compared."""
        for seam, check in self.checks.items():
            check.finish()
            self.compared[seam] += self.wanted[seam]
            self.wanted[seam] = 0

    def check_cycles(self, chain: Chain, vectors: int) -> None:
        """Compare the cycle of every hold, code and output of vectors that ran back to back since `reset`.

        Raises:
            AssertionError: names the event, its position and both cycles.
        """
        first, rounds = self.seen["beat"][0], schedule(self.config, chain, vectors=vectors)
        for event in ("hold", "code", "out"):
            every = [int(c) for v in range(vectors) for r in rounds for c in getattr(r, event)[v].reshape(-1)]
            wanted = [c for c in every if c]  # a pass that is only shared has no code
            got = [cycle - first for cycle in self.seen[event]]
            assert len(got) == len(wanted), f"cycles: {len(got)} {event} events, golden has {len(wanted)}"
            for n, pair in enumerate(zip(wanted, got, strict=True)):
                assert pair[0] == pair[1], f"cycles: {event} {n}: expected {pair[0]}, got {pair[1]}"
            self.compared["cycles"] += len(wanted)
