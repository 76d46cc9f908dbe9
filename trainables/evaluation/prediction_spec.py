"""What predictions are: what a stored network says of each image of a set. No torch here: a plan names them."""

from __future__ import annotations

from dataclasses import dataclass

from datagen.core.errors import InputError
from datagen.core.identity import Spec, identity
from datagen.datasets.spec import DatasetSpec
from trainables.spec import TrainingSpec


@dataclass(frozen=True, kw_only=True)
class PredictionSpec(Spec):
    """The logits of a training's network for every image of a set, in the set's order.

    Images are prepared and normalized, and BatchNorm is used, as the training's own evaluation does it; by the set's
    own statistics where `normalization=exact` has the validation images' own.

    Raises:
        InputError: the set shares no class with the training.
    """

    training: TrainingSpec = identity()
    images: DatasetSpec = identity()
    labels: tuple[int, ...] = identity(
        (), help="of each class of the set, which of the training's it is, -1 for none; nothing: the same classes"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels and max(self.labels) < 0:
            raise InputError(f"{self.images.title} shares no class with the training {self.training.title}.")

    @property
    def title(self) -> str:
        """For example "synthetic->real N=16 s0 on noise:3"."""
        return f"{self.training.title} on {self.images.title}"

    @property
    def shared_classes(self) -> tuple[int, ...]:
        """The training's classes that the set has, ascending."""
        classes = range(len(self.training.train.class_names))
        return tuple(classes) if not self.labels else tuple(sorted({label for label in self.labels if label >= 0}))
