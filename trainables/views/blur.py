"""Gaussian blur of whole batches with a radius for each sample, as Pillow does it: three box blurs a direction."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

PASSES, LARGEST_RADIUS, REACH = 3, 2.0, 2
"""Box blurs a direction; the widest Gaussian, in pixels, and how far its box reaches to each side."""
MARGIN = PASSES * REACH
"""Pixels to each side that a blurred one depends on."""
SMALL = 4 * MARGIN + 1
"""Side of a matrix that has all that larger ones have: both ends, and one line between that no end touches."""
LEAST_TILE = 16
"""Lines blurred together; in fewer, the margins are most of the work."""


def blurred(images: Tensor, lines: Tensor) -> Tensor:
    """Pillow's `GaussianBlur` of images [batch, 3, size, size] float32; `lines` are their `blur_lines`.

    By products of matrices, for a tile of lines and those within reach of it at a time: of a matrix for 224 lines nine
    tenths are zeros. Pillow rounds after each of its six passes, which leaves up to three levels of difference.
    """
    batch, channels, size, _ = images.shape
    tiles = tile_matrices(lines, size)
    tile, reached = tiles.shape[2:]
    rows = functional.pad(images, (0, 0, MARGIN, MARGIN)).unfold(2, reached, tile)
    images = (tiles[:, None] @ rows.transpose(3, 4)).view(batch, channels * size, size)
    columns = functional.pad(images, (MARGIN, MARGIN)).unfold(2, reached, tile)
    blurred_columns = columns.transpose(1, 2) @ tiles.transpose(2, 3)
    return blurred_columns.add_(0.5).transpose(1, 2).reshape(batch, channels, size, size)


def blur_lines(radii: Tensor, size: int) -> Tensor:
    """What three box blurs do to a line of up to `SMALL` pixels: [batch, n, n] for radii [batch] float32, up to 2 px.

    Beyond its ends the line goes on unchanged.
    """
    box = box_matrices(radii, min(size, SMALL))
    return box @ box @ box


def tile_matrices(lines: Tensor, size: int) -> Tensor:
    """The same for each tile of a line of `size` pixels: [batch, tiles, tile, MARGIN + tile + MARGIN].

    What is beyond the line's ends has no weight.
    """
    tile = tile_of(size)
    count = size // tile
    # All tiles but the first and the last are alike.
    some = min(count, 3)
    matrices = functional.pad(blur_matrices(lines, some * tile), (MARGIN, MARGIN))
    parts = [matrices[:, n * tile : (n + 1) * tile, n * tile : (n + 1) * tile + 2 * MARGIN] for n in range(some)]
    return torch.stack(parts[:1] + parts[1:2] * (count - some) + parts[1:], dim=1)


def tile_of(size: int) -> int:
    """The least length from `LEAST_TILE` that divides `size`, or all of it."""
    return next((length for length in range(LEAST_TILE, size) if size % length == 0), size)


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
