"""Sets made of others without drawing or storing anything: they are put together when they are read."""

from __future__ import annotations

from dataclasses import dataclass

from datagen.core.errors import InputError
from datagen.core.identity import identity
from datagen.datasets.spec import NOT_IMPORTED, DatasetSpec, RealDataset
from datagen.datasets.transformations import transformation


class VirtualDataset(DatasetSpec):
    """A set that is never stored: what it is made from stands for it."""


def stored_parts(spec: DatasetSpec) -> tuple[DatasetSpec, ...]:
    """The stored sets that make up one: itself, or what a set that is never stored is put together from."""
    if not isinstance(spec, VirtualDataset):
        return (spec,)
    return tuple(part for made in spec.made_from for part in stored_parts(made))


def is_known(spec: DatasetSpec) -> bool:
    """Whether it is known how many images a set has: not before real ones are imported."""
    return all(part.digest != NOT_IMPORTED for part in stored_parts(spec) if isinstance(part, RealDataset))


@dataclass(frozen=True, kw_only=True)
class MixedDataset(VirtualDataset):
    """As many images as `first` has, a share of each class from `first` and the rest from `second`; never stored.

    Raises:
        InputError: the classes differ, or `second` has too few images.
    """

    first: DatasetSpec = identity()
    second: DatasetSpec = identity()
    share: float = identity(minimum=0, maximum=1, help="of the first set's images, in each class")
    dataset_seed: int = identity(0, minimum=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.first.class_names == self.second.class_names == self.class_names:
            raise InputError(f"{self.first.name} and {self.second.name} have different classes and cannot be mixed.")
        if self.first.images * (1 - self.share) > self.second.images:
            raise InputError(
                f"A mixture with {self.share:.0%} {self.first.name} needs {self.first.images * (1 - self.share):.0f} "
                f"{self.second.name} images, but there are {self.second.images}."
            )

    @property
    def images(self) -> int:
        """As many as the first set has."""
        return self.first.images

    @property
    def made_from(self) -> tuple[DatasetSpec, ...]:
        """The two sets."""
        return (self.first, self.second)


@dataclass(frozen=True, kw_only=True)
class UnionDataset(VirtualDataset):
    """All images of two sets, each as often as the other.

    Raises:
        InputError: the classes differ.
    """

    first: DatasetSpec = identity()
    second: DatasetSpec = identity()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.first.class_names == self.second.class_names == self.class_names:
            raise InputError(f"{self.first.name} and {self.second.name} have different classes and cannot be joined.")

    @property
    def images(self) -> int:
        """Those of both."""
        return self.first.images + self.second.images

    @property
    def made_from(self) -> tuple[DatasetSpec, ...]:
        """The two sets."""
        return (self.first, self.second)


@dataclass(frozen=True, kw_only=True)
class SubsetDataset(VirtualDataset):
    """So many images of each class of a set; nested: a smaller subset lies in a larger one of the same seed.

    Raises:
        InputError: the set has too few images.
    """

    whole: DatasetSpec = identity()
    per_class: int = identity(minimum=1, help="images of each class")
    dataset_seed: int = identity(0, minimum=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.images > self.whole.images and is_known(self.whole):
            raise InputError(
                f"{self.per_class} images a class are {self.images} of {self.whole.name}, and there are "
                f"{self.whole.images}."
            )

    @property
    def images(self) -> int:
        """Images of all classes together."""
        return len(self.class_names) * self.per_class

    @property
    def made_from(self) -> tuple[DatasetSpec, ...]:
        """The whole set."""
        return (self.whole,)


@dataclass(frozen=True, kw_only=True)
class TransformedDataset(VirtualDataset):
    """All images of a set, each changed by the same operation; noise is drawn for each image.

    Raises:
        InputError: there is no such transformation.
    """

    whole: DatasetSpec = identity()
    transformation: str = identity(help="an operation and a strength from 1 to 5, such as noise:3")
    dataset_seed: int = identity(0, minimum=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "transformation", transformation(self.transformation))

    @property
    def images(self) -> int:
        """As many as the set has."""
        return self.whole.images

    @property
    def made_from(self) -> tuple[DatasetSpec, ...]:
        """The set."""
        return (self.whole,)
