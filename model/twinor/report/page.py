# SPDX-License-Identifier: Apache-2.0
"""The page: numbers first, then sections, then one file that needs nothing else."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from twinor.cosim import icarus
from twinor.errors import TwinorError
from twinor.report.applied import applied, verilog
from twinor.report.codes import count_codes
from twinor.report.confusion import confusion
from twinor.report.converter import converter
from twinor.report.coverage import coverage
from twinor.report.palette import DARK, LIGHT
from twinor.report.sweep import sweep
from twinor.store import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twinor.report.content import Section
    from twinor.report.run import Progress, Run

__all__ = ["build", "outcome", "render", "require", "write"]


def require() -> None:
    """Refuse before anything long starts where the libraries of the page are missing.

    Raises:
        TwinorError: names what is missing.
    """
    try:
        import jinja2  # noqa: F401
        import plotly  # noqa: F401
    except ModuleNotFoundError as error:
        raise TwinorError(f"the report needs {error.name}; install twinor[report], or say --no-report") from None


def write(run: Run, folder: Path, *, progress: Progress = lambda _done, _total: None) -> Path:
    """Write `<name>.html` whole or not at all and return its path.

    Args:
        run: what to report.
        folder: where it goes.
        progress: called with steps that are done and steps that there are.

    Raises:
        TwinorError: the file cannot be written; what was there stays.
    """
    path = folder / f"{run.name}.html"
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    write_text(path, build(run, date=date, progress=progress))
    return path


def build(run: Run, *, date: str, progress: Progress = lambda _done, _total: None) -> str:
    """The page as HTML; equal runs and dates give equal bytes."""
    from twinor.report import sections  # Plotly is imported only to draw

    bench = run.bench
    counted = count_codes(bench)
    found = coverage(bench.config, rtl=verilog(run.rtl), folder=icarus.BUILD)
    content = [
        sections.layers(run, counted),
        sections.adc_codes(bench, counted),
        sections.converters(bench, converter(bench.config, bench.die)),
        sections.confusion(run, confusion(run.logits, bench.labels)),
        sections.accuracy(bench, sweep(bench, progress=progress)),
        sections.functional_coverage(found),
    ]
    title = f"twinor {run.verb}: {run.bench.title()}"
    return render(title, applied(run, date=date), outcome(run), content)


def outcome(run: Run) -> str:
    """The outcome in one line."""
    images = f"{run.bench.count:,} image{'s' * (run.bench.count != 1)}"
    if not run.layers:
        name, score = list(run.scores.items())[-1]
        return f"{images} on {name}: {score:.2f} % read correctly"
    conversions = sum(layer.conversions for layer in run.layers)
    cycles = sum(layer.cycles for layer in run.layers)
    different = sum(sum(layer.mismatches.values()) for layer in run.layers)
    exact = "; every accumulator equals PyTorch's integer arithmetic" if all(r.exact for r in run.layers) else ""
    return (
        f"{images}, {len(run.layers)} layers, {conversions:,} conversions, {cycles:,} cycles: "
        f"{different:,} mismatches at {len(run.layers[0].mismatches)} seams{exact}"
    )


def render(title: str, facts: Sequence[tuple[str, str]], result: str, content: Sequence[Section]) -> str:
    """One page.

    Args:
        title: of the page.
        facts: names and values of what was applied.
        result: the outcome in one line.
        content: the sections.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape
    from plotly.offline import get_plotlyjs

    def code(text: str) -> Markup:
        """Escaped text with what stands between backticks as code."""
        return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = code
    return environment.get_template("page.html.jinja").render(
        title=title,
        applied=facts,
        outcome=result,
        sections=content,
        light=LIGHT,
        dark=DARK,
        plotly=Markup(get_plotlyjs()),  # a library's own text, not data
    )
