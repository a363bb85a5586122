# SPDX-License-Identifier: Apache-2.0
"""Synthesis: cells by block, the macro's bench on the netlist, and what either says when something is wrong."""

import doctest
import fcntl
import json
import os
import pickle
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import yaml
from builders import random_levels
from command_line import mutated
from twinor.config import ANALOG, DIGITAL, Config, replace
from twinor.cosim import icarus
from twinor.die import sample_die
from twinor.errors import TwinorError
from twinor.params import RTL

from tb.common.configs import TINY
from tb.common.runner import BenchFailed, run_bench
from tb.gatesim import __main__ as gatesim
from tb.gatesim import netlist as netlist_of
from tb.gatesim.netlist import gate_level
from tb.synth import __main__ as synth
from tb.synth import cost as cells_of
from tb.synth.cost import ENABLE, FLIP_FLOP, RESET, cost, transistors
from tb.synth.flow import Netlist, synthesise, synthesise_buses

pytestmark = pytest.mark.lint

SMALLEST = replace(
    TINY, name="smallest", rows=4, cols=2, active_rows=2, cols_per_adc=1, in_lanes=2, max_rounds=1, weight_bits=2,
    cell_bits=1, adc_bits=2, psum_bits=8,
)  # fmt: skip
"""Two columns with an ADC each, one round, 4 rows in two groups: the least that Yosys must map."""

FULL_RATE = "chains_at_full_rate"


def needs_yosys() -> None:
    """Skip without it."""
    if shutil.which("yosys") is None:
        pytest.skip("yosys is not installed: `make setup` installs the linters")


def preset(config: Config, folder: Path) -> Path:
    """A configuration as a file."""
    values = asdict(config)
    tables = {"digital": DIGITAL, "analog": ANALOG}
    tree = {name: {key: values[key] for key in keys} for name, keys in tables.items()}
    path = folder / f"{config.name}.yaml"
    path.write_text(yaml.safe_dump({"follows": config.follows} | tree), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def netlist(tmp_path_factory: pytest.TempPathFactory) -> Netlist:
    """The smallest macro, once for all workers of a run."""
    needs_yosys()
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "synth"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "netlist").exists():
            made = pickle.dumps(synthesise(SMALLEST, folder / "run"))
            (folder / "netlist").write_bytes(made)
        return pickle.loads((folder / "netlist").read_bytes())


def bench_on(text: str, folder: Path, **options: str) -> None:
    """The bench of the macro on a netlist."""
    verilog = folder / "netlist.v"
    verilog.write_text(text, encoding="utf-8")
    die = sample_die(SMALLEST, random_levels(SMALLEST, np.random.default_rng(1)), seed=2)
    run_bench(
        "cim_macro", SMALLEST, folder / "run", rtl=gate_level(SMALLEST, verilog, folder / "rtl"), die=die, **options
    )  # type: ignore[arg-type]


# Cells //


def test_the_cells_are_those_of_the_blocks_and_yosys_counts_the_same_transistors(netlist: Netlist) -> None:
    """Yosys counts no flip-flop with a reset or an enable; what is left must be its own estimate."""
    assert list(netlist.blocks) == [Path(line).stem for line in (RTL / "rtl.f").read_text(encoding="utf-8").split()]
    gates = [{c: n for c, n in cells.items() if "DFF" not in c} for cells in netlist.blocks.values()]
    assert sum(cost(cells).transistors for cells in gates) == netlist.estimate > 10_000


def test_the_flip_flops_of_a_block_are_the_bits_of_its_registers(netlist: Netlist) -> None:
    """Counts of rows and partial sums have 16 bits, and the DAC's is even, because 2 rows come at a time."""
    made = {name: cost(cells).flip_flops for name, cells in netlist.blocks.items()}
    latches, lines, count, loaded = 2 * SMALLEST.rows * (SMALLEST.x_slices + 1), SMALLEST.rows, 15, 1  # signs too
    assert made["wl_dac"] == latches + lines + count + loaded
    trials, bits = SMALLEST.trials, SMALLEST.adc_bits
    assert made["sar_adc"] == trials * bits + trials + SMALLEST.n_adcs * (trials + bits)  # weights, sequence, results
    assert made["shift_add"] == SMALLEST.n_lanes * (SMALLEST.acc_bits + SMALLEST.psum_bits) + 16
    assert made["clip_count"] == 64 and made["column_correct"] == 0
    assert made["cim_macro"] == 0


