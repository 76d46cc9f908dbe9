"""DINO's multi-crop with t-ReX's parameters: one global and eight local crops (docs/papers.md).

The operators are Pillow's, as t-ReX's are, on whole batches. They differ from them in the hue, which Pillow turns in
256 steps and this exactly, and by a level here and there in resizing and blur, which Pillow rounds after each pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from trainables.augmentations.operators.blur import blur_tiles, blurred
from trainables.augmentations.operators.colour import ORDERS, grey, jitter, solarized
from trainables.augmentations.operators.crops import CROP_UNIFORMS, crop_boxes, extents
from trainables.augmentations.operators.resampling import resampled
from trainables.augmentations.operators.rows import edit
from trainables.augmentations.operators.uniforms import stream
from trainables.input.prefetch import to_device
from trainables.spec import TrainingSpec

FLIP, JITTER, ORDER, FACTORS, GREY, BLUR, RADIUS, SOLARIZE = (CROP_UNIFORMS + n for n in (0, 1, 2, 3, 7, 8, 9, 10))
NUMBERS = CROP_UNIFORMS + 11
"""Uniform numbers of one crop: its box, then each of the above in its place (four factors)."""
RATIO = (3 / 4, 4 / 3)
JITTER_RANGES = ((0.6, 1.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1))
"""Of the factors of brightness, contrast and saturation, and of the shift of hue: ColorJitter(0.4, 0.4, 0.2, 0.1)."""
JITTER_CHANCE, GREY_CHANCE, BLUR_RADII = 0.8, 0.2, (0.1, 2.0)


@dataclass(frozen=True)
class Crop:
    """The crops of one resolution: side in pixels, share of the area, and chance of blur and of solarizing."""

    size: int
    scale: tuple[float, float]
    blur: float
    solarize: float


def global_crop(size: int) -> Crop:
    """t-ReX's global crop."""
    return Crop(size, (0.25, 1.0), blur=0.2, solarize=0.2)


def local_crop(size: int) -> Crop:
    """t-ReX's local crop."""
    return Crop(size, (0.05, 0.25), blur=0.5, solarize=0.0)


class DinoMulticrop:
    """A global crop at `image_size`, `local_crops` local ones at `local_size`; every crop counts alike in the loss."""

    uniforms = 1

    def __init__(self, spec: TrainingSpec) -> None:
        self._crops = (global_crop(spec.image_size), local_crop(spec.local_size))
        self._counts = (1, spec.local_crops)

    def __call__(
        self, images: Tensor | Sequence[Tensor], uniforms: Tensor, device: torch.device | None = None
    ) -> list[Tensor]:
        """[batch] global crops and, if there are any, [local_crops x batch] local ones, uint8."""
        rows = stream(uniforms[:, 0], sum(self._counts) * NUMBERS).view(len(uniforms), -1, NUMBERS)
        groups = zip(self._crops, rows.split(self._counts, 1), strict=True)
        return [crops_of(images, crop, numbers, device) for crop, numbers in groups if numbers.shape[1]]


def crops_of(
    images: Tensor | Sequence[Tensor], crop: Crop, numbers: Tensor, device: torch.device | None = None
) -> Tensor:
    """Crops [crops x batch, 3, size, size] uint8 by `numbers` [batch, crops, NUMBERS], on `device` (the images')."""
    count = numbers.shape[1]
    heights, widths = (size.repeat_interleave(count) for size in extents(images))
    boxes = crop_boxes(heights, widths, crop.scale, RATIO, numbers[..., :CROP_UNIFORMS].flatten(0, 1))
    boxes = boxes.view(-1, count, 4)
    pixels = resampled(images, boxes, numbers[..., FLIP] < 0.5, crop.size, "bicubic")
    return coloured(to_device(pixels, device or pixels.device), crop, numbers.transpose(0, 1).flatten(0, 1))


def coloured(pixels: Tensor, crop: Crop, numbers: Tensor) -> Tensor:
    """Jitter, grey, blur and solarizing of crops [n, 3, size, size] uint8 by numbers [n, NUMBERS], in place."""
    low, high = torch.tensor(JITTER_RANGES, dtype=torch.float64).T
    factors = (low + (high - low) * numbers[:, FACTORS:GREY]).float().to(pixels.device)
    radii = (BLUR_RADII[0] + (BLUR_RADII[1] - BLUR_RADII[0]) * numbers[:, RADIUS]).float().to(pixels.device)
    # Samples whose operators come in the same order are jittered together; -1 are those that stay as they are.
    orders = torch.where(numbers[:, JITTER] < JITTER_CHANCE, (numbers[:, ORDER] * len(ORDERS)).long(), -1)
    for order, places in groups_of_equals(orders):
        if order >= 0:
            there = places.to(pixels.device)
            edit(pixels, there, partial(jitter, order=order), factors[there])

    def chosen(column: int, chance: float) -> Tensor:
        return (numbers[:, column] < chance).nonzero().flatten().to(pixels.device)

    there = chosen(GREY, GREY_CHANCE)
    edit(pixels, there, lambda images, _: grey(images), there)
    there = chosen(BLUR, crop.blur)
    edit(pixels, there, blurred, blur_tiles(radii[there], crop.size))
    there = chosen(SOLARIZE, crop.solarize)
    edit(pixels, there, lambda images, _: solarized(images), there)
    return pixels


def groups_of_equals(values: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each value that occurs in `values` [n] int64, and the places where it does."""
    ordered, places = values.sort(stable=True)
    present, counts = ordered.unique_consecutive(return_counts=True)
    yield from zip(present.tolist(), places.split(counts.tolist()), strict=True)
