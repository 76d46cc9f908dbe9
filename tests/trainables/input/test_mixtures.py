"""A training set mixed of two: the promised share of each class, and nothing twice."""

from __future__ import annotations

import pytest
import torch

from datagen.core.errors import InputError
from datagen.datasets.spec import MixedDataset, RealDataset
from trainables.input.data import ImageSet
from trainables.input.mixtures import mixture


def images(value: int, per_class: int, size: int = 4) -> ImageSet:
    """Images of two classes; each has its own number in one pixel, and `value` in another."""
    labels = torch.arange(2).repeat(per_class)
    pixels = torch.full((2 * per_class, 3, size, size), value, dtype=torch.uint8)
    pixels[:, 0, 0, 0] = torch.arange(2 * per_class, dtype=torch.uint8)
    return ImageSet(pixels, labels)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("size", [4, 5])
def test_each_class_has_the_promised_share_of_both_sets(share: float, size: int) -> None:
    mixed = mixture(images(1, 8), images(2, 12, size), share, seed=0)
    shown = mixed.images[torch.arange(len(mixed))]
    origin = torch.tensor([int(image[0, 1, 1]) for image in shown])
    for label in (0, 1):
        of_class = origin[mixed.labels == label]
        assert (of_class == 1).sum() == round(8 * share)
        assert len(of_class) == 8
    assert len({(int(o), int(image[0, 0, 0])) for o, image in zip(origin, shown, strict=True)}) == 16


def test_a_smaller_share_of_the_first_set_is_part_of_a_larger_one() -> None:
    def own(share: float) -> set[int]:
        mixed = mixture(images(1, 8), images(2, 12), share, seed=3)
        return {int(image[0, 0, 0]) for image in mixed.images[torch.arange(len(mixed))] if image[0, 1, 1] == 1}

    assert own(0.25) < own(0.5) < own(1.0)


def test_too_few_images_to_fill_up_with_are_refused_when_planning() -> None:
    def dataset(rows: int) -> RealDataset:
        return RealDataset(name="real", class_names=("a",), split="train", digest="0", rows=rows, folder="x")  # type: ignore[arg-type]

    with pytest.raises(InputError, match="needs 75 real images, but there are 50"):
        MixedDataset(name="mixed", class_names=("a",), first=dataset(100), second=dataset(50), share=0.25)
