"""Noise, erasing, drawn operations and AugMix's consistency do what their names say, image by image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from trainables.augmentations.apply import Augmenter
from trainables.augmentations.randaugment import RandAugment, TrivialAugment
from trainables.input.pixel_statistics import IMAGENET
from trainables.recipe import build_loss
from trainables.spec import TrainingSpec

IMAGES = torch.randint(0, 256, (60, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def crops(spec: TrainingSpec, positions: torch.Tensor, **changes: Any) -> torch.Tensor:
    augmenter = Augmenter(replace(spec, augmentation="none", **changes), 60, IMAGENET)
    return augmenter(IMAGES[positions], positions, 1)[0]


def test_noise_has_its_deviation_and_nothing_leaves_the_range_of_pixels(base_spec: TrainingSpec) -> None:
    everything = torch.arange(60)
    plain, noisy = (crops(base_spec, everything, gaussian_noise=noise) for noise in (0.0, 0.1))
    std = torch.tensor(IMAGENET.std)[:, None, None]
    difference = (noisy - plain) * std
    inside = (plain * std + torch.tensor(IMAGENET.mean)[:, None, None] - 0.5).abs() < 0.15  # Too far in to be clamped.
    assert float(difference[inside].std()) == pytest.approx(0.1, rel=0.02)
    black = -torch.tensor(IMAGENET.mean)[:, None, None] / std
    assert bool((noisy >= black - 1e-5).all())


def test_so_many_crops_as_the_chance_says_lose_a_rectangle(base_spec: TrainingSpec) -> None:
    everything = torch.arange(60)
    plain, erased = (crops(base_spec, everything, random_erasing=chance) for chance in (0.0, 0.5))
    changed = (plain != erased).any(1)
    hit = changed.flatten(1).any(1)
    assert 20 <= int(hit.sum()) <= 40
    assert bool((erased.permute(1, 0, 2, 3)[:, changed] == 0).all())
    for one in changed[hit]:
        rows, columns = one.any(1).nonzero()[:, 0], one.any(0).nonzero()[:, 0]
        box = one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert bool(box.all())
        assert 0.01 < box.numel() / one.numel() < 0.37


def test_what_is_added_and_erased_depends_on_the_image_and_not_on_its_batch(base_spec: TrainingSpec) -> None:
    order = torch.tensor([7, 3, 11])
    changes = {"gaussian_noise": 0.1, "random_erasing": 1.0}
    assert torch.equal(crops(base_spec, order, **changes), crops(base_spec, torch.arange(60), **changes)[order])


@pytest.mark.parametrize("name", ["randaugment", "trivialaugment"])
def test_operations_and_magnitudes_are_torchvisions(name: str, base_spec: TrainingSpec) -> None:
    """With torchvision's own choices replayed, pixels are equal."""
    spec = replace(base_spec, augmentation=name, randaugment_operations=1, randaugment_magnitude=20)
    mine: RandAugment = TrivialAugment(spec) if name == "trivialaugment" else RandAugment(spec)
    theirs: Any = v2.TrivialAugmentWide() if name == "trivialaugment" else v2.RandAugment()
    space = theirs._AUGMENTATION_SPACE
    for number, image in enumerate(IMAGES[:40]):
        generator, replayed = np.random.default_rng(number), np.random.default_rng(number)
        found = mine._augmented(image, generator)
        operation = list(space)[replayed.integers(len(space))]
        magnitudes, signed = space[operation]
        steps = magnitudes(31, 32, 32)
        level = int(replayed.integers(31)) if name == "trivialaugment" and steps is not None else 20
        magnitude = 0.0 if steps is None else float(steps[level])
        magnitude = -magnitude if signed and replayed.random() <= 0.5 else magnitude
        picture = v2.functional.to_pil_image(image)
        expected = theirs._apply_image_or_video_transform(
            picture, operation, magnitude, interpolation=theirs.interpolation, fill=theirs._fill
        )
        assert torch.equal(found, v2.functional.pil_to_tensor(expected))


def test_consistency_is_the_clean_crops_loss_and_the_divergence_of_three(base_spec: TrainingSpec) -> None:
    spec = replace(base_spec, augmentation="augmix", jensen_shannon=12.0)
    (views,) = Augmenter(spec, 60, IMAGENET)(IMAGES[:4], torch.arange(4), 1)
    _, one, other = views.chunk(3)
    assert len(views) == 12
    assert not torch.equal(one, other)
    (mixed,) = Augmenter(replace(spec, jensen_shannon=0.0), 60, IMAGENET)(IMAGES[:4], torch.arange(4), 1)
    assert torch.equal(one, mixed)
    logits, labels = torch.randn(12, 3), torch.tensor([0, 1, 2, 0])
    p = logits.softmax(1).chunk(3)
    mean = sum(p) / 3
    divergence = sum((part * (part / mean).log()).sum(1).mean() for part in p) / 3  # type: ignore[union-attr]
    expected = torch.nn.functional.cross_entropy(logits[:4], labels) + 12 * divergence
    torch.testing.assert_close(build_loss(spec)(logits, labels.repeat(3)), expected)
    same = logits[:4].repeat(3, 1)
    torch.testing.assert_close(build_loss(spec)(same, labels.repeat(3)), build_loss(base_spec)(same[:4], labels))
