"""Gaussian noise and random erasing, settings that go with any augmentation.

What is drawn depends on (seed, epoch, image, crop) alone, from a stream of its own: with and without them a training
sees the same crops.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from datagen.core.identity import derived_seed
from trainables.input.threads import in_threads
from trainables.spec import TrainingSpec

SMALLEST, LARGEST = 0.02, 1 / 3
"""Share of a crop's area that is erased (Zhong et al. 2020; torchvision's and timm's default)."""
RATIO = 0.3
"""Smallest height / width of it; the largest is 1 / 0.3."""
ATTEMPTS = 10


class NoiseAndErasing:
    """Adds noise to pixels, and erases a rectangle of normalized crops to 0, the mean of the data."""

    def __init__(self, spec: TrainingSpec) -> None:
        self._noise, self._erasing, self._seed = spec.gaussian_noise, spec.random_erasing, spec.seed

    def with_noise(self, crops: Tensor, positions: Tensor, epoch: int, resolution: int) -> Tensor:
        """Crops [crops x batch, 3, size, size] in 0..255, as float32 with noise of `gaussian_noise` x 255, clamped."""
        if not self._noise:
            return crops

        def noisy(number: int) -> Tensor:
            drawn = torch.randn(
                crops.shape[1:], generator=self._generator("noise", positions, epoch, resolution, number)
            )
            return (crops[number].float() + 255 * self._noise * drawn.to(crops.device)).clamp(0, 255)

        return torch.stack(in_threads(noisy, range(len(crops))))

    def erased(self, crops: Tensor, positions: Tensor, epoch: int, resolution: int) -> Tensor:
        """Normalized crops [crops x batch, 3, size, size], each with a chance of `random_erasing` erased in part."""
        if not self._erasing:
            return crops
        crops = crops.clone()
        for number, crop in enumerate(crops):
            generator = self._generator("erasing", positions, epoch, resolution, number)
            if torch.rand((), generator=generator) < self._erasing:
                top, left, height, width = _rectangle(crop.shape[-2], crop.shape[-1], generator)
                crop[:, top : top + height, left : left + width] = 0
        return crops

    def _generator(self, purpose: str, positions: Tensor, epoch: int, resolution: int, number: int) -> torch.Generator:
        crop, image = divmod(number, len(positions))
        seed = derived_seed(self._seed, purpose, epoch, int(positions[image]), resolution, crop)
        return torch.Generator().manual_seed(seed)


def _rectangle(height: int, width: int, generator: torch.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width; nothing where no attempt fits, as in torchvision's `RandomErasing`."""
    for _ in range(ATTEMPTS):
        share, shape, y, x = torch.rand(4, generator=generator).tolist()
        area = height * width * (SMALLEST + (LARGEST - SMALLEST) * share)
        ratio = math.exp(math.log(RATIO) * (1 - 2 * shape))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < h < height and 0 < w < width:
            return int(y * (height - h + 1)), int(x * (width - w + 1)), h, w
    return 0, 0, 0, 0
