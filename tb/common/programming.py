# SPDX-License-Identifier: Apache-2.0
"""What benches of the program-verify controller share: settings as ports, random operations, golden as a stream."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from twinor.cells import blank, settings_of
from twinor.cosim import files
from twinor.golden.flash_array import SPEED_MAX
from twinor.golden.prog_ctrl import Ramp, Settings, groups, program
from twinor.rounds import step_code

from tb.common.values import pack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from twinor.config import Config
    from twinor.die import Die
    from twinor.golden.flash_array import Cells
    from twinor.golden.prog_ctrl import Programmed

__all__ = ["COUNTERS", "STATUS_FIELDS", "Operation", "place_cells", "random_operation", "setting_ports", "wild_cells"]

STATUS_FIELDS = ("data_o", "code_o", "coarse_o", "fine_o", "last_o", "again_o")
COUNTERS = ("erase_pulses", "coarse_pulses", "fine_pulses", "unerased")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation on the cells of a macro."""

    cells: Cells
    levels: NDArray[np.uint8]
    settings: Settings
    rows: range
    erase: bool = True
    write: bool = True

    def golden(self, config: Config, die: Die) -> Programmed:
        """What it does to macro 0 of a die."""
        return program(
            config,
            self.cells,
            die.drive[0],
            die.threshold[0],
            self.levels,
            self.settings,
            rows=self.rows,
            erase=self.erase,
            write=self.write,
        )

    def start(self) -> dict[str, int]:
        """Ports that count with the start."""
        return {"op_i": self.erase | self.write << 1, "row_base_i": self.rows.start, "row_count_i": len(self.rows)}

    def targets(self, config: Config) -> list[dict[str, int]]:
        """Beats of one pass, X nowhere."""
        order = groups(config, self.levels[self.rows.start : self.rows.stop]).reshape(-1, config.n_adcs)
        return [{"data_i": pack(beat.tolist(), config.cell_bits)} for beat in order]


def place_cells(array: Any, config: Config, die: Die, cells: Cells) -> None:
    """Put cells and their strengths into the behavioural array."""
    words = cells.speed.astype(np.int64) << 16 | cells.threshold
    for word, value in zip(array.state_mem, words.ravel().tolist(), strict=True):
        word.value = value
    texts = files.cells_hex(config, replace(die, strength=cells.strength[None]), 0).splitlines()
    for word, text in zip(array.cell_mem, texts, strict=True):
        word.value = int(text, 16)


def setting_ports(config: Config, settings: Settings) -> dict[str, int]:
    """The settings as `prog_<name>` takes them."""

    def ramp(r: Ramp) -> int:
        return r.cycles << 24 | r.pulses << 16 | r.step << 8 | r.start

    return {
        "retries_i": settings.retries,
        "step_i": step_code(settings.step),
        "erase_limit_i": settings.erase_limit,
        "targets_i": pack(settings.targets, config.code_bits),
        "margin_i": settings.margin,
        "window_i": settings.window,
        "erase_ramp_i": ramp(settings.erase),
        "coarse_ramp_i": ramp(settings.coarse),
        "fine_ramp_i": ramp(settings.fine),
    }


def beats(config: Config, done: Programmed, retries: int) -> Iterator[dict[str, int]]:
    """The status stream of an operation, pass after pass."""
    for n, p in enumerate(done.passes):
        flat = p.status.reshape(-1, config.n_adcs)
        again = n < retries and bool((flat == 2).any())
        rows = zip(
            flat.tolist(),
            p.code.reshape(-1, config.n_adcs).tolist(),
            p.coarse.ravel().tolist(),
            p.fine.ravel().tolist(),
            strict=True,
        )
        for k, (status, code, coarse, fine) in enumerate(rows):
            end = k + 1 == len(flat)
            yield {
                "data_o": pack(status, 2),
                "code_o": pack(code, config.code_bits),
                "coarse_o": coarse,
                "fine_o": fine,
                "last_o": int(end),
                "again_o": int(end and again),
            }


def wild_cells(config: Config, rng: np.random.Generator) -> Cells:
    """Cells that no process makes: some stuck, some far too fast, thresholds anywhere, disturb at times."""
    cells = blank(config, macro=0, seed=int(rng.integers(1 << 30)))
    speed = cells.speed.copy()
    speed[rng.random(speed.shape) < 0.05] = 0
    speed[rng.random(speed.shape) < 0.05] = int(rng.integers(2000, SPEED_MAX + 1))
    threshold = np.where(rng.random(speed.shape) < 0.2, rng.integers(0, 1 << 14, speed.shape), cells.threshold)
    tables = replace(cells.tables, disturb=int(rng.choice([0, 0, 3, 40])))
    return replace(cells, tables=tables, speed=speed.astype(np.int32), threshold=threshold.astype(np.int32))


def random_operation(config: Config, rng: np.random.Generator, **fixed: Any) -> Operation:
    """Any operation on wild cells with settings around those that suit, and some that do not."""
    suited = settings_of(config)
    first = int(rng.integers(config.rows))
    kinds = {name: _ramp(getattr(suited, name), rng) for name in ("erase", "coarse", "fine")}
    shift = rng.integers(-2, 3, len(suited.targets)) * int(rng.integers(2))
    settings = replace(
        suited,
        step=int(rng.choice([suited.step, suited.step, *config.steps])),
        erase_limit=int(rng.integers(suited.erase_limit // 2, config.code_max + 2)),
        targets=tuple(np.clip(np.array(suited.targets) + shift, 0, None).tolist()),
        margin=int(rng.integers(0, 2 * suited.margin + 1)),
        window=int(rng.integers(0, 2 * suited.window + 2)),
        retries=int(rng.choice([0, 0, 0, 1, 2])),
        **kinds,
    )
    plain: dict[str, Any] = {
        "cells": wild_cells(config, rng),
        "levels": rng.integers(0, 1 << config.cell_bits, (config.rows, config.bit_lines)).astype(np.uint8),
        "settings": settings,
        "rows": range(first, first + min(int(rng.choice([1, 1, 2])), config.rows - first)),
        "erase": bool(rng.random() < 0.8),
    }
    plain["write"] = not plain["erase"] or bool(rng.random() < 0.9)
    return Operation(**(plain | fixed))


def _ramp(ramp: Ramp, rng: np.random.Generator) -> Ramp:
    """Around a ramp; at times none at all, or one that reaches the end of the levels."""
    start = int(rng.choice([ramp.start, ramp.start, int(rng.integers(256))]))
    pulses = int(rng.choice([0, 1, int(rng.integers(2, 8)), int(rng.integers(2, 16))]))
    return Ramp(start=start, step=int(rng.choice([1, 4, 90])), pulses=pulses, cycles=int(rng.choice([0, 1, 2, 5])))
