"""DINO's multi-crop with t-ReX's parameters: one global and eight local crops (papers.md, section 1).

By torchvision's operators on tensors. They match t-ReX's PIL ones but for blur: PIL approximates the Gaussian by boxes,
torchvision convolves with it.
"""

from __future__ import annotations

from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from trainables.spec import TrainingSpec
from trainables.views.view import image_by_image

GLOBAL_SCALE, LOCAL_SCALE = (0.25, 1.0), (0.05, 0.25)


class DinoMulticrop:
    """A global crop at `image_size`, `local_crops` local ones at `local_size`; every crop counts alike in the loss."""

    def __init__(self, spec: TrainingSpec) -> None:
        self.uniforms = 1 + spec.local_crops
        self._global = crop_transform(spec.image_size, GLOBAL_SCALE, blur=0.2, solarize=0.2)
        self._local = crop_transform(spec.local_size, LOCAL_SCALE, blur=0.5, solarize=0.0)
        self._local_crops = spec.local_crops

    def __call__(self, images: Tensor, uniforms: Tensor) -> list[Tensor]:
        """[batch] global crops and, if there are any, [local_crops x batch] local ones."""
        groups = [image_by_image(images, uniforms[:, 0], self._global)]
        if self._local_crops:
            repeated = images.repeat(self._local_crops, 1, 1, 1)
            groups.append(image_by_image(repeated, uniforms[:, 1:].T.flatten(), self._local))
        return groups


def crop_transform(size: int, scale: tuple[float, float], *, blur: float, solarize: float) -> v2.Transform:
    """One crop: random resized crop (bicubic), flip, colour jitter, grey, blur, solarize, with t-ReX's chances."""
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=scale, interpolation=InterpolationMode.BICUBIC, antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(kernel_size=_odd(size), sigma=(0.1, 2.0))], p=blur),
            v2.RandomSolarize(128, p=solarize),
        ]
    )


def _odd(size: int) -> int:
    """A kernel of three standard deviations of the widest blur to each side, or as wide as a small image takes."""
    return min(13, size - 1 + size % 2)
