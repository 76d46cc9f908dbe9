"""Measures are what their definitions say, and equal torchmetrics' where it has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from datagen.core.errors import InputError
from datagen.measuring import measures
from datagen.measuring.measures import (
    by_class,
    frechet_distance,
    kernel_distance,
    manifold_measures,
    near_duplicates,
    vendi_score,
)

DRAWN = np.random.default_rng(5)
REAL = DRAWN.standard_normal((60, 8))
NEAR = 0.5 * DRAWN.standard_normal((40, 8)) + 0.3


def spelled_out(real: np.ndarray, made: np.ndarray, k: int) -> dict[str, float]:
    """Naeem et al. 2020, Eqs. 1 to 4, image by image."""

    def radius(features: np.ndarray, one: int) -> float:
        return float(sorted(np.linalg.norm(features - features[one], axis=1))[k])

    def inside(point: np.ndarray, centre: np.ndarray, reach: float) -> bool:
        return bool(np.linalg.norm(point - centre) < reach)

    balls = [radius(real, one) for one in range(len(real))]
    own = [radius(made, one) for one in range(len(made))]
    held = [[inside(y, x, reach) for x, reach in zip(real, balls, strict=True)] for y in made]
    back = [[inside(x, y, reach) for y, reach in zip(made, own, strict=True)] for x in real]
    return {
        "precision": float(np.mean([any(row) for row in held])),
        "recall": float(np.mean([any(row) for row in back])),
        "density": float(np.sum(held) / (k * len(made))),
        "coverage": float(np.mean([any(row[one] for row in held) for one in range(len(real))])),
    }


@pytest.mark.parametrize("k", [1, 5])
def test_precision_recall_density_and_coverage_are_as_defined(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "ROWS", 16)  # In several blocks.
    assert manifold_measures(REAL, NEAR, k) == pytest.approx(spelled_out(REAL, NEAR, k))


def test_a_set_covers_itself_and_nothing_far_away() -> None:
    same = manifold_measures(REAL, REAL)
    assert same["precision"] == same["recall"] == same["coverage"] == 1
    assert set(manifold_measures(REAL, REAL + 100).values()) == {0.0}


def test_classes_are_measured_apart_and_averaged() -> None:
    labels, real_labels = np.arange(40) % 2, np.arange(60) % 2
    parts = [manifold_measures(REAL[real_labels == one], NEAR[labels == one]) for one in (0, 1)]
    expected = {name: (parts[0][name] + parts[1][name]) / 2 for name in parts[0]}
    assert by_class(REAL, real_labels, NEAR, labels) == pytest.approx(expected)
    assert by_class(REAL, np.arange(60), NEAR, np.arange(40)) == {}


def test_distances_are_torchmetrics() -> None:
    first, second = torch.from_numpy(REAL), torch.from_numpy(NEAR)
    expected = _compute_fid(first.mean(0), first.T.cov(), second.mean(0), second.T.cov())
    assert frechet_distance(REAL, NEAR) == pytest.approx(float(expected))
    assert frechet_distance(REAL, REAL) == pytest.approx(0, abs=1e-9)
    same_size = REAL[:40]
    assert kernel_distance(same_size, NEAR) == pytest.approx(float(poly_mmd(torch.from_numpy(same_size), second)))


def test_diversity_is_an_effective_number_of_images() -> None:
    assert vendi_score(np.ones((7, 4))) == pytest.approx(1)
    assert vendi_score(np.eye(6)) == pytest.approx(6)
    assert vendi_score(np.repeat(np.eye(3), 5, axis=0)) == pytest.approx(3)


def test_near_duplicates_are_found_within_a_set_and_between_two() -> None:
    copied = np.concatenate([REAL, 2 * REAL[3:5]])  # Longer, and in the same direction.
    assert [pair[:2] for pair in near_duplicates(copied)] in ([(3, 60), (4, 61)], [(4, 61), (3, 60)])
    leaks = near_duplicates(REAL[10:12], REAL)
    assert {pair[:2] for pair in leaks} == {(0, 10), (1, 11)} and leaks[0][2] == pytest.approx(1)


def test_too_few_images_are_told() -> None:
    with pytest.raises(InputError, match="The set has 4 images, too few for 5 nearest neighbours"):
        manifold_measures(REAL, NEAR[:4])
