"""A batch in parts takes the steps of the whole batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from datagen.core.errors import InputError
from trainables.input.data import ImageSet, parts_of
from trainables.loop import train_cohort
from trainables.spec import TrainingSpec

BOUND = 1e-5
"""Of weights and loss after two epochs of three steps without BatchNorm: the sums are rounded in another order."""


def test_gradients_of_a_batchs_parts_add_up_to_those_of_the_batch(
    base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet
) -> None:
    spec = replace(base_spec, model="test_convnext", augmentation="none", learning_rate=0.1)
    whole, parts = (
        train_cohort([replace(spec, accumulate=accumulate)], train_images, validation_images)[0]
        for accumulate in (1, 3)
    )
    for key, value in whole.state.items():
        torch.testing.assert_close(parts.state[key], value, atol=BOUND, rtol=0)
    losses = [[row["train_loss"] for row in trained.history] for trained in (whole, parts)]
    assert losses[0] == pytest.approx(losses[1], abs=BOUND)


def test_every_image_is_in_one_part_and_the_last_completes_the_batch() -> None:
    batches = [torch.arange(7), torch.arange(7, 10), torch.arange(10, 11)]
    parts = list(parts_of(batches, accumulate=3, workers=2))
    assert [part.positions.tolist() for part in parts] == [[0, 1, 2], [3, 4], [5, 6], [7, 8, 9], [10]]
    assert [part.completes for part in parts] == [False, False, True, True, True]
    assert [len(part.batch) for part in parts] == [7, 7, 7, 3, 1]


def test_more_parts_than_images_are_refused(base_spec: TrainingSpec) -> None:
    with pytest.raises(InputError, match="workers=2 x accumulate=9 is more than there are images in a batch"):
        replace(base_spec, workers=2, accumulate=9)
