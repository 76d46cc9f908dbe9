"""The experiment that holds all studies of a tracking store: made, restored, or begun anew where a store was moved."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from orchestrator.tracking.address import EXPERIMENT, database_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

ARTIFACTS = "mlflow"
"""The folder of artifacts, beside a database file."""


def open_experiment(client: MlflowClient, uri: str) -> str:
    """The id of the experiment of the tracking store at `uri`.

    One that was deleted is restored, since another of its name cannot be made. MLflow keeps the place of artifacts as
    a whole path, which cannot be changed: where the store that holds the database was moved or copied, the experiment
    is renamed, and a new one of the usual name takes what is recorded from now on. The records of a study come back
    into it from the store when its command is given again.
    """
    file = database_file(uri)
    place = None if file is None else (file.absolute().parent / ARTIFACTS)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None and experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    if experiment is not None and place is not None and _is_elsewhere(experiment.artifact_location, place):
        until = time.strftime("%Y-%m-%d %H:%M:%S")
        client.rename_experiment(experiment.experiment_id, f"{EXPERIMENT}, where the store was until {until}")
        experiment = None
    if experiment is not None:
        return str(experiment.experiment_id)
    return str(client.create_experiment(EXPERIMENT, None if place is None else place.as_uri()))


def _is_elsewhere(location: str, place: Path) -> bool:
    """Whether artifacts' location is that of a store's database file, but of one in another folder."""
    found = urlparse(location)
    there = Path(unquote(found.path))
    return found.scheme in ("", "file") and there.name == ARTIFACTS and there.resolve() != place.resolve()
