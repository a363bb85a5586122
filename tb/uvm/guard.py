# SPDX-License-Identifier: Apache-2.0
"""What pyuvm only logs fails the test: its errors and warnings leave a simulation green by themselves."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["LogGuard"]

OURS = ("uvm", "pyuvm", "RegModel")
"""Loggers whose warnings count too: a run phase without an objection is one, a register mirror that differs another."""


class LogGuard:
    """Collects what any logger says at ERROR or above, and at WARNING or above what pyuvm's loggers say.

    A record factory sees every record, also those of loggers that do not propagate and have no handler.

    Example:
        >>> with LogGuard() as guard:
        ...     logging.getLogger("RegModel").error("mirror differs")
        >>> guard.said
        ['RegModel: mirror differs']
    """

    def __init__(self) -> None:
        """Nothing was said."""
        self.said: list[str] = []

    def __enter__(self) -> LogGuard:
        """Listen."""
        self._make = logging.getLogRecordFactory()
        logging.setLogRecordFactory(self._record)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Listen no more."""
        logging.setLogRecordFactory(self._make)

    def _record(self, *args: object, **kwargs: object) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        floor = logging.WARNING if record.name.split(".")[0] in OURS else logging.ERROR
        if record.levelno >= floor:
            self.said.append(f"{record.name}: {record.getMessage()}")
        return record