def test_the_flat_netlist_is_one_module_that_lacks_only_what_nothing_outside_a_block_uses(netlist: Netlist) -> None:
    """Pairs need no sum of the word lines, one position no number, and nothing reads the top of a round's last word."""
    text, flat = netlist.verilog.read_text(encoding="utf-8"), cost(netlist.cells)
    blocks = [cost(cells) for cells in netlist.blocks.values()]
    assert re.findall(r"^module (\S+)\(", text, flags=re.MULTILINE) == ["cim_macro"] and "parameter" not in text
    assert text.count("always @(posedge clk_i") == flat.flip_flops
    lost = sum(block.flip_flops for block in blocks) - flat.flip_flops
    assert lost == 2 * SMALLEST.wl_sum_bits + 16 + (32 - 16 - SMALLEST.input_bits)
    gates = sum(block.cells - block.flip_flops for block in blocks)
    assert flat.cells - flat.flip_flops <= gates < 1.01 * (flat.cells - flat.flip_flops)


def test_the_buses_are_counted_without_the_macro_inside(tmp_path: Path) -> None:
    """The shell's flip-flops are its registers: requests, responses (one bit changes), results, targets."""
    needs_yosys()
    made = {name: cost(cells) for name, cells in synthesise_buses(SMALLEST, tmp_path / "run").items()}
    requests, responses, results = 2 * (19 + 1) + 32 + 4 + 1, 2 * (1 + 1) + 32, 2 * (SMALLEST.acc_bits + 2)
    assert [*made] == ["cim_axi", "cim_axi_regs"]
    programming = 2 + (SMALLEST.code_bits << SMALLEST.cell_bits)
    assert made["cim_axi"].flip_flops == requests + responses + results + programming


@pytest.mark.parametrize(
    ("cell", "count"),
    [
        ("$_DFF_P_", FLIP_FLOP),
        ("$_DFF_PN0_", FLIP_FLOP + RESET),
        ("$_DFFE_PP_", FLIP_FLOP + ENABLE),
        ("$_DFFE_PN0N_", FLIP_FLOP + ENABLE + RESET),
    ],
)
def test_a_reset_and_an_enable_cost_transistors(cell: str, count: int) -> None:
    assert transistors(cell) == count


