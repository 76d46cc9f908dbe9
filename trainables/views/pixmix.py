"""PixMix with the reference's ImageNet settings (Hendrycks et al. 2022): k = 4, beta = 4, severity 1, all operations.

The mixing set is fractals that the project draws itself, or a folder of pictures that the user points to, such as the
reference's own, a download of 1.6 GB.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.spec import TrainingSpec
from trainables.views.mixing_operations import ALL_OPERATIONS, augmented
from trainables.views.mixing_pictures import mixing_set
from trainables.views.operators import CROP_UNIFORMS
from trainables.views.pytorch_example import PyTorchExample, crop_and_flip
from trainables.views.view import image_by_image

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
        return [image_by_image(crops, uniforms[:, -1], self._mix)]

    def _mix(self, image: Tensor) -> Tensor:
        number = int(torch.randint(len(self._mixing), ()))
        return pixmix(image, self._mixing.draw(number, *torch.rand(self._mixing.uniforms).tolist()))


def pixmix(image: Tensor, picture: Tensor) -> Tensor:
    """Mixes an image with a picture of the mixing set, both [3, height, width] uint8; float32 in 0..255."""
    mixed = (_augmented(image) if bool(torch.rand(()) < 0.5) else image).float() / 255
    for _ in range(int(torch.randint(ROUNDS + 1, ()))):
        other = (_augmented(image) if bool(torch.rand(()) < 0.5) else picture).float() / 255
        blend = add if bool(torch.rand(()) < 0.5) else multiply
        mixed = blend(mixed, other, *_weights()).clamp(0, 1)
    return mixed * 255


def add(first: Tensor, second: Tensor, a: float, b: float) -> Tensor:
    """((a (2x - 1) + b (2y - 1)) + 1) / 2, of pixels in 0..1."""
    return (a * (2 * first - 1) + b * (2 * second - 1) + 1) / 2


def multiply(first: Tensor, second: Tensor, a: float, b: float) -> Tensor:
    """(2x)^a (2y)^b / 2, of pixels in 0..1; the second factor is kept above 0."""
    return (2 * first) ** a * (2 * second).clamp(min=1e-37) ** b / 2


def _weights() -> tuple[float, float]:
    """Half the time a ~ Beta(4, 1), b ~ Beta(1, 4); else a = 1 + Beta(1, 4), b = -Beta(1, 4)."""
    beta = torch.distributions.Beta
    if bool(torch.rand(()) < 0.5):
        return float(beta(float(BETA), 1.0).sample()), float(beta(1.0, float(BETA)).sample())
    return 1 + float(beta(1.0, float(BETA)).sample()), -float(beta(1.0, float(BETA)).sample())


def _augmented(image: Tensor) -> Tensor:
    return augmented(image, ALL_OPERATIONS[int(torch.randint(len(ALL_OPERATIONS), ()))], SEVERITY)
