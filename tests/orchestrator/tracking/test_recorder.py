"""MLflow records what happens, and is never in the way."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any, cast

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from datagen.datasets.spec import GeneratedDataset
from orchestrator.reporting.tables import finished_models, point_table, trial_table
from orchestrator.storage.store import Store
from orchestrator.tracking import background
from orchestrator.tracking.address import tracking_uri
from orchestrator.tracking.contents import params, run_name
from orchestrator.tracking.recorder import Tracker
from orchestrator.tracking.study_runs import StudyRuns
from orchestrator.tracking.writer import Changes, Writer
from tests.orchestrator.tracking.recorded import epoch, run_of, run_to_epoch, small_plan, steps
from trainables.direction import REAL, REAL_TO_SYNTHETIC, Direction
from trainables.report import EpochReport


def test_an_interrupted_trial_goes_on_in_its_own_run_and_logs_no_epoch_twice(store: Store) -> None:
    plan = small_plan(store)
    run_to_epoch(plan, store, 2)
    run_to_epoch(plan, store, 3)
    assert steps(store, plan) == [1, 2, 3]


def test_epochs_that_mlflow_missed_are_taken_from_the_store(store: Store) -> None:
    plan = small_plan(store)
    run_to_epoch(plan, store, 1)
    for spec in plan.trials:
        store.publish_model(spec, [epoch(n) for n in (1, 2, 3)], None, lambda path: path.write_bytes(b"weights"))
    with Tracker(plan, store) as tracker:
        tracker.record_results(finished_models(plan, store), [], "the verdict", complete=True)
    assert tracker.lost == []
    assert steps(store, plan) == [1, 2, 3]


def test_a_locked_database_delays_the_records_and_loses_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = small_plan(store)
    task = next(item for item in plan.tasks() if item.members)
    write, tries = Writer._write, iter((True, False))

    def locked(writer: Writer, item: Changes) -> None:
        if next(tries, False):
            raise MlflowException("database is locked", TEMPORARILY_UNAVAILABLE)
        write(writer, item)

    monkeypatch.setattr(Writer, "_write", locked)
    monkeypatch.setattr(background, "RETRY_SECONDS", 0)
    with Tracker(plan, store) as tracker:
        tracker.task_started(task)
        tracker.task_progressed(task, EpochReport(1, 3, {task.members[0].fingerprint: epoch(1)}))
        deadline = time.monotonic() + 30
        while not tracker._thread.down and time.monotonic() < deadline:
            time.sleep(0.02)
        tracker.task_progressed(task, EpochReport(2, 3, {task.members[0].fingerprint: epoch(2)}))
    assert tracker.lost == []
    assert steps(store, plan) == [1, 2]


def test_a_run_whose_making_was_answered_by_nothing_is_not_made_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_plan(store)
    make, tries = MlflowClient.create_run, iter((True, False))

    def made_unheard(client: MlflowClient, *arguments: Any, **settings: Any) -> Run:
        run = make(client, *arguments, **settings)
        if settings["tags"]["role"] == "trial" and next(tries, False):
            raise MlflowException("the answer was lost", TEMPORARILY_UNAVAILABLE)
        return run

    monkeypatch.setattr(MlflowClient, "create_run", made_unheard)
    run_to_epoch(plan, store, 2)
    assert steps(store, plan) == [1, 2]  # Of its one run.


def test_a_run_that_mlflow_refuses_is_told_once_and_the_others_are_written(store: Store) -> None:
    plan = small_plan(store)
    tasks = [item for item in plan.tasks() if item.members]
    run_to_epoch(plan, store, 1)
    deleted = run_of(store, tasks[0].members[0].fingerprint).info.run_id
    with Tracker(plan, store) as tracker:
        tracker.task_progressed(tasks[0], EpochReport(2, 3, {tasks[0].members[0].fingerprint: epoch(2)}))
        tracker._later(lambda: MlflowClient(tracking_uri(store)).delete_run(deleted))
        tracker.task_started(tasks[1])
    assert len(tracker.lost) == 1
    assert "deleted" in tracker.lost[0]
    assert run_of(store, tasks[1].members[0].fingerprint).info.status == "RUNNING"


def test_every_number_of_an_epoch_is_logged_and_every_axis_is_a_parameter(store: Store) -> None:
    plan = small_plan(store)
    task = next(item for item in plan.tasks() if item.members)
    row: dict[str, Any] = {
        **epoch(1),
        "system/gpu_power_usage_watts": 250.0,
        "timings": {"data": 0.5, "forward": 1.5},
        "odd": math.nan,
    }
    with Tracker(plan, store) as tracker:
        tracker.task_progressed(task, EpochReport(1, 3, {task.members[0].fingerprint: row}))
    assert tracker.lost == []
    run = run_of(store, task.members[0].fingerprint)
    assert run.data.metrics["usage/system/gpu_power_usage_watts"] == 250.0
    assert run.data.metrics["usage/timings/forward"] == 1.5
    assert "usage/odd" not in run.data.metrics
    assert set(plan.study.axes) <= set(run.data.params)


def test_failures_retries_and_splits_are_on_the_trials_run(store: Store) -> None:
    plan = small_plan(store)
    task = next(item for item in plan.tasks() if item.members)
    with Tracker(plan, store) as tracker:
        tracker.task_retried(task, "its node was preempted", 2.0)
        tracker.task_split(task, [task], "the GPU's memory is too small")
        tracker.task_ended(task, "its process died, 4 times without progress")
    run = run_of(store, task.members[0].fingerprint)
    assert run.info.status == "FAILED"
    assert run.data.tags["retried"] == "its node was preempted"
    assert run.data.tags["split"].endswith("the GPU's memory is too small")
    assert run.data.tags["failure"].startswith("its process died")


def test_a_forced_trial_gets_a_run_of_its_own(store: Store) -> None:
    plan = small_plan(store)
    run_to_epoch(plan, store, 3)
    spec = next(item for item in plan.tasks() if item.members).members[0]
    before = run_of(store, spec.fingerprint).info.run_id
    with Tracker(plan, store, forced=[spec]) as tracker:
        tracker.task_started(plan.tasks()[1])
    assert run_of(store, spec.fingerprint).info.run_id != before


def test_runs_that_differ_in_anything_differ_in_their_parameters(store: Store) -> None:
    plan = small_plan(store)
    base = next(spec for spec in plan.trials if spec.direction == Direction(None, REAL))
    transfer = next(spec for spec in plan.trials if spec.direction == REAL_TO_SYNTHETIC)
    plain = params(transfer, plan)
    assert plain["base"] == base.fingerprint
    assert plain["synthetic.fingerprint"] == transfer.train.fingerprint
    assert plain["synthetic.guidance"] == str(cast(GeneratedDataset, transfer.train).guidance)
    others: dict[str, Any] = {
        "normalization": "exact", "head": "linear", "temperature": 0.2, "weight_decay": 0.01, "precision": "bfloat16",
        "warmup_epochs": 0, "momentum": 0.8, "fraction_sampling": "random", "minimum_crop": 0.51,
        "final_learning_rate": 0.0, "initial_weights": "a" * 64, "batchnorm_evaluation_order": "by_label",
    }  # fmt: skip
    for name, value in others.items():
        changed = replace(base, **{name: value})
        assert params(changed, plan)[name] == str(value), name
        assert params(changed, plan) != params(base, plan)
        assert params(replace(transfer, source=changed), plan) != plain, name
    assert {"warmup_epochs", "minimum_crop"} <= set(plain)  # Of the scale's recipe.


def test_runs_hold_what_the_report_says_under_names_that_put_the_point_first(store: Store) -> None:
    plan = small_plan(store)
    level = {spec.fingerprint: 10.0 * place for place, spec in enumerate(plan.trials)}
    for spec in plan.trials:
        history = [{**epoch(n), "top1": level[spec.fingerprint] + n % 3} for n in range(1, 9)]
        store.publish_model(spec, history, None, lambda path: path.write_bytes(b"weights"))
    models = finished_models(plan, store)
    points = point_table(trial_table(plan, models))
    for _ in range(2):
        with Tracker(plan, store) as tracker:
            tracker.record_results(models, [], "the verdict", complete=True, points=points)
        assert tracker.lost == []
    rows = points.set_index("direction")
    for spec in plan.trials:
        run, row = run_of(store, spec.fingerprint), rows.loc[str(spec.direction)]
        assert run.data.metrics["top1_mean"] == pytest.approx(row["top1_mean"])
        assert run.data.metrics["top1_std"] == pytest.approx(row["top1_std_epochs"])
        assert sorted(run.data.metrics)[0] == "top1" and sorted(run.data.metrics)[-1].startswith("usage/")
    name = run_of(store, plan.trials[-1].fingerprint).info.run_name
    assert name in ("N=17 synthetic->real s0", "N=17 real->synthetic s0")
    client = MlflowClient(tracking_uri(store))
    study = client.get_run(run_of(store, plan.trials[0].fingerprint).data.tags["mlflow.parentRunId"])
    curve = client.get_metric_history(study.info.run_id, "top1 synthetic-to-real")
    assert [(metric.step, metric.value) for metric in curve] == [
        (17, pytest.approx(rows.loc["synthetic->real", "top1_mean"]))
    ]
    assert study.data.metrics["top1 real"] == pytest.approx(rows.loc["real", "top1_mean"])


def test_trials_of_one_name_are_told_apart_by_their_fingerprints(store: Store) -> None:
    plan = small_plan(store)
    runs = StudyRuns(plan, store, {})
    first, second = plan.trials[0], replace(plan.trials[0], temperature=0.3)
    assert first.title == second.title
    assert runs._name_of(first) == runs._name_of(first) == run_name(first)
    assert runs._name_of(second) == f"{run_name(first)} {second.fingerprint[:8]}"
