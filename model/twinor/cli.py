# SPDX-License-Identifier: Apache-2.0
"""The command line: one verb per stage; a person's mistake ends with one sentence and a non-zero status."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from twinor.errors import TwinorError
from twinor.trace import Divergence

__all__ = ["app", "main"]

app = typer.Typer(
    name="twinor",
    help="Int4 NOR-flash compute-in-memory macro and its Verilog-checked digital twin.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False)

Preset = Annotated[str, typer.Option(help="Preset name, or path of a .yaml file.")]
Images = Annotated[int, typer.Option(min=1, help="How many test images.")]
DieSeed = Annotated[int | None, typer.Option(min=0, help="Draw a varied die; without it the die is ideal.")]
DieFile = Annotated[Path | None, typer.Option("--die", help="A die file written by `twinor die`.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the official files; without it TWINOR_DATA, else a download.")
]
Out = Annotated[Path, typer.Option(help="Folder for the results.")]
Report = Annotated[bool, typer.Option(help="Write an HTML page beside the JSON result.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of training.")]
DEFAULT = "nor40_int4"
BUILD = Path("build")


@app.command()
def params(
    preset: Preset = DEFAULT,
    check: Annotated[bool, typer.Option("--check", help="Compare only; fail on drift.")] = False,
) -> None:
    """Write rtl/macro_params.vh and rtl/macro_params_inst.vh from a preset."""
    from twinor import params as parameters
    from twinor.config import load

    config = load(preset)
    if check:
        parameters.check(config)
        console.print(f"rtl/macro_params.vh follows preset {config.name}")
        return
    for path in parameters.write(config):
        console.print(f"wrote {path.name} from preset {config.name}")


@app.command()
def train(
    recipe: Annotated[str, typer.Option(help="Recipe name, or path of a .yaml file.")] = "digits",
    arch: Annotated[str | None, typer.Option(help="Another network than the recipe's.")] = None,
    data: Annotated[str | None, typer.Option(help="Other data than the recipe's: digits, mnist, cifar10.")] = None,
    data_dir: DataDir = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed than the recipe's.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Train with so many seeds; mean and spread.")] = 1,
    ablate: Annotated[bool, typer.Option("--ablate", help="One table of the recipe and each change of it.")] = False,
    macro: Annotated[str | None, typer.Option(help="Preset in the loop; another than the recipe's.")] = None,
    die: Annotated[
        Path | None, typer.Option(help="A die file: the chip that will run the network, in the loop with its macro.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of torch; another number gives other last bits.")] = 1,
    device: Annotated[str, typer.Option(help="auto (a GPU where there is one), cpu or cuda.")] = "auto",
    out: Out = BUILD,
    report: Report = True,
) -> None:
    """Train a network to 4 bits; a killed run goes on where it stopped."""
    from twinor import session_ablation, session_train
    from twinor.quantize import load_recipe

    chosen = {"arch": arch, "data": data, "seed": seed, "macro": macro}
    changes = {key: value for key, value in chosen.items() if value is not None}
    parts = [Path(recipe).stem, *(Path(str(value)).stem for value in changes.values()), *([die.stem] if die else [])]
    name = "-".join(parts)
    options: dict[str, Any] = {
        "data_dir": data_dir,
        "threads": threads,
        "device": device,
        "die": die,
        "out": out,
        "report": report,
        "console": console,
    }
    if ablate:
        session_ablation.ablate(load_recipe(recipe, **changes), name, seeds=seeds, **options)
    elif seeds > 1:
        session_train.train_seeds(load_recipe(recipe, **changes), name, seeds, **options)
    else:
        session_train.train(load_recipe(recipe, **changes), name, **options)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A packed network (.npz), or QONNX (.onnx).")],
    target: Annotated[Path, typer.Argument(help="The other kind: .onnx or .npz.")],
) -> None:
    """Write a packed network as ONNX, or read QONNX, as Brevitas exports it, into a packed network."""
    from twinor.exchange import read_qonnx, write_onnx
    from twinor.network_file import load_network, save_network

    kinds = (source.suffix, target.suffix)
    if kinds == (".npz", ".onnx"):
        write_onnx(target, load_network(source))
    elif kinds == (".onnx", ".npz"):
        save_network(target, read_qonnx(source))
    else:
        raise TwinorError(f"{source} to {target}: expected .npz to .onnx, or .onnx to .npz")
    console.print(f"wrote {target}", soft_wrap=True)


@app.command()
def table(
    data: Annotated[str, typer.Argument(help="Data set whose checkpoints are evaluated: cifar10.")],
    preset: Preset = DEFAULT,
    images: Annotated[int | None, typer.Option(min=1, help="How many test images; all without it.")] = None,
    dies: Annotated[int, typer.Option(min=0, help="Varied dies.")] = 3,
    few: Annotated[int, typer.Option(min=1, help="Test images for each die and each number of ADC bits.")] = 1000,
    adc_bits: Annotated[str, typer.Option(help="Numbers of ADC bits, as 5,6,7.")] = "5,6,7,8,9,10",
    golden: Annotated[int, typer.Option(min=0, help="So many of the images on golden too: equal logits.")] = 0,
    data_dir: DataDir = None,
    checkpoints: Annotated[Path | None, typer.Option(help="Another folder of packed networks.")] = None,
    out: Out = BUILD,
) -> None:
    """Accuracy of every checkpoint: float, integers alone, on the macro, on varied dies, by ADC bits."""
    from twinor import session_table

    session_table.table(
        data,
        preset=preset,
        images=images,
        dies=dies,
        few=few,
        adc_bits=_numbers(adc_bits),
        golden=golden,
        data_dir=data_dir,
        checkpoints=checkpoints or session_table.CHECKPOINTS,
        out=out,
        console=console,
    )


@app.command()
def run(
    preset: Preset = DEFAULT,
    backend: Annotated[str, typer.Option(help="golden, fast or rtl.")] = "fast",
    images: Annotated[int, typer.Option(min=1, help="How many test images.")] = 360,
    die_seed: DieSeed = None,
    die: DieFile = None,
    seed: Seed = 0,
    compensate: Annotated[
        str, typer.Option(help="Corrections of the die to show, with commas: tracking, weights, columns, batch_norm.")
    ] = "",
    out: Out = BUILD,
    report: Report = True,
) -> None:
    """Accuracy of the digits network on one engine."""
    from twinor import session

    session.run(
        preset,
        backend=backend,
        images=images,
        die_seed=die_seed,
        die=die,
        seed=seed,
        compensate=tuple(filter(None, compensate.split(","))),
        out=out,
        report=report,
        console=console,
    )


@app.command()
def cosim(
    preset: Preset = DEFAULT,
    images: Images = 20,
    die_seed: DieSeed = None,
    die: DieFile = None,
    programmed: Annotated[
        bool, typer.Option("--programmed", help="Program the die's cells first, as `twinor program` does.")
    ] = False,
    seed: Seed = 0,
    rtl: Annotated[Path | None, typer.Option(help="Another folder of Verilog.")] = None,
    simulator: Annotated[str, typer.Option(help="icarus, or verilator, which is faster and has no X.")] = "icarus",
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for one run of the simulator.")] = 600,
    out: Out = BUILD,
    report: Report = True,
) -> None:
    """Run every layer through the Verilog macro and compare every seam with golden."""
    from twinor import session

    session.cosim(
        preset,
        images=images,
        programmed=programmed,
        die_seed=die_seed,
        die=die,
        seed=seed,
        rtl=rtl,
        simulator=simulator,
        timeout=timeout,
        out=out,
        report=report,
        console=console,
    )


@app.command()
def replay(
    folder: Annotated[Path, typer.Argument(help="Folder of a reproducer.")],
    waves: Annotated[bool, typer.Option("--waves", help="Write cosim.fst and its view into the folder.")] = False,
    rtl: Annotated[Path | None, typer.Option(help="Another folder of Verilog.")] = None,
    open_it: Annotated[
        bool | None, typer.Option("--open/--no-open", help="GTKWave; by default only from a terminal with a display.")
    ] = None,
) -> None:
    """Run a reproducer again: one round, its die and its inputs."""
    from twinor.cosim import reproducer
    from twinor.cosim.gtkwave import show
    from twinor.paste import command, program

    found: Divergence | None = None
    try:
        reproducer.replay(folder, waves=waves or bool(open_it), rtl=rtl)
    except Divergence as error:
        found = error
    for line in show(folder / reproducer.WAVE, open_it=open_it) if waves or open_it else []:
        console.print(line, soft_wrap=True)
    if found:
        again: list[Path | str] = [program(), "replay", folder, *(("--rtl", rtl) if rtl else ())]
        console.print(f"after a repair: {command(*again)}", soft_wrap=True)
        raise found
    console.print("no difference: golden and rtl agree at every seam")


@app.command()
def die(
    file: Annotated[Path, typer.Argument(help="Where the die goes.")],
    preset: Preset = DEFAULT,
    die_seed: Annotated[int, typer.Option(min=0, help="Seed of the variation.")] = 0,
    hours: Annotated[float, typer.Option(min=0, help="Age it so long after programming.")] = 0.0,
    bake: Annotated[float, typer.Option(help="Temperature in C while it ages.")] = 25.0,
    celsius: Annotated[float, typer.Option(help="Temperature in C where it works.")] = 25.0,
    reads: Annotated[int, typer.Option(min=0, help="Read every word line so often, where reads disturb cells.")] = 0,
    currents: Annotated[
        Path | None, typer.Option(help="CSV of measured cells: macro,row,bit_line,current_nA; fresh, at 25 C.")
    ] = None,
    transitions: Annotated[
        Path | None, typer.Option(help="CSV of measured ADCs: macro,adc,transition,level_lsb.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Draw a varied die for the digits network, or take a measured one, age it, heat it, and write it to a file."""
    from twinor import session_die

    session_die.write_die(
        file,
        preset,
        die_seed=die_seed,
        hours=hours,
        bake=bake,
        celsius=celsius,
        reads=reads,
        currents=currents,
        transitions=transitions,
        seed=seed,
        console=console,
    )


