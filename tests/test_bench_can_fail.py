# SPDX-License-Identifier: Apache-2.0
"""One changed constant, operator or index in the Verilog: the block's bench fails, and co-simulation names the seam."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from twinor.config import Config, load, replace
from twinor.cosim.network import cosim
from twinor.die import ideal_die
from twinor.network import IntegerNetwork, Linear, Requant
from twinor.params import RTL
from twinor.place import place
from twinor.trace import Divergence

from tb.common.configs import SHARED
from tb.common.runner import BenchFailed, run_bench
from tb.common.sources import needs_die

pytestmark = pytest.mark.rtl

SMALL = replace(
    load("tiny"), rows=16, cols=8, active_rows=8, weight_bits=4, cell_bits=3, input_bits=4, dac_bits=2, adc_bits=5,
    psum_bits=16,
)  # fmt: skip
OFFSET = replace(SMALL, weight_encoding="offset", cell_bits=4)
REFERENCED = replace(OFFSET, ref_cols=True)
CORRECTED = replace(SMALL, column_correction=True)
PULSED = replace(SMALL, input_mode="pulse_width", wl_cycles=3)
BITS = replace(SMALL, weight_encoding="twos_complement", cell_bits=1)


@dataclass(frozen=True)
class Mutant:
    """A fault: `old` becomes `new` in `block`; co-simulation on `config` must name `seam`.

    Co-simulation sends its words first and never stalls: faults that need other traffic have no seam.
    """

    block: str
    old: str
    new: str
    seam: str | None
    config: Config = SMALL


MUTANTS = [
    Mutant("wl_dac", ": active_q[slice_i", ": active_q[0", "word_lines"),
    Mutant("wl_dac", "row_first_i} * DAC_BITS", "row_first_i} * 1", "word_lines"),
    Mutant("wl_dac", "(swap_i ? shadow_q", "(1'b0 ? shadow_q", "word_lines"),
    Mutant("wl_dac", "sum = sum + ", "sum = sum | ", "partial_sums", OFFSET),
    Mutant("wl_dac", "> slot_next;", ">= slot_next;", "word_lines", PULSED),
    Mutant("wl_dac", "code_next = drive_i ? code : wl_q", "code_next = wl_q", "word_lines", PULSED),
    Mutant("wl_dac", "slot_next = drive_i ? {DAC_BITS{1'b0}} : ", "slot_next = ", "word_lines", PULSED),
    Mutant("wl_dac", "start_q <= drive_i;", "start_q <= 1'b0;", "word_lines", PULSED),
    Mutant("prog_ctrl", "wide > aim + $signed({2'b00, prog_margin_i})", "wide > aim", None),
    Mutant("prog_ctrl", "(1 << DAC_BITS) - 1;", "1 << DAC_BITS;", None, PULSED),
    Mutant("prog_ctrl", "&& wait_q == 16'd0;", "&& wait_q == 16'd1;", None, PULSED),
    Mutant("sar_adc", "{TRIALS{cmp_i[a]}}", "{TRIALS{!cmp_i[a]}}", "trials"),
    Mutant("sar_adc", "weight & {ADC_BITS{cmp_i[a]}}", "weight & {ADC_BITS{!cmp_i[a]}}", "codes"),
    Mutant("sar_adc", "sum[ADC_BITS-1:0] | ", "sum[ADC_BITS-1:0] & ", "codes"),
    Mutant("sar_adc", "seq_q >> 1", "seq_q >> 2", "trials"),
    Mutant("sar_adc", "<< (ADC_BITS - 1)", "<< (ADC_BITS - 2)", "codes"),
    Mutant("column_correct", "(raw * factor + addend) >>> 8", "(raw * factor + addend) >> 8", "codes", CORRECTED),
    Mutant("column_correct", "mux_q <= mux_i;", "mux_q <= 16'd0;", "codes", CORRECTED),
    Mutant("column_correct", "raw * factor + addend", "raw * factor - addend", "codes", CORRECTED),
    Mutant("clip_count", "+: CODE_BITS] == CODE_MIN}", "+: CODE_BITS] <= CODE_MIN}", "clip_low"),
    Mutant("clip_count", "+: CODE_BITS] == CODE_MAX}", "+: CODE_BITS] >= CODE_MAX}", "clip_high"),
    Mutant("clip_count", "lows & {33{take_i}}", "lows", "clip_low"),
    Mutant("shift_add", "wide << 1 :", "wide << 2 :", "partial_sums"),
    Mutant("shift_add", "first_i && !keep_i", "first_i", "partial_sums"),
    Mutant("shift_add", "step_shift_i} + slice_shift_i", "step_shift_i}", "partial_sums"),
    Mutant("shift_add", "{psum[PSUM_BITS-1]}", "{1'b0}", "partial_sums"),
    Mutant("shift_add", "negate_i ? -change : change", "change", "partial_sums", BITS),
    Mutant("shift_add", "+ WEIGHT_BITS - 1)", "+ WEIGHT_BITS)", "partial_sums", OFFSET),
    Mutant("shift_add", "CODE_BITS] - reference", "CODE_BITS]", "partial_sums", REFERENCED),
    Mutant(
        "shift_add",
        "(REF_COLS == 1) ? codes[CODE_BITS-1:0]",
        "(REF_COLS == 1) ? ~codes[CODE_BITS-1:0]",
        "partial_sums",
        REFERENCED,
    ),
    Mutant("cim_macro", "lanes + REF_COLS[15:0]", "lanes", "clip_low", REFERENCED),
    Mutant("shift_add", "= start + added", "= start", None),
    Mutant("wl_dac", "sign[l] ? -x : x", "x", None),
    Mutant("wl_dac", "sign_of[k] == phase_i", "!phase_i", None),
    Mutant("residual", "= code * mult;", "= code + mult;", None),
    Mutant("residual", "col_i + have_q", "col_i", None),
    Mutant("residual", "have_q < lanes_i", "have_q <= lanes_i", None),
    Mutant("round_check", "mux * N_LANES + col_count", "col_count", None),
    Mutant("round_check", "+ bias_rows > ROWS", "> ROWS", None),
    Mutant("round_check", "step[0] ? 8'd2", "step[0] ? 8'd1", None),
    Mutant("macro_ctrl", "= armed_q && !write && !bad;", "= armed_q && !write;", None),
    Mutant("macro_ctrl", "share   = settled && ANALOG && !x_end", "share   = settled && ANALOG && x_end", None, SHARED),
    Mutant("requantize", "wide >>> shift_q", "wide >> shift_q", "outputs"),
    Mutant("requantize", "col_q + 16'd1", "col_q", "outputs"),
    Mutant("requantize", "acc * mult + ", "acc * mult - ", "outputs"),
    Mutant("requantize", "last_q && left_q == 16'd1", "last_q && left_q == 16'd2", "last_flags"),
    Mutant("macro_ctrl", "row_q + GROUP", "row_q + LANES", "word_lines"),
    Mutant("macro_ctrl", "WL_CYCLES + SETTLE_CYCLES - 1", "WL_CYCLES + SETTLE_CYCLES", "cycles"),
    Mutant("macro_ctrl", "convert_mux + phase_q", "phase_q", "trials"),
    Mutant("macro_ctrl", "code_from == StartLast", "1'b0", "partial_sums"),
    Mutant("macro_ctrl", "code_end == EndRaw", "code_end != EndRaw", "outputs"),
    Mutant("cim_macro", ".cmp_i(cmp_i)", ".cmp_i(~cmp_i)", "trials"),
    Mutant("cim_macro", ".lo_i        (lo)", ".lo_i        (hi)", "outputs"),
    Mutant("cim_macro", ".keep_i(keep)", ".keep_i(psum)", "partial_sums"),
    Mutant("cim_macro", "word_ready && sum_ready", "word_ready", None),
    Mutant("macro_ctrl", "load_q == {ROUND_BITS{1'b0}}\n", "1'b1\n", None),
    Mutant("cim_macro", ".wl_sum_i(code_wl_sum)", ".wl_sum_i(wl_sum)", "partial_sums", OFFSET),
]


def _ids(mutant: Mutant) -> str:
    return f"{mutant.block}-{mutant.new.strip().replace(' ', '')}"


def _mutated(mutant: Mutant, folder: Path) -> Path:
    """A copy of the Verilog with one fault."""
    rtl = folder / "rtl"
    shutil.copytree(RTL, rtl)
    path = rtl / f"{mutant.block}.v"
    text = path.read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1, f"{mutant.old!r} stands {text.count(mutant.old)} times in {path.name}"
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    return rtl


def _network(config: Config) -> IntegerNetwork:
    """Two linear layers with tiles in both directions, side-by-side rounds and partial sums that re-enter."""
    rng = np.random.default_rng(1)

    def layer(name: str, rows: int, cols: int, top: int) -> Linear:
        weight = rng.integers(config.weight_min, config.weight_max + 1, (cols, rows)).astype(np.int8)
        mult = rng.integers(-9, 40, cols).astype(np.int16)
        rule = Requant(mult=mult, add=rng.integers(-500, 900, cols).astype(np.int32), shift=6, lo=0, hi=top)
        return Linear(name=name, weight=weight, requant=rule)

    layers = (layer("first", 40, 12, 15), layer("second", 12, 10, 4000))
    return IntegerNetwork(input_shape=(40,), input_bits=4, layers=layers)  # type: ignore[arg-type]


def _cosim(config: Config, rtl: Path, folder: Path) -> None:
    network = _network(config)
    step = (config.steps[len(config.steps) // 2],)
    plan = tuple(step * config.w_slices for _ in range(config.x_slices))
    placement = place(config, network, {"first": plan, "second": plan})
    images = np.random.default_rng(2).integers(0, 16, (3, 40))
    die = ideal_die(config, placement.levels)
    if config.column_correction:
        die.gain[:], die.offset[:] = np.arange(config.cols) * 40 + 150, 128 - 50 * np.arange(config.cols)
    cosim(config, network, placement, die, images, rtl=rtl, reproducers=folder)


def _named(config: Config) -> str:
    return f"{config.weight_encoding}-{config.input_mode}" + "-ref_cols" * config.ref_cols


@pytest.mark.parametrize("config", [SMALL, OFFSET, REFERENCED, BITS, PULSED], ids=_named)
def test_the_unchanged_verilog_passes(config: Config, tmp_path: Path) -> None:
    """Else every mutant would count as found."""
    _cosim(config, RTL, tmp_path)


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.seam], ids=_ids)
def test_cosimulation_names_the_seam(mutant: Mutant, tmp_path: Path) -> None:
    """The first difference is at the seam that the block drives."""
    with pytest.raises(Divergence) as found:
        _cosim(mutant.config, _mutated(mutant, tmp_path), tmp_path)
    assert found.value.seam == mutant.seam, str(found.value)  # type: ignore[attr-defined]


def _bench(block: str, config: Config, folder: Path, rtl: Path) -> None:
    levels = np.random.default_rng(3).integers(0, 1 << config.cell_bits, (1, config.rows, config.bit_lines))
    die = ideal_die(config, levels.astype(np.uint8)) if needs_die(block) else None
    run_bench(block, config, folder, rtl=rtl, die=die)


@pytest.mark.parametrize(
    ("block", "config"),
    sorted({(m.block, m.config) for m in MUTANTS}, key=repr),
    ids=lambda value: value if isinstance(value, str) else _named(value),
)
def test_the_bench_passes_the_unchanged_block(block: str, config: Config, tmp_path: Path) -> None:
    """Else every mutant of the block would count as caught."""
    _bench(block, config, tmp_path / "run", RTL)


@pytest.mark.parametrize("mutant", MUTANTS, ids=_ids)
def test_the_bench_of_the_block_fails(mutant: Mutant, tmp_path: Path) -> None:
    """A bench that passes a faulty block checks nothing."""
    with pytest.raises(BenchFailed):
        _bench(mutant.block, mutant.config, tmp_path / "run", _mutated(mutant, tmp_path))


def test_every_synthesizable_block_has_three_mutants() -> None:
    """The list covers what the project promises."""
    blocks = [mutant.block for mutant in MUTANTS]
    listed = {Path(line).stem for line in (RTL / "rtl.f").read_text(encoding="utf-8").split()}
    assert {block for block in blocks if blocks.count(block) >= 3} == listed
