"""The augmented, normalized images a network is trained on, and the plain ones it is evaluated on.

One is chosen by name in a `TrainingSpec`; each has a file of its own here and an entry in `AUGMENTATION_CLASSES`. A
user's own is `own.py`.
A sample's crops depend on (seed, epoch, image) alone: not on the batch it is in, nor on who computes it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from datagen.core.identity import derived_seed
from trainables.augmentations.augmentation import Augmentation
from trainables.augmentations.augmix import AugMix
from trainables.augmentations.autoaugment import AutoAugment
from trainables.augmentations.dino_multicrop import DinoMulticrop
from trainables.augmentations.none import PlainAugmentation
from trainables.augmentations.operators.memory import empty_float32
from trainables.augmentations.operators.noise_and_erasing import NoiseAndErasing
from trainables.augmentations.operators.rows import BLOCK_BYTES
from trainables.augmentations.own import OwnAugmentation
from trainables.augmentations.pixmix import PixMix
from trainables.augmentations.pytorch_example import PyTorchExample
from trainables.augmentations.randaugment import RandAugment, TrivialAugment
from trainables.input.pixel_statistics import PixelStatistics
from trainables.input.prefetch import to_device
from trainables.input.threads import in_threads
from trainables.spec import TrainingSpec

AUGMENTATION_CLASSES: dict[str, type[Augmentation]] = {
    "none": PlainAugmentation,
    "autoaugment": AutoAugment,
    "pytorch_example": PyTorchExample,
    "augmix": AugMix,
    "pixmix": PixMix,
    "dino_multicrop": DinoMulticrop,
    "randaugment": RandAugment,
    "trivialaugment": TrivialAugment,
}


class Augmenter:
    """Augments a data set of `images` images and normalizes them by `statistics`, on `device`.

    Crops are cut and resized where the images are; what comes after them is computed on `device` (the images' own by
    default), to which they go as 8-bit pixels.
    """

    def __init__(
        self, spec: TrainingSpec, images: int, statistics: PixelStatistics, device: torch.device | None = None
    ) -> None:
        self._augmentation = AUGMENTATION_CLASSES.get(spec.augmentation, OwnAugmentation)(spec)
        self._changes = NoiseAndErasing(spec)
        self._seed, self._images, self._statistics, self._device = spec.seed, images, statistics, device
        self._epoch, self._uniforms = 0, torch.empty(0)

    def __call__(self, images: Tensor | Sequence[Tensor], positions: Tensor, epoch: int) -> list[Tensor]:
        """[batch, 3, height, width] uint8 to normalized float32 [crops x batch, 3, size, size], one a resolution.

        Images of different sizes come as a sequence of [3, height, width], on the CPU.

        `positions` [batch] are the images' places in the data set, which with the seed and the epoch fix their crops.
        """
        if epoch != self._epoch:
            # One table for the epoch, a row for each image: 126,689 images and 23 numbers take 23 MB and 20 ms.
            generator = torch.Generator().manual_seed(derived_seed(self._seed, "views", epoch))
            shape = (self._images, self._augmentation.uniforms)
            self._uniforms = torch.rand(shape, generator=generator, dtype=torch.float64)
            self._epoch = epoch
        groups = self._augmentation(images, self._uniforms[positions.cpu()], self._device)
        finished = []
        for resolution, group in enumerate(groups):
            noisy = self._changes.with_noise(group, positions, epoch, resolution)
            crops = _normalized(to_device(noisy, self._device or noisy.device), self._statistics)
            finished.append(self._changes.erased(crops, positions, epoch, resolution))
        return finished


def evaluation_images(
    images: Tensor | Sequence[Tensor],
    spec: TrainingSpec,
    statistics: PixelStatistics,
    device: torch.device | None = None,
) -> Tensor:
    """[batch, 3, height, width] uint8 to normalized [batch, 3, size, size] float32 on `device`, with nothing random."""
    (crops,) = PlainAugmentation(spec)(images, torch.empty(len(images), 0))
    return _normalized(to_device(crops, device or crops.device), statistics)


def _normalized(pixels: Tensor, statistics: PixelStatistics) -> Tensor:
    """Normalizes, on a CPU by parts that stay in its cache."""
    size = max(1, BLOCK_BYTES // (4 * pixels[0].numel()))
    if pixels.device.type != "cpu" or size >= len(pixels):
        return statistics.normalized(pixels)
    batch, channels, height, width = pixels.shape
    result = empty_float32(batch, height, width, channels).permute(0, 3, 1, 2)

    def normalize(part: tuple[Tensor, Tensor]) -> None:
        statistics.normalized(part[0], out=part[1])

    in_threads(normalize, list(zip(pixels.split(size), result.split(size), strict=True)))
    return result
