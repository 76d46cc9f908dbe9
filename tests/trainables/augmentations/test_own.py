"""A user's own augmentation draws from (seed, epoch, image) alone, and is told what it does wrong."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datagen.core.errors import InputError
from trainables.augmentations.apply import Augmenter
from trainables.input.pixel_statistics import IMAGENET
from trainables.spec import TrainingSpec

CODE = """
import random
import numpy as np
import torch
from torch import nn
from torchvision.transforms import v2

transform = v2.Compose([v2.RandomCrop(16), v2.ToDtype(torch.float32, scale=True)])

def with_generator(image, generator):
    return image[:, :16, :16] // 2 + torch.randint(0, 99, (3, 16, 16), generator=generator).to(torch.uint8)

def without(image):
    image = image[:, random.randrange(9):][:, :16, np.random.randint(9):][:, :, :16]
    return image + torch.randint(0, 9, (1,)).to(torch.uint8)

def crops(image):
    return [image[None, :, :16, :16], torch.stack([image[:, :8, :8], image[:, 8:16, 8:16]])]

class Sized:
    def __init__(self, size):
        self.size = size
    def __call__(self, image):
        return image[:, :self.size, :self.size]

def grey(image):
    return image[0]

def uneven(image):
    return image[:, : 10 + int(image[0, 0, 0]) % 2]
"""
NAMES = ("transform", "with_generator", "without", "crops", "Sized")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path / "mine.py"


def augmenter(spec: TrainingSpec, file: Path, name: str) -> Augmenter:
    return Augmenter(replace(spec, augmentation=f"{file}:{name}", image_size=16), 6, IMAGENET)


@pytest.mark.parametrize("name", NAMES)
def test_an_images_crops_depend_on_seed_epoch_and_image_alone(name: str, file: Path, base_spec: TrainingSpec) -> None:
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    order = torch.tensor([4, 0, 2])
    before = (torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())  # type: ignore[union-attr, index]
    whole = augmenter(base_spec, file, name)(images, torch.arange(6), 1)
    random.random()
    some = augmenter(base_spec, file, name)([images[n] for n in order], order, 1)
    for all_crops, few in zip(whole, some, strict=True):
        by_crop = all_crops.unflatten(0, (-1, 6))[:, order].flatten(0, 1)
        assert torch.equal(by_crop, few)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # type: ignore[index]
    if name in ("transform", "with_generator", "without"):
        assert not torch.equal(augmenter(base_spec, file, name)(images, torch.arange(6), 2)[0], whole[0])


def test_floats_from_0_to_1_and_bytes_are_the_same_pixels(file: Path, base_spec: TrainingSpec, tmp_path: Path) -> None:
    (tmp_path / "both.py").write_text("def floats(image): return image / 255\ndef integers(image): return image\n")
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    pair = [
        augmenter(base_spec, tmp_path / "both.py", name)(images, torch.arange(2), 1)[0]
        for name in ("floats", "integers")
    ]
    torch.testing.assert_close(*pair)


def test_the_crops_of_each_resolution_stand_crop_by_crop(file: Path, base_spec: TrainingSpec) -> None:
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    large, small = augmenter(base_spec, file, "crops")(images, torch.arange(6), 1)
    assert (large.shape, small.shape) == ((6, 3, 16, 16), (12, 3, 8, 8))
    assert torch.equal(small[6:], large[:, :, 8:, 8:])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("grey", r"grey must give an image \[3, height, width\]"), ("uneven", "uneven gives crops of different shapes")],
)
def test_what_is_no_image_is_told(name: str, sentence: str, file: Path, base_spec: TrainingSpec) -> None:
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 3, 32, 32)
    with pytest.raises(InputError, match=sentence):
        augmenter(base_spec, file, name)(images, torch.arange(6), 1)


def test_the_files_text_is_part_of_the_training_and_its_place_is_not(file: Path, base_spec: TrainingSpec) -> None:
    spec = replace(base_spec, augmentation=f"{file}:crops")
    (file.parent / "other.py").write_text(CODE)
    assert replace(base_spec, augmentation=f"{file.parent}/other.py:crops").fingerprint == spec.fingerprint
    file.write_text(CODE + "\n")
    assert replace(base_spec, augmentation=f"{file}:crops").fingerprint != spec.fingerprint
    assert replace(spec, seed=1).augmentation == spec.augmentation
    assert spec.fingerprint != base_spec.fingerprint


class AsAlbumentations:
    """Called as albumentations is: with an array, by keyword, and with a seed of its own."""

    def set_random_seed(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def __call__(self, *, image: np.ndarray) -> dict[str, np.ndarray]:
        assert image.dtype == np.uint8 and image.shape[2] == 3
        return {"image": image[:16, :16] // 2 + self._generator.integers(0, 9, dtype=np.uint8)}


class AsKornia(torch.nn.Module):
    """Called as kornia is: with a batch of floats in 0..1."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.ndim == 4 and float(images.max()) <= 1
        return images[:, :, :16, :16] * torch.rand(())


@pytest.mark.parametrize(("library", "kind"), [("albumentations", AsAlbumentations), ("kornia", AsKornia)])
def test_a_transform_of_another_library_is_called_as_that_library_has_it(
    library: str, kind: type, base_spec: TrainingSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "__module__", f"{library}.core")
    (tmp_path / "theirs.py").write_text(
        f"from tests.trainables.augmentations.test_own import {kind.__name__}\ntransform = {kind.__name__}()\n"
    )
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    (whole,) = augmenter(base_spec, tmp_path / "theirs.py", "transform")(images, torch.arange(6), 1)
    order = torch.tensor([4, 0])
    (some,) = augmenter(base_spec, tmp_path / "theirs.py", "transform")(images[order], order, 1)
    assert whole.shape == (6, 3, 16, 16)
    assert torch.equal(whole[order], some)
    assert not torch.equal(
        whole, augmenter(base_spec, tmp_path / "theirs.py", "transform")(images, torch.arange(6), 2)[0]
    )
