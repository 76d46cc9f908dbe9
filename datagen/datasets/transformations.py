"""What may be done to all images of a set before it is used: corruptions and filters, each at five strengths.

Corruptions are ImageNet-C's (Hendrycks and Dietterich, ICLR 2019) where they are the same operation, with its
strengths; lengths, which are there for 224 px, are shares of an image's shorter side. No torch here: a plan names them.
"""

from __future__ import annotations

import re

from datagen.core.errors import InputError
from datagen.core.settings import nearest

STRENGTHS: dict[str, tuple[float, ...]] = {
    "noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "blur": (0.4 / 32, 0.6 / 32, 0.7 / 32, 0.8 / 32, 1 / 32),  # CIFAR-10-C's; ImageNet-C's first is none at 32 px.
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
    "jpeg": (25, 18, 15, 10, 7),
    "low_pass": (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32),
    "high_pass": (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2),
    "resolution": (1 / 2, 1 / 3, 1 / 4, 1 / 6, 1 / 8),
    "grey": (1.0, 1.0, 1.0, 1.0, 1.0),
}
"""By operation, for strengths 1 to 5: the standard deviation of Gaussian noise, of pixels in 0..1; the standard
deviation of a Gaussian blur, of the side; what is left of the contrast; JPEG's quality; the spatial frequencies that a
filter lets pass or takes away, as a share of the highest; the side to which an image is made smaller and back. Grey has
no strength."""
CORRUPTIONS = ("noise", "blur", "contrast", "jpeg")
_WORD = re.compile(r"(?P<name>[a-z_]+)(?::(?P<strength>[1-5]))?")


def is_transformation(text: str) -> bool:
    """Whether a text names one, such as "noise:3"."""
    found = _WORD.fullmatch(text)
    return found is not None and found["name"] in STRENGTHS


def transformation(text: str) -> str:
    """A transformation with its strength, "noise:3"; "grey" stands for "grey:1".

    Raises:
        InputError: there is no such operation, or its strength is missing.
    """
    found = _WORD.fullmatch(text)
    if not found or found["name"] not in STRENGTHS:
        name = text.partition(":")[0]
        raise InputError(
            f"A transformation is an operation and a strength from 1 to 5, such as noise:3, not {text!r}. "
            f"{nearest(name, sorted(STRENGTHS))}"
        )
    if found["name"] == "grey":
        return "grey:1"
    if found["strength"] is None:
        raise InputError(f"{text} needs a strength from 1 to 5: {text}:3.")
    return text


def strength_of(text: str) -> tuple[str, float]:
    """The operation and its parameter, as `STRENGTHS` has it, of "noise:3"."""
    name, _, number = transformation(text).partition(":")
    return name, STRENGTHS[name][int(number) - 1]
