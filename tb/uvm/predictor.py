# SPDX-License-Identifier: Apache-2.0
"""What golden says to the beats that the monitors saw: words become a chain, beats become vectors, vectors traces.

It knows nothing of the stimulus, so a driver that sends the wrong thing still gets the right prediction.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from twinor import trim
from twinor.golden import cim_macro
from twinor.rounds import TABLE_ADDR, Start, unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from twinor.config import Config
    from twinor.die import Die
    from twinor.rounds import Chain
    from twinor.trace import RoundTrace

__all__ = ["Predicted", "Predictor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """One vector of a chain, and golden's trace of it.

    Attributes:
        chain: what the round memory held.
        again: no word came since the vector before.
        inputs: activations of each round, [1, row_count].
        psums: partial sums that stream in, [1, columns].
        residuals: residual codes that stream in, [1, columns].
        traces: every seam of every round, vector 0.
    """

    chain: Chain
    again: bool
    inputs: Sequence[NDArray[np.int64]]
    psums: NDArray[np.int64]
    residuals: NDArray[np.int64]
    traces: Sequence[RoundTrace]


class Predictor:
    """Follows the streams of one macro.

    Attributes:
        words_taken: a word was taken since the last reset.

    Example:
        >>> from twinor.config import load
        >>> from twinor.die import ideal_die
        >>> from twinor.rounds import Round, pack
        >>> cfg, none = load("tiny"), np.zeros(4, dtype=np.int32)
        >>> rnd = Round(row_base=0, row_count=2, col_base=0, col_count=4, steps=((1,), (1,)))
        >>> predictor = Predictor(cfg, ideal_die(cfg, np.ones((1, 8, 8), dtype=np.uint8)))
        >>> for address, data in pack(cfg, cim_macro.Chain(macro=0, rounds=(rnd,), mult=none, add=none)).tolist():
        ...     predictor.word(address, data)
        >>> [p.traces[0].outputs.tolist() for p in predictor.beat([3, 1])]
        [[[0, 0, 0, 0]]]
    """

    def __init__(self, config: Config, die: Die) -> None:
        """Nothing is in the memories."""
        self.config, self.die = config, die
        self._memory: dict[int, int] = {}
        self.reset()

    def reset(self) -> None:
        """Rounds and SAR weights are cleared and every stream begins anew; column table and correction keep theirs."""
        cleared = (range(TABLE_ADDR), range(trim.WEIGHT_ADDR, trim.CORRECT_ADDR))
        self._memory = {a: d for a, d in self._memory.items() if not any(a in some for some in cleared)}
        self.words_taken = False
        self._chain: Chain | None = None
        self._again = False
        self._vector: list[NDArray[np.int64]] = []
        self._round: list[int] = []
        self._complete: deque[tuple[Chain, Die, bool, list[NDArray[np.int64]]]] = deque()
        self._psums: deque[int] = deque()
        self._residuals: deque[int] = deque()

    def word(self, address: int, data: int) -> None:
        """A word was taken; words move between chains only."""
        assert not self._vector and not self._round, f"word {address:#06x} was taken within a chain"
        self._memory[address], self.words_taken = data, True
        self._chain = None

    def beat(self, lanes: Sequence[int]) -> list[Predicted]:
        """A beat of activations was taken."""
        if self._chain is None:
            self._chain, self._again = self._decoded(), False
        self._round += lanes
        rnd = self._chain.rounds[len(self._vector)]
        if len(self._round) >= rnd.row_count:
            x = np.array([self._round[: rnd.row_count]], dtype=np.int64)
            half = 1 << (self.config.input_bits - 1)
            self._vector.append((x ^ half) - half if rnd.signed else x)
            self._round = []
        if len(self._vector) == len(self._chain.rounds):
            trimmed = trim.trimmed(self.config, self.die, self._memory)
            self._complete.append((self._chain, trimmed, self._again, self._vector))
            self._vector, self._again = [], True
        return self._predict()

    def _decoded(self) -> Chain:
        """The chain in the memories; 0 stands for a column that was never written, which no chain may read."""
        table = dict.fromkeys(range(TABLE_ADDR, TABLE_ADDR + 2 * self.config.out_cols), 0)
        words = sorted((table | self._memory).items())
        return unpack(self.config, np.array(words, dtype=np.uint32))

    def psum(self, value: int) -> list[Predicted]:
        """A partial sum was taken."""
        self._psums.append(value)
        return self._predict()

    def residual(self, value: int) -> list[Predicted]:
        """A residual code was taken."""
        self._residuals.append(value)
        return self._predict()

    def _predict(self) -> list[Predicted]:
        """Vectors whose beats, partial sums and residual codes are all there, in order."""
        done: list[Predicted] = []
        while self._complete:
            chain, die, again, inputs = self._complete[0]
            wanted = sum(rnd.col_count for rnd in chain.rounds if rnd.start is Start.PSUM)
            added = sum(rnd.col_count for rnd in chain.rounds if rnd.residual)
            if len(self._psums) < wanted or len(self._residuals) < added:
                break
            self._complete.popleft()
            psums = np.array([[self._psums.popleft() for _ in range(wanted)]], dtype=np.int64)
            codes = np.array([[self._residuals.popleft() for _ in range(added)]], dtype=np.int64)
            streams = inputs, psums if wanted else None, codes if added else None
            traces = cim_macro.run_chain(self.config, die, chain, *streams)
            done.append(Predicted(chain=chain, again=again, inputs=inputs, psums=psums, residuals=codes, traces=traces))
        return done
