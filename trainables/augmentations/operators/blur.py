"""Gaussian blur of whole batches with a radius for each sample, as Pillow does it: three box blurs a direction."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

PASSES, LARGEST_RADIUS, REACH = 3, 2.0, 2
"""Box blurs a direction; the widest Gaussian, in pixels, and how far its box reaches to each side."""
MARGIN = PASSES * REACH
"""Pixels to each side that a blurred one depends on."""
SMALL = 4 * MARGIN + 1
"""Side of a matrix that has all that larger ones have: both ends, and one line between that no end touches."""
TILE = 32
"""Pixels of a line that are blurred together: with fewer, margins are copied more; with more, zeros are multiplied."""


def blurred(images: Tensor, tiles: Tensor) -> Tensor:
    """Pillow's `GaussianBlur` of images [batch, 3, size, size] float32; `tiles` are their `blur_tiles`.

    By products of matrices, for each tile of a line with the pixels that it depends on. Pillow rounds after each of its
    six passes, which leaves up to three levels of difference.
    """
    batch, channels, size, _ = images.shape
    tile, reached = tiles.shape[2:]
    count = size // tile
    matrices = torch.cat([tiles[:, :1], *[tiles[:, 1:2]] * (count - tiles.shape[1]), tiles[:, 1:]], 1)
    starts = [_start(number, tile, reached, size) for number in range(count)]
    columns = torch.stack([images.flatten(1, 2).narrow(2, start, reached) for start in starts], 1)
    images = (columns @ matrices.transpose(2, 3)).view(batch, count, channels, size, tile).permute(0, 2, 3, 1, 4)
    images = images.reshape(batch, channels, size, size)
    rows = torch.stack([images.narrow(2, start, reached) for start in starts], 2)
    return (matrices[:, None] @ rows).view(batch, channels, size, size).add_(0.5)


def blur_tiles(radii: Tensor, size: int) -> Tensor:
    """What three box blurs do to a line of `size` pixels, for radii [batch] float32 up to 2 px.

    Returns [batch, up to 3, tile, reached]: weights of the first tile, of all between and of the last, over the pixels
    that they depend on. Beyond its ends the line goes on unchanged.
    """
    box = box_matrices(radii, min(size, SMALL))
    lines = (box @ box @ box).flatten(1)
    source = _source(size, radii.device)
    padded = torch.cat([lines, lines.new_zeros(len(lines), 1)], 1)
    return padded.index_select(1, source.flatten()).view(-1, *source.shape)


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
    """For each weight of `blur_tiles`, where the matrix of a small line has it; one beyond that if it is zero."""
    tile = next((length for length in range(TILE, size) if size % length == 0), size)
    reached, some = min(size, tile + 2 * MARGIN), min(size // tile, 3)
    line, small = some * tile, min(size, SMALL)
    row = torch.arange(line)[:, None]
    shift = torch.where(row < small // 2, 0, torch.where(row >= line - small // 2, line - small, row - small // 2))
    column = torch.arange(line)[None] - shift
    source = torch.where((column >= 0) & (column < small), (row - shift) * small + column, small**2)
    starts = [_start(number, tile, reached, line) for number in range(some)]
    parts = [source[n * tile : (n + 1) * tile, start : start + reached] for n, start in enumerate(starts)]
    return torch.stack(parts).to(device)


def _start(number: int, tile: int, reached: int, size: int) -> int:
    """Where the `reached` pixels begin that a tile of a line of `size` depends on."""
    return min(max(number * tile - MARGIN, 0), size - reached)
