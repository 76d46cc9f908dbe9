"""Faults injected into a small pocket study: what is lost, what is repeated, and whether the results are the same.

    python -m benchmarks.faults [--kills 20] [--faults driver_killed,worker_killed,...] [--out benchmarks/faults.json]

After every fault the same command is given again until it ends well. Results are compared with those of a run that
nothing disturbed: the columns of trials.csv that are no times, byte for byte. A finished trial counts as repeated if
its artifact was written again, an epoch if it was reported twice.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
import pandas as pd
import psutil

STUDY = ("layer_importance", "epochs=4", "images_per_class=16", "steps=2", "frozen_layers=9,17")
REPORT = Path("studies/layer_importance/pocket")
TIMES = re.compile("second|minute|hour|time|cost|energy|gpu|cpu|watt|price|kwh|co2")
AWAY_SECONDS = 30
GIVE_UP_SECONDS = 600


@dataclass
class Attempt:
    """One run of the command: what it said and how it ended."""

    output: str
    code: int
    seconds: float

    @property
    def epochs(self) -> list[tuple[str, int]]:
        """(work, epoch) of every epoch that it reported."""
        return [(title, int(epoch)) for title, epoch in re.findall(r"%  (.+): epoch (\d+) of", self.output)]


@dataclass
class Row:
    """What a fault did. `equal` says whether all results are those of the undisturbed run."""

    fault: str
    injected: int
    runs: int
    codes: list[int]
    trials_repeated: int
    epochs_repeated: int
    equal: bool
    seconds: float
    note: str = ""


@dataclass
class Study:
    """The small study in a store of its own, through as many runs as it takes."""

    store: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    published: dict[str, int] = field(default_factory=dict)
    repeated: int = 0

    def command(self) -> list[str]:
        """The command that is given again and again."""
        return [sys.executable, "-u", "-m", "orchestrator.sweep", *STUDY, "--store", str(self.store)]

    def run(self, disturb: Callable[[subprocess.Popen[str]], None] | None = None) -> Attempt:
        """Runs the command; `disturb` is called with its process, in a thread."""
        started = time.monotonic()
        environment = {**os.environ, **self.environment, "COLUMNS": "200"}
        process = subprocess.Popen(
            self.command(),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        thread = threading.Thread(target=disturb, args=(process,), daemon=True) if disturb else None
        if thread:
            thread.start()
        try:
            output, _ = process.communicate(timeout=GIVE_UP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        if thread:
            thread.join(GIVE_UP_SECONDS)
        self.attempts.append(Attempt(output, process.returncode, time.monotonic() - started))
        self._count_published()
        return self.attempts[-1]

    def finish(self) -> Attempt:
        """Gives the command again until it ends well, three times at most."""
        for _ in range(3):
            if self.run().code == 0:
                break
        return self.attempts[-1]

    def _count_published(self) -> None:
        now = {path.parent.name: path.stat().st_mtime_ns for path in self.store.glob("models/*/manifest.json")}
        self.repeated += sum(now.get(name) != written for name, written in self.published.items())
        self.published = now

    def results(self) -> bytes:
        """The results of all trials as CSV, without columns that are times or costs; empty if there are none."""
        try:
            table = pd.read_csv(self.store / REPORT / "trials.csv", dtype=str, keep_default_na=False)
        except OSError:
            return b""
        return table[[column for column in table if not TIMES.search(str(column))]].to_csv(index=False).encode()

    def row(self, fault: str, injected: int, expected: bytes, note: str = "") -> Row:
        """This study's row of the table."""
        epochs = [epoch for attempt in self.attempts for epoch in attempt.epochs]
        return Row(
            fault,
            injected,
            len(self.attempts),
            [attempt.code for attempt in self.attempts],
            self.repeated,
            len(epochs) - len(set(epochs)),
            self.results() == expected and bool(expected),
            round(sum(attempt.seconds for attempt in self.attempts), 1),
            note,
        )


