# SPDX-License-Identifier: Apache-2.0
"""From an ordinary float network to a quantized one, or a sentence that says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from twinor.errors import NonFinite, UnsupportedLayer
from twinor.network import IMAGES
from twinor.quantize.clip import LearnableClip
from twinor.quantize.hosted import QuantAvgPool, QuantConcat, QuantFlatten, QuantMaxPool
from twinor.quantize.modules import QuantConv, QuantLayer, QuantLinear
from twinor.quantize.network import QuantNetwork
from twinor.quantize.plan import Planned, plan
from twinor.quantize.thresholds import Phase
from twinor.quantize.trace import Op, trace
from twinor.quantize.windows import conv_window

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["assemble", "calibrate_clips", "check_finite", "new_head", "quantize"]

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
) -> QuantNetwork:
    """Take over a float network's parameters into layers that compute on 4-bit codes.

    Args:
        model: any module of the supported operations (`twinor.quantize.trace.SUPPORTED`) that takes one tensor.
        input_shape: shape of one image, channels first.
        input_bits: bits of an image code.
        input_step: real value of image code 1, as the float network was trained with.
        calibration: training images, uint8[n, *input_shape] codes. With them the network is quantized after training:
            thresholds and clips are set for least error on them and the result can be used at once. Without them it is
            to be trained (`train_quantized`), whose first steps set them.
        literal: asymmetric weights and 4-bit biases, as the original has them; for comparison, no macro takes them.

    Returns:
        The quantized network; in evaluation mode if it was calibrated, else in training mode.

    Raises:
        UnsupportedLayer: if an operation or an option of it cannot be mapped; names it, its place and what to do.
        NonFinite: if a parameter is NaN or infinite.

    Example:
        >>> float_net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> [layer.name for layer in quantize(float_net, input_shape=(1, 8, 8)).layers]
        ['flatten1', 'linear1']
    """
    ops = trace(model, input_shape)
    for op in ops:
        if op.module is not None:
            check_finite(op.place, op.module)
    network, _ = assemble(ops, input_shape, input_bits=input_bits, input_step=input_step, literal=literal)
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
) -> tuple[QuantNetwork, dict[str, list[Op]]]:
    """A quantized network of operations, and the operations of each of its layers by name.

    Args:
        ops: in the order in which they run.
        input_shape: shape of one image, channels first.
        input_bits: bits of an image code.
        input_step: real value of image code 1.
        ends: operations whose results are codes already, so that nothing more joins their layer.
        literal: as in `quantize`.

    Raises:
        UnsupportedLayer: an operation cannot be mapped.
    """
    planned = plan(ops, ends)
    images = (input_shape, 2**input_bits - 1)
    build = _Build(planned, images, last=_last(ops), literal=literal)
    network = QuantNetwork(build.layers, input_shape=input_shape, input_bits=input_bits, input_step=input_step)
    return network, {build.names[one.result]: one.ops for one in planned}


@torch.no_grad()
def calibrate_clips(network: QuantNetwork, images: Tensor) -> None:
    """Set thresholds and clips for least error on training images, without training; statistics stay as they are.

    Args:
        network: from `quantize`; put into evaluation mode and frozen.
        images: uint8[n, *input_shape] codes.
    """
    for layer in network.weight_layers():
        layer.threshold.observe(layer.weight)
    network.eval()
    with network.observing():
        for part in images.split(CALIBRATION_BATCH):
            network.codes(part.to(network.input_step.device))
    network.set_phase(Phase.FREEZE)


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
    """The operation whose result are the logits."""
    return next(op for op in reversed(ops) if op.kind != "softmax").name


class _Build:
    """Makes the layers of a plan one by one, and knows what each puts out."""

    def __init__(
        self, planned: Sequence[Planned], images: tuple[tuple[int, ...], int], *, last: str, literal: bool
    ) -> None:
        input_shape, self.input_max = images
        self.last, self.literal = last, literal
        self.layers: list[nn.Module] = []
        self.names = {IMAGES: IMAGES}
        """Name of the layer that has the result of an operation."""
        self.shapes = {IMAGES: input_shape}
        self.clips: dict[str, LearnableClip | None] = {IMAGES: None}
        """What sets the step of a layer's codes; None for the images and the logits."""
        self.counts: dict[str, int] = {}
        for one in planned:
            self._one(one)

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
            clip = None if self._is_tail(one) else LearnableClip(signed=clip is not None and clip.signed)
            made = QuantAvgPool(
                one.ops[0].window, name=name, sources=sources, clip=clip, input_max=self._largest(sources[0])
            )
        else:
            made = self._weights(one, name, sources)
            clip = made.clip
        self._keep(made, name, one.result, one.ops[-1].shape, clip)

    def _keep(
        self, made: nn.Module, name: str, result: str, shape: tuple[int, ...], clip: LearnableClip | None
    ) -> None:
        self.layers.append(made)
        self.names[result] = name
        self.shapes[name], self.clips[name] = shape, clip

    def _weights(self, one: Planned, name: str, sources: tuple[str, ...]) -> QuantLayer:
        start, norm, relu = one.ops[0], one.find("norm"), one.find("relu")
        layer = start.module if one.kind in ("conv", "linear") else _ones(self.shapes[sources[0]])
        assert isinstance(layer, nn.Module)
        shortcut = None if one.shortcut is None else self.names[one.shortcut]
        logits = one.result == self.last
        facts = {
            "name": name,
            "sources": sources + ((shortcut,) if shortcut else ()),
            "clip": None if logits else LearnableClip(signed=relu is None, limit=relu.limit if relu else None),
            "input_max": self._largest(sources[0]),
            "input_min": 0 if (came := self.clips[sources[0]]) is None else came.lo,
            "shortcut_max": self._largest(shortcut) if shortcut else 0,
            "relu": logits and relu is not None,
            "literal": self.literal,
        }
        norm_module = norm.module if norm else None
        made: QuantLayer
        if isinstance(layer, nn.Linear):
            made = QuantLinear(layer, norm_module, **facts)  # type: ignore[arg-type]
        else:
            made = QuantConv(layer, norm_module, conv_window(layer), **facts)
        if made.acc_max >= EXACT_MAX:
            start.refuse(f"its accumulator can reach {made.acc_max}, more than the {EXACT_MAX} that float32 counts to")
        return made

    def _largest(self, name: str) -> int:
        """Largest magnitude of a layer's codes."""
        clip = self.clips[name]
        return self.input_max if clip is None else max(clip.hi, -clip.lo)

    def _is_tail(self, one: Planned) -> bool:
        """True if the results are the logits, flattened or not."""
        return one.result == self.last or self.last in (f"{one.result}_flat",)

    def _joinable(self, name: str) -> str:
        """A layer whose clip can be shared: the images pass through a layer of ones first."""
        if self.clips[name] is not None:
            return name
        made = QuantConv(
            (ones := _ones(self.shapes[name])), None, conv_window(ones),
            name=f"{name}_joined", sources=(name,), clip=LearnableClip(), input_max=self._largest(name),
        )  # fmt: skip
        self._keep(made, made.name, made.name, self.shapes[name], made.clip)
        return made.name

    def _join(self, names: Sequence[str]) -> LearnableClip:
        """One clip for all of them: signed if one is, limited if one is."""
        clips = [clip for name in names if (clip := self.clips[name]) is not None]
        joined = clips[0]
        joined.joined = len(clips) > 1
        joined.signed = any(clip.signed for clip in clips)
        joined.limit = min((clip.limit for clip in clips if clip.limit is not None), default=None)
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
        name = f"{kind}{self.counts[kind]}" if numbered else own
        while name in self.shapes:
            name += "_"
        return name