@pytest.mark.parametrize("module", [cells_of, netlist_of], ids=lambda module: module.__name__)
def test_examples_run(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted and not result.failed


@pytest.mark.parametrize("cell", ["$_DLATCH_P_", "$mem_v2", "$_TBUF_"])
def test_a_cell_without_a_count_is_refused(cell: str) -> None:
    with pytest.raises(TwinorError, match="no transistor count"):
        transistors(cell)


def test_make_synth_prints_every_block_and_writes_its_cells(
    netlist: Netlist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(synth, "synthesise", lambda *_, **__: netlist)
    buses = {"cim_axi": {"$_AND_": 2}, "cim_axi_regs": {"$_DFF_P_": 3}}
    monkeypatch.setattr(synth, "synthesise_buses", lambda *_, **__: buses)
    out = tmp_path / "synth.json"
    assert synth.main(["--preset", str(preset(SMALLEST, tmp_path)), "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    rows = {
        words[1]: [int(word.replace(",", "")) for word in words[2:]] for line in said[1:-2] if (words := line.split())
    }
    assert [*rows] == [*netlist.blocks, "all", *buses] and rows["cim_axi"] == [2, 0, 12]
    assert rows["all"] == [sum(c) for c in zip(*[*rows.values()][:-3], strict=True)]
    [report] = json.loads(out.read_text(encoding="utf-8"))["presets"]
    assert [report["total"][name] for name in ("cells", "flip_flops", "transistors")] == rows["all"]
    for part, cells in (("blocks", netlist.blocks), ("buses", buses)):
        assert {name: block["cells_by_type"] for name, block in report[part].items()} == cells
    assert said[-1].startswith(f"smallest: {rows['all'][0]:,} cells, {rows['all'][1]:,} of them flip-flops")


def test_verilog_that_yosys_refuses_ends_in_one_sentence_with_its_log(tmp_path: Path) -> None:
    needs_yosys()
    rtl = mutated(tmp_path, "sar_adc.v", "seq_q >> 1;", "seq_q >> ;")
    with pytest.raises(TwinorError) as caught:
        synthesise(SMALLEST, tmp_path / "run", rtl=rtl)
    said = str(caught.value)
    assert said.startswith("Yosys could not synthesise cim_macro for smallest; its log ends:\n")
    assert re.search(r"sar_adc\.v:\d+: ERROR: syntax error", said) and "Traceback" not in said


def test_a_missing_yosys_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TwinorError, match=r"^yosys is not installed: run make setup$"):
        synthesise(SMALLEST, tmp_path / "run")


# The netlist in the bench //


def test_make_gatesim_runs_the_bench_on_the_netlist(
    netlist: Netlist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All tests of the bench; the last line has its figure."""
    monkeypatch.setattr(gatesim, "synthesise", lambda *_, **__: netlist)
    monkeypatch.setattr(icarus, "BUILD", tmp_path / "build")
    assert gatesim.main(["--preset", str(preset(SMALLEST, tmp_path))]) == 0
    said = capsys.readouterr().out.splitlines()
    last = re.fullmatch(
        r"cim_macro as a netlist, smallest \(([\d,]+) cells\): ([\d,]+) comparisons at 4 seams, 0 mis.*", said[-1]
    )
    assert last and last[1] == f"{sum(netlist.cells.values()):,}" and int(last[2].replace(",", "")) > 500
    assert "smallest: 9 tests passed; compared word lines" in said[-2]
    built = (tmp_path / "build" / "gatesim" / "smallest" / "rtl" / "cim_macro.v").read_text(encoding="utf-8")
    assert built == netlist.verilog.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("pattern", "new"),
    [
        (r"(assign \\u_sar_adc\.trial_o \[0\] = .*) \| ", r"\1 & "),
        (r"(else \\u_sar_adc\.seq_q \[0\] <= )(.*);", r"\1~\2;"),
        (r"if \(\S+ \) (\\u_shift_add\.acc_q\[0\] \[0\] <=)", r"if (1'b1) \1"),
    ],
    ids=["a changed gate", "an inverted flip-flop", "a flip-flop that is always enabled"],
)
def test_the_bench_fails_on_a_netlist_with_one_fault(netlist: Netlist, pattern: str, new: str, tmp_path: Path) -> None:
    text, count = re.subn(pattern, new, netlist.verilog.read_text(encoding="utf-8"))
    assert count == 1
    with pytest.raises(BenchFailed) as caught:
        bench_on(text, tmp_path, tests=FULL_RATE)
    assert all(FULL_RATE in name for name in caught.value.tests) and caught.value.tests


def test_a_netlist_of_another_configuration_is_noticed(netlist: Netlist, tmp_path: Path) -> None:
    """Settling takes a cycle longer in the netlist's configuration than in the bench's."""
    config = replace(SMALLEST, name="slower", settle_cycles=SMALLEST.settle_cycles + 1)
    die = sample_die(config, random_levels(config, np.random.default_rng(1)), seed=2)
    with pytest.raises(BenchFailed, match="cycles differ from golden's"):
        rtl = gate_level(config, netlist.verilog, tmp_path / "rtl")
        run_bench("cim_macro", config, tmp_path / "run", rtl=rtl, die=die, tests=FULL_RATE)
