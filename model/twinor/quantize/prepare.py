# SPDX-License-Identifier: Apache-2.0
"""From an ordinary float network to a quantized one, or a sentence that says why not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from twinor.errors import ConfigError, NonFinite
from twinor.network import IMAGES
from twinor.quantize.clip import LearnableClip
from twinor.quantize.hosted import QuantAvgPool, QuantConcat, QuantFlatten, QuantMaxPool
from twinor.quantize.modules import QuantConv, QuantLayer, QuantLinear
from twinor.quantize.network import QuantNetwork
from twinor.quantize.plan import WEIGHTS, Planned, plan
from twinor.quantize.recipe import RESIDUALS
from twinor.quantize.thresholds import WEIGHT_BITS, Phase
from twinor.quantize.trace import Op, trace
from twinor.quantize.windows import conv_window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["assemble", "calibrate_clips", "check_finite", "quantize", "settle_ranges"]

EXACT_MAX = 2**24
"""Above this, float32 accumulators of training would no longer be exact integers."""

CALIBRATION_BATCH = 128
"""Images of one sample of the clips."""


def quantize(
    model: nn.Module,
    *,
    input_shape: tuple[int, ...],
    input_bits: int = 4,
    input_step: float = 1 / 15,
    calibration: Tensor | None = None,
    literal: bool = False,
    end_weight_bits: int = WEIGHT_BITS,
    residual: str = "accumulated",
) -> QuantNetwork:
    """Take over a float network's parameters into layers that compute on 4-bit codes.

    Args:
        model: any module of the supported operations (`twinor.quantize.trace.SUPPORTED`) that takes one tensor.
        input_shape: shape of one image, channels first.
        input_bits: bits of an image code, 1 .. 8.
        input_step: real value of image code 1, above 0, as the float network was trained with.
        calibration: training images, uint8[n, *input_shape] codes below 2**input_bits. With them the network is
            quantized after training: thresholds and clips are set for least error on them and the result can be used
            at once. Without them it is to be trained (`train_quantized`), whose first steps set them.
        literal: asymmetric weights and 4-bit biases, as the original has them; for comparison, no macro takes them.
        end_weight_bits: of the weights of the first and the last layer; 4, or for comparison 5 .. 8.
        residual: what a sum adds, see `RESIDUALS`.

    Returns:
        The quantized network; in evaluation mode if it was calibrated, else in training mode.

    Raises:
        ConfigError: if input_bits, input_step, end_weight_bits, residual or the calibration images are not what they
            must be, or without effect.
        UnsupportedLayer: if an operation or an option of it cannot be mapped; names it, its place and what to do.
        NonFinite: if a parameter is NaN or infinite.

    Example:
        >>> float_net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> [layer.name for layer in quantize(float_net, input_shape=(1, 8, 8)).layers]
        ['flatten1', 'linear1']
    """
    _check_input(input_bits, input_step)
    _check_compared(end_weight_bits, residual, literal=literal)
    ops = trace(model, input_shape)
    for op in ops:
        if op.module is not None:
            check_finite(op.place, op.module)
    facts: dict[str, Any] = {"literal": literal, "end_weight_bits": end_weight_bits}
    ends = frozenset[str]() if residual == "accumulated" else _operands(ops)
    network, _ = assemble(ops, input_shape, input_bits=input_bits, input_step=input_step, ends=ends, **facts)
    network.to(next(model.parameters()).device)
    if calibration is not None:
        calibrate_clips(network, calibration)
    return network


def assemble(
    ops: Sequence[Op],
    input_shape: tuple[int, ...],
    *,
    input_bits: int,
    input_step: float,
    ends: frozenset[str] = frozenset(),
    literal: bool = False,
    end_weight_bits: int = WEIGHT_BITS,
) -> tuple[QuantNetwork, dict[str, list[Op]]]:
    """A quantized network of operations, and the operations of each of its layers by name.

    Args:
        ops: in the order in which they run.
        input_shape: shape of one image, channels first.
        input_bits: bits of an image code.
        input_step: real value of image code 1.
        ends: operations whose results are codes already, so that nothing more joins their layer.
        literal: as in `quantize`.
        end_weight_bits: as in `quantize`.

    Raises:
        UnsupportedLayer: an operation cannot be mapped.
    """
    planned = plan(ops, ends)
    images = (input_shape, 2**input_bits - 1)
    build = _Build(planned, images, last=_last(ops), literal=literal, end_weight_bits=end_weight_bits)
    network = QuantNetwork(build.layers, input_shape=input_shape, input_bits=input_bits, input_step=input_step)
    return network, {build.names[one.result]: one.ops for one in planned}


@torch.no_grad()
def calibrate_clips(network: QuantNetwork, images: Tensor) -> None:
    """Set thresholds and clips for least error on training images, without training; statistics stay as they are.

    Args:
        network: from `quantize`; put into evaluation mode and frozen.
        images: uint8[n, *input_shape] codes below 2**input_bits.

    Raises:
        ConfigError: the images are something else; says what.
    """
    _check_images(network, images)
    for layer in network.weight_layers():
        layer.threshold.observe(layer.weight)
    network.eval()
    joined = any(clip.joined for clip in network.clips())
    for last in (False, True) if joined else (True,):
        for clip in network.clips():
            clip.settled = last and clip.joined  # by a first round: others look through the clips of joined layers
            if not clip.settled:
                clip.samples.zero_()
        with network.observing():
            for part in images.split(CALIBRATION_BATCH):
                network.codes(part.to(network.input_step.device))
    network.set_phase(Phase.FREEZE)


def _check_input(bits: int, step: float) -> None:
    if type(bits) is not int or not 1 <= bits <= 8:
        raise ConfigError(f"input_bits is {bits!r}; expected the bits of an image code, a whole number in 1 .. 8")
    kept = float(torch.tensor(step, dtype=torch.float32))
    if not (kept > 0 and math.isfinite(kept)):
        raise ConfigError(f"input_step is {step!r}; expected the real value of image code 1, above 0 and finite")


def _check_compared(end_weight_bits: int, residual: str, *, literal: bool) -> None:
    if type(end_weight_bits) is not int or not WEIGHT_BITS <= end_weight_bits <= 8:
        raise ConfigError(f"end_weight_bits is {end_weight_bits!r}; expected a whole number in {WEIGHT_BITS} .. 8")
    if literal and end_weight_bits != WEIGHT_BITS:
        raise ConfigError(f"end_weight_bits = {end_weight_bits} has no effect on literal parameters: leave one out")
    if residual not in RESIDUALS:
        raise ConfigError(f"residual is {residual!r}; expected one of {', '.join(RESIDUALS)}")


def _operands(ops: Sequence[Op]) -> frozenset[str]:
    """What the sums of a network add."""
    found = frozenset(source for op in ops if op.kind == "add" for source in op.sources)
    if not found:
        raise ConfigError("residual = codes has no effect on a network without sums: leave it out")
    return found


def _check_images(network: QuantNetwork, images: Tensor) -> None:
    """Refuse what are no codes of the network's images."""
    if not isinstance(images, Tensor) or images.is_floating_point() or images.is_complex():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise ConfigError(
            f"calibration images are of {kind}; expected a tensor of whole numbers, such as torch.uint8: "
            "codes, which real images become by (images / input_step).round()"
        )
    if not len(images.shape) or not len(images) or tuple(images.shape[1:]) != tuple(network.input_shape):
        wanted = ", ".join(map(str, ("n", *network.input_shape)))
        raise ConfigError(
            f"calibration images have shape {tuple(images.shape)}; expected ({wanted}) with at least one image"
        )
    low, high, most = int(images.min()), int(images.max()), 2**network.input_bits - 1
    if low < 0 or high > most:
        raise ConfigError(
            f"calibration images hold codes {low} .. {high}; expected 0 .. {most} for input_bits of "
            f"{network.input_bits}; give the upper bits of each code, or input_bits that hold them all"
        )


