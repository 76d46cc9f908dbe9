"""Reads a study's results back from MLflow, where the sweep recorded them, without the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.core.errors import InputError
from orchestrator.storage.store import StoredModel
from orchestrator.tracking.address import EXPERIMENT, database_file
from orchestrator.tracking.client import open_client, runs_with
from orchestrator.tracking.contents import METRICS, metric_name
from trainables.spec import TrainingSpec

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Recorded:
    """The trials that a tracking store knows as finished or failed.

    Args:
        uri: of the tracking store.

    Raises:
        InputError: it cannot be read, or has no experiment of mindgap's.
    """

    def __init__(self, uri: str) -> None:
        _refuse_absent_file(uri)
        self._uri = uri
        with _told(uri):
            self._client = open_client(uri)
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
    path = database_file(uri)
    if path is not None and not path.is_file():
        raise InputError(f"There is no MLflow database {path}. Give its address: --from-mlflow sqlite:///FILE.")


def _finished_runs(client: MlflowClient, experiment: str) -> dict[str, Any]:
    """The newest run of each training; one that several studies share has a run in each."""
    found: dict[str, Any] = {}
    for run in runs_with(client, experiment, {"role": "trial"}):
        if run.info.status in ("FINISHED", "FAILED"):
            found.setdefault(run.data.tags.get("fingerprint", ""), run)
    return found


def _history(client: MlflowClient, run: Any) -> list[dict[str, float]]:
    """The metrics of each epoch, in order; epochs that lack one (a loss that was not finite) have NaN for it."""
    epochs: dict[int, dict[str, float]] = defaultdict(dict)
    for key in METRICS:
        history = client.get_metric_history(run.info.run_id, metric_name(key))
        for metric in history or client.get_metric_history(run.info.run_id, key):  # As it was called before.
            epochs[metric.step][key] = metric.value
    empty = dict.fromkeys(METRICS, float("nan"))
    return [{"epoch": step, **empty, **epochs[step]} for step in sorted(epochs)]
