"""Fractals that stand in for PixMix's mixing set: iterated function systems, each drawn from its number."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from datagen.core.identity import derived_seed

POINTS = 20_000
"""Points of one picture: enough to fill the visible parts of 224 x 224 pixels."""


@lru_cache(maxsize=1024)
def fractal(number: int, size: int) -> Tensor:
    """Picture [3, size, size] uint8 of the iterated function system with this number; the same on every machine.

    Two to four random affine maps, each made a contraction (its larger singular value is 0.5 to 0.9), are followed by
    500 points for 40 steps; a pixel's brightness is the logarithm of its visits, its hue that of the map last applied.
    """
    generator = torch.Generator().manual_seed(derived_seed("fractal", number))
    maps = int(torch.randint(2, 5, (), generator=generator))
    matrices = torch.rand((maps, 2, 2), generator=generator, dtype=torch.float64) * 2 - 1
    shifts = torch.rand((maps, 2), generator=generator, dtype=torch.float64) * 2 - 1
    scale = 0.5 + 0.4 * torch.rand((maps, 1, 1), generator=generator, dtype=torch.float64)
    matrices = matrices / torch.linalg.matrix_norm(matrices, 2).view(-1, 1, 1) * scale
    colours = torch.rand((maps, 3), generator=generator, dtype=torch.float64)
    points = torch.zeros((POINTS // 40, 2), dtype=torch.float64)
    places, hues = [], []
    for _ in range(60):
        chosen = torch.randint(maps, (len(points),), generator=generator)
        points = torch.einsum("nij,nj->ni", matrices[chosen], points) + shifts[chosen]
        places.append(points)
        hues.append(colours[chosen])
    return _drawn(torch.cat(places[20:]), torch.cat(hues[20:]), size)


def _drawn(places: Tensor, hues: Tensor, size: int) -> Tensor:
    low, high = places.min(0).values, places.max(0).values
    pixels = ((places - low) / (high - low).clamp(min=1e-9) * (size - 1)).long()
    position = pixels[:, 1] * size + pixels[:, 0]
    visits = torch.zeros(size * size, dtype=torch.float64).index_add_(0, position, torch.ones(len(position)).double())
    colour = torch.zeros(size * size, 3, dtype=torch.float64).index_add_(0, position, hues)
    brightness = visits.log1p() / visits.log1p().max()
    picture = colour / visits.clamp(min=1)[:, None] * brightness[:, None]
    return (picture / picture.max().clamp(min=1e-9) * 255).round().to(torch.uint8).T.reshape(3, size, size)
