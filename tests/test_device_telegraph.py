# SPDX-License-Identifier: Apache-2.0
"""The telegraph noise of an array is that of its strongest traps, drawn one by one."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from twinor.device.telegraph import Telegraph, Traps, draw_telegraph
from twinor.errors import ConfigError

pytestmark = pytest.mark.fast

SHAPE = (250, 400)


def all_traps(traps: Traps, rng: np.random.Generator) -> NDArray[np.float64]:
    """Amplitudes of every trap of every cell, [cells, most traps], 0 where there is none."""
    count = rng.poisson(traps.per_cell, SHAPE[0] * SHAPE[1])
    amplitude = rng.exponential(traps.mean_mV, (count.size, int(count.max())))
    return np.where(np.arange(count.max()) < count[:, None], amplitude, 0.0)


@pytest.mark.parametrize("per_cell", [0.5, 1.0, 2.0])
def test_an_amplitude_is_that_of_the_strongest_of_all_traps(per_cell: float, rng: np.random.Generator) -> None:
    traps = Traps(per_cell=per_cell, mean_mV=4.0)
    drawn = draw_telegraph(traps, SHAPE, rng).amplitude_mV
    assert drawn.shape == SHAPE and drawn.dtype == np.float64
    strongest = all_traps(traps, rng).max(axis=1)
    bare = np.exp(-per_cell)
    assert (drawn == 0).mean() == pytest.approx(bare, abs=5 * (bare / drawn.size) ** 0.5)
    assert stats.ks_2samp(drawn[drawn > 0], strongest[strongest > 0]).pvalue > 1e-3


def test_a_single_trap_has_an_exponential_amplitude(rng: np.random.Generator) -> None:
    """So rarely two in a cell that the strongest is any."""
    drawn = draw_telegraph(Traps(per_cell=0.01, mean_mV=5.0), (1000, 1000), rng).amplitude_mV
    assert stats.kstest(drawn[drawn > 0], "expon", args=(0.0, 5.0)).pvalue > 1e-3


@pytest.mark.parametrize(("per_cell", "share"), [(0.5, 0.94), (1.0, 0.89), (2.0, 0.81)])
def test_the_strongest_trap_carries_the_stated_share_of_the_variance(
    per_cell: float, share: float, rng: np.random.Generator
) -> None:
    squares = all_traps(Traps(per_cell=per_cell), rng) ** 2
    assert squares.max(axis=1).sum() / squares.sum() == pytest.approx(share, abs=0.01)


def test_an_occupancy_is_the_share_of_two_log_uniform_times(rng: np.random.Generator) -> None:
    noise = draw_telegraph(Traps(), SHAPE, rng)
    capture, emission = 10.0 ** rng.uniform(-6.0, 0.0, (2, 100_000))
    assert stats.ks_2samp(noise.occupancy.ravel(), emission / (capture + emission)).pvalue > 1e-3
    assert 0 < noise.occupancy.min() < 1e-5 and 1 - 1e-5 < noise.occupancy.max() < 1
    assert abs(stats.spearmanr(noise.occupancy.ravel(), noise.amplitude_mV.ravel()).statistic) < 0.02


def test_traps_with_equal_times_are_filled_half_of_the_time(rng: np.random.Generator) -> None:
    assert np.all(draw_telegraph(Traps(decades=0.0), (4, 4), rng).occupancy == 0.5)


def test_amplitudes_scale_and_a_cell_without_traps_is_quiet() -> None:
    def draw(traps: Traps) -> Telegraph:
        return draw_telegraph(traps, (20, 30), np.random.default_rng(5))

    one, three = draw(Traps(mean_mV=1.0)), draw(Traps(mean_mV=3.0))
    assert three.amplitude_mV == pytest.approx(3 * one.amplitude_mV) and np.array_equal(one.occupancy, three.occupancy)
    assert not draw(Traps(per_cell=0.0)).amplitude_mV.any() and not draw(Traps(mean_mV=0.0)).amplitude_mV.any()


@pytest.mark.parametrize("key", ["per_cell", "mean_mV", "decades"])
@pytest.mark.parametrize("value", [-0.1, 1e3, float("nan"), "1", None])
def test_figures_out_of_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"traps: {key} = .* is not allowed: expected"):
        Traps(**{key: value})
