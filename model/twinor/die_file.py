# SPDX-License-Identifier: Apache-2.0
"""The file of a die: its integers, which every engine reads, and what it went through, from which it can age on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from twinor.device.ageing import Bake
from twinor.device.life import History, check_celsius
from twinor.device.model import headroom
from twinor.die import CELL_TABLES, TABLES, CellCurrents, Die, levels_digest
from twinor.errors import ConfigError, CorruptFile
from twinor.golden.column_correct import GAIN_BITS, GAIN_ONE, OFFSET_BITS
from twinor.store import read_archive, write_archive

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.store import Arrays, Header

__all__ = ["die_content", "die_of", "load_die", "save_die"]

REMEDY = "sample it again with `twinor die`"


def save_die(path: Path, die: Die) -> None:
    """Write a die as one file, whole or not at all.

    Raises:
        TwinorError: the file cannot be written.
    """
    header, arrays = die_content(die)
    write_archive(path, kind="die", header=header, arrays=arrays)


def die_content(die: Die) -> tuple[Header, Arrays]:
    """Header and arrays of a die in a file."""
    header: Header = {"config": die.config_digest, "levels": die.levels_digest, "seed": die.seed}
    tables = {name: getattr(die, name) for name in TABLES}
    if die.cells is not None:
        header |= {"noise_seed": die.cells.noise_seed, "first_macro": die.cells.first_macro}
        tables |= {name: getattr(die.cells, name) for name in CELL_TABLES}
    if die.history is not None:
        bakes = [[bake.seconds, bake.celsius] for bake in die.history.bakes]
        header |= {"bakes": bakes, "celsius": die.history.celsius, "reads": die.history.reads}
        header |= {"measured": die.history.threshold is not None, "measured_cells": die.history.measured}
        tables |= {"cell_levels": die.history.levels, "programmed": die.history.programmed}
    return header, tables


def die_of(header: Header, arrays: Arrays) -> Die:
    """The die that `die_content` described; nothing is checked.

    Raises:
        KeyError: something is missing.
    """
    cells = None
    if "noise_seed" in header:
        own = {name: arrays[name] for name in CELL_TABLES}
        cells = CellCurrents(noise_seed=header["noise_seed"], first_macro=header["first_macro"], **own)
    tables: dict[str, Any] = {name: arrays[name] for name in TABLES}
    named = {"config_digest": header["config"], "levels_digest": header["levels"], "seed": header["seed"]}
    return Die(**named, **tables, cells=cells)


def load_die(path: Path, config: Config, *, levels: NDArray[np.uint8] | None = None) -> Die:
    """Read a die and check it against the macro, and against the programmed levels if they are given.

    Raises:
        CorruptFile: missing, damaged, made for another configuration or other weights, or of the wrong shape or range.
    """
    header, tables = read_archive(path, kind="die", remedy=REMEDY)
    missing = {"config", "levels", "seed"} - set(header)
    if missing:
        raise CorruptFile(f"{path} does not say its {', '.join(sorted(missing))}; {REMEDY}")
    if header["config"] != config.digest():
        raise CorruptFile(f"{path} was made for another configuration than preset {config.name}; {REMEDY}")
    if levels is not None and header["levels"] != levels_digest(levels):
        raise CorruptFile(f"{path} was programmed with other weights than this network's; {REMEDY}")
    macros = max((1, *tables.get("strength", np.zeros(0)).shape[:1]))
    _check_tables(path, config, macros, header, tables)
    history = _history(path, config, macros, header, tables) if "celsius" in header else None
    if np.any(tables["drive"][:, :, 0]) or np.any(tables.get("current", np.zeros((1, 1, 1)))[:, :, 0]):
        raise CorruptFile(f"{path}: word-line code 0 drives a cell; {REMEDY}")
    return replace(die_of(header, tables), history=history)


def _history(path: Path, config: Config, macros: int, header: Header, arrays: Arrays) -> History:
    """What the die went through, checked."""
    shape = (macros, config.rows, config.bit_lines)
    for name, kind in (("cell_levels", "uint8"), ("programmed", "float64")):
        table = arrays.get(name, np.zeros(0))
        if table.shape != shape or table.dtype != kind or not np.all(np.isfinite(table)):
            raise CorruptFile(f"{path}: {name} must be finite {kind}{shape}; {REMEDY}")
    if int(arrays["cell_levels"].max()) >> config.cell_bits:
        raise CorruptFile(f"{path}: cell_levels exceed the {config.cell_bits} bits of a cell; {REMEDY}")
    try:
        bakes = tuple(Bake(seconds=seconds, celsius=celsius) for seconds, celsius in header["bakes"])
        check_celsius(header["celsius"])
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise CorruptFile(f"{path}: its bakes and its temperature are no such thing ({error}); {REMEDY}") from None
    levels, programmed, reads = arrays["cell_levels"], arrays["programmed"], header.get("reads")
    if type(reads) is not int or reads < 0:
        raise CorruptFile(f"{path}: reads must be an integer of at least 0; {REMEDY}")
    threshold = arrays["threshold"] if header.get("measured") is True else None
    now: dict[str, Any] = {"bakes": bakes, "celsius": header["celsius"], "reads": reads, "threshold": threshold}
    now["measured"] = header.get("measured_cells") is True
    return History(config=config, levels=levels, programmed=programmed, **now)


def _check_tables(path: Path, config: Config, macros: int, header: Header, tables: Arrays) -> None:
    """Every table has its shape, its type and its range."""
    codes = 1 << config.dac_bits
    shapes = {
        "strength": (macros, config.rows, config.bit_lines),
        "drive": (macros, config.rows, codes),
        "threshold": (macros, config.n_adcs, 1 << config.trials),
        "weight": (macros, config.trials),
        "gain": (macros, config.cols),
        "offset": (macros, config.cols),
    }
    limits = _limits(config)
    if "noise_seed" in header:
        if any(type(header.get(key)) is not int or header[key] < 0 for key in ("noise_seed", "first_macro")):
            raise CorruptFile(f"{path}: noise_seed and first_macro must be integers of at least 0; {REMEDY}")
        cell = (macros, config.rows, codes, config.bit_lines)
        array = (macros, config.rows, config.bit_lines)
        shapes |= {"current": cell, "variance": cell, "trap": array, "occupancy": array}
        shapes |= {"conversion": (macros, config.n_adcs)}
        limits |= _cell_limits(config)
    for name, shape in shapes.items():
        table, kind = tables.get(name, np.zeros(0)), "int64" if name in ("conversion", "variance") else "int32"
        if table.shape != shape or table.dtype != kind:
            raise CorruptFile(f"{path}: {name} is {table.dtype}{table.shape}, expected {kind}{shape}; {REMEDY}")
    for name, (least, most) in limits.items():
        low, high = int(tables[name].min()), int(tables[name].max())
        if low < least or high > most:
            raise CorruptFile(f"{path}: {name} {low} .. {high}, expected {least} .. {most}; {REMEDY}")


def _limits(config: Config) -> dict[str, tuple[int, int]]:
    """Smallest and largest value of a table; without column correction there is one gain and one offset."""
    offset = 1 << OFFSET_BITS - 1 if config.column_correction else 0
    return {
        "strength": (0, 2 * ((1 << config.cell_bits) - 1) << config.frac_bits),
        "drive": (0, ((1 << config.dac_bits) - 1) << config.frac_bits),
        "weight": (0, (1 << config.adc_bits) - 1),
        "gain": (0, (1 << GAIN_BITS) - 1) if config.column_correction else (GAIN_ONE, GAIN_ONE),
        "offset": (-offset, max(offset - 1, 0)),
    }


def _cell_limits(config: Config) -> dict[str, tuple[int, int]]:
    """Smallest and largest value of a table of single cells; the behavioural array has headroom for twice the top."""
    return {
        "current": (0, headroom(config)),
        "variance": (0, 1 << 53),
        "trap": (0, 1 << 16),
        "occupancy": (0, 256),
        "conversion": (0, 1 << 40),
    }
