# SPDX-License-Identifier: Apache-2.0
"""Monte Carlo over dies: effects one at a time and together, the same figures on any number of processes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from twinor import montecarlo
from twinor.config import load
from twinor.config import replace as changed
from twinor.device.ageing import Disturb
from twinor.device.array import device_of
from twinor.device.programming import Ispp
from twinor.die import sample_die
from twinor.errors import ConfigError
from twinor.montecarlo import ALL, Effect, Life, effects
from twinor.report.montecarlo import build_montecarlo
from twinor.session import prepare

PRESET = "nor40_iscas2021"

EVERY = [
    *("programming", "word-line DACs", "wires", "telegraph noise", "read noise"),
    *("capacitors", "comparator offset", "converter"),
]


def tables(config: Any, levels: Any, seed: int = 3) -> Any:
    die = sample_die(config, levels, seed=seed)
    assert die.cells is not None
    return die, die.cells


@pytest.mark.fast
def test_every_effect_stands_alone_and_the_rest_is_off(rng: np.random.Generator) -> None:
    config = changed(load(PRESET), rows=16, active_rows=16, cols=8)
    found = {effect.name: effect for effect in effects(config, Life(hours=10, bake=85, celsius=60))}
    assert list(found) == [ALL, *EVERY, "time", "temperature", "cells"]
    levels = rng.integers(0, 8, (1, 16, config.bit_lines)).astype(np.uint8)
    bare, cells = tables(found["cells"].config, levels)
    assert not bare.noisy
    for name in EVERY:
        die, own = tables(found[name].config, levels)
        told = {
            "cells": not np.array_equal(own.current, cells.current),
            "read": bool(own.variance.any()),
            "traps": bool(own.trap.any()),
            "thresholds": not np.array_equal(die.threshold, bare.threshold),
            "conversions": bool(own.conversion.any()),
        }
        wanted = {
            **{key: {"cells"} for key in ("programming", "word-line DACs", "wires")},
            **{"telegraph noise": {"traps", "cells"}, "read noise": {"read"}},
            **{key: {"thresholds"} for key in ("capacitors", "comparator offset")},
            "converter": {"thresholds", "conversions"},
        }
        assert {key for key, there in told.items() if there} == wanted[name], name
    assert found["time"].life == Life(hours=10, bake=85) and found["temperature"].life == Life(celsius=60)
    assert found[ALL].life == Life(hours=10, bake=85, celsius=60) and found[ALL].config == config


@pytest.mark.fast
def test_an_effect_that_the_device_does_not_have_is_not_listed() -> None:
    config = load(PRESET)
    quiet = changed(config, device=replace(device_of(config), traps=None), comparator_sigma=0.0)
    missing = set(EVERY) - {effect.name for effect in effects(quiet, Life())}
    assert missing == {"telegraph noise", "comparator offset"}
    with pytest.raises(ConfigError, match="preset tiny has no device"):
        effects(load("tiny"), Life())


def test_figures_do_not_depend_on_the_number_of_processes() -> None:
    bench = prepare(PRESET, images=6, seed=0, die_seed=None, die=None, console=Console(quiet=True))
    chosen = [e for e in effects(bench.config, Life()) if e.name in (ALL, "cells")]
    told: list[tuple[int, int]] = []
    one = montecarlo.run(bench, chosen, dies=3, each=2, processes=1, progress=lambda *step: told.append(step))
    two = montecarlo.run(bench, chosen, dies=3, each=2, processes=2)
    assert one == two and told == [(n, 5) for n in range(1, 6)]
    assert [(o.name, len(o.accuracies)) for o in one] == [(ALL, 3), ("cells", 2)]
    assert one[1].deviations[0] == one[1].deviations[1] < one[0].deviation  # nothing is drawn there


def test_a_worse_life_shows() -> None:
    """Without reference cells that track it, a hot die reads little right."""
    bench = prepare(PRESET, images=60, seed=0, die_seed=None, die=None, console=Console(quiet=True))
    config = changed(bench.config, device=replace(device_of(bench.config), tracking=False))
    fresh, hot = (Effect(ALL, config, life) for life in (Life(), Life(celsius=85)))
    scores = [montecarlo.run(bench, [effect], dies=1, each=1, processes=1)[0].mean for effect in (fresh, hot)]
    assert scores[0] > 95 and scores[1] < 60


@pytest.mark.fast
def test_the_page_says_which_effect_costs_most() -> None:
    result = {
        **{"preset": "chip", "config": "0" * 64, "network": "1" * 64, "images": 100, "ideal": 99.0},
        "life": {"hours": 0.0, "bake": 25.0, "celsius": 25.0},
        "effects": {ALL: [95.0, 97.0], "wires": [98.0, 98.0], "programming": [97.0, 97.5], "cells": [99.0, 99.0]},
        "deviations": {ALL: [9.0, 8.0], "wires": [1.0, 2.0], "programming": [4.0, 5.0], "cells": [0.5, 0.5]},
    }
    page = build_montecarlo(result, date="today")
    whole = "96.00 +- 1.41 % on 2 dies, -3.00 points from the ideal die"
    assert f"{whole}; alone, programming moves the logits most: by 4.50 %" in page
    assert page == build_montecarlo(result, date="today")


def test_disturb_and_noise_of_word_lines_are_told_apart() -> None:
    """Pulses that disturb go with those that program, noise of a word line with its DAC; without both, neither."""
    config = load("nor40_iscas2021")
    device = device_of(config)
    assert device.word_line is not None
    worse = replace(
        device,
        ispp=Ispp(step_mV=5.0),
        disturb=Disturb(per_pulse_mV=0.01),
        word_line=replace(device.word_line, sigma_mV=0.0, noise_mV=0.5),
    )
    found = {e.name: e.config.device for e in effects(changed(config, cell_sigma=0.0, device=worse), Life())}
    assert found["programming"].disturb == worse.disturb and found["cells"].disturb is None  # type: ignore[union-attr]
    assert found["word-line DACs"].word_line.noise_mV == 0.5 and found["cells"].word_line.noise_mV == 0.0  # type: ignore[union-attr]


def test_measured_cells_have_their_statistics_one_at_a_time() -> None:
    """Exactly programmed and without noise they are what was asked of them, and drift alone is left with time."""
    config = changed(load("sonos40"), rows=32, active_rows=32)
    levels = np.full((1, 32, config.bit_lines), 5, dtype=np.uint8)
    dies = {e.name: e.die(levels, seed=2) for e in effects(config, Life(hours=24.0))}
    found = {name: (die.cells.current[0, :, 1].std(), die.noisy) for name, die in dies.items()}  # type: ignore[union-attr]
    assert found["cells"] == (0.0, False) and found["time"] == (0.0, False) and found["capacitors"] == (0.0, False)
    assert found["programming"][0] > 0 and not found["programming"][1]
    assert found["read noise"] == (0.0, True) and found[ALL][0] > 0 and found[ALL][1]
    assert dies["time"].cells.current.max() != dies["cells"].cells.current.max()  # type: ignore[union-attr]
