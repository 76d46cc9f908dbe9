"""The state of a study for other terminals and machines: `--status` reads what a running sweep keeps in the store."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from orchestrator.cli.progress import duration
from orchestrator.execution.messages import ImagesDrawn
from orchestrator.planning.plan import Plan, Task
from orchestrator.storage.store import Store
from trainables.report import EpochReport
from trainables.spec import TrainingSpec

WRITE_SECONDS = 1.0
"""The status is written at most this often."""


class StatusFile:
    """A watcher of `run_plan` that keeps the study's status in the store; use as a context manager."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan, self._store = plan, store
        self._running: dict[str, dict[str, Any]] = {}
        self._failed: dict[str, str] = {}
        self._written = -math.inf
        self._lock = threading.Lock()

    def __enter__(self) -> StatusFile:
        self._write(now=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self._write(now=True)

    def task_started(self, task: Task) -> None:
        """Notes the task's artifacts as running."""
        for spec in task.makes:
            self._running.setdefault(spec.fingerprint, {"title": task.title})
        self._write()

    def task_progressed(self, task: Task, progress: Any) -> None:
        """Notes epoch and top-1, or the images drawn."""
        if isinstance(progress, ImagesDrawn):
            for spec in task.makes:
                self._running[spec.fingerprint] = {"title": task.title, "done": progress.done, "total": progress.total}
        elif isinstance(progress, EpochReport):
            for fingerprint, row in progress.trials.items():
                epochs = {"epoch": progress.epoch, "epochs": progress.epochs, "top1": row.get("top1")}
                self._running[fingerprint] = {"title": task.title, **epochs}
            for fingerprint, reason in progress.failures.items():
                self._failed[fingerprint] = reason
        self._write()

    def task_silent(self, task: Task, sentence: str) -> None:
        """The last epochs stay: it may go on."""

    def task_retried(self, task: Task, reason: str, pause: float) -> None:
        """The last epochs stay: the task goes on from them."""

    def task_split(self, task: Task, pieces: Sequence[Task], reason: str) -> None:
        """The last epochs stay: the pieces go on from them."""

    def tasks_added(self, tasks: Sequence[Task]) -> None:
        """Nothing yet: they are noted when they start."""

    def task_stopped(self, task: Task, epoch: int) -> None:
        """The task runs no more."""
        self.task_ended(task, None)

    def task_ended(self, task: Task, failure: str | None) -> None:
        """Notes failures; what is done is in the store."""
        for spec in task.makes:
            self._running.pop(spec.fingerprint, None)
            if failure is not None:
                self._failed[spec.fingerprint] = failure
        self._write()

    def _write(self, now: bool = False) -> None:
        with self._lock:
            if not now and time.monotonic() - self._written < WRITE_SECONDS:
                return
            self._written = time.monotonic()
            status = {"written": time.time(), "running": self._running, "failed": self._failed}
            try:
                self._store.write_status(self._plan.study.name, self._plan.scale.name, status)
            except OSError:
                pass  # Only others miss it; a store that is away must not end the sweep.


def show_status(plan: Plan, store: Store, console: Console) -> None:
    """Prints who runs the study, the state of each of its trials, and how many are in each state."""
    owner = store.owner()
    status = store.read_status(plan.study.name, plan.scale.name)
    alive = owner is not None and owner[1]
    if owner is None:
        console.print("No sweep runs on this store.")
    elif alive:
        console.print(f"{owner[0]}.")
    else:
        console.print(f"The last sweep is dead: {owner[0]} was its note. The same command goes on.")
    if status:
        age = duration(max(0.0, time.time() - status["written"]))
        console.print(f"Last heard of {age} ago.")
    states = {spec.fingerprint: state_of(spec, plan, store, status, alive) for spec in plan.trials}
    table = Table(box=None, pad_edge=False)
    for heading in ("trial", "state", "fingerprint"):
        table.add_column(heading)
    for spec in plan.trials:
        table.add_row(spec.title, states[spec.fingerprint], spec.fingerprint[:12])
    console.print(table)
    for fingerprint, item in status.get("running", {}).items() if alive else ():
        if "total" in item and fingerprint not in states:
            console.print(f"{item['title']}: {item['done']} of {item['total']}")
    counts = Counter(state.split()[0].rstrip(":,") for state in states.values())
    console.print(", ".join(f"{count} {state}" for state, count in counts.items()) + ".")


def state_of(spec: TrainingSpec, plan: Plan, store: Store, status: Mapping[str, Any], alive: bool) -> str:
    """The state of a trial: "done", "failed: ...", "running, ...", "stopped, ..." or "waiting"."""
    if spec.fingerprint in plan.existing:
        failure = store.read_model(spec).failure
        return f"failed: {failure}" if failure else "done"
    if reason := status.get("failed", {}).get(spec.fingerprint):
        return f"failed: {reason}"
    item = status.get("running", {}).get(spec.fingerprint)
    if item is None:
        return "waiting"
    if "epoch" not in item:
        return "running, no epoch done yet" if alive else "waiting"
    reached = f"epoch {item['epoch']} of {item['epochs']}" + (f", top-1 {item['top1']:.1f}" if item["top1"] else "")
    return f"running, {reached}" if alive else f"stopped, {reached}"
