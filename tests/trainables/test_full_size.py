"""The papers' networks at the papers' size: one step of each kind of training runs, on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.conftest import CLASSES
from trainables.input.data import ImageSet
from trainables.loop import train_cohort
from trainables.spec import TrainingSpec


@pytest.mark.parametrize("model", ["resnet50", "tiny_vit_5m_224"])
def test_a_multicrop_step_at_224_px_trains_from_scratch_and_every_kind_of_branch(
    model: str, base_spec: TrainingSpec
) -> None:
    generator = torch.Generator().manual_seed(0)
    images = ImageSet(
        torch.randint(0, 256, (2, 3, 240, 300), dtype=torch.uint8, generator=generator),
        torch.tensor([0, 1]) % len(CLASSES),
    )
    base = replace(
        base_spec,
        model=model,
        image_size=224,
        augmentation="dino_multicrop",
        local_size=96,
        local_crops=8,
        epochs=1,
        warmup_epochs=0,
        batch_size=2,
    )
    (scratch,) = train_cohort([base], images, images)
    assert scratch.failure is None
    members = [replace(base, source=base, frozen_layers=depth) for depth in (8, 16, 17)]
    for result in train_cohort(members, images, images, scratch.state):
        assert result.failure is None
        assert 0 < result.history[0]["train_loss"] < 20
