"""Statistics over seeds: intervals hold what they promise, and tests find neither too much nor nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from orchestrator.claims.statistics import BOOTSTRAP_FROM, holm, interval, interval_name, paired_differences

NAN = float("nan")


def coverage(values: np.ndarray, truth: float) -> float:
    low, high = interval(values)
    return float(np.mean((low <= truth) & (truth <= high)))


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("skewed", [False, True])
def test_the_interval_covers_the_mean_as_often_as_it_says(seeds: int, skewed: bool) -> None:
    generator = np.random.default_rng(seeds)
    draw = generator.gamma(4, size=(4000, seeds)) if skewed else generator.normal(4, 2, size=(4000, seeds))
    assert coverage(draw, 4) == pytest.approx(0.95, abs=0.03)


def test_with_many_seeds_the_bootstrap_covers_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1).normal(size=(600, BOOTSTRAP_FROM))
    assert coverage(draw, 0) == pytest.approx(0.93, abs=0.03)
    assert "bootstrap" in interval_name(BOOTSTRAP_FROM)
    assert "Student" in interval_name(3)


def test_the_bootstrap_of_three_seeds_would_promise_too_much() -> None:
    draw = np.random.default_rng(2).normal(size=(400, 3))
    found = stats.bootstrap((draw,), np.mean, axis=-1, method="BCa", n_resamples=400, rng=0).confidence_interval
    assert np.mean((found.low <= 0) & (found.high >= 0)) < 0.8


def test_one_value_has_no_interval_and_equal_values_have_a_point() -> None:
    low, high = interval(np.array([[1.0, NAN, NAN], [2.0, 2.0, NAN], [NAN, NAN, NAN]]))
    assert np.isnan(low[[0, 2]]).all() and np.isnan(high[[0, 2]]).all()
    assert low[1] == high[1] == 2.0


def test_a_missing_seed_is_left_out() -> None:
    assert interval(np.array([[1.0, NAN, 4.0]])).low[0] == interval(np.array([[1.0, 4.0]])).low[0]


def test_the_paired_test_is_scipys_and_uses_the_pairs() -> None:
    generator = np.random.default_rng(3)
    shared = generator.normal(70, 3, size=(1, 5))
    values, baselines = shared - 1 + generator.normal(0, 0.1, size=(1, 5)), shared
    found = paired_differences(values, baselines)
    assert found.p[0] == pytest.approx(stats.ttest_rel(values[0], baselines[0]).pvalue)
    assert found.p[0] < 0.001 < stats.ttest_ind(values[0], baselines[0]).pvalue
    assert found.low[0] < -1 < found.high[0]


def test_one_pair_is_not_tested_and_unpaired_seeds_do_not_count() -> None:
    found = paired_differences(np.array([[80.0, NAN], [80.0, 81.0]]), np.array([[79.0, 70.0], [80.0, 81.0]]))
    assert np.isnan(found.p[0]) and found.mean[0] == 1.0 and found.seeds[0] == 1
    assert found.p[1] == 1.0


def test_the_chance_of_a_single_false_find_in_a_table_stays_below_five_percent() -> None:
    generator = np.random.default_rng(4)
    tables, points, seeds = 400, 34, 3
    found = paired_differences(generator.normal(size=(tables * points, seeds)), np.zeros((tables * points, seeds)))
    by_table = found.p.reshape(tables, points)
    assert np.mean([(holm(p) < 0.05).any() for p in by_table]) < 0.08
    assert np.mean((by_table < 0.05).any(axis=1)) > 0.7  # What would be found without the correction.


def test_holm_steps_down_and_leaves_out_what_was_not_tested() -> None:
    assert holm(np.array([0.01, NAN, 0.04, 0.03])) == pytest.approx([0.03, NAN, 0.06, 0.06], nan_ok=True)
    assert holm(np.array([NAN])) == pytest.approx([NAN], nan_ok=True)
    assert holm(np.array([0.9, 0.8])).max() <= 1
