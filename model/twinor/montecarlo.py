# SPDX-License-Identifier: Apache-2.0
"""Monte Carlo over dies: what a network is worth on many of them, and which non-ideality costs most.

Every effect of a device is switched off but one, and the same dies are drawn again; `cells`, which is left when all are
off, is what the cell's equation itself does: products that are not quite products; of measured cells, which have no
equation, what they do exactly programmed and without noise. Every die is one task; tasks know
nothing of each other, so any number of processes gives the same figures.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np

from twinor.config import replace as changed
from twinor.device.array import CELSIUS, device_of
from twinor.die import sample_die
from twinor.run import chain_runner, forward

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.die import Die
    from twinor.run import RunChain
    from twinor.workbench import Workbench

__all__ = ["ALL", "Effect", "Life", "Outcome", "effects", "run"]

ALL = "all together"
"""The device as it is."""

PROGRAMMING, READ_NOISE = "programming", "read noise"
STATISTICS = frozenset((PROGRAMMING, READ_NOISE))
"""Effects that measured cells have by their statistics."""

NO_OHM = 1e-6
"""A wire without resistance, as far as the solver takes it."""


@dataclass(frozen=True, slots=True)
class Life:
    """What every die goes through before it is used: hours at a temperature, then a temperature to work at."""

    hours: float = 0.0
    bake: float = CELSIUS
    celsius: float = CELSIUS

    def of(self, die: Die) -> Die:
        """A die that went through it."""
        if self.hours > 0:
            die = die.age(hours=self.hours, celsius=self.bake)
        return die.at(celsius=self.celsius) if self.celsius != CELSIUS else die


@dataclass(frozen=True, slots=True)
class Effect:
    """One non-ideality: its name, the configuration that has it alone, and the life that goes with it.

    Attributes:
        still: what measured cells are without, some of `STATISTICS`; others have it in their configuration.
    """

    name: str
    config: Config
    life: Life = Life()
    still: frozenset[str] = frozenset()

    def die(self, levels: NDArray[np.uint8], *, seed: int) -> Die:
        """A die that has it, uint8[macros, rows, bit_lines] levels in its cells."""
        die = sample_die(self.config, levels, seed=seed)
        if PROGRAMMING in self.still and die.history is not None:
            die = die.after(replace(die.history, programmed=np.zeros_like(die.history.programmed)))
        die = self.life.of(die)
        if READ_NOISE in self.still and die.cells is not None:
            die = replace(die, cells=replace(die.cells, variance=np.zeros_like(die.cells.variance)))
        return die


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the dies of one effect do, by die seed from 0.

    Attributes:
        name: of the effect.
        accuracies: in percent.
        deviations: root mean square by which logits leave the ideal die's, in percent of the spread of those; it tells
            effects apart that change no class.
    """

    name: str
    accuracies: tuple[float, ...]
    deviations: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Accuracy over the dies."""
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float:
        """Over the dies."""
        return float(np.mean(self.deviations))

    @property
    def sigma(self) -> float:
        """Sample standard deviation of the accuracy over the dies, 0 for one."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else 0.0


