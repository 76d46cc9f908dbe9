"""What becomes of tasks that do not end well, without Ray."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from ray.exceptions import ActorDiedError, RayTaskError
from safetensors import SafetensorError

from datagen.core.errors import InputError
from datagen.datasets.spec import DatasetSpec
from orchestrator.execution.failures import understand
from orchestrator.execution.messages import FailureKind, TaskFailed
from orchestrator.execution.scheduler import Scheduler
from orchestrator.execution.waiting import longest_chains
from orchestrator.planning.plan import Task
from trainables.loop import BranchError
from trainables.report import EpochReport
from trainables.spec import TrainingSpec

DEPTHS = (1, 2, 9, 16, 17)


@dataclass
class Told:
    """A watcher that keeps what it is told, a line each."""

    lines: list[str] = field(default_factory=list)

    def task_started(self, task: Task) -> None: ...

    def task_progressed(self, task: Task, progress: Any) -> None: ...

    def task_retried(self, task: Task, reason: str, pause: float) -> None:
        self.lines.append(f"{task.title} again: {reason}")

    def task_split(self, task: Task, pieces: Any, reason: str) -> None:
        self.lines.append(f"{task.title} as {', '.join(piece.title for piece in pieces)}: {reason}")

    def tasks_added(self, tasks: Any) -> None: ...

    def task_stopped(self, task: Task, epoch: int) -> None: ...

    def task_silent(self, task: Task, sentence: str) -> None: ...

    def task_ended(self, task: Task, failure: str | None) -> None:
        self.lines.append(f"{task.title} {failure or 'done'}")


@pytest.fixture(scope="module")
def cohort(base_spec: TrainingSpec) -> Task:
    members = tuple(replace(base_spec, source=base_spec, frozen_layers=depth) for depth in DEPTHS)
    return Task("real->real N=1..17 s0", members, frozenset(), 10.0)


def scheduler(*task: Task, **options: Any) -> tuple[Scheduler, Told]:
    told = Told()
    return Scheduler(task, 4, [told], pauses=(0.0, 0.0), **options), told


def depths(task: Task | None) -> list[int]:
    return [spec.frozen_layers for spec in task.members] if task else []


def test_a_lost_work_is_tried_again_until_it_is_lost_without_progress_too_often(cohort: Task) -> None:
    tried, _ = scheduler(cohort)
    for attempt in range(2):
        assert tried.next_ready(f"t{attempt}") is cohort
        tried.failed(f"t{attempt}", TaskFailed(FailureKind.LOST, "its process died"))
    assert tried.next_ready("t2") is cohort
    tried.progressed("t2", EpochReport(1, 3, {}))  # Progress: the losses count anew.
    for attempt in (2, 3):
        tried.failed(f"t{attempt}", TaskFailed(FailureKind.LOST, "its process died"))
        assert tried.next_ready(f"t{attempt + 1}") is cohort
    tried.failed("t4", TaskFailed(FailureKind.LOST, "its process died"))
    assert tried.finished
    assert tried.outcome.failed == {cohort.title: "its process died, 3 times without progress"}
    assert tried.outcome.retries == 4
    assert set(tried.outcome.reasons) == {spec.fingerprint for spec in cohort.members}


def test_a_lost_work_waits_out_its_pause(cohort: Task) -> None:
    tried = Scheduler([cohort], 4, [], pauses=(1000.0,))
    tried.next_ready("t0")
    tried.failed("t0", TaskFailed(FailureKind.LOST, "its process died"))
    assert tried.next_ready("t1") is None
    assert not tried.finished


def test_a_cohort_too_large_for_the_memory_is_halved_until_it_fits(cohort: Task) -> None:
    tried, told = scheduler(cohort)
    tried.next_ready("t0")
    tried.failed("t0", TaskFailed(FailureKind.MEMORY, "the GPU's memory is too small"))
    first, second = tried.next_ready("t1"), tried.next_ready("t2")
    assert (depths(first), depths(second)) == ([1], [2, 9, 16, 17])
    tried.failed("t1", TaskFailed(FailureKind.MEMORY, "the GPU's memory is too small"))
    tried.failed("t2", TaskFailed(FailureKind.MEMORY, "the GPU's memory is too small"))
    assert depths(tried.next_ready("t3")) == [2]
    assert depths(tried.next_ready("t4")) == [9, 16, 17]
    tried.done("t3")
    tried.done("t4")
    assert tried.finished
    assert list(tried.outcome.failed) == ["real->real N=1 s0"]
    assert "smaller batch_size" in tried.outcome.failed["real->real N=1 s0"]
    pieces = [split.pieces for split in tried.outcome.splits]
    assert pieces == [
        ("real->real N=1 s0", "real->real N=2,9,16,17 s0"),
        ("real->real N=2 s0", "real->real N=9,16,17 s0"),
    ]
    assert told.lines[0].startswith("real->real N=1..17 s0 as real->real N=1 s0, real->real N=2,9,16,17 s0: the GPU")


def test_one_trial_at_fault_is_taken_out_of_its_cohort(cohort: Task) -> None:
    tried, _ = scheduler(cohort)
    tried.next_ready("t0")
    tried.failed("t0", TaskFailed(FailureKind.ERROR, "ValueError: poison", cohort.members[2].fingerprint))
    assert depths(tried.next_ready("t1")) == [1, 2, 16, 17]
    assert tried.outcome.reasons == {cohort.members[2].fingerprint: "ValueError: poison"}


@pytest.mark.parametrize("kind", [FailureKind.INPUT, FailureKind.ERROR])
def test_what_would_happen_again_fails_once(kind: FailureKind, cohort: Task) -> None:
    tried, _ = scheduler(cohort)
    tried.next_ready("t0")
    tried.failed("t0", TaskFailed(kind, "the class is missing"))
    assert tried.finished
    assert tried.outcome.retries == 0


def test_what_needs_a_failed_work_fails_with_it_and_the_others_go_on(base_spec: TrainingSpec, cohort: Task) -> None:
    base = Task("base", (base_spec,), frozenset(), 1.0)
    dependent = replace(cohort, needs=frozenset({base_spec.fingerprint}))
    other = Task("other", (replace(base_spec, seed=1),), frozenset(), 1.0)
    tried, _ = scheduler(base, dependent, other)
    assert tried.next_ready("t0") is base  # A long chain hangs on it.
    tried.failed("t0", TaskFailed(FailureKind.ERROR, "KeyError: 'fc'"))
    assert tried.next_ready("t1") is other
    tried.done("t1")
    assert tried.outcome.failed[cohort.title] == "It needs 'base', which failed."
    assert tried.outcome.done == [other]


def test_fail_fast_hands_out_nothing_after_the_first_failure(base_spec: TrainingSpec, cohort: Task) -> None:
    other = Task("other", (replace(base_spec, seed=1),), frozenset(), 1.0)
    tried, _ = scheduler(cohort, other, fail_fast=True)
    tried.next_ready("t0")
    tried.failed("t0", TaskFailed(FailureKind.ERROR, "KeyError: 'fc'"))
    assert tried.next_ready("t1") is None
    assert tried.finished
    assert tried.left == 1


def many(base_spec: TrainingSpec, count: int) -> list[Task]:
    return [Task(str(n), (replace(base_spec, seed=n),), frozenset(), float(count - n)) for n in range(count)]


def test_no_more_trainings_are_handed_out_than_there_is_room_for(base_spec: TrainingSpec) -> None:
    tried, _ = scheduler(*many(base_spec, 8))
    handed = [tried.next_ready(f"t{n}") for n in range(6)]
    assert [task.title if task else None for task in handed] == ["0", "1", "2", "3", None, None]
    tried.started("t0")
    tried.done("t0")
    assert tried.next_ready("t6") is not None
    assert tried.next_ready("t7") is None


def test_one_more_is_handed_out_when_none_has_started_for_a_while_so_that_a_cluster_can_grow(
    base_spec: TrainingSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    tried, _ = scheduler(*many(base_spec, 8))
    for n in range(4):
        tried.next_ready(f"t{n}")
    now += 60  # Processes take their time to start.
    assert tried.next_ready("t4") is None
    for n in range(4):
        tried.started(f"t{n}")
    assert tried.next_ready("t4") is None
    now += 60
    assert tried.next_ready("t4") is not None
    assert tried.next_ready("t5") is None  # The first has still to find its node.
    tried.started("t4")
    now += 60
    assert tried.next_ready("t5") is not None


def test_data_sets_take_no_room_from_trainings(base_spec: TrainingSpec, generated_spec: DatasetSpec) -> None:
    generate = Task("generate", (generated_spec,), frozenset(), 100.0)
    tried, _ = scheduler(generate, *many(base_spec, 8))
    assert [task.title for n in range(6) if (task := tried.next_ready(f"t{n}"))] == ["generate", "0", "1", "2", "3"]


def test_distributed_trainings_wait_until_all_their_workers_fit(base_spec: TrainingSpec) -> None:
    wide = [Task(f"wide {n}", (replace(base_spec, seed=n, workers=3),), frozenset(), 10.0 - n) for n in range(2)]
    pair = Task("pair", (replace(base_spec, seed=9, workers=2),), frozenset(), 1.0)
    single = Task("single", (replace(base_spec, seed=10),), frozenset(), 1.0)
    tried, _ = scheduler(*wide, pair, single)
    assert [task.title for n in range(4) if (task := tried.next_ready(f"t{n}"))] == ["wide 0", "single"]
    tried.done("t0")
    assert [task.title for n in range(4, 8) if (task := tried.next_ready(f"t{n}"))] == ["wide 1"]


def test_thousands_of_works_that_wait_are_not_walked_through_for_each(base_spec: TrainingSpec) -> None:
    looked_at = 0

    class Needs(frozenset[str]):
        def __sub__(self, other: Any) -> frozenset[str]:
            nonlocal looked_at
            looked_at += 1
            return frozenset.__sub__(self, other)

        def __le__(self, other: Any) -> bool:
            nonlocal looked_at
            looked_at += 1
            return frozenset.__le__(self, other)

    base = Task("base", (base_spec,), frozenset(), 1.0)
    needs = Needs({base_spec.fingerprint})
    waiting = [replace(item, needs=needs) for item in many(replace(base_spec, epochs=3), 300)]
    tried, _ = scheduler(base, *waiting)
    for n in range(1 + len(waiting)):
        assert tried.next_ready(f"t{n}") is not None
        assert n or tried.next_ready("none") is None
        tried.done(f"t{n}")
    assert tried.finished
    assert looked_at == len(waiting)


def test_chains_of_many_works_take_linear_time(base_spec: TrainingSpec) -> None:
    specs = [replace(base_spec, seed=seed) for seed in range(300)]
    needs = [frozenset(), *(frozenset({spec.fingerprint}) for spec in specs)]
    task = [Task(str(n), (spec,), needs[n], 1.0) for n, spec in enumerate(specs)]
    # Each of the 300 hangs on the one before: without memory this is 2^300 steps of a tree, or 300^2 of a scan.
    chains = longest_chains(task)
    assert [chains[id(item)] for item in task] == [300.0 - n for n in range(300)]


def task_error(cause: Exception) -> RayTaskError:
    return RayTaskError("train", "traceback", cause).as_instanceof_cause()


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (InputError("The class is missing."), FailureKind.INPUT, "The class is missing."),
        (task_error(InputError("The class is missing.")), FailureKind.INPUT, "The class is missing."),
        (OSError(28, "No space left on device"), FailureKind.INPUT, "No space left on device. Free space"),
        (
            SafetensorError("I/O error: No space left on device (os error 28)"),
            FailureKind.INPUT,
            "No space left on device. Free",
        ),
        (SafetensorError("I/O error: Stale file handle (os error 116)"), FailureKind.LOST, "Stale file handle"),
        (SafetensorError("Error while deserializing header"), FailureKind.ERROR, "deserializing header"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), FailureKind.MEMORY, "memory is too small"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), FailureKind.MEMORY, "memory is too small"),
        (OSError(116, "Stale file handle"), FailureKind.LOST, "Stale file handle"),
        (ConnectionResetError("by peer"), FailureKind.LOST, "by peer"),
        (ActorDiedError(), FailureKind.LOST, "its process died"),
        (RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:1"), FailureKind.LOST, "Connection closed"),
        (KeyError("fc"), FailureKind.ERROR, "KeyError: 'fc'"),
        (RuntimeError("shapes do not fit"), FailureKind.ERROR, "RuntimeError: shapes do not fit"),
    ],
)
def test_the_cause_is_told_from_the_exception(error: Exception, kind: FailureKind, sentence: str) -> None:
    found, reason, trial = understand(error)
    assert (found, trial) == (kind, "")
    assert sentence in reason


def test_the_trial_at_fault_is_told_from_the_exceptions_of_several_workers() -> None:
    from ray.train import WorkerGroupError

    error = WorkerGroupError(
        "two workers failed",
        {
            0: BranchError("other", "RuntimeError in epoch 1: [gloo] Connection closed by peer"),
            1: BranchError("poison", "ValueError in epoch 1: no"),
        },
    )
    assert understand(error) == (FailureKind.ERROR, "ValueError in epoch 1: no", "poison")