@app.command()
def program(
    preset: Preset = DEFAULT,
    backend: Annotated[str, typer.Option(help="golden, or rtl: the same in Icarus, everything compared.")] = "golden",
    layer: Annotated[str | None, typer.Option(help="One layer of the network; all without it.")] = None,
    macros: Annotated[int | None, typer.Option(min=1, help="Only the first macros.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Only the first word lines of each macro.")] = None,
    retries: Annotated[int, typer.Option(min=0, max=15, help="Erase again if cells are over-programmed.")] = 0,
    die_seed: Annotated[int, typer.Option(min=0, help="Seed of the die and its cells.")] = 0,
    seed: Seed = 0,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for one macro in the simulator.")] = 3600,
    out: Out = BUILD,
) -> None:
    """Program the digits network into a die by pulses and verify reads; report cells, pulses, time and defects."""
    from twinor import session_program

    session_program.program(
        preset,
        backend=backend,
        layer=layer,
        macros=macros,
        rows=rows,
        retries=retries,
        die_seed=die_seed,
        seed=seed,
        timeout=timeout,
        out=out,
        console=console,
    )


@app.command()
def montecarlo(
    preset: Preset = "nor40_iscas2021",
    dies: Annotated[int, typer.Option(min=1, help="Dies with all effects together.")] = 50,
    each: Annotated[int, typer.Option(min=1, help="Dies with each effect alone.")] = 10,
    hours: Annotated[float, typer.Option(min=0, help="Age every die so long.")] = 0.0,
    bake: Annotated[float, typer.Option(help="Temperature in C while they age.")] = 25.0,
    celsius: Annotated[float, typer.Option(help="Temperature in C where they work.")] = 25.0,
    images: Images = 359,
    seed: Seed = 0,
    processes: Annotated[int | None, typer.Option(min=1, help="That share the dies; one per core without it.")] = None,
    out: Out = BUILD,
    report: Report = True,
) -> None:
    """Accuracy of the digits network over many dies, and which non-ideality costs most."""
    from twinor import session_montecarlo
    from twinor.montecarlo import Life

    session_montecarlo.montecarlo(
        preset,
        dies=dies,
        each=each,
        life=Life(hours, bake, celsius),
        images=images,
        seed=seed,
        processes=processes,
        out=out,
        report=report,
        console=console,
    )


