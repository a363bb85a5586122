# SPDX-License-Identifier: Apache-2.0
"""All measurements of a chip in their order: cells, ADCs, products, noise, time, temperature, wires, yield."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twinor.characterise.adcs import adc_figures, trimmed
from twinor.characterise.bench import BACKENDS, pattern, read
from twinor.characterise.cells import cell_levels, cell_transfer
from twinor.characterise.chip import programmed
from twinor.characterise.mac import mac_figures
from twinor.characterise.noise import noise_figures
from twinor.characterise.stress import ageing, heating
from twinor.characterise.wires import wire_drop
from twinor.characterise.yields import Limits, measure_die, yield_of
from twinor.device.ageing import Bake
from twinor.device.array import CELSIUS
from twinor.device.sonos import DAYS
from twinor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from twinor.characterise.adcs import AdcFigures
    from twinor.characterise.bench import Pattern
    from twinor.characterise.cells import CellTransfer
    from twinor.characterise.chip import Chip
    from twinor.characterise.mac import MacFigures
    from twinor.characterise.noise import NoiseFigures
    from twinor.characterise.stress import Sweep
    from twinor.characterise.wires import WireDrop
    from twinor.characterise.yields import Yield

    Progress = Callable[[int, int, str], None]

__all__ = ["BAKE_CELSIUS", "Characterisation", "Settings", "characterise"]

BAKE_CELSIUS = 125.0
"""Where chips are baked unless it is said: where the loss of a retention law is stated."""

HOURS = (0.0, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
TEMPERATURES = (-40.0, 0.0, 25.0, 55.0, 85.0, 105.0, 125.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured, and how much of it.

    Raises:
        ConfigError: there is no such engine, or no die, vector or input is asked for.
    """

    seed: int = 0
    """Of the patterns."""
    dies: int = 20
    """Of the yield; none leaves it out."""
    bake_celsius: float | None = None
    """Of the bakes; None for `BAKE_CELSIUS`, or where the cells were measured."""
    limits: Limits = field(default_factory=Limits)
    backend: str = "fast"
    """Engine that gives the codes."""
    vectors: int = 1024
    """Activation vectors of the products."""
    sweep_vectors: int = 256
    """Of every point of a sweep, and of every die of the yield."""
    inputs: int = 4
    """Inputs that are converted again and again."""
    repeats: int = 1024
    """How often."""
    wire_inputs: int = 8
    """Vectors for which columns are solved."""

    def __post_init__(self) -> None:
        """Check what a person chooses."""
        if self.backend not in BACKENDS:
            raise ConfigError(f"unknown --backend {self.backend}: expected one of {', '.join(BACKENDS)}")
        for name in ("dies", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} = {getattr(self, name)} is not allowed: expected 0 or more")
        for name in ("vectors", "sweep_vectors", "inputs", "repeats", "wire_inputs"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} is not allowed: expected 1 or more")
        if self.bake_celsius is not None:
            Bake(seconds=0.0, celsius=self.bake_celsius)


@dataclass(frozen=True, slots=True, kw_only=True)
class Characterisation:
    """What was measured of a chip; None for what is left out, and a sentence that says why."""

    chip: Chip
    """As it came."""
    trimmed: bool
    """Whether its column correction was set from the ADCs' levels before products were measured."""
    settings: Settings
    bake_celsius: float
    steps: tuple[tuple[int, ...], ...]
    """ADC steps of the products, by input slice and weight slice."""
    cells: CellTransfer
    adcs: AdcFigures
    macs: tuple[MacFigures, ...]
    noise: tuple[NoiseFigures, ...] | None
    drift: Sweep | None
    heat: Sweep | None
    wires: WireDrop | None
    yields: Yield | None
    left_out: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the result's files, without suffix."""
        seed = self.chip.seed
        return f"characterise-{self.chip.config.name}" + ("" if seed is None else f"-die{seed}")


def characterise(
    chip: Chip, settings: Settings, *, progress: Progress = lambda _done, _total, _what: None
) -> Characterisation:
    """Measure a chip.

    Args:
        chip: as it came; its cells are programmed anew with known levels.
        settings: what is measured.
        progress: called with steps that are done, steps that there are, and what is measured now.

    Raises:
        ConfigError: the physics does not reach where the settings ask for.
        TwinorError: a column needs more correction than its registers hold, or has no solution.
    """
    return _Session(chip, settings, progress).run()


