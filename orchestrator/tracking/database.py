"""Whether an MLflow database can be used, asked before a study runs: what will not heal is told then."""

from __future__ import annotations

import os
from pathlib import Path

from datagen.core.errors import InputError
from orchestrator.tracking.address import EXPERIMENT, database_file
from orchestrator.tracking.client import open_client
from orchestrator.tracking.secrets import redacted

ANSWERS_WITHIN = 10
"""Seconds."""
OTHER = "Set MLFLOW_TRACKING_URI to another database, or unset it."


def check_database(uri: str) -> str:
    """Opens the database at `uri` and asks for the experiment.

    Returns:
        A sentence to show: of a database server that does not answer now, or of an experiment that was deleted; "" if
        all is well, or if it is a file that is still to be made.

    Raises:
        InputError: it cannot be written, is no MLflow database, or is one of another version.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    shown, file = redacted(uri), database_file(uri)
    if file is not None:
        _check_file(file)
        if not file.exists() or not file.stat().st_size:
            return ""
    elif absence := _absence(uri, shown):
        return absence
    try:
        experiment = open_client(uri).get_experiment_by_name(EXPERIMENT)
    except (MlflowException, SQLAlchemyError) as error:
        if "out-of-date database schema" in str(error) or "locate revision" in str(error):
            raise InputError(
                f"The MLflow database {shown} has the tables of another version of MLflow. Back it up, then upgrade it "
                f"(mlflow db upgrade {shown}); or set MLFLOW_TRACKING_URI to another database."
            ) from error
        raise InputError(f"{shown} cannot be used as an MLflow database: {_reason(error)}. {OTHER}") from error
    if experiment is not None and experiment.lifecycle_stage == "deleted":
        return f"The experiment {EXPERIMENT!r} was deleted in MLflow. It is restored, with its runs, for this record."
    return ""


def _check_file(file: Path) -> None:
    folder = file.absolute().parent
    if not folder.is_dir():
        raise InputError(f"The MLflow database {file} cannot be made: there is no folder {folder}. {OTHER}")
    if not os.access(file if file.exists() else folder, os.W_OK):
        raise InputError(f"The MLflow database {file} cannot be written: permission is denied. {OTHER}")


def _absence(uri: str, shown: str) -> str:
    """A sentence if a database server does not answer; MLflow itself would try it for minutes."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

    timeout = {"connect_timeout": ANSWERS_WITHIN} if uri.startswith(("postgresql", "mysql")) else {}
    try:
        with create_engine(uri, connect_args=timeout).connect():
            return ""
    except ImportError as error:
        raise InputError(f"{shown} needs a Python package that is not installed: {error.name}.") from error
    except (ArgumentError, NoSuchModuleError) as error:
        raise InputError(f"{shown} is no address of a database: {_reason(error)}. {OTHER}") from error
    except OperationalError as error:
        return (
            f"The MLflow database {shown} cannot be reached ({_reason(error)}). The study runs all the same; give the "
            "same command again when it answers, and it gets the records that it lacks."
        )


def _reason(error: BaseException) -> str:
    original = getattr(error, "orig", None) or error
    return redacted(str(original).strip().splitlines()[0]).rstrip(".")
