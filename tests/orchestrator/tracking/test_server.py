"""MLflow servers: absent, refusing, behind TLS; passwords go to them and nowhere else."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console

from datagen.core.errors import InputError
from orchestrator import sweep
from orchestrator.cli.options import Options
from orchestrator.run_study import StudyRun, _record
from orchestrator.storage.store import Store
from orchestrator.tracking import background
from orchestrator.tracking.address import check_tracking, tracking_uri, ui_command
from orchestrator.tracking.checks import check_records
from orchestrator.tracking.recorder import Tracker
from orchestrator.tracking.server import CERTIFICATES
from tests.orchestrator.tracking.recorded import run_to_epoch, small_plan, steps


def test_an_absent_server_is_told_and_raises_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = small_plan(store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(background, "RETRY_SECONDS", 1)
    with Tracker(plan, store) as tracker:
        tracker.task_started(plan.tasks()[0])
    assert tracker.lost == ["Connection refused"]


def test_a_sweep_is_told_before_it_starts_that_the_server_is_away() -> None:
    sentence = check_records("http://alice:pass@127.0.0.1:9")
    assert sentence.startswith("The MLflow server http://***@127.0.0.1:9 cannot be reached (Connection refused).")


def test_a_tracking_address_that_mlflow_does_not_know_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    with pytest.raises(InputError, match="MLFLOW_TRACKING_URI is 'mlruns'"):
        check_tracking(store)


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
    monkeypatch.setattr(background, "RETRY_SECONDS", 1)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "alice")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    for uri in (f"http://127.0.0.1:{server.server_port}", f"http://alice:{SECRET}@127.0.0.1:{server.server_port}"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with Tracker(plan, store) as tracker:
            print(ui_command(tracking_uri(store)))
        print(tracker.lost, _record(StudyRun(plan, store, Options(store_location=str(store.root)), None, Console())))
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
        check_records(f"http://127.0.0.1:{server.server_port}")
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
    assert check_records(secure_server) == ""
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
        check_records(secure_server)
