"""Small sweeps told to a tracker, and what MLflow then holds."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities import Run

from orchestrator.cli.overrides import apply_overrides
from orchestrator.planning.catalog import load_scale, load_study
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.storage.store import Store
from orchestrator.tracking.address import EXPERIMENT, tracking_uri
from orchestrator.tracking.recorder import Tracker
from trainables.report import EpochReport


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
    """Tells a tracker about the first task's epochs 1 to `last`, as a sweep that then stops would."""
    task = next(item for item in plan.tasks() if item.members)
    with Tracker(plan, store) as tracker:
        tracker.task_started(task)
        for number in range(1, last + 1):
            trials = {spec.fingerprint: epoch(number) for spec in task.members}
            tracker.task_progressed(task, EpochReport(number, 3, trials))
    assert tracker.lost == []


def steps(store: Store, plan: Plan) -> list[int]:
    client = MlflowClient(tracking_uri(store))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    first = next(item for item in plan.tasks() if item.members).members[0].fingerprint
    (run,) = client.search_runs([experiment.experiment_id], f"tags.fingerprint = '{first}'")
    return [metric.step for metric in client.get_metric_history(run.info.run_id, "top1")]


def run_of(store: Store, fingerprint: str) -> Run:
    client = MlflowClient(tracking_uri(store))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    (run,) = client.search_runs([experiment.experiment_id], f"tags.fingerprint = '{fingerprint}'")
    return run