@app.command()
def crossval(preset: Preset = DEFAULT, seed: Seed = 0, out: Out = BUILD) -> None:
    """5-fold cross-validation of the digits network: float, fake-quantized and int4 on `fast`."""
    from twinor import session

    session.crossval(preset, seed=seed, out=out, console=console)


@app.command()
def characterise(
    preset: Preset = "nor40_iscas2021",
    die_seed: Annotated[int | None, typer.Option(min=0, help="Of the chip; 0 if there is no --die either.")] = None,
    die: DieFile = None,
    dies: Annotated[int, typer.Option(min=0, help="Dies of the yield, from the chip's seed on; 0 leaves it out.")] = 20,
    bake_celsius: Annotated[
        float | None, typer.Option(help="Temperature of the bakes in C; 125, or 25 where cells were measured there.")
    ] = None,
    max_inl: Annotated[float, typer.Option(help="A good die's largest INL, in LSB.")] = 0.5,
    min_snr: Annotated[float, typer.Option(help="A good die's least SNR of all products, in dB.")] = 20.0,
    max_mac_error: Annotated[float, typer.Option(help="A good die's largest error of products, in LSB rms.")] = 3.0,
    backend: Annotated[str, typer.Option(help="golden, or fast: the same codes.")] = "fast",
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and activations.")] = 0,
    out: Out = BUILD,
    report: Report = True,
) -> None:
    """Measure a chip as a lab does: cells, ADCs, products, noise, time, temperature, wires, yield."""
    from twinor import session_characterise
    from twinor.characterise import Limits, Settings

    limits = Limits(max_inl=max_inl, min_snr=min_snr, max_mac_error=max_mac_error)
    settings = Settings(seed=seed, dies=dies, bake_celsius=bake_celsius, limits=limits, backend=backend)
    session_characterise.characterise(
        preset, die_seed=die_seed, die=die, settings=settings, out=out, report=report, console=console
    )


def _numbers(text: str) -> tuple[int, ...]:
    """Numbers with commas between them, none for an empty text."""
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise TwinorError(f"--adc-bits {text}: expected numbers with commas between them, as 5,6,7") from None


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except TwinorError as error:
        print(f"twinor: {error}", file=sys.stderr)  # not wrapped: logs and paths stay whole
        raise SystemExit(1) from None
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "torch":
            raise
        print("twinor: this verb needs torch, which is not installed; install twinor[torch]", file=sys.stderr)
        raise SystemExit(1) from None
