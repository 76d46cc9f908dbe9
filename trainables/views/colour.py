"""Colour operators on whole batches, each sample with its own parameters: the arithmetic of Pillow, on any device.

Images are [batch, 3, height, width] float32 and hold whole numbers in 0..255, as do the results; parameters are [batch]
float32. All but `hue` equal Pillow's results on 8-bit images, but for pixels (fewer than 1 in 100) where a float32
rounding decides between two levels. Pillow turns hue in 256 steps on 8-bit HSV; `hue` is exact, as torchvision's on
tensors. There is no `torch.where` here: on a CPU it takes 20 times as long as arithmetic on a mask.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import torch
from torch import Tensor


def brightness(images: Tensor, factors: Tensor) -> Tensor:
    """`factors` times the image, rounded down."""
    return images.mul(_each(factors)).clamp_(0, 255).floor_()


def contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Blends the image with the mean of its grey, which has factor 0."""
    pixels = images.shape[-2] * images.shape[-1]
    # Whole numbers below 2^24 add up exactly in float32, in whatever order; larger images need float64.
    dtype = torch.float32 if pixels * 255 < 2**24 else torch.float64
    means = _each((_grey(images).sum((1, 2), dtype=dtype).double() / pixels + 0.5).floor().float())
    return images.sub(means).mul_(_each(factors)).add_(means).clamp_(0, 255).floor_()


def saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Blends the image with its grey, which has factor 0."""
    return torch.lerp(_grey(images)[:, None], images, _each(factors)).clamp_(0, 255).floor_()


def hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Turns the hue of the image by `shifts` of the whole circle, -1/6 to 1/6; value and chroma stay.

    In HSV's hexagon, in sixths of the circle: a channel is full within 1 of its centre (red 0, green 2, blue 4), gone
    beyond 2, and linear between.
    """
    red, green, blue = images.unbind(1)
    lowest = torch.minimum(torch.minimum(red, green), blue)
    chroma = torch.maximum(torch.maximum(red, green), blue).sub_(lowest)
    # The channel that is lowest tells the third of the circle: 0..2 if blue is, 2..4 if red, 4..6 if green.
    position = torch.lerp(
        (green - red).add_(chroma),
        torch.lerp(
            (blue - green).add_(chroma, alpha=3), (red - blue).add_(chroma, alpha=5), (red - lowest).clamp_(max=1)
        ),
        (blue - lowest).clamp_(max=1),
    )
    position.div_(chroma.clamp(min=1)).add_(6 * shifts[:, None, None])
    centres = torch.arange(0, 6, 2, dtype=images.dtype, device=images.device)[:, None, None]
    # | |x| - 3 | - 1, cut to 0..1, is the hexagon's line for x in -7..7.
    turned = (position[:, None] - centres).abs_().sub_(3).abs_().clamp_(1, 2)
    return turned.mul_(chroma[:, None]).add_((lowest - chroma).add_(0.5)[:, None]).floor_()


OPERATORS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (brightness, contrast, saturation, hue)
ORDERS = tuple(permutations(range(len(OPERATORS))))


def jitter(images: Tensor, factors: Tensor, order: int) -> Tensor:
    """Torchvision's ColorJitter with given parameters.

    Args:
        images: [batch, 3, height, width] float32.
        factors: [batch, 4] float32: brightness, contrast, saturation, and shift of hue.
        order: which of `ORDERS` the operators come in.
    """
    for operator in ORDERS[order]:
        images = OPERATORS[operator](images, factors[:, operator])
    return images


def grey(images: Tensor) -> Tensor:
    """Three equal channels."""
    return _grey(images)[:, None].expand_as(images)


def solarized(images: Tensor) -> Tensor:
    """Inverts the pixels from 128 on."""
    return torch.minimum(images, 255 - images)


def _grey(images: Tensor) -> Tensor:
    """[batch, height, width], rounded; Pillow's weights in 1/65536, with which float32 sums are exact."""
    red, green, blue = images.unbind(1)
    return (red * (19595 / 65536)).add_(green, alpha=38470 / 65536).add_(blue, alpha=7471 / 65536).add_(0.5).floor_()


def _each(parameters: Tensor) -> Tensor:
    return parameters[:, None, None, None]
