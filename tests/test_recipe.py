# SPDX-License-Identifier: Apache-2.0
"""Recipes are read strictly, and one that cannot work or says what has no effect is refused before training."""

import pytest
from twinor.errors import ConfigError
from twinor.quantize import Recipe, load_recipe
from twinor.quantize.recipe import RECIPES, SEED_MAX

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello\n", "expected a table of keys, got str"),
        (b"- a\n", "expected a table of keys, got list"),
        (b"5\n", "expected a table of keys, got int"),
        (b"arch: \xff\n", "not a YAML file: 'utf-8' codec can't decode byte 0xff"),
        (b"seed: 2024-13-45\n", "not a YAML file: month must be in 1..12"),
        (b"seed: &a {b: *a}\n", "not a YAML file: "),
        (b"seed: 1\nseed: 2\n", "key seed stands twice (line 1): expected once"),
        (b"sead: 1\n", "unknown key sead = 1: expected arch, average, "),
        (b"width: wide\n", "width = 'wide': expected a number"),
        (b"seed: true\n", "seed = True: expected an integer"),
        (b"flip: 1\n", "flip = 1: expected true or false"),
        (b"width: 0\n", "recipe: width must be above 0, got 0"),
    ],
)
def test_a_file_that_is_no_recipe_is_named_with_what_is_wrong(tmp_path, content, words):
    (tmp_path / "own.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as told:
        load_recipe(str(tmp_path / "own.yaml"))
    assert str(told.value).startswith(f"own.yaml: {words}") and "\n" not in str(told.value)


def test_every_recipe_that_comes_with_twinor_is_one():
    names = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    assert {"digits", "digits_literal", "mnist"} <= set(names)
    assert all(isinstance(load_recipe(name), Recipe) for name in names)
    assert load_recipe("digits_literal") == Recipe(literal=True)


def test_changes_are_read_with_the_file_and_named(tmp_path):
    """A file may be a recipe only together with an option; what is wrong with an option is said to be its."""
    (tmp_path / "own.yaml").write_text("image: nibbles\n", encoding="utf-8")
    assert load_recipe(str(tmp_path / "own.yaml"), data="cifar10").image == "nibbles"
    with pytest.raises(
        ConfigError, match=r"^digits\.yaml with seed = 4294967296: recipe: seed must be in 0\.\.42949672"
    ):
        load_recipe("digits", seed=SEED_MAX + 1)
    assert load_recipe("digits", seed=SEED_MAX).seed == SEED_MAX


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"literal": True, "macro": "nor40_int4"}, "no macro takes them: leave literal or macro = nor40_int4 out"),
        ({"macro": "nor40_int4", "macro_share": 0.0}, "macro = nor40_int4 has no effect: macro_share = 0.0 of 30"),
        ({"macro": "nor40_int4", "quant_epochs": 1}, "macro_share = 0.5 of 1 quant_epochs is none"),
        ({"image": "lower", "data": "mnist"}, "image must be one of upper, nibbles, slices, got lower"),
        ({"image": "slices"}, "image = slices has no effect on data = digits, whose images have 4 bits: leave it out"),
        ({"seed": 10**30}, r"seed must be in 0\.\.4294967295, got 1000"),
    ],
)
def test_what_cannot_work_or_has_no_effect_is_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        Recipe(**change)


def test_a_recipe_says_how_many_epochs_its_macro_is_in():
    assert [Recipe(macro="nor40_int4", quant_epochs=n).macro_epochs for n in (2, 4, 30)] == [1, 2, 15]
    assert Recipe(quant_epochs=4).macro_epochs == 0
