"""Views: the augmented, normalized tensors a network is trained on, and the plain ones it is evaluated on.

A view is chosen by name in a `TrainingSpec`; each has a file of its own in this folder and an entry in `VIEWS_BY_NAME`.
A sample's view depends on (seed, epoch, image) alone: not on the batch it is in, nor on who computes it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from datagen.identity import derived_seed
from trainables.spec import TrainingSpec
from trainables.statistics import PixelStatistics
from trainables.views.augmix import AugMix
from trainables.views.autoaugment import AutoAugment
from trainables.views.dino_multicrop import DinoMulticrop
from trainables.views.none import PlainView
from trainables.views.pixmix import PixMix
from trainables.views.pytorch_example import PyTorchExample
from trainables.views.view import View

VIEWS_BY_NAME: dict[str, type[View]] = {
    "none": PlainView,
    "autoaugment": AutoAugment,
    "pytorch_example": PyTorchExample,
    "augmix": AugMix,
    "pixmix": PixMix,
    "dino_multicrop": DinoMulticrop,
}


class Views:
    """Makes the training views of a data set of `images` images, normalized by `statistics`."""

    def __init__(self, spec: TrainingSpec, images: int, statistics: PixelStatistics) -> None:
        self._view = VIEWS_BY_NAME[spec.views](spec)
        self._seed, self._images, self._statistics = spec.seed, images, statistics
        self._epoch, self._uniforms = 0, torch.empty(0)

    def __call__(self, images: Tensor | list[Tensor], positions: Tensor, epoch: int) -> list[Tensor]:
        """[batch, 3, height, width] uint8 to normalized float32 [crops x batch, 3, size, size], one a resolution.

        Images of different sizes come as a list and are cropped one by one.

        `positions` [batch] are the images' places in the data set, which with the seed and the epoch fix their views.
        """
        if epoch != self._epoch:
            # One table for the epoch, a row for each image: 126,689 images and 23 numbers take 23 MB and 20 ms.
            generator = torch.Generator().manual_seed(derived_seed(self._seed, "views", epoch))
            shape = (self._images, self._view.uniforms)
            self._uniforms = torch.rand(shape, generator=generator, dtype=torch.float64)
            self._epoch = epoch
        uniforms = self._uniforms[positions]
        if isinstance(images, Tensor):
            groups = self._view(images, uniforms.to(images.device))
        else:
            alone = [self._view(image[None], row[None]) for image, row in zip(images, uniforms, strict=True)]
            # Of each resolution: [batch, crops, ...] to crop by crop, as a whole batch has it.
            groups = [torch.stack(crops).transpose(0, 1).flatten(0, 1) for crops in zip(*alone, strict=True)]
        return [self._statistics.normalized(group) for group in groups]


def evaluation_view(images: Tensor | list[Tensor], spec: TrainingSpec, statistics: PixelStatistics) -> Tensor:
    """[batch, 3, height, width] uint8 to normalized [batch, 3, size, size] float32, with nothing random."""
    view, nothing = PlainView(spec), torch.empty(1, 0)
    batches = [images] if isinstance(images, Tensor) else [image[None] for image in images]
    return statistics.normalized(torch.cat([view(batch, nothing)[0] for batch in batches]))
