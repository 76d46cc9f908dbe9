"""Frozen features are computed once where images look the same in every epoch, and no bit is another for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from trainables import features, loop
from trainables.features import KeptFeatures, may_keep
from trainables.input.data import ImageSet
from trainables.loop import Trained, train_cohort
from trainables.spec import TrainingSpec
from trainables.trunk import Trunk


@pytest.fixture(scope="module")
def base(base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet) -> Trained:
    return train_cohort([replace(base_spec, augmentation="none")], train_images, validation_images)[0]


@pytest.mark.parametrize("changes", [{}, {"precision": "bfloat16"}, {"batch_size": 20}], ids=str)
def test_kept_features_train_the_same_network_bit_for_bit_with_fewer_passes(
    changes: dict, base: Trained, train_images: ImageSet, validation_images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    forward = Trunk.__call__

    def counted(trunk: Trunk, views: torch.Tensor, *, training: bool) -> dict[int, torch.Tensor]:
        passes.append(training)
        return forward(trunk, views, training=training)

    monkeypatch.setattr(Trunk, "__call__", counted)
    spec = replace(base.spec, source=base.spec, frozen_layers=15, epochs=6, **changes)
    members = [spec.at_depth(depth) for depth in (15, 17)]
    kept = train_cohort(members, train_images, validation_images, base.state)
    with_features = sum(passes)
    monkeypatch.setattr(loop, "may_keep", lambda spec: False)
    passes.clear()
    plain = train_cohort(members, train_images, validation_images, base.state)
    assert with_features <= sum(passes) / 2
    for one, other in zip(kept, plain, strict=True):
        assert all(torch.equal(one.state[key], other.state[key]) for key in one.state)
        assert [row["train_loss"] for row in one.history] == [row["train_loss"] for row in other.history]


def test_features_that_would_not_fit_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "KEPT_LIMIT", 4 * 10 * 8)
    positions = torch.tensor([3, 1])
    for width, fits in ((8, True), (9, False)):
        kept = KeptFeatures(10)
        kept.keep(positions, {17: torch.ones(2, width)})
        assert kept.knows(positions) == fits
        assert not kept.knows(torch.tensor([3, 2]))


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, True),
        ({"augmentation": "pytorch_example"}, False),
        ({"frozen_batchnorm": "train"}, False),
        ({"normalization": "batchnorm_train"}, True),
        ({"normalization": "batchnorm_train", "batchnorm_evaluation_statistics": "drifting"}, False),
    ],
)
def test_only_features_that_never_change_are_kept(changes: dict, kept: bool, base: Trained) -> None:
    assert may_keep(replace(base.spec, source=base.spec, frozen_layers=17, **changes)) == kept
    assert not may_keep(replace(base.spec, **changes))
