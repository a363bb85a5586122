# SPDX-License-Identifier: Apache-2.0
"""Which proofs there are: property module, Verilog, configurations and depth of each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from twinor.config import Config, replace

from tb.common.configs import OFFSET, RAGGED, REDUNDANT, REFERENCED, SHARED, SHARED_OFFSET, SLICED, TINY, TWOS
from tb.formal.engine import FOLDER

__all__ = ["MICRO", "PROOFS", "Proof"]


@dataclass(frozen=True)
class Proof:
    """A property module and where it must hold.

    Attributes:
        name: as on the command line; the file is `<name>.v`.
        sources: Verilog files in `rtl/`.
        configs: configurations that the proof covers.
        depth: most cycles of the induction.
        reach: cycles from the reset in which a run is sought that shows why an induction failed.
        show: signals of the property module that a trace shows, besides the properties.
        apart: pairs of an input and an output between which there must be no combinational path.
    """

    name: str
    sources: tuple[str, ...]
    configs: tuple[Config, ...]
    depth: int = 1
    reach: int = 20
    show: tuple[str, ...] = ()
    apart: tuple[tuple[str, str], ...] = ()

    @property
    def file(self) -> str:
        """The property module's file."""
        return f"{self.name}.v"

    @property
    def top(self) -> str:
        """The property module."""
        return f"formal_{self.name}"

    def parameters(self, config: Config) -> dict[str, int]:
        """Parameters that the property module declares; bounds of its environment keep their defaults."""
        text = (FOLDER / self.file).read_text(encoding="utf-8")
        names = re.findall(r"^  parameter (?:integer)? *(\w+)", text, flags=re.MULTILINE)
        known = config.parameters() | {
            "CODE_LOW": -config.code_min,
            "CODE_MAX": config.code_max,
            "STEP_SHIFT_MAX": config.step_shift_max,
            "ROUND_BOUND": config.round_bound,
            "BOUND_BITS": config.acc_bits,
        }
        return {name: known[name] for name in names if name in known}


TWO_BITS = replace(TINY, name="tiny_2bit", adc_bits=2)
WIDE = tuple(replace(c, name=f"{c.name}_8bit", adc_bits=8) for c in (TINY, OFFSET, TWOS))
ENCODINGS = (TINY, OFFSET, TWOS, SLICED, RAGGED)
SHARED_TWO = replace(SHARED_OFFSET, name="tiny_shared_offset_2", cols_per_adc=2)

TWO_POSITIONS = tuple(replace(c, name=f"{c.name}_6", cols=6, cols_per_adc=2) for c in (RAGGED, REFERENCED))

MICRO = replace(
    TINY, name="micro", rows=2, cols=2, active_rows=1, in_lanes=1, input_bits=1, adc_bits=2, max_rounds=1
)  # fmt: skip
"""One ADC of two columns, two row groups of one row: small enough for runs from the reset to the end of a chain."""

PROOFS = (
    Proof(
        "sar_adc",
        ("sar_adc.v",),
        (*ENCODINGS, TWO_BITS, *WIDE, REDUNDANT),
        show=("rst_ni", "start_i", "left_q", "seq", "found", "taken", "taken_result", "path_q", "count", "written_q"),
    ),
    Proof(
        "shift_add",
        ("shift_add.v",),
        (*ENCODINGS[:-1], SHARED_TWO, *TWO_POSITIONS),
        reach=10,
        show=(
            *("rst_ni", "code_valid_i", "accept", "ours", "first_i", "keep_i", "psum_i", "pass_i", "round", "code"),
            *("step_shift_i", "step_three_i", "new_wide", "exact", "exact_q", "bound"),
        ),
    ),
    Proof(
        "streams_wl_dac",
        ("wl_dac.v",),
        ENCODINGS,
        show=("rst_ni", "in_valid_i", "in_ready_o", "load_en_i", "swap_i", "rows_q", "full_q", "fill"),
        apart=(("in_valid_i", "in_ready_o"),),
    ),
    Proof(
        "streams_shift_add",
        ("shift_add.v",),
        (*ENCODINGS, REFERENCED),
        show=("rst_ni", "code_valid_i", "code_ready_o", "first_i", "psum_i", "final_i", "in_q", "sum_valid_o"),
        apart=(
            ("sum_ready_i", "sum_valid_o"),
            ("psum_valid_i", "psum_ready_o"),
            ("code_valid_i", "code_ready_o"),
            *(
                (start, "sum_o")
                for start in ("sum_ready_i", "psum_valid_i", "psum_data_i", "psum_lanes_i", "res_full_i")
            ),
        ),
    ),
    Proof(
        "streams_residual",
        ("residual.v",),
        ENCODINGS,
        show=("rst_ni", "want_i", "valid_i", "ready_o", "lanes_i", "in_q", "full_o", "take_i"),
        apart=(("valid_i", "ready_o"), ("valid_i", "full_o"), ("take_i", "full_o"), ("take_i", "ready_o")),
    ),
    Proof(
        "streams_requantize",
        ("requantize.v",),
        ENCODINGS,
        show=("rst_ni", "sum_valid_i", "sum_ready_o", "lanes_i", "left", "out_valid_o", "out_ready_i", "owed_q"),
        apart=(("out_ready_i", "out_valid_o"), ("sum_valid_i", "out_valid_o"), ("sum_valid_i", "sum_ready_o")),
    ),
    Proof(
        "streams_cim_macro",
        (
            *("cim_macro.v", "macro_ctrl.v", "round_check.v", "wl_dac.v", "sar_adc.v", "clip_count.v"),
            *("column_correct.v", "prog_ctrl.v", "residual.v", "shift_add.v", "requantize.v"),
        ),
        (MICRO, *ENCODINGS, REFERENCED),
        reach=12,
        show=(
            *("rst_ni", "round_valid_i", "round_ready_o", "in_valid_i", "in_ready_o", "psum_valid_i"),
            *("psum_ready_o", "out_valid_o", "out_ready_i", "armed", "loaded", "word_ready"),
        ),
        apart=(
            ("out_ready_i", "out_valid_o"),
            ("round_valid_i", "round_ready_o"),
            ("in_valid_i", "in_ready_o"),
            ("psum_valid_i", "psum_ready_o"),
            ("res_valid_i", "res_ready_o"),
        ),
    ),
    Proof(
        "macro_ctrl",
        ("macro_ctrl.v", "round_check.v"),
        (MICRO, *(replace(c, name=f"{c.name}_2r", max_rounds=2) for c in (*ENCODINGS, SHARED))),
        reach=24,
        show=(
            *("rst_ni", "load", "loading_q", "loaded_q", "busy", "waited", "x", "w", "left", "hold", "convert_busy"),
            *("waiting", "trials_q", "phase", "code_valid_o", "code_ready_i", "away_q", "remaining"),
        ),
        apart=(("code_ready_i", "code_valid_o"), ("word_valid_i", "word_ready_o")),
    ),
)
