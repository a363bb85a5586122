# SPDX-License-Identifier: Apache-2.0
"""`fast`: exactly the golden integers from torch, for whole test sets.

Column sums are one matrix product per pass. They are exact by construction: the bound of every sum is computed from the
die, and the product runs in the first of float32, float64 that represents every integer up to that bound.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

import numpy as np
import torch

from twinor import noise
from twinor.errors import PlacementError, TwinorError
from twinor.golden.adc_frontend import converted_columns, positions
from twinor.golden.wl_dac import magnitudes
from twinor.rounds import End, Pass, Start, check_streams, converts, passes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from twinor.config import Config
    from twinor.die import Die
    from twinor.rounds import Chain, Round

__all__ = ["Engine", "exact_dtype"]


def exact_dtype(bound: int) -> torch.dtype:
    """The narrowest float type in which every partial sum up to `bound` is exact.

    Raises:
        PlacementError: no float type is.

    Example:
        >>> exact_dtype(1 << 24), exact_dtype((1 << 24) + 1)
        (torch.float32, torch.float64)
    """
    if bound <= 1 << 24:
        return torch.float32
    if bound <= 1 << 53:
        return torch.float64
    raise PlacementError(f"column sums up to {bound} are exact in no float type")


class Engine:
    """Runs chains on one die.

    Args:
        config: the macro.
        die: its tables.
    """

    def __init__(self, config: Config, die: Die) -> None:
        """Take the integers of the die.

        Raises:
            TwinorError: torch was told to multiply float32 with fewer bits, which is not exact.
        """
        if torch.get_float32_matmul_precision() != "highest":
            raise TwinorError("fast needs exact products: call torch.set_float32_matmul_precision('highest')")
        self.config, self.die = config, die
        # An ideal die's strengths share 2**frac_bits: without common factors the sums fit float32.
        self.strength_unit = gcd(*np.unique(die.strength).tolist(), 0) or 1
        self.drive_unit = gcd(*np.unique(die.drive).tolist(), 0) or 1
        rises = np.diff(die.threshold[..., 1:].astype(np.int64), axis=2)
        binary = [config.sar_weights == "binary" and tuple(w) == config.weights for w in die.weight.tolist()]
        self.monotone = [bool((table >= 0).all() and searched) for table, searched in zip(rises, binary, strict=True)]
        self.pitch = [_pitch(table) if monotone else 0 for table, monotone in zip(rises, self.monotone, strict=True)]

    def run_chain(
        self,
        chain: Chain,
        inputs: Sequence[NDArray[np.integer]],
        psums: NDArray[np.integer] | None = None,
        residuals: NDArray[np.integer] | None = None,
        first: int = 0,
    ) -> NDArray[np.int64]:
        """What leaves the macro, int64[vectors, columns]; arguments as `golden.cim_macro.run_chain`."""
        check_streams(self.config, chain, inputs, psums, residuals, macros=len(self.die.strength))
        acc, leaving, taken, added = torch.zeros(0), [], 0, 0
        for rnd, x in zip(chain.rounds, inputs, strict=True):
            if rnd.start is Start.ZERO:
                acc = torch.zeros((x.shape[0], rnd.col_count), dtype=torch.int64)
            elif rnd.start is Start.PSUM:
                assert psums is not None  # check_streams has seen to it
                acc = torch.from_numpy(psums[:, taken : taken + rnd.col_count].astype(np.int64))
                taken += rnd.col_count
            if rnd.residual:
                assert residuals is not None
                codes = residuals[:, added : added + rnd.col_count].astype(np.int64)
                acc = acc + torch.from_numpy(codes * chain.residual_table[: rnd.col_count])
                added += rnd.col_count
            acc = self._run_round(chain.macro, rnd, x, acc, first)
            if rnd.end is not End.HOLD:
                leaving.append(self._finish(chain, rnd, acc))
        return np.asarray(torch.cat(leaving, dim=1).numpy())

    def _run_round(self, macro: int, rnd: Round, x: NDArray[np.integer], acc: torch.Tensor, first: int) -> torch.Tensor:
        config = self.config
        for p, q, wl_sum in self.held(macro, rnd, x, first=first):
            step = rnd.steps[p.x_slice][p.w_slice]
            x_shift = 0 if config.analog_slices else p.x_slice * config.dac_bits
            negative = config.weight_encoding == "twos_complement" and p.w_slice == config.w_slices - 1
            weight = step << (x_shift + p.w_slice * config.cell_bits)
            change = self.convert(macro, rnd, q, step) * (-weight if negative else weight)
            if config.ref_cols:
                change = change[:, : rnd.col_count] - change[:, rnd.col_count :][:, positions(config, rnd)]
            elif config.digital_offset and p.w_slice == 0:
                change = change - (config.digital_offset << x_shift) * wl_sum
            acc = acc - change if p.phase else acc + change
        return acc

    def held(
        self, macro: int, rnd: Round, x: NDArray[np.integer], *, first: int = 0
    ) -> Iterator[tuple[Pass, torch.Tensor, torch.Tensor]]:
        """What every conversion of a round sees, noise included; `first` is the first vector's index in the whole run.

        Yields:
            its pass, the held quantities int64[vectors, columns] of all columns that are converted, in
            `2**(-2 * frac_bits)` array units, and the sum of the word-line codes int64[vectors, 1]; one input slice,
            or all of them weighed by charge sharing.
        """
        config = self.config
        driven = [torch.from_numpy(magnitudes(rnd, x, phase=s)) for s in range(1 + rnd.signed)]
        q = wl_sum = variance = torch.zeros(0)
        for p in passes(config, rnd):
            codes = self._slice(driven[p.phase], p)
            new = self._column_quantity(macro, rnd, codes, p, first)
            total = codes.float().sum(dim=1, keepdim=True).long()  # floats add faster, and hold far larger sums exactly
            loud = self._variance(macro, rnd, codes, p)
            if config.analog_slices and p.x_slice:
                shift = p.x_slice * config.dac_bits
                new, total, loud = q + (new << shift), wl_sum + (total << shift), variance + (loud << 2 * shift)
            q, wl_sum, variance = new, total, loud
            if converts(config, rnd, p):
                yield p, q + self._noise(macro, rnd, p, variance, first), wl_sum

    def _slice(self, driven: torch.Tensor, p: Pass) -> torch.Tensor:
        """Word-line codes of the rows that the pass drives."""
        config = self.config
        rows = driven[:, p.group * config.active_rows : (p.group + 1) * config.active_rows]
        return (rows >> (p.x_slice * config.dac_bits)) & ((1 << config.dac_bits) - 1)

    def _rows(self, rnd: Round, codes: torch.Tensor, p: Pass) -> slice:
        """Word lines of a pass."""
        top = rnd.row_base + p.group * self.config.active_rows
        return slice(top, top + codes.shape[1])

    def _column_quantity(self, macro: int, rnd: Round, codes: torch.Tensor, p: Pass, first: int) -> torch.Tensor:
        """Column quantities of one pass, int64[vectors, columns], in `2**(-2 * frac_bits)` array units."""
        config, rows = self.config, self._rows(rnd, codes, p)
        if self.die.cells is not None:
            q = self._cellwise(rnd, codes, self.die.cells.current[macro, rows], p)
            return q - self._taken(macro, rnd, codes, p, first) if self.die.cells.trap[macro].any() else q
        lines = self.die.strength[macro, rows].reshape(codes.shape[1], config.cols, config.w_slices, -1)
        chosen = lines[:, converted_columns(config, rnd), p.w_slice].astype(np.int64) // self.strength_unit
        cells = chosen[..., 0] - chosen[..., 1] if config.lines_per_cell == 2 else chosen[..., 0]
        table = self.die.drive[macro, rows].astype(np.int64) // self.drive_unit
        dtype = exact_dtype(int((np.abs(cells).max(axis=1) * table.max(axis=1)).sum()))
        gain = table[:, 1:2]
        if np.array_equal(table, gain * np.arange(table.shape[1])):  # the gain of a proportional DAC goes to the cells
            drive, cells = codes.to(dtype), cells * gain
        else:
            drive = torch.from_numpy(table).to(dtype)[torch.arange(codes.shape[1]), codes.to(torch.int64)]
        product = drive @ torch.from_numpy(cells).to(dtype)
        return product.to(torch.int64) * (self.strength_unit * self.drive_unit)

    def _cellwise(
        self, rnd: Round, codes: torch.Tensor, cells: NDArray[np.integer], p: Pass, *, minus: int = -1
    ) -> torch.Tensor:
        """Columns of cells that do not separate, int64[vectors, columns]; the second line of a pair counts `minus`."""
        config = self.config
        lines = cells.reshape(*cells.shape[:2], config.cols, config.w_slices, -1)
        chosen = lines[:, :, converted_columns(config, rnd), p.w_slice].astype(np.int64)
        table = chosen[..., 0] + minus * chosen[..., 1] if config.lines_per_cell == 2 else chosen[..., 0]
        dtype = exact_dtype(int(np.abs(table).max(axis=(1, 2)).sum()))
        total = torch.zeros((len(codes), table.shape[2]), dtype=dtype)
        for code in range(1, table.shape[1]):
            total += (codes == code).to(dtype) @ torch.from_numpy(table[:, code]).to(dtype)
        return total.to(torch.int64)

    def _taken(self, macro: int, rnd: Round, codes: torch.Tensor, p: Pass, first: int) -> torch.Tensor:
        """What occupied traps take away from a pass, int64[vectors, columns]."""
        assert self.die.cells is not None
        span = self._rows(rnd, codes, p)
        rows, parts = np.arange(span.start, span.stop), []
        for block, part in noise.blocks(np.arange(first, first + len(codes))):
            table = noise.trapped_currents(self.die.cells, macro, block, rows)
            parts.append(self._cellwise(rnd, codes[part], table, p))
        return torch.cat(parts)

    def _variance(self, macro: int, rnd: Round, codes: torch.Tensor, p: Pass) -> torch.Tensor:
        """Variance of the cells of a pass, int64[vectors, columns]."""
        if self.die.cells is None or not self.die.noisy:
            return torch.zeros(1, dtype=torch.int64)
        return self._cellwise(rnd, codes, self.die.cells.variance[macro, self._rows(rnd, codes, p)], p, minus=1)

    def _noise(self, macro: int, rnd: Round, p: Pass, variance: torch.Tensor, first: int) -> torch.Tensor:
        """What noise adds to the quantities that a pass converts, but for its traps, int64[vectors, columns]."""
        cells, columns = self.die.cells, converted_columns(self.config, rnd)
        if cells is None or not self.die.noisy:
            return variance
        own = cells.conversion[macro, columns % self.config.n_adcs] * rnd.steps[p.x_slice][p.w_slice] ** 2
        words = noise.conversion_words(
            cells.noise_seed,
            macro=cells.first_macro + macro,
            vectors=np.arange(first, first + len(variance)),
            row=rnd.row_base + p.group * self.config.active_rows,
            x_slice=p.x_slice,
            w_slice=p.w_slice,
            phase=p.phase,
            columns=columns,
        )
        return torch.from_numpy(noise.gaussian(variance.numpy() + own, words))

    def convert(self, macro: int, rnd: Round, q: torch.Tensor, step: int) -> torch.Tensor:
        """ADC codes of column quantities, int64[vectors, columns].

        The code of a binary search in a monotone table counts the thresholds passed, by a division where they are
        evenly spaced; else the path decides, and the search is golden's, trial by trial.
        """
        config = self.config
        adcs = converted_columns(config, rnd) % config.n_adcs
        table = torch.from_numpy(self.die.threshold[macro, adcs].astype(np.int64)).mul(step)
        if self.pitch[macro]:
            passed = (q - table[:, 1]).div_(self.pitch[macro] * step, rounding_mode="floor").add_(1)
            return self._correct(macro, rnd, passed.clamp_(0, table.shape[1] - 1) + config.code_min)
        if self.monotone[macro]:
            passed = torch.searchsorted(table[:, 1:].contiguous(), q.T.contiguous(), right=True).T
            return self._correct(macro, rnd, passed + config.code_min)
        base, flat = torch.arange(len(adcs)) << config.trials, table.reshape(-1)
        kept, result = torch.zeros_like(q), torch.zeros_like(q)
        for n, weight in enumerate(self.die.weight[macro].tolist()):
            trial = kept | 1 << (config.trials - 1 - n)
            keep = q >= flat[base + trial]
            kept, result = torch.where(keep, trial, kept), torch.where(keep, result + weight, result)
        return self._correct(macro, rnd, result.clamp(max=(1 << config.adc_bits) - 1) + config.code_min)

    def _correct(self, macro: int, rnd: Round, code: torch.Tensor) -> torch.Tensor:
        """Codes after the column correction."""
        config, columns = self.config, converted_columns(self.config, rnd)
        if not config.column_correction:
            return code
        gain, offset = (torch.from_numpy(t[macro, columns].astype(np.int64)) for t in (self.die.gain, self.die.offset))
        return ((code * gain + offset) >> 8).clamp(config.code_min, config.code_max)

    def _finish(self, chain: Chain, rnd: Round, acc: torch.Tensor) -> torch.Tensor:
        if rnd.end is End.RAW:
            return acc
        mult = torch.from_numpy(chain.mult[: rnd.col_count].astype(np.int64))
        add = torch.from_numpy(chain.add[: rnd.col_count].astype(np.int64))
        return ((acc * mult + add) >> rnd.shift).clamp(rnd.lo, rnd.hi)


def _pitch(rises: NDArray[np.int64]) -> int:
    """What lies between one threshold and the next, if it is the same everywhere in a macro, else 0."""
    first = int(rises.flat[0]) if rises.size else 0
    return first if bool((rises == first).all()) else 0
