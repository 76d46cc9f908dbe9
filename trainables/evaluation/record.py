"""What a model's sidecar says of how it was evaluated, so that whoever has it and the weights gets the same top-1."""

from __future__ import annotations

import dataclasses
from typing import Any

from datagen.core.identity import derived_seed
from trainables.augmentations.none import evaluation_resize
from trainables.input.pixel_statistics import PixelStatistics
from trainables.models.networks import described_network
from trainables.spec import TrainingSpec


def evaluation_record(spec: TrainingSpec, training: PixelStatistics, evaluation: PixelStatistics) -> dict[str, Any]:
    """The network and its evaluation as plain values; `docs/evaluate_weights.py` is made from nothing else.

    Args:
        spec: of the training.
        training: by which the training images were normalized.
        evaluation: by which the validation images were.
    """
    return {
        "network": described_network(
            spec.model,
            len(spec.train.class_names),
            spec.network,
            head=spec.head,
            temperature=spec.temperature,
            image_size=spec.image_size,
            sources=spec.own_sources,
        ),
        "evaluation": {
            "dataset": {
                "name": spec.validation.name,
                "fingerprint": spec.validation.fingerprint,
                "images": spec.validation.images,
            },
            "resize_shorter_side": evaluation_resize(spec.image_size),
            "center_crop": spec.image_size,
            "interpolation": "bilinear",
            "antialias": True,
            "normalization": dataclasses.asdict(evaluation),
            "batchnorm": _batchnorm(spec),
        },
        "training_normalization": dataclasses.asdict(training),
    }


def evaluation_order_seed(spec: TrainingSpec) -> int:
    """Of the order of validation images that are evaluated by batches whose composition counts."""
    return derived_seed(spec.seed, "evaluation")


def evaluation_batches(spec: TrainingSpec, images: int) -> int:
    """Into how many such batches so many validation images are divided."""
    return max(1, round(images / spec.batch_size))


def _batchnorm(spec: TrainingSpec) -> dict[str, Any]:
    if spec.normalization != "batchnorm_train":
        return {"statistics": "stored"}
    shuffled = spec.batchnorm_evaluation_order == "shuffled"
    return {
        "statistics": "batch",
        "order": spec.batchnorm_evaluation_order,
        "torch_seed": evaluation_order_seed(spec) if shuffled else None,
        "batches": evaluation_batches(spec, spec.validation.images),
        # Of each batch, where BatchNorm sees one worker's images alone: every so manieth image is one's.
        "workers": 1 if spec.sync_batchnorm else spec.workers,
    }
