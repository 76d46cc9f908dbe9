"""MLflow records what happens, and is never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from datagen.errors import InputError
from orchestrator import tracking
from orchestrator.catalog import load_scale, load_study
from orchestrator.overrides import apply_overrides
from orchestrator.plan import Plan, make_plan
from orchestrator.results import finished_models
from orchestrator.store import Store
from orchestrator.tracking import Tracker, check_tracking
from trainables.report import EpochReport


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Store(tmp_path / "store").open()


def small_plan(store: Store) -> Plan:
    study, scale = apply_overrides(load_study("layer_importance"), load_scale("pocket"), ["frozen_layers=17"])
    return make_plan(study, scale, 1, store)


def epoch(number: int) -> dict[str, float]:
    return {
        "epoch": number,
        "top1": 10.0 * number,
        "top5": 90.0,
        "train_loss": 1.0,
        "learning_rate": 0.1,
        "seconds": 2.0,
    }


def run_to_epoch(plan: Plan, store: Store, last: int) -> None:
    """Tells a tracker about the first work's epochs 1 to `last`, as a sweep that then stops would."""
    work = next(item for item in plan.work() if item.members)
    with Tracker(plan, store) as tracker:
        tracker.work_started(work)
        for number in range(1, last + 1):
            trials = {spec.fingerprint: epoch(number) for spec in work.members}
            tracker.work_progressed(work, EpochReport(number, 3, trials))
    assert tracker.lost == []


def steps(store: Store, plan: Plan) -> list[int]:
    client = MlflowClient(tracking.tracking_uri(store))
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    first = next(item for item in plan.work() if item.members).members[0].fingerprint
    (run,) = client.search_runs([experiment.experiment_id], f"tags.fingerprint = '{first}'")
    return [metric.step for metric in client.get_metric_history(run.info.run_id, "top1")]


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


def test_an_absent_server_is_told_and_raises_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = small_plan(store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 1)
    with Tracker(plan, store) as tracker:
        tracker.work_started(plan.work()[0])
    assert len(tracker.lost) == 1


def test_a_tracking_address_that_mlflow_does_not_know_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    with pytest.raises(InputError, match="MLFLOW_TRACKING_URI is 'mlruns'"):
        check_tracking(store)
