# SPDX-License-Identifier: Apache-2.0
"""What `twinor train --ablate` does: a recipe and each change of it alone, so that every choice has its price."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from twinor import tables
from twinor.calibrate import calibrate
from twinor.config import load
from twinor.errors import ConfigError, PlacementError
from twinor.network_file import load_network
from twinor.session import write_json
from twinor.session_table import on_macro
from twinor.session_train import parts_of, train
from twinor.workbench import CALIBRATION_IMAGES, percent

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from twinor.quantize.recipe import Recipe

__all__ = ["CHANGES", "Priced", "ablate"]

PRESET = "nor40_int4"
"""The macro, where the recipe has none."""

CHANGES: dict[str, dict[str, Any]] = {
    "upper nibble alone": {"image": "upper"},
    "both nibbles": {"image": "nibbles"},
    "8-bit image, slices": {"image": "slices"},
    "8-bit end weights": {"end_weight_bits": 8},
    "ADC in the loop": {"macro": PRESET},
    "no ADC in the loop": {"macro": ""},
    "no distillation": {"distillation": 0.0},
    "sums of codes": {"residual": "codes"},
}
"""What is changed, one at a time; what a recipe has already is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """Accuracies of a recipe with one change, in percent."""

    change: str
    trained: float
    """Of its float network."""
    int4: float
    """Of the integers alone."""
    macro: float | None
    """On the macro with an ideal die; None where it does not hold the weights or take the images."""


def ablate(
    recipe: Recipe,
    name: str,
    *,
    seeds: int,
    die: Path | None,
    data_dir: Path | None,
    out: Path,
    console: Console,
    **options: Any,
) -> None:
    """Train the recipe and each change of it, from one float network where that stays; `<name>-ablation.json`.

    Each network is, bit for bit, the one that `twinor train` makes of the changed recipe; a killed run goes on.

    Args:
        recipe: what is changed.
        name: of the files; each training adds its change.
        seeds: 1.
        die: None.
        data_dir: folder of the official files, as in `load_parts`.
        out: folder of the results.
        console: gets the tables.
        options: as `train` takes them.

    Raises:
        ConfigError: several seeds or a die are wanted; else as `train`.
        TwinorError: as `train`.
    """
    if seeds > 1 or die is not None:
        raise ConfigError("--ablate is of one seed and of ideal dies: leave --seeds and --die out")
    given: dict[str, Any] = {"die": None, "data_dir": data_dir, "out": out, "console": console, "share_float": True}
    given |= options
    rows = [_priced("none", recipe, name, train(recipe, name, **given), given)]
    left_out = dict[str, str]()
    for change, fields in CHANGES.items():
        if all(getattr(recipe, key) == value for key, value in fields.items()):
            continue
        changed = f"{name}-{'-'.join(f'{key}-{value or 0}' for key, value in fields.items())}"
        try:
            one = replace(recipe, **fields)
            scores = train(one, changed, **given)
        except (ConfigError, PlacementError) as error:
            left_out[change] = str(error)
            continue
        rows.append(_priced(change, one, changed, scores, given))
    tables.show(f"{name}, one change at a time, on {recipe.macro or PRESET}", tables.ablation(rows), console)
    for change, reason in left_out.items():
        console.print(f"left out: {change} ({reason})", soft_wrap=True)
    result = {"recipe": asdict(recipe), "preset": recipe.macro or PRESET, "left_out": left_out}
    write_json(out / f"{name}-ablation.json", result | {"rows": [asdict(row) for row in rows]}, console)


def _priced(change: str, recipe: Recipe, name: str, scores: dict[str, float], given: dict[str, Any]) -> Priced:
    """A trained recipe on the macro too."""
    network, parts = load_network(given["out"] / f"{name}.npz"), parts_of(recipe, given["data_dir"])
    config = load(recipe.macro or PRESET)
    try:
        steps = calibrate(config, network, parts.train.images[:CALIBRATION_IMAGES])
        found = on_macro(config, network, steps, parts.test.images).argmax(axis=1)
        macro = percent(found, parts.test.labels)
    except PlacementError:
        macro = None
    return Priced(change=change, trained=scores["float"], int4=scores["int4"], macro=macro)
