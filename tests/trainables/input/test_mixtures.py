"""Training sets put together from others: the promised images of each class, and nothing twice."""

from __future__ import annotations

import pytest
import torch

from datagen.core.errors import InputError
from datagen.datasets.spec import RealDataset
from datagen.datasets.virtual import MixedDataset, SubsetDataset, UnionDataset, stored_parts
from trainables.input.data import ImageSet
from trainables.input.mixtures import mixture, subset, union


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


@pytest.mark.parametrize("size", [4, 5])
def test_a_union_has_every_image_of_both_once(size: int) -> None:
    both = union(images(1, 3), images(2, 5, size))
    shown = both.images[torch.arange(len(both))]
    assert [(int(image[0, 1, 1]), int(image[0, 0, 0])) for image in shown] == [
        *((1, number) for number in range(6)),
        *((2, number) for number in range(10)),
    ]
    assert both.labels.tolist() == [0, 1] * 8


def test_a_subset_has_so_many_of_each_class_and_lies_in_every_larger_one() -> None:
    def numbers(per_class: int, seed: int = 3) -> list[int]:
        some = subset(images(1, 8), per_class, seed)
        assert some.labels.bincount().tolist() == [per_class] * 2
        return [int(image[0, 0, 0]) for image in some.images[torch.arange(len(some))]]

    assert set(numbers(2)) < set(numbers(5)) < set(numbers(8)) == set(range(16))
    assert numbers(5) == sorted(numbers(5)) != numbers(5, seed=4)


def test_a_subset_of_a_union_of_images_of_two_sizes_is_a_set_like_any_other() -> None:
    some = subset(union(images(1, 4), images(2, 4, 5)), 3, seed=0)
    assert len(some.images[torch.arange(6)]) == 6


def test_a_class_with_too_few_images_is_named() -> None:
    uneven = ImageSet(torch.zeros(5, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 0, 0, 0, 1]))
    with pytest.raises(InputError, match="Class 1 has 1 images, and 2 of each class are asked for"):
        subset(uneven, 2, seed=0)


def dataset(rows: int, *classes: str) -> RealDataset:
    names = classes or ("a",)
    return RealDataset(name="real", class_names=names, split="train", digest="0", rows=rows, folder="x")  # type: ignore[arg-type]


def test_sets_that_do_not_go_together_are_refused_when_planning() -> None:
    with pytest.raises(InputError, match="needs 75 real images, but there are 50"):
        MixedDataset(name="mixed", class_names=("a",), first=dataset(100), second=dataset(50), share=0.25)
    with pytest.raises(InputError, match="30 images a class are 60 of real, and there are 50"):
        SubsetDataset(name="real", class_names=("a", "b"), whole=dataset(50, "a", "b"), per_class=30)
    with pytest.raises(InputError, match="real and real have different classes and cannot be joined"):
        UnionDataset(name="union", class_names=("a",), first=dataset(50), second=dataset(50, "b"))


def test_what_is_put_together_is_stored_as_its_parts() -> None:
    first, second = dataset(50), dataset(40)
    part = SubsetDataset(name="real", class_names=("a",), whole=first, per_class=5)
    both = UnionDataset(name="union", class_names=("a",), first=part, second=second)
    assert stored_parts(both) == (first, second)
    assert both.images == 45
