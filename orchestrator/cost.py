"""Estimates what an artifact costs, in seconds of one core or GPU, from a scale's measured rates."""

from __future__ import annotations

from collections.abc import Sequence

from datagen.spec import GeneratedDataset
from orchestrator.scale import Rates
from trainables.layers import layer_count
from trainables.spec import TrainingSpec

FORWARD_SHARE = 1 / 3
"""Of a training step's arithmetic: the backward pass costs twice the forward pass."""


def generation_seconds(spec: GeneratedDataset, rates: Rates) -> float:
    """Seconds to draw the data set on one core or GPU."""
    return spec.images / rates.generated


def cohort_seconds(members: Sequence[TrainingSpec], rates: Rates) -> float:
    """Seconds to train a cohort on one core or GPU.

    ResNet's layers cost about the same each, so a branch costs the share of layers above its cut, and the trunk one
    forward pass up to the deepest cut, for all members together.
    """
    spec = members[0]
    layers = layer_count(spec.model)
    trunk = max(member.frozen_layers for member in members) / layers
    branches = sum(1 - member.frozen_layers / layers for member in members)
    training = spec.train_images * (trunk * FORWARD_SHARE + branches) / rates.trained
    evaluation = spec.validation.images * (trunk + branches) * FORWARD_SHARE / rates.trained
    preparation = (spec.train_images + spec.validation.images) / rates.prepared
    return spec.epochs * (training + evaluation + preparation)