def _ones(shape: tuple[int, ...]) -> nn.Module:
    """A layer that leaves an image as it is: a weight of 1 for every channel, which is not trained."""
    if len(shape) == 1:
        linear = nn.Linear(shape[0], shape[0], bias=False)
        linear.weight.requires_grad_(False).copy_(torch.eye(shape[0]))
        return linear
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(shape) - 2](shape[0], shape[0], 1, groups=shape[0], bias=False)
    conv.weight.requires_grad_(False).fill_(1.0)
    return conv


def new_head(network: QuantNetwork, classes: int, *, freeze: bool = True) -> None:
    """Give a quantized network a last layer with fresh weights for another task: transfer learning.

    Args:
        network: trained; changed in place and put into the phase in which thresholds and clips are sampled, then
            trained; train it on as any other (`train_quantized`).
        classes: logits of the new task.
        freeze: whether everything but the last layer stays as it is.

    Raises:
        UnsupportedLayer: the last layer with weights is no plain linear layer or convolution that makes the logits.

    Example:
        >>> net = quantize(nn.Sequential(nn.Flatten(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3)), input_shape=(8,))
        >>> new_head(net, 7)
        >>> net(torch.zeros(2, 8)).shape, [p.requires_grad for p in net.layers[0].parameters()]
        (torch.Size([2, 7]), [False, False, False, False])
    """
    last = network.layers[-1]
    if not isinstance(last, QuantLayer) or not last.plain:
        raise UnsupportedLayer("the last layer is no plain linear layer or convolution, so no new one takes its place")
    fresh = nn.Linear(last.weight[0].numel(), classes, device=last.weight.device)
    facts: dict[str, Any] = {"name": last.name, "sources": last.sources, "clip": None, "literal": last.literal}
    facts |= {"input_max": last.input_max, "input_min": last.input_min}
    if isinstance(last, QuantConv):
        conv = nn.Conv2d(1, 1, 1)  # only its weights, groups and padding are read
        conv.weight = nn.Parameter(fresh.weight.detach().view(classes, *last.weight.shape[1:]))
        conv.bias, conv.padding_mode = fresh.bias, last.padding_mode
        made: QuantLayer = QuantConv(conv, None, last.window, **facts)
    else:
        made = QuantLinear(fresh, None, **facts)
    if freeze:
        network.requires_grad_(False)
    network.layers[-1] = made
    network.train()
    for layer in network.weight_layers():
        phase = Phase.SAMPLE if layer is made or not freeze else Phase.FREEZE
        layer.threshold.phase = phase
        if layer.clip is not None:
            layer.clip.phase = phase