@dataclass
class Faults:
    """Every fault, each a method that gives rows."""

    root: Path
    expected: bytes
    usual_seconds: float
    kills: int
    moments: random.Random

    def study(self, name: str, **environment: str) -> Study:
        """A new store."""
        return Study(self.root / name, environment)

    def moment(self) -> float:
        """A random moment of a run."""
        return self.moments.uniform(1.0, self.usual_seconds)

    def driver_killed(self) -> Iterator[Row]:
        """The driver is killed at random moments; a study that ends before its kill is compared, a new one begun."""
        killed, number = 0, 0
        while killed < self.kills:
            study, here = self.study(f"killed{number}"), 0
            while killed < self.kills:
                after = self.moment()
                attempt = study.run(lambda process, after=after: _signal(process, after, signal.SIGKILL))  # type: ignore[misc]
                if attempt.code == 0:
                    # The machine was faster than thought: later moments would miss the run again.
                    self.usual_seconds = min(self.usual_seconds, attempt.seconds)
                    break
                killed, here = killed + 1, here + 1
            if study.attempts[-1].code != 0:
                study.finish()
            yield study.row("driver killed (SIGKILL)", here, self.expected)
            number += 1

    def worker_killed(self) -> Iterator[Row]:
        """A process that trains is killed; the run itself goes on."""
        study, victims = self.study("worker"), []

        def kill(process: subprocess.Popen[str]) -> None:
            until = time.monotonic() + self.usual_seconds * 3
            chosen = self.moments.uniform(0.0, self.usual_seconds / 4)
            while time.monotonic() < until and process.poll() is None:
                workers = [child for child in _children(process) if "ray::ImplicitFunc" in _title(child)]
                if workers:
                    time.sleep(chosen)
                    workers[0].kill()
                    victims.append(workers[0].pid)
                    return
                time.sleep(0.2)

        study.run(kill)
        if study.attempts[-1].code != 0:
            study.finish()
        yield study.row("worker killed (SIGKILL)", len(victims), self.expected)

    def ctrl_c_once(self) -> Iterator[Row]:
        """Ctrl-C, of which Ray's processes in the same terminal hear too."""
        yield self._interrupted("ctrl-c once", [0.0])

    def ctrl_c_twice(self) -> Iterator[Row]:
        """Ctrl-C, and again half a second later."""
        yield self._interrupted("ctrl-c twice", [0.0, 0.5])

    def _interrupted(self, name: str, pauses: list[float]) -> Row:
        study, after = self.study(name.replace(" ", "_")), self.usual_seconds * 0.6

        def interrupt(process: subprocess.Popen[str]) -> None:
            for pause in pauses:
                _signal(process, pause or after, signal.SIGINT, group=True)

        code = study.run(interrupt).code
        study.finish()
        return study.row(name, 1, self.expected, "" if code == 130 else f"exit code {code} instead of 130")

    def disk_full(self) -> Iterator[Row]:
        """The store is on a small tmpfs, which is made larger after it was full."""
        folder = self.root / "small_disk"
        folder.mkdir()
        megabytes = 3
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], capture_output=True, check=False
        )
        if mounted.returncode:
            yield Row("disk full", 0, 0, [], 0, 0, False, 0.0, "not run: mounting a tmpfs needs root")
            return
        try:
            study = Study(folder / "store")
            first = study.run()
            subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)
            study.finish()
            note = f"tmpfs of {megabytes} MB" + ("" if "No space left" in first.output else ": it was never full")
            yield study.row("disk full", 1, self.expected, note)
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=False)

    def store_away(self) -> Iterator[Row]:
        """The folder of the store is not there for a while, as when a file server is restarted."""
        study = self.study("away")

        def take_away(process: subprocess.Popen[str]) -> None:
            time.sleep(self.usual_seconds * 0.6)
            if process.poll() is None:
                study.store.rename(study.store.with_suffix(".away"))
                time.sleep(AWAY_SECONDS)
                shutil.rmtree(study.store, ignore_errors=True)
                study.store.with_suffix(".away").rename(study.store)

        if study.run(take_away).code != 0:
            study.finish()
        yield study.row(f"store away for {AWAY_SECONDS} s", 1, self.expected)

    def sqlite_locked(self) -> Iterator[Row]:
        """Another process holds MLflow's database."""
        study = self.study("locked")

        def lock(process: subprocess.Popen[str]) -> None:
            path = study.store / "mlflow.db"
            while not path.exists() and process.poll() is None:
                time.sleep(0.2)
            time.sleep(self.usual_seconds * 0.3)
            with sqlite3.connect(path, timeout=30, isolation_level=None) as database:
                database.execute("BEGIN EXCLUSIVE")
                time.sleep(AWAY_SECONDS)
                database.execute("ROLLBACK")

        if study.run(lock).code != 0:
            study.finish()
        uri = f"sqlite:///{study.store / 'mlflow.db'}"
        yield study.row(f"SQLite locked for {AWAY_SECONDS} s", 1, self.expected, _records(uri, study))

    def server_down(self) -> Iterator[Row]:
        """MLflow's server is stopped and started again."""
        uri = f"http://127.0.0.1:{_free_port()}"
        study = self.study("server", MLFLOW_TRACKING_URI=uri)
        database = f"sqlite:///{self.root / 'server.db'}"
        with _server(uri, database) as first:

            def restart(process: subprocess.Popen[str]) -> None:
                time.sleep(self.usual_seconds * 0.6)
                _end(first)
                time.sleep(AWAY_SECONDS)
                with _server(uri, database):
                    process.wait(GIVE_UP_SECONDS)

            if study.run(restart).code != 0:
                study.finish()
        yield study.row(f"MLflow server down for {AWAY_SECONDS} s", 1, self.expected, _records(database, study))

    def job_submit(self) -> Iterator[Row]:
        """No fault: `ray job submit` to a cluster on this machine's loopback, from end to end."""
        study = self.study("job")
        ports = [_free_port() for _ in range(3)]
        environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        ray = str(Path(sys.executable).parent / "ray")
        flags = [f"--port={ports[0]}", f"--dashboard-port={ports[1]}", f"--ray-client-server-port={ports[2]}"]
        head = subprocess.Popen(
            [ray, "start", "--head", "--block", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", *flags],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for_port(ports[1])
            submit = [ray, "job", "submit", "--address", f"http://127.0.0.1:{ports[1]}", "--"]
            inner = ["env", "-C", str(Path.cwd()), *study.command()]
            done = subprocess.run(
                [*submit, *inner], env=environment, capture_output=True, text=True, timeout=GIVE_UP_SECONDS, check=False
            )
            study.attempts.append(Attempt(done.stdout + done.stderr, done.returncode, 0.0))
            yield study.row("none: ray job submit", 0, self.expected)
        finally:
            _end(head)


@click.command()
@click.option("--kills", default=20, show_default=True, help="How often the driver is killed.")
@click.option("--faults", "chosen", help="Names, separated by commas; by default all.")
@click.option("--seed", default=0, show_default=True, help="Of the random moments.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/faults.json"), show_default=True)
def main(kills: int, chosen: str | None, seed: int, out: Path) -> None:
    """Injects faults and writes what became of them."""
    names = [name for name in vars(Faults) if name not in vars(Study) and callable(getattr(Faults, name))]
    names = [name for name in names if not name.startswith("_") and name not in ("study", "moment")]
    wanted = chosen.split(",") if chosen else names
    if unknown := set(wanted) - set(names):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}; known: {', '.join(names)}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mindgap-faults-") as folder:
        undisturbed = Study(Path(folder) / "undisturbed")
        first = undisturbed.run()
        if first.code != 0:
            raise click.ClickException(f"The undisturbed run ended with {first.code}:\n{first.output}")
        click.echo(f"undisturbed: {first.seconds:.0f} s")
        faults = Faults(Path(folder), undisturbed.results(), first.seconds, kills, random.Random(seed))
        rows: list[Row] = []
        for name in wanted:
            for row in getattr(faults, name)():
                rows.append(row)
                click.echo(f"{row.fault}: {row.runs} runs, codes {row.codes}, equal {row.equal} {row.note}")
    total = round(time.monotonic() - started)
    document = {"undisturbed_seconds": round(first.seconds, 1), "seconds": total, "rows": [asdict(row) for row in rows]}
    out.write_text(json.dumps(document, indent=2) + "\n")
    table = markdown(rows)
    click.echo(f"\n{table}\n\n{total} s in all")
    sys.exit(0 if all(row.equal and not row.trials_repeated for row in rows if row.runs) else 1)


