"""How runs get into MLflow: through its client, call by call, or many at once, in one transaction of its database.

MLflow's client has no call for several runs. A run with its parameters, inputs, metrics and end is five calls of seven
transactions or more: 20 ms of a core and as much waiting for the disk, which is longer than Ray Tune needs for a trial.
The same rows, written by MLflow's own tables for a hundred runs together, cost less than a millisecond a run. Whatever
the database does not take like that, the client writes.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric
    from mlflow.exceptions import MlflowException

AT_ONCE = 100
"""Runs in one transaction: each holds the database for some 50 ms."""
TEMPORARY = (401, 403, 408, 429)
"""HTTP statuses below 500 that say nothing of what was sent: the same may be taken later."""


@dataclass(slots=True)
class Changes:
    """What is still to be written to one run.

    Attributes:
        run_id: the run's; "" if it has still to be made.
        found_by: the tags that tell it from all others.
        started: when a run that is to be made started, milliseconds since 1970.
        tags: to be set.
        params: of a run that is to be made.
        inputs: its data sets, likewise.
        metrics: to be added.
        status: its end, "FINISHED", "FAILED" or "KILLED"; "" while it runs.
        ended: when, milliseconds since 1970.
        tried: whether it was tried to make the run: the answer may have been lost on its way.
        refused: whether MLflow will not make the run.
    """

    run_id: str
    found_by: Mapping[str, str]
    started: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    inputs: Sequence[DatasetInput] = ()
    metrics: list[Metric] = field(default_factory=list)
    status: str = ""
    ended: int = 0
    tried: bool = False
    refused: bool = False

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        changed = self.tags or self.params or self.inputs or self.metrics or self.status or not self.run_id
        return bool(changed) and not self.refused

    def written(self, run_id: str) -> None:
        """Forgets what is written by now."""
        self.run_id, self.status, self.inputs = run_id, "", ()
        self.tags, self.params, self.metrics = {}, {}, []


class Writer(Protocol):
    """Writes what has changed."""

    def write(self, changes: Sequence[Changes]) -> list[str]:
        """Writes all, and marks each as written; may be repeated after an error.

        Returns:
            What MLflow refuses to take and will refuse again, a sentence each.

        Raises:
            Exception: the tracking store does not answer now.
        """


def writer_for(client: MlflowClient, experiment: str) -> Writer:
    """The fastest that there is for the client's tracking store."""
    by_client = ClientWriter(client, experiment)
    try:
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        store = client._tracking_client.store
    except (ImportError, AttributeError):
        return by_client
    return DatabaseWriter(store, experiment, by_client) if isinstance(store, SqlAlchemyStore) else by_client


def find_run(client: MlflowClient, experiment: str, tags: Mapping[str, str]) -> str:
    """The newest run that has all these tags; "" if there is none."""
    condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    found = client.search_runs([experiment], condition, max_results=1)
    return found[0].info.run_id if found else ""


class ClientWriter:
    """Writes through MLflow's client: to servers."""

    def __init__(self, client: MlflowClient, experiment: str) -> None:
        self._client, self._experiment = client, experiment

    def write(self, changes: Sequence[Changes]) -> list[str]:
        """See `Writer`."""
        from mlflow.exceptions import MlflowException

        refused = []
        for item in changes:
            try:
                self._write(item)
            except MlflowException as error:
                if not _is_refused(error):
                    raise
                refused.append(str(error))
                item.refused = not item.run_id
            item.written(item.run_id)
        return refused

    def _write(self, item: Changes) -> None:
        from mlflow.entities import Param, RunTag

        if not item.run_id:
            item.run_id = find_run(self._client, self._experiment, item.found_by) if item.tried else ""
            item.tried = True
            if not item.run_id:
                made = self._client.create_run(self._experiment, start_time=item.started, tags=item.tags)
                item.run_id, item.tags = made.info.run_id, {}
        self._client.log_batch(
            item.run_id,
            metrics=item.metrics,
            params=[Param(key, value) for key, value in item.params.items()],
            tags=[RunTag(key, value) for key, value in item.tags.items()],
        )
        if item.inputs:
            self._client.log_inputs(item.run_id, list(item.inputs))
        if item.status:
            self._client.set_terminated(item.run_id, item.status, item.ended)


