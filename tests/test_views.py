"""Views: what a network is shown depends on the seed, the epoch and the image, and on nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from trainables.data import ImageSet
from trainables.spec import VIEWS, TrainingSpec
from trainables.views import IMAGENET_MEAN, IMAGENET_STD, VIEWS_BY_NAME, Views, evaluation_view, normalized


def test_every_view_that_a_spec_allows_exists() -> None:
    assert set(VIEWS) == set(VIEWS_BY_NAME)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_has_the_networks_size_whatever_the_image(name: str, base_spec: TrainingSpec) -> None:
    views = Views(replace(base_spec, views=name, image_size=64))
    images = torch.randint(0, 256, (2, 3, 90, 120), dtype=torch.uint8)
    assert views(images, torch.arange(2), 1).shape == (2, 3, 64, 64)


def test_a_sample_looks_the_same_in_any_batch(base_spec: TrainingSpec, train_images: ImageSet) -> None:
    views = Views(base_spec)
    positions = torch.tensor([3, 9, 4])
    together = views(train_images.images[positions], positions, epoch=2)
    for row, position in enumerate(positions):
        alone = views(train_images.images[position][None], position[None], epoch=2)
        assert torch.equal(alone[0], together[row])


def test_a_sample_looks_different_in_another_epoch_or_for_another_seed(
    base_spec: TrainingSpec, train_images: ImageSet
) -> None:
    images, positions = train_images.images[:4], torch.arange(4)
    first = Views(base_spec)(images, positions, 1)
    assert not torch.equal(first, Views(base_spec)(images, positions, 2))
    assert not torch.equal(first, Views(replace(base_spec, seed=1))(images, positions, 1))


def test_views_leave_torchs_random_state_alone(base_spec: TrainingSpec, train_images: ImageSet) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    Views(base_spec)(train_images.images[:2], torch.arange(2), 1)
    assert torch.equal(torch.rand(1), expected)


def test_an_image_of_the_right_size_is_evaluated_untouched(base_spec: TrainingSpec, train_images: ImageSet) -> None:
    shown = evaluation_view(train_images.images[:3], base_spec)
    assert torch.equal(shown, normalized(train_images.images[:3]))


def test_normalization_is_imagenets() -> None:
    pixels = torch.randint(0, 256, (2, 3, 5, 4), dtype=torch.uint8)
    mean, std = (np.array(values)[None, :, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    np.testing.assert_allclose(normalized(pixels).numpy(), (pixels.numpy() / 255 - mean) / std, rtol=1e-4, atol=1e-5)


def test_without_augmentation_224_px_are_the_centre_of_256(base_spec: TrainingSpec) -> None:
    spec = replace(base_spec, views="none", image_size=224)
    image = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    image[..., 16:240, 16:240] = 255
    assert (evaluation_view(image, spec) == normalized(torch.full((1, 3, 224, 224), 255))).all()
