"""PixMix with the reference's ImageNet settings (Hendrycks et al. 2022): k = 4, beta = 4, severity 1, all operations.

The mixing set is fractals that the project draws itself, or a folder of pictures that the user points to, such as the
reference's own, a download of 1.6 GB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trainables.augmentations.augmentation import each_in_threads
from trainables.augmentations.operators.crops import CROP_UNIFORMS
from trainables.augmentations.operators.mixing_operations import ALL_OPERATIONS, augmented
from trainables.augmentations.operators.mixing_pictures import mixing_set
from trainables.augmentations.pytorch_example import PyTorchExample, crop_and_flip
from trainables.spec import TrainingSpec

ROUNDS, BETA, SEVERITY = 4, 4, 1


class PixMix:
    """A random crop and flip, then 0 to 4 rounds of adding or multiplying a picture or an augmented copy of itself."""

    uniforms = CROP_UNIFORMS + 2

    def __init__(self, spec: TrainingSpec) -> None:
        self._crop = PyTorchExample(spec)
        self._mixing = mixing_set(spec)

    def __call__(
        self, images: Tensor | Sequence[Tensor], uniforms: Tensor, device: torch.device | None = None
    ) -> list[Tensor]:
        """One crop for each image, float32."""
        crops = crop_and_flip(self._crop, images, uniforms[:, :-1])
        return [each_in_threads(crops, uniforms[:, -1], self._mix)]

    def _mix(self, image: Tensor, generator: np.random.Generator) -> Tensor:
        number = int(generator.integers(len(self._mixing)))
        picture = self._mixing.draw(number, *generator.random(self._mixing.uniforms).tolist())
        return pixmix(image, picture, generator)


def pixmix(image: Tensor, picture: Tensor, generator: np.random.Generator) -> Tensor:
    """Mixes an image with a picture of the mixing set, both [3, height, width] uint8; float32 in 0..255."""
    mixed = (_augmented(image, generator) if generator.random() < 0.5 else image).float() / 255
    for _ in range(generator.integers(ROUNDS + 1)):
        other = (_augmented(image, generator) if generator.random() < 0.5 else picture).float() / 255
        blend = add if generator.random() < 0.5 else multiply
        mixed = blend(mixed, other, *_weights(generator)).clamp(0, 1)
    return mixed * 255


def add(first: Tensor, second: Tensor, a: float, b: float) -> Tensor:
    """((a (2x - 1) + b (2y - 1)) + 1) / 2, of pixels in 0..1."""
    return (a * (2 * first - 1) + b * (2 * second - 1) + 1) / 2


def multiply(first: Tensor, second: Tensor, a: float, b: float) -> Tensor:
    """(2x)^a (2y)^b / 2, of pixels in 0..1; the second factor is kept above 0."""
    return (2 * first) ** a * (2 * second).clamp(min=1e-37) ** b / 2


def _weights(generator: np.random.Generator) -> tuple[float, float]:
    """Half the time a ~ Beta(4, 1), b ~ Beta(1, 4); else a = 1 + Beta(1, 4), b = -Beta(1, 4)."""
    if generator.random() < 0.5:
        return generator.beta(BETA, 1), generator.beta(1, BETA)
    return 1 + generator.beta(1, BETA), -generator.beta(1, BETA)


def _augmented(image: Tensor, generator: np.random.Generator) -> Tensor:
    return augmented(image, ALL_OPERATIONS[generator.integers(len(ALL_OPERATIONS))], SEVERITY, generator.random)