def effects(config: Config, life: Life) -> list[Effect]:
    """All together first, then one at a time, then what is left without any.

    Args:
        config: a macro with a device.
        life: what the dies go through; its parts are effects of their own.

    Raises:
        ConfigError: the macro has no device.

    Example:
        >>> from twinor.config import load
        >>> [effect.name for effect in effects(load("sonos40"), Life())]
        ['all together', 'programming', 'read noise', 'capacitors', 'comparator offset', 'converter', 'cells']
    """
    device = device_of(config)
    quiet = replace(device, ispp=None, disturb=None, traps=None, read_sigma=0.0, defects=None, converter=None)
    if device.word_line is not None and device.wires is not None:
        short = dict.fromkeys(("r_bl_ohm", "r_sl_ohm", "r_clamp_ohm", "r_sl_return_ohm"), NO_OHM)
        line = replace(device.word_line, sigma_mV=0.0, noise_mV=0.0)
        quiet = replace(quiet, word_line=line, wires=replace(device.wires, **short))
    bare = changed(config, device=quiet, cell_sigma=0.0, capacitor_sigma=0.0, comparator_sigma=0.0)
    programming = replace(quiet, ispp=device.ispp, disturb=device.disturb)
    alone = {
        PROGRAMMING: changed(bare, cell_sigma=config.cell_sigma, device=programming),
        "word-line DACs": changed(bare, device=replace(quiet, word_line=device.word_line)),
        "wires": changed(bare, device=replace(quiet, wires=device.wires)),
        "telegraph noise": changed(bare, device=replace(quiet, traps=device.traps)),
        READ_NOISE: changed(bare, device=replace(quiet, read_sigma=device.read_sigma)),
        "defects": changed(bare, device=replace(quiet, defects=device.defects)),
        "capacitors": changed(bare, capacitor_sigma=config.capacitor_sigma),
        "comparator offset": changed(bare, comparator_sigma=config.comparator_sigma),
        "converter": changed(bare, device=replace(quiet, converter=device.converter)),
    }
    still = STATISTICS if device.cell is None else frozenset[str]()
    found = [Effect(name, bare, still=still - {name}) for name in (PROGRAMMING, READ_NOISE) if still]
    found += [Effect(name, one, still=still) for name, one in alone.items() if one.digest() != bare.digest()]
    if life.hours > 0:
        found.append(Effect("time", bare, replace(life, celsius=CELSIUS), still))
    if life.celsius != CELSIUS:
        found.append(Effect("temperature", bare, Life(celsius=life.celsius), still))
    return [Effect(ALL, config, life), *found, Effect("cells", bare, still=still)]


def run(
    bench: Workbench,
    chosen: Sequence[Effect],
    *,
    dies: int,
    each: int,
    processes: int,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Outcome]:
    """What the dies of every effect do.

    Args:
        bench: network, placement and images; its die is the ideal one.
        chosen: from `effects`.
        dies: of all effects together, by seed from 0.
        each: dies of every single effect.
        processes: that share the dies.
        progress: called with the dies that are done, and how many there are.
    """
    tasks = [(effect, seed) for effect in chosen for seed in range(dies if effect.name == ALL else each)]
    found: dict[str, list[NDArray[np.int64]]] = {effect.name: [] for effect in chosen}
    for done, ((effect, _), logits) in enumerate(zip(tasks, _mapped(bench, tasks, processes), strict=True), start=1):
        found[effect.name].append(logits)
        progress(done, len(tasks))
    ideal = forward(bench.trained.network, bench.placement, bench.images, _runner(bench.config, bench.die))
    return [_outcome(bench, name, logits, ideal) for name, logits in found.items()]


def _outcome(bench: Workbench, name: str, every: Sequence[NDArray[np.int64]], ideal: NDArray[np.int64]) -> Outcome:
    spread = max(float(ideal.std()), 1.0)
    deviations = tuple(100.0 * float(np.sqrt(((logits - ideal) ** 2).mean())) / spread for logits in every)
    return Outcome(name, tuple(bench.percent(logits) for logits in every), deviations)


def _mapped(bench: Workbench, tasks: Sequence[tuple[Effect, int]], processes: int) -> Iterator[NDArray[np.int64]]:
    work = partial(_logits, bench)
    if processes == 1:
        yield from map(work, tasks)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        yield from pool.map(work, tasks)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)  # processes share the cores already


def _logits(bench: Workbench, task: tuple[Effect, int]) -> NDArray[np.int64]:
    effect, seed = task
    die = effect.die(bench.placement.levels, seed=seed)
    return forward(bench.trained.network, bench.placement, bench.images, _runner(effect.config, die))


def _runner(config: Config, die: Die) -> RunChain:
    return chain_runner(config, die, backend="fast")
