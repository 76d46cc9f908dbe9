"""Reads a study's results back from MLflow, where the sweep recorded them, without the store."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.core.errors import InputError
from orchestrator.storage.store import StoredModel
from orchestrator.tracking.recorder import EXPERIMENT, METRICS
from trainables.spec import TrainingSpec

if TYPE_CHECKING:
    from mlflow import MlflowClient

PAGE = 1000
"""Runs asked for at once."""


class Recorded:
    """The trials that a tracking store knows as finished or failed.

    Args:
        uri: of the tracking store.

    Raises:
        InputError: it cannot be read, or has no experiment of mindgap's.
    """

    def __init__(self, uri: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        _refuse_absent_file(uri)
        from mlflow import MlflowClient

        self._uri = uri
        with _told(uri):
            self._client = MlflowClient(uri)
            experiment = self._client.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                raise InputError(f"MLflow at {uri} has no experiment {EXPERIMENT!r}. Was the study recorded there?")
            self._runs = _finished_runs(self._client, experiment.experiment_id)

    def __contains__(self, spec: TrainingSpec) -> bool:
        return spec.fingerprint in self._runs

    def models(self, specs: Iterable[TrainingSpec]) -> dict[str, StoredModel]:
        """Those of the trainings that are recorded, by fingerprint; without weights."""
        found = {}
        with _told(self._uri):
            for fingerprint in (spec.fingerprint for spec in specs if spec in self):
                run = self._runs[fingerprint]
                failure = run.data.tags.get("failure", "failed") if run.info.status == "FAILED" else None
                found[fingerprint] = StoredModel(fingerprint, _history(self._client, run), failure, Path())
        return found


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Turns MLflow's errors into one sentence."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise InputError(f"MLflow at {uri} cannot be read: {str(error).splitlines()[0]}") from error


def _refuse_absent_file(uri: str) -> None:
    """MLflow would make an empty database."""
    path = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not path.is_file():
        raise InputError(f"There is no MLflow database {path}. Give its address: --from-mlflow sqlite:///FILE.")


def _finished_runs(client: MlflowClient, experiment: str) -> dict[str, Any]:
    """The newest run of each training; one that several studies share has a run in each."""
    found: dict[str, Any] = {}
    token = None
    while True:
        runs = client.search_runs([experiment], "tags.role = 'trial'", max_results=PAGE, page_token=token)
        for run in runs:
            if run.info.status in ("FINISHED", "FAILED"):
                found.setdefault(run.data.tags.get("fingerprint", ""), run)
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
