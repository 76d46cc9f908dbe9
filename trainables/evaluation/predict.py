"""Predictions of a stored network, made as its training evaluates."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from trainables.distributed import DistributedContext
from trainables.evaluation.evaluation_set import EvaluationSet, evaluates_by_batch, in_halves
from trainables.input.data import ImageSet
from trainables.input.pixel_statistics import IMAGENET, PixelStatistics, statistics_of
from trainables.spec import TrainingSpec
from trainables.trunk import evaluation_mode, layers_of


def predict(
    spec: TrainingSpec,
    state: dict[str, Tensor],
    images: ImageSet,
    training_statistics: PixelStatistics | None = None,
    *,
    folder: Path | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """The logits of all images of a set, less each image's largest, [n, classes] float16 in the set's order.

    Args:
        spec: of the training.
        state: the network's, under timm's names.
        images: the set.
        training_statistics: by which the training's images were normalized, where the spec normalizes by the data's.
        folder: the set's, where its statistics may be stored.
        device: to compute on; the CPU by default.
    """
    context = DistributedContext(device=device or torch.device("cpu"))
    layers = layers_of(spec).to(context.device)
    with torch.no_grad():
        layers.load_timm_state(state)
    statistics = IMAGENET
    if spec.normalization == "exact":
        own = spec.exact_statistics == "own" or training_statistics is None
        everything = torch.arange(len(images))
        statistics = statistics_of(images, everything, folder) if own else training_statistics or IMAGENET
    by_batch = evaluates_by_batch(spec, spec.epochs)
    prepared = EvaluationSet(spec, images, statistics, context, prefetches=context.device.type == "cuda")
    positions, logits = [], []
    with evaluation_mode([layers], by_batch=by_batch):
        for inputs in prepared.inputs(by_batch=by_batch):
            positions.append(inputs.positions)
            with torch.inference_mode():
                logits.append(in_halves(layers(inputs.crops[0])))
    return prepared.whole(positions, logits)
