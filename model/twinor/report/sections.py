# SPDX-License-Identifier: Apache-2.0
"""The sections of the page after its head, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twinor.report import figures
from twinor.report.content import Figure, Section, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from twinor.place import Steps
    from twinor.report.codes import LayerCodes
    from twinor.report.converter import Converter
    from twinor.report.coverage import Coverage
    from twinor.report.run import Run
    from twinor.report.sweep import Point
    from twinor.workbench import Workbench

__all__ = ["accuracy", "adc_codes", "confusion", "converters", "functional_coverage", "layers"]

AXES = {"adc_bits": "ADC bits", "active_rows": "active rows"}


def _steps_text(steps: Steps) -> str:
    """Steps of all slices, input slices from the least significant, weight slices within them."""
    return ", ".join(str(step) for of_input in steps for step in of_input)


def _rate(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3f} %"


def layers(run: Run, counted: Sequence[LayerCodes]) -> Section:
    """Per-layer figures; cycles and mismatches only where the Verilog ran beside golden."""
    measured = {layer.name: layer for layer in run.layers or ()}
    head = ["layer", "rows x cols", "tiles", "rounds", "conversions", "clipped", "clipping rate"]
    head += ["cycles", "cycles / floor"] if measured else ["floor cycles"]
    rows = []
    for c in counted:
        layer = measured.get(c.name, c)
        row = [c.name, f"{c.rows} x {c.cols}", f"{layer.tiles:,}", f"{layer.rounds:,}", f"{layer.conversions:,}"]
        row += [f"{layer.clipped:,}", _rate(layer.clipped, layer.conversions)]
        if c.name in measured:
            cycles = measured[c.name].cycles
            row += [f"{cycles:,}", f"{measured[c.name].over_floor:.3f}"]
        else:
            row += [f"{c.floor_cycles:,}"]
        rows.append([*row, _steps_text(run.bench.steps[c.name])])
    tables = [Table(title="What every layer did", head=[*head, "steps"], rows=rows)]
    if run.layers:
        seams = list(run.layers[0].mismatches)
        found = [[layer.name, *(f"{n:,}" for n in layer.mismatches.values())] for layer in run.layers]
        tables.append(Table(title="Mismatches per seam, golden against Verilog", head=["layer", *seams], rows=found))
    sentence = (
        "Steps are array units per ADC code, one per slice: input slices from the least significant, "
        "weight slices within them. "
        "The floor is the least number of cycles that the ADCs, the array and the streams allow in steady state."
        + ("" if measured else " This verb counts no cycles; `twinor cosim` does, in the Verilog.")
    )
    return Section(name="layers", title="Layers", sentence=sentence, tables=tables)


def adc_codes(bench: Workbench, counted: Sequence[LayerCodes]) -> Section:
    """Histograms of codes, and the same as a table of ranges and clipping rates."""
    config = bench.config
    charts = [
        Figure(
            name=f"codes-{number}",
            title=f"ADC codes of {layer.name}",
            caption="A bar is the number of conversions that gave a code, on a logarithmic axis; "
            "an orange end code also holds the conversions that were clipped.",
            chart=figures.code_histograms(config, layer),
        )
        for number, layer in enumerate(counted)
    ]
    head = ["layer", "input slice", "weight slice", "step", "conversions", "least code", "greatest code"]
    head += ["codes used", "clipped low", "clipped high", "clipping rate"]
    rows = []
    for layer in counted:
        for s in layer.slices:
            used = np.flatnonzero(s.counts)
            ends = [f"{used[0] + config.code_min}", f"{used[-1] + config.code_min}"] if len(used) else ["none", "none"]
            row = [layer.name, str(s.x_slice), str(s.w_slice), str(s.step), f"{s.conversions:,}", *ends]
            row += [
                f"{len(used)} of {len(s.counts)}",
                f"{s.low:,}",
                f"{s.high:,}",
                _rate(s.low + s.high, s.conversions),
            ]
            rows.append(row)
    table = Table(title="Codes and clipping by slice", head=head, rows=rows)
    far = "a step or more" if config.adc_rounding == "toward_zero" else "more than half a step"
    sentence = (
        f"The ADC gives codes {config.code_min} to {config.code_max}; a conversion is clipped if its column quantity "
        f"lies {far} outside them."
    )
    return Section(name="codes", title="ADC codes", sentence=sentence, figures=charts, tables=[table])


def converters(bench: Workbench, c: Converter) -> Section:
    """Transfer curve, and on a varied die the deviation of every ADC."""
    varied = bench.die.seed is not None
    ideal = "ideal thresholds lie at half steps, so the ideal curve rounds half up."
    if bench.config.adc_rounding == "toward_zero":
        ideal = "ideal thresholds lie at whole steps, so the ideal curve truncates toward zero."
    charts = [
        Figure(
            name="transfer",
            title="Converter transfer curve",
            caption=f"The code steps up where the column quantity, in LSB, reaches a threshold; {ideal}",
            chart=figures.transfer(bench.config, c, varied=varied),
        )
    ]
    if not varied:
        sentence = "The die is ideal: every ADC of every macro follows the ideal table, so no deviation is drawn."
        return Section(name="converter", title="Converter", sentence=sentence, figures=charts)
    charts.append(
        Figure(
            name="deviation",
            title="Threshold deviation of every ADC of macro 0",
            caption="A line is one ADC's threshold minus the ideal one, by the code it decides: its level is the "
            "comparator's offset, its jumps are capacitor mismatch.",
            chart=figures.deviations(c),
        )
    )
    rows = []
    for adc, d in enumerate(c.deviation):
        size = np.abs(d)
        figures_of = (f"{d.mean():+.3f}", f"{d.min():+.3f}", f"{d.max():+.3f}", f"{size.max():.3f}")
        rows.append([str(adc), *figures_of, str(c.codes[size.argmax()])])
    head = ["ADC", "mean (LSB)", "least (LSB)", "greatest (LSB)", "largest size (LSB)", "at code"]
    table = Table(title="Deviation from the ideal table, ADCs of macro 0", head=head, rows=rows)
    sentence = f"The die is drawn from seed {bench.die.seed}; ADC k converts the columns c with c mod {len(rows)} = k."
    return Section(name="converter", title="Converter", sentence=sentence, figures=charts, tables=[table])


def confusion(run: Run, matrix: NDArray[np.int64]) -> Section:
    """Confusion matrix and what became of each class."""
    chart = Figure(
        name="confusion",
        title=f"Confusion matrix of {matrix.sum():,} test images",
        caption="A row holds the images of one true class, a column what they were read as; the diagonal is right, "
        "and an orange cell off it is wrong.",
        chart=figures.confusion_matrix(matrix),
    )
    rows = []
    for k, line in enumerate(matrix):
        wrong = [f"{other} ({n})" for other, n in enumerate(line) if n and other != k]
        share = f"{100 * line[k] / line.sum():.2f} %" if line.sum() else "no images"
        rows.append([str(k), str(line.sum()), str(line[k]), share, ", ".join(wrong) or "none"])
    head = ["class", "images", "right", "share", "wrong readings (images)"]
    table = Table(title="Readings by class", head=head, rows=rows, words=frozenset(head[-1:]))
    scores = ", ".join(f"{name} {score:.2f} %" for name, score in run.scores.items())
    return Section(
        name="confusion",
        title="Readings",
        sentence=f"Accuracy on these images: {scores}.",
        figures=[chart],
        tables=[table],
    )


def accuracy(bench: Workbench, points: Sequence[Point]) -> Section:
    """Accuracy against ADC bits and active rows, on every test image."""
    trained, labels = bench.trained, bench.dataset.labels[bench.trained.test_index]
    images = len(labels)
    references = {
        "float": 100 * float((trained.float_predictions == labels).mean()),
        "fake-quantized": 100 * float((trained.fake_quant_predictions == labels).mean()),
    }
    charts, tables = [], []
    for key, axis in AXES.items():
        own = [p for p in points if p.key == key]
        charts.append(
            Figure(
                name=f"sweep-{key}",
                title=f"Accuracy against {axis}",
                caption="A point is the accuracy of one macro and the ring is this preset; "
                "lines without points are the network before it meets a macro.",
                chart=figures.sweep(own, references, images=images, axis=axis),
            )
        )
        tables.append(_sweep_table(own, list(bench.steps), images=images, axis=axis))
    die = "an ideal die" if bench.die.seed is None else f"a die drawn for each point from seed {bench.die.seed}"
    sentence = (
        f"Every point classifies all {images} test images on the fast engine with {die}; its ADC steps are "
        "calibrated for it, from training images only. "
        f"One image is {100 / images:.2f} points; float reaches {references['float']:.2f} %, "
        f"the fake-quantized network {references['fake-quantized']:.2f} %."
    )
    title = "Accuracy against the converter and the array"
    return Section(name="accuracy", title=title, sentence=sentence, figures=charts, tables=tables)


def _sweep_table(points: Sequence[Point], names: Sequence[str], *, images: int, axis: str) -> Table:
    rows = []
    for p in points:
        note = p.reason or ("this preset" if p.own else "")
        if p.steps is None:
            rows.append([str(p.value), "refused", "", *("" for _ in names), note])
        else:
            steps = [_steps_text(p.steps[name]) for name in names]
            rows.append([str(p.value), f"{100 * p.right / images:.2f} %", f"{p.right} of {images}", *steps, note])
    head = [axis, "accuracy", "right", *(f"steps {name}" for name in names), "note"]
    return Table(title=f"Accuracy against {axis}", head=head, rows=rows, words=frozenset(["note"]))


def functional_coverage(c: Coverage) -> Section:
    """Coverage of the macro bench by goal, or why there is none."""
    title = "Functional coverage of the macro bench"
    if c.absent:
        return Section(name="coverage", title=title, sentence=c.absent)
    bins, hit = sum(g.bins for g in c.goals), sum(g.hit for g in c.goals)
    rows = [[g.goal, f"{g.bins:,}", f"{g.hit:,}", ", ".join(g.missed) or "none"] for g in c.goals]
    table = Table(title="Goals", head=["goal", "bins", "hit", "missed"], rows=rows, words=frozenset(["missed"]))
    sentence = (
        f"{hit:,} of {bins:,} bins of {len(rows)} goals were hit, {c.percent:.2f} %, with seed {c.seed}; "
        "measured with this configuration and this Verilog."
    )
    return Section(name="coverage", title=title, sentence=sentence, tables=[table])
