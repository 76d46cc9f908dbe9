"""What every view is: a function of a batch and of uniform numbers, a row for each sample."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from trainables.spec import TrainingSpec


class View(Protocol):
    """Turns images [batch, 3, height, width] uint8 into [batch, 3, size, size] in 0..255.

    All its randomness is in `uniforms` [batch, self.uniforms] float64 in 0..1, the sample's own row.
    """

    uniforms: int

    def __init__(self, spec: TrainingSpec) -> None: ...

    def __call__(self, images: Tensor, uniforms: Tensor) -> Tensor:
        """The views of a batch."""
