"""Views: what a network is shown depends on the seed, the epoch and the image, and on nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional

from trainables.data import ImageSet
from trainables.spec import VIEWS, TrainingSpec
from trainables.views import IMAGENET_MEAN, IMAGENET_STD, VIEWS_BY_NAME, Views, evaluation_view, normalized
from trainables.views.operators import CROP_UNIFORMS, crop_boxes, resized_crops


def test_every_view_that_a_spec_allows_exists() -> None:
    assert set(VIEWS) == set(VIEWS_BY_NAME)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_has_the_networks_size_whatever_the_image(name: str, base_spec: TrainingSpec) -> None:
    views = Views(replace(base_spec, views=name, image_size=64), 2)
    images = torch.randint(0, 256, (2, 3, 90, 120), dtype=torch.uint8)
    assert views(images, torch.arange(2), 1).shape == (2, 3, 64, 64)


def test_a_sample_looks_the_same_in_any_batch(base_spec: TrainingSpec, train_images: ImageSet) -> None:
    views = Views(base_spec, 48)
    positions = torch.tensor([3, 9, 4])
    together = views(train_images.images[positions], positions, epoch=2)
    for row, position in enumerate(positions):
        alone = views(train_images.images[position][None], position[None], epoch=2)
        assert torch.equal(alone[0], together[row])


def test_a_sample_looks_different_in_another_epoch_or_for_another_seed(
    base_spec: TrainingSpec, train_images: ImageSet
) -> None:
    images, positions = train_images.images[:4], torch.arange(4)
    first = Views(base_spec, 48)(images, positions, 1)
    assert not torch.equal(first, Views(base_spec, 48)(images, positions, 2))
    assert not torch.equal(first, Views(replace(base_spec, seed=1), 48)(images, positions, 1))


def test_views_leave_torchs_random_state_alone(base_spec: TrainingSpec, train_images: ImageSet) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    Views(base_spec, 48)(train_images.images[:2], torch.arange(2), 1)
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


def test_batched_crops_are_torchvisions(train_images: ImageSet) -> None:
    images = train_images.images[:6]
    boxes = torch.tensor(
        [[0, 0, 32, 32], [3, 5, 20, 27], [31, 31, 1, 1], [0, 12, 32, 20], [7, 0, 9, 32], [1, 1, 30, 30]]
    )
    mine = resized_crops(images, boxes, 32)
    for image, box, crop in zip(images, boxes.tolist(), mine, strict=True):
        reference = functional.resized_crop(image.float(), *box, [32, 32], antialias=True)
        torch.testing.assert_close(crop, reference, rtol=0, atol=0.01)


def test_shrinking_crops_are_torchvisions_too(train_images: ImageSet) -> None:
    box = torch.tensor([[2, 3, 28, 25]])
    reference = functional.resized_crop(train_images.images[0].float(), *box[0].tolist(), [12, 12], antialias=True)
    torch.testing.assert_close(resized_crops(train_images.images[:1], box, 12)[0], reference)


def test_crop_boxes_are_distributed_as_torchvisions() -> None:
    torch.manual_seed(0)
    height, width, scale, ratio, count = 40, 60, (0.2, 1.0), (3 / 4, 4 / 3), 4000
    mine = crop_boxes(height, width, scale, ratio, torch.rand(count, CROP_UNIFORMS, dtype=torch.float64)).numpy()
    image = torch.empty(3, height, width)
    theirs = np.array([RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(count)])
    for column in range(4):
        assert ks_2samp(mine[:, column], theirs[:, column]).pvalue > 0.001, ("top", "left", "height", "width")[column]
    assert (mine[:, 0] + mine[:, 2] <= height).all()
    assert (mine[:, 1] + mine[:, 3] <= width).all()
    assert (mine >= [0, 0, 1, 1]).all()


def test_an_image_no_crop_fits_is_taken_from_its_centre() -> None:
    boxes = crop_boxes(10, 100, (0.99, 1.0), (3 / 4, 4 / 3), torch.full((1, CROP_UNIFORMS), 0.5, dtype=torch.float64))
    assert boxes.tolist() == [[0, 43, 10, 13]]
