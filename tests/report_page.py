# SPDX-License-Identifier: Apache-2.0
"""A report as a test reads it: attributes, tables, chart specifications and visible text."""

import json
from html.parser import HTMLParser
from typing import Any

__all__ = ["Page"]


class Page(HTMLParser):
    """Attributes, tables, chart specifications and visible text of a page."""

    def __init__(self, html: str) -> None:
        """Read it all."""
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.specs: dict[str, dict[str, Any]] = {}
        self.words: list[str] = []
        self.captions: list[str] = []
        self._open: list[str] = []
        self._spec = ""
        self._title = ""
        self.feed(html)
        self.close()
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep attributes; a heading names the table after it."""
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._open.append(tag)
        self._spec = dict(attrs).get("data-chart") or ""
        if tag == "h3":
            self._title = ""
        elif tag == "table":
            self.tables[self._title] = []
        elif tag == "tr":
            self.tables[self._title].append([])
        elif tag in ("td", "th"):
            self.tables[self._title][-1].append("")
        elif tag == "figcaption":
            self.captions.append("")

    def handle_endtag(self, tag: str) -> None:
        """Words of different elements do not run together."""
        self.words.append(" ")
        while self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Keep specifications, cells and text."""
        inside = self._open[-1] if self._open else ""
        if inside == "script":
            if self._spec:
                self.specs[self._spec] = json.loads(data)
        elif inside != "style":
            self.words.append(data)
            if inside == "h3":
                self._title += data
            elif inside in ("td", "th"):
                self.tables[self._title][-1][-1] += data
            elif inside == "figcaption":
                self.captions[-1] += data