def check_finite(place: str, layer: nn.Module) -> None:
    """Raise NonFinite, naming layer and tensor, if a parameter or statistic is NaN or infinite."""
    for key, tensor in layer.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise NonFinite(
                f"{place}: {bad} of {tensor.numel()} values of {key} are NaN or infinite; "
                "expected finite numbers; train again, with a lower learning rate if this repeats"
            )


def _last(ops: Sequence[Op]) -> str:
    """The operation that computes the logits, which may be flattened after it."""
    return next(op for op in reversed(ops) if op.kind not in ("softmax", "flatten")).name


class _Build:
    """Makes the layers of a plan one by one, and knows what each puts out."""

    def __init__(
        self,
        planned: Sequence[Planned],
        images: tuple[tuple[int, ...], int],
        *,
        last: str,
        literal: bool,
        end_weight_bits: int,
    ) -> None:
        input_shape, self.input_max = images
        self.last, self.literal = last, literal
        weighted = [one.result for one in planned if one.kind in WEIGHTS]
        self.weight_bits = dict.fromkeys((*weighted[:1], *weighted[-1:]), end_weight_bits)
        """By operation whose result it is, where it is another number than that of all others."""
        self.layers: list[nn.Module] = []
        self.names = {IMAGES: IMAGES}
        """Name of the layer that has the result of an operation."""
        self.shapes = {IMAGES: input_shape}
        self.clips: dict[str, LearnableClip | None] = {IMAGES: None}
        """What sets the step of a layer's codes; None for the images and the logits."""
        self.passed: dict[str, str] = {}
        """Layer of ones behind images that are joined with something."""
        self.counts: dict[str, int] = {}
        self.starts: dict[str, Op] = {}
        for one in planned:
            self._one(one)
        settle_ranges(self.layers, self.input_max, self.starts)

    def _one(self, one: Planned) -> None:
        name, sources = self._name(one), tuple(self.names[source] for source in one.sources)
        made: nn.Module
        clip = self.clips[sources[0]]
        if one.kind == "max":
            assert one.ops[0].window is not None
            made = QuantMaxPool(one.ops[0].window, name=name, sources=sources)
        elif one.kind == "flatten":
            made = QuantFlatten(name=name, sources=sources)
        elif one.kind == "cat":
            sources = tuple(self._joinable(source) for source in sources)
            clip = self._join(sources)
            made = QuantConcat(name=name, sources=sources)
        elif one.kind == "avg":
            assert one.ops[0].window is not None
            clip = None if one.result == self.last else LearnableClip()
            made = QuantAvgPool(one.ops[0].window, name=name, sources=sources, clip=clip)
        else:
            made = self._weights(one, name, sources)
            clip = made.clip
        self.starts[name] = one.ops[0]
        self._keep(made, name, one.result, one.ops[-1].shape, clip)

    def _keep(
        self, made: nn.Module, name: str, result: str, shape: tuple[int, ...], clip: LearnableClip | None
    ) -> None:
        self.layers.append(made)
        self.names[result] = name
        self.shapes[name], self.clips[name] = shape, clip

    def _weights(self, one: Planned, name: str, sources: tuple[str, ...]) -> QuantLayer:
        norm, relu, alone = one.find("norm"), one.find("relu"), one.kind not in ("conv", "linear")
        layer = _ones(self.shapes[sources[0]]) if alone else one.ops[0].module
        assert isinstance(layer, nn.Module)
        shortcut = None if one.shortcut is None else self.names[one.shortcut]
        logits = one.result == self.last
        facts = {
            "name": name,
            "sources": sources + ((shortcut,) if shortcut else ()),
            "clip": None if logits else LearnableClip(signed=relu is None, limit=relu.limit if relu else None),
            "relu": relu is not None,
            "limit": relu.limit if relu else None,
            "shortcut": shortcut is not None,
            "fixed": alone,
            "literal": self.literal,
            "weight_bits": self.weight_bits.get(one.result, WEIGHT_BITS),
        }
        return _layer(layer, norm.module if norm else None, facts)

    def _joinable(self, name: str) -> str:
        """A layer whose clip can be shared: the images pass through a layer of ones first, once for all."""
        if self.clips[name] is not None:
            return name
        if name not in self.passed:
            free = self._free(f"{name}_joined")
            facts = {"name": free, "sources": (name,), "clip": LearnableClip(), "relu": True, "fixed": True}
            made = _layer(_ones(self.shapes[name]), None, facts)
            self.starts[free] = next(iter(self.starts.values()), None)  # type: ignore[assignment]
            self._keep(made, free, free, self.shapes[name], made.clip)
            self.passed[name] = free
        return self.passed[name]

    def _join(self, names: Sequence[str]) -> LearnableClip:
        """One clip for all of them: signed if one is, limited if one is."""
        clips = [clip for name in names if (clip := self.clips[name]) is not None]
        joined = clips[0]
        joined.joined = len(clips) > 1
        joined.signed = any(clip.signed for clip in clips)
        limits = [clip.limit for clip in clips]
        joined.limit = None if None in limits else max(limit for limit in limits if limit is not None)
        for layer in self.layers:
            if isinstance(layer, QuantLayer | QuantAvgPool) and layer.clip in clips:
                layer.clip = joined
        self.clips = {name: joined if clip in clips else clip for name, clip in self.clips.items()}
        return joined

    def _name(self, one: Planned) -> str:
        """The module's own name; where it is a number, or for a function, kind and count."""
        kind = "pool" if one.kind in ("max", "avg") else one.kind
        self.counts[kind] = self.counts.get(kind, 0) + 1
        own = one.ops[0].name
        numbered = one.ops[0].module is None or own.lstrip("_").isdigit()
        return self._free(f"{kind}{self.counts[kind]}" if numbered else own)

    def _free(self, name: str) -> str:
        while name in self.shapes:
            name += "_"
        return name


