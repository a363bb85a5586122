# SPDX-License-Identifier: Apache-2.0
"""The macro in the loop: what its ADCs make of every partial sum, on tensors, in training and evaluation.

    acc = sum over row groups, phases, input slices i and weight slices j of
          sign * 2**(i*dac_bits + j*cell_bits) * step[i][j] * clip(floor(q / step[i][j] + 1/2), code_min, code_max)

with q the exact column quantity of an ideal die, or trunc(q / step[i][j]) with `adc_rounding: toward_zero`: the
integers of `golden` and `fast`, faster, and for gradients. A given die adds its deviations, and noise, to q.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from twinor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from twinor.config import Config
    from twinor.place import Steps
    from twinor.quantize.modules import QuantLayer

__all__ = ["Deviations", "Macro"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviations:
    """What one die adds to the column quantities of every layer, but for its noise.

    Attributes:
        cells: what cells hold beside their levels, by layer, float32[w_slices, rows, columns] as in `weight_matrix`.
        offset: of the conversions, by layer, in LSB, float32[tiles, columns]; a tile is `Config.rows` rows.
    """

    cells: Mapping[str, Tensor]
    offset: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Macro:
    """A macro with calibrated steps, as a layer of a quantized network asks it for accumulators.

    Attributes:
        config: the macro.
        steps: ADC steps by layer name, [x_slices][w_slices], as `calibrate` gives them.
        disturb: what is added to held column quantities [N, columns, ...], in array units: noise, drift, anything.
        deviations: of the die that is in the loop; None for an ideal one.

    Raises:
        ConfigError: bias rows or reference columns, which belong to placement and not to training.
    """

    config: Config
    steps: Mapping[str, Steps]
    disturb: Callable[[Tensor], Tensor] | None = None
    deviations: Deviations | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be trained through."""
        for key in ("bias_rows", "ref_cols"):
            if getattr(self.config, key):
                raise ConfigError(
                    f"preset {self.config.name}: {key} is {getattr(self.config, key)}; a macro in the training loop "
                    "has none: train with it at 0 and place with it as it is"
                )

    @torch.no_grad()
    def __call__(self, layer: QuantLayer, values: Tensor, weight: Tensor) -> Tensor:
        """Accumulators as the macro gives them, integer-valued float32[N, out, ...].

        Args:
            layer: asks; says how it accumulates.
            values: codes that come in, integer-valued float32[N, in, ...].
            weight: codes of the weights, integer-valued float32[out, in / groups, ...].
        """
        padded = layer.padded(values)
        bundles = self._bundles(layer, weight)
        return torch.cat([self._bundle(layer, padded[:, i], w, i, o) for w, i, o in bundles], dim=1)

    def _bundles(self, layer: QuantLayer, weight: Tensor) -> Iterator[tuple[Tensor, slice, slice]]:
        """Weights of what is placed as one matrix, with zeros between groups, its input and its output channels."""
        config, groups = self.config, layer.groups
        wide, deep = len(weight) // groups, weight[0].numel()
        each = max(1, min(config.rows // deep, config.out_cols // wide))
        inside = weight.shape[1]
        for first in range(0, groups, each):
            count = min(each, groups - first)
            dense = weight.new_zeros(count * wide, count * inside, *weight.shape[2:])
            for g in range(count):
                rows = slice((first + g) * wide, (first + g + 1) * wide)
                dense[g * wide : (g + 1) * wide, g * inside : (g + 1) * inside] = weight[rows]
            inputs, outputs = (slice(first * size, (first + count) * size) for size in (inside, wide))
            yield dense, inputs, outputs

    def _bundle(self, layer: QuantLayer, x: Tensor, weight: Tensor, inputs: slice, outputs: slice) -> Tensor:
        planes, acc = list(self._planes(weight)), torch.zeros(())
        if self.deviations is not None:
            planes = self._deviated(layer, planes, inputs, outputs)
        if self.config.digital_offset:
            acc = -self.config.digital_offset * layer.dot_dense(x, torch.ones_like(weight[:1]))
        phases = [(1, x)] if layer.input_min >= 0 else [(1, x.clamp(min=0)), (-1, x.clamp(max=0).neg())]
        steps = self.steps[layer.name]
        for rows in self._row_groups(weight[0].numel()):
            for sign, driven in phases:
                for i, (codes, x_weight) in enumerate(self._slices(driven, len(steps))):
                    for j, (plane, w_weight) in enumerate(planes):
                        part = _rows(plane, rows)
                        used = slice(*_channels(plane, rows))
                        q = layer.dot_dense(codes[:, used], part[:, used])
                        if self.deviations is None:
                            q = q.round()  # what a Winograd convolution leaves behind the point would decide ties
                        q = self._held(layer, q, steps[i][j], rows[0], outputs)
                        acc = acc + self._convert(q, steps[i][j]) * (sign * x_weight * w_weight * steps[i][j])
        return acc

    def _deviated(
        self, layer: QuantLayer, planes: list[tuple[Tensor, int]], inputs: slice, outputs: slice
    ) -> list[tuple[Tensor, int]]:
        """Planes with what the cells of the die hold beside them."""
        assert self.deviations is not None
        cells, kernel = self.deviations.cells[layer.name], planes[0][0][0, 0].numel()
        extra = cells[:, inputs.start * kernel : inputs.stop * kernel, outputs].transpose(1, 2)
        return [(plane + extra[j].reshape(plane.shape), weight) for j, (plane, weight) in enumerate(planes)]

    def _held(self, layer: QuantLayer, q: Tensor, step: int, row: int, outputs: slice) -> Tensor:
        """Column quantities with the offsets of their conversions and with noise."""
        if self.deviations is not None:
            offset = self.deviations.offset[layer.name][row // self.config.rows, outputs]
            q = q + step * offset.reshape(-1, *(1,) * (q.dim() - 2))
        return q if self.disturb is None else q + self.disturb(q)

    def _convert(self, held: Tensor, step: int) -> Tensor:
        """ADC codes of column quantities."""
        code = torch.trunc(held / step) if self.config.adc_rounding == "toward_zero" else torch.floor(held / step + 0.5)
        return code.clamp_(self.config.code_min, self.config.code_max)

    def _row_groups(self, rows: int) -> Iterator[tuple[int, int]]:
        """First and past-the-end row of what is driven at once: tiles, and row groups of each."""
        config = self.config
        for top in range(0, rows, config.rows):
            bottom = min(top + config.rows, rows)
            for first in range(top, bottom, config.active_rows):
                yield first, min(first + config.active_rows, bottom)

    def _slices(self, x: Tensor, count: int) -> Iterator[tuple[Tensor, int]]:
        """Input slices and their weights; one slice of all where charge is shared before the conversion."""
        config = self.config
        if config.analog_slices:
            yield x, 1
            return
        for i in range(count):
            shift = i * config.dac_bits
            yield torch.floor(x / (1 << shift)).remainder(1 << config.dac_bits), 1 << shift

    def _planes(self, weight: Tensor) -> Iterator[tuple[Tensor, int]]:
        """What cells hold, by weight slice, and the weight of the slice."""
        config = self.config
        stored = weight.abs() if config.bipolar else weight + config.weight_offset
        if config.weight_encoding == "twos_complement":
            stored = weight.remainder(1 << config.weight_bits)
        for j in range(config.w_slices):
            shift = j * config.cell_bits
            plane = torch.floor(stored / (1 << shift)).remainder(1 << config.cell_bits)
            negative = config.weight_encoding == "twos_complement" and j == config.w_slices - 1
            yield plane * weight.sign() if config.bipolar else plane, -(1 << shift) if negative else 1 << shift


def _channels(weight: Tensor, rows: tuple[int, int]) -> tuple[int, int]:
    """First and past-the-end input channel that rows belong to; a row is a channel and a place in the kernel."""
    kernel = weight[0, 0].numel()
    return rows[0] // kernel, -(-rows[1] // kernel)


def _rows(weight: Tensor, rows: tuple[int, int]) -> Tensor:
    """Weights with everything outside some rows at 0."""
    flat = weight.flatten(1)
    kept = torch.zeros_like(flat)
    kept[:, rows[0] : rows[1]] = flat[:, rows[0] : rows[1]]
    return kept.view_as(weight)
