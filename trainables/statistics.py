"""Mean and standard deviation of pixels, by which images are normalized."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.data import ImageSet

CHUNK = 1024
"""Images decoded at once."""


@dataclass(frozen=True)
class PixelStatistics:
    """Mean and standard deviation of each channel (red, green, blue) of pixels in 0..1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def normalized(self, images: Tensor) -> Tensor:
        """Pixels [batch, 3, height, width] in 0..255 to float32 of mean 0 and deviation 1, channels last."""
        mean = torch.tensor(self.mean, device=images.device).view(3, 1, 1) * 255
        std = torch.tensor(self.std, device=images.device).view(3, 1, 1) * 255
        return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)


IMAGENET = PixelStatistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def pixel_statistics(images: Iterable[Tensor]) -> PixelStatistics:
    """The exact statistics of images, given as tensors [..., 3, height, width] uint8 of any sizes, in one pass.

    Sums and sums of squares of integers in float64 are exact here: up to 2^53 / 255^2 pixels. A channel without
    contrast gets deviation 1 / 255.
    """
    total = torch.zeros(3, dtype=torch.float64)
    squares = torch.zeros(3, dtype=torch.float64)
    count = 0
    for image in images:
        pixels = image.double().movedim(-3, 0).flatten(1)
        total += pixels.sum(1)
        squares += pixels.square().sum(1)
        count += pixels.shape[1]
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=1.0).sqrt()
    red, green, blue = (mean / 255).tolist()
    return PixelStatistics((red, green, blue), tuple((std / 255).tolist()))  # type: ignore[arg-type]


def statistics_of(images: ImageSet, positions: Tensor) -> PixelStatistics:
    """The exact statistics of the images of a set at positions [n], read a chunk at a time."""
    return pixel_statistics(image for chunk in positions.split(CHUNK) for image in images.images[chunk])
