"""Gaussian blur of whole batches with a radius for each sample, as Pillow does it: three box blurs a direction."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

PASSES, LARGEST_RADIUS, REACH = 3, 2.0, 2
"""Box blurs a direction; the widest Gaussian, in pixels, and how far its box reaches to each side."""
SMALL = 4 * PASSES * REACH + 1
"""Side of a matrix that has all that larger ones have: both ends, and one line between that no end touches."""


def blurred(images: Tensor, lines: Tensor) -> Tensor:
    """Pillow's `GaussianBlur` of images [batch, 3, size, size] float32; `lines` are their `blur_lines`.

    By a matrix for each direction. Pillow rounds after each of its six passes, which leaves up to three levels of
    difference.
    """
    matrices = blur_matrices(lines, images.shape[-1])
    return (matrices[:, None] @ images @ matrices.transpose(1, 2)[:, None]).add_(0.5)


def blur_lines(radii: Tensor, size: int) -> Tensor:
    """What three box blurs do to a line of up to `SMALL` pixels: [batch, n, n] for radii [batch] float32, up to 2 px.

    Beyond its ends the line goes on unchanged.
    """
    box = box_matrices(radii, min(size, SMALL))
    return box @ box @ box


def blur_matrices(lines: Tensor, size: int) -> Tensor:
    """The same for a line of `size` pixels: [batch, size, size]."""
    if size <= SMALL:
        return lines
    padded = torch.cat([lines.flatten(1), lines.new_zeros(len(lines), 1)], dim=1)
    return padded.index_select(1, _source(size, lines.device)).view(-1, size, size)


def box_matrices(radii: Tensor, size: int) -> Tensor:
    """One box blur with a third of the Gaussian's variance: [batch, size, size] float32.

    The box has the width 2 r + 1 with r = l + a: l whole pixels to each side weigh 1 / (2 r + 1), and one further what
    is missing to one (Pillow's ImagingGaussianBlur).
    """
    variance = radii.double().square() / PASSES
    whole = ((12 * variance + 1).sqrt() / 2 - 0.5).floor()
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1).square()))
    inner = 1 / (2 * (whole + part) + 1)
    outer = (1 - (2 * whole + 1) * inner) / 2
    places = torch.arange(size, device=radii.device)
    box = torch.zeros(len(radii), size, size, device=radii.device, dtype=torch.float64)
    for offset in range(-REACH, REACH + 1):
        weight = torch.where(whole >= abs(offset), inner, torch.where(whole + 1 == abs(offset), outer, 0.0))
        box[:, places, (places + offset).clamp(0, size - 1)] += weight[:, None]
    return box.float()


@cache
def _source(size: int, device: torch.device) -> Tensor:
    """For each entry of a large matrix, where the small one has it; SMALL squared where it is zero."""
    middle = SMALL // 2
    row = torch.arange(size)[:, None]
    shift = torch.where(row < middle, 0, torch.where(row >= size - middle, size - SMALL, row - middle))
    column = torch.arange(size)[None] - shift
    return torch.where((column >= 0) & (column < SMALL), (row - shift) * SMALL + column, SMALL**2).flatten().to(device)
