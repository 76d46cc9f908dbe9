"""AugMix with the reference's ImageNet defaults (Hendrycks et al. 2020), by default without its consistency loss.

torchvision's `AugMix` differs from the reference: severity 3 instead of 1, 13 operations instead of 9, and it mixes
rounded pixels. So the operations are torchvision's and the mixing is here. The loss that the papers report (0.318, near
that of the plain random crop) shows that the Jensen-Shannon term was off or not counted (docs/papers.md). With
`jensen_shannon` above 0 (the reference: 12) each image comes as three crops, itself and two mixtures of it, between
whose predictions the loss has that term (`trainables.recipe`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trainables.augmentations.augmentation import each_in_threads
from trainables.augmentations.operators.crops import CROP_UNIFORMS
from trainables.augmentations.operators.mixing_operations import OPERATIONS, augmented
from trainables.augmentations.pytorch_example import PyTorchExample, crop_and_flip
from trainables.spec import TrainingSpec

WIDTH, SEVERITY, DEEPEST = 3, 1, 3


class AugMix:
    """A random crop and flip, then (1 - m) x + m (w1 x1 + w2 x2 + w3 x3): m ~ Beta(1, 1), w ~ Dirichlet(1, 1, 1).

    Each chain x_i applies 1 to 3 of nine operations at severity 1.
    """

    uniforms = CROP_UNIFORMS + 2

    def __init__(self, spec: TrainingSpec) -> None:
        self._crop = PyTorchExample(spec)
        self._three = spec.jensen_shannon > 0

    def __call__(
        self, images: Tensor | Sequence[Tensor], uniforms: Tensor, device: torch.device | None = None
    ) -> list[Tensor]:
        """One crop for each image, float32; or the plain crops, then two mixtures of each."""
        crops = crop_and_flip(self._crop, images, uniforms[:, :-1])
        mixtures = each_in_threads(crops, uniforms[:, -1], augmix)
        if not self._three:
            return [mixtures]
        others = each_in_threads(crops, (uniforms[:, -1] + 0.5) % 1, augmix)
        return [torch.cat([crops.float(), mixtures, others])]


def augmix(image: Tensor, generator: np.random.Generator) -> Tensor:
    """Mixes one image [3, height, width] uint8 with three augmented chains of itself; float32 in 0..255.

    Mixing before normalization equals mixing after it, because the weights sum to one.
    """
    weights = torch.from_numpy(generator.dirichlet(np.ones(WIDTH))).float()
    share = torch.tensor(generator.beta(1.0, 1.0)).float()
    return mixed(image, [_chain(image, generator) for _ in range(WIDTH)], weights, share)


def mixed(image: Tensor, chains: list[Tensor], weights: Tensor, share: Tensor) -> Tensor:
    """(1 - share) image + share (sum of weights x chains), float32."""
    mixture = sum(weight * chain.float() for weight, chain in zip(weights, chains, strict=True))
    return (1 - share) * image.float() + share * mixture


def _chain(image: Tensor, generator: np.random.Generator) -> Tensor:
    for _ in range(generator.integers(1, DEEPEST + 1)):
        image = augmented(image, OPERATIONS[generator.integers(len(OPERATIONS))], SEVERITY, generator.random)
    return image
