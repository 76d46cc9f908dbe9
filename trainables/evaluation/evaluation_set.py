"""How a training's networks are evaluated on a set: which images go together, and how they are prepared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from trainables.augmentations.apply import evaluation_images
from trainables.distributed import DistributedContext
from trainables.evaluation.record import evaluation_batches, evaluation_order_seed
from trainables.input.data import EVALUATION_BATCH, ImageSet
from trainables.input.pixel_statistics import PixelStatistics
from trainables.input.prefetch import Inputs, one_ahead, to_device
from trainables.spec import TrainingSpec

LARGEST_HALF = 65504.0
"""The largest float16: a logit that is farther below the largest is kept as this."""


class EvaluationSet:
    """Images to evaluate on, as this worker sees them."""

    def __init__(
        self,
        spec: TrainingSpec,
        images: ImageSet,
        statistics: PixelStatistics,
        context: DistributedContext,
        *,
        prefetches: bool,
    ) -> None:
        self._spec, self._images, self._statistics = spec, images, statistics
        self._context, self._prefetches = context, prefetches

    def __len__(self) -> int:
        return len(self._images)

    def inputs(self, *, by_batch: bool) -> Iterator[Inputs]:
        """Batches with this worker's images, each once; `by_batch`: of such composition that BatchNorm may use them."""
        batches = self._batches_by_statistics() if by_batch else self._batches()
        if self._prefetches:
            return one_ahead(self._prepared, batches, self._context.device)
        return map(self._prepared, batches)

    def whole(self, positions: Sequence[Tensor], logits: Sequence[Tensor]) -> Tensor:
        """The logits of all images [n, classes] float16 in the set's order, from each worker's batches of them."""
        classes = logits[0].shape[1]
        found = torch.zeros(len(self), classes, device=self._context.device)
        for places, values in zip(positions, logits, strict=True):
            found[to_device(places, found.device)] = values.to(found.device).float()
        return self._context.total(found).half().cpu()

    def _prepared(self, batch: Tensor) -> Inputs:
        """A batch of images, resized, cropped and normalized."""
        device = self._context.device
        images = evaluation_images(self._images.images[batch], self._spec, self._statistics, device)
        return Inputs(batch, to_device(self._images.labels[batch], device), [to_device(images, device)])

    def _batches(self) -> Sequence[Tensor]:
        return self._context.share(torch.arange(len(self._images))).split(EVALUATION_BATCH)

    def _batches_by_statistics(self) -> Sequence[Tensor]:
        """Batches of about the training's size, all nearly alike.

        A small last batch would have statistics of few images; one of a single image may have none.
        """
        order = self._images.labels.argsort(stable=True)
        if self._spec.batchnorm_evaluation_order == "shuffled":
            generator = torch.Generator().manual_seed(evaluation_order_seed(self._spec))
            order = torch.randperm(len(order), generator=generator)
        return [self._context.share(batch) for batch in order.tensor_split(evaluation_batches(self._spec, len(order)))]


def in_halves(logits: Tensor) -> Tensor:
    """Logits as they are kept, float16 on the CPU, less each image's largest.

    That changes no chance, and the nearer to the largest the finer: as they are, 2 in 1,000 pocket images would have
    two equal largest ones.
    """
    shifted = logits.float() - logits.float().amax(1, keepdim=True)
    return shifted.clamp(min=-LARGEST_HALF).half().cpu()


def evaluates_by_batch(spec: TrainingSpec, epoch: int) -> bool:
    """Whether BatchNorm takes its statistics from the evaluation batch in this epoch."""
    always = spec.batchnorm_evaluation_epochs == "every"
    return spec.normalization == "batchnorm_train" and (always or epoch == spec.epochs)
