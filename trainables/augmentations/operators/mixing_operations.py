"""The image operations that AugMix and PixMix draw from, at the references' levels, by torchvision."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as operators

LEVELS = 10

OPERATIONS = (
    *("autocontrast", "equalize", "posterize", "rotate", "solarize"),
    *("shear_x", "shear_y", "translate_x", "translate_y"),
)
"""AugMix's nine operations."""

ALL_OPERATIONS = (*OPERATIONS, "color", "contrast", "brightness", "sharpness")
"""With the four that overlap ImageNet-C's corruptions; PixMix's README uses them all."""


def augmented(image: Tensor, operation: str, severity: float, random: Callable[[], float]) -> Tensor:
    """Applies an operation at a random level up to `severity` (of 10) to an image [3, height, width] uint8.

    Levels as in the references: rotate up to 30 degrees, shear 0.3, translate a third of the side, posterize
    4 - int(level x 4 / 10) bits, solarize above 256 - int(level x 25.6), enhancements 0.1 + 1.8 level / 10.
    `random` gives numbers in 0..1.
    """
    level = 0.1 + (severity - 0.1) * random()
    if operation in _ENHANCEMENTS:
        result: Tensor = _ENHANCEMENTS[operation](image, 0.1 + level * 1.8 / LEVELS)
        return result
    if operation == "autocontrast":
        return operators.autocontrast(image)
    if operation == "equalize":
        return operators.equalize(image)
    if operation == "posterize":
        return operators.posterize(image, 4 - int(level * 4 / LEVELS))
    if operation == "solarize":
        return operators.solarize(image, 256 - int(level * 256 / LEVELS))
    return _moved(image, operation, level, 1.0 if random() < 0.5 else -1.0)


_ENHANCEMENTS = {
    "color": operators.adjust_saturation,
    "contrast": operators.adjust_contrast,
    "brightness": operators.adjust_brightness,
    "sharpness": operators.adjust_sharpness,
}


def _moved(image: Tensor, operation: str, level: float, side: float) -> Tensor:
    """Rotates about the centre, shears about the top left corner, or shifts, to one side (1 or -1); black fill."""
    height, width = image.shape[-2:]
    angle, shear, translate = 0.0, [0.0, 0.0], [0, 0]
    # PIL's affine transform, by which the references shear, has its origin there.
    center = [0.0, 0.0] if operation in ("shear_x", "shear_y") else None
    if operation == "rotate":
        angle = side * int(level * 30 / LEVELS)
    elif operation == "shear_x":
        shear = [float(torch.rad2deg(torch.atan(torch.tensor(side * level * 0.3 / LEVELS)))), 0.0]
    elif operation == "shear_y":
        shear = [0.0, float(torch.rad2deg(torch.atan(torch.tensor(side * level * 0.3 / LEVELS))))]
    elif operation == "translate_x":
        translate = [int(side * int(level * width / 3 / LEVELS)), 0]
    else:
        translate = [0, int(side * int(level * height / 3 / LEVELS))]
    return operators.affine(
        image, angle, translate, 1.0, shear, interpolation=InterpolationMode.BILINEAR, center=center
    )
