"""PyTorch's ImageNet example: a random resized crop and a horizontal flip (Mind the Gap, Table 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.augmentations.operators.crops import CROP_UNIFORMS, crop_boxes, enlarged_crops, extents, flipped
from trainables.augmentations.operators.resampling import resampled
from trainables.spec import TrainingSpec

SMALL = 64
"""Side in pixels up to which one sampling of the whole batch beats threads that take an image each."""


class PyTorchExample:
    """RandomResizedCrop keeping `minimum_crop`..1 of the area (the example: 0.08), bilinear; a flip half the time."""

    uniforms = CROP_UNIFORMS + 1

    def __init__(self, spec: TrainingSpec) -> None:
        self._size = spec.image_size
        self._scale = (spec.minimum_crop, 1.0)

    def __call__(
        self, images: Tensor | Sequence[Tensor], uniforms: Tensor, device: torch.device | None = None
    ) -> list[Tensor]:
        """One crop for each image: float32 up to 64 px if all are enlarged, else rounded to uint8, as by Pillow."""
        if self._size <= SMALL and not isinstance(images, Tensor):
            alone = [self(image[None], row[None])[0].float() for image, row in zip(images, uniforms, strict=True)]
            return [torch.cat(alone)]
        heights, widths = extents(images)
        boxes = crop_boxes(heights, widths, self._scale, (3 / 4, 4 / 3), uniforms[:, :CROP_UNIFORMS])
        flips = uniforms[:, CROP_UNIFORMS]
        # By the images' size, not by the crops', or a sample's neighbours would decide on its last decimal.
        if isinstance(images, Tensor) and max(images.shape[-2:]) <= self._size <= SMALL:
            boxes, flips = boxes.to(images.device), flips.to(images.device)
            return [flipped(enlarged_crops(images, boxes, self._size), flips)]
        return [resampled(images, boxes[:, None], (flips < 0.5)[:, None], self._size, "bilinear")]


def crop_and_flip(example: PyTorchExample, images: Tensor | Sequence[Tensor], uniforms: Tensor) -> Tensor:
    """The crops of a `PyTorchExample` as uint8."""
    (crops,) = example(images, uniforms)
    return crops if crops.dtype == torch.uint8 else crops.round().to(torch.uint8)
