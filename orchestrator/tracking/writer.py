"""How runs get into MLflow: through its client, run by run.

A run takes some five calls, 20 to 40 ms in all on SQLite; a thread of their own makes them, so thousands of trials end
no later for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.tracking.client import find_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric
    from mlflow.exceptions import MlflowException

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

    def written(self) -> None:
        """Forgets what is written by now."""
        self.status, self.inputs = "", ()
        self.tags, self.params, self.metrics = {}, {}, []


class Writer:
    """Writes what has changed."""

    def __init__(self, client: MlflowClient, experiment: str) -> None:
        self._client, self._experiment = client, experiment

    def write(self, changes: Sequence[Changes]) -> list[str]:
        """Writes all, and marks each as written; may be repeated after an error.

        Returns:
            What MLflow refuses to take and will refuse again, a sentence each.

        Raises:
            Exception: the tracking store does not answer now.
        """
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
            item.written()
        return refused

    def _write(self, item: Changes) -> None:
        from mlflow.entities import Param, RunTag

        if not item.run_id:
            item.run_id = find_run(self._client, self._experiment, dict(item.found_by)) if item.tried else ""
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
