# SPDX-License-Identifier: Apache-2.0
"""Cells that can be programmed: the integer tables of their physics, their spread, and settings that suit them.

A subthreshold NOR cell of slope n = 1.4 at 300 K; a threshold counts 1/32 mV:

    strength(v) = min(2 * top, top * exp((V0 - v) / (n * UT)))      V0: where the cap of twice the top level ends
    move(kind, level) = base(kind) * 2**(level / 32)                pulses of rising amplitude move further

The cap stands for an erased cell in strong inversion. Another device supplies other tables; nothing else changes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from twinor.golden.flash_array import LEVELS, SPEED_BITS, THRESHOLD_MAX, Cells, CellTables
from twinor.golden.prog_ctrl import Ramp, Settings

if TYPE_CHECKING:
    from twinor.config import Config

__all__ = ["BASE_MV", "PULSE_US", "SPEED_SIGMA", "UNITS_PER_MV", "blank", "settings_of", "tables", "verify_step"]

UNITS_PER_MV = 32
"""Threshold units of a millivolt."""

N_UT_MV = 1.4 * 25.852
"""Millivolts of threshold that divide the current by e."""

BASE_MV = (8.0, 1.5, 0.15)
"""Move of an erase, a coarse and a fine pulse at level 0."""

PULSE_US = (10_000.0, 10.0, 1.0)
"""Microseconds of an erase, a coarse and a fine pulse; their moves are those of such pulses."""

DOUBLING = 32
"""Levels that double the move of a pulse."""

SPEED_SIGMA = 0.1
"""Standard deviation of a cell's speed."""

BLANK_MV = (200.0, 15.0)
"""Mean and standard deviation of the threshold before the first erase."""


def tables(config: Config) -> CellTables:
    """The tables of a macro's cells; depends on `cell_bits`, `frac_bits` and the device's program disturb alone.

    Example:
        >>> from twinor.config import load
        >>> cells = tables(load("nor40_int4"))
        >>> cells.strength[[0, 803, 803 + 1158]].tolist(), cells.move[:, 0].tolist()
        ([896, 448, 165], [256, 48, 5])
    """
    top = ((1 << config.cell_bits) - 1) << config.frac_bits
    millivolts = np.arange(THRESHOLD_MAX + 1) / UNITS_PER_MV
    strength = np.rint(2 * top * np.exp(-millivolts / N_UT_MV))
    rise = np.exp2(np.arange(LEVELS) / DOUBLING)
    move = np.rint(np.outer(BASE_MV, rise) * UNITS_PER_MV)
    disturb = None if config.device is None else config.device.disturb
    units = 0 if disturb is None else round(disturb.per_pulse_mV * UNITS_PER_MV)
    return CellTables(move=move.astype(np.int32), disturb=units, strength=strength.astype(np.int32))


def blank(config: Config, *, macro: int, seed: int | None) -> Cells:
    """The cells of a macro before their first erase; a seed spreads threshold and speed, None leaves them equal.

    Macro m draws from the generator `(seed, m, 1)`, beside the one of `die.sample_die`.

    Example:
        >>> from twinor.config import load
        >>> cells = blank(load("tiny"), macro=0, seed=None)
        >>> int(cells.threshold[0, 0]), int(cells.speed[0, 0])
        (6400, 256)
    """
    shape = (config.rows, config.bit_lines)
    one = 1 << SPEED_BITS
    threshold, speed = np.full(shape, BLANK_MV[0] * UNITS_PER_MV), np.full(shape, float(one))
    if seed is not None:
        rng = np.random.default_rng([seed, macro, 1])
        threshold += rng.standard_normal(shape) * BLANK_MV[1] * UNITS_PER_MV
        speed *= 1.0 + rng.standard_normal(shape) * SPEED_SIGMA
    return Cells(
        tables=tables(config),
        threshold=np.clip(np.rint(threshold), 0, THRESHOLD_MAX).astype(np.int32),
        speed=np.clip(np.rint(speed), one // 4, 4 * one).astype(np.int32),
    )


def verify_step(config: Config) -> int:
    """ADC step of a verify read in sixteenths of an array unit: the finest that fits half a level above the top.

    Example:
        >>> from twinor.config import load
        >>> [verify_step(load(name)) for name in ("nor40_int4", "nor40_int4_exact", "nor40_int4_dac4", "tiny")]
        [3, 1, 16, 8]
    """
    most = 8 * ((2 << config.cell_bits) - 1) * ((1 << config.dac_bits) - 1)
    return min(m << k for k in range(24) for m in (1, 3) if config.code_max * (m << k) >= most)


def settings_of(config: Config, *, retries: int = 0) -> Settings:
    """Settings that bring the cells of `tables` to the levels of a configuration.

    The window is an eighth of the pitch of two levels on either side; pulses start at 0.45 of the window's width and at
    0.6 of the coarse margin, both as they read at the top level.

    Example:
        >>> from twinor.config import load
        >>> settings = settings_of(load("nor40_int4"))
        >>> settings.step, settings.targets, settings.erase_limit, settings.margin, settings.window
        (3, (0, 16, 32, 48, 64, 80, 96, 112), 120, 16, 2)
    """
    step, top = verify_step(config), (1 << config.cell_bits) - 1
    unit = 16 * ((1 << config.dac_bits) - 1)
    half = 0 if config.adc_rounding == "toward_zero" else step // 2
    targets = tuple((level * unit + half) // step for level in range(top + 1))
    pitch = max(1, unit // step)
    window = pitch // 8
    percent = N_UT_MV / targets[top]  # millivolts of a code at the top level
    return Settings(
        step=step,
        erase_limit=min(targets[top] + max(1, pitch // 2), config.code_max),
        targets=targets,
        margin=pitch,
        window=window,
        erase=Ramp(start=0, step=4, pulses=32),
        coarse=Ramp(start=_level(1, 0.6 * pitch * percent), step=1, pulses=64),
        fine=Ramp(start=_level(2, 0.45 * (2 * window + 1) * percent), step=2, pulses=120),
        retries=retries,
    )


def _level(kind: int, millivolts: float) -> int:
    """The level at which a pulse of a kind moves a cell by about so much."""
    return min(max(round(DOUBLING * math.log2(millivolts / BASE_MV[kind])), 0), LEVELS - 1)
