# SPDX-License-Identifier: Apache-2.0
"""The one check of a record of device figures: every figure is a number within its range."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_ranges"]


def check_ranges(what: str, record: object, allowed: Mapping[str, tuple[float, float]]) -> None:
    """Refuse a record with a figure that is no number or out of range, NaN included.

    Args:
        what: names the record in the message.
        record: has an attribute of each name in `allowed`.
        allowed: smallest and largest value by name.

    Raises:
        ConfigError: names record, figure, value and range.

    Example:
        >>> check_ranges("point", 3.0 + 4.0j, {"real": (0, 5), "imag": (0, 3)})
        Traceback (most recent call last):
        twinor.errors.ConfigError: point: imag = 4.0 is not allowed: expected 0 .. 3
    """
    for name, (least, most) in allowed.items():
        value = getattr(record, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ConfigError(f"{what}: {name} = {value!r} is not allowed: expected {least:g} .. {most:g}")
