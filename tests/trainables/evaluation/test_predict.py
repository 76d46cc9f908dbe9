"""What a stored network predicts is what its training saw at its last evaluation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from trainables.evaluation.evaluation_set import in_halves
from trainables.evaluation.predict import predict
from trainables.input.data import ImageSet
from trainables.loop import train_cohort
from trainables.spec import TrainingSpec

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "linear head": {"head": "linear", "weights_average": 0.5},
    "by the batch": {"normalization": "batchnorm_train"},
    "by its own statistics": {"normalization": "exact"},
    "by the training's statistics": {"normalization": "exact", "exact_statistics": "training"},
    "drifting trunk": {"frozen_batchnorm": "train", "frozen_layers": 16},
}


@pytest.mark.parametrize("name", WAYS)
def test_a_stored_network_predicts_what_its_training_saw_last(
    name: str, base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet
) -> None:
    changes = dict(WAYS[name])
    depth = changes.pop("frozen_layers", 0)
    spec, source = replace(base_spec, **{key: changes[key] for key in changes if key != "frozen_batchnorm"}), None
    (trained,) = train_cohort([spec], train_images, validation_images)
    if depth:
        spec, source = replace(spec, source=spec, frozen_layers=depth, **changes), trained.state
        (trained,) = train_cohort([spec], train_images, validation_images, source)
    assert trained.logits is not None
    found = predict(spec, trained.state, validation_images, trained.normalization)
    # Whole, layers and shared trunk are the same sums in the same order; halves hide nothing else.
    torch.testing.assert_close(found, trained.logits, atol=1e-3, rtol=1e-3)
    right = trained.logits.float().argmax(1) == validation_images.labels
    assert 100 * float(right.float().mean()) == pytest.approx(trained.history[-1]["top1"], abs=1e-4)


def test_a_training_that_failed_has_no_logits(
    base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet
) -> None:
    (trained,) = train_cohort([replace(base_spec, learning_rate=1e30)], train_images, validation_images)
    assert trained.failure is not None and trained.logits is None


def test_kept_logits_are_fine_where_it_matters_and_change_no_chance() -> None:
    logits = torch.tensor([[9.0, 9.0001, -40.0], [float("nan"), 1.0, 2.0], [-1e6, 0.0, 1e6]])
    kept = in_halves(logits).float()
    assert kept[0].argmax() == 1 and kept[0, 0] < 0
    torch.testing.assert_close(kept[0].softmax(0), logits[0].softmax(0), atol=1e-3, rtol=0)
    assert bool(kept[1].isnan().any())
    assert kept[2].tolist() == [-65504.0, -65504.0, 0.0]
