"""Image operators on whole batches, each sample with its own parameters drawn from its own row of uniform numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

CROP_ATTEMPTS = 10
CROP_UNIFORMS = 2 * CROP_ATTEMPTS + 2
"""Uniform numbers that one random crop takes: area and ratio of each attempt, then the corner."""


def crop_boxes(
    heights: Tensor | int,
    widths: Tensor | int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    uniforms: Tensor,
) -> Tensor:
    """Boxes [batch, 4] int64 (top, left, height, width) of random resized crops.

    The distribution of torchvision's `RandomResizedCrop.get_params`: ten attempts at a share of the area in `scale`
    and a log-uniform aspect `ratio`; the first that fits, else the centre, as large as `ratio` allows.

    Args:
        heights: of the images, pixels: [batch] int64, or one for all.
        widths: of the images, pixels, likewise.
        scale: smallest and largest share of the area.
        ratio: smallest and largest width / height.
        uniforms: [batch, CROP_UNIFORMS] in 0..1.
    """
    height, width = (torch.as_tensor(size, device=uniforms.device).expand(len(uniforms)) for size in (heights, widths))
    area = (height * width)[:, None] * (scale[0] + (scale[1] - scale[0]) * uniforms[:, :CROP_ATTEMPTS])
    low, high = torch.tensor(ratio, dtype=torch.float64).log()
    aspect = (low + (high - low) * uniforms[:, CROP_ATTEMPTS : 2 * CROP_ATTEMPTS]).exp()
    crop_widths, crop_heights = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (crop_widths > 0) & (crop_widths <= width[:, None]) & (crop_heights > 0) & (crop_heights <= height[:, None])
    first = fits.int().argmax(1, keepdim=True)
    chosen_width, chosen_height = crop_widths.gather(1, first).squeeze(1), crop_heights.gather(1, first).squeeze(1)
    none_fits = ~fits.any(1)
    widest, highest = (height.double() * ratio[1]).round(), (width.double() / ratio[0]).round()
    chosen_width = torch.where(none_fits, torch.minimum(width, widest), chosen_width)
    chosen_height = torch.where(none_fits, torch.minimum(height, highest), chosen_height)
    top = torch.where(
        none_fits, (height - chosen_height) // 2, (uniforms[:, -2] * (height - chosen_height + 1)).floor()
    )
    left = torch.where(none_fits, (width - chosen_width) // 2, (uniforms[:, -1] * (width - chosen_width + 1)).floor())
    return torch.stack([top, left, chosen_height, chosen_width], dim=1).long()


def extents(images: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Height and width [batch] int64 of each image."""
    shapes = torch.tensor([image.shape[-2:] for image in images]).view(-1, 2)
    return shapes[:, 0], shapes[:, 1]


def enlarged_crops(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Crops each image [batch, 3, height, width] uint8 to its box and enlarges it to float32 [batch, 3, size, size].

    Bilinear, as torchvision's `resized_crop`, by one sampling of the whole batch; a crop that must shrink needs
    antialiasing, which this does not do.
    """
    height, width = images.shape[-2:]
    centres = (torch.arange(size, device=images.device, dtype=torch.float32) + 0.5) / size
    rows = _source_positions(centres, boxes[:, 0], boxes[:, 2], height)
    columns = _source_positions(centres, boxes[:, 1], boxes[:, 3], width)
    grid = torch.stack([columns[:, None, :].expand(-1, size, -1), rows[:, :, None].expand(-1, -1, size)], dim=-1)
    return functional.grid_sample(images.float(), grid, mode="bilinear", align_corners=False)


def _source_positions(centres: Tensor, start: Tensor, length: Tensor, extent: int) -> Tensor:
    """Where each output pixel [size] lies in the image, in grid_sample's -1..1, for every box: [batch, size].

    Clamped to the centres of the box's own pixels, so that nothing outside the crop is mixed in.
    """
    position = centres * length[:, None] - 0.5
    inside = torch.minimum(position.clamp(min=0), length[:, None] - 1.0) + start[:, None]
    return (2 * inside + 1) / extent - 1


def flipped(images: Tensor, uniforms: Tensor) -> Tensor:
    """Mirrors those images [batch, 3, height, width] left to right whose number [batch] is below one half."""
    return torch.where((uniforms < 0.5)[:, None, None, None], images.flip(-1), images)