def _is_refused(error: MlflowException) -> bool:
    status = error.get_http_status_code()
    return 400 <= status < 500 and status not in TEMPORARY


class DatabaseWriter:
    """Writes to MLflow's tables, as its own `SqlAlchemyStore` would: to SQLite, PostgreSQL and the like.

    Args:
        store: MLflow's `SqlAlchemyStore`.
        experiment: where the runs belong.
        otherwise: writes what the database does not take from this one.
    """

    def __init__(self, store: Any, experiment: str, otherwise: Writer) -> None:
        # MLflow logs a traceback for each lock that is not had in time; such writes are repeated.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        self._store, self._experiment, self._otherwise = store, int(experiment), otherwise
        self._artifacts = store.get_experiment(experiment).artifact_location

    def write(self, changes: Sequence[Changes]) -> list[str]:
        """See `Writer`."""
        uncertain = [item for item in changes if not item.run_id and item.tried]
        refused = self._otherwise.write(uncertain)
        certain = [item for item in changes if item]
        for first in range(0, len(certain), AT_ONCE):
            refused += self._write_at_once(certain[first : first + AT_ONCE])
        return refused

    def _write_at_once(self, changes: Sequence[Changes]) -> list[str]:
        from mlflow.exceptions import MlflowException

        rows = _Rows(changes, self._experiment, self._artifacts)
        for item in changes:
            item.tried = True
        try:
            with self._store.ManagedSessionMaker(read_only=False) as session:
                rows.insert(session)
        except (MlflowException, TypeError) as error:
            if getattr(error, "error_code", "") == "TEMPORARILY_UNAVAILABLE":
                raise
            return self._otherwise.write(changes)
        for item, run_id in zip(changes, rows.run_ids, strict=True):
            item.written(run_id)
        return []


