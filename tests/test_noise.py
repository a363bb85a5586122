# SPDX-License-Identifier: Apache-2.0
"""Temporal noise: the published generator, integers of the variance they are given, keys alone count."""

import numpy as np
import pytest
from builders import Rng
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from twinor import noise

pytestmark = pytest.mark.fast

AT = {"macro": 3, "row": 16, "x_slice": 1, "w_slice": 0, "phase": 0}


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (1 << 64) - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            0x299F31D0A4093822,
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_answers(counter: tuple[int, ...], key: int, words: tuple[int, ...]) -> None:
    """The known answers of Random123."""
    found = noise.philox(tuple(np.array([c], dtype=np.uint64) for c in counter), key)
    assert tuple(int(word[0]) for word in found) == words


@given(st.lists(st.integers(0, (1 << 62) - 1), min_size=1, max_size=20))
def test_roots_are_exact(squares: list[int]) -> None:
    roots = noise.isqrt(np.array(squares)).tolist()
    assert all(r * r <= s < (r + 1) * (r + 1) for r, s in zip(roots, squares, strict=True))


def test_noise_is_normal_and_has_its_variance() -> None:
    words = noise.conversion_words(5, vectors=np.arange(4000), columns=np.arange(50), **AT).ravel()
    found = noise.gaussian(np.full(words.shape, 10**8), words) / 1e4
    assert abs(found.mean()) < 5 / np.sqrt(found.size) and abs(found.std() - 1) < 0.01
    assert stats.kstest(found, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.01


def test_a_conversion_has_its_noise_in_any_order_and_company() -> None:
    whole = noise.conversion_words(9, vectors=np.arange(100), columns=np.arange(64), **AT)
    some = noise.conversion_words(9, vectors=np.array([70, 3]), columns=np.array([63, 0, 17]), **AT)
    assert np.array_equal(some, whole[[70, 3]][:, [63, 0, 17]])


@pytest.mark.parametrize("part", [*AT, "seed"])
def test_every_part_of_the_key_counts(part: str) -> None:
    where, seed = dict(AT), 9
    before = noise.conversion_words(seed, vectors=np.arange(50), columns=np.arange(8), **where)
    if part == "seed":
        seed += 1 << 32  # its upper half
    else:
        where[part] += 1
    after = noise.conversion_words(seed, vectors=np.arange(50), columns=np.arange(8), **where)
    assert np.count_nonzero(before == after) < 5


def test_traps_are_filled_as_often_as_their_occupancy_says(rng: Rng) -> None:
    occupancy = rng.integers(0, 257, (32, 40))
    held = np.mean(
        [noise.trapped(7, macro=1, block=k, rows=np.arange(32), occupancy=occupancy) for k in range(400)], axis=0
    )
    assert np.max(np.abs(held - occupancy / 256)) < 5 * 0.5 / np.sqrt(400)
    assert held[occupancy == 0].sum() == 0 and np.all(held[occupancy == 256] == 1)


def test_a_trap_keeps_its_state_for_a_block_of_vectors() -> None:
    spans = list(noise.blocks(np.arange(noise.HOLD - 2, 2 * noise.HOLD + 1)))
    assert [(block, part.stop - part.start) for block, part in spans] == [(0, 2), (1, noise.HOLD), (2, 1)]
