"""Processes that faults need or end: signals, Ray's nodes, an MLflow server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import psutil

STARTS_WITHIN = 120
"""Seconds."""


def send(process: subprocess.Popen[str], after: float, number: int, *, group: bool = False) -> bool:
    """Sends a signal after so many seconds, also to all processes of its group; False if it has ended by then."""
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        if group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        return True
    return False


def children(process: subprocess.Popen[Any]) -> list[psutil.Process]:
    """All processes that it, or one of them, has started."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        return []


def title(process: psutil.Process) -> str:
    """What it calls itself; "" if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill_with_children(process: subprocess.Popen[Any]) -> None:
    """Kills a process and its children at once, as when a machine is switched off."""
    for one in (*children(process), process):
        try:
            one.kill()
        except psutil.Error:
            pass
    process.wait()


def free_port() -> int:
    """A port of this machine's loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def mlflow_server(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An MLflow server on this machine's loopback, with its records and files in `folder`."""
    places = ["--backend-store-uri", server_database(folder), "--artifacts-destination", str(folder / "artifacts")]
    command = [sys.executable, "-m", "mlflow", "server", *places, "--host", "127.0.0.1"]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        [*command, "--port", str(port), "--workers", "1"],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        _wait(lambda: _listens(port), f"MLflow's server on port {port}")
        yield process
    finally:
        kill_with_children(process)


def server_database(folder: Path) -> str:
    """Where the MLflow server of that folder keeps its records."""
    return f"sqlite:///{folder / 'server.db'}"


class RayNodes:
    """A Ray cluster of several nodes on this machine's loopback; use as a context manager.

    `environment` is that of all that joins it, `address` where that is, `dashboard` where jobs are submitted.
    """

    def __init__(self, folder: Path, head_cpus: int = 0) -> None:
        folder.mkdir()
        self.environment = {
            "RAY_AUTH_MODE": "disabled",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Makes Ray listen on the loopback only, also on Linux.
            "RAY_TMPDIR": str(folder),  # In the usual one is the note of this machine's last cluster: another's.
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self._head_cpus = head_cpus
        self._former: dict[str, str] = {}
        self._cluster: Any = None

    def __enter__(self) -> RayNodes:
        self._former = dict(os.environ)
        os.environ.update(self.environment)  # Ray reads some of it when it is imported.
        from ray.cluster_utils import Cluster

        port = free_port()
        head = {"num_cpus": self._head_cpus, "include_dashboard": True, "dashboard_port": port}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address, self.dashboard = self._cluster.address, f"http://127.0.0.1:{port}"
        _wait(lambda: _listens(port), "Ray's dashboard")
        return self

    def __exit__(self, *exception: object) -> None:
        self._cluster.shutdown()
        os.environ.clear()
        os.environ.update(self._former)

    def add(self, cpus: int) -> Any:
        """Adds a node."""
        return self._cluster.add_node(num_cpus=cpus)

    def remove(self, node: Any) -> None:
        """Takes a node away, without a word to those that run there."""
        self._cluster.remove_node(node, allow_graceful=False)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _wait(is_there: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while not is_there():
        if time.monotonic() > until:
            raise click.ClickException(f"{what} had not started after {STARTS_WITHIN} s")
        time.sleep(0.2)