def settle_ranges(layers: Iterable[nn.Module], input_max: int, starts: Mapping[str, Op], *, signs: bool = True) -> None:
    """Tell every layer the codes that it can see, once joined clips are what they are.

    Args:
        layers: of a quantized network, in order.
        input_max: largest image code.
        starts: the operation that each layer starts with, by name of the layer; named where one is refused.
        signs: whether averages of signed codes become signed; False where all signs are given.

    Raises:
        UnsupportedLayer: an accumulator can exceed what float32 counts to.
    """
    ranges = {IMAGES: (0, input_max)}
    for layer in layers:
        name, sources = str(layer.name), tuple(layer.sources)  # type: ignore[arg-type]
        came = [ranges[source] for source in sources]
        ranges[name] = (min(low for low, _ in came), max(high for _, high in came))
        if not isinstance(layer, QuantLayer | QuantAvgPool):
            continue
        largest = [max(-low, high) for low, high in came]
        layer.input_min, layer.input_max = came[0][0], largest[0]
        if isinstance(layer, QuantLayer):
            layer.shortcut_max = largest[1] if len(came) > 1 else 0
        elif layer.clip is not None and signs:
            layer.clip.signed |= came[0][0] < 0
        if layer.acc_max >= EXACT_MAX:
            starts[name].refuse(
                f"its accumulator can reach {layer.acc_max}, more than the {EXACT_MAX} that float32 counts to"
            )
        if layer.clip is not None:
            ranges[name] = (layer.lowest, layer.clip.hi)


def _layer(layer: nn.Module, norm: nn.Module | None, facts: dict[str, Any]) -> QuantLayer:
    """The quantized layer of a float one."""
    if isinstance(layer, nn.Linear):
        return QuantLinear(layer, norm, **facts)
    return QuantConv(layer, norm, conv_window(layer), **facts)


def _ones(shape: tuple[int, ...]) -> nn.Module:
    """A layer that leaves an image as it is: a weight of 1 for every channel, which is not trained."""
    if len(shape) == 1:
        linear = nn.Linear(shape[0], shape[0], bias=False)
        with torch.no_grad():
            linear.weight.copy_(torch.eye(shape[0]))
        return linear
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(shape) - 2](shape[0], shape[0], 1, groups=shape[0], bias=False)
    with torch.no_grad():
        conv.weight.fill_(1.0)
    return conv
