"""RandAugment (Cubuk et al. 2020) and TrivialAugment (Mueller and Hutter 2021) after a random crop and a flip.

Operators, their strengths and signs are torchvision's `RandAugment` and `TrivialAugmentWide` (31 magnitudes, nearest
interpolation, black fill), drawn from the sample's own generator. timm's RandAugment differs: its operations and the
spread of its magnitudes are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from trainables.augmentations.augmentation import each_in_threads
from trainables.augmentations.operators.crops import CROP_UNIFORMS
from trainables.augmentations.pytorch_example import PyTorchExample, crop_and_flip
from trainables.spec import TrainingSpec

MAGNITUDES = 31


class RandAugment:
    """`randaugment_operations` operations, each drawn from 14, all at `randaugment_magnitude` (of 0..30)."""

    uniforms = CROP_UNIFORMS + 2

    def __init__(self, spec: TrainingSpec) -> None:
        self._crop = PyTorchExample(spec)
        self._operations, self._magnitude = spec.randaugment_operations, spec.randaugment_magnitude
        self._policy: Any = v2.RandAugment()

    def __call__(
        self, images: Tensor | Sequence[Tensor], uniforms: Tensor, device: torch.device | None = None
    ) -> list[Tensor]:
        """One crop for each image, uint8."""
        crops = crop_and_flip(self._crop, images, uniforms[:, :-1])
        return [each_in_threads(crops.cpu(), uniforms[:, -1], self._augmented)]

    def _drawn_magnitude(self, generator: np.random.Generator) -> int:
        return self._magnitude

    def _augmented(self, image: Tensor, generator: np.random.Generator) -> Tensor:
        pixels = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
        space = self._policy._AUGMENTATION_SPACE
        for _ in range(self._operations):
            name = list(space)[generator.integers(len(space))]
            magnitudes, signed = space[name]
            steps = magnitudes(MAGNITUDES, pixels.height, pixels.width)
            magnitude = 0.0 if steps is None else float(steps[self._drawn_magnitude(generator)])
            if signed and generator.random() <= 0.5:
                magnitude = -magnitude
            pixels = self._policy._apply_image_or_video_transform(
                pixels, name, magnitude, interpolation=self._policy.interpolation, fill=self._policy._fill
            )
        return torch.from_numpy(np.array(pixels)).permute(2, 0, 1).contiguous()


class TrivialAugment(RandAugment):
    """One operation of 14, at a magnitude that is drawn uniformly; ranges wider than RandAugment's."""

    def __init__(self, spec: TrainingSpec) -> None:
        super().__init__(spec)
        self._operations, self._policy = 1, v2.TrivialAugmentWide()

    def _drawn_magnitude(self, generator: np.random.Generator) -> int:
        return int(generator.integers(MAGNITUDES))
