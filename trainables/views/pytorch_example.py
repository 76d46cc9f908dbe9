"""PyTorch's ImageNet example: a random resized crop and a horizontal flip (Mind the Gap, Table 2)."""

from __future__ import annotations

from torch import Tensor

from trainables.spec import TrainingSpec
from trainables.views.operators import CROP_UNIFORMS, crop_boxes, flipped, resized_crops


class PyTorchExample:
    """RandomResizedCrop keeping `minimum_crop`..1 of the area (the example: 0.08), bilinear; a flip half the time."""

    uniforms = CROP_UNIFORMS + 1

    def __init__(self, spec: TrainingSpec) -> None:
        self._size = spec.image_size
        self._scale = (spec.minimum_crop, 1.0)

    def __call__(self, images: Tensor, uniforms: Tensor) -> list[Tensor]:
        """One crop for each image, float32."""
        height, width = images.shape[-2:]
        boxes = crop_boxes(height, width, self._scale, (3 / 4, 4 / 3), uniforms[:, :CROP_UNIFORMS])
        return [flipped(resized_crops(images, boxes, self._size), uniforms[:, CROP_UNIFORMS])]
