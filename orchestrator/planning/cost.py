"""Estimates what an artifact costs, in seconds of one core or GPU, from a scale's measured rates."""

from __future__ import annotations

from collections.abc import Sequence

from datagen.datasets.spec import DerivedDataset
from orchestrator.provisions import Rates
from trainables.evaluation.measure_spec import MeasureSpec
from trainables.evaluation.prediction_spec import PredictionSpec
from trainables.spec import TrainingSpec

CORE_OF_GPU = 1 / 1000
"""A core beside an A100: ResNet-50 at 224 px takes a core 0.4 s a view, by its arithmetic. A guess."""
FORWARD_SHARE = 1 / 3
"""Of a training step's arithmetic: the backward pass costs twice the forward pass."""


def making_seconds(spec: DerivedDataset, rates: Rates) -> float:
    """Seconds to make the data set on one core or GPU, at most; 0 where nobody knows."""
    return (spec.seconds or 0.0) / rates.made


def views_of(spec: TrainingSpec) -> float:
    """What one image costs, in views of the full size: multi-crop's local crops count by their area (1 + 8: 2.47)."""
    if spec.augmentation != "dino_multicrop":
        return 3.0 if spec.jensen_shannon and spec.augmentation == "augmix" else 1.0
    return 1 + spec.local_crops * (spec.local_size / spec.image_size) ** 2


def prediction_seconds(spec: PredictionSpec, rates: Rates) -> float:
    """Seconds to predict a set's images on one core or GPU: a forward pass of each."""
    return spec.images.images * (FORWARD_SHARE / rates.trained + 1 / rates.prepared)


def measure_seconds(spec: MeasureSpec, rates: Rates) -> float:
    """Seconds to measure a set on one core or GPU: a forward pass of its images and of the reference's."""
    return (spec.images.images + spec.reference.images) * (FORWARD_SHARE / rates.trained + 1 / rates.prepared)


def cohort_seconds(members: Sequence[TrainingSpec], rates: Rates) -> float:
    """Seconds to train a cohort on one core or GPU.

    ResNet's layers cost about the same each, so a branch costs the share of layers above its cut, and the trunk one
    forward pass up to the deepest cut, for all members together.
    """
    spec = members[0]
    layers = spec.depth
    trunk = max(member.frozen_layers for member in members) / layers
    branches = sum(1 - member.frozen_layers / layers for member in members)
    training = spec.train_images * views_of(spec) * (trunk * FORWARD_SHARE + branches) / rates.trained
    evaluation = spec.validation.images * (trunk + branches) * FORWARD_SHARE / rates.trained
    preparation = (spec.train_images + spec.validation.images) / rates.prepared
    return spec.epochs * (training + evaluation + preparation)
