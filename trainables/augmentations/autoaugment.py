"""AutoAugment's ImageNet policy on the whole, centred image (Mind the Gap, Table 2).

The papers' training loss of 0.033 shows that no random crop went before it (docs/papers.md). The operators are
Pillow's, an image at a time in threads: at 224 px they take 0.4 ms an image, and 0.2 ms to get there and back, where
torchvision's on tensors take 1.0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from trainables.augmentations.augmentation import each_in_threads
from trainables.augmentations.none import PlainAugmentation
from trainables.spec import TrainingSpec


class AutoAugment:
    """Resize and centre crop, then one of 25 sub-policies of two operations; nearest interpolation, black fill."""

    uniforms = 1

    def __init__(self, spec: TrainingSpec) -> None:
        self._plain = PlainAugmentation(spec)
        self._policy = ImageNetPolicy()

    def __call__(
        self, images: Tensor | Sequence[Tensor], uniforms: Tensor, device: torch.device | None = None
    ) -> list[Tensor]:
        """One crop for each image, uint8."""
        (plain,) = self._plain(images, uniforms)
        return [each_in_threads(plain.cpu(), uniforms[:, 0], self._augmented)]

    def _augmented(self, image: Tensor, generator: np.random.Generator) -> Tensor:
        pixels = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
        return torch.from_numpy(np.array(self._policy.applied(pixels, generator))).permute(2, 0, 1).contiguous()


class ImageNetPolicy(v2.AutoAugment):
    """torchvision's AutoAugment that draws from a generator it is given, so that threads do not share one."""

    def __init__(self) -> None:
        super().__init__(v2.AutoAugmentPolicy.IMAGENET, InterpolationMode.NEAREST, fill=None)

    def applied(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        """The image after the two operations of a random sub-policy, each with its own chance and to a random side."""
        for name, chance, level in self._policies[generator.integers(len(self._policies))]:
            draw, side = generator.random(2)
            if draw > chance:
                continue
            magnitudes, signed = self._AUGMENTATION_SPACE[name]
            steps = magnitudes(10, image.height, image.width)
            magnitude = 0.0 if steps is None else float(steps[level])
            if signed and side <= 0.5:
                magnitude = -magnitude
            image = self._apply_image_or_video_transform(
                image, name, magnitude, interpolation=self.interpolation, fill=self._fill
            )
        return image
