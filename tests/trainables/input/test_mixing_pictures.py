"""PixMix mixes in fractals, or the pictures of a folder that the user points to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datagen.core.errors import InputError
from tests.conftest import png
from trainables.augmentations.apply import Augmenter
from trainables.augmentations.operators.mixing_pictures import Fractals, Pictures, mixing_set
from trainables.input.mixing_pictures import digest_of
from trainables.input.pixel_statistics import IMAGENET
from trainables.spec import TrainingSpec


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three flat pictures of different sizes, of brightness 10, 20 and 30, one in a folder below."""
    (tmp_path / "below").mkdir()
    for name, value, shape in (("a.png", 10, (40, 90, 3)), ("b.PNG", 20, (64, 64, 3)), ("below/c.png", 30, (10, 12))):
        (tmp_path / name).write_bytes(png(np.full(shape, value, np.uint8)))
    (tmp_path / "readme.txt").write_text("no picture")
    return tmp_path


def with_pictures(spec: TrainingSpec, folder: Path) -> TrainingSpec:
    return replace(spec, augmentation="pixmix", mixing_pictures=digest_of(folder), mixing_folder=folder)


def test_every_picture_gives_crops_of_the_networks_size(pictures: Path) -> None:
    mixing = Pictures(pictures, 32)
    crops = [mixing.draw(number, 0.99, 0.0) for number in range(len(mixing))]
    assert [tuple(crop.shape) for crop in crops] == [(3, 32, 32)] * 3
    assert [int(crop.float().mean()) for crop in crops] == [10, 20, 30]


def test_a_crop_is_cut_from_256_pixels_where_the_network_sees_224(tmp_path: Path) -> None:
    columns = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (256, 1, 3))
    (tmp_path / "ramp.png").write_bytes(png(columns))
    mixing = Pictures(tmp_path, 224)
    assert mixing.draw(0, 0.0, 0.0)[0, 0].tolist() == list(range(224))
    assert mixing.draw(0, 0.0, 0.999)[0, 0].tolist() == list(range(32, 256))


def test_all_broken_pictures_are_named_in_one_sentence(pictures: Path) -> None:
    (pictures / "a.png").write_bytes(b"no picture")
    whole = (pictures / "b.PNG").read_bytes()
    (pictures / "b.PNG").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"2 of 3 mixing pictures cannot be decoded: .*a\.png.*b\.PNG"):
        Pictures(pictures, 32)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There are no pictures"):
        digest_of(tmp_path)


def test_the_digest_is_the_pictures_not_where_they_are(pictures: Path) -> None:
    before = digest_of(pictures)
    (pictures / "readme.txt").unlink()
    moved = pictures.rename(pictures.with_name("moved"))
    assert digest_of(moved) == before
    (moved / "a.png").write_bytes((moved / "b.PNG").read_bytes())
    assert digest_of(moved) != before


def test_a_folder_is_where_and_its_pictures_are_what(base_spec: TrainingSpec, pictures: Path) -> None:
    spec = with_pictures(base_spec, pictures)
    assert spec.fingerprint != replace(base_spec, augmentation="pixmix").fingerprint
    assert replace(spec, mixing_folder=Path("elsewhere")).fingerprint == spec.fingerprint
    assert replace(spec, augmentation="none").fingerprint == replace(base_spec, augmentation="none").fingerprint


def test_pictures_that_have_changed_since_the_plan_are_refused(base_spec: TrainingSpec, pictures: Path) -> None:
    spec = with_pictures(base_spec, pictures)
    (pictures / "a.png").unlink()
    with pytest.raises(InputError, match="have changed"):
        mixing_set(spec)
    with pytest.raises(InputError, match="mixing_pictures=DIR"):
        mixing_set(replace(spec, mixing_folder=None))


def test_fractals_are_mixed_in_by_default(base_spec: TrainingSpec) -> None:
    mixing = mixing_set(base_spec)
    assert isinstance(mixing, Fractals)
    assert len(mixing) >= 1000
    assert mixing.draw(3).shape == (3, 32, 32)


def test_pixmix_mixes_in_the_pictures(base_spec: TrainingSpec, pictures: Path) -> None:
    images, positions = torch.full((8, 3, 32, 32), 200, dtype=torch.uint8), torch.arange(8)
    spec = with_pictures(base_spec, pictures)
    (mixed,) = Augmenter(spec, 8, IMAGENET)(images, positions, 1)
    (fractal,) = Augmenter(replace(base_spec, augmentation="pixmix"), 8, IMAGENET)(images, positions, 1)
    assert mixed.shape == fractal.shape
    assert bool(torch.isfinite(mixed).all())
    assert not torch.equal(mixed, fractal)
