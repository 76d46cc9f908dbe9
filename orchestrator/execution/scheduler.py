"""The scheduler: which tasks of a plan wait, run, are done or have failed, and what becomes of one that ended badly.

A task whose process or files were lost is tried again after a pause, from its last epoch; a cohort that does not fit in
the GPU's memory is divided; one trial that raises is taken out of its cohort. What a piece of a cohort continues from
is the checkpoint of the whole.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from orchestrator.execution.messages import FailureKind, TaskFailed, WorkerStarted
from orchestrator.execution.waiting import Entry, Waiting, longest_chains, slots_taken
from orchestrator.planning.plan import Task, cohort_title
from orchestrator.planning.search import DONE, FAILED, STOPPED, SearchRun
from trainables.partition import branch_layers, partition
from trainables.report import EpochReport
from trainables.spec import TrainingSpec

RETRY_PAUSES = (2.0, 10.0, 60.0)
"""Seconds before a lost task is tried again; after as many losses without progress it has failed. A store or a node
that is away for half a minute is outlasted."""
AHEAD_SECONDS = 5.0
"""After so long without a start one training more than there is room for is handed out: it makes a cluster grow that
can, and uses a node that joins. No sooner: each costs Ray a placement group, in vain if a process ends first."""


class Watcher(Protocol):
    """Is told what happens while a plan runs: the progress display, the status file and the MLflow tracker."""

    def task_started(self, task: Task) -> None:
        """A worker has taken up `task` (again, after a retry)."""

    def task_progressed(self, task: Task, progress: Any) -> None:
        """`task` has reported an `EpochReport` or `ImagesDrawn`."""

    def task_retried(self, task: Task, reason: str, pause: float) -> None:
        """`task` was lost for the reason given and will start again after `pause` seconds."""

    def task_split(self, task: Task, pieces: Sequence[Task], reason: str) -> None:
        """`task` goes on as `pieces`."""

    def tasks_added(self, tasks: Sequence[Task]) -> None:
        """A search has suggested further tasks."""

    def task_stopped(self, task: Task, epoch: int) -> None:
        """A search has stopped `task` after an epoch, because others did better."""

    def task_silent(self, task: Task, sentence: str) -> None:
        """`task` has not reported for long; the sentence says for how long, and who it is."""

    def task_ended(self, task: Task, failure: str | None) -> None:
        """`task` is done, or has failed for the reason given."""


@dataclass
class Split:
    """A cohort that was divided while it ran."""

    title: str
    pieces: tuple[str, ...]
    reason: str


@dataclass
class Outcome:
    """What became of a plan's work.

    Attributes:
        done: the tasks that ended well; a divided one is here as its pieces.
        failed: reasons by title.
        reasons: reasons by fingerprint of the training.
        splits: the cohorts that were divided.
        retries: how many starts were repeated.
        interrupted: whether some task was neither done nor failed.
    """

    done: list[Task] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    splits: list[Split] = field(default_factory=list)
    retries: int = 0
    interrupted: bool = False


@dataclass(frozen=True)
class Silence:
    """A running task that was last heard of `seconds` ago.

    `usual` is how long it may well be silent, seconds: the longest that it was before, or was estimated to be.
    """

    task: Task
    place: WorkerStarted
    seconds: float
    usual: float


class Scheduler:
    """Hands out works as soon as what they need exists, those first that the longest chain hangs on."""

    def __init__(
        self,
        tasks: Sequence[Task],
        slots: int,
        watchers: Sequence[Watcher],
        *,
        fail_fast: bool = False,
        pauses: Sequence[float] = RETRY_PAUSES,
        search: SearchRun | None = None,
    ) -> None:
        chains = longest_chains(tasks)
        self._made: set[str] = set()
        self._waiting = Waiting()
        for item in tasks:
            self._waiting.add(Entry(item, chains[id(item)]), self._made)
        self._running: dict[str, Entry] = {}
        self._starting: set[str] = set()
        self._last_start = time.monotonic()
        self._slots, self._watchers, self._fail_fast, self._pauses = slots, watchers, fail_fast, pauses
        self._search = search
        self.outcome = Outcome()
        self.stopping = False
        self.cluster_lost = ""
        """What became of the cluster, a sentence, once it is lost."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to hand out, now or later."""
        return not self._running and (self.stopping or not (self._waiting or self._searching))

    @property
    def _searching(self) -> bool:
        return self._search is not None and not self._search.over

    @property
    def left(self) -> int:
        """How many tasks are neither done nor failed."""
        return len(self._waiting) + len(self._running) + (self._search.left if self._search else 0)

    def stop(self) -> None:
        """Hands out nothing more; what runs is to stop after its next report."""
        self.stopping = True

    def running(self, trial_id: str) -> Task | None:
        """The task that this trial of Tune's does."""
        entry = self._running.get(trial_id)
        return entry.task if entry else None

    def next_ready(self, trial_id: str) -> Task | None:
        """Takes the first task whose needs are met and whose pause is over; None if there is none now."""
        if self.stopping:
            return None
        task = self._take_ready(trial_id)
        if task is None and self._searching and len(self._waiting) + len(self._running) < self._slots:
            self._add_suggestion()
            task = self._take_ready(trial_id)
        return task

    def _released(self, trial_id: str) -> Entry | None:
        self._starting.discard(trial_id)
        return self._running.pop(trial_id, None)

    def _add_suggestion(self) -> None:
        """Puts what a search suggests next on the scheduler: never more than can run, for results guide suggestions."""
        assert self._search is not None
        known = {spec.fingerprint for entry in (*self._waiting, *self._running.values()) for spec in entry.task.makes}
        tasks = [item for item in self._search.ask() if not {spec.fingerprint for spec in item.makes} & known]
        chains = longest_chains(tasks)
        for item in tasks:
            self._wait(Entry(item, chains[id(item)]))
        self._tell("tasks_added", tasks)

    def _take_ready(self, trial_id: str) -> Task | None:
        entry = self._waiting.take(self._has_room)
        if entry is None:
            return None
        entry.place, entry.heard = None, time.monotonic()
        self._running[trial_id] = entry
        self._starting.add(trial_id)
        return entry.task

    def _has_room(self, room: int) -> bool:
        """Whether a task that takes `room` may be handed out.

        Two distributed trainings that each hold a part of the cluster would wait for each other for ever. Trainings in
        Tune's process wait for their turn there: one may be handed out ahead, see `AHEAD_SECONDS`.
        """
        if room == 0:
            return True
        taken = sum(
            taken for entry in self._running.values() if ((taken := slots_taken(entry.task)) == 1) == (room == 1)
        )
        idle = not self._starting and time.monotonic() - self._last_start > AHEAD_SECONDS
        return taken + room <= self._slots or (room == 1 and idle)

    def started(self, trial_id: str) -> None:
        """A worker has taken up the task."""
        self._last_start = time.monotonic()
        self._starting.discard(trial_id)
        if entry := self._running.get(trial_id):
            self._tell("task_started", entry.task)

    def placed(self, trial_id: str, place: WorkerStarted) -> None:
        """The task's process has said where it runs."""
        if entry := self._running.get(trial_id):
            entry.place, entry.heard = place, time.monotonic()

    def silences(self) -> list[Silence]:
        """Every running task whose process is known, with how long it has been silent; safe from any thread."""
        now = time.monotonic()
        return [
            Silence(
                entry.task, entry.place, now - entry.heard, max(entry.longest, _seconds_between_reports(entry.task))
            )
            for entry in list(self._running.values())
            if entry.place is not None
        ]

    def tell_silence(self, task: Task, sentence: str) -> None:
        """Has the watchers say that a task has been silent for long."""
        self._tell("task_silent", task, sentence)

    def progressed(self, trial_id: str, progress: Any) -> None:
        """The task has reported."""
        if entry := self._running.get(trial_id):
            now = time.monotonic()
            entry.longest, entry.heard = max(entry.longest, now - entry.heard), now
            if (reached := _reached(progress)) > entry.furthest:
                entry.furthest, entry.losses = reached, 0
            self._tell("task_progressed", entry.task, progress)

    def done(self, trial_id: str) -> None:
        """The task has ended well."""
        if entry := self._released(trial_id):
            made = {spec.fingerprint for spec in entry.task.makes}
            self._made |= made
            self._waiting.made(made)
            self.outcome.done.append(entry.task)
            self._settle(entry.task, DONE)
            self._tell("task_ended", entry.task, None)

    def stops_early(self, trial_id: str, epoch: int) -> None:
        """The task was stopped by its search: it is not finished, and not to be."""
        if entry := self._released(trial_id):
            self._settle(entry.task, STOPPED)
            self._tell("task_stopped", entry.task, epoch)

    def _settle(self, task: Task, state: str) -> None:
        if self._search is not None:
            self._search.ended(task, state)

    def is_searched(self, task: Task) -> bool:
        """Whether the task is a single training that a search tries, and may stop."""
        if self._search is None or len(task.members) != 1:
            return False
        return task.members[0].fingerprint in self._search.fingerprints

    def put_back(self, trial_id: str) -> None:
        """The task was stopped, or not even started: it waits again."""
        if entry := self._released(trial_id):
            self._wait(entry)

    def failed(self, trial_id: str, failure: TaskFailed) -> None:
        """The task has failed: it is tried again, divided, or given up, by the cause."""
        entry = self._released(trial_id)
        if entry is None:
            return
        members = entry.task.members
        at_fault = [spec for spec in members if spec.fingerprint == failure.trial]
        if failure.kind == FailureKind.LOST and entry.losses < len(self._pauses):
            self._retry(entry, failure.reason)
        elif failure.kind == FailureKind.LOST:
            self._give_up(entry.task, f"{failure.reason}, {entry.losses + 1} times without progress")
        elif failure.kind == FailureKind.MEMORY and len(members) > 1:
            self._divide(entry, partition(members, failure.parts, branch_layers), failure.reason)
        elif failure.kind == FailureKind.MEMORY:
            self._give_up(entry.task, f"{failure.reason} for this training alone. Choose a smaller batch_size.")
        elif at_fault and len(members) > 1:
            others = [spec for spec in members if spec.fingerprint != failure.trial]
            self._divide(entry, [others], failure.reason)
            self._give_up(piece_of(entry.task, at_fault), failure.reason)
        else:
            self._give_up(entry.task, failure.reason)

    def _retry(self, entry: Entry, reason: str) -> None:
        pause = self._pauses[entry.losses]
        entry.losses += 1
        entry.not_before = time.monotonic() + pause
        self.outcome.retries += 1
        self._wait(entry)
        self._tell("task_retried", entry.task, reason, pause)

    def _divide(self, entry: Entry, parts: Sequence[Sequence[TrainingSpec]], reason: str) -> None:
        pieces = [piece_of(entry.task, part) for part in parts]
        self.outcome.splits.append(Split(entry.task.title, tuple(piece.title for piece in pieces), reason))
        for piece in reversed(pieces):
            self._wait(Entry(piece, entry.priority))
        self._tell("task_split", entry.task, pieces, reason)

    def _wait(self, entry: Entry) -> None:
        """Puts an entry among the waiting ones, before those of its own priority: it was their senior."""
        self._waiting.add(entry, self._made, senior=True)

    def _give_up(self, task: Task, reason: str) -> None:
        """The task has failed, and with it all that needs what it was to make."""
        given_up = [(task, reason)]
        for lost, why in given_up:  # It grows while it is walked.
            self.outcome.failed[lost.title] = why
            self.outcome.reasons |= {spec.fingerprint: why for spec in lost.members}
            self._settle(lost, FAILED)
            self._tell("task_ended", lost, why)
            dependents = self._waiting.give_up(spec.fingerprint for spec in lost.makes)
            given_up += [(entry.task, f"It needs {lost.title!r}, which failed.") for entry in dependents]
        if self._fail_fast:
            self.stop()

    def _tell(self, event: str, *about: Any) -> None:
        for watcher in self._watchers:
            getattr(watcher, event)(*about)


def _reached(progress: Any) -> float:
    """How far a report says that its work is: epochs or images."""
    return float(progress.epoch if isinstance(progress, EpochReport) else getattr(progress, "done", 0))


def _seconds_between_reports(task: Task) -> float:
    """How long a task is estimated to take from one report to the next: an epoch, or a shard."""
    epochs = task.members[0].epochs if task.members else 10
    return task.seconds / epochs


def piece_of(task: Task, members: Sequence[TrainingSpec]) -> Task:
    """The part of a cohort's work that trains `members`."""
    share = len(members) / len(task.makes)
    return replace(task, title=cohort_title(members), makes=tuple(members), seconds=task.seconds * share)
