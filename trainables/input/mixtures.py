"""Training sets put together from others: a share of each class from either, all of both, so many of each class."""

from __future__ import annotations

import torch
from torch import Tensor

from datagen.core.errors import InputError
from datagen.core.identity import derived_seed
from trainables.input.data import Images, ImageSet


class JoinedImages:
    """The images of two sets under one numbering, the first set's before the second's; of any sizes."""

    def __init__(self, first: Tensor | Images, second: Tensor | Images) -> None:
        self._parts = (first, second)

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def __getitem__(self, positions: Tensor) -> list[Tensor]:
        """The images at positions [n], each [3, height, width] uint8."""
        first, second = self._parts
        in_second = positions >= len(first)
        found: list[Tensor] = [torch.empty(0)] * len(positions)
        for part, chosen, offset in ((first, ~in_second, 0), (second, in_second, len(first))):
            places = chosen.nonzero().flatten()
            if len(places):
                for place, image in zip(places.tolist(), part[positions[places] - offset], strict=True):
                    found[place] = image
        return found


def mixture(first: ImageSet, second: ImageSet, share: float, seed: int) -> ImageSet:
    """As many images of each class as `first` has, `share` of them its own and the rest from `second`.

    Nested: with the same seed, the first set's images at a smaller share are among those at a larger one.

    Args:
        first: the set whose size and balance are kept.
        second: the set that fills up; it must have enough images of each class.
        share: 0..1, rounded to whole images in each class.
        seed: of the choice.
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, "mixture"))
    chosen = []
    for label in first.labels.unique(sorted=True):
        own = (first.labels == label).nonzero().flatten()
        other = (second.labels == label).nonzero().flatten()
        own = own[torch.randperm(len(own), generator=generator)]
        other = other[torch.randperm(len(other), generator=generator)]
        kept = round(len(own) * share)
        if len(own) - kept > len(other):
            raise ValueError(f"class {int(label)} needs {len(own) - kept} images to fill up, there are {len(other)}")
        chosen += [own[:kept], other[: len(own) - kept] + len(first)]
    positions = torch.cat(chosen).sort().values
    labels = torch.cat([first.labels, second.labels])[positions]
    if isinstance(first.images, Tensor) and isinstance(second.images, Tensor):
        if first.images.shape[1:] == second.images.shape[1:]:
            return ImageSet(torch.cat([first.images, second.images])[positions], labels)
    return ImageSet(ChosenImages(JoinedImages(first.images, second.images), positions), labels)


def union(first: ImageSet, second: ImageSet) -> ImageSet:
    """All images of two sets, the first's before the second's."""
    labels = torch.cat([first.labels, second.labels])
    if isinstance(first.images, Tensor) and isinstance(second.images, Tensor):
        if first.images.shape[1:] == second.images.shape[1:]:
            return ImageSet(torch.cat([first.images, second.images]), labels)
    return ImageSet(JoinedImages(first.images, second.images), labels)


def subset(whole: ImageSet, per_class: int, seed: int) -> ImageSet:
    """So many images of each class; nested: a smaller subset lies in a larger one of the same seed.

    Raises:
        InputError: a class has too few.
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, "subset of a set"))
    chosen = []
    for label in whole.labels.unique(sorted=True):
        own = (whole.labels == label).nonzero().flatten()
        if len(own) < per_class:
            raise InputError(f"Class {int(label)} has {len(own)} images, and {per_class} of each class are asked for.")
        chosen.append(own[torch.randperm(len(own), generator=generator)[:per_class]])
    positions = torch.cat(chosen).sort().values
    if isinstance(whole.images, Tensor):
        return ImageSet(whole.images[positions], whole.labels[positions])
    return ImageSet(ChosenImages(whole.images, positions), whole.labels[positions])


class ChosenImages:
    """Some of the images of a set, renumbered."""

    def __init__(self, images: Images, positions: Tensor) -> None:
        self._images, self._positions = images, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, positions: Tensor) -> list[Tensor]:
        """The images at positions [n], each [3, height, width] uint8."""
        return self._images[self._positions[positions]]
