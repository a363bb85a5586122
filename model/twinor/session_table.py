# SPDX-License-Identifier: Apache-2.0
"""What `twinor table` does: every checkpoint in the repository, in integers and on the macro, beside published rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from twinor import integer, tables
from twinor.calibrate import calibrate
from twinor.config import load, replace
from twinor.die import ideal_die, sample_die
from twinor.errors import ConfigError, TwinorError
from twinor.network_file import load_network
from twinor.place import place
from twinor.quantize.recipe import recipe_of
from twinor.run import chain_runner, forward_batched
from twinor.session import write_json
from twinor.session_train import parts_of
from twinor.workbench import CALIBRATION_IMAGES, percent

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console

    from twinor.config import Config
    from twinor.datasets import Parts
    from twinor.network import IntegerNetwork
    from twinor.place import Steps

__all__ = ["CHECKPOINTS", "Row", "on_macro", "table"]

CHECKPOINTS = Path(__file__).parent / "checkpoints"
"""Packed integer networks that come with twinor."""

PUBLISHED = Path(__file__).parent / "published"
"""What others report, a file for each data set."""


@dataclass(slots=True, kw_only=True)
class Row:
    """Accuracies of one checkpoint in percent."""

    name: str
    """Of its file, without the data set."""
    image: str
    """How the 8-bit image enters."""
    trained: float
    """Of the float network, as its training measured it."""
    int4: float
    """Of the integers alone."""
    macro: float
    """On the preset with an ideal die."""
    dies: list[float] = field(default_factory=list)
    """On varied dies."""
    golden: int = 0
    """Images whose logits on golden are those of `fast`."""
    bits: dict[int, float] = field(default_factory=dict)
    """By bits of the ADC."""
    whole: bool = True
    """Whether `int4` and `macro` are of all test images, as `trained` is: only then do they compare."""


def table(
    data: str,
    *,
    preset: str,
    images: int | None,
    dies: int,
    few: int,
    adc_bits: tuple[int, ...],
    golden: int,
    data_dir: Path | None,
    checkpoints: Path,
    out: Path,
    console: Console,
) -> None:
    """Evaluate every checkpoint of a data set; tables and `table-<data>.json`.

    Args:
        data: name of the data set.
        preset: the macro.
        images: how many test images, from the first; None for all.
        dies: how many varied dies.
        few: test images for each die and each number of ADC bits.
        adc_bits: numbers of bits.
        golden: how many of the images run on golden too, whose logits must be those of `fast`.
        data_dir: as in `load_parts`.
        checkpoints: folder of packed networks.
        out: folder of the result.
        console: gets the tables.

    Raises:
        ConfigError: no checkpoint is of that data set, or a number of ADC bits is none that the macro may have.
        TwinorError: golden and `fast` differ.
    """
    config, rows = load(preset), list[Row]()
    narrowed = {bits: replace(config, name=f"{config.name}_{bits}", adc_bits=bits) for bits in adc_bits}
    found = {path.stem: load_network(path) for path in sorted(checkpoints.glob("*.npz"))}
    chosen = {name: network for name, network in found.items() if network.provenance.get("data") == data}
    if not chosen:
        raise ConfigError(f"no checkpoint of {data} in {checkpoints}: expected packed networks of `twinor train`")
    with tables.Progress(console) as progress:
        for name, network in chosen.items():
            parts = parts_of(recipe_of(network.provenance), data_dir)
            count = len(parts.test.labels) if images is None else min(images, len(parts.test.labels))
            work = _Work(config, network, parts, count, min(few, count), min(golden, count))
            rows.append(work.row(name, dies, narrowed, lambda n, of, name=name: progress.show(name, n, of)))
    tables.show(f"{data}, {count:,} test images, preset {config.name}", tables.networks(rows), console)
    for row in rows if golden else ():
        console.print(f"{row.name}: {row.golden:,} images on golden and fast: equal logits", soft_wrap=True)
    if adc_bits or dies:
        tables.show(f"{min(few, count):,} test images", tables.networks_varied(rows), console)
    file = PUBLISHED / f"{data}.yaml"
    published = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else []
    if published:
        tables.show("published, 4-bit weights and activations", tables.published(published), console)
    result: dict[str, Any] = {"preset": preset, "config": config.digest(), "images": count, "few": few}
    entries = [{key: getattr(row, key) for key in Row.__slots__} for row in rows]
    write_json(out / f"table-{data}.json", result | {"networks": entries, "published": published}, console)


def on_macro(
    config: Config,
    network: IntegerNetwork,
    steps: dict[str, Steps],
    images: NDArray[np.integer],
    *,
    die_seed: int | None = None,
    backend: str = "fast",
) -> NDArray[np.int64]:
    """Logits of images on an ideal die, or on a varied one.

    Args:
        config: the macro.
        network: the integer network.
        steps: ADC steps by layer name.
        images: codes.
        die_seed: of the varied die.
        backend: the engine.
    """
    placement = place(config, network, steps)
    die = ideal_die(config, placement.levels)
    if die_seed is not None:
        die = sample_die(config, placement.levels, seed=die_seed)
    runner = chain_runner(config, die, backend=backend)
    return forward_batched(network, placement, images, runner)


class _Work:
    """The evaluations of one checkpoint."""

    def __init__(
        self, config: Config, network: IntegerNetwork, parts: Parts, count: int, few: int, golden: int
    ) -> None:
        self.config, self.network, self.parts, self.count, self.few = config, network, parts, count, few
        self.golden = golden
        self.calibration = parts.train.images[:CALIBRATION_IMAGES]

    def row(self, name: str, dies: int, narrowed: dict[int, Config], progress: Any) -> Row:
        """All accuracies, with progress by evaluation; `narrowed` are the macros by bits of the ADC."""
        total, test = 2 + dies + len(narrowed), self.parts.test
        recipe = recipe_of(self.network.provenance)
        if "float" not in self.network.provenance:
            raise TwinorError(f"checkpoint {name} does not say what its float network reached: train it again")
        int4 = integer.logits(self.network, test.images[: self.count]).argmax(axis=1)
        progress(1, total)
        steps = calibrate(self.config, self.network, self.calibration)
        row = Row(
            name=name.removeprefix(f"{recipe.data}_"),
            image=recipe.image,
            trained=float(self.network.provenance["float"]),
            int4=percent(int4, test.labels[: self.count]),
            macro=self._percent(self.config, steps, self.count),
            golden=self._checked(name, steps),
            whole=self.count == len(test.labels),
        )
        progress(2, total)
        for seed in range(dies):
            row.dies.append(self._percent(self.config, steps, self.few, die_seed=seed))
            progress(3 + seed, total)
        for n, (bits, config) in enumerate(narrowed.items()):
            row.bits[bits] = self._percent(config, calibrate(config, self.network, self.calibration), self.few)
            progress(3 + dies + n, total)
        return row

    def _checked(self, name: str, steps: dict[str, Steps]) -> int:
        """Images that golden was asked about."""
        if self.golden:
            images = self.parts.test.images[: self.golden]
            fast, golden = (on_macro(self.config, self.network, steps, images, backend=b) for b in ("fast", "golden"))
            if not np.array_equal(fast, golden):
                raise TwinorError(f"checkpoint {name}: golden and fast differ on the first {self.golden} images")
        return self.golden

    def _percent(self, config: Config, steps: dict[str, Steps], count: int, **options: Any) -> float:
        found = on_macro(config, self.network, steps, self.parts.test.images[:count], **options).argmax(axis=1)
        return percent(found, self.parts.test.labels[:count])
