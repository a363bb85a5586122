# SPDX-License-Identifier: Apache-2.0
"""From real scale and offset to the macro's integer rule, and that rule on tensors.

    real     y = clip(floor(scale * acc + offset + 1/2), lo, hi)
    integer  y = clip((acc * mult + add) >> shift, lo, hi)

with `mult = round(scale * 2**shift)` and `add = round((offset + 1/2) * 2**shift)`.
Scale and offset carry weight step, input step, output step, bias and batch norm.
Training runs the integer rule.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from twinor.config import ADD_BITS, MULT_BITS, SHIFT_MAX

__all__ = [
    "ADD_MAX",
    "MULT_MAX",
    "SLOPE_MAX",
    "IntegerRule",
    "integer_rule",
    "logits_rule",
    "straight_through",
]

MULT_MAX = 2 ** (MULT_BITS - 1) - 1
ADD_MAX = 2 ** (ADD_BITS - 1) - 1
SLOPE_MAX = MULT_MAX / 2**13
"""Steepest rule in output codes per count; so the shift is 13 or more, and a slope of 0.01 has 6 bits."""
LOGIT_MAX = 2**19 - 1


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
        shape = [1, -1] + [1] * (acc.dim() - 2)
        # Rounding first removes what a Winograd or FFT convolution would leave behind the point.
        scaled = acc.detach().double().round() * self.mult.view(shape) + self.add.view(shape)
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


def logits_rule(bias: Tensor) -> IntegerRule:
    """Pass accumulators on exactly: `y = acc + bias`, saturating at 20 bits.

    Args:
        bias: float64[C] in counts of the accumulator; rounded here.

    Returns:
        The rule with mult 2, shift 1 and `add = 2 * bias + 1`.
    """
    counts = torch.round(bias.detach().double()).clamp(-LOGIT_MAX, LOGIT_MAX)
    one = torch.ones((), dtype=torch.float64, device=bias.device)
    return IntegerRule(2 * torch.ones_like(counts), 2 * counts + 1, one, -LOGIT_MAX - 1, LOGIT_MAX)


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
