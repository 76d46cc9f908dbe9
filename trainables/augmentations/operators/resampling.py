"""Cropping and resizing with antialiasing, each sample by its own box: in threads on a CPU, by matrices elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from trainables.input.threads import in_threads

SMALL_BATCH = 2_000_000
"""Output values below which threads cost more than they bring."""


def resampled(images: Tensor | Sequence[Tensor], boxes: Tensor, flips: Tensor, size: int, mode: str) -> Tensor:
    """Crops of each image, resized to squares, some mirrored: [crops x batch, 3, size, size] uint8, crop by crop.

    On a CPU by torch's 8-bit operator, one crop after another; on other devices two products of matrices for the
    whole batch. Both are Pillow's antialiased filters to within one level.

    Args:
        images: [batch, 3, height, width] uint8, or as many [3, height, width] of different sizes on a CPU.
        boxes: [batch, crops, 4] int64 (top, left, height, width) on the CPU.
        flips: [batch, crops] bool on the CPU: mirror left to right.
        size: side of the squares, pixels.
        mode: "bilinear" or "bicubic".
    """
    if isinstance(images, Tensor) and images.device.type != "cpu":
        return resampled_by_matrices(images, boxes, flips, size, mode)
    batch, crops = boxes.shape[:2]
    result = torch.empty(crops, batch, 3, size, size, dtype=torch.uint8)
    pixels = result.numpy()  # It mirrors while it copies.

    def resample(number: int) -> None:
        image = images[number][None]
        for crop, ((top, left, height, width), flip) in enumerate(
            zip(all_boxes[number], all_flips[number], strict=True)
        ):
            part = image[..., top : top + height, left : left + width]
            resized = _resize(part, size, mode)[0].numpy()
            pixels[crop, number] = resized[..., ::-1] if flip else resized

    all_boxes, all_flips = boxes.tolist(), flips.tolist()
    if result.numel() < SMALL_BATCH:
        for number in range(batch):
            resample(number)
    else:
        in_threads(resample, range(batch))
    return result.flatten(0, 1)


def _resize(part: Tensor, size: int, mode: str) -> Tensor:
    # Torch's fast kernels want channels last; on 224 px they are twice as fast as planes with the change counted.
    part = part.contiguous(memory_format=torch.channels_last)
    return functional.interpolate(part, (size, size), mode=mode, antialias=True)


def resampled_by_matrices(images: Tensor, boxes: Tensor, flips: Tensor, size: int, mode: str) -> Tensor:
    """`resampled` for a batch on any device."""
    pixels = images.float()
    results = []
    for crop in range(boxes.shape[1]):
        top, left, height, width = boxes[:, crop].to(images.device).unbind(1)
        rows = filter_matrices(top, height, images.shape[2], size, mode)
        columns = filter_matrices(left, width, images.shape[3], size, mode)
        mirrored = flips[:, crop].to(images.device)[:, None, None]
        columns = torch.where(mirrored, columns.flip(1), columns)
        resized = rows[:, None] @ (pixels @ columns.transpose(1, 2)[:, None])
        results.append(resized.round_().clamp_(0, 255).to(torch.uint8))
    return torch.cat(results)


def filter_matrices(starts: Tensor, lengths: Tensor, extent: int, size: int, mode: str) -> Tensor:
    """Weights [batch, size, extent] float32 that resize pixels start .. start + length - 1 of a line to `size`.

    Pillow's filters: the kernel is widened by the reduction when shrinking, cut at the crop's ends, and sums to one.
    """
    scale = (lengths.double() / size)[:, None, None]
    centres = starts[:, None, None] + (torch.arange(size, device=starts.device)[None, :, None] + 0.5) * scale
    places = torch.arange(extent, device=starts.device)[None, None, :]
    distance = ((places + 0.5 - centres) / scale.clamp(min=1)).abs()
    weights = _bicubic(distance) if mode == "bicubic" else (1 - distance).clamp(min=0)
    inside = (places >= starts[:, None, None]) & (places < (starts + lengths)[:, None, None])
    weights = weights * inside
    return (weights / weights.sum(2, keepdim=True)).float()


def _bicubic(distance: Tensor, a: float = -0.5) -> Tensor:
    """Keys' kernel (1981) with Pillow's parameter."""
    near = ((a + 2) * distance - (a + 3)) * distance.square() + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
