# SPDX-License-Identifier: Apache-2.0
"""Proofs by k-induction: each holds on a small macro, and a planted fault refutes it; `make formal` proves the rest."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from twinor.config import Config

from tb.common.configs import OFFSET, SLICED, TINY, TWOS, ids
from tb.common.sources import REPO, RTL
from tb.formal.engine import FOLDER, attempt, wires
from tb.formal.proofs import MICRO, PROOFS, Proof

pytestmark = pytest.mark.lint

OWN = {"a_reset", "a_followed"}
"""Assumptions of the method: a run begins with a reset, and a proof follows one lane."""

LARGE = {"macro_ctrl", "streams_cim_macro"}
"""Proofs that take seconds on the smallest macro."""

BY_NAME = {proof.name: proof for proof in PROOFS}


@dataclass(frozen=True)
class Fault:
    """A fault: `old` becomes `new` in `rtl/<block>.v`, which breaks `property` of `proof`."""

    proof: str
    block: str
    old: str
    new: str
    broken: str
    config: Config = TINY


FAULTS = [
    Fault("sar_adc", "sar_adc", "seq_q >> 1", "seq_q >> 2", "p_trials"),
    Fault("sar_adc", "sar_adc", "done_o = seq_q[0]", "done_o = seq_q[1]", "p_done"),
    Fault("sar_adc", "sar_adc", "kept_q | seq_q;", "kept_q ^ (seq_q >> 1);", "p_trial"),
    Fault("sar_adc", "sar_adc", "{TRIALS{cmp_i[a]}}", "{TRIALS{cmp_i[0]}}", "p_path"),
    Fault("sar_adc", "sar_adc", "sum[ADC_BITS-1:0] | ", "sum[ADC_BITS-1:0] & ", "p_sum"),
    Fault("sar_adc", "sar_adc", "weight_addr_i == k[11:0]", "weight_addr_i >= k[11:0]", "p_weights"),
    Fault("sar_adc", "sar_adc", "<< (ADC_BITS - 1)", "<< (ADC_BITS - 2)", "p_code"),
    Fault("shift_add", "shift_add", "wide << 1 :", "wide << 2 :", "p_exact", SLICED),
    Fault("shift_add", "shift_add", "+ WEIGHT_BITS - 1)", "+ WEIGHT_BITS)", "p_exact", OFFSET),
    Fault("shift_add", "shift_add", "negate_i ? -change", "negate_i ? ~change", "p_exact", TWOS),
    Fault("shift_add", "shift_add", "= start + added", "= start - added", "p_exact"),
    Fault("shift_add", "shift_add", "if (accept) acc_q", "if (code_valid_i) acc_q", "p_held"),
    Fault("streams_wl_dac", "wl_dac", "in_ready_o = load_en_i && !loaded_q", "in_ready_o = load_en_i", "p_ready"),
    Fault(
        "streams_wl_dac",
        "wl_dac",
        "<= fill_next >= fill_end;",
        "<= fill_q >= fill_end;",
        "p_loaded",
    ),
    Fault(
        "streams_wl_dac",
        "wl_dac",
        "in_ready_o = load_en_i && !loaded_q",
        "in_ready_o = in_valid_i && load_en_i && !loaded_q",
        "in_ready_o depends on in_valid_i",
    ),
    Fault(
        "streams_shift_add",
        "shift_add",
        "sum_valid_o  = code_valid_i",
        "sum_valid_o  = accept",
        "sum_valid_o depends on sum_ready_i",
    ),
    Fault("streams_shift_add", "shift_add", "have_q < psum_lanes_i", "have_q <= psum_lanes_i", "p_psum_ready"),
    Fault(
        "streams_shift_add",
        "shift_add",
        "= code_valid_i && final_i && complete",
        "= code_valid_i && final_i && (sum_o[0] || complete)",
        "p_together",
    ),
    Fault("streams_shift_add", "shift_add", "if (accept) acc_q", "if (code_valid_i) acc_q", "p_stable"),
    Fault(
        "streams_shift_add",
        "shift_add",
        "{CODES_BITS{code_valid_i}}",
        "{CODES_BITS{code_valid_i && !res_full_i}}",
        "sum_o depends on res_full_i",
    ),
    Fault("streams_shift_add", "shift_add", "res_take_o   = accept && from_res", "res_take_o   = accept", "p_take"),
    Fault("streams_residual", "residual", "want_i && have_q < lanes_i", "have_q < lanes_i", "p_ready"),
    Fault("streams_residual", "residual", "have_q == lanes_i", "have_q >= 16'd1", "p_full"),
    Fault(
        "streams_residual",
        "residual",
        "want_i && have_q <",
        "want_i && valid_i && have_q <",
        "ready_o depends on valid_i",
    ),
    Fault(
        "streams_requantize",
        "requantize",
        "out_data_o  = out_data_q",
        "out_data_o  = raw_q ? acc : out_data_q",
        "p_stable",
    ),
    Fault("streams_requantize", "requantize", "else if (out_ready_i) begin", "else begin", "p_stays"),
    Fault("streams_requantize", "requantize", "last_q && left_q == 16'd1", "last_q && left_q == 16'd2", "p_last"),
    Fault(
        "streams_requantize",
        "requantize",
        "out_valid_o = out_valid_q",
        "out_valid_o = out_valid_q && !out_ready_i",
        "out_valid_o depends on out_ready_i",
    ),
    Fault("streams_cim_macro", "cim_macro", "word_ready && sum_ready", "word_ready", "p_word_ready", MICRO),
    Fault(
        "macro_ctrl",
        "macro_ctrl",
        "!code_valid_o || code_ready_i",
        "!code_valid_o && code_ready_i",
        "p_converted",
        MICRO,
    ),
    Fault("macro_ctrl", "macro_ctrl", "sample_q && code_free", "sample_q", "p_codes", MICRO),
    Fault("macro_ctrl", "macro_ctrl", "= armed_q && !write && !bad;", "= armed_q && !write;", "p_refused", MICRO),
    Fault(
        "macro_ctrl",
        "macro_ctrl",
        "end else if (error_valid_o) begin\n      armed_q",
        "end else if (1'b0) begin\n      armed_q",
        "p_stopped",
        MICRO,
    ),
]


needs_yosys = pytest.mark.skipif(
    shutil.which("yosys") is None, reason="yosys is not installed: `make setup` installs the linters"
)


@needs_yosys
@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.name)
def test_the_proof_holds_on_its_first_configuration(proof: Proof) -> None:
    verdict = attempt(proof, proof.configs[0], RTL)
    assert verdict.outcome == "proved", f"{verdict.broken} {verdict.said}"


@needs_yosys
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.proof}-{fault.broken.replace(' ', '_')}")
def test_a_planted_fault_refutes_the_proof(fault: Fault, tmp_path: Path) -> None:
    """By a run from the reset, in whose last cycle the property is 0.

    Runs of the sequencer and the macro take a minute each: a step from a state that the properties allow is enough.
    """
    rtl = shutil.copytree(RTL, tmp_path / "rtl")
    path = rtl / f"{fault.block}.v"
    text = path.read_text(encoding="utf-8")
    assert text.count(fault.old) == 1
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    search = fault.proof not in LARGE
    verdict = attempt(BY_NAME[fault.proof], fault.config, rtl, search=search)
    assert verdict.outcome == ("refuted" if search else "not kept"), verdict.said
    assert fault.broken in verdict.broken


class Narrow(Proof):
    """The same proof for accumulators of one bit less."""

    def parameters(self, config: Config) -> dict[str, int]:
        """The bound keeps its bits."""
        return super().parameters(config) | {"ACC_BITS": config.acc_bits - 1}


@needs_yosys
@pytest.mark.parametrize("config", [TINY, OFFSET, TWOS], ids=ids)
def test_accumulators_of_one_bit_less_overflow(config: Config) -> None:
    """By a run from the reset: an extreme partial sum and residual product are beyond them in the first pass."""
    proof = BY_NAME["shift_add"]
    verdict = attempt(Narrow(**vars(proof)), config, RTL)
    assert verdict.outcome == "refuted", verdict.said
    assert "p_exact" in verdict.broken


# Property modules //


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.name)
def test_every_property_has_a_sentence_and_is_asserted(proof: Proof) -> None:
    text = (FOLDER / proof.file).read_text(encoding="utf-8")
    properties, assumptions = wires(FOLDER / proof.file)
    for name, verb in [*((p, "assert") for p in properties), *((a, "assume") for a in assumptions)]:
        assert re.search(rf"\.\n  wire {name} |\"\n  wire {name} ", text), f"{name} has no sentence above it"
        assert text.count(f"{verb} ({name});") == 1
    assert len(re.findall(r"\b(assert|assume) \(", text)) == len(properties) + len(assumptions)


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.name)
def test_every_assumption_is_in_the_specification(proof: Proof) -> None:
    """A comment `page: "words"` above it, except where it says how a proof looks and not what a block may rely on."""
    text = (FOLDER / proof.file).read_text(encoding="utf-8")
    _, assumptions = wires(FOLDER / proof.file)
    for name in assumptions:
        if name in OWN:
            continue
        found = re.search(rf"  // (\S+\.md): \"([^\"]+)\"\n  wire {name} ", text)
        assert found, f"{name} names no page"
        assert found[2] in (REPO / found[1]).read_text(encoding="utf-8"), f"{found[1]} does not say {found[2]!r}"


def test_every_encoding_is_covered_by_every_proof_of_a_block_that_has_one() -> None:
    for proof in PROOFS:
        assert {config.weight_encoding for config in proof.configs} >= {c.weight_encoding for c in (TINY, OFFSET, TWOS)}
