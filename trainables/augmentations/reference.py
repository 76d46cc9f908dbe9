"""The augmentations as a user of torchvision has them, one Pillow image at a time: what tests compare with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from trainables.augmentations.dino_multicrop import (
    BLUR_RADII,
    GREY_CHANCE,
    JITTER_CHANCE,
    Crop,
    global_crop,
    local_crop,
)
from trainables.input.pixel_statistics import PixelStatistics


def multicrop(size: int, local_size: int, local_crops: int) -> Callable[[Image.Image], list[Image.Image]]:
    """t-ReX's multi-crop with its parameters (docs/papers.md, "Training"): the global crop, then the local ones."""
    one, other = one_crop(global_crop(size)), one_crop(local_crop(local_size))
    return lambda image: [one(image), *(other(image) for _ in range(local_crops))]


def one_crop(crop: Crop) -> v2.Transform:
    """A random crop of one resolution of the multi-crop."""
    return v2.Compose(
        [
            v2.RandomResizedCrop(crop.size, scale=crop.scale, interpolation=InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=JITTER_CHANCE),
            v2.RandomGrayscale(GREY_CHANCE),
            v2.RandomApply([v2.Lambda(_blurred)], p=crop.blur),
            v2.RandomSolarize(128, p=crop.solarize),
        ]
    )


def pytorch_example(size: int, minimum_crop: float) -> v2.Transform:
    """PyTorch's ImageNet example: a random resized crop, bilinear, and a flip."""
    return v2.Compose([v2.RandomResizedCrop(size, scale=(minimum_crop, 1.0)), v2.RandomHorizontalFlip()])


def autoaugment(size: int) -> v2.Transform:
    """Resize and centre crop, then AutoAugment's ImageNet policy."""
    policy = v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET, InterpolationMode.NEAREST, fill=None)
    return v2.Compose([v2.Resize(round(size * 256 / 224)), v2.CenterCrop(size), policy])


def normalized(image: Image.Image, statistics: PixelStatistics) -> Tensor:
    """ToTensor and Normalize: [3, height, width] float32."""
    tensor: Tensor = v2.functional.pil_to_tensor(image).float() / 255
    return v2.functional.normalize(tensor, list(statistics.mean), list(statistics.std))


def _blurred(image: Image.Image) -> Image.Image:
    low, high = BLUR_RADII
    return image.filter(ImageFilter.GaussianBlur(low + (high - low) * float(torch.rand(()))))
