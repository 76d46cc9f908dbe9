"""What measures of a set are: how near it is to another, and how diverse, in a stored network's features."""

from __future__ import annotations

from dataclasses import dataclass

from datagen.core.identity import Spec, identity
from datagen.datasets.spec import DatasetSpec
from trainables.spec import TrainingSpec


@dataclass(frozen=True, kw_only=True)
class MeasureSpec(Spec):
    """The measures of a set against a reference, in the features below an encoder's classifier."""

    images: DatasetSpec = identity()
    reference: DatasetSpec = identity(help="usually the real training images")
    encoder: TrainingSpec = identity(help="usually the base that was trained on the reference")
    nearest: int = identity(5, minimum=1, help="neighbours of precision, recall, density and coverage")

    @property
    def title(self) -> str:
        """For example "synthetic guidance=7.5 against real"."""
        return f"{self.images.title} against {self.reference.title}"
