# SPDX-License-Identifier: Apache-2.0
"""The report: one self-contained HTML page per run, opened with no network.

    run -> applied, layers, codes, converter, confusion, sweep, coverage -> sections -> page.html.jinja -> page

`training` is the page of a training.
Each module of the second stage turns figures of the run into numbers; `figures` and `sections` show them.
"""

from twinor.report.page import build, require, write
from twinor.report.run import Run
from twinor.report.training import write_training

__all__ = ["Run", "build", "require", "write", "write_training"]
