# SPDX-License-Identifier: Apache-2.0
"""twinor: an int4 NOR-flash compute-in-memory macro and its Verilog-checked digital twin.

The names below need numpy and PyYAML alone; `twinor.quantize` and `twinor.fast` bring torch, `twinor.cosim` Icarus.

Example:
    >>> import twinor
    >>> twinor.load("nor40_int4").n_adcs
    8
"""

from twinor.config import Config, load
from twinor.die import Die, ideal_die, sample_die
from twinor.die_file import load_die, save_die
from twinor.errors import TwinorError
from twinor.network import AvgPool, Concat, Conv, Flatten, IntegerNetwork, Linear, MaxPool, Requant, Shortcut
from twinor.rounds import Chain, End, Round, Start
from twinor.run import chain_runner, forward
from twinor.trace import Divergence, RoundTrace

__all__ = [
    "AvgPool",
    "Chain",
    "Concat",
    "Config",
    "Conv",
    "Die",
    "Divergence",
    "End",
    "Flatten",
    "IntegerNetwork",
    "Linear",
    "MaxPool",
    "Requant",
    "Round",
    "RoundTrace",
    "Shortcut",
    "Start",
    "TwinorError",
    "chain_runner",
    "forward",
    "ideal_die",
    "load",
    "load_die",
    "sample_die",
    "save_die",
]
