# SPDX-License-Identifier: Apache-2.0
"""What `twinor die` does: a die for the digits network, drawn or measured, aged and heated, into a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinor.config import load
from twinor.device.array import CELSIUS
from twinor.device.measured import read_currents, read_transitions
from twinor.die_file import save_die
from twinor.errors import ConfigError
from twinor.session import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from twinor.config import Config
    from twinor.die import Die

__all__ = ["write_die"]


def write_die(
    file: Path,
    preset: str,
    *,
    die_seed: int,
    hours: float,
    bake: float,
    celsius: float,
    reads: int,
    currents: Path | None,
    transitions: Path | None,
    seed: int,
    console: Console,
) -> None:
    """Draw a die for the digits network, put what was measured into it, age it, heat it, and write it."""
    config = load(preset)
    lived = hours > 0 or celsius != CELSIUS or reads > 0 or currents is not None
    if config.device is None and lived:
        raise ConfigError(
            f"preset {config.name} has no device: its cells neither age nor heat, and a measured current means nothing "
            "to them; take a preset with a table `device`"
        )
    if bake != CELSIUS and hours == 0:
        raise ConfigError(f"--bake {bake:g} has no effect without --hours")
    bench = prepare(preset, images=1, seed=seed, die_seed=die_seed, die=None, console=console)
    die = _measured(config, bench.die, currents, transitions)
    if hours > 0:
        die = die.age(hours=hours, celsius=bake)
    if reads:
        die = die.read(reads)
    if celsius != CELSIUS:
        die = die.at(celsius=celsius)
    save_die(file, die)
    where = f", {hours:g} h at {bake:g} C, now at {celsius:g} C" if config.device is not None else ""
    if die.clipped:
        console.print(
            f"{die.clipped:,} of {die.strength.size:,} cells stand at twice the top level, the headroom of the "
            "behavioural array: what they carry beyond it is not there",
            soft_wrap=True,
        )
    console.print(f"wrote {file}: {len(bench.placement.levels)} macros, seed {die_seed}{where}", soft_wrap=True)


def _measured(config: Config, die: Die, currents: Path | None, transitions: Path | None) -> Die:
    """The die with measured cells and converters in place of drawn ones."""
    macros = len(die.strength)
    if currents is not None:
        die = die.with_currents(read_currents(currents, config, macros=macros))
    if transitions is not None:
        die = die.with_transitions(config, read_transitions(transitions, config, macros=macros))
    return die
