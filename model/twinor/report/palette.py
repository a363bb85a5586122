# SPDX-License-Identifier: Apache-2.0
"""Colours of the page and its charts, light and dark, distinguishable without red and green (after Okabe and Ito)."""

from __future__ import annotations

__all__ = ["DARK", "LIGHT"]

LIGHT = {
    "page": "#ffffff",
    "panel": "#f5f7f9",
    "grid": "#dde3e9",
    "ink": "#1a1f26",
    "muted": "#57616d",
    "series": "#0072b2",
    "accent": "#c14a00",
    "third": "#00755a",
    "thin": "#7fb2d4",
}
"""Charts are specified in these; the page's script replaces them by `DARK`, so no two may be equal."""

DARK = {
    "page": "#14171c",
    "panel": "#1d2229",
    "grid": "#353d48",
    "ink": "#e7eaee",
    "muted": "#a2adb9",
    "series": "#56b4e9",
    "accent": "#f0a202",
    "third": "#3ecf9f",
    "thin": "#4a86ad",
}
