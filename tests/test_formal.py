# SPDX-License-Identifier: Apache-2.0
"""Proofs by k-induction: each holds on a small macro, and a planted fault refutes it; `make formal` proves the rest."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from twinor.config import Config

from tb.common.configs import OFFSET, TINY, TWOS
from tb.common.sources import REPO, RTL
from tb.formal.engine import FOLDER, attempt, wires
from tb.formal.proofs import MICRO, PROOFS, Proof

pytestmark = pytest.mark.lint

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
    Fault("sar_adc", "sar_adc", "result_q | seq_q;", "result_q ^ (seq_q >> 1);", "p_trial"),
    Fault("sar_adc", "sar_adc", "{ADC_BITS{cmp_i[a]}}", "{ADC_BITS{cmp_i[0]}}", "p_path"),
    Fault("sar_adc", "sar_adc", "<< (ADC_BITS - 1)", "<< (ADC_BITS - 2)", "p_code"),
    Fault("sar_adc", "sar_adc", "(WEIGHT_ENCODING == 0)", "(WEIGHT_ENCODING <= 1)", "p_any_code", OFFSET),
    Fault("streams_wl_dac", "wl_dac", "load_en_i && !loaded_q", "load_en_i", "p_ready"),
    Fault(
        "streams_wl_dac",
        "wl_dac",
        "loaded_q <= fill_next >= load_count_i",
        "loaded_q <= fill_q >= load_count_i",
        "p_loaded",
    ),
    Fault(
        "streams_wl_dac",
        "wl_dac",
        "load_en_i && !loaded_q",
        "in_valid_i && load_en_i && !loaded_q",
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
        "code_valid_i && final_i && (",
        "code_valid_i && final_i && (sum_o[0] || ",
        "p_together",
    ),
    Fault("streams_shift_add", "shift_add", "accept && from_psum", "accept", "p_have"),
    Fault(
        "streams_requantize",
        "requantize",
        "out_data_o  = out_data_q",
        "out_data_o  = raw_q ? acc : out_data_q",
        "p_stable",
    ),
    Fault("streams_requantize", "requantize", "else if (out_ready_i) begin", "else begin", "p_stays"),
    Fault("streams_requantize", "requantize", "last_q && left_q == 16'd1", "last_q && left_q == 16'd2", "p_last"),
    Fault("streams_requantize", "requantize", "left_q == 16'd0 || (", "left_q <= 16'd1 || (", "p_ready"),
    Fault(
        "streams_requantize",
        "requantize",
        "out_valid_o = out_valid_q",
        "out_valid_o = out_valid_q && !out_ready_i",
        "out_valid_o depends on out_ready_i",
    ),
    Fault(
        "macro_ctrl",
        "macro_ctrl",
        "!code_valid_o || code_ready_i",
        "!code_valid_o && code_ready_i",
        "p_converted",
        MICRO,
    ),
    Fault("macro_ctrl", "macro_ctrl", "sample_q && code_free", "sample_q", "p_codes", MICRO),
    Fault("macro_ctrl", "macro_ctrl", "wait_q <= wait_q + 16'd1", "wait_q <= wait_q", "p_held", MICRO),
    Fault("macro_ctrl", "macro_ctrl", "|| loaded_i);", ");", "p_word_ready", MICRO),
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

    The sequencer's runs take a minute each: a step from a state that the properties allow is enough.
    """
    rtl = shutil.copytree(RTL, tmp_path / "rtl")
    path = rtl / f"{fault.block}.v"
    text = path.read_text(encoding="utf-8")
    assert text.count(fault.old) == 1
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    search = fault.proof != "macro_ctrl"
    verdict = attempt(BY_NAME[fault.proof], fault.config, rtl, search=search)
    assert verdict.outcome == ("refuted" if search else "not kept"), verdict.said
    assert fault.broken in verdict.broken


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
    """A comment `page: "words"` above it; the reset at power-up is the only one without."""
    text = (FOLDER / proof.file).read_text(encoding="utf-8")
    _, assumptions = wires(FOLDER / proof.file)
    for name in assumptions[1:]:
        found = re.search(rf"  // (\S+\.md): \"([^\"]+)\"\n  wire {name} ", text)
        assert found, f"{name} names no page"
        assert found[2] in (REPO / found[1]).read_text(encoding="utf-8"), f"{found[1]} does not say {found[2]!r}"
    assert assumptions[0] == "a_reset"


def test_every_encoding_is_covered_by_every_proof_of_a_block_that_has_one() -> None:
    for proof in PROOFS:
        assert {config.weight_encoding for config in proof.configs} >= {c.weight_encoding for c in (TINY, OFFSET, TWOS)}
