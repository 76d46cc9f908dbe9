"""Nothing hangs in silence: a task that stands still is named and started again, a dead cluster ends the run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from datagen.core.errors import ClusterLostError
from orchestrator.execution import watch
from orchestrator.execution.messages import WorkerStarted
from orchestrator.execution.scheduler import Scheduler
from orchestrator.execution.watch import Patience, watched
from orchestrator.planning.plan import Task
from orchestrator.storage.store import Store
from tests.conftest import ROOT
from trainables.report import EpochReport
from trainables.spec import TrainingSpec

IMPATIENT = Patience(notice=0.05, limit=0.3, cluster=0.3)


class Told:
    """A watcher that keeps what is said of silent tasks."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def __getattr__(self, event: str) -> Any:
        return lambda *about: self.sentences.append(about[1]) if event == "task_silent" else None


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A cluster of one machine that answers, until the test says otherwise; looked at often."""
    state: dict[str, Any] = {"answers": True, "nodes": [{"Alive": True}], "killed": []}
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(ray, "nodes", lambda: state["nodes"])
    monkeypatch.setattr(ray, "get_runtime_context", lambda: type("Context", (), {"gcs_address": "127.0.0.1:1"}))
    monkeypatch.setattr(watch._Watch, "_answers", lambda self: state["answers"])
    monkeypatch.setattr(watch, "_kill", state["killed"].append)
    yield state


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").create()


def started(spec: TrainingSpec, store: Store) -> tuple[Scheduler, Told, WorkerStarted]:
    told = Told()
    scheduler = Scheduler([Task("real s0", (replace(spec, epochs=2),), frozenset(), 0.1)], 1, [told])  # type: ignore[list-item]
    assert scheduler.next_ready("t0") is not None
    scheduler.started("t0")
    place = WorkerStarted("otherhost", 4711, "node", "name")
    log = store.open_log("name.0", "{}")
    log.write("epoch 1 of 2 done\n")
    log.close()
    scheduler.placed("t0", place)
    return scheduler, told, place


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.01)


def test_a_silent_task_is_named_with_its_host_process_and_last_words_and_then_ended(
    no_cluster: dict[str, Any], base_spec: TrainingSpec, store: Store
) -> None:
    scheduler, told, place = started(base_spec, store)
    with watched(scheduler, store, IMPATIENT):
        wait_for(lambda: no_cluster["killed"])
    assert "no progress for" in told.sentences[0]
    assert "worker on otherhost, process 4711; last line of its log: epoch 1 of 2 done" in told.sentences[0]
    assert no_cluster["killed"][0] == place


def test_a_task_that_reports_is_left_alone(no_cluster: dict[str, Any], base_spec: TrainingSpec, store: Store) -> None:
    scheduler, told, _ = started(base_spec, store)
    with watched(scheduler, store, replace(IMPATIENT, notice=5.0, limit=5.0)):
        for _ in range(20):
            scheduler.progressed("t0", EpochReport(1, 2, {}, {}))
            time.sleep(0.01)
    assert not told.sentences and not no_cluster["killed"]


def test_a_task_is_as_patient_as_it_was_silent_before(base_spec: TrainingSpec, store: Store) -> None:
    scheduler, _, _ = started(base_spec, store)
    time.sleep(0.3)
    scheduler.progressed("t0", EpochReport(1, 2, {}, {}))
    (silence,) = scheduler.silences()
    assert silence.usual >= 0.3 > silence.seconds


def test_without_a_limit_nothing_is_ended(no_cluster: dict[str, Any], base_spec: TrainingSpec, store: Store) -> None:
    scheduler, told, _ = started(base_spec, store)
    with watched(scheduler, store, replace(IMPATIENT, limit=0.0)):
        wait_for(lambda: len(told.sentences) > 3)
    assert not no_cluster["killed"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answers": False}, "Ray has died: its control store does not answer"),
        ({"nodes": [{"Alive": False}]}, "The cluster has no living machine"),
    ],
)
def test_a_lost_cluster_is_told_to_whoever_asks_for_work(
    change: dict[str, Any], reason: str, no_cluster: dict[str, Any], base_spec: TrainingSpec, store: Store
) -> None:
    scheduler, _, _ = started(base_spec, store)
    no_cluster |= change
    with watched(scheduler, store, replace(IMPATIENT, notice=60.0)):
        wait_for(lambda: scheduler.cluster_lost)
    assert scheduler.cluster_lost == reason
    assert "the same command goes on" in ClusterLostError(reason).sentence


SWEEP = """
import os, signal, sys, time
from pathlib import Path
import psutil
from datagen.core.ray_session import prepare
from orchestrator.execution.tune import join_cluster, run_plan
from orchestrator.execution.watch import Patience
from datagen.core.errors import ClusterLostError
from orchestrator.planning.plan import Task
from orchestrator.storage.store import Store
from orchestrator.execution.messages import WorkerStarted
from datagen.core.command import errors_in_a_sentence

