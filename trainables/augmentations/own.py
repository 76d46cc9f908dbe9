"""A user's own augmentation: a function of one image, or of one image and a generator, or a library's transform.

Of torchvision, albumentations and kornia an object is taken as it is, each called as its library calls it.

What it draws depends on (seed, epoch, image) alone, as with all others. A function that takes a generator runs in
threads. One that does not draws from the generators that torch, NumPy and Python share within a process, which are
seeded for each image and put back; it runs in one thread.
"""

from __future__ import annotations

import functools
import inspect
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from datagen.core.errors import InputError
from datagen.core.own_code import loaded, name_of
from trainables.input.threads import in_threads
from trainables.spec import TrainingSpec

_shared_generators = threading.Lock()


class OwnAugmentation:
    """Calls what the user has written with each image, [3, height, width] uint8.

    It returns one crop, [3, height, width], or a list with a tensor [crops, 3, height, width] for each resolution, as
    uint8 in 0..255 or as floats in 0..1. A class is first made, with the side of the network's square if it takes one.

    Raises:
        InputError: it cannot be run.
    """

    uniforms = 1

    def __init__(self, spec: TrainingSpec) -> None:
        self._name = name_of(spec.augmentation)
        made = loaded(spec.augmentation, spec.own_sources)
        if isinstance(made, type):
            made = made(spec.image_size) if _parameters(made) else made()
        self._change, self._takes_generator = made, False
        if adapter := _ADAPTERS.get(type(made).__module__.partition(".")[0]):
            self._change = functools.partial(adapter, made)
        elif not isinstance(made, nn.Module):
            self._takes_generator = _parameters(made) > 1

    def __call__(
        self, images: Tensor | Sequence[Tensor], uniforms: Tensor, device: torch.device | None = None
    ) -> list[Tensor]:
        """The crops of a batch, one tensor [crops x batch, 3, height, width] for each resolution, 0..255.

        Raises:
            InputError: what it gives is no image, or differs in shape from image to image.
        """
        seeds = (uniforms[:, 0] * 2.0**53).long().tolist()
        numbers = range(len(images))
        if self._takes_generator:
            crops = in_threads(lambda n: self._crops(images[n].cpu(), torch.Generator().manual_seed(seeds[n])), numbers)
        else:
            with _shared_generators, _put_back():
                crops = [self._drawn(images[n].cpu(), seeds[n]) for n in numbers]
        if len({tuple(group.shape for group in one) for one in crops}) > 1:
            raise InputError(
                f"{self._name} gives crops of different shapes for different images. Let it crop or resize."
            )
        by_resolution = [torch.stack(groups) for groups in zip(*crops, strict=True)]  # [batch, crops, 3, h, w]
        return [group.transpose(0, 1).flatten(0, 1).contiguous() for group in by_resolution]

    def _drawn(self, image: Tensor, seed: int) -> list[Tensor]:
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        return self._crops(image)

    def _crops(self, *arguments: Any) -> list[Tensor]:
        """What it gives for one image: for each resolution [crops, 3, height, width], 0..255."""
        given = self._change(*arguments)
        groups = [given[None]] if isinstance(given, Tensor) else list(given) if isinstance(given, list | tuple) else []
        if not groups or any(
            not isinstance(group, Tensor) or group.shape[1:2] != (3,) or group.ndim != 4 for group in groups
        ):
            raise InputError(
                f"{self._name} must give an image [3, height, width], or a list with a tensor "
                "[crops, 3, height, width] for each resolution."
            )
        return [group.float() * 255 if group.is_floating_point() else group for group in groups]


def _as_albumentations(transform: Any, image: Tensor) -> Tensor:
    """Of a NumPy array [height, width, 3], by keyword, and with generators of its own that are seeded."""
    transform.set_random_seed(int(torch.randint(2**31, ())))
    changed = transform(image=image.permute(1, 2, 0).contiguous().numpy())["image"]
    return torch.from_numpy(np.ascontiguousarray(changed)).permute(2, 0, 1)


def _as_kornia(transform: Any, image: Tensor) -> Tensor:
    """Of a batch [n, 3, height, width] of floats in 0..1."""
    changed: Tensor = transform(image[None].float() / 255)
    return changed[0]


_ADAPTERS = {"albumentations": _as_albumentations, "kornia": _as_kornia}
"""How to call a library's transform with an image [3, height, width] uint8."""


def _parameters(function: Any) -> int:
    """How many arguments it may be called with by position."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


@contextmanager
def _put_back() -> Iterator[None]:
    """Leaves the generators that a process shares as they were."""
    states = torch.random.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.random.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
