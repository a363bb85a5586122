# SPDX-License-Identifier: Apache-2.0
"""From real scale and offset to the macro's integer rule, and that rule on tensors.

    real     y = clip(floor(scale * acc + offset + 1/2), lo, hi)
    integer  y = clip((acc * mult + add) >> shift, lo, hi)

with `mult = round(scale * 2**shift)` and `add = round((offset + 1/2) * 2**shift)`.
Scale and offset carry weight step, input step, output step, bias and batch norm.
Training runs the integer rule.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from twinor.config import ADD_BITS, MULT_BITS, SHIFT_MAX

__all__ = [
    "ADD_MAX",
    "LOGIT_MAX",
    "MULT_MAX",
    "SHORTCUT_MAX",
    "SLOPE_MAX",
    "IntegerRule",
    "at_least",
    "integer_rule",
    "logits_rule",
    "matched",
    "requantize",
    "shaped",
    "straight_through",
    "with_shortcut",
]

MULT_MAX = 2 ** (MULT_BITS - 1) - 1
ADD_MAX = 2 ** (ADD_BITS - 1) - 1
SLOPE_MAX = MULT_MAX / 2**13
"""Steepest rule in output codes per count; so the shift is 13 or more, and a slope of 0.01 has 6 bits."""
LOGIT_MAX = 2**19 - 1
SHORTCUT_MAX = 2**13 - 1
"""Largest multiplier of a shortcut's codes; a channel that batch norm has closed still lets the shortcut through."""


class IntegerRule(NamedTuple):
    """The requantization rule of one layer, as integer-valued float64 tensors."""

    mult: Tensor
    """float64[C], |mult| <= 32767."""
    add: Tensor
    """float64[C], |add| < 2**31."""
    shift: Tensor
    """float64[], 1..31."""
    lo: int
    hi: int

    def __call__(self, acc: Tensor) -> Tensor:
        """Apply the rule exactly: every product and sum stays below 2**53.

        Args:
            acc: float[N, C, ...], integer-valued, |acc| < 2**24.

        Returns:
            float32[N, C, ...], integer-valued, lo..hi.

        Example:
            >>> rule = logits_rule(torch.tensor([3.0, -3.0], dtype=torch.float64))
            >>> rule(torch.tensor([[10.0, 10.0]])).tolist()
            [[13.0, 7.0]]
        """
        # Rounding first removes what a Winograd or FFT convolution of float32 would leave behind the point.
        scaled = acc.detach().double().round() * shaped(self.mult, acc) + shaped(self.add, acc)
        return torch.floor(scaled * torch.exp2(-self.shift)).clamp(self.lo, self.hi).float()


def integer_rule(scale: Tensor, offset: Tensor, *, acc_max: int, lo: int, hi: int) -> IntegerRule:
    """Find the integer rule nearest to a real one, with the largest shift that fits the registers.

    One shift serves all channels, so a dead one (constant, or with no variance to divide by) must not cost
    the others their precision: its offset is limited to what an accumulator can reach, its slope to almost
    four codes per count, around the middle of the output range.

    Args:
        scale: float64[C], of either sign (negative gamma) or zero (dead channel).
        offset: float64[C].
        acc_max: largest |acc| that can occur.
        lo: lowest output code.
        hi: highest output code.

    Returns:
        The rule; `mult` within 16 bits, `add` within 32 bits, both signed.

    Example:
        >>> rule = integer_rule(torch.tensor([0.75]), torch.zeros(1), acc_max=100, lo=0, hi=15)
        >>> int(rule.mult), int(rule.add), int(rule.shift)
        (24576, 16384, 15)
    """
    scale, offset = scale.detach().double(), offset.detach().double()
    slope = scale.clamp(-SLOPE_MAX, SLOPE_MAX)
    middle = (hi + lo) / 2
    offset = torch.where(slope == scale, offset, middle - (middle - offset) * slope / scale)
    reach = slope.abs() * acc_max + 1
    offset = torch.maximum(torch.minimum(offset, hi + reach), lo - reach)
    shifts = torch.arange(SHIFT_MAX, 0, -1, dtype=torch.float64, device=scale.device)
    mult = torch.round(slope * torch.exp2(shifts)[:, None])
    add = torch.round((offset + 0.5) * torch.exp2(shifts)[:, None])
    fits = (mult.abs() <= MULT_MAX).all(dim=1) & (add.abs() <= ADD_MAX).all(dim=1)
    first = fits.to(torch.uint8).argmax()  # shifts descend, so the first that fits is the largest
    return IntegerRule(mult[first], add[first], shifts[first], lo, hi)


