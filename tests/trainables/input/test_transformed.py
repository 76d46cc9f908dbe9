"""Transformations of a set's images do what their names say, more so the stronger they are."""

from __future__ import annotations

import pytest
import torch

from datagen.core.errors import InputError
from datagen.datasets.transformations import CORRUPTIONS, STRENGTHS, is_transformation, transformation
from trainables.input.data import ImageSet
from trainables.input.transformed import OPERATIONS, TransformedImages, transformed

SMOOTH = torch.nn.functional.interpolate(
    torch.rand((6, 3, 9, 9), generator=torch.Generator().manual_seed(3)) * 255, (48, 48), mode="bilinear"
).to(torch.uint8)
SET = ImageSet(SMOOTH, torch.arange(6))


def changed(name: str, images: ImageSet = SET, seed: int = 0) -> torch.Tensor:
    found = transformed(images, name, seed).images
    assert isinstance(found, torch.Tensor)
    return found


def test_every_named_transformation_is_there() -> None:
    assert set(OPERATIONS) == set(STRENGTHS)


@pytest.mark.parametrize("name", [name for name in STRENGTHS if name != "grey"])
def test_a_stronger_transformation_changes_more(name: str) -> None:
    distances = [float((changed(f"{name}:{n}").float() - SMOOTH.float()).abs().mean()) for n in range(1, 6)]
    assert distances == sorted(distances)
    assert distances[-1] > distances[0] > 0


def test_grey_images_have_one_value_in_all_channels() -> None:
    found = changed("grey")
    assert torch.equal(found[:, 0], found[:, 1]) and torch.equal(found[:, 1], found[:, 2])


def test_low_and_high_frequencies_add_up_to_the_image() -> None:
    low, high = changed("low_pass:3").float(), changed("high_pass:3").float()  # Both cut at an eighth.
    inside = (high > 0) & (high < 255) & (low > 0) & (low < 255)
    torch.testing.assert_close((low + high - 127.5)[inside], SMOOTH.float()[inside], atol=1.5, rtol=0)


def test_contrast_keeps_each_channels_mean_and_noise_has_its_deviation() -> None:
    faint = changed("contrast:1").float()
    torch.testing.assert_close(faint.mean((2, 3)), SMOOTH.float().mean((2, 3)), atol=0.5, rtol=0)
    torch.testing.assert_close(faint.std(), SMOOTH.float().std(), atol=60, rtol=0)
    grey = ImageSet(torch.full((6, 3, 48, 48), 128, dtype=torch.uint8), SET.labels)
    assert float(changed("noise:1", grey).float().std()) == pytest.approx(0.08 * 255, rel=0.03)


def test_noise_is_an_images_own_whoever_picks_it() -> None:
    whole = changed("noise:2")
    encoded = ImageSet(TransformedImages(SMOOTH, lambda image, place: image), SET.labels)  # Not held decoded.
    some = transformed(encoded, "noise:2", 0).images[torch.tensor([4, 1])]
    assert torch.equal(torch.stack(list(some)), whole[torch.tensor([4, 1])])
    assert not torch.equal(changed("noise:2", seed=1), whole)
    alike = changed("noise:2", ImageSet(torch.full((6, 3, 48, 48), 128, dtype=torch.uint8), SET.labels))
    assert not torch.equal(alike[0], alike[1])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("noize:3", "not 'noize:3'. Did you mean 'noise'?"),
        ("noise", "noise needs a strength from 1 to 5: noise:3."),
        ("noise:9", "an operation and a strength from 1 to 5"),
    ],
)
def test_what_is_no_transformation_is_told(text: str, sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        transformation(text)
    assert sentence in str(raised.value)


def test_a_transformation_is_told_from_the_name_of_a_set() -> None:
    assert all(is_transformation(f"{name}:1") for name in CORRUPTIONS)
    assert not is_transformation("imagenet_v2")
