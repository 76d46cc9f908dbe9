"""What every augmentation is: a function of a batch and of uniform numbers, a row for each sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from trainables.input.threads import in_threads
from trainables.spec import TrainingSpec


class Augmentation(Protocol):
    """Turns images into one tensor of crops for each resolution, pixels in 0..255.

    Images are [batch, 3, height, width] uint8 or, if their sizes differ, as many [3, height, width] on the CPU. Crops
    of the same resolution stand in one tensor [crops x batch, 3, size, size], crop by crop. All randomness is in
    `uniforms` [batch, self.uniforms] float64 in 0..1 on the CPU, the sample's own row.
    """

    uniforms: int

    def __init__(self, spec: TrainingSpec) -> None: ...

    def __call__(
        self, images: Tensor | Sequence[Tensor], uniforms: Tensor, device: torch.device | None = None
    ) -> list[Tensor]:
        """The crops of a batch; `device`: where they are wanted, and where they may be finished."""


def each_in_threads(
    images: Tensor, uniforms: Tensor, change: Callable[[Tensor, np.random.Generator], Tensor]
) -> Tensor:
    """Changes each image, with a generator of its own seeded by the sample's number in `uniforms` [batch]."""
    seeds = (uniforms * 2.0**53).long().tolist()
    numbers = range(len(images))
    return torch.stack(in_threads(lambda n: change(images[n], np.random.Generator(np.random.PCG64(seeds[n]))), numbers))