class _Session:
    """One run of all measurements."""

    def __init__(self, chip: Chip, settings: Settings, progress: Progress) -> None:
        self.chip, self.settings, self.report = chip, settings, progress
        device = chip.config.device
        self.ekv = chip.physical and device is not None and device.cell is not None
        self.measured = chip.physical and not self.ekv
        self.bake = self._bake_celsius()
        self.hours = self._hours()
        points = (2 if self.ekv else 1) * len(self.hours) + (2 * len(TEMPERATURES) if self.ekv else 0)
        self.total = 4 + (points if chip.physical else 0) + self.ekv + settings.dies
        self.done = 0

    def run(self) -> Characterisation:
        """Everything in its order."""
        config, settings = self.chip.config, self.settings
        levels = cell_levels(config, seed=settings.seed)
        self._step("ADCs")
        die = programmed(self.chip, levels)
        adcs = adc_figures(config, die)
        self._step("cells")
        cells = cell_transfer(config, die, levels, adcs)
        self._step("products")
        chip, gain = trimmed(self.chip, adcs.levels), float(adcs.gain.mean())
        known = pattern(config, seed=settings.seed, vectors=settings.vectors, adc_gain=gain)
        few = pattern(config, seed=settings.seed, vectors=settings.sweep_vectors, adc_gain=gain)
        die = programmed(chip, known.levels)
        got = read(config, die, known.steps, known.activations, backend=settings.backend)
        self._step("noise")
        counts = {"inputs": min(settings.inputs, settings.vectors), "repeats": settings.repeats}
        noise = tuple(noise_figures(config, die, known, backend=settings.backend, **counts)) if die.noisy else None
        return Characterisation(
            chip=self.chip,
            trimmed=chip is not self.chip,
            settings=settings,
            bake_celsius=self.bake,
            steps=known.steps,
            cells=cells,
            adcs=adcs,
            macs=tuple(mac_figures(config, die, known, got)),
            noise=noise,
            drift=self._drift(chip, few),
            heat=self._heat(chip, few),
            wires=self._wires(chip, few),
            yields=self._yield(few),
            left_out=self._left_out(noisy=die.noisy),
        )

    def _step(self, what: str) -> None:
        """The next step begins."""
        self.report(self.done, self.total, what)
        self.done += 1

    def _drift(self, chip: Chip, known: Pattern) -> Sweep | None:
        if not chip.physical:
            return None
        backend = self.settings.backend
        return ageing(chip, known, self.hours, celsius=self.bake, backend=backend, progress=self._step)

    def _heat(self, chip: Chip, known: Pattern) -> Sweep | None:
        if not self.ekv:
            return None
        return heating(chip, known, TEMPERATURES, backend=self.settings.backend, progress=self._step)

    def _wires(self, chip: Chip, known: Pattern) -> WireDrop | None:
        if not self.ekv:
            return None
        self._step("wire drop")
        return wire_drop(chip, known, inputs=self.settings.wire_inputs)

    def _yield(self, known: Pattern) -> Yield | None:
        settings, dies = self.settings, []
        for seed in range(self.chip.seed or 0, (self.chip.seed or 0) + settings.dies):
            self._step(f"die {seed}")
            dies.append(measure_die(self.chip.config, known, seed=seed, backend=settings.backend))
        self.report(self.total, self.total, "done")
        return yield_of(dies, settings.limits) if dies else None

    def _bake_celsius(self) -> float:
        """Temperature of the bakes.

        Raises:
            ConfigError: cells with measured statistics were measured at one temperature alone.
        """
        asked = self.settings.bake_celsius
        if self.measured and asked not in (None, CELSIUS):
            raise ConfigError(
                f"--bake-celsius {asked:g}: cells of preset {self.chip.config.name} were measured at {CELSIUS:g} C, "
                "and nothing is known of them elsewhere"
            )
        if asked is not None:
            return asked
        return CELSIUS if self.measured else BAKE_CELSIUS

    def _hours(self) -> tuple[float, ...]:
        """Hours of the bakes: decades, or the days that are left of those that cells were measured on."""
        if not self.measured:
            return HOURS
        lived = sum(bake.seconds for bake in self.chip.bakes) / 3600.0
        return tuple(24.0 * day for day in DAYS if lived + 24.0 * day <= 24.0 * DAYS[-1])

    def _left_out(self, *, noisy: bool) -> tuple[str, ...]:
        """One sentence for everything that is left out for one reason."""
        name, said = self.chip.config.name, []
        if self.chip.config.device is None:
            said.append(f"preset {name} has no table `device`: noise, drift, temperature and wire drop are left out")
        elif self.chip.seed is None:
            said.append("the die is ideal: noise, drift, temperature and wire drop are left out")
        elif self.measured:
            said.append(
                f"cells of preset {name} are statistics of currents, measured at {CELSIUS:g} C up to day {DAYS[-1]}: "
                "temperature, wire drop and reference cells are left out, drift ends on that day"
            )
        if self.chip.physical and not noisy:
            said.append("nothing on this die is noisy: noise is left out")
        if not self.settings.dies:
            said.append("no dies were asked for: yield is left out")
        return tuple(said)
