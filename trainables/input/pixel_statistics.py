"""Mean and standard deviation of pixels, by which images are normalized."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from datagen.datasets.pixel_statistics import ChannelSums, dataset_statistics, sums_of
from trainables.input.data import ImageSet

CHUNK = 1024
"""Images decoded at once."""


@dataclass(frozen=True)
class PixelStatistics:
    """Mean and standard deviation of each channel (red, green, blue) of pixels in 0..1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def normalized(self, images: Tensor, out: Tensor | None = None) -> Tensor:
        """Pixels [batch, 3, height, width] in 0..255 to float32 of mean 0 and deviation 1: channels last, or `out`."""
        mean, std = _by_channel(self, images.device)
        result = images.to(torch.float32, copy=True).sub_(mean).div_(std)
        return result.contiguous(memory_format=torch.channels_last) if out is None else out.copy_(result)


@cache
def _by_channel(statistics: PixelStatistics, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation [3, 1, 1] of pixels in 0..255."""
    mean, std = (torch.tensor(part, device=device).view(3, 1, 1) * 255 for part in (statistics.mean, statistics.std))
    return mean, std


IMAGENET = PixelStatistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def pixel_statistics(images: Iterable[Tensor]) -> PixelStatistics:
    """The exact statistics of images, given as tensors [..., 3, height, width] uint8 of any sizes, in one pass."""
    return _statistics(sums_of(image.numpy() for image in images))


def statistics_of(images: ImageSet, positions: Tensor, folder: Path | None = None) -> PixelStatistics:
    """The exact statistics of the images of a set at positions [n], read a chunk at a time.

    Of the whole set they are those stored in its `folder`, if given: one pass for all trainings. A part of it has its
    own, from its images alone: a training on 1/128 of the real images is not to know the others.
    """
    if folder is not None and len(positions) == len(images):
        return _statistics(dataset_statistics(folder))
    return pixel_statistics(image for chunk in positions.split(CHUNK) for image in images.images[chunk])


def _statistics(sums: ChannelSums) -> PixelStatistics:
    return PixelStatistics(sums.mean, sums.std)
