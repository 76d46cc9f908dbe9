"""Images, fractions and order."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from datagen.core.errors import InputError
from datagen.datasets.shards import ImageRow, publish_dataset
from orchestrator.storage.images import check_shards
from tests.conftest import CLASSES, decoded, noisy_rows, png
from trainables.input import mapped_file, threads
from trainables.input.data import EncodedImages, ImageSet, epoch_batches, fraction_subset, load_images, steps_per_epoch
from trainables.input.threads import in_threads
from trainables.loop import train_cohort
from trainables.spec import TrainingSpec

LABELS = torch.arange(4).repeat(64)


def test_images_are_decoded_to_rgb_in_order(train_images: ImageSet) -> None:
    assert decoded(train_images).shape == (48, 3, 32, 32)
    assert train_images.labels[:6].tolist() == [0, 1, 2, 0, 1, 2]


def test_a_grey_image_has_three_equal_channels(tmp_path: Path) -> None:
    row = ImageRow(png(np.arange(64, dtype=np.uint8).reshape(8, 8)), "a/0.png", 0, "a", 0)
    publish_dataset(tmp_path, [[row]], split="train", class_names=("a",), description={})
    images = decoded(load_images(tmp_path))
    assert torch.equal(images[0, 0], images[0, 2])


def test_images_of_different_sizes_stay_encoded_and_can_be_trained_on(base_spec: TrainingSpec, tmp_path: Path) -> None:
    rows = [
        ImageRow(png(np.full((40 + n, 50 - n, 3), 20 * n, dtype=np.uint8)), f"c/{n}.png", n % 3, "c", n)
        for n in range(6)
    ]
    publish_dataset(tmp_path, [rows], split="train", class_names=("circle", "square", "cross"), description={})
    images = load_images(tmp_path)
    picked = images.images[torch.tensor([4, 1])]
    assert [tuple(image.shape) for image in picked] == [(3, 44, 46), (3, 41, 49)]
    for views in ("pytorch_example", "dino_multicrop"):
        spec = replace(base_spec, augmentation=views, local_size=16, local_crops=2, batch_size=6)
        assert train_cohort([spec], images, images)[0].failure is None


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    rows = [*noisy_rows(1, 0), ImageRow(b"not a picture", "circle/broken.png", 0, "circle", 1)]
    publish_dataset(tmp_path, [rows], split="train", class_names=("circle", "square", "cross"), description={})
    with pytest.raises(InputError, match=r"circle/broken\.png .* cannot be decoded"):
        load_images(tmp_path)


@pytest.mark.parametrize("fraction", [1 / 2, 1 / 8, 1 / 64])
def test_a_fraction_is_class_balanced(fraction: float) -> None:
    chosen = LABELS[fraction_subset(LABELS, fraction, seed=0)]
    assert chosen.bincount().tolist() == [round(64 * fraction)] * 4


def test_a_smaller_fraction_lies_inside_a_larger_one() -> None:
    sets = [set(fraction_subset(LABELS, 1 / 2**k, seed=3).tolist()) for k in range(7)]
    assert all(smaller < larger for larger, smaller in pairwise(sets))


def test_a_random_fraction_is_nested_and_of_the_right_size() -> None:
    sets = [set(fraction_subset(LABELS, 1 / 2**k, seed=3, balanced=False).tolist()) for k in range(7)]
    assert [len(chosen) for chosen in sets] == [256, 128, 64, 32, 16, 8, 4]
    assert all(smaller < larger for larger, smaller in pairwise(sets))
    assert LABELS[sorted(sets[2])].bincount().tolist() != [16] * 4


def test_at_least_one_image_of_a_class_remains() -> None:
    assert len(fraction_subset(LABELS, 1 / 1000, seed=0)) == 4


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in epoch_batches(torch.arange(100), 32, seed, epoch)]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)
    assert [len(batch) for batch in order(0, 1)] == [32, 32, 32]


def test_a_set_below_one_batch_makes_one_step() -> None:
    assert steps_per_epoch(5, 32) == 1
    assert [len(batch) for batch in epoch_batches(torch.arange(5), 32, 0, 1)] == [5]


def test_a_set_above_the_limit_stays_encoded_with_the_same_pixels(
    image_folders: Path, train_images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.input.data.DECODED_LIMIT", 1000)
    encoded = load_images(image_folders / "train")
    assert isinstance(encoded.images, EncodedImages)
    positions = torch.tensor([47, 0, 13])
    assert torch.equal(torch.stack(encoded.images[positions]), decoded(train_images)[positions])
    assert torch.equal(encoded.labels, train_images.labels)


def test_an_encoded_image_that_cannot_be_decoded_is_named_when_it_is_picked(tmp_path: Path) -> None:
    rows = [ImageRow(png(np.zeros((9, 8 + n, 3), dtype=np.uint8)), f"circle/{n}.png", 0, "circle", n) for n in range(2)]
    rows.append(ImageRow(b"not a picture", "circle/broken.png", 0, "circle", 2))
    publish_dataset(tmp_path, [rows], split="train", class_names=("circle", "square", "cross"), description={})
    images = load_images(tmp_path).images
    assert images[torch.tensor([1])][0].shape == (3, 9, 9)
    with pytest.raises(InputError, match=r"circle/broken\.png .* cannot be decoded"):
        images[torch.tensor([0, 2])]


def test_work_in_threads_keeps_its_order_and_tells_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_threads", lambda: 3)
    assert in_threads(lambda number: number**2, range(10)) == [number**2 for number in range(10)]
    assert in_threads(str, []) == []
    before = torch.get_num_threads()
    assert in_threads(lambda _: torch.get_num_threads(), range(3)) == [1, 1, 1]
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda number: 1 / number, [1, 0])


def test_the_first_of_a_nodes_processes_checks_the_shards_before_all_use_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_file, "ROOT", tmp_path / "memory")
    monkeypatch.setattr(mapped_file, "_leases", {})
    (tmp_path / "memory").mkdir()
    publish_dataset(tmp_path, [noisy_rows(4, seed=5)], split="train", class_names=CLASSES, description={})
    shard = tmp_path / "train-00000-of-00001.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + b"?")
    with pytest.raises(InputError, match="checksum differs"):
        load_images(tmp_path, check_shards)
    shard.write_bytes(whole)
    checked: list[Path] = []
    load_images(tmp_path, checked.append)
    load_images(tmp_path, checked.append)
    assert checked == [tmp_path]