def matched(rule: IntegerRule, scale: Tensor, offset: Tensor, *, acc_max: int) -> IntegerRule:
    """The same rule with addends by which every output begins at the accumulator at which the real rule's does.

    Output k begins at `T[k] = ceil((k - 1/2 - offset) / scale)`; the integer rule begins there if

        (k << shift) - mult * T[k] <= add < (k << shift) - mult * (T[k] - 1)          (mult > 0)

    The addend nearest to the old one that suits every reachable k is taken, the old one where none does.

    Args:
        rule: made of scale and offset.
        scale: float64[C].
        offset: float64[C].
        acc_max: largest |acc| that can occur.

    Example:
        >>> scale, offset = torch.tensor([1 / 3], dtype=torch.float64), torch.tensor([0.1666], dtype=torch.float64)
        >>> rule = integer_rule(scale, offset, acc_max=100, lo=0, hi=15)
        >>> acc = torch.arange(-2.0, 40.0)[:, None]
        >>> real = torch.floor(acc.double() * scale + offset + 0.5).clamp(0, 15)
        >>> bool((matched(rule, scale, offset, acc_max=100)(acc) == real).all())
        True
    """
    codes = torch.arange(rule.lo + 1, rule.hi + 1, dtype=torch.float64, device=scale.device)[:, None]
    sign = torch.where(rule.mult < 0, -1.0, 1.0)  # a falling channel is a rising one of the negated accumulator
    mult, slope = rule.mult * sign, scale.detach() * sign
    begins = torch.ceil((codes - 0.5 - offset.detach()) / slope)
    least = codes * torch.exp2(rule.shift) - mult * begins
    reachable = (begins.abs() <= acc_max) & (mult > 0) & (slope > 0)
    low = torch.where(reachable, least, -torch.inf).amax(dim=0)
    high = torch.where(reachable, least + mult - 1, torch.inf).amin(dim=0)
    fits = (low <= high) & (low.abs() <= ADD_MAX) | torch.isinf(low)
    add = torch.where(fits, torch.minimum(torch.maximum(rule.add, low), high), rule.add)
    return rule._replace(add=add.clamp(-ADD_MAX, ADD_MAX))


def logits_rule(bias: Tensor, *, lo: int = -LOGIT_MAX - 1) -> IntegerRule:
    """Pass accumulators on exactly: `y = acc + bias`, saturating at 20 bits.

    Args:
        bias: float64[C] in counts of the accumulator; rounded here.
        lo: lowest output.

    Returns:
        The rule with mult 2, shift 1 and `add = 2 * bias + 1`.
    """
    counts = torch.round(bias.detach().double()).clamp(-LOGIT_MAX, LOGIT_MAX)
    one = torch.ones((), dtype=torch.float64, device=bias.device)
    return IntegerRule(2 * torch.ones_like(counts), 2 * counts + 1, one, lo, LOGIT_MAX)


def straight_through(value: Tensor, path: Tensor) -> Tensor:
    """`value` forward, the gradient of `path` backward; exact, since `path - path` is zero.

    Example:
        >>> x = torch.tensor([0.4, 1.6], requires_grad=True)
        >>> y = straight_through(x.round(), x)
        >>> y.sum().backward()
        >>> y.tolist(), x.grad.tolist()
        ([0.0, 2.0], [1.0, 1.0])
    """
    return value.detach() + (path - path.detach())


def shaped(per_channel: Tensor, like: Tensor) -> Tensor:
    """Figures [C] (or one for all) so that they broadcast along the channels of [N, C, ...]."""
    return per_channel.view([1, -1] + [1] * (like.dim() - 2))


def at_least(scale: Tensor, gain: Tensor) -> Tensor:
    """Scales by which the multiplier of a shortcut fits, float64[C] without gradient.

    Batch norm may have closed a channel; what then comes from the accumulator is below a tenth of a code.

    Args:
        scale: float64[C], output codes per count.
        gain: float32[], output codes that one code of the shortcut is worth.

    Example:
        >>> at_least(torch.tensor([1.0, -1.0, 0.0]), torch.tensor(8191.0 / 2)).tolist()
        [1.0, -1.0, 0.5]
    """
    least = gain.detach().double() / SHORTCUT_MAX
    scale = scale.detach().double()
    return torch.where(scale.abs() < least, torch.where(scale < 0, -least, least), scale)


