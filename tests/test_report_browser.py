# SPDX-License-Identifier: Apache-2.0
"""The report in headless Chromium without a network: light and dark, narrow and wide, on screen and on paper."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from report_runs import cosim_run, small_bench
from twinor import report
from twinor.report import sweep
from twinor.report.palette import DARK, LIGHT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed; run make setup")

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason="Chromium is not installed; install it with `apt-get install chromium`"
)

SCHEMES = {"light": LIGHT, "dark": DARK}

TEXT = """() => {
  const chain = e => e ? [e, ...chain(e.parentElement)] : [];
  const ground = e => chain(e).map(p => getComputedStyle(p).backgroundColor)
    .find(c => c !== "rgba(0, 0, 0, 0)");
  const own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  return [...document.querySelectorAll("body *")]
    .filter(e => own(e) && !e.closest("script, style, noscript, .heatmaplayer") && e.getClientRects().length)
    .map(e => {
      const style = getComputedStyle(e);
      return [e.textContent.trim().slice(0, 40), e.closest("svg") ? style.fill : style.color, ground(e)];
    });
}"""
"""What every visible text says, its colour and the colour behind it; numbers on a heat map have their own test."""

CHARTS = """() => [...document.querySelectorAll(".chart")].map(e => {
  const svg = e.querySelector("svg.main-svg");
  const box = svg ? svg.getBoundingClientRect() : {width: 0, height: 0};
  const marks = e.querySelectorAll(".barlayer path, .scatterlayer path, .heatmaplayer :is(image, path)").length;
  return [e.id, box.width, box.height, e.getBoundingClientRect().width, marks];
})"""

CUT = """() => [...document.querySelectorAll(".chart")].flatMap(e => {
  const box = e.getBoundingClientRect();
  return [...e.querySelectorAll("text")].filter(t => {
    const r = t.getBoundingClientRect();
    return r.width && (r.left < box.left - 1 || r.right > box.right + 1 || r.top < box.top - 1 ||
      r.bottom > box.bottom + 1);
  }).map(t => `${e.id}: ${t.textContent}`);
})"""
"""Text of a chart that its box cuts off."""

GROUNDS = """expected => {
  const charts = [...document.querySelectorAll(".chart .main-svg:first-of-type")];
  const grounds = [...charts, document.body].map(e => getComputedStyle(e).backgroundColor);
  return charts.length > 0 && grounds.every(ground => ground === expected);
}"""
"""The page and all its charts have this ground."""


@dataclass
class Opened:
    """A page in the browser and everything it complained about or asked for."""

    page: Any
    events: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every kind of chart: a varied die, clipped codes, wrong readings, refused points."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "ADC_BITS", range(4, 15))  # 13 bits and more do not exist
        return report.write(cosim_run(small_bench(die_seed=4)), tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as run:
        chromium = run.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(
    scope="module",  # loading 5 MB is what takes long; the tests that change the page come last
    params=[(scheme, width) for scheme in SCHEMES for width in (360, 1440)],
    ids=lambda p: f"{p[0]}-{p[1]}",
)
def opened(request: pytest.FixtureRequest, browser: Browser, file: Path) -> Iterator[Opened]:
    scheme, width = request.param
    context = browser.new_context(offline=True, color_scheme=scheme, viewport={"width": width, "height": 900})
    shown = Opened(page=context.new_page())
    shown.page.on("console", lambda message: shown.events.append(f"console: {message.text}"))
    shown.page.on("pageerror", lambda error: shown.events.append(f"error: {error}"))
    shown.page.on("request", lambda request: shown.events.append(f"request: {request.url}"))
    shown.page.goto(file.as_uri())
    shown.page.wait_for_function("document.querySelectorAll('.main-svg').length > 0")
    yield shown
    context.close()


def _channels(colour: str) -> list[int]:
    if colour.startswith("#"):
        return [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    return [int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]


def _contrast(a: str, b: str) -> float:
    def luminance(colour: str) -> float:
        shares = [c / 255 for c in _channels(colour)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_the_page_opens_without_error_or_request(opened: Opened, file: Path) -> None:
    """The one request is the page itself; a request that the page's own policy refuses would be a console error."""
    assert opened.events == [f"request: {file.as_uri()}"]


def test_nothing_is_wider_than_the_page(opened: Opened) -> None:
    scroll, inner = opened.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert scroll <= inner
    cut = opened.page.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => !e.closest('.wide, .chart, script') && "
        "e.scrollWidth > e.clientWidth + 1 && e.clientWidth).map(e => e.outerHTML.slice(0, 80))"
    )
    assert not cut


def test_every_chart_is_drawn_at_a_sensible_size(opened: Opened) -> None:
    charts = opened.page.evaluate(CHARTS)
    assert len(charts) == 4 + 2 + 1 + 2
    for name, width, height, room, marks in charts:
        assert marks > 0, name
        assert 250 < width <= room + 1 and width > 0.95 * room, name
        assert 200 < height < 900, name
    assert not opened.page.evaluate(CUT)


def test_every_text_stands_out_from_what_is_behind_it(opened: Opened) -> None:
    texts = opened.page.evaluate(TEXT)
    assert len(texts) > 300
    faint = [(text, colour, ground) for text, colour, ground in texts if _contrast(colour, ground) < 4.5]
    assert not faint


def test_numbers_of_the_confusion_matrix_stand_out_from_their_cells(opened: Opened) -> None:
    scheme = "dark" if opened.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else "light"
    fills = opened.page.evaluate(
        "[...document.querySelectorAll('#chart-confusion .heatmap-label text, #chart-confusion .heatmaplayer text')]"
        ".map(e => getComputedStyle(e).fill)"
    )
    assert len(fills) >= 2
    for fill in fills:
        assert min(_contrast(fill, SCHEMES[scheme][cell]) for cell in ("series", "accent")) >= 4.5


def test_charts_follow_the_scheme_when_it_changes(opened: Opened) -> None:
    for scheme in ("dark", "light", "dark"):
        opened.page.emulate_media(color_scheme=scheme)
        opened.page.wait_for_function(GROUNDS, arg=f"rgb({', '.join(map(str, _channels(SCHEMES[scheme]['page'])))})")
        texts = opened.page.evaluate(TEXT)
        assert not [text for text, colour, ground in texts if _contrast(colour, ground) < 4.5]
    assert not [event for event in opened.events if not event.startswith("request: file:")]


def test_paper_is_light_and_nothing_is_cut_off(opened: Opened) -> None:
    opened.page.emulate_media(media="print")
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    opened.page.set_viewport_size({"width": 680, "height": 1000})  # A4 between margins of 15 mm
    texts = opened.page.evaluate(TEXT)
    assert all(_contrast(colour, LIGHT["page"]) >= 4.5 for _, colour, _ in texts)
    assert all(width <= 640 for _, width, *_ in opened.page.evaluate(CHARTS))
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 680
    assert opened.page.pdf(format="A4").startswith(b"%PDF")
