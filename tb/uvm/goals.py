# SPDX-License-Identifier: Apache-2.0
"""The functional coverage goals of the macro bench: which bins each one has on a configuration.

`tb/plans/cim_macro.yaml` says what each goal means; the bins here follow from the configuration alone.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from twinor.rounds import End, Start

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from twinor.config import Config

__all__ = ["CLASSES", "STREAMS", "goals", "ramp_levels", "reset_states"]

STREAMS = ("words", "activations", "partial sums", "residual codes", "outputs")
"""The valid-ready streams of the macro."""

CLASSES = ("lowest", "negative", "zero", "positive", "highest")
"""Where a signed value lies in its range."""


def goals(config: Config) -> dict[str, tuple[str, ...]]:
    """Bins of every goal.

    Example:
        >>> from twinor.config import load
        >>> bins = goals(load("tiny"))
        >>> len(bins["adc_code"]), bins["multiplexer"]
        (16, ('position 0', 'position 1'))
    """
    slices = [(i, j) for i in range(config.x_slices) for j in range(config.w_slices)]
    reach = int(ramp_levels(config)[: config.active_rows].sum()) * ((1 << config.dac_bits) - 1) // config.steps[0]
    return {
        "adc_code": tuple(f"code {code}" for code in range(config.code_min, min(config.code_max, reach) + 1)),
        "adc_clipping": (
            "in range",
            *(f"{end} at input slice {i}, weight slice {j}" for i, j in slices for end in _clipped_ends(config, i)),
        ),
        "sign_crossing": tuple(
            f"{what} {way}"
            for what in ["code"] * (config.bipolar and config.cols_per_adc > 1) + ["partial sum"]
            for way in ("- to +", "+ to -")
        ),
        "activations": ("all zero", "all at the top", "one word line", "mixed"),
        "signs": ("unsigned", "signed, positive", "signed, negative", "signed, lowest"),
        "bias_rows": ("none", *(("some",) if config.rows > 1 else ())),
        "word_lines": _word_lines(config),
        "row_groups": _row_groups(config),
        "passes": tuple(f"plan of {n}, input slice {i}, weight slice {j}" for n, i, j in _passes(config)),
        "columns": _columns(config),
        "multiplexer": tuple(f"position {m}" for m in range(config.cols_per_adc)),
        "last_phase": tuple(f"{n} of {config.n_lanes} columns" for n in range(1, config.n_lanes + 1)),
        "adc_step": tuple(f"step {s} at input slice {i}, weight slice {j}" for i, j in slices for s in config.steps),
        "start_and_end": tuple(f"{s.name} to {e.name}" for s, e in product(Start, End)),
        "chain_length": tuple(f"{n} rounds" for n in range(1, config.max_rounds + 1)),
        "chain_again": ("new words", "no new words"),
        "partial_sum_in": CLASSES,
        "residual_in": CLASSES,
        "residual_multiplier": CLASSES,
        "multiplier": CLASSES,
        "addend": CLASSES,
        "shift": ("1", "2 to 30", "31"),
        "requantization": ("saturates below", "at lo", "between", "at hi", "saturates above"),
        "traffic": tuple(
            f"{stream} {way}" for stream in STREAMS for way in ("back to back", "after a pause", "stalled")
        ),
        "reset": reset_states(config),
    }


def ramp_levels(config: Config) -> NDArray[np.uint8]:
    """Cell levels, uint8[rows], of the column that can draw any current: the top level, and ..., 4, 2, 1 at the end.

    Without variation the codes of this column are those that an environment can promise to see.

    Example:
        >>> from twinor.config import load
        >>> ramp_levels(load("tiny")).tolist()
        [3, 3, 2, 1, 3, 3, 2, 1]
    """
    from_end = config.active_rows - 1 - np.arange(config.rows) % config.active_rows
    levels: NDArray[np.uint8] = np.minimum(1 << np.minimum(from_end, 8), (1 << config.cell_bits) - 1).astype(np.uint8)
    return levels


def _clipped_ends(config: Config, x_slice: int) -> list[str]:
    """Ends of the ADC's range beyond which the column of `ramp_levels` can lie, in one input slice or those shared."""
    tops = [(1 << min(config.dac_bits, config.input_bits - i * config.dac_bits)) - 1 for i in range(x_slice + 1)]
    inputs = sum(top << i * config.dac_bits for i, top in enumerate(tops)) if config.analog_slices else tops[-1]
    reach = int(ramp_levels(config)[: config.active_rows].sum()) * inputs // config.steps[0]
    return ["below"] * (config.bipolar and reach > -config.code_min) + ["above"] * (reach > config.code_max)


def reset_states(config: Config) -> tuple[str, ...]:
    """States in which a reset must have struck; several hold at once, one in each stage."""
    trials = tuple(f"trial {b}" for b in range(config.trials))
    before = ("disarmed", "words half written", "armed and idle", "vector half loaded", "vector loaded")
    settle = ("settling", "settled, converters busy", "hold")
    after = ("sample", "codes wait", "partial sums half in", "residuals half in", "lanes leave", "output waits")
    return (*before, *settle, *trials, *after)


def _word_lines(config: Config) -> tuple[str, ...]:
    some = ("one", "all")
    inner = ("some",) if config.rows > 2 else ()
    higher = ("not from word line 0",) if config.rows > config.in_lanes else ()
    return (*some, *inner, *higher, "up to the last")


def _row_groups(config: Config) -> tuple[str, ...]:
    part = ("part of one group",) if config.active_rows > 1 else ()
    several = config.rows > config.active_rows
    more = ("whole groups", *(("whole groups and a part",) if config.active_rows > 1 else ())) if several else ()
    return (*part, "one whole group", *more)


def _passes(config: Config) -> Iterable[tuple[int, int, int]]:
    for plan in range(1, config.x_slices + 1):
        yield from product([plan], range(plan), range(config.w_slices))


def _columns(config: Config) -> tuple[str, ...]:
    part = ("less than one phase", "whole phases and a part") if config.n_lanes > 1 else ()
    higher = ("not from column 0",) if config.cols_per_adc > 1 else ()
    return ("one", *part, "whole phases", "all", *higher, "up to the last")
