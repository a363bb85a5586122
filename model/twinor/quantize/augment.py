# SPDX-License-Identifier: Apache-2.0
"""Changes of training images that leave their class as it is; codes stay codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from twinor.quantize.recipe import Recipe

__all__ = ["augmented"]


def augmented(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Images mirrored, moved and partly blanked as the recipe says, code 0 entering at the edge.

    Args:
        images: uint8[n, C, H, W]; of another rank they stay as they are.
        recipe: gives `flip`, `shift_pixels` and `cutout_pixels`.
        generator: on the CPU, so that every device gets the same images.

    Returns:
        uint8[n, C, H, W].
    """
    if images.dim() != 4:
        return images
    if recipe.flip:
        mirrored = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(3), images)
    if recipe.shift_pixels:
        images = _shifted(images, recipe.shift_pixels, generator)
    if recipe.cutout_pixels:
        images = _cut(images, recipe.cutout_pixels, generator)
    return images


def _shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    padded = functional.pad(images, (most, most, most, most))
    n, _, height, width = images.shape
    down, right = torch.randint(0, 2 * most + 1, (2, n, 1), generator=generator)
    rows = (down + torch.arange(height))[:, :, None].to(images.device)
    columns = (right + torch.arange(width))[:, None, :].to(images.device)
    first = torch.arange(n, device=images.device)[:, None, None]
    return padded[first, :, rows, columns].permute(0, 3, 1, 2)


def _cut(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    n, _, height, width = images.shape
    top = torch.randint(-side // 2, height - side // 2, (n, 1), generator=generator)
    left = torch.randint(-side // 2, width - side // 2, (n, 1), generator=generator)
    rows, columns = torch.arange(height) - top, torch.arange(width) - left
    hole = ((rows >= 0) & (rows < side))[:, None, :, None] & ((columns >= 0) & (columns < side))[:, None, None, :]
    return images.masked_fill(hole.to(images.device), 0)
