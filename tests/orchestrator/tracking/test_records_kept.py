"""No record is lost for good: odd names, deleted experiments, databases of other versions, stores that were moved."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from datagen.core.errors import InputError
from orchestrator import sweep
from orchestrator.reporting.tables import finished_models
from orchestrator.storage.store import Store
from orchestrator.tracking.address import EXPERIMENT, tracking_uri
from orchestrator.tracking.checks import check_records
from orchestrator.tracking.client import find_run
from orchestrator.tracking.recorder import Tracker
from tests.orchestrator.tracking.recorded import epoch, run_of, run_to_epoch, small_plan, steps


@pytest.mark.parametrize("name", ["bird's eye", 'the "best" one', 'it\'s "both"', "100 % `odd`; -- ok"])
def test_a_run_of_any_name_is_found_again(store: Store, name: str) -> None:
    client = MlflowClient(tracking_uri(store))
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    runs = [client.create_run(experiment, tags={"study": name, "seed": seed}).info.run_id for seed in "01"]
    client.create_run(experiment, tags={"study": f"{name} ", "seed": "0"})
    assert find_run(client, experiment, {"study": name, "seed": "0"}) == runs[0]
    assert find_run(client, experiment, {"study": name, "seed": "2"}) == ""


def test_a_deleted_experiment_is_restored_and_said_to_be(store: Store) -> None:
    plan = small_plan(store)
    run_to_epoch(plan, store, 1)
    client = MlflowClient(tracking_uri(store))
    client.delete_experiment(client.get_experiment_by_name(EXPERIMENT).experiment_id)
    assert check_records(tracking_uri(store)).startswith("The experiment 'mindgap' was deleted in MLflow.")
    run_to_epoch(plan, store, 2)
    assert steps(store, plan) == [1, 2]
    assert check_records(tracking_uri(store)) == ""


def test_a_database_of_another_mlflow_is_refused_before_anything_runs(store: Store) -> None:
    with closing(sqlite3.connect(store.root / "mlflow.db")) as database, database:
        database.execute("update alembic_version set version_num = '97727af70f4d'")
    refused = CliRunner().invoke(sweep.main, ["layer_importance", "--store", str(store.root)])
    assert refused.exit_code == 2, refused.output
    assert "has the tables of another version of MLflow. Back it up, then upgrade it (mlflow db upgrade" in (
        " ".join(refused.stderr.split())
    )
    assert not list(store.root.glob("models/*"))


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("sqlite:///{0}/nowhere/mlflow.db", "there is no folder {0}/nowhere"),
        ("sqlite:///{0}/text.db", "cannot be used as an MLflow database: file is not a database"),
        ("postgresql+nosuchdriver://host/records", "is no address of a database"),
        ("mssql+pyodbc://host/records", "needs a Python package that is not installed: pyodbc"),
    ],
)
def test_a_database_that_will_never_take_records_is_refused(store: Store, uri: str, told: str) -> None:
    (store.root / "text.db").write_text("no database\n" * 100)
    with pytest.raises(InputError) as refusal:
        check_records(uri.format(store.root))
    assert told.format(store.root) in str(refusal.value)


def test_a_database_that_is_still_to_be_made_is_well(tmp_path: Path) -> None:
    assert check_records(f"sqlite:///{tmp_path / 'mlflow.db'}") == ""
    assert not (tmp_path / "mlflow.db").exists()


def test_a_store_that_was_moved_or_copied_keeps_its_artifacts_with_it(tmp_path: Path, store: Store) -> None:
    shutil.rmtree(store.root / "mlflow", ignore_errors=True)
    (store.root / "mlflow.db").unlink()
    plan = small_plan(store)
    for spec in plan.trials:
        store.publish_model(spec, [epoch(1)], None, lambda path: path.write_bytes(b"weights"))
    (tmp_path / "report.md").write_text("the report")

    def record(here: Store) -> None:
        with Tracker(plan, here) as tracker:
            tracker.record_results(finished_models(plan, here), [tmp_path / "report.md"], "", complete=True)
        assert tracker.lost == []

    record(store)
    before = {path: path.stat().st_mtime_ns for path in (store.root / "mlflow").rglob("report.md")}
    assert before
    moved = Store(shutil.copytree(store.root, tmp_path / "moved")).create()
    shutil.rmtree(moved.root / "mlflow")
    record(moved)
    assert len(list((moved.root / "mlflow").rglob("report.md"))) == 1
    assert {path: path.stat().st_mtime_ns for path in (store.root / "mlflow").rglob("report.md")} == before
    assert run_of(moved, plan.trials[0].fingerprint).info.status == "FINISHED"
    record(moved)
    assert len(list((moved.root / "mlflow").rglob("report.md"))) == 1
