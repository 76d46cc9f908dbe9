"""Ray is joined where the user means, started where none is meant, and fails in one sentence."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import ray.util

from datagen.core.errors import InputError
from datagen.core.ray_session import ATTEMPTS, cluster_address, prepare, start_ray


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Ray in this process, none that `ray start` has noted, and nothing in the environment."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def loopback_port() -> Iterator[int]:
    """A port that only this machine's loopback answers, as a private Ray's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def note(tmp_path: Path, address: str) -> None:
    (tmp_path / "ray").mkdir(exist_ok=True)
    (tmp_path / "ray" / "ray_current_cluster").write_text(f"{address}\n")


def test_without_an_address_ray_is_started_here() -> None:
    assert cluster_address(None) is None


def test_the_environments_address_counts_where_no_option_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert cluster_address(None) == "10.0.0.1:6379"
    assert cluster_address("ray://other:10001") == "ray://other:10001"
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert cluster_address(None) is None


def test_auto_is_what_ray_start_has_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note(tmp_path, "10.0.0.1:6379")
    assert cluster_address("auto") == "10.0.0.1:6379"
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert cluster_address(None) == "10.0.0.1:6379"
    assert os.environ["RAY_ADDRESS"] == "10.0.0.1:6379"


@pytest.mark.parametrize("by_environment", [False, True])
def test_auto_never_joins_what_a_program_has_started_for_itself(
    by_environment: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_environment:
        monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(InputError, match=r"No Ray cluster was started on this machine by `ray start`"):
        start_ray(None if by_environment else "auto")


@pytest.mark.parametrize("address", ["somewhere", "host:", "ray://host", "host:port"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"is neither auto, host:port nor ray://host:port"):
        start_ray(address)


def test_a_cluster_that_has_ended_is_one_sentence(tmp_path: Path) -> None:
    note(tmp_path, "127.0.0.1:1")
    with pytest.raises(InputError, match=r"No Ray cluster can be reached at 127\.0\.0\.1:1: Connection refused\. "):
        start_ray("auto")


def test_another_programs_private_ray_is_refused_at_once(loopback_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Ray would look for it at the machine's own address, where nothing listens, for a quarter of an hour.
    connect = socket.create_connection

    def connected(address: tuple[str, int], timeout: float) -> socket.socket:
        if address[0] == "203.0.113.1":
            raise ConnectionRefusedError(111, "Connection refused")
        return connect(address, timeout)

    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "203.0.113.1")
    monkeypatch.setattr(socket, "create_connection", connected)
    monkeypatch.setattr(ray, "init", lambda **options: pytest.fail("Ray was asked"))
    with pytest.raises(InputError, match="No Ray cluster can be reached"):
        start_ray(f"127.0.0.1:{loopback_port}")


def test_a_start_that_times_out_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []

    def init(**options: Any) -> Any:
        tried.append(options["address"])
        if len(tried) < ATTEMPTS:
            raise Exception("The current node timed out during startup. This could happen because")
        return SimpleNamespace(dashboard_url="127.0.0.1:8265")

    monkeypatch.setattr(ray, "init", init)
    assert start_ray(None, dashboard=True) == "http://127.0.0.1:8265"
    assert tried == ["local"] * ATTEMPTS


@pytest.mark.parametrize("error", [Exception("The node timed out."), RuntimeError(""), OSError(28, "No space left")])
def test_a_start_that_never_succeeds_is_one_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**options: Any) -> Any:
        raise error

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(InputError, match=r"Ray could not be started on this machine in 3 attempts: .+\. Give the same"):
        start_ray(None)


def test_a_temporary_folder_whose_name_is_too_long_is_named_with_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = []

    def init(**options: Any) -> None:
        starts.append(1)
        raise OSError(f"validate_socket_filename failed: AF_UNIX path length cannot exceed 107 bytes: {tmp_path}")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(InputError, match=rf"in {tmp_path} is too long .* Set TMPDIR to"):
        start_ray(None)
    assert len(starts) == 1  # It would fail again.


def test_a_cluster_that_refuses_by_a_plain_exception_is_one_sentence(
    loopback_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**options: Any) -> Any:
        raise Exception("Version mismatch\nand much more")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(InputError, match=r"^No Ray cluster can be reached at ray://127.*: Version mismatch\.$"):
        start_ray(f"ray://127.0.0.1:{loopback_port}")


def test_a_ray_of_ones_own_is_private_and_a_users_settings_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    prepare("10.0.0.1:6379")
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ
    prepare(None)
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert os.environ["RAY_AUTH_MODE"] == "token"
