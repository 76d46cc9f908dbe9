"""No augmentation: the shorter side resized to 256/224 of the network's input, then its centre, as in evaluation."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torchvision.transforms import v2

from trainables.spec import TrainingSpec


def plain_view(spec: TrainingSpec) -> Callable[[Tensor], Tensor]:
    """Images [..., 3, height, width] uint8 to [..., 3, image_size, image_size]; the same size passes through untouched.

    Resize 256 and centre crop 224, bilinear (papers.md, section 1, evaluation). Below 64 px the margin would cut the
    objects of data sets made at that size, so there the whole image is kept.
    """
    size = spec.image_size
    resized = round(size * 256 / 224) if size >= 64 else size
    transform = v2.Compose([v2.Resize(resized, antialias=True), v2.CenterCrop(size)])

    def view(images: Tensor) -> Tensor:
        if images.shape[-2:] == (size, size) and resized == size:
            return images
        result: Tensor = transform(images)
        return result

    return view
