# SPDX-License-Identifier: Apache-2.0
"""What a report states of its origin, and the colours that it draws with."""

import re
from pathlib import Path

import numpy as np
import pytest
from twinor.cosim import icarus
from twinor.report import applied, palette


def test_the_digest_covers_every_module_and_nothing_else(tmp_path: Path) -> None:
    rtl = tmp_path / "rtl"
    (rtl / "sim").mkdir(parents=True)
    (rtl / "rtl.f").write_text("rtl/a.v\n", encoding="utf-8")
    for name in ("a.v", "sim/b.v"):
        (rtl / name).write_text(name, encoding="utf-8")
    digests = [icarus.digest(rtl)]
    (rtl / "macro_params.vh").write_text("ROWS", encoding="utf-8")
    assert icarus.digest(rtl) == digests[0]
    for name in ("a.v", "sim/b.v"):
        (rtl / name).write_text(f"{name} changed", encoding="utf-8")
        digests.append(icarus.digest(rtl))
    (rtl / "sim" / "c.v").write_text("", encoding="utf-8")
    digests.append(icarus.digest(rtl))
    assert len(set(digests)) == 4 and all(re.fullmatch(r"[0-9a-f]{64}", d) for d in digests)
    assert applied.verilog(tmp_path) == ""


def test_a_commit_is_told_only_of_the_checkout_itself(tmp_path: Path) -> None:
    assert applied.commit(tmp_path) == ""
    assert applied.commit(icarus.HARNESS.parent) == ""  # below the checkout, not it


def luminance(colour: str) -> float:
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("scheme", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
def test_colours_are_told_apart_by_everyone(scheme: dict[str, str]) -> None:
    """Text 4.5 to 1 on both grounds, marks 3 to 1 (thin lines beside strong ones 2 to 1): WCAG 2.1."""

    def contrast(a: str, b: str) -> float:
        low, high = sorted((luminance(scheme[a]), luminance(scheme[b])))
        return (high + 0.05) / (low + 0.05)

    assert set(palette.LIGHT) == set(palette.DARK) and len(set(scheme.values())) == len(scheme)
    for text in ("ink", "muted", "series", "accent"):
        assert min(contrast(text, "page"), contrast(text, "panel")) >= 4.5
    assert contrast("third", "page") >= 3 and contrast("thin", "page") >= 2
