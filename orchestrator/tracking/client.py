"""MLflow's client, made quiet, and the questions that are asked of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE = 1000
"""Runs asked for at once."""


def open_client(uri: str) -> MlflowClient:
    """A client of the tracking store at `uri` that says nothing on the terminal and gives up soon."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # MLflow's own retries would try an absent server for minutes before saying so; ours are `background.RETRY_SECONDS`.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # a line and a request for each run
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # It logs a traceback for each write that a database does not take; such writes are repeated.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    return MlflowClient(uri)


def runs_with(client: MlflowClient, experiment: str, tags: dict[str, str]) -> Iterator[Run]:
    """The runs of an experiment that have all these tags, the newest first.

    MLflow's filters have no way to write a quote in a value, so only tags without one are asked for by a filter; the
    others are compared here.
    """
    asked = {key: value for key, value in tags.items() if "'" not in value}
    condition, token = " and ".join(f"tags.`{key}` = '{value}'" for key, value in asked.items()), None
    while True:
        found = client.search_runs([experiment], condition, max_results=PAGE, page_token=token)
        yield from (run for run in found if all(run.data.tags.get(key) == value for key, value in tags.items()))
        if not (token := found.token):
            return


def find_run(client: MlflowClient, experiment: str, tags: dict[str, str]) -> str:
    """The newest run that has all these tags; "" if there is none."""
    run = next(runs_with(client, experiment, tags), None)
    return run.info.run_id if run else ""
