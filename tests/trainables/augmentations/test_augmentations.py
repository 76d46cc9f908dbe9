"""Views: what a network is shown depends on the seed, the epoch and the image, and on nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional

from tests.conftest import decoded
from trainables.augmentations.apply import AUGMENTATION_CLASSES, Augmenter, evaluation_images
from trainables.augmentations.augmix import mixed
from trainables.augmentations.operators.crops import CROP_UNIFORMS, crop_boxes, enlarged_crops
from trainables.augmentations.operators.fractals import fractal
from trainables.augmentations.operators.memory import LARGE, empty_float32
from trainables.augmentations.operators.mixing_operations import ALL_OPERATIONS, augmented
from trainables.augmentations.operators.mixing_pictures import FRACTAL_COUNT
from trainables.augmentations.pixmix import add, multiply
from trainables.input.data import ImageSet
from trainables.input.pixel_statistics import IMAGENET, pixel_statistics
from trainables.spec import AUGMENTATIONS, TrainingSpec


def test_a_large_results_memory_is_used_again_only_when_nobody_holds_it() -> None:
    size = LARGE // 4 + 1
    first = empty_float32(size)
    address, part = first.data_ptr(), first[7:8]
    first[:] = 1.0
    del first
    second = empty_float32(size)
    assert second.data_ptr() != address
    second[:] = 2.0
    assert part == 1.0
    del part
    assert empty_float32(size).data_ptr() == address


def test_every_view_that_a_spec_allows_exists() -> None:
    assert set(AUGMENTATION_CLASSES) == set(AUGMENTATIONS)


def made(spec: TrainingSpec, images: torch.Tensor, positions: torch.Tensor, epoch: int = 1) -> list[torch.Tensor]:
    return Augmenter(spec, 48, IMAGENET)(images, positions, epoch)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_view_has_the_networks_size_whatever_the_image(name: str, base_spec: TrainingSpec) -> None:
    images = torch.randint(0, 256, (2, 3, 90, 120), dtype=torch.uint8)
    views = made(replace(base_spec, augmentation=name, image_size=64, local_size=40), images, torch.arange(2))
    assert views[0].shape == (2, 3, 64, 64)
    assert all(group.dtype == torch.float32 and group.isfinite().all() for group in views)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_sample_looks_the_same_in_any_batch(name: str, base_spec: TrainingSpec, train_images: ImageSet) -> None:
    spec = replace(base_spec, augmentation=name, local_size=16, local_crops=2)
    positions = torch.tensor([3, 9, 4])
    together = made(spec, decoded(train_images)[positions], positions)
    for row, position in enumerate(positions):
        alone = made(spec, decoded(train_images)[position][None], position[None])
        for group, own in zip(together, alone, strict=True):
            assert torch.equal(own, group[row::3])


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
def test_a_sample_looks_different_in_another_epoch_or_for_another_seed(
    name: str, base_spec: TrainingSpec, train_images: ImageSet
) -> None:
    spec = replace(base_spec, augmentation=name, local_size=16)
    images, positions = decoded(train_images)[:6], torch.arange(6)
    first = made(spec, images, positions)[0]
    assert not torch.equal(first, made(spec, images, positions, epoch=2)[0])
    assert not torch.equal(first, made(replace(spec, seed=1), images, positions)[0])


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_views_leave_torchs_random_state_alone(name: str, base_spec: TrainingSpec, train_images: ImageSet) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    made(replace(base_spec, augmentation=name, local_size=16), decoded(train_images)[:2], torch.arange(2))
    assert torch.equal(torch.rand(1), expected)


def test_multicrop_is_one_global_and_eight_local_crops_in_passes_of_their_own(
    base_spec: TrainingSpec, train_images: ImageSet
) -> None:
    spec = replace(base_spec, augmentation="dino_multicrop", image_size=224)
    groups = made(spec, decoded(train_images)[:2], torch.arange(2))
    assert [tuple(group.shape) for group in groups] == [(2, 3, 224, 224), (16, 3, 96, 96)]


def test_an_image_of_the_right_size_is_evaluated_untouched(base_spec: TrainingSpec, train_images: ImageSet) -> None:
    shown = evaluation_images(decoded(train_images)[:3], base_spec, IMAGENET)
    assert torch.equal(shown, IMAGENET.normalized(decoded(train_images)[:3]))


def test_normalization_is_imagenets() -> None:
    pixels = torch.randint(0, 256, (2, 3, 5, 4), dtype=torch.uint8)
    mean = np.array([0.485, 0.456, 0.406])[None, :, None, None]
    std = np.array([0.229, 0.224, 0.225])[None, :, None, None]
    expected = (pixels.numpy() / 255 - mean) / std
    np.testing.assert_allclose(IMAGENET.normalized(pixels).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_exact_statistics_are_numpys(train_images: ImageSet) -> None:
    found = pixel_statistics(decoded(train_images))
    pixels = decoded(train_images).numpy() / 255
    np.testing.assert_allclose(found.mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std((0, 2, 3)), rtol=1e-12)
    exact = found.normalized(decoded(train_images))
    assert exact.mean().abs() < 1e-5
    assert abs(exact.std() - 1) < 1e-3


def test_without_augmentation_224_px_are_the_centre_of_256(base_spec: TrainingSpec) -> None:
    spec = replace(base_spec, augmentation="none", image_size=224)
    image = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    image[..., 16:240, 16:240] = 255
    white = IMAGENET.normalized(torch.full((1, 3, 224, 224), 255))
    assert torch.equal(evaluation_images(image, spec, IMAGENET), white)


def test_augmix_mixes_as_the_reference_does() -> None:
    image, chains = torch.full((3, 2, 2), 100.0), [torch.full((3, 2, 2), value) for value in (0.0, 50.0, 200.0)]
    result = mixed(image, chains, torch.tensor([0.2, 0.3, 0.5]), torch.tensor(0.25))
    assert torch.allclose(result, torch.tensor(0.75 * 100 + 0.25 * (0.3 * 50 + 0.5 * 200)))


def test_pixmix_adds_and_multiplies_as_the_reference_does() -> None:
    x, y = torch.tensor(0.75), torch.tensor(0.2)
    assert float(add(x, y, 0.9, 0.4)) == pytest.approx((0.9 * (2 * 0.75 - 1) + 0.4 * (2 * 0.2 - 1) + 1) / 2)
    assert float(multiply(x, y, 0.9, 0.4)) == pytest.approx((2 * 0.75) ** 0.9 * (2 * 0.2) ** 0.4 / 2)
    assert multiply(x, torch.tensor(0.0), 1.5, -0.5).isfinite()


@pytest.mark.parametrize("operation", ALL_OPERATIONS)
def test_every_mixing_operation_gives_an_image_of_the_same_kind(operation: str) -> None:
    torch.manual_seed(0)
    image = torch.randint(20, 200, (3, 24, 30), dtype=torch.uint8)
    result = augmented(image, operation, 10, np.random.default_rng(0).random)
    assert (result.shape, result.dtype) == (image.shape, image.dtype)
    assert not torch.equal(result, image)


def test_posterize_at_severity_1_keeps_4_bits() -> None:
    image = torch.arange(192, dtype=torch.uint8).reshape(3, 8, 8)
    assert torch.equal(augmented(image, "posterize", 1, np.random.default_rng(0).random), image & 0xF0)


def test_fractals_are_drawn_from_their_number_and_are_all_different() -> None:
    pictures = [fractal(number, 32) for number in range(50)]
    assert torch.equal(pictures[7], fractal.__wrapped__(7, 32))
    assert len({picture.numpy().tobytes() for picture in pictures}) == 50
    assert all(picture.float().std() > 10 for picture in pictures)
    assert FRACTAL_COUNT >= 1000


def test_fractals_fill_their_picture_with_colour() -> None:
    """As the reference's mixing set does; black ones would only darken what they are mixed into."""
    pictures = torch.stack([fractal(number, 224) for number in range(12)]).float()
    assert 50 < pictures.mean() < 130
    assert (pictures.amax(1) <= 2).float().mean() < 0.01
    assert (pictures.amax(1) - pictures.amin(1)).mean() > 30
    assert (pictures.std((2, 3)) > 10).float().mean() > 0.9