def markdown(rows: list[Row]) -> str:
    """The table, rows of the same fault added up."""
    lines = [
        "| fault | injected | runs | finished trials repeated | epochs reported twice | tables equal | |",
        "|---|---|---|---|---|---|---|",
    ]
    for fault in dict.fromkeys(row.fault for row in rows):
        same = [row for row in rows if row.fault == fault]
        equal = f"{sum(row.equal for row in same)} of {len(same)}"
        numbers = [sum(getattr(row, key) for row in same) for key in ("injected", "runs", "trials_repeated")]
        epochs = sum(row.epochs_repeated for row in same)
        note = "; ".join(dict.fromkeys(row.note for row in same if row.note))
        lines.append(f"| {fault} | {' | '.join(map(str, numbers))} | {epochs} | {equal} | {note} |")
    return "\n".join(lines)


def _signal(process: subprocess.Popen[str], after: float, number: int, group: bool = False) -> None:
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        if group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)


def _children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        return []


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _records(uri: str, study: Study) -> str:
    """Whether MLflow has every trial's run, ended, with every epoch."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("mindgap")
    runs = client.search_runs([experiment.experiment_id], "tags.role = 'trial'", max_results=1000) if experiment else []
    trials = list(study.store.glob("models/*/model.json"))
    lost = 0
    for path in trials:
        own = [run for run in runs if run.data.tags["fingerprint"] == path.parent.name]
        if len(own) != 1 or own[0].info.status != "FINISHED":
            lost += 1
            continue
        steps = [metric.step for metric in client.get_metric_history(own[0].info.run_id, "top1")]
        lost += steps != [row["epoch"] for row in json.loads(path.read_text())["history"]]
    return f"MLflow has {len(trials) - lost} of {len(trials)} trials whole"


@contextmanager
def _server(uri: str, database: str) -> Iterator[subprocess.Popen[bytes]]:
    port = int(uri.rpartition(":")[2])
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database, "--host", "127.0.0.1"]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        [*command, "--port", str(port), "--workers", "1"],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        _wait_for_port(port)
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and its children, which alone keep a port."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        children = []
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
    for child in children:
        try:
            child.kill()
        except psutil.Error:
            pass


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_port(port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.3)
    raise click.ClickException(f"nothing listens on port {port}")


if __name__ == "__main__":
    main()
