"""The benchmark of cohorts compares trainings that end with equal weights; how fast any is, is not tested."""

from __future__ import annotations

import pytest
import torch

from benchmarks import cohorts


@pytest.fixture(scope="module")
def compared() -> dict[str, dict]:
    small = {"image_size": 32, "local_size": 16, "local_crops": 1, "augmentation": "dino_multicrop"}
    members, images = cohorts.full_size_members("resnet50_slim", 4, 2, (16, 17), **small)
    return cohorts.measure_full_size(members, images, torch.device("cpu"), tuple(cohorts.WAYS))


def test_every_way_ends_with_the_weights_of_the_cohort_bit_for_bit(compared: dict[str, dict]) -> None:
    assert {way: result["difference"] for way, result in compared.items()} == {
        "cohort": None,
        "separate": 0,
        "plain": 0,
        "through": 0,
    }
    assert all(len(result["seconds"]) == 2 for result in compared.values())  # epochs, of one step each


def test_weights_that_differ_are_seen() -> None:
    one = {"weight": torch.tensor([1.0, 2.0]), "count": torch.tensor(3)}
    assert cohorts.difference(one, {**one, "weight": torch.tensor([1.0, 2.5])}) == 0.5
    assert cohorts.difference(one, {**one, "count": torch.tensor(4)}) == 1


def test_the_table_says_how_far_weights_are_apart(compared: dict[str, dict]) -> None:
    compared = {**compared, "plain": {**compared["plain"], "difference": 0.0123}}
    lines = cohorts.markdown("tiny", compared).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[3].endswith("| none, bit for bit |")
    assert lines[4].endswith("| 0.01 |")
