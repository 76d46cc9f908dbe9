"""No augmentation: the shorter side resized to 256/224 of the network's input, then its centre, as in evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2

from trainables.input.threads import in_threads
from trainables.spec import TrainingSpec


def evaluation_resize(image_size: int) -> int:
    """To how many pixels the shorter side is resized before the centre square of `image_size` is cut.

    256/224 of it; below 64 px, where the margin would cut the objects of data sets made at that size, no more than it.
    """
    return round(image_size * 256 / 224) if image_size >= 64 else image_size


class PlainAugmentation:
    """Resize 256 and centre crop 224, bilinear, or the same at another size (docs/papers.md, "Training")."""

    uniforms = 0

    def __init__(self, spec: TrainingSpec) -> None:
        self._size = spec.image_size
        self._resized = evaluation_resize(self._size)
        self._transform = v2.Compose([v2.Resize(self._resized, antialias=True), v2.CenterCrop(self._size)])

    def __call__(
        self, images: Tensor | Sequence[Tensor], uniforms: Tensor, device: torch.device | None = None
    ) -> list[Tensor]:
        """Images of the right size already pass through untouched; `uniforms` is not used."""
        if not isinstance(images, Tensor):
            return [torch.stack(in_threads(self._one, images))]
        if images.shape[-2:] == (self._size, self._size) and self._resized == self._size:
            return [images]
        return [self._transform(images)]

    def _one(self, image: Tensor) -> Tensor:
        return self(image[None], image)[0][0]
