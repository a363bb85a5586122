# SPDX-License-Identifier: Apache-2.0
"""What the pages of the blocks (rtl/<block>.md) say about their ports, as Verilog that a proof can use."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["INTERFACES", "Interface"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """Expressions over parameters, ports and registers of a block.

    Attributes:
        assumptions: what the page demands of the inputs in every cycle, by the sentence that a proof names.
        observed: when an output counts; the others always do.
        counts: when a register counts; proven with the rest, not assumed.
        facts: what the block's own registers always obey; proven with the rest, not assumed.
    """

    assumptions: dict[str, str] = field(default_factory=dict)
    observed: dict[str, str] = field(default_factory=dict)
    counts: dict[str, str] = field(default_factory=dict)
    facts: tuple[str, ...] = ()


_LANES = dict.fromkeys(("sum_q", "col_q", "last_q", "raw_q", "shift_q", "lo_q", "hi_q"), "left_q != 0")
_CODE = (
    *("position_o", "first_o", "keep_o", "psum_o", "residual_o", "final_o", "code_step_shift_o"),
    *("code_step_three_o", "slice_shift_o"),
    *(
        "negate_o",
        "offset_o",
        "x_shift_o",
        "wl_sum_o",
        "col_o",
        "lanes_o",
        "last_o",
        "raw_o",
        "shift_o",
        "lo_o",
        "hi_o",
    ),
)


_STATUSES = tuple(f"prog_status_{name}_o" for name in ("data", "code", "coarse", "fine", "last", "again"))


def _field(stage: str, low: int, width: int) -> str:
    """A field of the round that a stage of macro_ctrl works on."""
    return f"rounds_q[{stage}_q * 32 * ROUND_WORDS + {low} +: {width}]"


def _inside(instance: str, expression: str) -> str:
    """The same about the registers of an instance."""
    return re.sub(r"\b[a-z]\w*_q\b", lambda match: f"{instance}__{match[0]}", expression)


_PLAN = _field("settle", 64, 8)
_LOADS = "(loading_i || loaded_i)"
_STAGES = {"load": _LOADS, "settle": "busy_q", "convert": "convert_busy_q", "code": "code_valid_q"}


def _running(rule: str, *stages: str) -> str:
    """A rule about the words of the round that a stage works on; `<first bit,width>` in it is a field."""

    def fields(stage: str) -> str:
        return re.sub(r"<(\d+),(\d+)>", lambda m: _field(stage, int(m[1]), int(m[2])), rule)

    return " && ".join(f"(!{_STAGES[stage]} || ({fields(stage)}))" for stage in stages)


_ROUNDS = {
    "a round that loads is the last of the memory or not the last of the chain": (
        f"!{_LOADS} || load_q < MAX_ROUNDS - 1 || {_field('load', 76, 1)}"
    ),
    "plan is 1 .. X_SLICES": _running("<64,8> != 0 && <64,8> <= X_SLICES", "load", "settle"),
    "row_base + row_count + bias_rows <= ROWS": _running("{16'd0, <0,16>} + <16,16> + <160,16> <= ROWS", *_STAGES),
    "row_count is at least 1": _running("<16,16> != 0", "load", "settle"),
    "col_count is at least 1": _running("<48,16> != 0", *_STAGES),
    "col_base + col_count <= OUT_COLS": _running("{16'd0, <32,16>} * N_LANES + <48,16> <= OUT_COLS", *_STAGES),
    "steps are at most 2**step_shift_max": "!code_valid_q || code_step_q[7:1] < 32",
}
"""What `round_check` grants about the rounds that stages work on, because a bad descriptor never loads."""

_PASSES = (
    *(f"{stage}_q < MAX_ROUNDS" for stage in ("load", "settle", "convert", "code")),
    "wait_q <= WL_CYCLES + SETTLE_CYCLES - 1",
    "!sample_q || convert_busy_q",
    f"!busy_q || (x_q < {_PLAN} && w_q < W_SLICES && (!s_q || {_field('settle', 77, 1)}))",
    "!busy_q || {16'd0, row_q} + left_q <= ROWS",
    "!convert_busy_q || (convert_x_q < X_SLICES && convert_w_q < W_SLICES)",
    f"!convert_busy_q || col_q < {_field('convert', 48, 16)}",
    "!convert_busy_q || {16'd0, phase_q} * N_LANES == col_q",
    "!code_valid_q || (code_x_q < X_SLICES && code_w_q < W_SLICES)",
    "!code_valid_q || code_col_q < OUT_COLS",
    "!code_valid_q || {16'd0, code_phase_q} * N_LANES == code_col_q",
)


INTERFACES = {
    "wl_dac": Interface(
        assumptions={
            "load_base_i is a multiple of IN_LANES": "load_base_i % IN_LANES == 0",
            "load_count_i is at least 1": "load_count_i != 0",
            "the vector ends at or below ROWS": "{16'd0, load_base_i} + load_count_i + load_bias_i <= ROWS",
            "load_count_i is stable from the first beat to the swap": (
                "fill_q == 0 || fill_q < {16'd0, load_count_i} + load_bias_i"
            ),
            "slice_i is below X_SLICES": "slice_i < X_SLICES",
            "row_num_i is 1 .. ROWS": "row_num_i != 0 && row_num_i <= ROWS",
            "the driven rows end at or below ROWS": "{16'd0, row_first_i} + row_num_i <= ROWS",
            "swap_i only while loaded_o is high": "!swap_i || loaded_q",
        },
    ),
    "sar_adc": Interface(
        assumptions={"start_i never in a trial cycle": "!start_i || seq_q == 0"},
        facts=("(seq_q & (seq_q - 1'b1)) == 0",),
    ),
    "shift_add": Interface(
        assumptions={
            "position_i is below COLS_PER_ADC": "position_i < COLS_PER_ADC",
            "psum_lanes_i is at most N_LANES": "psum_lanes_i <= N_LANES",
            "psum_lanes_i is stable while partial sums wait": "have_q <= psum_lanes_i",
            "never both keep_i and psum_i": "!(keep_i && psum_i)",
        },
        observed={"sum_o": "code_valid_i"},
        facts=("have_q <= N_LANES",),
    ),
    "residual": Interface(
        assumptions={
            "lanes_i is 1 .. N_LANES": "lanes_i != 0 && lanes_i <= N_LANES",
            "lanes_i is stable while codes wait": "have_q <= lanes_i",
            "the columns end at or below OUT_COLS": "{16'd0, col_i} + lanes_i <= OUT_COLS",
            "take_i only while full_o is high": "!take_i || have_q == lanes_i",
        },
        observed={"product_o": "full_o"},
        facts=("have_q <= N_LANES",),
    ),
    "requantize": Interface(
        assumptions={
            "lanes_i is 1 .. N_LANES": "lanes_i != 0 && lanes_i <= N_LANES",
            "the columns end at or below OUT_COLS": "{16'd0, col_i} + lanes_i <= OUT_COLS",
            "shift_i is at least 1": "shift_i != 0",
            "lo_i <= hi_i": "$signed(lo_i) <= $signed(hi_i)",
        },
        observed={"out_data_o": "out_valid_o", "out_last_o": "out_valid_o"},
        counts=_LANES | dict.fromkeys(("out_data_q", "out_last_q"), "out_valid_q"),
        facts=(
            "left_q <= N_LANES",
            "left_q == 0 || {16'd0, col_q} + left_q <= OUT_COLS",
            "left_q == 0 || shift_q != 0",
            "left_q == 0 || $signed(lo_q) <= $signed(hi_q)",
        ),
    ),
    "macro_ctrl": Interface(
        assumptions=_ROUNDS
        | {"adc_done_i only while a conversion runs": "!adc_done_i || (convert_busy_q && !sample_q)"},
        observed=dict.fromkeys(_CODE, "code_valid_o")
        | {"psum_lanes_o": "psum_want_o"}
        | dict.fromkeys(("res_col_o", "res_lanes_o"), "res_want_o")
        | {"error_round_o": "error_valid_o"},
        facts=_PASSES,
    ),
    "cim_macro": Interface(
        assumptions={
            name: _inside("u_macro_ctrl", text).replace(_LOADS, "(u_wl_dac__fill_q != 0 || u_wl_dac__loaded_q)")
            for name, text in _ROUNDS.items()
        },
        observed={"out_data_o": "out_valid_o", "out_last_o": "out_valid_o"},
        facts=(
            *(_inside("u_macro_ctrl", text) for text in _PASSES),
            "u_sar_adc__seq_q == 0 || (u_macro_ctrl__convert_busy_q && !u_macro_ctrl__sample_q)",
            "(u_sar_adc__seq_q & (u_sar_adc__seq_q - 1'b1)) == 0",
        ),
    ),
    "column_correct": Interface(assumptions={"mux_i selects a column": "mux_i * N_ADCS + N_ADCS <= COLS"}),
    "clip_count": Interface(assumptions={"lanes_i is 1 .. N_ADCS": "lanes_i != 0 && lanes_i <= N_ADCS"}),
    "cim_axi": Interface(
        observed=dict.fromkeys(("m_axis_out_tdata", "m_axis_out_tlast"), "m_axis_out_tvalid")
        | {"s_axil_bresp": "s_axil_bvalid"}
        | dict.fromkeys(("s_axil_rdata", "s_axil_rresp"), "s_axil_rvalid"),
        counts={"aw_addr_q": "aw_full_q", "ar_addr_q": "ar_full_q", "b_resp_q": "b_valid_q"}
        | dict.fromkeys(("w_data_q", "w_strb_q"), "w_full_q")
        | dict.fromkeys(("r_data_q", "r_resp_q"), "r_valid_q")
        | dict.fromkeys(("result_data_q", "result_last_q"), "result_q")
        | dict.fromkeys(("spare_data_q", "spare_last_q"), "spare_q"),
    ),
    "prog_ctrl": Interface(
        assumptions={"adc_done_i only while a conversion runs": "!adc_done_i || state_q == 3"},
        observed=dict.fromkeys(_STATUSES, "prog_status_valid_o")
        | dict.fromkeys(("pulse_kind_o", "pulse_level_o"), "pulse_o")
        | {"pulse_mask_o": "pulse_o && pulse_kind_o != 0", "mux_o": "sample_o || pulse_o"}
        | dict.fromkeys(("w_slice_o", "line_sel_o"), "hold_o || pulse_o"),
        facts=(
            "mux_q < COLS_PER_ADC",
            "slice_q < W_SLICES",
            "row_q >= row_base_q && row_q <= row_last_q",
            "{16'd0, row_last_q} < ROWS",
            "wait_q <= WL_CYCLES + SETTLE_CYCLES",
        ),
    ),
    "bitline": Interface(assumptions={"w_slice_i is below W_SLICES": "w_slice_i < W_SLICES"}),
    "adc_frontend": Interface(
        assumptions={
            "mux_i selects a column": "mux_i * N_ADCS + N_ADCS <= COLS",
            "x_slice_i is one of the slices that come together": "x_slice_i * DAC_BITS <= HOLD_BITS - Q_BITS",
        },
    ),
}
"""The interfaces of the blocks; one that is missing assumes nothing, and every output counts."""