def with_shortcut(rule: IntegerRule, gain: Tensor) -> tuple[IntegerRule, Tensor]:
    """The rule of a layer with a shortcut, and what the shortcut's codes are multiplied by in the accumulator.

    A channel that batch norm has closed keeps a multiplier by which the shortcut still passes.

    Args:
        rule: of the layer without it.
        gain: float32[], output codes that one code of the shortcut is worth.

    Returns:
        The rule with |mult| of at least `gain * 2**shift / SHORTCUT_MAX`, and integer-valued float64[C] with
        `r * mult` next to `gain * 2**shift`.

    Example:
        >>> gain = torch.tensor(2.0)
        >>> scale = at_least(torch.tensor([0.1, -0.3, 0.0]), gain)
        >>> rule, r = with_shortcut(integer_rule(scale, torch.zeros(3), acc_max=9, lo=0, hi=15), gain)
        >>> r.tolist(), (r * rule.mult * 2.0 ** -rule.shift).round(decimals=2).tolist()
        ([20.0, -7.0, 7710.0], [2.0, 2.1, 2.0])
    """
    whole = gain.detach().double() * torch.exp2(rule.shift)
    least = torch.ceil(whole / SHORTCUT_MAX).clamp_min(1.0)
    sign = torch.where(rule.mult < 0, -1.0, 1.0)
    mult = sign * torch.maximum(rule.mult.abs(), least)
    return rule._replace(mult=mult), (whole / mult).round()


def requantize(
    acc: Tensor,
    scale: Tensor,
    offset: Tensor,
    rule: IntegerRule,
    *,
    shortcut: tuple[Tensor, Tensor, Tensor] | None = None,
    exact: bool,
) -> Tensor:
    """The integer rule forward, the gradient of the real one backward.

    Args:
        acc: float32[N, C, ...], integer-valued.
        scale: float64[C], output codes per count.
        offset: float64[C].
        rule: made of scale and offset.
        shortcut: its codes, float32[N, C, ...], the output codes that one of them is worth, float32[], and its
            multipliers, float64[C].
        exact: in float64, which rounds nowhere; else in float32, where a value within 1e-6 of a tie may fall on the
            other side, which training does not feel.

    Returns:
        Codes, integer-valued float32[N, C, ...].

    Example:
        >>> rule = integer_rule(torch.tensor([0.5]), torch.zeros(1), acc_max=9, lo=0, hi=3)
        >>> acc = torch.tensor([[5.0], [-4.0], [9.0]], requires_grad=True)
        >>> y = requantize(acc, torch.tensor([0.5]), torch.zeros(1), rule, exact=True)
        >>> y.sum().backward()
        >>> y.ravel().tolist(), acc.grad.ravel().tolist()
        ([3.0, 0.0, 3.0], [0.5, 0.0, 0.0])
    """
    codes, gain, r = shortcut if shortcut is not None else (None, None, None)
    result: Tensor = _Requantize.apply(  # type: ignore[no-untyped-call]
        acc, scale.float(), offset.float(), codes, gain, r, rule, exact
    )
    return result


class _Requantize(torch.autograd.Function):
    """`requantize` with a backward pass of its own, which keeps one mask instead of every intermediate."""

    @staticmethod
    def forward(
        ctx: Any,
        acc: Tensor,
        scale: Tensor,
        offset: Tensor,
        codes: Tensor | None,
        gain: Tensor | None,
        r: Tensor | None,
        rule: IntegerRule,
        exact: bool,
    ) -> Tensor:
        total = acc if codes is None or r is None else torch.addcmul(acc, codes, shaped(r.float(), acc))
        slope, start = rule.mult * torch.exp2(-rule.shift), rule.add * torch.exp2(-rule.shift)
        value = torch.addcmul(shaped(start.float(), acc), total, shaped(slope.float(), acc))
        inside = (value >= rule.lo + 0.5) & (value <= rule.hi + 0.5)
        ctx.save_for_backward(acc, scale, codes, gain, inside)
        return rule(total) if exact else value.floor_().clamp_(rule.lo, rule.hi)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        acc, scale, codes, gain, inside = ctx.saved_tensors
        passed = grads[0] * inside
        axes = [0, *range(2, acc.dim())] if scale.numel() == acc.shape[1] else list(range(acc.dim()))
        to_scale, to_offset = (passed * acc).sum(axes), passed.sum(axes)
        to_codes = to_gain = None
        if codes is not None:
            to_codes, to_gain = passed * gain, (passed * codes).sum()
        return (
            passed * shaped(scale, acc),
            to_scale.view_as(scale),
            to_offset.view_as(scale),
            to_codes,
            to_gain,
            None,
            None,
            None,
        )
