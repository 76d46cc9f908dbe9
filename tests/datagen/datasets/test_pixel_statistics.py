"""Exact statistics: of a whole set once and stored with it, of a part of a set by its own images."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datagen.core.errors import InputError
from datagen.core.files import read_sealed_json, write_sealed_json
from datagen.datasets import pixel_statistics as statistics
from datagen.datasets.pixel_statistics import ChannelSums, dataset_statistics, sums_of
from datagen.datasets.shards import STATISTICS, publish_dataset
from tests.conftest import CLASSES, decoded, noisy_rows
from trainables.input.data import ImageSet
from trainables.input.pixel_statistics import statistics_of
from trainables.loop import train_cohort
from trainables.spec import TrainingSpec


@pytest.fixture
def folder(image_folders: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(image_folders / "train", tmp_path / "train", ignore=shutil.ignore_patterns(STATISTICS)))


def test_sums_are_numpys_mean_and_deviation_whatever_the_images_sizes() -> None:
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (3, *size), dtype=np.uint8) for size in ((5, 9), (40, 2), (1, 1))]
    pixels = np.concatenate([image.reshape(3, -1) for image in images], axis=1) / 255
    sums = sums_of(images)
    assert (sums.images, sums.pixels) == (3, 126)
    assert sums.mean == pytest.approx(tuple(pixels.mean(1)), rel=1e-14)
    assert sums.std == pytest.approx(tuple(pixels.std(1)), rel=1e-12)


def test_parts_of_a_set_may_be_summed_apart() -> None:
    images = np.random.default_rng(1).integers(0, 256, (6, 3, 4, 4), dtype=np.uint8)
    assert sums_of([images[:2]]) + sums_of([images[2], images[3:]]) == sums_of([images])
    assert sums_of([]) == ChannelSums()


def test_a_sets_statistics_are_computed_once_and_stored_beside_its_manifest(
    folder: Path, train_images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dataset_statistics(folder)
    assert (folder / STATISTICS).is_file()
    assert isinstance(train_images.images, torch.Tensor)
    assert first == sums_of([train_images.images.numpy()])
    monkeypatch.setattr(statistics, "read_rows", lambda *_: pytest.fail("the images were read again"))
    assert dataset_statistics(folder) == first


def test_statistics_of_other_images_or_a_damaged_file_are_not_believed(folder: Path) -> None:
    right = dataset_statistics(folder)
    values = json.loads((folder / STATISTICS).read_text())
    for wrong in (json.dumps({**values, "digest": "0" * 64, "total": [0, 0, 0]}), "{", '{"digest": 1}'):
        (folder / STATISTICS).write_text(wrong)
        assert dataset_statistics(folder) == right


def test_a_set_that_cannot_be_written_is_summed_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, values: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(statistics, "write_sealed_json", refused)
    assert dataset_statistics(folder).images == 48
    assert not (folder / STATISTICS).exists()


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    rows = [*noisy_rows(1, 0), replace(noisy_rows(1, 0)[0], image=b"broken", path="circle/broken.png")]
    publish_dataset(tmp_path, [rows], split="train", class_names=CLASSES, description={})
    with pytest.raises(InputError, match=r"circle/broken\.png .* cannot be decoded"):
        dataset_statistics(tmp_path)


def test_the_whole_set_is_read_from_the_file_and_a_part_of_it_from_its_images(
    folder: Path, train_images: ImageSet
) -> None:
    everything, part = torch.arange(len(train_images)), torch.arange(0, 48, 3)
    computed = statistics_of(train_images, everything)
    assert statistics_of(train_images, everything, folder) == computed
    values = read_sealed_json(folder / STATISTICS)
    write_sealed_json(folder / STATISTICS, {**values, "total": [1, 2, 3]})
    assert statistics_of(train_images, everything, folder) != computed
    assert statistics_of(train_images, part, folder) == statistics_of(train_images, part)


def test_the_shipped_images_come_with_their_statistics() -> None:
    from datagen import pocket

    for split in ("train", "validation"):
        images = Path(pocket.__file__).parent / "images" / split
        stored = json.loads((images / STATISTICS).read_text())
        from datagen.datasets.shards import read_manifest

        assert stored["digest"] == read_manifest(images).digest


def test_exact_normalization_has_two_readings(
    base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet, image_folders: Path
) -> None:
    spec = replace(base_spec, normalization="exact", epochs=1, warmup_epochs=0)
    dark = ImageSet(decoded(validation_images) // 2, validation_images.labels)
    own = train_cohort([spec], train_images, dark)[0]
    training = train_cohort([replace(spec, exact_statistics="training")], train_images, dark)[0]
    assert all(torch.equal(own.state[key], training.state[key]) for key in own.state)
    assert own.history[-1]["top1"] != training.history[-1]["top1"]
    stored = train_cohort([spec], train_images, dark, folders={"train": image_folders / "train"})[0]
    assert stored.normalization == own.normalization
    assert stored.history[-1]["top1"] == own.history[-1]["top1"]
