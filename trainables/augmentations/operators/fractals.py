"""Fractals that stand in for PixMix's mixing set: iterated function systems, each drawn from its number."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from datagen.core.identity import derived_seed

POINTS = 60_000
"""Points of one picture; pixels that none of them visits take their neighbourhood's colour."""
STEPS, SETTLING, WALKERS = 60, 20, POINTS // 40


@lru_cache(maxsize=1024)
def fractal(number: int, size: int) -> Tensor:
    """Picture [3, size, size] uint8 of the iterated function system with this number; the same on every machine.

    Two to four random affine maps, each made a contraction (its larger singular value is 0.6 to 0.9), are followed by
    1,500 points for 40 steps. A pixel's hue is that of the maps applied last, the latest counting most; its brightness
    the logarithm of its visits. Where none went, both are those of the smallest square around it that has visits, so
    that the whole picture is filled, as in the reference's set.
    """
    generator = torch.Generator().manual_seed(derived_seed("fractal", number))
    maps = int(torch.randint(2, 5, (), generator=generator))
    matrices = torch.rand((maps, 2, 2), generator=generator, dtype=torch.float64) * 2 - 1
    shifts = torch.rand((maps, 2), generator=generator, dtype=torch.float64) * 2 - 1
    scale = 0.6 + 0.3 * torch.rand((maps, 1, 1), generator=generator, dtype=torch.float64)
    matrices = matrices / torch.linalg.matrix_norm(matrices, 2).view(-1, 1, 1) * scale
    colours = torch.rand((maps, 3), generator=generator, dtype=torch.float64)
    points = torch.zeros((WALKERS, 2), dtype=torch.float64)
    hue = torch.full((WALKERS, 3), 0.5, dtype=torch.float64)
    places, hues = [], []
    for _ in range(STEPS):
        chosen = torch.randint(maps, (WALKERS,), generator=generator)
        points = torch.einsum("nij,nj->ni", matrices[chosen], points) + shifts[chosen]
        hue = (hue + colours[chosen]) / 2
        places.append(points)
        hues.append(hue)
    return _drawn(torch.cat(places[SETTLING:]), torch.cat(hues[SETTLING:]), size)


def _drawn(places: Tensor, hues: Tensor, size: int) -> Tensor:
    """The points' colours [n, 3] at their places [n, 2], as a filled picture."""
    # Where 98 % of the points are: a few stray ones would shrink all others to a corner.
    bounds = torch.tensor([0.01, 0.99], dtype=torch.float64)
    low, high = torch.quantile(places, bounds, dim=0)
    pixels = ((places - low) / (high - low).clamp(min=1e-9) * (size - 1)).long().clamp(0, size - 1)
    position = pixels[:, 1] * size + pixels[:, 0]
    sums = torch.zeros(size * size, 4, dtype=torch.float64)
    sums.index_add_(0, position, torch.cat([hues, torch.ones(len(hues), 1, dtype=torch.float64)], dim=1))
    filled = _filled(sums.T.reshape(1, 4, size, size))
    hue, visits = filled[:3] / filled[3].clamp(min=1e-12), filled[3]
    # Visits span orders of magnitude: compared with the mean, brightness is a half where they are as many.
    brightness = 0.15 + 0.85 * (visits / (visits + visits.log().mean().exp()))
    # The mean of many colours is grey: stretched, so that the picture's own span from 0 to 1.
    lowest, highest = hue.amin((1, 2), keepdim=True), hue.amax((1, 2), keepdim=True)
    picture = (hue - lowest) / (highest - lowest).clamp(min=1e-9) * brightness
    return (picture * 255).round().to(torch.uint8)


def _filled(sums: Tensor) -> Tensor:
    """Sums [1, 4, size, size] of colours and visits, where there are none those of the square that holds the pixel."""
    if sums.shape[-1] == 1:
        return sums[0]
    coarse = functional.avg_pool2d(sums, 2, ceil_mode=True, count_include_pad=False)
    around = functional.interpolate(_filled(coarse)[None], sums.shape[-2:], mode="bilinear", align_corners=False)
    return torch.where(sums[:, 3:] > 0, sums, around)[0]
