"""Reads a study's results back from MLflow, where the sweep recorded them, without the store."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.errors import InputError
from orchestrator.plan import Plan
from orchestrator.store import StoredModel
from orchestrator.tracking import EXPERIMENT, METRICS

if TYPE_CHECKING:
    from mlflow import MlflowClient

PAGE = 1000
"""Runs asked for at once."""


def recorded_models(uri: str, plan: Plan) -> dict[str, StoredModel]:
    """The finished trainings of a plan that MLflow knows, by fingerprint; without weights.

    Raises:
        InputError: the tracking store cannot be read, or has no experiment of mindgap's.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    _refuse_absent_file(uri)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            raise InputError(f"MLflow at {uri} has no experiment {EXPERIMENT!r}. Was the study recorded there?")
        return _models(client, experiment.experiment_id, {spec.fingerprint for spec in plan.trials})
    except MlflowException as error:
        raise InputError(f"MLflow at {uri} cannot be read: {str(error).splitlines()[0]}") from error


def _refuse_absent_file(uri: str) -> None:
    """MLflow would make an empty database."""
    path = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not path.is_file():
        raise InputError(f"There is no MLflow database {path}. Give its address: --from-mlflow sqlite:///FILE.")


def _models(client: MlflowClient, experiment: str, wanted: set[str]) -> dict[str, StoredModel]:
    found: dict[str, StoredModel] = {}
    token = None
    while True:
        runs = client.search_runs([experiment], "tags.role = 'trial'", max_results=PAGE, page_token=token)
        for run in runs:
            fingerprint = run.data.tags.get("fingerprint", "")
            # A training that several studies share has a run in each: any finished one will do.
            if fingerprint in wanted and fingerprint not in found and run.info.status in ("FINISHED", "FAILED"):
                failure = run.data.tags.get("failure", "failed") if run.info.status == "FAILED" else None
                found[fingerprint] = StoredModel(fingerprint, _history(client, run), failure, Path())
        token = runs.token
        if not token:
            return found


def _history(client: MlflowClient, run: Any) -> list[dict[str, float]]:
    """The metrics of each epoch, in order; epochs that lack one (a loss that was not finite) have NaN for it."""
    epochs: dict[int, dict[str, float]] = defaultdict(dict)
    for key in run.data.metrics:
        if key in METRICS:
            for metric in client.get_metric_history(run.info.run_id, key):
                epochs[metric.step][key] = metric.value
    empty = dict.fromkeys(METRICS, float("nan"))
    return [{"epoch": step, **empty, **epochs[step]} for step in sorted(epochs)]
