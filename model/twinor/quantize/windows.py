# SPDX-License-Identifier: Apache-2.0
"""Windows of pools and convolutions with every option made explicit: padding before and after, ceil_mode, adaptive."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from twinor.network import Sides

    class Call(Protocol):
        """A traced call."""

        target: Any
        args: tuple[Any, ...]
        kwargs: dict[str, Any]


__all__ = ["Window", "conv_window", "pool_window"]

OPTIONS = ("kernel_size", "stride", "padding")
REST = {
    "max": ("dilation", "ceil_mode"),
    "avg": ("ceil_mode", "count_include_pad", "divisor_override"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Kernel, stride, dilation and padding by dimension; an average divides the sum by `divisor`."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Sides
    dilation: tuple[int, ...] = ()
    divisor: int = 1

    @property
    def gaps(self) -> tuple[int, ...]:
        """Dilation, ones where none is given."""
        return self.dilation or (1,) * len(self.kernel)


def conv_window(layer: nn.Module) -> Window:
    """Window of a convolution, `padding` by name or by number.

    Example:
        >>> conv_window(nn.Conv1d(1, 1, 4, padding="same", dilation=3)).padding
        ((4, 5),)
    """
    assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    rank = len(layer.kernel_size)
    if layer.padding == "same":
        spans = [(k - 1) * d for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
        padding: Sides = tuple((span // 2, span - span // 2) for span in spans)
    else:
        numbers = (0,) * rank if layer.padding == "valid" else _tuple(layer.padding, rank)
        padding = tuple((n, n) for n in numbers)
    return Window(kernel=layer.kernel_size, stride=layer.stride, padding=padding, dilation=layer.dilation)


def pool_window(
    node: Call,
    module: nn.Module | None,
    before: tuple[int, ...],
    after: tuple[int, ...],
    refuse: Callable[[str], NoReturn],
) -> Window:
    """Window of a pool, given as a module or as a call, from its options and the shapes around it.

    Args:
        node: the traced call.
        module: the pool, or None for a function.
        before: shape of one image that comes in.
        after: shape of what comes out.
        refuse: called with the reason if the pool cannot be mapped.
    """
    called = type(module).__name__ if module is not None else str(getattr(node.target, "__name__", ""))
    rank = len(before) - 1
    if rank < 1 or len(after) != len(before):
        refuse(f"its input has shape {before}, which has no positions to pool over")
    if "adaptive" in called.lower():
        return _adaptive(before[1:], after[1:], refuse)
    options = _options(node, module, "max" if "max" in called.lower() else "avg")
    kernel = _tuple(options["kernel_size"], rank)
    stride = _tuple(options.get("stride") or kernel, rank)
    dilation = _tuple(options.get("dilation", 1), rank)
    sides = _tuple(options.get("padding", 0), rank)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding: Sides = tuple(
        (p, max(p, (n - 1) * s + r - size - p))
        for p, n, s, r, size in zip(sides, after[1:], stride, reach, before[1:], strict=True)
    )
    if "avg" in called.lower() and padding != tuple((p, p) for p in sides):
        refuse("ceil_mode makes windows that are cut off, whose average divides by less; set ceil_mode to False")
    if any(sides) and not options.get("count_include_pad", True):
        refuse("count_include_pad is False, so windows at the border divide by less; set it to True")
    divisor = options.get("divisor_override") or prod(kernel)
    return Window(kernel=kernel, stride=stride, padding=padding, dilation=dilation, divisor=divisor)


def _adaptive(before: tuple[int, ...], after: tuple[int, ...], refuse: Callable[[str], NoReturn]) -> Window:
    if any(n % m for n, m in zip(before, after, strict=True)):
        refuse(
            f"{before} positions cannot be divided into {after} windows of one size; choose an output size that divides"
        )
    kernel = tuple(n // m for n, m in zip(before, after, strict=True))
    return Window(kernel=kernel, stride=kernel, padding=((0, 0),) * len(kernel), divisor=prod(kernel))


def _options(node: Call, module: nn.Module | None, kind: str) -> dict[str, Any]:
    names = (*OPTIONS, *REST[kind])
    if module is not None:
        return {name: getattr(module, name) for name in names if hasattr(module, name)}
    return dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)


def _tuple(value: Any, rank: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,) * rank
