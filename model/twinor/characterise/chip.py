# SPDX-License-Identifier: Apache-2.0
"""A chip on the bench: what makes its die again with other levels in its cells, as a lab erases and programs it.

Macro 0 of the die is measured. Its converters, traps and noise stay what they are; cells that are programmed anew go
through the life that the chip has had, so a chip that came aged is measured aged.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from twinor.config import replace as configured
from twinor.device.array import CELSIUS
from twinor.die import ideal_die, sample_die
from twinor.errors import ConfigError
from twinor.golden.column_correct import GAIN_ONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.device.ageing import Bake
    from twinor.die import Die

__all__ = ["Chip", "baked", "chip_of", "corrected", "heated", "is_trimmed", "programmed", "single_ended", "tracked"]

CONVERTER = ("threshold", "weight", "gain", "offset")
"""Tables of a die that do not depend on what its cells hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One chip; see the module's docstring."""

    config: Config
    seed: int | None
    """Of its variation, None for an ideal one."""
    bakes: tuple[Bake, ...] = ()
    """What it went through since it was programmed."""
    celsius: float = CELSIUS
    """Where it stands now."""
    reads: int = 0
    """How often its word lines were driven since it was programmed."""
    tables: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    """Tables of `CONVERTER` that are known beside the seed, each of one macro."""

    @property
    def physical(self) -> bool:
        """True if its cells have physics: they age, they heat, they are noisy."""
        return self.config.device is not None and self.seed is not None


def chip_of(config: Config, die: Die) -> Chip:
    """The chip that a die was drawn from.

    Args:
        config: the macro.
        die: any die of it; its converters are kept, its cells will be programmed anew.

    Raises:
        ConfigError: its cells were measured, so that nobody knows them with other levels.

    Example:
        >>> from twinor.config import load
        >>> from twinor.die import Die
        >>> config = load("nor_triode_pwm")
        >>> chip = chip_of(config, Die.sample(config, seed=3).age(hours=10, celsius=85.0))
        >>> chip.seed, len(chip.bakes), chip.celsius, chip.reads, chip.physical
        (3, 1, 25.0, 0, True)
    """
    lived = die.history
    if lived is not None and lived.measured:
        raise ConfigError(
            "the cells of this die were measured with the levels they hold, and the bench programs others: expected a "
            "die whose cells were drawn; measured converters stay"
        )
    return Chip(
        config=config,
        seed=die.seed,
        bakes=() if lived is None else lived.bakes,
        celsius=CELSIUS if lived is None else lived.celsius,
        reads=0 if lived is None else lived.reads,
        tables={name: getattr(die, name)[:1] for name in CONVERTER},
    )


def programmed(chip: Chip, levels: NDArray[np.uint8]) -> Die:
    """The chip's die with levels in the cells of macro 0, as old and as warm as the chip is.

    Args:
        chip: the chip.
        levels: uint8[rows, bit_lines].

    Raises:
        ConfigError: the physics does not reach there.
    """
    if chip.seed is None:
        return _dressed(chip, ideal_die(chip.config, levels[None]))
    die = sample_die(chip.config, levels[None], seed=chip.seed)
    for bake in chip.bakes:
        die = die.age(hours=bake.seconds / 3600.0, celsius=bake.celsius)
    die = die.read(chip.reads) if chip.reads else die
    return _dressed(chip, die if chip.celsius == CELSIUS else die.at(celsius=chip.celsius))


def baked(chip: Chip, die: Die, *, hours: float, celsius: float) -> Die:
    """A die of the chip some hours later; errors as of `Die.age`."""
    return _dressed(chip, die.age(hours=hours, celsius=celsius)) if hours else die


def heated(chip: Chip, die: Die, *, celsius: float) -> Die:
    """A die of the chip at another temperature; errors as of `Die.at`."""
    return _dressed(chip, die.at(celsius=celsius))


def _dressed(chip: Chip, die: Die) -> Die:
    """The die with the converter tables that the chip is known to have."""
    tables: dict[str, Any] = dict(chip.tables)
    return replace(die, **tables)


def corrected(chip: Chip, gain: NDArray[np.int32], offset: NDArray[np.int32]) -> Chip:
    """The chip with a column correction in its registers, int32[cols] each."""
    return replace(chip, tables={**chip.tables, "gain": gain[None], "offset": offset[None]})


def is_trimmed(chip: Chip) -> bool:
    """True if its column correction holds anything but what a reset leaves.

    Example:
        >>> from twinor.config import load
        >>> chip = Chip(config=load("nor_triode_pwm"), seed=0)
        >>> gain = np.full(32, 250)
        >>> is_trimmed(chip), is_trimmed(corrected(chip, gain, gain))
        (False, True)
    """
    gain, offset = chip.tables.get("gain"), chip.tables.get("offset")
    return gain is not None and offset is not None and bool(np.any(gain != GAIN_ONE) or np.any(offset))


def tracked(chip: Chip, *, on: bool) -> Chip:
    """The same chip with reference cells that set the full scale of the ADCs, or without.

    Raises:
        ConfigError: it has no device.
    """
    if chip.config.device is None:
        raise ConfigError(f"preset {chip.config.name} has no device, so nothing is tracked")
    return replace(chip, config=configured(chip.config, device=replace(chip.config.device, tracking=on)))


def single_ended(config: Config, die: Die) -> Die:
    """The die as its plus lines alone show it: what the multiplexer of a verify read selects.

    Raises:
        ConfigError: the macro has no pairs.

    Example:
        >>> from twinor.config import load
        >>> die = ideal_die(load("tiny"), np.full((1, 8, 8), 3, dtype=np.uint8))
        >>> single_ended(load("tiny"), die).strength[0, 0].tolist()
        [192, 0, 192, 0, 192, 0, 192, 0]
    """
    if config.lines_per_cell != 2:
        raise ConfigError(f"preset {config.name}: encoding {config.weight_encoding} has no pairs of lines")
    plus = np.arange(config.bit_lines) % 2 == 0
    cells = die.cells
    if cells is not None:
        names = ("current", "variance", "trap")
        cells = replace(cells, **{name: getattr(cells, name) * plus.astype(np.int32) for name in names})
    return replace(die, strength=die.strength * plus.astype(np.int32), cells=cells)
