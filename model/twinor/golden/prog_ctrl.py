# SPDX-License-Identifier: Apache-2.0
"""Program-verify controller: brings cells to target levels by pulses, with a verify read after each.

    v      = code - offset                         offset: the code with all word lines off
    erase  until v >= erase_limit                  pulses on the whole block, one group verified after the other
    coarse until v <= target + margin              pulses on those lanes of a group that are above it
    fine   until v <= target + window              the same, with smaller pulses

A group is one word line, weight slice, line of a pair and multiplexer position: `n_adcs` cells that are read at once.
Word lines do not meet each other while they are programmed, so all of them advance together here.
Verilog twin: rtl/prog_ctrl.v
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from twinor.golden import sar_adc
from twinor.golden.flash_array import COARSE, ERASE, FINE, LEVELS, THRESHOLD_MAX, Cells, moved

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinor.config import Config

__all__ = ["ERASE_FAILED", "GOOD", "OVER", "UNDER", "Pass", "Programmed", "Ramp", "Settings", "groups", "program"]

GOOD, UNDER, OVER, ERASE_FAILED = range(4)
"""Status of a cell."""

ALL = slice(None)

Entry = TypeVar("Entry", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """Pulses of one kind: level of the first, step to the next, most of them, clock cycles of one."""

    start: int
    step: int
    pulses: int
    cycles: int = 1

    def level(self, count: int) -> int:
        """Level of the pulse after `count` others.

        Example:
            >>> Ramp(start=250, step=4, pulses=9).level(1), Ramp(start=250, step=4, pulses=9).level(2)
            (254, 255)
        """
        return min(self.start + count * self.step, LEVELS - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operation is set to; codes are those of verify reads, less the offset.

    Attributes:
        step: sixteenths of an array unit per code, 1, 2, 3, 4, 6, 8, 12, ...
        erase_limit: an erased cell reads at least this.
        targets: code of each level.
        margin: end of the coarse ramp above the target.
        window: half of the acceptance window.
        erase, coarse, fine: ramps.
        retries: how often a pass with over-programmed cells is erased and programmed again.
    """

    step: int
    erase_limit: int
    targets: tuple[int, ...]
    margin: int
    window: int
    erase: Ramp
    coarse: Ramp
    fine: Ramp
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass over all groups ended with.

    Attributes:
        status: uint8[rows, groups, n_adcs], 0 good, 1 under-programmed, 2 over-programmed, 3 erase failed.
        code: int16[rows, groups, n_adcs], the last verify read.
        coarse: uint8[rows, groups], coarse pulses of each group.
        fine: uint8[rows, groups], fine pulses.
    """

    status: NDArray[np.uint8]
    code: NDArray[np.int16]
    coarse: NDArray[np.uint8]
    fine: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Programmed:
    """What an operation did.

    Attributes:
        cells: the cells afterwards.
        offset: int16[n_adcs], codes with all word lines off.
        passes: one per pass; the last one is what the cells are; empty after an erase alone.
        erase_pulses: pulses on the block.
        unerased: cells that were not erased when the erase pulses were spent.
        reads: verify reads, the trim's among them.
        cycles: clock cycles in which the controller is busy, if no stream ever waits.
    """

    cells: Cells
    offset: NDArray[np.int16]
    passes: tuple[Pass, ...]
    erase_pulses: int
    unerased: int
    reads: int
    cycles: int

    @property
    def coarse_pulses(self) -> int:
        """Coarse pulses of all groups and passes."""
        return sum(int(p.coarse.sum(dtype=np.int64)) for p in self.passes)

    @property
    def fine_pulses(self) -> int:
        """Fine pulses of all groups and passes."""
        return sum(int(p.fine.sum(dtype=np.int64)) for p in self.passes)


def groups(config: Config, table: NDArray[Entry]) -> NDArray[Entry]:
    """A table of cells in the order of the controller: [rows, bit_lines] becomes [rows, groups, n_adcs].

    Example:
        >>> from twinor.config import load
        >>> groups(load("tiny"), np.arange(8)[None])[0].tolist()
        [[0, 2], [4, 6], [1, 3], [5, 7]]
    """
    shape = (len(table), config.cols_per_adc, config.n_adcs, config.w_slices, config.lines_per_cell)
    return table.reshape(shape).transpose(0, 3, 4, 1, 2).reshape(len(table), -1, config.n_adcs)


def program(
    config: Config,
    cells: Cells,
    drive: NDArray[np.int32],
    thresholds: NDArray[np.int32],
    levels: NDArray[np.uint8],
    settings: Settings,
    *,
    rows: range | None = None,
    erase: bool = True,
    write: bool = True,
) -> Programmed:
    """Erase the block, program rows of it, or both.

    Args:
        config: the macro.
        cells: its cells before.
        drive: int32[rows, 2**dac_bits] of the die.
        thresholds: int32[n_adcs, 2**adc_bits] of the die.
        levels: target levels, uint8[rows, bit_lines]; those outside `rows` do not count.
        settings: ramps, window and policy.
        rows: word lines that are verified and programmed, all if None; an erase pulse reaches every row.
        erase: erase first.
        write: program.

    Example:
        >>> from twinor.config import load
        >>> from twinor.cells import blank, settings_of
        >>> from twinor.die import ideal_die
        >>> cfg, cells = load("nor40_int4"), blank(load("nor40_int4"), macro=0, seed=1)
        >>> levels = np.full((cfg.rows, cfg.bit_lines), 5, dtype=np.uint8)
        >>> die = ideal_die(cfg, levels[None])
        >>> done = program(cfg, cells, die.drive[0], die.threshold[0], levels, settings_of(cfg), rows=range(1))
        >>> int(done.passes[-1].status.max()), int(abs(done.cells.strength[0] - 5 * 64).max()) < 16
        (0, True)
    """
    run = _Run(config, cells, drive, thresholds, settings, rows or range(config.rows))
    passes: list[Pass] = []
    if erase:
        run.erase()
    if write:
        targets = np.array(settings.targets, dtype=np.int64)[groups(config, levels[run.rows.start : run.rows.stop])]
        passes.append(run.program(targets))
        while len(passes) <= settings.retries and np.any(passes[-1].status == OVER):
            run.erase()
            passes.append(run.program(targets))
    return Programmed(
        cells=run.cells(),
        offset=run.offset.astype(np.int16),
        passes=tuple(passes),
        erase_pulses=run.pulses[ERASE],
        unerased=run.unerased,
        reads=run.reads,
        cycles=run.cycles(len(passes)),
    )


class _Run:
    """One operation on the thresholds of the cells, in the order of the controller: int32[rows, groups, n_adcs]."""

    def __init__(
        self,
        config: Config,
        cells: Cells,
        drive: NDArray[np.int32],
        thresholds: NDArray[np.int32],
        settings: Settings,
        rows: range,
    ) -> None:
        self.config, self.settings, self.rows, self.before = config, settings, rows, cells
        self.table, self.thresholds = cells.tables, thresholds
        self.state, self.speed = groups(config, cells.threshold).copy(), groups(config, cells.speed)
        self.drive = drive[rows.start : rows.stop, -1].astype(np.int64)
        self.pulses, self.unerased, self.reads = [0, 0, 0], 0, 1
        self.offset, _ = sar_adc.convert(config, np.zeros(config.n_adcs, np.int64), thresholds, step=settings.step)

    def cells(self) -> Cells:
        """The cells as they are now."""
        order = groups(self.config, np.arange(self.config.bit_lines)[None]).ravel()
        threshold = np.empty_like(self.before.threshold)
        threshold[:, order] = self.state.reshape(len(threshold), -1)
        return replace(self.before, threshold=threshold)

    def cycles(self, passes: int) -> int:
        """Cycles of all reads and pulses, and of the streams of the passes."""
        c, s = self.config, self.settings
        read = c.wl_cycles + c.settle_cycles + c.conversion_cycles + 1
        widths = (max(ramp.cycles, 1) for ramp in (s.erase, s.coarse, s.fine))
        beats = 2 * passes * self.state.shape[1] * len(self.rows)
        total: int = self.reads * read + sum(n * w for n, w in zip(self.pulses, widths, strict=True)) + beats
        return total

    def read(self, at: NDArray[np.intp] | slice, group: int | slice) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Verify reads of some of the rows: codes less the offset, and which conversions are saturated."""
        strength = self.table.strength[self.state[self.rows.start : self.rows.stop][at, group]]
        drive = self.drive[at].reshape(-1, *(1,) * (strength.ndim - 1))
        q = strength.astype(np.int64) * drive
        code, _ = sar_adc.convert(self.config, q, self.thresholds, step=self.settings.step, fine=True)
        return code.astype(np.int64) - self.offset, code == self.config.code_max

    def erase(self) -> None:
        """Groups in their order; a pulse reaches every cell, then the same group is read again."""
        s, count, done = self.settings, 0, 0
        while True:
            v, full = self.read(ALL, ALL)
            failed = (~full & (v < s.erase_limit)).sum(axis=2).ravel()
            bad = done + np.flatnonzero(failed[done:])
            if count < s.erase.pulses and len(bad):
                self.reads += int(bad[0]) - done + 1
                done = int(bad[0])
                self.state = moved(self.table, self.state, self.speed, kind=ERASE, level=s.erase.level(count))
                count += 1
                continue
            self.reads += len(failed) - done
            self.unerased += int(failed[done:].sum())
            self.pulses[ERASE] += count
            return

    def program(self, targets: NDArray[np.int64]) -> Pass:
        """One pass over all groups; targets int64[rows, groups, n_adcs] are codes."""
        s, shape = self.settings, targets.shape
        status, code = np.zeros(shape, np.uint8), np.zeros(shape, np.int16)
        counts = np.zeros((2, *shape[:2]), np.uint8)
        for g in range(shape[1]):
            pulsed = np.zeros((shape[0], shape[2]), bool)
            for n, (kind, ramp, limit) in enumerate(((COARSE, s.coarse, s.margin), (FINE, s.fine, s.window))):
                counts[n, :, g] = self._climb(g, kind, ramp, targets[:, g] + limit, pulsed)
            v, full = self.read(ALL, g)
            below, above = ~full & (v < targets[:, g] - s.window), full | (v > targets[:, g] + s.window)
            status[:, g] = np.where(below, np.where(pulsed, OVER, ERASE_FAILED), np.where(above, UNDER, GOOD))
            code[:, g] = v
        for n, kind in enumerate((COARSE, FINE)):
            self.pulses[kind] += int(counts[n].sum(dtype=np.int64))
        self.reads += shape[0] * shape[1] + int(counts.sum(dtype=np.int64))
        return Pass(status=status, code=code, coarse=counts[0], fine=counts[1])

    def _climb(
        self, group: int, kind: int, ramp: Ramp, limit: NDArray[np.int64], pulsed: NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        """One ramp on one group of every row; marks lanes that a pulse reached and returns pulses, uint8[rows]."""
        counts = np.zeros(len(limit), np.uint8)
        at, todo = np.arange(len(limit)), np.ones(limit.shape, bool)
        for count in range(ramp.pulses):
            v, full = self.read(at, group)
            todo = todo & (full | (v > limit[at]))
            more = todo.any(axis=1)
            at, todo = at[more], todo[more]
            if not len(at):
                break
            self._pulse(at, group, todo, kind, ramp.level(count))
            pulsed[at] |= todo
            counts[at] += 1
        return counts

    def _pulse(self, at: NDArray[np.intp], group: int, todo: NDArray[np.bool_], kind: int, level: int) -> None:
        """One pulse on some lanes of a group; all other cells of these rows are disturbed."""
        rows = at + self.rows.start
        reached = moved(self.table, self.state[rows, group], self.speed[rows, group], kind=kind, level=level)
        if self.table.disturb:
            self.state[rows] = np.minimum(self.state[rows] + self.table.disturb, THRESHOLD_MAX)
        self.state[rows, group] = np.where(todo, reached, self.state[rows, group])
