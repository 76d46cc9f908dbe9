"""Records a study in MLflow while it runs.

The sweep process is the only writer, so SQLite serves on a laptop and no worker needs to reach a tracking server. A
thread of its own does the writing: a slow or absent server delays no training, and fails none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.planning.plan import Plan, Task
from orchestrator.storage.store import Store, StoredModel
from orchestrator.tracking.background import Background
from orchestrator.tracking.study_runs import StudyRuns
from trainables.direction import REAL
from trainables.report import EpochReport
from trainables.spec import TrainingSpec

if TYPE_CHECKING:
    import pandas as pd


class Tracker:
    """A watcher of `run_plan` that writes what happens to MLflow; use as a context manager."""

    def __init__(self, plan: Plan, store: Store, forced: Sequence[TrainingSpec] = ()) -> None:
        self._forced = forced
        self._trials = {spec.fingerprint: spec for spec in plan.trials}
        self._failed: set[str] = set()
        self._runs = StudyRuns(plan, store, self._trials)
        self._thread = Background(self._runs)

    def __enter__(self) -> Tracker:
        self._thread.start()
        for spec in self._forced:
            self._later(self._runs.supersede, spec)
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[:1] == (KeyboardInterrupt,):
            return  # "Now" was asked for; the next run brings MLflow up to date from the store.
        self._thread.close()

    @property
    def pending(self) -> int:
        """How many writes are still waiting."""
        return self._thread.pending

    @property
    def lost(self) -> Sequence[str]:
        """What could not be written, after `__exit__`."""
        return self._thread.lost

    def tasks_added(self, tasks: Sequence[Task]) -> None:
        """Knows the trials that a search suggests, but not the bases that they need, as trials of the study."""
        for item in tasks:
            searched = [spec for spec in item.members if spec.source is not None or spec.direction.target == REAL]
            self._trials |= {spec.fingerprint: spec for spec in searched}

    def task_stopped(self, task: Task, epoch: int) -> None:
        """Closes the runs of trials that a search stopped."""
        for spec in self._recorded(task):
            self._later(self._runs.close_stopped, spec, epoch)

    def task_started(self, task: Task) -> None:
        """Opens a run for each trial of the task."""
        for spec in self._recorded(task):
            self._later(self._runs.start, spec)

    def task_progressed(self, task: Task, progress: Any) -> None:
        """Logs an epoch's metrics, step = epoch."""
        if not isinstance(progress, EpochReport):
            return
        timings = {"timings": progress.timings} if progress.timings else {}
        for fingerprint, row in progress.trials.items():
            if fingerprint in self._trials:
                self._later(self._runs.log_epochs, self._trials[fingerprint], [{**timings, **row}])
        for fingerprint, reason in progress.failures.items():
            if fingerprint in self._trials and fingerprint not in self._failed:
                self._failed.add(fingerprint)
                self._later(self._runs.tag, self._trials[fingerprint], "failure", reason)

    def task_silent(self, task: Task, sentence: str) -> None:
        """Nothing: it may go on."""

    def task_retried(self, task: Task, reason: str, pause: float) -> None:
        """Notes on each trial's run why it started again."""
        for spec in self._recorded(task):
            self._later(self._runs.tag, spec, "retried", reason)

    def task_split(self, task: Task, pieces: Sequence[Task], reason: str) -> None:
        """Notes on each trial's run that its cohort was divided."""
        for piece in pieces:
            for spec in self._recorded(piece):
                self._later(self._runs.tag, spec, "split", f"{task.title} went on as {piece.title}: {reason}")

    def task_ended(self, task: Task, failure: str | None) -> None:
        """Closes the runs of trials that failed with their work; the others are closed from the store's record."""
        for spec in self._recorded(task):
            if failure is None:
                self._later(self._runs.close_from_store, spec)
            else:
                self._later(self._runs.close, spec, failure)

    def record_results(
        self,
        models: Mapping[str, StoredModel],
        files: Sequence[Path],
        note: str,
        complete: bool,
        points: pd.DataFrame | None = None,
        evaluated: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        """Brings every finished trial's run up to date with the store, and gives the study's run its results.

        Args:
            models: the finished trainings, by fingerprint.
            files: of the report, to be attached.
            note: the run's description, Markdown.
            complete: whether nothing of the study is missing or failed.
            points: the report's table, whose curves become metrics of the study's run.
            evaluated: top-1 in percent on further sets, by a training's fingerprint and the set's name.
        """
        for fingerprint in models:
            if fingerprint in self._trials:
                self._later(self._runs.close_from_store, self._trials[fingerprint])
        for fingerprint, top1 in (evaluated or {}).items():
            if fingerprint in self._trials:
                self._later(self._runs.log_evaluations, self._trials[fingerprint], top1)
        self._later(self._runs.finish, files, note, complete, points)

    def _recorded(self, task: Task) -> list[TrainingSpec]:
        return [spec for spec in task.members if spec.fingerprint in self._trials]

    def _later(self, write: Callable[..., Any], *arguments: Any) -> None:
        self._thread.do(functools.partial(write, *arguments))