KIND, FLAG = sys.argv[1], Path(sys.argv[2])

def worker(config):
    import os, time
    from ray import tune
    import ray
    again = FLAG.exists()
    FLAG.write_text(str(os.getpid()))
    node = ray.get_runtime_context().get_node_id()
    tune.report({"report": WorkerStarted("here", os.getpid(), node, "none")})
    if KIND == "SIGSTOP" and not again:
        os.kill(os.getpid(), signal.SIGSTOP)
    if KIND != "SIGSTOP":
        time.sleep(600)

class Told:
    def __getattr__(self, event):
        return lambda *about: print(event, *about[1:], flush=True)

def name_of(process):
    return Path(process.cmdline()[0]).name if process.cmdline() else ""

@errors_in_a_sentence
def main():
    prepare(None)
    cluster = join_cluster(None, dashboard=False)
    store = Store(Path(sys.argv[3])).create()
    if KIND != "SIGSTOP":
        import threading
        def kill():
            while not FLAG.exists():
                time.sleep(0.1)
            for process in psutil.Process().children(recursive=True):
                if name_of(process) == KIND:
                    process.kill()
        threading.Thread(target=kill, daemon=True).start()
    from tests.orchestrator.execution.test_watch import some_spec
    patience = Patience(notice=2.0, limit=4.0, cluster=5.0)
    outcome = run_plan([Task("real s0", (some_spec(),), frozenset(), 0.1)], store, cluster, [Told()], run=worker,
                       patience=patience, pauses=(0.1,))
    print("done", len(outcome.done), flush=True)

main()
"""


def some_spec() -> TrainingSpec:
    from orchestrator.planning.catalog import load_scale

    return load_scale("pocket").training({"direction": "real"}, 0)


def swept(kind: str, folder: Path) -> subprocess.Popen[str]:
    folder.mkdir()
    command = [sys.executable, "-c", SWEEP, kind, str(folder / "flag"), str(folder / "store")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """Exit code, output and errors of a sweep to which each happens; side by side, for they wait most of the time."""
    folder = tmp_path_factory.mktemp("swept")
    running = {kind: swept(kind, folder / kind) for kind in ("SIGSTOP", "gcs_server", "raylet")}
    told = {kind: process.communicate(timeout=300) for kind, process in running.items()}
    return {kind: (running[kind].returncode, *told[kind]) for kind in running}


def test_a_process_that_stands_still_is_replaced_and_the_task_ends(ended: dict[str, tuple[int, str, str]]) -> None:
    _, output, errors = ended["SIGSTOP"]
    assert "task_silent no progress for" in output
    assert "task_retried its process died" in output
    assert "done 1" in output, output + errors


@pytest.mark.parametrize(
    ("process", "reason"),
    [
        ("gcs_server", "Ray has died: its control store does not answer"),
        ("raylet", "The cluster has no living machine"),
    ],
)
def test_a_cluster_that_dies_ends_the_run_with_a_sentence_and_a_code_of_its_own(
    process: str, reason: str, ended: dict[str, tuple[int, str, str]]
) -> None:
    code, output, errors = ended[process]
    assert reason in errors, output + errors
    assert "Traceback" not in errors
    assert code == ClusterLostError.EXIT_CODE
