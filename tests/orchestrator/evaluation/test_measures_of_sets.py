"""Measures of a study's synthetic sets: planned, made with the stored base, and set beside accuracy in the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats

from datagen.measuring.measures import count_near_duplicates, near_duplicates
from experiments.guidance_and_prompts import STUDY
from experiments.scales.pocket import SCALE
from orchestrator.cli.overrides import apply_overrides
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.reporting.measures import Measured, draw_measures, measures_of, rank_correlation
from orchestrator.reporting.report import write_report
from orchestrator.reporting.tables import finished_models, trial_table
from orchestrator.storage.measures import publish_measures, read_measures
from orchestrator.storage.store import Store
from orchestrator.sweep import main
from trainables.evaluation.measure_spec import MeasureSpec
from trainables.spec import TrainingSpec


def planned(store: Store, *settings: str) -> Plan:
    study, scale = apply_overrides(STUDY, SCALE, settings)
    return make_plan(study, scale, 1, store)


def measures(plan: Plan) -> list[MeasureSpec]:
    return [spec for spec in plan.artifacts if isinstance(spec, MeasureSpec)]


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ((), 8),
        (("guidance=2.0",), 0),
        (("guidance=2.0", "measures=true"), 2),
        (("measures=false",), 0),
        (("guidance=2.0,4.0",), 4),
    ],
)
def test_three_sets_or_more_are_measured_unless_the_user_says_otherwise(
    settings: Sequence[str], count: int, tmp_path: Path
) -> None:
    found = measures(planned(Store(tmp_path), *settings))
    assert len(found) == count
    for spec in found:
        assert spec.reference.name == "real" and spec.encoder.direction.target == "real"


def test_a_measure_waits_for_its_set_and_its_encoder_and_changes_no_training(tmp_path: Path) -> None:
    plan = planned(Store(tmp_path))
    without = planned(Store(tmp_path), "measures=false")
    assert {spec.fingerprint for spec in without.trials} == {spec.fingerprint for spec in plan.trials}
    tasks = [task for task in plan.tasks() if task.measures]
    assert len(tasks) == 8 and all(task.computes for task in tasks)
    for task in tasks:
        (spec,) = task.measures
        assert {spec.images.fingerprint, spec.encoder.fingerprint} <= task.needs


def published(tmp_path: Path) -> tuple[Plan, Store]:
    """A store with the measures of all sets and nothing else."""
    store = Store(tmp_path).create()
    plan = planned(store)
    for number, spec in enumerate(measures(plan)):
        values = {"precision": number / 10, "vendi": 8.0 - number, "duplicates": number, "leaks": 2 * number}
        publish_measures(store, spec, values)
    return planned(store), store


def test_what_is_measured_is_not_measured_again_and_goes_with_its_encoder(tmp_path: Path) -> None:
    plan, store = published(tmp_path)
    assert not [task for task in plan.tasks() if task.measures]
    spec = measures(plan)[3]
    assert read_measures(store, spec)["leaks"] == 6
    other = replace(spec, encoder=replace(spec.encoder, seed=1))
    publish_measures(store, other, {"duplicates": 0, "leaks": 0})
    store.remove(spec.encoder)
    assert not Store(tmp_path).has(spec) and Store(tmp_path).has(other)


def with_accuracies(plan: Plan, store: Store, increasing: bool = True) -> Measured:
    trials = trial_table(plan, finished_models(plan, store))
    order = {spec.images.fingerprint: place for place, spec in enumerate(measures(plan))}

    def top1(spec: TrainingSpec) -> float:
        place = order.get(spec.train.fingerprint, 0)
        return 50.0 + (place if increasing else 0)

    known = {spec.fingerprint: top1(spec) for spec in plan.trials}
    trials["top1_mean"] = [known[fingerprint] for fingerprint in trials["fingerprint"]]
    return measures_of(plan, store, trials)


def test_the_report_says_which_measure_goes_with_accuracy(tmp_path: Path) -> None:
    found = with_accuracies(*published(tmp_path))
    assert len(found.rows) == 8
    assert list(found.rows["top1"]) == [50.0 + place for place in range(8)]
    (sentence,) = found.sentences
    assert "precision goes most with top-1 over 8 sets: rank correlation +1.00" in sentence
    assert "may be chance" not in sentence and "the largest of 2" in sentence
    assert [path.name for path in draw_measures(found, tmp_path)] == ["measures.png", "measures.svg"]
    assert "too few" in with_accuracies(*published(tmp_path / "flat"), increasing=False).sentences[0]


def test_the_files_of_a_report_have_the_measures(tmp_path: Path) -> None:
    plan, store = published(tmp_path)
    report = write_report(plan, store, finished_models(plan, store), "a command")
    names = {path.name for path in report.files}
    assert {"measures.csv", "measures.parquet"} <= names
    page = next(path for path in report.files if path.suffix == ".html").read_text()
    assert "Measures of the sets" in page and "with real images" in page
    assert len(pd.read_csv(next(path for path in report.files if path.name == "measures.csv"))) == 8


def test_a_rank_correlation_is_spearmans_with_bonett_and_wrights_interval() -> None:
    generator = np.random.default_rng(0)
    first = pd.Series(generator.normal(size=12))
    second = first + pd.Series(generator.normal(size=12))
    found = rank_correlation(first, second)
    assert found is not None
    value = stats.spearmanr(first, second).statistic
    half = 1.96 * np.sqrt((1 + value**2 / 2) / 9)
    expected = (value, np.tanh(np.arctanh(value) - half), np.tanh(np.arctanh(value) + half))
    assert found == pytest.approx(expected)
    assert rank_correlation(first[:4], second[:4]) is None
    assert rank_correlation(first, pd.Series(np.ones(12))) is None


def test_near_duplicates_are_counted_as_they_are_named() -> None:
    generator = np.random.default_rng(0)
    first = np.repeat(generator.normal(size=(20, 4)), 3, axis=0) + 0.01 * generator.normal(size=(60, 4))
    second = first[:30] + 0.01 * generator.normal(size=(30, 4))
    assert count_near_duplicates(first) == len(near_duplicates(first)) >= 60
    assert count_near_duplicates(first, second) == len(near_duplicates(first, second)) >= 90


def test_a_plan_lists_what_it_measures(tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["guidance_and_prompts", "--plan", "--store", str(tmp_path)]).output
    assert "measures of synthetic guidance=7.5 c against real" in shown
