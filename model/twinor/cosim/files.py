# SPDX-License-Identifier: Apache-2.0
"""The files between Python and the Verilog harness: hexadecimal beats in, one line per event out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twinor.golden import macro_ctrl
from twinor.golden.adc_frontend import converted_columns
from twinor.rounds import End, converts, pack, passes
from twinor.trace import MISSING, UNKNOWN, RoundTrace
from twinor.trim import trim_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.die import Die
    from twinor.golden.flash_array import Cells, CellTables
    from twinor.rounds import Chain, Round

__all__ = [
    *("beats_hex", "cells_hex", "lanes_hex", "noise_hex", "psums_hex", "pulse_hex", "read_clips", "read_traces"),
    *("residuals_hex", "states_hex", "thresholds_hex", "words_hex"),
]


def lanes_hex(values: NDArray[np.integer], bits: int) -> str:
    """One line per row of [lines, lanes]: lane 0 in the low bits, two's complement of `bits` bits a lane."""
    lanes = values[:, ::-1].astype(np.int64)
    if bits % 8 == 0:
        data = lanes.astype(">i8").view(np.uint8).reshape(*lanes.shape, 8)[..., 8 - bits // 8 :]
        return "".join(row.tobytes().hex() + "\n" for row in data)
    planes = (lanes[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    flat = planes.astype(np.uint8).reshape(lanes.shape[0], -1)
    padded = np.pad(flat, ((0, 0), (-flat.shape[1] % 8, 0)))
    return "".join(row.tobytes().hex() + "\n" for row in np.packbits(padded, axis=1))


def cells_hex(config: Config, die: Die, macro: int) -> str:
    """Cell currents of one macro for `+cells`: line `row * 2**dac_bits + code`, bit line 0 in the low bits.

    Example:
        >>> from twinor.config import load
        >>> from twinor.die import ideal_die
        >>> cfg = load("tiny")
        >>> text = cells_hex(cfg, ideal_die(cfg, np.ones((1, 8, 8), dtype=np.uint8)), 0)
        >>> len(text.splitlines()), text.splitlines()[1][-5:]
        (16, '01000')
    """
    if die.cells is not None:
        current = die.cells.current[macro].astype(np.int64)
    else:
        current = die.strength[macro].astype(np.int64)[:, None, :] * die.drive[macro].astype(np.int64)[:, :, None]
    most = np.sort(current.max(axis=1), axis=0)[-config.active_rows :].sum(axis=0)
    if int(most.max()) >> config.current_bits:
        raise ValueError(f"a bit line's current exceeds the {config.current_bits} bits of the behavioural array")
    return lanes_hex(current.reshape(-1, config.bit_lines), config.current_bits)


def thresholds_hex(die: Die, macro: int) -> str:
    """Threshold tables of one macro for `+thresholds`: line `adc * 2**trials + trial`."""
    return lanes_hex(die.threshold[macro].reshape(-1, 1), 64)


def noise_hex(config: Config, traces: Sequence[RoundTrace]) -> str:
    """Noise for `+noise`: per sample its multiplexer position, then what it adds to each ADC, 64 bits a value.

    Samples are in the order in which the macro takes them; ADCs whose column no round converts get none.
    """
    samples: list[NDArray[np.int64]] = []
    for t in traces:
        assert t.noise is not None  # golden's traces have it
        columns = converted_columns(config, t.rnd)
        mux, first = columns // config.n_adcs, int(columns.min()) // config.n_adcs
        lines = np.zeros((len(t.codes), len(t.passes), macro_ctrl.phases(config, t.rnd), 1 + config.n_adcs), np.int64)
        lines[..., 0] = first + np.arange(lines.shape[2])
        lines[:, :, mux - first, 1 + columns % config.n_adcs] = t.noise
        converted = [n for n, p in enumerate(t.passes) if converts(config, t.rnd, p)]
        samples.append(lines[:, converted].reshape(len(t.codes), -1, 1 + config.n_adcs))
    return lanes_hex(np.concatenate(samples, axis=1).reshape(-1, 1 + config.n_adcs), 64)


def states_hex(cells: Cells) -> str:
    """Cells of one macro for `+states`: line `row * bit_lines + bit_line`, speed above threshold."""
    return lanes_hex(np.stack([cells.threshold, cells.speed], axis=-1).reshape(-1, 2), 16)


def pulse_hex(tables: CellTables, die: Die, macro: int) -> dict[str, str]:
    """What pulses need, by plusarg: `moves` (by kind and level, then the disturb), `strengths`, `drives`."""
    moves = np.append(tables.move.ravel(), tables.disturb)
    values = {"moves": moves, "strengths": tables.strength, "drives": die.drive[macro].ravel()}
    return {name: lanes_hex(value.reshape(-1, 1), 32) for name, value in values.items()}


def words_hex(config: Config, die: Die, chain: Chain) -> str:
    """Words for `+words`, address and data a line: those of the die, then those of the chain."""
    words = [*trim_words(config, die, macro=chain.macro).tolist(), *pack(config, chain).tolist()]
    return "".join(f"{addr:04x} {data:08x}\n" for addr, data in words)


def beats_hex(config: Config, inputs: Sequence[NDArray[np.integer]]) -> str:
    """Input beats for `+beats`: round after round of each vector, the last beat of a vector padded with zeros."""
    padded = [np.pad(x, ((0, 0), (0, -x.shape[1] % config.in_lanes))) for x in inputs]
    return lanes_hex(np.concatenate(padded, axis=1).reshape(-1, config.in_lanes), config.input_bits)


def psums_hex(config: Config, psums: NDArray[np.integer] | None) -> str:
    """Partial-sum beats for `+psums`, one column a line."""
    return "" if psums is None else lanes_hex(psums.reshape(-1, 1), config.psum_bits)


def residuals_hex(config: Config, residuals: NDArray[np.integer] | None) -> str:
    """Residual beats for `+residuals`, one column a line."""
    return "" if residuals is None else lanes_hex(residuals.reshape(-1, 1), config.input_bits + 1)


class _Log:
    """Lines of fixed width as a byte matrix, and a mask of the digits that were not known.

    An X bit makes its hexadecimal digit X: a lane that shares the digit counts as unknown too.
    """

    def __init__(self, path: Path) -> None:
        text = path.read_bytes() if path.is_file() else b""
        width = text.find(b"\n")
        text = text[: len(text) // (width + 1) * (width + 1)] if width > 0 else b""
        self.value = self._bytes(text.translate(_VALUE), width)
        unknown = any(letter in text for letter in b"xXzZ")
        self.unknown = self._bytes(text.translate(_MASK), width) if unknown else None

    @staticmethod
    def _bytes(text: bytes, width: int) -> NDArray[np.uint8]:
        return np.frombuffer(bytes.fromhex(text.decode()), dtype=np.uint8).reshape(-1, max(width, 2) // 2)

    def fields(self, first: int, last: int, bits: int, count: int, *, signed: bool) -> NDArray[np.int64]:
        """The low `bits * count` bits of bytes first..last as int64[lines, count], lane 0 first."""
        value = _lanes(self.value[:, first:last], bits, count)
        if signed:
            value = np.where(value >> (bits - 1), value - (1 << bits), value)
        if self.unknown is not None:
            value[_lanes(self.unknown[:, first:last], bits, count) != 0] = UNKNOWN
        return value


_VALUE = bytes(ord("0") if chr(c) in "xXzZ" else c for c in range(256))
_MASK = bytes(c if chr(c) == "\n" else ord("f") if chr(c) in "xXzZ" else ord("0") for c in range(256))


def _lanes(data: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.int64]:
    flat = np.unpackbits(data, axis=1)[:, data.shape[1] * 8 - bits * count :]
    lanes = flat.reshape(data.shape[0], count, bits)[:, ::-1]
    total = np.zeros(lanes.shape[:2], dtype=np.int64)
    for k in range(bits):
        total = total << 1 | lanes[..., k]
    return total


def read_traces(config: Config, chain: Chain, prefix: Path, *, vectors: int) -> list[RoundTrace]:
    """The Verilog's trace of a chain from the three logs of a run; events that never came are `MISSING`."""
    rows = -(-config.rows * config.dac_bits // 8)
    trials = -(-config.n_adcs * config.trials**2 // 8)
    codes = -(-config.n_adcs * config.code_bits // 8)
    sums = -(-config.n_lanes * config.acc_bits // 8)
    out_bytes = -(-config.acc_bits // 8)
    hold, code, out = (_Log(prefix.with_suffix(s)) for s in (".hold", ".code", ".out"))
    at = np.cumsum([4, trials, codes, sums])
    events = _Events(
        config,
        hold=np.hstack([_cycles(hold), hold.fields(4, 4 + rows, config.dac_bits, config.rows, signed=False)]),
        code=_cycles(code),
        trials=_trials(config, code, int(at[0]), int(at[1])),
        codes=code.fields(int(at[1]), int(at[2]), config.code_bits, config.n_adcs, signed=True),
        sums=code.fields(int(at[2]), int(at[3]), config.acc_bits, config.n_lanes, signed=True),
        out=np.hstack(
            [
                _cycles(out),
                out.fields(5, 5 + out_bytes, config.acc_bits, 1, signed=True),
                out.fields(4, 5, 8, 1, signed=False),
            ]
        ),
    )
    return events.split(chain, vectors)


def read_clips(prefix: Path) -> tuple[int, int]:
    """The Verilog's clip counters at the end of a run, low and high; `MISSING` if the run did not come to its end."""
    ends = _Log(prefix.with_suffix(".clip")).fields(0, 8, 32, 2, signed=False)
    return (int(ends[0, 1]), int(ends[0, 0])) if len(ends) else (MISSING, MISSING)


def _cycles(log: _Log) -> NDArray[np.int64]:
    return log.fields(0, 4, 32, 1, signed=False)


def _trials(config: Config, log: _Log, first: int, last: int) -> NDArray[np.int64]:
    """int64[lines, n_adcs, trials], first trial first: the log holds the first trial in the high bits."""
    flat = log.fields(first, last, config.trials, config.n_adcs * config.trials, signed=False)
    return flat.reshape(-1, config.trials, config.n_adcs)[:, ::-1].transpose(0, 2, 1)


class _Events:
    """Log lines in order of time, dealt out to vectors, rounds and passes in the order golden expects."""

    def __init__(self, config: Config, **logs: NDArray[np.int64]) -> None:
        self.config, self.logs = config, logs

    def split(self, chain: Chain, vectors: int) -> list[RoundTrace]:
        shapes = [self._shape(r) for r in chain.rounds]
        holds = self._deal("hold", [len(passes(self.config, r)) for r in chain.rounds], vectors)
        names = ("code", "trials", "codes", "sums")
        dealt = {name: self._deal(name, [p * m for p, m, _ in shapes], vectors) for name in names}
        outs = self._deal("out", [c for _, _, c in shapes], vectors)
        return [
            self._trace(rnd, holds[k], {name: dealt[name][k] for name in names}, outs[k])
            for k, rnd in enumerate(chain.rounds)
        ]

    def _shape(self, rnd: Round) -> tuple[int, int, int]:
        leaving = rnd.col_count if rnd.end is not End.HOLD else 0
        converted = sum(converts(self.config, rnd, p) for p in passes(self.config, rnd))
        return converted, macro_ctrl.phases(self.config, rnd), leaving

    def _deal(self, name: str, counts: list[int], vectors: int) -> list[NDArray[np.int64]]:
        log, wanted = self.logs[name], vectors * sum(counts)
        full = np.full((wanted, *log.shape[1:]), MISSING, dtype=np.int64)
        full[: min(wanted, len(log))] = log[:wanted]
        if len(log) > wanted and wanted:
            full[-1] = log[wanted]  # one event too many: what comes last cannot be right
        per_vector = full.reshape(vectors, sum(counts), *log.shape[1:])
        ends = np.cumsum(counts)
        return [per_vector[:, end - count : end] for count, end in zip(counts, ends, strict=True)]

    def _trace(
        self, rnd: Round, hold: NDArray[np.int64], code: dict[str, NDArray[np.int64]], out: NDArray[np.int64]
    ) -> RoundTrace:
        order = passes(self.config, rnd)
        converted = [n for n, p in enumerate(order) if converts(self.config, rnd, p)]
        vectors, refs = hold.shape[0], int(self.config.ref_cols)

        def columns(a: NDArray[np.int64]) -> NDArray[np.int64]:
            """[V, Q * M, lanes, ...] -> [V, P, M * lanes, ...]: column c is lane c % lanes of phase c // lanes."""
            width = a.shape[1] // len(converted) * a.shape[2]
            full = np.zeros((vectors, len(order), width, *a.shape[3:]), dtype=np.int64)
            full[:, converted] = a.reshape(vectors, len(converted), width, *a.shape[3:])
            return full

        def adcs(a: NDArray[np.int64]) -> NDArray[np.int64]:
            """Output columns first, then the reference column of each phase, which the first ADC converts."""
            own, references = columns(a[:, :, refs:]), columns(a[:, :, :refs])
            return np.concatenate([own[:, :, : rnd.col_count], references], axis=2)

        return RoundTrace(
            rnd=rnd,
            passes=order,
            word_lines=hold[..., 1:],
            trials=adcs(code["trials"]),
            codes=adcs(code["codes"]),
            partial_sums=columns(code["sums"])[:, :, : rnd.col_count],
            outputs=out[..., 1],
            last_flags=out[..., 2],
            hold_cycles=hold[..., 0],
            code_cycles=adcs(np.repeat(code["code"], self.config.n_adcs, axis=2)),
            out_cycles=out[..., 0],
            converted=len(converted),
        )
