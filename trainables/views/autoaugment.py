"""AutoAugment's ImageNet policy on the whole, centred image (Mind the Gap, Table 2).

The papers' training loss of 0.033 shows that no random crop went before it (papers.md, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from trainables.spec import TrainingSpec
from trainables.views.none import PlainView
from trainables.views.view import image_by_image


class AutoAugment:
    """Resize and centre crop, then one of 25 sub-policies of two operations; nearest interpolation, black fill."""

    uniforms = 1

    def __init__(self, spec: TrainingSpec) -> None:
        self._plain = PlainView(spec)
        self._policy = v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET, InterpolationMode.NEAREST, fill=None)

    def __call__(
        self, images: Tensor | Sequence[Tensor], uniforms: Tensor, device: torch.device | None = None
    ) -> list[Tensor]:
        """One crop for each image, uint8."""
        (plain,) = self._plain(images, uniforms)
        return [image_by_image(plain, uniforms[:, 0], self._policy)]
