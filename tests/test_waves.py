# SPDX-License-Identifier: Apache-2.0
"""Saved views: every name exists in the elaborated design, and the marker stands where the message says."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import chain_of, one_round, random_levels, stimulus, wild_die
from command_line import REPO, mutated, stand_in
from twinor.config import Config
from twinor.cosim import icarus
from twinor.cosim.chain import Job, simulate
from twinor.cosim.gtkwave import INSTALL, TEMPLATES, save_view, show
from twinor.cosim.reproducer import replay, write_reproducer
from twinor.cosim.view import Focus
from twinor.die import sample_die
from twinor.errors import SimulatorError, TwinorError
from twinor.rounds import End
from twinor.trace import Divergence

from tb.common.configs import EXACT, NOR40, RAGGED, TINY, ids
from tb.common.runner import BenchFailed, run_bench
from tb.common.sources import expected_parameters, needs_die, top_of
from tb.waves import __main__ as make_waves
from tb.waves.choice import benches, choose, cocotb_tests

if TYPE_CHECKING:
    from tb.common.results import Outcome

BLOCKS = sorted(path.stem for path in TEMPLATES.glob("*.gtkw") if path.stem != "cosim")


def tool(name: str) -> str:
    """A program that only some machines have."""
    return shutil.which(name) or pytest.skip(f"{name} is not installed: `apt-get install gtkwave xvfb` brings it")


def counts(config: Config) -> dict[str, int]:
    """Values of the names in brackets."""
    return config.parameters() | expected_parameters(config, ["Q_BITS"])


def rows_of(view: Path) -> list[str]:
    """Signals of a view, without flags, comments and its frame."""
    return [line for line in view.read_text(encoding="utf-8").splitlines() if line and line[0] not in "@-[*"]


def comments_of(view: Path) -> list[str]:
    return [line[1:] for line in view.read_text(encoding="utf-8").splitlines() if line.startswith("-") and line != "-"]


def marker_of(view: Path) -> int:
    """Time of the marker in the wave's units, -1 without one."""
    found = re.search(r"^\*-?[\d.]+ (-?\d+)", view.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert found
    return int(found[1])


def vcd(wave: Path) -> list[str]:
    """An FST file as lines of VCD."""
    return subprocess.run(
        [tool("fst2vcd"), wave], check=True, capture_output=True, text=True, timeout=120
    ).stdout.splitlines()


def codes_of(lines: list[str]) -> dict[str, str]:
    """VCD's short code of every signal by its path, with the range as GTKWave wants it."""
    found, scopes = {}, []
    for line in lines:
        words = line.split()
        if line.startswith("$scope"):
            scopes.append(words[2])
        elif line.startswith("$upscope"):
            scopes.pop()
        elif line.startswith("$var"):
            found[".".join([*scopes, "".join(words[4:-1])])] = words[3]
        elif line.startswith("$enddefinitions"):
            break
    return found


def paths_in(row: str) -> set[str]:
    """The signals that a row names."""
    return {re.sub(r"^\(\d+\)", "", word) for word in row.split() if word[0] not in "+#"}


# Templates //


@pytest.mark.fast
def test_every_block_with_a_bench_has_a_template_and_every_template_a_bench() -> None:
    blocks = [path.stem for folder in ("rtl", "rtl/sim") for path in (REPO / folder).glob("*.v")]
    assert sorted(name for name in blocks if (REPO / "tb" / f"tb_{name}.py").is_file()) == BLOCKS
    assert (TEMPLATES / "cosim.gtkw").is_file()


@pytest.mark.fast
@pytest.mark.parametrize("name", [*BLOCKS, "cosim"])
def test_a_template_holds_flags_titles_and_names_and_nothing_of_a_machine(name: str) -> None:
    lines = (TEMPLATES / f"{name}.gtkw").read_text(encoding="utf-8").splitlines()
    flags = {"@200", "@22", "@24", "@28", "@420"}  # comment; hexadecimal, decimal, binary, signed decimal
    for before, line in zip(["", *lines], lines, strict=False):
        signal = re.fullmatch(rf"{top_of(name)}(\.\w+(\[[A-Z_]+\])?)+", line)
        title = before == "@200" and re.fullmatch(r"-[a-z][\w ,;:=<>/-]{1,60}", line)
        assert line in flags or title or (signal and before != "@200"), line
    assert len([line for line in lines if line[0] not in "@-"]) == len({x for x in lines if x[0] not in "@-"})


# Views of benches and of co-simulation //


def bench_view(block: str, config: Config, folder: Path, *, rtl: Path = REPO / "rtl") -> Path:
    """The view of a bench that was built, whose simulation ends at once for want of a clock."""
    die = sample_die(config, random_levels(config, np.random.default_rng(1)), seed=1) if needs_die(block) else None
    run_bench(block, config, folder, rtl=rtl, die=die, tests="elaborated", waves=True)
    subprocess.run(["vvp", "-n", "sim.vvp", "-fst"], cwd=folder, check=True, timeout=120)
    wave = folder / f"{top_of(block)}.fst"
    save_view(wave, template=block, model=folder / "sim.vvp", counts=counts(config), focus=Focus())
    return wave.with_suffix(".gtkw")


def small_job(config: Config) -> Job:
    """One vector through the whole macro."""
    rng = np.random.default_rng(3)
    last = one_round(config, end=End.REQUANT, shift=1, lo=-(2**9), hi=2**9 - 1)
    chain = chain_of(config, last, mult=np.full(config.out_cols, 2, dtype=np.int32))
    return Job(
        config=config, die=wild_die(config, rng), chain=chain, inputs=stimulus(config, chain, rng, vectors=1).inputs
    )


def cosim_view(config: Config, folder: Path) -> Path:
    """The view of one vector of co-simulation."""
    folder.mkdir()
    model = icarus.build(config)
    simulate(small_job(config), model, folder=folder, waves=True)
    save_view(folder / "cosim.fst", template="cosim", model=model, counts=counts(config), focus=Focus())
    return folder / "cosim.gtkw"


@pytest.mark.rtl
@pytest.mark.parametrize("config", [RAGGED, EXACT], ids=ids)
@pytest.mark.parametrize("name", [*BLOCKS, "cosim"])
def test_every_signal_of_a_view_is_in_the_wave_with_its_range(name: str, config: Config, tmp_path: Path) -> None:
    view = cosim_view(config, tmp_path / "run") if name == "cosim" else bench_view(name, config, tmp_path / "run")
    assert "not in this Verilog" not in view.read_text(encoding="utf-8")
    in_wave = codes_of(vcd(view.with_suffix(".fst")))
    for row in rows_of(view):
        assert paths_in(row) <= set(in_wave), row


@pytest.mark.rtl
def test_a_renamed_signal_is_told_in_the_view(tmp_path: Path) -> None:
    rtl = mutated(tmp_path, "sar_adc.v", "assign done_o = seq_q[0];", "assign done_o = seq_q[0]; // done")
    text = (rtl / "sar_adc.v").read_text(encoding="utf-8")
    (rtl / "sar_adc.v").write_text(re.sub(r"\bseq_q\b", "order_q", text), encoding="utf-8")
    assert "not in this Verilog: sar_adc.seq_q" in comments_of(bench_view("sar_adc", TINY, tmp_path / "run", rtl=rtl))


@pytest.mark.rtl
@pytest.mark.parametrize("config", [TINY, NOR40], ids=ids)
def test_gtkwave_shows_every_row_of_a_view(config: Config, tmp_path: Path) -> None:
    """GTKWave leaves out what it does not find, without a word; its own count is what counts."""
    gtkwave, server = tool("gtkwave"), tool("Xvfb")
    view, traces = cosim_view(config, tmp_path / "run"), tmp_path / "traces"
    script = tmp_path / "count.tcl"
    count = f"set out [open {traces} w]\nputs $out [gtkwave::getTotalNumTraces]\nclose $out\ngtkwave::/File/Quit\n"
    script.write_text(count, encoding="utf-8")
    with subprocess.Popen([server, "-displayfd", "1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as xvfb:
        try:
            assert xvfb.stdout
            place = {"DISPLAY": f":{xvfb.stdout.readline().decode().strip()}", "HOME": str(tmp_path)}
            line = [gtkwave, view.with_suffix(".fst"), view, "-S", script]
            subprocess.run(line, check=True, env=os.environ | place, capture_output=True, timeout=120)
        finally:
            xvfb.terminate()
    text = view.read_text(encoding="utf-8")
    titles = len([line for line in text.splitlines() if line.startswith("-")])
    assert int(traces.read_text(encoding="utf-8")) == len(rows_of(view)) + titles


# The view of a divergence //

SEAM_FAULTS: dict[str, tuple[str, str, str, str]] = {
    "word_lines": ("wl_dac.v", "assign wl_o = wl_q;", "assign wl_o = wl_q ^ (|wl_q << 5);", "wl[5]"),
    "codes": ("sar_adc.v", "= {1'b0, result_q} -", "= (a == 1) + {1'b0, result_q} -", "code[1]"),
    "partial_sums": ("shift_add.v", "= start + added + (negate_i", "= start + added + (a == 1) + (negate_i", "sum[1]"),
    "outputs": ("requantize.v", "out_data_o  = out_data_q;", "out_data_o  = out_data_q + 1;", "out_data_o"),
}
"""What breaks a seam, and the row of the view that shows the wrong value."""


def value_at(lines: list[str], row: str, time: int) -> int:
    """What GTKWave shows in a row at a time: bits from the left, signed if the seam is."""
    codes, (path,) = codes_of(lines), paths_in(row)
    bits, now = "x", 0
    for line in lines[lines.index("$enddefinitions $end") :]:
        if line.startswith("#"):
            now = int(line[1:])
        elif now <= time and line.startswith("b") and line.endswith(f" {codes[path]}"):
            bits = line[1:].split()[0]
    chosen = [int(k) for k in re.findall(r"\((\d+)\)", row)]
    bits = "".join(bits[k] for k in chosen) if chosen else bits
    return int(bits, 2) - (int(bits[0]) << len(bits) if "wl" not in row else 0)


@pytest.mark.rtl
@pytest.mark.parametrize("seam", SEAM_FAULTS)
def test_the_marker_of_a_replay_stands_where_the_wrong_value_counts(seam: str, tmp_path: Path) -> None:
    *fault, name = SEAM_FAULTS[seam]
    job = small_job(TINY)
    found = Divergence(seam=seam, layer="conv1", tile="rows 0..7")
    write_reproducer(found, job, tmp_path, rtl=mutated(tmp_path, *fault))
    folder = tmp_path / f"conv1-rows0_7-{seam}"
    with pytest.raises(Divergence) as caught:
        replay(folder, waves=True)
    told, view = caught.value, folder / "cosim.gtkw"
    assert told.seam == seam and told.sim_time is not None and told.other is not None
    assert marker_of(view) == told.sim_time - 1  # the harness counts nanoseconds
    assert comments_of(view)[1] == told.values() and comments_of(view)[3] == "clock"
    assert seam in comments_of(view)[4] + comments_of(view)[5]
    plain, word = rf"\.{re.escape(name)}\[\d+:0]$", rf"^#{{{re.escape(name)}}} "
    shown = next(row for row in rows_of(view) if re.search(plain, row) or re.search(word, row))
    assert value_at(vcd(folder / "cosim.fst"), shown, marker_of(view)) == told.other != told.golden


@pytest.mark.rtl
def test_a_stall_is_shown_at_the_end_and_agreement_without_a_marker(tmp_path: Path) -> None:
    rtl = mutated(tmp_path, "macro_ctrl.v", "load_en_o        = armed_q", "load_en_o        = 1'b0")
    write_reproducer(Divergence(seam="word_lines", layer="fc"), small_job(TINY), tmp_path, rtl=rtl)
    folder = tmp_path / "fc-word_lines"
    with pytest.raises(Divergence):
        replay(folder, waves=True)
    ends = [int(line[1:]) for line in vcd(folder / "cosim.fst") if re.fullmatch(r"#\d+", line)]
    assert marker_of(folder / "cosim.gtkw") == ends[-1]
    assert comments_of(folder / "cosim.gtkw")[4].startswith("cycles: ")  # the stages, to see which one waits
    (start,) = re.findall(r"^\[timestart\] (\d+)", (folder / "cosim.gtkw").read_text(encoding="utf-8"))
    assert ends[-1] - 250 < int(start) <= ends[-1] - 200  # GTKWave shows time 0 instead of less than a window
    replay(folder, waves=True, rtl=REPO / "rtl")
    assert marker_of(folder / "cosim.gtkw") == -1 and comments_of(folder / "cosim.gtkw")[0] == "clock"


# Opening //


@pytest.mark.fast
def test_gtkwave_opens_when_asked_and_never_by_itself_in_a_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave = tmp_path / "my waves" / "a.fst"
    wave.parent.mkdir()
    fifo = tmp_path / "said"
    os.mkfifo(fifo)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", stand_in(tmp_path / "bin", "gtkwave", f'echo "$1|$2" >{fifo}'))
    monkeypatch.setenv("DISPLAY", ":5")
    line = "gtkwave 'my waves/a.fst' 'my waves/a.gtkw'"
    assert show(wave) == show(wave, open_it=False) == ["waves: my waves/a.fst", f"open them: {line}"]
    assert show(wave, open_it=True) == ["waves: my waves/a.fst", f"opened with: {line}"]
    assert fifo.read_text(encoding="utf-8") == f"{wave}|{wave.with_suffix('.gtkw')}\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert show(wave)[1] == f"opened with: {line}" and fifo.read_text(encoding="utf-8")
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert show(wave)[1] == f"open them: {line}"
    with pytest.raises(SimulatorError, match="no display here"):
        show(wave, open_it=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert show(wave)[2] == INSTALL and "apt-get install gtkwave" in INSTALL
    with pytest.raises(SimulatorError, match="not installed"):
        show(wave, open_it=True)


# make waves //


@pytest.mark.fast
def test_benches_and_tests_that_do_not_exist_are_refused_with_those_that_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TwinorError, match=r"no bench is called sar: expected one of adc_frontend, .* or cosim"):
        choose("sar")
    with pytest.raises(TwinorError, match=r"no bench was named, as in TEST=sar_adc: expected one of adc_frontend, "):
        choose("")
    with pytest.raises(TwinorError, match=r"no test of sar_adc matches nothing; it has\n(.*\n)*  codes_and_trials"):
        choose("sar_adc.nothing")
    with pytest.raises(TwinorError, match="is not a regular expression"):
        choose("sar_adc.(")
    monkeypatch.setattr(icarus, "BUILD", tmp_path)
    with pytest.raises(TwinorError, match="run `make sim`"):
        choose("cosim")
    for age, name in enumerate(("newest", "older")):
        job = tmp_path / "reproducers" / name / "job.npz"
        job.parent.mkdir(parents=True)
        job.touch()
        os.utime(job, (1000 - age, 1000 - age))
    with pytest.raises(TwinorError, match=r"twinor replay .*reproducers/newest --waves"):
        choose("cosim")


@pytest.mark.fast
def test_every_bench_is_chosen_with_its_block_and_tests() -> None:
    for name, path in benches().items():
        assert cocotb_tests(path) and choose(name).block in BLOCKS and choose(name).tests is None
    assert (choose("sar_adc").module, choose("uvm").module) == ("tb.tb_sar_adc", "tb.uvm.tests")
    assert choose("uvm").block == "cim_macro"
    chosen = choose("requantize.corner").tests
    assert chosen and re.search(chosen, "tb.tb_requantize.corner_operands_match_golden_at_every_shift")
    assert not re.search(chosen, "tb.tb_requantize.reset_drops_outputs_that_wait")


@pytest.fixture
def waves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`python -m tb.waves` with a build folder of its own."""
    monkeypatch.setattr(icarus, "BUILD", tmp_path / "build")
    monkeypatch.chdir(tmp_path)
    return lambda *words: make_waves.main([*map(str, words), "--no-open"])


@pytest.mark.rtl
def test_a_bench_that_passes_says_so_and_leaves_its_view(
    waves: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert waves("requantize.corner") == 0
    out = [line for line in capsys.readouterr().out.splitlines() if line != INSTALL]  # where GTKWave is missing
    assert out[-3:-1] == [
        "requantize (tiny, TWINOR_SEED=1): 1 of 1 tests passed",
        "waves: build/waves/requantize-tiny/requantize.fst",
    ]
    assert marker_of(Path("build/waves/requantize-tiny/requantize.gtkw")) == -1
    with pytest.raises(SimulatorError, match="took no simulation time"):
        waves("requantize.elaborated")


@pytest.mark.rtl
def test_a_bench_that_fails_has_its_marker_at_the_first_failure(
    waves: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rtl = mutated(tmp_path, "requantize.v", "acc * mult + ", "acc * mult - ")
    assert waves("requantize", "--rtl", rtl) == 1
    out = capsys.readouterr().out.removesuffix(f"{INSTALL}\n")  # where GTKWave is missing
    first = re.search(r"tests failed\n  \w+: outputs and last: item \d+ at (\d+) ns: expected .*, got .*\n", out)
    assert first and "log: build/waves/requantize-tiny/sim.log\n" in out
    assert out.endswith(
        "gtkwave build/waves/requantize-tiny/requantize.fst build/waves/requantize-tiny/requantize.gtkw\n"
    )
    view = Path("build/waves/requantize-tiny/requantize.gtkw")
    assert marker_of(view) == 1000 * int(first[1])  # the benches count picoseconds
    test, what, values, marker, *titles = comments_of(view)
    assert f"  {test}: {what}: {values}\n" in out and marker == f"the marker is at {first[1]} ns"
    assert [title.split(":")[0] for title in titles[:3]] == ["clock", "outputs", "outputs"]


@pytest.mark.rtl
@pytest.mark.parametrize("config", [TINY, RAGGED], ids=ids)
def test_a_failed_bench_names_the_command_that_shows_it(
    config: Config, waves: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINOR_SEED", "9")
    rtl = mutated(tmp_path, "sim/adc_frontend.v", ">= (triple", "> (triple")
    die = wild_die(config, np.random.default_rng(5))
    with pytest.raises(BenchFailed) as caught:
        run_bench("adc_frontend", config, tmp_path / "run", rtl=rtl, die=die)
    line = str(caught.value).splitlines()[-1]
    preset = "tiny" if config == TINY else "run/tiny_ragged.yaml"
    expected = f"make waves TEST=adc_frontend PRESET={preset} TWINOR_SEED=9 RTL=rtl DIE=run/die.npz"
    assert line == f"see it in the waves: {expected}"
    given = dict(word.split("=") for word in expected.split()[2:])
    options = ["--preset", given["PRESET"], "--rtl", given["RTL"], "--die", given["DIE"]]
    again: list[Outcome] = []
    monkeypatch.setattr(make_waves, "report", lambda _choice, _config, outcomes, _workdir: again.extend(outcomes) or [])
    assert waves(given["TEST"], *options) == 1
    assert tuple(outcome.name for outcome in again if outcome.message is not None) == caught.value.tests
