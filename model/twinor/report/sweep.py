# SPDX-License-Identifier: Apache-2.0
"""Accuracy against ADC bits and against active rows: every test image on the fast engine, one macro per point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twinor.config import replace
from twinor.die import ideal_die, sample_die
from twinor.errors import ConfigError, PlacementError
from twinor.place import place
from twinor.run import chain_runner, forward

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twinor.config import Config
    from twinor.place import Steps
    from twinor.report.run import Progress
    from twinor.workbench import Workbench

__all__ = ["ADC_BITS", "Point", "points", "sweep"]

ADC_BITS = range(5, 11)
HALVINGS = 5
"""Active rows are the macro's rows, halved up to four times, and the preset's own number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One macro of the sweep: the preset with one key changed."""

    key: str
    value: int
    own: bool
    """The preset's own value."""
    right: int = 0
    """Test images that are classified correctly."""
    steps: Mapping[str, Steps] | None = None
    """Calibrated ADC steps by layer; None if the macro was refused."""
    reason: str = ""
    """Why the configuration or the placement refused it."""


def points(config: Config) -> list[tuple[str, int]]:
    """Keys and values of the sweep, in order.

    Example:
        >>> from twinor.config import load
        >>> [value for key, value in points(load("nor40_int4")) if key == "active_rows"]
        [16, 32, 64, 128, 256]
    """
    bits = sorted({*ADC_BITS, config.adc_bits})
    rows = sorted({max(1, config.rows >> k) for k in range(HALVINGS)} | {config.active_rows})
    return [("adc_bits", value) for value in bits] + [("active_rows", value) for value in rows]


def sweep(bench: Workbench, *, progress: Progress) -> list[Point]:
    """Classify every test image at every point; steps are calibrated for each from training images alone.

    A varied die is drawn for each point from the run's die seed, so its cells are the same at every point.

    Args:
        bench: the run's network, die and data.
        progress: called with points that are done and points that there are.
    """
    done: dict[str, tuple[int, dict[str, Steps]]] = {}  # the preset's own macro stands on both axes
    result: list[Point] = []
    todo = points(bench.config)
    for number, (key, value) in enumerate(todo, start=1):
        own = getattr(bench.config, key) == value
        try:
            config = replace(bench.config, **{key: value})
            if config.digest() not in done:
                done[config.digest()] = _run(bench, config)
            right, steps = done[config.digest()]
            result.append(Point(key=key, value=value, own=own, right=right, steps=steps))
        except (ConfigError, PlacementError) as error:
            result.append(Point(key=key, value=value, own=own, reason=str(error)))
        progress(number, len(todo))
    return result


def _run(bench: Workbench, config: Config) -> tuple[int, dict[str, Steps]]:
    """Test images that one macro classifies correctly, and its steps."""
    from twinor.calibrate import calibrate  # torch is imported only to run

    network, test = bench.trained.network, bench.trained.test_index
    if config == bench.config:
        steps, placement, die = bench.steps, bench.placement, bench.die
    else:
        steps = calibrate(config, network, bench.calibration)
        placement = place(config, network, steps)
        seed = bench.die.seed
        die = ideal_die(config, placement.levels) if seed is None else sample_die(config, placement.levels, seed=seed)
    runner = chain_runner(config, die, backend="fast")
    classes = forward(network, placement, bench.dataset.images[test], runner).argmax(axis=1)
    return int((classes == bench.dataset.labels[test]).sum()), steps