class _Rows:
    """The rows of changes in MLflow's tables (`mlflow.store.tracking.dbmodels.models`)."""

    def __init__(self, changes: Sequence[Changes], experiment: int, artifacts: str) -> None:
        self._changes, self._experiment, self._artifacts = changes, experiment, artifacts
        self.run_ids = [item.run_id or uuid.uuid4().hex for item in changes]

    def insert(self, session: Any) -> None:
        """Writes them in the transaction of `session`."""
        from mlflow.store.tracking.dbmodels import models

        def add(model: Any, rows: Iterable[Mapping[str, Any]]) -> None:
            if rows := list(rows):
                if unknown := set(rows[0]) - set(model.__table__.columns.keys()):
                    raise TypeError(f"This MLflow's {model.__tablename__} have no {unknown}")  # SQLAlchemy drops them.
                session.execute(model.__table__.insert(), rows)

        pairs = list(zip(self.run_ids, self._changes, strict=True))
        new = [(run_id, item) for run_id, item in pairs if not item.run_id]
        old = [(run_id, item) for run_id, item in pairs if item.run_id]
        add(models.SqlRun, (self._run(run_id, item) for run_id, item in new))
        ends = [
            {"run_uuid": run_id, "status": item.status, "end_time": item.ended} for run_id, item in old if item.status
        ]
        session.bulk_update_mappings(models.SqlRun, ends)
        add(models.SqlTag, (_pair(run_id, tag) for run_id, item in new for tag in item.tags.items()))
        for run_id, item in old:
            for tag in item.tags.items():
                session.merge(models.SqlTag(**_pair(run_id, tag)))
        add(models.SqlParam, (_pair(run_id, param) for run_id, item in pairs for param in item.params.items()))
        self._insert_inputs(session, models, add, pairs)
        metrics = [_metric(run_id, metric) for run_id, item in pairs for metric in item.metrics]
        add(models.SqlMetric, metrics)
        self._update_latest(session, models, add, metrics, [run_id for run_id, item in old if item.metrics])

    def _run(self, run_id: str, item: Changes) -> dict[str, Any]:
        from mlflow.utils.uri import append_to_uri_path

        return {
            "run_uuid": run_id,
            "name": item.tags.get("mlflow.runName", ""),
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "user_id": "unknown",
            "status": item.status or "RUNNING",
            "start_time": item.started,
            "end_time": item.ended if item.status else None,
            "deleted_time": None,
            "source_version": "",
            "lifecycle_stage": "active",
            "artifact_uri": append_to_uri_path(self._artifacts, run_id, "artifacts"),
            "experiment_id": self._experiment,
        }

    def _insert_inputs(self, session: Any, models: Any, add: Any, pairs: Sequence[tuple[str, Changes]]) -> None:
        used = {(each.dataset.name, each.dataset.digest): each.dataset for _, item in pairs for each in item.inputs}
        if not used:
            return
        table = models.SqlDataset
        there = session.query(table.name, table.digest, table.dataset_uuid).filter(
            table.experiment_id == self._experiment, table.digest.in_([digest for _, digest in used])
        )
        ids = {(name, digest): dataset_id for name, digest, dataset_id in there}
        lacking = {key: dataset for key, dataset in used.items() if key not in ids}
        ids |= {key: uuid.uuid4().hex for key in lacking}
        add(table, (self._dataset(ids[key], dataset) for key, dataset in lacking.items()))
        inputs, tags = [], []
        for run_id, item in pairs:
            for key, each in {(each.dataset.name, each.dataset.digest): each for each in reversed(item.inputs)}.items():
                input_id = uuid.uuid4().hex
                inputs.append(
                    {
                        "input_uuid": input_id,
                        "source_type": "DATASET",
                        "source_id": ids[key],
                        "destination_type": "RUN",
                        "destination_id": run_id,
                    }
                )
                tags += [{"input_uuid": input_id, "name": tag.key, "value": tag.value} for tag in each.tags]
        add(models.SqlInput, inputs)
        add(models.SqlInputTag, tags)

    def _dataset(self, dataset_id: str, dataset: Any) -> dict[str, Any]:
        return {
            "dataset_uuid": dataset_id,
            "experiment_id": self._experiment,
            "name": dataset.name,
            "digest": dataset.digest,
            "dataset_source_type": dataset.source_type,
            "dataset_source": dataset.source,
            "dataset_schema": dataset.schema,
            "dataset_profile": dataset.profile,
        }

    def _update_latest(
        self, session: Any, models: Any, add: Any, metrics: Sequence[dict[str, Any]], old: Sequence[str]
    ) -> None:
        """Keeps each metric's last value by itself, as MLflow does for its tables of runs."""
        latest: dict[tuple[str, str], dict[str, Any]] = {}
        for row in metrics:
            key = row["run_uuid"], row["key"]
            if key not in latest or _age(row) > _age(latest[key]):
                latest[key] = row
        table = models.SqlLatestMetric
        columns = (table.run_uuid, table.key, table.step, table.timestamp, table.value)
        there = {
            (run_id, key): (step, timestamp, value)
            for run_id, key, step, timestamp, value in session.query(*columns).filter(table.run_uuid.in_(old))
        }
        add(table, (row for key, row in latest.items() if key not in there))
        newer = [row for key, row in latest.items() if key in there and _age(row) > there[key]]
        session.bulk_update_mappings(table, newer)


def _pair(run_id: str, pair: tuple[str, str]) -> dict[str, str]:
    return {"run_uuid": run_id, "key": pair[0], "value": pair[1]}


def _metric(run_id: str, metric: Metric) -> dict[str, Any]:
    return {
        "run_uuid": run_id,
        "key": metric.key,
        "value": metric.value,
        "timestamp": metric.timestamp,
        "step": metric.step,
        "is_nan": False,
    }


def _age(row: Mapping[str, Any]) -> tuple[int, int, float]:
    return row["step"], row["timestamp"], row["value"]
