# SPDX-License-Identifier: Apache-2.0
"""A quantized network: layers that compute on codes, in an order in which they can be computed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from twinor.network import IMAGES
from twinor.quantize.clip import LearnableClip
from twinor.quantize.modules import Codes, QuantLayer
from twinor.quantize.thresholds import Phase, WeightThreshold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twinor.quantize.macro import Macro

__all__ = ["QuantNetwork"]


class QuantNetwork(nn.Module):
    """Quantized layers; each has a name and the names of the layers, or `images`, that it takes.

    Attributes:
        input_shape: shape of one image, channels first.
        input_bits: bits of an image code.
        input_step: float32[], real value of image code 1.
    """

    input_step: Tensor

    def __init__(
        self, layers: Sequence[nn.Module], *, input_shape: tuple[int, ...], input_bits: int, input_step: float
    ) -> None:
        """Keep the layers; `quantize` makes them from a float network."""
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.input_shape, self.input_bits = input_shape, input_bits
        self.register_buffer("input_step", torch.tensor(input_step))
        self._last_use = {name: n for n, layer in enumerate(layers) for name in layer.sources}  # type: ignore[union-attr]

    def weight_layers(self) -> Iterator[QuantLayer]:
        """Convolutions and linear layers, first to last."""
        return (layer for layer in self.layers if isinstance(layer, QuantLayer))

    def clips(self) -> Iterator[LearnableClip]:
        """Every clip once."""
        return (module for module in self.modules() if isinstance(module, LearnableClip))

    def set_phase(self, phase: Phase) -> None:
        """Tell every threshold and clip what sets it from now on; what takes no gradient stays as it is."""
        for module in self.modules():
            if isinstance(module, WeightThreshold | LearnableClip):
                trained = all(parameter.requires_grad for parameter in module.parameters())
                module.phase = phase if trained else Phase.FREEZE
            elif isinstance(module, QuantLayer):
                module.phase = (
                    phase if any(parameter.requires_grad for parameter in module.parameters()) else Phase.FREEZE
                )

    def set_macro(self, macro: Macro | None) -> None:
        """Let a macro compute every accumulator from now on; None for exact ones."""
        for layer in self.weight_layers():
            layer.macro = macro

    @contextmanager
    def observing(self) -> Iterator[None]:
        """Every forward pass inside samples the clips, and moves nothing else."""
        try:
            for clip in self.clips():
                clip.observing = True
            yield
        finally:
            for clip in self.clips():
                clip.observing = False

    def codes(self, images: Tensor) -> Codes:
        """Logits as integer counts, with their step.

        Args:
            images: uint8 or float[N, *input_shape], integer-valued codes.
        """
        values = {IMAGES: Codes(images.float(), self.input_step)}
        result = values[IMAGES]
        with _whole_float32():
            for n, layer in enumerate(self.layers):
                sources: tuple[str, ...] = layer.sources  # type: ignore[assignment]
                result = layer(*(values[name] for name in sources))
                values[str(layer.name)] = result
                for name in sources:
                    if self._last_use[name] == n:
                        values.pop(name, None)
        return result

    def forward(self, images: Tensor) -> Tensor:
        """Real logits float32[N, classes] of image codes [N, *input_shape]."""
        logits = self.codes(images)
        return logits.values * logits.step


@contextmanager
def _whole_float32() -> Iterator[None]:
    """No TF32 in convolutions: a Winograd convolution of ten bits would miss integers by whole counts."""
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    kept, convolutions.fp32_precision = convolutions.fp32_precision, "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = kept
