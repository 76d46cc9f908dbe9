"""No augmentation: the shorter side resized to 256/224 of the network's input, then its centre, as in evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2

from trainables.input.threads import in_threads
from trainables.spec import TrainingSpec


class PlainAugmentation:
    """Resize 256 and centre crop 224, bilinear, or the same at another size (docs/papers.md, "Training").

    Below 64 px the margin would cut the objects of data sets made at that size, so there the whole image is kept.
    """

    uniforms = 0

    def __init__(self, spec: TrainingSpec) -> None:
        self._size = spec.image_size
        self._resized = round(self._size * 256 / 224) if self._size >= 64 else self._size
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
