# SPDX-License-Identifier: Apache-2.0
"""What twinor says when something is wrong: one clear sentence, no traceback."""

__all__ = [
    "ConfigError",
    "CorruptFile",
    "NonFinite",
    "PlacementError",
    "SimulatorError",
    "TwinorError",
    "UnsupportedLayer",
]


class TwinorError(Exception):
    """Base of every error that a person can cause and mend; the command line prints it alone."""


class ConfigError(TwinorError):
    """A preset or option is unknown, missing or out of range; names key, value and allowed range."""


class CorruptFile(TwinorError):
    """A cache, die or network file is not what it claims to be; names the file and what to do."""


class NonFinite(TwinorError):
    """A weight, statistic or loss is NaN or infinite; names the layer or step."""


class PlacementError(TwinorError):
    """A layer does not fit the macro; names the layer, the figure and the limit."""


class SimulatorError(TwinorError):
    """The Verilog simulator is missing, crashed or hung; carries the tail of its log."""


class UnsupportedLayer(TwinorError):
    """A layer cannot be mapped; names it, its place and what is supported."""
