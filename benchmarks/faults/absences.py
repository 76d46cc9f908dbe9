"""Faults in which something is away for a while: room on the disk, the store, MLflow's database or server."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.processes import RayNodes, free_port, kill_with_children, mlflow_server, server_database
from benchmarks.faults.study import Row, Running, Study
from benchmarks.faults.suite import Suite

AWAY_SECONDS = 30
SMALL_DISK = "3m"
"""Of the 4.5 MB that the small study needs."""


def disk_full(suite: Suite) -> Iterator[Row]:
    """The store is on a small tmpfs, which is made larger after it was full."""
    folder = suite.root / "small_disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield Row("disk full", 0, [], 0, 0, 0, False, 0.0, note="not run: only root can mount a tmpfs")
        return
    try:
        study = suite.study("disk_full", store=folder / "store")
        first = study.run()
        if not first.said("No space left"):
            study.wrong.append("the disk was never full")
        subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)
        study.finish()
        yield suite.row("disk full", study)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def store_away(suite: Suite) -> Iterator[Row]:
    """The folder of the store is not there for a while, as when a file server is restarted."""
    study, epochs = suite.study("away"), suite.some_epochs()

    def take_away(running: Running) -> None:
        if running.wait_for_epochs(epochs):
            aside = study.store.with_suffix(".aside")
            study.store.rename(aside)
            time.sleep(AWAY_SECONDS)
            shutil.rmtree(study.store, ignore_errors=True)  # What was begun in its place, as in an empty mount point.
            aside.rename(study.store)

    study.run(take_away)
    study.finish()
    yield suite.row(f"store away for {AWAY_SECONDS} s", study)


def sqlite_locked(suite: Suite) -> Iterator[Row]:
    """Another process holds MLflow's database."""
    study, epochs = suite.study("locked"), suite.some_epochs()

    def lock(running: Running) -> None:
        if running.wait_for_epochs(epochs):
            with sqlite3.connect(study.store / "mlflow.db", timeout=30, isolation_level=None) as database:
                database.execute("BEGIN EXCLUSIVE")
                time.sleep(AWAY_SECONDS)
                database.execute("ROLLBACK")

    study.run(lock)
    study.finish()
    _check_records(f"sqlite:///{study.store / 'mlflow.db'}", study)
    yield suite.row(f"MLflow's SQLite locked for {AWAY_SECONDS} s", study)


def server_down(suite: Suite) -> Iterator[Row]:
    """MLflow's server is killed, and started again after a while."""
    port, epochs = free_port(), suite.some_epochs()
    study = suite.study("server", environment={"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"})
    suite.display.begin("server, MLflow's server starts")
    with mlflow_server(port, suite.root) as first:

        def restart(running: Running) -> None:
            if running.wait_for_epochs(epochs):
                kill_with_children(first)
                time.sleep(AWAY_SECONDS)
                with mlflow_server(port, suite.root):
                    running.process.wait()

        study.run(restart)
        study.finish()
    _check_records(server_database(suite.root), study)
    yield suite.row(f"MLflow's server down for {AWAY_SECONDS} s", study)


def job_submit(suite: Suite) -> Iterator[Row]:
    """No fault: `ray job submit` to a cluster on this machine's loopback, from end to end."""
    suite.display.begin("job, Ray's head starts")
    with RayNodes(suite.root / "job_ray", head_cpus=2) as nodes:
        study = suite.study("job", environment=nodes.environment)
        submit = [str(Path(sys.executable).parent / "ray"), "job", "submit", "--address", nodes.dashboard, "--"]
        study.run(command=[*submit, "env", "-C", str(Path.cwd()), *study.command()])
        yield suite.row("none: `ray job submit`", study, 0)


def _check_records(uri: str, study: Study) -> None:
    """Complains unless MLflow has one run, ended, with every epoch once, of every trial."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("mindgap")
    runs = client.search_runs([experiment.experiment_id], "tags.role = 'trial'", max_results=1000) if experiment else []
    trials = list(study.store.glob("models/*/model.json"))
    lacking = 0
    for path in trials:
        own = [run for run in runs if run.data.tags["fingerprint"] == path.parent.name]
        epochs = [row["epoch"] for row in json.loads(path.read_text(encoding="utf-8"))["history"]]
        steps = [m.step for run in own for m in client.get_metric_history(run.info.run_id, "top1")]
        lacking += len(own) != 1 or own[0].info.status != "FINISHED" or steps != epochs
    if lacking or not trials:
        study.wrong.append(f"MLflow lacks something of {lacking} of {len(trials)} trials")
