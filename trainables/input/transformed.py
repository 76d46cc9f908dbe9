"""Images of a set changed by an operation of `datagen.datasets.transformations`, when they are read."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from datagen.core.identity import derived_seed
from datagen.datasets.transformations import strength_of
from trainables.input.data import Images, ImageSet
from trainables.input.threads import in_threads


class TransformedImages:
    """The images of a set, each changed when it is picked."""

    def __init__(self, images: Tensor | Images, change: Callable[[Tensor, int], Tensor]) -> None:
        self._images, self._change = images, change

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, positions: Tensor) -> list[Tensor]:
        """The images at positions [n], each [3, height, width] uint8."""
        picked = self._images[positions]
        places = positions.tolist()
        return in_threads(lambda number: self._change(picked[number], places[number]), range(len(places)))


def transformed(whole: ImageSet, transformation: str, seed: int) -> ImageSet:
    """All images of a set changed; of one that is decoded they are all changed now.

    Args:
        whole: the set.
        transformation: "noise:3" and the like.
        seed: of what is drawn, for each image by its place in the set.
    """
    name, strength = strength_of(transformation)
    change = functools.partial(_changed, OPERATIONS[name], strength, derived_seed(seed, transformation))
    images = TransformedImages(whole.images, change)
    if isinstance(whole.images, Tensor):
        return ImageSet(torch.stack(images[torch.arange(len(whole))]), whole.labels)
    return ImageSet(images, whole.labels)


def _changed(
    operation: Callable[[Tensor, float, torch.Generator], Tensor], strength: float, seed: int, image: Tensor, place: int
) -> Tensor:
    generator = torch.Generator().manual_seed(derived_seed(seed, place))
    changed = operation(image, strength, generator)
    return changed if changed.dtype == torch.uint8 else changed.round().clamp(0, 255).to(torch.uint8)


def noise(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Gaussian noise of that standard deviation, of pixels in 0..1."""
    return image + 255 * strength * torch.randn(image.shape, generator=generator)


def blur(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """A Gaussian of that standard deviation, a share of the shorter side."""
    deviation = strength * min(image.shape[-2:])
    side = 2 * math.ceil(3 * deviation) + 1
    return functional.gaussian_blur(image.float(), [side, side], [deviation, deviation])


def contrast(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """What is left of each channel's distance from its mean (ImageNet-C's, not torchvision's, which mixes channels)."""
    mean = image.float().mean((1, 2), keepdim=True)
    return mean + strength * (image - mean)


def jpeg(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """To JPEG of that quality and back."""
    return functional.jpeg(image, int(strength))


def _filtered(image: Tensor, cutoff: float, *, low: bool) -> Tensor:
    """Frequencies whose radius is at most, or above, a share of the highest (half a period a pixel)."""
    height, width = image.shape[-2:]
    radius = (torch.fft.fftfreq(height)[:, None].square() + torch.fft.rfftfreq(width).square()).sqrt() / 0.5
    passes = (radius <= cutoff) if low else (radius > cutoff)
    return torch.fft.irfft2(torch.fft.rfft2(image.float()) * passes, s=(height, width))


def low_pass(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Only frequencies up to that share of the highest."""
    return _filtered(image, strength, low=True)


def high_pass(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Only frequencies above that share of the highest, around mid-grey."""
    return 127.5 + _filtered(image, strength, low=False)


def resolution(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Made smaller to that share of each side, and back."""
    small = [max(1, round(strength * side)) for side in image.shape[-2:]]
    smaller = functional.resize(image.float(), small, antialias=True)
    return functional.resize(smaller, list(image.shape[-2:]), antialias=True)


def grey(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Without colour."""
    return functional.rgb_to_grayscale(image, num_output_channels=3)


OPERATIONS: dict[str, Callable[[Tensor, float, torch.Generator], Tensor]] = {
    **{"noise": noise, "blur": blur, "contrast": contrast, "jpeg": jpeg},
    **{"low_pass": low_pass, "high_pass": high_pass, "resolution": resolution, "grey": grey},
}