@pytest.mark.parametrize(
    ("operation", "coefficients"), [("shear_x", (1, 0.3, 0, 0, 1, 0)), ("shear_y", (1, 0, 0, 0.3, 1, 0))]
)
def test_shear_is_the_references(operation: str, coefficients: tuple[float, ...]) -> None:
    coarse = torch.rand((1, 3, 6, 6), generator=torch.Generator().manual_seed(1)) * 255
    image = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic").clamp(0, 255)[0].to(torch.uint8)
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    # The reference's `shear_x` and `shear_y`, at level 10 of 10.
    expected = picture.transform((64, 64), Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BILINEAR)
    sheared = augmented(image, operation, 10.0, iter([1.0, 0.1]).__next__).permute(1, 2, 0).numpy().astype(int)
    difference = np.abs(sheared - np.asarray(expected).astype(int))
    # The fill's edge is interpolated differently, one pixel wide.
    assert (difference <= 2).mean() > 0.95


def test_batched_crops_are_torchvisions(train_images: ImageSet) -> None:
    images = decoded(train_images)[:6]
    boxes = torch.tensor(
        [[0, 0, 32, 32], [3, 5, 20, 27], [31, 31, 1, 1], [0, 12, 32, 20], [7, 0, 9, 32], [1, 1, 30, 30]]
    )
    mine = enlarged_crops(images, boxes, 32)
    for image, box, crop in zip(images, boxes.tolist(), mine, strict=True):
        reference = functional.resized_crop(image.float(), *box, [32, 32], antialias=True)
        torch.testing.assert_close(crop, reference, rtol=0, atol=0.01)


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
