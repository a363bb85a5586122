# SPDX-License-Identifier: Apache-2.0
"""Valid-ready streams: a source with idle cycles, a sink with back-pressure, and generators for both."""

from __future__ import annotations

from collections import deque
from itertools import cycle
from typing import TYPE_CHECKING, Any

from tb.common.bench import Agent, now
from tb.common.values import to_int, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import numpy as np

    from tb.common.values import Bits

__all__ = ["StreamSink", "StreamSource", "never", "pauses"]


def never() -> Iterator[bool]:
    """No pauses."""
    while True:
        yield False


def pauses(rng: np.random.Generator, share: float) -> Iterator[bool]:
    """Cycles to pause: single ones and runs of up to seven, about `share` of all."""
    while True:
        length = 1 if rng.random() < 0.5 else int(rng.integers(2, 8))
        yield from [bool(rng.random() < share)] * length


class StreamSource(Agent):
    """Offers beats in order; a beat once offered stays until it is taken; between beats fields are X or all ones.

    A beat is a dictionary of fields: `{"data_i": 5}` drives `<prefix>_data_i`; bits that must not count may be X.
    """

    def __init__(self, dut: Any, prefix: str, fields: dict[str, int], *, idle: Iterator[bool] | None = None) -> None:
        """Attach to valid, ready and one signal per field, by its width; all carry the prefix, which may be empty."""
        at = f"{prefix}_" if prefix else ""
        self._valid, self._ready = getattr(dut, f"{at}valid_i"), getattr(dut, f"{at}ready_o")
        self._fields = {name: getattr(dut, f"{at}{name}") for name in fields}
        self._widths = fields
        # X is what no data path hides, ones are what an `if` may wrongly heed: gaps take turns.
        self._junk = cycle([unknown, lambda width: (1 << width) - 1])
        self.idle = idle or never()
        self.sent = 0
        self._beats: deque[Mapping[str, Bits]] = deque()
        self._offered = False
        self._dirty = True
        self._valid.value = 0

    def send(self, beats: Iterable[Mapping[str, Bits]]) -> None:
        """Queue beats."""
        self._beats.extend(beats)

    @property
    def empty(self) -> bool:
        """True if every beat was taken."""
        return not self._beats

    def reset(self) -> None:
        """Drop all beats and offer nothing."""
        self._beats.clear()
        self._offered, self._dirty = False, True
        self._valid.value = 0

    def drive(self) -> None:
        """Offer the next beat, unless the idle generator says no."""
        if self._offered:
            return
        if self._beats and not next(self.idle):
            self._valid.value, self._offered, self._dirty = 1, True, True
            for name, value in self._beats[0].items():
                self._fields[name].value = value
        elif self._dirty:
            self._valid.value, self._dirty = 0, False
            junk: Callable[[int], Bits] = next(self._junk)
            for name, width in self._widths.items():
                self._fields[name].value = junk(width)

    def sample(self) -> None:
        """See whether the beat is taken."""
        if self._offered and to_int(self._ready):
            self._beats.popleft()
            self._offered = False
            self.sent += 1


class StreamSink(Agent):
    """Takes beats, and fails if an offered beat is withdrawn or changed before it is taken."""

    def __init__(
        self,
        dut: Any,
        prefix: str,
        fields: Iterable[str],
        took: Callable[[dict[str, int]], None],
        *,
        backpressure: Iterator[bool] | None = None,
    ) -> None:
        """Attach to `<prefix>_valid_o`, `<prefix>_ready_i` and the fields; `took` gets each beat."""
        self._name = prefix
        self._valid, self._ready = getattr(dut, f"{prefix}_valid_o"), getattr(dut, f"{prefix}_ready_i")
        self._fields = {name: getattr(dut, f"{prefix}_{name}") for name in fields}
        self._took = took
        self.backpressure = backpressure or never()
        self._taking = False
        self._waiting: dict[str, int] | None = None
        self._ready.value = 0

    def reset(self) -> None:
        """Forget an offered beat and take nothing."""
        self._waiting = None
        self._taking = False
        self._ready.value = 0

    def drive(self) -> None:
        """Accept, unless the back-pressure generator says no."""
        self._taking = not next(self.backpressure)
        self._ready.value = int(self._taking)

    def sample(self) -> None:
        """See whether a beat is offered."""
        if not to_int(self._valid):
            assert self._waiting is None, f"{self._name}: beat {self._waiting} withdrawn at {now()}"
            return
        beat = {name: to_int(signal) for name, signal in self._fields.items()}
        if self._waiting is not None:
            changed = f"{self._name}: waiting beat {self._waiting} is now {beat} at {now()}"
            assert beat == self._waiting, changed
        self._waiting = None if self._taking else beat
        if self._taking:
            self._took(beat)
