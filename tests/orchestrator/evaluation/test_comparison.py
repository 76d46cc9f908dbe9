"""Two trainings are compared image by image and seed by seed, and an interval says how far either can mislead."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.evaluation.comparison import Comparison, mcnemar, paired_interval, seeds_needed

DRAWN = np.random.default_rng(3)


def test_mcnemar_counts_the_images_that_one_alone_has_right() -> None:
    first = np.array([True] * 9 + [False] * 1 + [True] * 90)
    second = np.array([False] * 9 + [True] * 1 + [True] * 90)
    assert mcnemar(first, second) == pytest.approx(2 * (10 + 1) / 2**10)  # 9 or more of 10, from either side.
    assert mcnemar(first, first) == 1


def test_an_interval_over_images_has_the_width_of_their_standard_error() -> None:
    first, second = (DRAWN.random((1, 2000)) < 0.7 for _ in range(2))
    low, high = paired_interval(first, second)
    difference = second[0].astype(float) - first[0]
    half = 1.96 * 100 * difference.std() / 2000**0.5
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert (high + low) / 2 == pytest.approx(100 * difference.mean(), abs=0.3)


def test_seeds_that_differ_widen_it_beyond_the_images() -> None:
    first = np.zeros((4, 1000), bool)
    even = DRAWN.random((4, 1000)) < 0.5
    uneven = DRAWN.random((4, 1000)) < np.array([0.2, 0.4, 0.6, 0.8])[:, None]
    widths = [high - low for low, high in (paired_interval(first, kind) for kind in (even, uneven))]
    assert widths[1] > 5 * widths[0]


def test_so_many_seeds_find_a_difference_in_four_of_five_cases() -> None:
    needed = seeds_needed(1.0, 1.0)
    assert needed == 10  # As G*Power has it for a paired t test of an effect of 1: 10 pairs.
    values = 1 + DRAWN.standard_normal((4000, needed))
    t = values.mean(1) / (values.std(1, ddof=1) / needed**0.5)
    assert float((t > 2.262).mean()) == pytest.approx(0.8, abs=0.03)
    assert seeds_needed(1.0, 0.0) == 2
    assert seeds_needed(0.001, 1.0) is None


def test_a_comparison_says_what_it_counts() -> None:
    told = Comparison(-3.24, -6.0, -0.41, 0.0004, 1000, 1, 57.2, 51.0).sentence("real", "synthetic")
    assert told == (
        "Trained on synthetic images against real ones: -3.2 points on the validation images [-6.0, -0.4] (95 % "
        "bootstrap over 1,000 images, one seed; McNemar p < 0.001 for seed 0). The two agree on 57 % of the images and "
        "share 51 % of their errors."
    )
