# SPDX-License-Identifier: Apache-2.0
"""Presets are read strictly, contradictions are refused, and derived figures follow from the design page."""

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import configs
from hypothesis import given
from twinor.config import ACCUMULATIONS, ANALOG, DIGITAL, ENCODINGS, INPUT_MODES, PRESETS, Config, load, replace
from twinor.errors import ConfigError

from tb.common.configs import RAGGED, SHARED, SLICED, TWOS

pytestmark = pytest.mark.fast

TABLES = {"digital": DIGITAL, "analog": ANALOG}
KEYS = [(table, key) for table, keys in TABLES.items() for key in keys]
NUMBERS = [key for _, key in KEYS if not isinstance((DIGITAL | ANALOG)[key][0], str | bool)]


def tree_of(name: str) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))
    return tree


def refusal(tmp_path: Path, tree: object) -> str:
    """The sentence with which a preset file of this content is refused."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_preset_loads_by_name_and_by_path(path: Path) -> None:
    config = load(path.stem)
    assert config == load(path) == load(str(path))
    assert config.name == path.stem and config.follows
    for table, key in KEYS:
        assert getattr(config, key) == tree_of(path.stem)[table][key]


def test_the_presets_of_the_design_exist() -> None:
    assert {"tiny", "nor40_int4", "nor40_int4_exact"} <= {p.stem for p in PRESETS.glob("*.yaml")}


# Figures worked out by hand from the design page //

NOR40_FIGURES = {
    "x_slices": 2,
    "w_slices": 1,
    "lines_per_cell": 2,
    "bit_lines": 128,
    "n_adcs": 8,
    "bipolar": True,
    "code_min": -128,
    "code_max": 127,
    "code_bits": 9,
    "weight_offset": 0,
    "weight_min": -7,
    "weight_max": 7,
    "column_max": 256 * 3 * 7,
    "steps": (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64),
    "round_bound": 2 * (1 + 4) * 64 * 128,
    "held_max": 256 * 3 * 7,
    "residual_bits": 21,
    "acc_bits": 25,
    "wl_sum_bits": 10,
    "round_words": 7,
    "conversion_cycles": 9,
}
EXACT_FIGURES = {
    "x_slices": 4,
    "w_slices": 1,
    "lines_per_cell": 1,
    "bit_lines": 64,
    "bipolar": False,
    "code_min": 0,
    "code_max": 255,
    "weight_offset": 8,
    "weight_min": -8,
    "weight_max": 7,
    "column_max": 240,
    "steps": (1,),
    "round_bound": 2 * 16 * (1 + 2 + 4 + 8) * 255 + 8 * 15 * 256,
    "acc_bits": 25,
    "wl_sum_bits": 5,
}
SLICED_FIGURES = {"w_slices": 2, "bit_lines": 16, "column_max": 12, "steps": (1, 2, 3, 4), "round_words": 7}
TWOS_FIGURES = {"w_slices": 3, "bit_lines": 12, "code_min": 0, "code_max": 15, "weight_min": -4, "column_max": 4}
RAGGED_FIGURES = {"x_slices": 2, "n_adcs": 3, "column_max": 5 * 3 * 3, "steps": (1, 2, 3, 4, 6, 8)}
SHARED_FIGURES = {"held_max": 5 * 3 * 3 * (1 + 4), "column_max": 5 * 3 * 3}
SHARED_FIGURES |= {"steps": (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)}
SHARED_FIGURES |= {"round_bound": 2 * 3 * 64 * 8, "wl_sum_bits": 6, "hold_bits": RAGGED.current_bits + 1 + 4}
ONE_BIT_FIGURES = {"weight_min": -1, "weight_max": 1, "stored_bits": 1, "w_slices": 1}


@pytest.mark.parametrize(
    ("config", "figures"),
    [
        (load("nor40_int4"), NOR40_FIGURES),
        (load("nor40_int4_exact"), EXACT_FIGURES),
        (SLICED, SLICED_FIGURES),
        (TWOS, TWOS_FIGURES),
        (RAGGED, RAGGED_FIGURES),
        (SHARED, SHARED_FIGURES),
        (replace(load("tiny"), name="one_bit", weight_bits=1, cell_bits=1), ONE_BIT_FIGURES),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_derived_figures(config: Config, figures: dict[str, object]) -> None:
    assert {key: getattr(config, key) for key in figures} == figures


@given(configs())
def test_steps_are_all_the_design_allows_up_to_the_one_that_holds_a_full_column(config: Config) -> None:
    top = config.steps[-1]
    assert list(config.steps) == [s for s in range(1, top + 1) if s in {m << k for k in range(24) for m in (1, 3)}]
    held = config.code_max  # the smaller half of a signed range
    assert top & top - 1 == 0 and held * top >= config.held_max
    assert top == 1 or held * top // 2 < config.held_max


@given(configs())
def test_widths_hold_what_they_name(config: Config) -> None:
    bits = config.input_bits if config.analog_slices else config.dac_bits
    word = 1 << bits
    assert config.active_rows * (word - 1) < 1 << config.wl_sum_bits
    assert -(1 << config.code_bits - 1) <= config.code_min and config.code_max < 1 << config.code_bits - 1
    assert config.wl_sum_bits == max(bits + 1, (config.active_rows * (word - 1)).bit_length())
    doubled = 2 * config.column_max << 2 * config.frac_bits  # cells of a die reach twice the top level
    assert doubled.bit_length() <= config.current_bits < doubled.bit_length() + 8 and config.current_bits % 8 == 0
    assert config.x_slices * config.w_slices <= 4 * (config.round_words - 6)
    assert config.x_slices * config.dac_bits >= config.input_bits > (config.x_slices - 1) * config.dac_bits


@given(configs())
def test_verilog_gets_every_digital_key_and_the_widths(config: Config) -> None:
    parameters = config.parameters()
    words = {"weight_encoding", "input_mode", "slice_accumulation", "sar_weights"}
    for key in DIGITAL.keys() - words - {"bias_rows", "bias_code"}:
        assert parameters[key.upper()] == getattr(config, key)
    packed, bits = parameters["SAR_WEIGHTS"], config.adc_bits
    assert [packed >> k * bits & (1 << bits) - 1 for k in range(config.trials)] == list(config.weights)
    assert str(packed) == f"{config.trials * bits}'h{packed:x}"
    assert ENCODINGS[parameters["WEIGHT_ENCODING"]] == config.weight_encoding
    assert ACCUMULATIONS[parameters["SLICE_ACCUMULATION"]] == config.slice_accumulation
    assert INPUT_MODES[parameters["INPUT_MODE"]] == config.input_mode
    assert parameters["WL_BITS"] == (1 if config.input_mode == "pulse_width" else config.dac_bits)
    assert config.input_mode == "voltage" or config.wl_cycles == 2**config.dac_bits - 1
    assert not {"BIAS_ROWS", "BIAS_CODE"} & parameters.keys()  # descriptors tell the hardware
    for key in ("x_slices", "w_slices", "bit_lines", "n_adcs", "code_bits", "acc_bits", "wl_sum_bits", "round_words"):
        assert parameters[key.upper()] == getattr(config, key)
    assert (parameters["MULT_BITS"], parameters["ADD_BITS"]) == (16, 32)
    assert all(isinstance(value, int) for value in parameters.values())


# Refusals //


@pytest.mark.parametrize("key", NUMBERS)
def test_a_number_outside_its_range_is_refused_with_key_value_and_range(key: str, tiny: Config) -> None:
    low, high = (DIGITAL | ANALOG)[key]
    beyond = 1 if isinstance(low, int) else 0.001
    for value in (low - beyond, high + beyond, float("nan"), str(low), None, True, [low]):
        with pytest.raises(ConfigError) as caught:
            replace(tiny, **{key: value})
        kind = "an integer" if isinstance(low, int) else "a number"
        allowed = f"is not allowed: expected {kind} {low} .. {high}"
        assert str(caught.value) == f"preset tiny: {key} = {value!r} {allowed}"


@pytest.mark.parametrize("key", NUMBERS)
def test_both_ends_of_a_range_are_allowed(key: str, tiny: Config) -> None:
    for value in (DIGITAL | ANALOG)[key]:
        try:
            assert getattr(replace(tiny, **{key: value}), key) == value
        except ConfigError as error:  # the end contradicts another key of `tiny`, but not its own range
            assert "is not allowed" not in str(error)


@pytest.mark.parametrize("key", [key for key in DIGITAL if isinstance(DIGITAL[key][0], int)])
def test_a_fraction_is_not_an_integer(key: str, tiny: Config) -> None:
    value = float(getattr(tiny, key))
    with pytest.raises(ConfigError, match=rf"{key} = {value!r} is not allowed"):
        replace(tiny, **{key: value})


@pytest.mark.parametrize(("key", "choices"), [("weight_encoding", ENCODINGS), ("step", ("calibrated", "unit"))])
def test_a_word_is_one_of_its_choices(key: str, choices: tuple[str, ...], tiny: Config) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(tiny, **{key: "Offset"})
    assert str(caught.value) == f"preset tiny: {key} = 'Offset' is not allowed: expected one of {', '.join(choices)}"


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_a_missing_key_is_named_with_what_is_expected(table: str, key: str, tmp_path: Path) -> None:
    tree = tree_of("tiny")
    del tree[table][key]
    allowed = (DIGITAL | ANALOG)[key]
    said = refusal(tmp_path, tree)
    assert said.startswith(f"mine.yaml: missing key {table}.{key}: expected ")
    assert str(allowed[0]).lower() in said.lower() and str(allowed[-1]).lower() in said.lower()


@pytest.mark.parametrize("table", TABLES)
def test_an_unknown_key_is_named_with_its_value_and_the_known_ones(table: str, tmp_path: Path) -> None:
    tree = tree_of("tiny")
    tree[table]["adc_bit"] = 4
    said = refusal(tmp_path, tree)
    assert said.startswith(f"mine.yaml: unknown key {table}.adc_bit = 4: expected ")
    assert all(key in said for key in TABLES[table])


@pytest.mark.parametrize("key", ["follows", "digital", "analog"])
def test_every_part_of_a_preset_is_needed(key: str, tmp_path: Path) -> None:
    tree = tree_of("tiny")
    del tree[key]
    assert f"missing key {key}" in refusal(tmp_path, tree)
    assert "unknown key extra = 1" in refusal(tmp_path, tree_of("tiny") | {"extra": 1})


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("content", [None, 3, ["rows"]], ids=repr)
def test_a_table_must_be_a_table(table: str, content: object, tmp_path: Path) -> None:
    said = refusal(tmp_path, tree_of("tiny") | {table: content})
    assert f"{table}: expected a table of keys, got {content!r}" in said


@pytest.mark.parametrize("content", [b"", b"tiny", b"- 1", b"a: [", b"\xff\xfe\x00", b"a: !!python/object:os.system x"])
def test_what_is_not_a_preset_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"^mine\.yaml: ") as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "line"), [("rows", "  rows: 8\n  rows: 8\n"), ("analog", "analog: {}\nanalog:\n")])
def test_a_key_that_stands_twice_is_refused(key: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = (PRESETS / "tiny.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace(line.splitlines()[-1] + "\n", line), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"mine\.yaml: key {key} stands twice \(line \d+\)"):
        load(path)


def test_a_preset_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown preset 'nor40': .*nor40_int4.*tiny"):
        load("nor40")
    with pytest.raises(ConfigError, match=r"no preset file .*gone\.yaml"):
        load(tmp_path / "gone.yaml")


WIDEST = {
    "rows": 4096,
    "active_rows": 1,
    "max_rounds": 256,
    "weight_encoding": "offset",
    "weight_bits": 8,
    "cell_bits": 1,
    "input_bits": 8,
    "adc_bits": 12,
}
CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"active_rows": 9}, "active_rows = 9 exceeds rows = 8"),
    ({"ref_cols": True}, "ref_cols takes an offset back, which weight_encoding = differential does not have"),
    (
        {"ref_cols": True, "weight_encoding": "offset", "cols_per_adc": 4},
        "ref_cols leaves no column for weights: one ADC has all cols = 4",
    ),
    ({"cols_per_adc": 3}, "cols_per_adc = 3 must divide cols = 4"),
    ({"in_lanes": 3}, "in_lanes = 3 must divide rows = 8"),
    ({"adc_bits": 9, "frac_bits": 10}, "thresholds need adc_bits + 2 * frac_bits <= 28"),
    ({"dac_bits": 3}, "dac_bits = 3 exceeds input_bits = 2"),
    ({"cell_bits": 3}, "cell_bits = 3 exceeds the 2 bits that a weight stores"),
    ({"weight_encoding": "twos_complement"}, "twos_complement needs cell_bits = 1, got 2"),
    ({"slice_accumulation": "analog", "dac_bits": 2}, "analog needs input slices to accumulate"),
    (
        {"input_mode": "pulse_width", "wl_cycles": 2},
        "pulse_width needs wl_cycles = 1, the slots of dac_bits = 1, got 2",
    ),
    ({"bias_rows": 8}, "bias_rows = 8 leaves no word line of rows = 8"),
    ({"step": "unit"}, "an ADC that holds a full column: 12 array units against code 7"),
    (WIDEST, "accumulators would need 50 bits, more than"),
]


@pytest.mark.parametrize(("changes", "said"), CONTRADICTIONS, ids=[said.split()[0] for _, said in CONTRADICTIONS])
def test_contradictions_are_refused(changes: dict[str, Any], said: str, tiny: Config) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(tiny, **changes)
    assert str(caught.value).startswith("preset tiny: ") and said in str(caught.value)


def test_an_adc_that_just_holds_a_full_column_may_have_unit_steps(tiny: Config) -> None:
    assert replace(tiny, active_rows=2, step="unit").steps == (1,)  # 2 * 1 * 3 = 6, codes to 7
    with pytest.raises(ConfigError, match="holds a full column: 9 array units against code 7"):
        replace(tiny, active_rows=3, step="unit")
    assert replace(tiny, weight_encoding="offset", step="unit").column_max == 12  # unsigned codes reach 15
    whole = replace(tiny, active_rows=1, weight_bits=4, cell_bits=3, step="unit")
    assert whole.column_max == whole.code_max == 7


def test_the_widest_accumulators_and_thresholds_are_allowed(tiny: Config) -> None:
    assert replace(tiny, psum_bits=31, max_rounds=256).acc_bits == 32
    with pytest.raises(ConfigError, match="accumulators would need 34 bits, more than the 32 of a round word"):
        replace(tiny, psum_bits=31, max_rounds=256, rows=4096, active_rows=1, input_bits=8)
    assert replace(tiny, adc_bits=8, frac_bits=10).frac_bits == 10


@pytest.mark.parametrize("value", [0, 1, "true", None], ids=repr)
def test_a_switch_is_true_or_false(value: object, tiny: Config) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(tiny, column_correction=value)
    said = f"preset tiny: column_correction = {value!r} is not allowed: expected true or false"
    assert str(caught.value) == said


# Weights of the SAR trials //

WEIGHTS: list[tuple[object, str]] = [
    ([8, 4, 2, 1], "[8, 4, 2, 1] is a binary search: write `sar_weights: binary`"),
    ([8, 4, 4, 1], "trial 2 has weight 4, and what follows reaches 1: codes between them cannot come out"),
    ([4, 4, 2, 1], "a sum of 11: expected at least 15, the largest code of 4 bits"),
    ([8, 8, 8, 4, 2, 1], "a sum of 31: expected at most 30, twice the largest code"),
    ([4, 8, 2, 1, 1], "[4, 8, 2, 1, 1]: expected no weight above the one before"),
    ([16, 8, 4, 2, 1], "trial 0 has weight 16: expected 1 .. 15"),
    ([8, 4, 2, 1, 0], "trial 4 has weight 0: expected 1 .. 15"),
    ([8, 4, 2.0, 1, 1], "trial 2 has weight 2.0: expected 1 .. 15"),
    ([8, True, 4, 2, 1], "trial 1 has weight True: expected 1 .. 15"),
    ([8, "4", 2, 1], "trial 1 has weight '4': expected 1 .. 15"),
    ([2] * 5 + [1] * 10, "15 trials: expected at most 14"),
    ([], "a sum of 0: expected at least 15"),
    ("sub-binary", "sar_weights = 'sub-binary' is not allowed: expected binary, or a list of integers, the weight of"),
    (None, "sar_weights = None is not allowed: expected binary, or a list of integers, the weight of each trial"),
]


@pytest.mark.parametrize(("weights", "said"), WEIGHTS, ids=[str(weights) for weights, _ in WEIGHTS])
def test_weights_that_make_no_search_are_refused(weights: object, said: str, tmp_path: Path) -> None:
    tree = tree_of("tiny")
    tree["digital"]["sar_weights"] = weights
    assert said in refusal(tmp_path, tree)


def test_weights_are_read_as_they_stand(tiny: Config, tmp_path: Path) -> None:
    tree = tree_of("tiny")
    tree["digital"]["sar_weights"] = [6, 4, 3, 2, 1]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    config = load(path)
    assert (config.weights, config.trials, config.conversion_cycles) == ((6, 4, 3, 2, 1), 5, 6)
    assert config.digest() == replace(tiny, sar_weights=[6, 4, 3, 2, 1]).digest() != tiny.digest()
    assert (tiny.weights, tiny.trials, tiny.conversion_cycles) == ((8, 4, 2, 1), 4, 5)


# Copies and digests //


def test_a_copy_is_checked_and_a_configuration_never_changes(tiny: Config) -> None:
    with pytest.raises(ConfigError, match=r"unknown key row = 4: expected .*rows"):
        replace(tiny, row=4)
    with pytest.raises(FrozenInstanceError):
        tiny.rows = 4  # type: ignore[misc]


def test_the_digest_follows_every_key(tiny: Config) -> None:
    other = {
        "rows": 10, "cols": 6, "active_rows": 5, "cols_per_adc": 4, "weight_encoding": "offset", "weight_bits": 4,
        "cell_bits": 1, "input_bits": 3, "dac_bits": 2, "adc_bits": 5, "wl_cycles": 2, "settle_cycles": 2,
        "in_lanes": 4, "max_rounds": 5, "psum_bits": 11, "step": "unit", "sar_weights": (32, 16, 8, 8, 4, 2, 1),
        "column_correction": True, "slice_accumulation": "analog", "bias_rows": 1, "frac_bits": 7, "cell_sigma": 0.03,
        "input_mode": "pulse_width", "capacitor_sigma": 0.02, "comparator_sigma": 0.5, "bias_code": 2,
        "adc_rounding": "toward_zero",
    }  # fmt: skip
    base = replace(tiny, adc_bits=6)  # wide enough for `step: unit`
    offset = replace(base, weight_encoding="offset")
    assert other.keys() | {"ref_cols"} == (DIGITAL | ANALOG).keys()
    digests = {replace(base, **{key: value}).digest() for key, value in other.items()} | {base.digest()}
    digests.add(replace(offset, ref_cols=True).digest())
    assert len(digests) == len(other) + 2
    assert all(len(d) == 64 and int(d, 16) >= 0 for d in digests)


def test_the_digest_is_of_values_alone(tiny: Config) -> None:
    other = replace(tiny, name="mine", follows="another citation", cell_sigma=0, comparator_sigma=1)
    assert other.digest() == replace(tiny, cell_sigma=0.0, comparator_sigma=1.0).digest() != tiny.digest()
