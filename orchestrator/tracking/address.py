"""Where runs are recorded, and how to look at them. Nothing of MLflow's is imported here."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from datagen.core.errors import InputError
from orchestrator.storage.store import Store
from orchestrator.tracking.secrets import redacted

EXPERIMENT = "mindgap"
SQLITE = "sqlite:///"
DATABASES = ("sqlite:", "postgresql", "mysql", "mssql")
SERVERS = ("http://", "https://", "databricks")


def tracking_uri(store: Store) -> str:
    """Where runs are recorded: MLFLOW_TRACKING_URI if set, else a SQLite file in the store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{store.root / 'mlflow.db'}"


def ui_command(uri: str) -> str:
    """How to look at the runs in a browser, quoted for a shell."""
    shown = redacted(uri)
    return f"look at {shown}" if uri.startswith("http") else shlex.join(["mlflow", "ui", "--backend-store-uri", shown])


def database_file(uri: str) -> Path | None:
    """The file of a SQLite database; None of anything else."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0]) if uri.startswith(SQLITE) else None


def check_tracking(store: Store) -> None:
    """Refuses a tracking address that MLflow does not know.

    Raises:
        InputError: MLFLOW_TRACKING_URI is neither a database nor a server.
    """
    uri = tracking_uri(store)
    if not uri.startswith(DATABASES + SERVERS):
        raise InputError(
            f"MLFLOW_TRACKING_URI is {redacted(uri)!r}: give a server (http://...) or a database (sqlite:///...), "
            "or unset it."
        )
