"""A store with an MLflow database of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator.storage.store import Store
from orchestrator.tracking.address import EXPERIMENT


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: to make one takes seconds, to copy it none."""
    path = tmp_path_factory.mktemp("blank") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").create_experiment(EXPERIMENT, artifact_location=str(path.parent))
    return path


@pytest.fixture
def store(tmp_path: Path, blank: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store(tmp_path / "store").create()
    shutil.copy(blank, store.root)
    return store
