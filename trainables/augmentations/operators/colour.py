"""Colour operators on whole batches, each sample with its own parameters: the arithmetic of Pillow, on any device.

Images are [batch, 3, height, width] float32 and hold whole numbers in 0..255, as do the results; parameters are [batch]
float32. `OPERATORS` may put their results where the images were. All but `hue` equal Pillow's results on 8-bit images,
but for pixels (fewer than 1 in 100) where a float32 rounding decides between two levels. Pillow turns hue in 256 steps
on 8-bit HSV; `hue` is exact, as torchvision's on tensors. There is no `torch.where` here: on a CPU it takes 20 times as
long as arithmetic on a mask.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import permutations

import torch
from torch import Tensor


def brightness(images: Tensor, factors: Tensor) -> Tensor:
    """`factors` times the image, rounded down."""
    return images.mul_(_each(factors)).clamp_(0, 255).floor_()


def contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Blends the image with the mean of its grey, which has factor 0."""
    pixels = images.shape[-2] * images.shape[-1]
    # Whole numbers below 2^24 add up exactly in float32, in whatever order; larger images need float64.
    dtype = torch.float32 if pixels * 255 < 2**24 else torch.float64
    means = _each((_grey(images).sum((1, 2), dtype=dtype).double() / pixels + 0.5).floor().float())
    return images.sub_(means).mul_(_each(factors)).add_(means).clamp_(0, 255).floor_()


def saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Blends the image with its grey, which has factor 0."""
    return torch.lerp(_grey(images)[:, None], images, _each(factors), out=images).clamp_(0, 255).floor_()


def hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Turns the hue of the image by `shifts` of the whole circle, -1/6 to 1/6; value and chroma stay.

    HSV's hexagon without its angles: turned forwards by d of the six sixths, a channel x with the next y and the one
    after it z (red, green, blue, red) becomes x - y + (2d - 1) z + (1 - d) (least + greatest), cut to least and
    greatest; backwards, y and z change places. In each sixth of the circle the channel follows that line.
    """
    red, green, blue = images.unbind(1)
    least = torch.minimum(torch.minimum(red, green), blue)
    greatest = torch.maximum(torch.maximum(red, green), blue)
    coefficients = _hue_coefficients(shifts)
    sums = torch.add(least, greatest).mul_(coefficients[:, 9:, None]).add_(0.5)
    turned = torch.bmm(coefficients[:, :9].view(-1, 3, 3), images.flatten(2)).view_as(images)
    turned.add_(sums[:, None])
    return torch.clamp(turned, least[:, None], greatest[:, None], out=turned).floor_()


def _hue_coefficients(shifts: Tensor) -> Tensor:
    """[batch, 10]: the matrix by which channels go into each other, row by row, and 1 - d, the share of the sums."""
    either_way, untouched, forwards, backwards = _hue_constants(shifts.device)
    turns = (shifts[:, None] * either_way).clamp_(min=0)
    return torch.addcmul(untouched, turns[:, :1], forwards).addcmul_(turns[:, 1:], backwards)


@cache
def _hue_constants(device: torch.device) -> tuple[Tensor, ...]:
    # Few operators on few numbers: they come once for each block of images and take a tenth of the time of its pixels.
    rows = (
        (6, -6),
        (1, -1, -1, -1, 1, -1, -1, -1, 1, 1),
        (0, 0, 2, 2, 0, 0, 0, 2, 0, -1),
        (0, 2, 0, 0, 0, 2, 2, 0, 0, -1),
    )
    return tuple(torch.tensor(row, dtype=torch.float32, device=device) for row in rows)


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
    return parameters.view(-1, 1, 1, 1)
