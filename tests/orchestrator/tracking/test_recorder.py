"""MLflow records what happens, and is never in the way."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import math
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mlflow import MlflowClient
from mlflow.entities import Run
from sqlalchemy.exc import OperationalError

from datagen.core.errors import InputError
from orchestrator import sweep
from orchestrator.cli.overrides import apply_overrides
from orchestrator.planning.catalog import load_scale, load_study
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.reporting.tables import finished_models
from orchestrator.run_study import _record
from orchestrator.storage.store import Store
from orchestrator.tracking import recorder as tracking
from orchestrator.tracking import writers as tracking_writers
from orchestrator.tracking.recorder import Tracker, check_tracking, tracking_uri, ui_command
from orchestrator.tracking.server import CERTIFICATES, check_server
from orchestrator.tracking.writers import ClientWriter
from trainables.report import EpochReport


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: to make one takes seconds, to copy it none."""
    path = tmp_path_factory.mktemp("blank") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").create_experiment(tracking.EXPERIMENT, artifact_location=str(path.parent))
    return path


@pytest.fixture
def store(tmp_path: Path, blank: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store(tmp_path / "store").open()
    shutil.copy(blank, store.root)
    return store


def small_plan(store: Store) -> Plan:
    study, scale = apply_overrides(load_study("layer_importance"), load_scale("pocket"), ["frozen_layers=17"])
    return make_plan(study, scale, 1, store)


def epoch(number: int) -> dict[str, float]:
    return {
        "epoch": number,
        "top1": 10.0 * number,
        "top5": 90.0,
        "train_loss": 1.0,
        "learning_rate": 0.1,
        "seconds": 2.0,
    }


def run_to_epoch(plan: Plan, store: Store, last: int) -> None:
    """Tells a tracker about the first task's epochs 1 to `last`, as a sweep that then stops would."""
    task = next(item for item in plan.tasks() if item.members)
    with Tracker(plan, store) as tracker:
        tracker.task_started(task)
        for number in range(1, last + 1):
            trials = {spec.fingerprint: epoch(number) for spec in task.members}
            tracker.task_progressed(task, EpochReport(number, 3, trials))
    assert tracker.lost == []


def steps(store: Store, plan: Plan) -> list[int]:
    client = MlflowClient(tracking.tracking_uri(store))
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    first = next(item for item in plan.tasks() if item.members).members[0].fingerprint
    (run,) = client.search_runs([experiment.experiment_id], f"tags.fingerprint = '{first}'")
    return [metric.step for metric in client.get_metric_history(run.info.run_id, "top1")]


def test_an_interrupted_trial_goes_on_in_its_own_run_and_logs_no_epoch_twice(store: Store) -> None:
    plan = small_plan(store)
    run_to_epoch(plan, store, 2)
    run_to_epoch(plan, store, 3)
    assert steps(store, plan) == [1, 2, 3]


def test_epochs_that_mlflow_missed_are_taken_from_the_store(store: Store) -> None:
    plan = small_plan(store)
    run_to_epoch(plan, store, 1)
    for spec in plan.trials:
        store.publish_model(spec, [epoch(n) for n in (1, 2, 3)], None, lambda path: path.write_bytes(b"weights"))
    with Tracker(plan, store) as tracker:
        tracker.record_results(finished_models(plan, store), [], "the verdict", complete=True)
    assert tracker.lost == []
    assert steps(store, plan) == [1, 2, 3]


def tables(store: Store) -> dict[str, list[str]]:
    """Every row of MLflow's tables about trials, as text: runs by their names, without other ids and times."""
    with closing(sqlite3.connect(store.root / "mlflow.db")) as database:
        names = dict(database.execute("select run_uuid, name from runs"))
        names |= dict(database.execute("select dataset_uuid, name from datasets"))
        names |= dict(database.execute("select input_uuid, source_id || destination_id from inputs"))
        found = {}
        for table in ("runs", "tags", "params", "metrics", "latest_metrics", "datasets", "inputs", "input_tags"):
            rows = database.execute(f"select * from {table}")
            times = [column[0] in {"start_time", "end_time", "timestamp"} for column in rows.description]
            found[table] = sorted(
                str([value and "some" if time else value for value, time in zip(row, times, strict=True)])
                for row in rows
            )
    for _ in range(2):  # Inputs are named by runs and data sets.
        for unique, name in names.items():
            found = {table: [row.replace(unique, name) for row in rows] for table, rows in found.items()}
    return {table: sorted(rows) for table, rows in found.items()}


def eventful_sweeps(plan: Plan, store: Store) -> dict[str, list[str]]:
    """Three sweeps of a plan, of which the first is interrupted, and what MLflow then holds."""
    first, second = [item for item in plan.tasks() if item.members][:2]
    run_to_epoch(plan, store, 2)
    with Tracker(plan, store) as tracker:
        tracker.task_started(second)
        tracker.task_retried(first, "its node was preempted", 2.0)
        tracker.task_progressed(first, EpochReport(3, 3, {spec.fingerprint: epoch(3) for spec in first.members}))
        tracker.task_ended(second, "its process died")
    done = [spec for spec in plan.trials if spec not in second.members]
    for spec in done:
        store.publish_model(spec, [epoch(n) for n in (1, 2, 3)], None, lambda path: path.write_bytes(b"weights"))
    with Tracker(plan, store) as tracker:
        tracker.task_stopped(second, 2)
        tracker.record_results(finished_models(plan, store), [], "the verdict", complete=True)
    assert tracker.lost == []
    return tables(store)


def test_what_is_written_at_once_is_what_mlflows_client_writes(
    store: Store, blank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_plan(store)
    at_once = eventful_sweeps(plan, store)
    shutil.rmtree(store.root / "models")
    shutil.copy(blank, store.root)
    monkeypatch.setattr(tracking, "writer_for", ClientWriter)
    by_client = eventful_sweeps(plan, store)
    for table, rows in by_client.items():
        assert at_once[table] == rows
    assert len(at_once["runs"]) == 1 + len(plan.trials)


def test_what_the_database_does_not_take_at_once_the_client_writes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_plan(store)
    monkeypatch.setattr(tracking_writers._Rows, "_run", lambda self, run_id, item: {"run_uuid": run_id, "no": "column"})
    run_to_epoch(plan, store, 2)
    assert steps(store, plan) == [1, 2]


def test_a_locked_database_delays_the_records_and_loses_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = small_plan(store)
    task = next(item for item in plan.tasks() if item.members)
    insert, tries = tracking_writers._Rows.insert, iter((True, True, False))

    def locked(rows: tracking_writers._Rows, session: Any) -> None:
        insert(rows, session)
        if next(tries, False):
            raise OperationalError("insert", {}, Exception("database is locked"))

    monkeypatch.setattr(tracking_writers._Rows, "insert", locked)
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0)
    with Tracker(plan, store) as tracker:
        tracker.task_started(task)
        tracker.task_progressed(task, EpochReport(1, 3, {task.members[0].fingerprint: epoch(1)}))
        deadline = time.monotonic() + 30
        while not tracker._down and time.monotonic() < deadline:
            time.sleep(0.02)
        tracker.task_progressed(task, EpochReport(2, 3, {task.members[0].fingerprint: epoch(2)}))
    assert tracker.lost == []
    assert steps(store, plan) == [1, 2]


def test_a_run_that_mlflow_refuses_is_told_once_and_the_others_are_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_plan(store)
    tasks = [item for item in plan.tasks() if item.members]
    run_to_epoch(plan, store, 1)
    deleted = run_of(store, tasks[0].members[0].fingerprint).info.run_id
    monkeypatch.setattr(tracking, "writer_for", ClientWriter)
    with Tracker(plan, store) as tracker:
        tracker.task_progressed(tasks[0], EpochReport(2, 3, {tasks[0].members[0].fingerprint: epoch(2)}))
        tracker._later(lambda: tracker._client.delete_run(deleted))
        tracker.task_started(tasks[1])
    assert len(tracker.lost) == 1
    assert "deleted" in tracker.lost[0]
    assert run_of(store, tasks[1].members[0].fingerprint).info.status == "RUNNING"


def test_an_absent_server_is_told_and_raises_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = small_plan(store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 1)
    with Tracker(plan, store) as tracker:
        tracker.task_started(plan.tasks()[0])
    assert tracker.lost == ["Connection refused"]


def test_a_sweep_is_told_before_it_starts_that_the_server_is_away() -> None:
    sentence = check_server("http://alice:pass@127.0.0.1:9")
    assert sentence.startswith("The MLflow server http://***@127.0.0.1:9 cannot be reached (Connection refused).")


def test_a_tracking_address_that_mlflow_does_not_know_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    with pytest.raises(InputError, match="MLFLOW_TRACKING_URI is 'mlruns'"):
        check_tracking(store)


def test_every_number_of_an_epoch_is_logged_and_every_axis_is_a_parameter(store: Store) -> None:
    plan = small_plan(store)
    task = next(item for item in plan.tasks() if item.members)
    row: dict[str, Any] = {
        **epoch(1),
        "system/gpu_power_usage_watts": 250.0,
        "timings": {"data": 0.5, "forward": 1.5},
        "odd": math.nan,
    }
    with Tracker(plan, store) as tracker:
        tracker.task_progressed(task, EpochReport(1, 3, {task.members[0].fingerprint: row}))
    assert tracker.lost == []
    run = run_of(store, task.members[0].fingerprint)
    assert run.data.metrics["system/gpu_power_usage_watts"] == 250.0
    assert run.data.metrics["timings/forward"] == 1.5
    assert "odd" not in run.data.metrics
    assert set(plan.study.axes) <= set(run.data.params)


def test_failures_retries_and_splits_are_on_the_trials_run(store: Store) -> None:
    plan = small_plan(store)
    task = next(item for item in plan.tasks() if item.members)
    with Tracker(plan, store) as tracker:
        tracker.task_retried(task, "its node was preempted", 2.0)
        tracker.task_split(task, [task], "the GPU's memory is too small")
        tracker.task_ended(task, "its process died, 4 times without progress")
    run = run_of(store, task.members[0].fingerprint)
    assert run.info.status == "FAILED"
    assert run.data.tags["retried"] == "its node was preempted"
    assert run.data.tags["split"].endswith("the GPU's memory is too small")
    assert run.data.tags["failure"].startswith("its process died")


def test_a_forced_trial_gets_a_run_of_its_own(store: Store) -> None:
    plan = small_plan(store)
    run_to_epoch(plan, store, 3)
    spec = next(item for item in plan.tasks() if item.members).members[0]
    before = run_of(store, spec.fingerprint).info.run_id
    with Tracker(plan, store, forced=[spec]) as tracker:
        tracker.task_started(plan.tasks()[1])
    assert run_of(store, spec.fingerprint).info.run_id != before


def run_of(store: Store, fingerprint: str) -> Run:
    client = MlflowClient(tracking.tracking_uri(store))
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    (run,) = client.search_runs([experiment.experiment_id], f"tags.fingerprint = '{fingerprint}'")
    return run


SECRET = "p4ssw0rd"


class AskedServer(ThreadingHTTPServer):
    """An HTTP server that keeps who asked, and knows nothing."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        super().__init__(("127.0.0.1", 0), _Refusing)


class _Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, AskedServer)
        self.server.asked.append(self.headers.get("Authorization"))
        self.send_response(403)
        self.end_headers()
        self.wfile.write(f"no entry for {SECRET}".encode())

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def server() -> Iterator[AskedServer]:
    server = AskedServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_user_and_password_reach_the_server_and_nothing_else(
    server: AskedServer, store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = small_plan(store)
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 1)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "alice")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    for uri in (f"http://127.0.0.1:{server.server_port}", f"http://alice:{SECRET}@127.0.0.1:{server.server_port}"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with Tracker(plan, store) as tracker:
            print(ui_command(tracking_uri(store)))
        print(tracker.lost, _record(plan, store))
    expected = "Basic " + base64.b64encode(f"alice:{SECRET}".encode()).decode()
    assert set(server.asked) == {expected}
    shown = "".join(capfd.readouterr())
    assert "no entry for ***" in shown
    assert SECRET not in shown


def test_a_password_in_an_address_that_mlflow_does_not_know_is_not_shown(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"ftp://alice:{SECRET}@host/path")
    with pytest.raises(InputError, match=r"ftp://\*\*\*@host/path") as refusal:
        check_tracking(store)
    assert SECRET not in str(refusal.value)


def test_a_server_that_refuses_the_password_is_told_before_a_sweep_starts(
    server: AskedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "alice")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    with pytest.raises(
        InputError, match=r"does not let this user in \(HTTP 403\)\. Set MLFLOW_TRACKING_USERNAME"
    ) as told:
        check_server(f"http://127.0.0.1:{server.server_port}")
    assert SECRET not in str(told.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1, signed by itself, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "MLflow")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    paths = [tmp_path_factory.mktemp("tls") / name for name in ("certificate.pem", "key.pem")]
    signed = made.add_extension(here, critical=False).sign(key, hashes.SHA256())
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    return paths[0], paths[1]


@pytest.fixture
def secure_server(store: Store, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of MLflow's own server behind TLS, with the store's database."""
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", f"sqlite:///{store.root / 'mlflow.db'}")
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(store.root / "mlflow"))
    from mlflow.server import app
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=(str(certificate[0]), str(certificate[1])))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    uri = f"https://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    yield uri
    server.shutdown()
    server.server_close()


def test_a_server_with_a_certificate_that_mlflow_is_told_to_trust_gets_the_records(
    secure_server: str, certificate: tuple[Path, Path], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_plan(store)
    monkeypatch.setenv(CERTIFICATES, str(certificate[0]))
    assert check_server(secure_server) == ""
    run_to_epoch(plan, store, 2)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert steps(store, plan) == [1, 2]  # As they are in the database behind the server.


def test_a_server_with_a_certificate_that_nobody_vouches_for_is_refused_in_a_sentence(
    secure_server: str, store: Store
) -> None:
    refused = CliRunner().invoke(sweep.main, ["layer_importance", "--store", str(store.root)])
    assert refused.exit_code == 2, refused.output
    assert f"The certificate of the MLflow server {secure_server} is not trusted (self-signed certi" in refused.stderr
    assert f"Set {CERTIFICATES} to a file" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_certificate_that_is_not_there_is_named(secure_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CERTIFICATES, "/nowhere/authority.pem")
    with pytest.raises(InputError, match=f"/nowhere/authority.pem. Fix {CERTIFICATES}"):
        check_server(secure_server)
