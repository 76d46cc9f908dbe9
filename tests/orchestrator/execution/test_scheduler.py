"""What becomes of works that do not end well, without Ray."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from ray.exceptions import ActorDiedError, RayTaskError
from safetensors import SafetensorError

from datagen.core.errors import InputError
from datagen.datasets.spec import DatasetSpec
from orchestrator.execution.failures import ERROR, INPUT, LOST, MEMORY, understand
from orchestrator.execution.messages import WorkFailed
from orchestrator.execution.scheduler import Board, longest_chains
from orchestrator.planning.plan import Work
from trainables.loop import BranchError
from trainables.report import EpochReport
from trainables.spec import TrainingSpec

DEPTHS = (1, 2, 9, 16, 17)


@dataclass
class Told:
    """A watcher that keeps what it is told, a line each."""

    lines: list[str] = field(default_factory=list)

    def work_started(self, work: Work) -> None: ...

    def work_progressed(self, work: Work, progress: Any) -> None: ...

    def work_retried(self, work: Work, reason: str, pause: float) -> None:
        self.lines.append(f"{work.title} again: {reason}")

    def work_split(self, work: Work, pieces: Any, reason: str) -> None:
        self.lines.append(f"{work.title} as {', '.join(piece.title for piece in pieces)}: {reason}")

    def work_ended(self, work: Work, failure: str | None) -> None:
        self.lines.append(f"{work.title} {failure or 'done'}")


@pytest.fixture(scope="module")
def cohort(base_spec: TrainingSpec) -> Work:
    members = tuple(replace(base_spec, source=base_spec, frozen_layers=depth) for depth in DEPTHS)
    return Work("real->real N=1..17 s0", members, frozenset(), 10.0)


def board(*work: Work, **options: Any) -> tuple[Board, Told]:
    told = Told()
    return Board(work, 4, [told], pauses=(0.0, 0.0), **options), told


def depths(work: Work | None) -> list[int]:
    return [spec.frozen_layers for spec in work.members] if work else []


def test_a_lost_work_is_tried_again_until_it_is_lost_without_progress_too_often(cohort: Work) -> None:
    tried, _ = board(cohort)
    for attempt in range(2):
        assert tried.next_ready(f"t{attempt}") is cohort
        tried.failed(f"t{attempt}", WorkFailed(LOST, "its process died"))
    assert tried.next_ready("t2") is cohort
    tried.progressed("t2", EpochReport(1, 3, {}))  # Progress: the losses count anew.
    for attempt in (2, 3):
        tried.failed(f"t{attempt}", WorkFailed(LOST, "its process died"))
        assert tried.next_ready(f"t{attempt + 1}") is cohort
    tried.failed("t4", WorkFailed(LOST, "its process died"))
    assert tried.finished
    assert tried.outcome.failed == {cohort.title: "its process died, 3 times without progress"}
    assert tried.outcome.retries == 4
    assert set(tried.outcome.reasons) == {spec.fingerprint for spec in cohort.members}


def test_a_lost_work_waits_out_its_pause(cohort: Work) -> None:
    tried = Board([cohort], 4, [], pauses=(1000.0,))
    tried.next_ready("t0")
    tried.failed("t0", WorkFailed(LOST, "its process died"))
    assert tried.next_ready("t1") is None
    assert not tried.finished


def test_a_cohort_too_large_for_the_memory_is_halved_until_it_fits(cohort: Work) -> None:
    tried, told = board(cohort)
    tried.next_ready("t0")
    tried.failed("t0", WorkFailed(MEMORY, "the GPU's memory is too small"))
    first, second = tried.next_ready("t1"), tried.next_ready("t2")
    assert (depths(first), depths(second)) == ([1], [2, 9, 16, 17])
    tried.failed("t1", WorkFailed(MEMORY, "the GPU's memory is too small"))
    tried.failed("t2", WorkFailed(MEMORY, "the GPU's memory is too small"))
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


def test_one_trial_at_fault_is_taken_out_of_its_cohort(cohort: Work) -> None:
    tried, _ = board(cohort)
    tried.next_ready("t0")
    tried.failed("t0", WorkFailed(ERROR, "ValueError: poison", cohort.members[2].fingerprint))
    assert depths(tried.next_ready("t1")) == [1, 2, 16, 17]
    assert tried.outcome.reasons == {cohort.members[2].fingerprint: "ValueError: poison"}


@pytest.mark.parametrize("cause", [INPUT, ERROR])
def test_what_would_happen_again_fails_once(cause: str, cohort: Work) -> None:
    tried, _ = board(cohort)
    tried.next_ready("t0")
    tried.failed("t0", WorkFailed(cause, "the class is missing"))
    assert tried.finished
    assert tried.outcome.retries == 0


def test_what_needs_a_failed_work_fails_with_it_and_the_others_go_on(base_spec: TrainingSpec, cohort: Work) -> None:
    base = Work("base", (base_spec,), frozenset(), 1.0)
    dependent = replace(cohort, needs=frozenset({base_spec.fingerprint}))
    other = Work("other", (replace(base_spec, seed=1),), frozenset(), 1.0)
    tried, _ = board(base, dependent, other)
    assert tried.next_ready("t0") is base  # A long chain hangs on it.
    tried.failed("t0", WorkFailed(ERROR, "KeyError: 'fc'"))
    assert tried.next_ready("t1") is other
    tried.done("t1")
    assert tried.outcome.failed[cohort.title] == "It needs 'base', which failed."
    assert tried.outcome.done == [other]


def test_fail_fast_hands_out_nothing_after_the_first_failure(base_spec: TrainingSpec, cohort: Work) -> None:
    other = Work("other", (replace(base_spec, seed=1),), frozenset(), 1.0)
    tried, _ = board(cohort, other, fail_fast=True)
    tried.next_ready("t0")
    tried.failed("t0", WorkFailed(ERROR, "KeyError: 'fc'"))
    assert tried.next_ready("t1") is None
    assert tried.finished
    assert tried.left == 1


def many(base_spec: TrainingSpec, count: int) -> list[Work]:
    return [Work(str(n), (replace(base_spec, seed=n),), frozenset(), float(count - n)) for n in range(count)]


def test_no_more_trainings_are_handed_out_than_there_is_room_for(base_spec: TrainingSpec) -> None:
    tried, _ = board(*many(base_spec, 8))
    handed = [tried.next_ready(f"t{n}") for n in range(6)]
    assert [work.title if work else None for work in handed] == ["0", "1", "2", "3", None, None]
    tried.started("t0")
    tried.done("t0")
    assert tried.next_ready("t6") is not None
    assert tried.next_ready("t7") is None


def test_one_more_is_handed_out_when_none_has_started_for_a_while_so_that_a_cluster_can_grow(
    base_spec: TrainingSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    tried, _ = board(*many(base_spec, 8))
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
    generate = Work("generate", (generated_spec,), frozenset(), 100.0)
    tried, _ = board(generate, *many(base_spec, 8))
    assert [work.title for n in range(6) if (work := tried.next_ready(f"t{n}"))] == ["generate", "0", "1", "2", "3"]


def test_distributed_trainings_wait_until_all_their_workers_fit(base_spec: TrainingSpec) -> None:
    wide = [Work(f"wide {n}", (replace(base_spec, seed=n, workers=3),), frozenset(), 10.0 - n) for n in range(2)]
    pair = Work("pair", (replace(base_spec, seed=9, workers=2),), frozenset(), 1.0)
    single = Work("single", (replace(base_spec, seed=10),), frozenset(), 1.0)
    tried, _ = board(*wide, pair, single)
    assert [work.title for n in range(4) if (work := tried.next_ready(f"t{n}"))] == ["wide 0", "single"]
    tried.done("t0")
    assert [work.title for n in range(4, 8) if (work := tried.next_ready(f"t{n}"))] == ["wide 1"]


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

    base = Work("base", (base_spec,), frozenset(), 1.0)
    needs = Needs({base_spec.fingerprint})
    waiting = [replace(item, needs=needs) for item in many(replace(base_spec, epochs=3), 300)]
    tried, _ = board(base, *waiting)
    for n in range(1 + len(waiting)):
        assert tried.next_ready(f"t{n}") is not None
        assert n or tried.next_ready("none") is None
        tried.done(f"t{n}")
    assert tried.finished
    assert looked_at == len(waiting)


def test_chains_of_many_works_take_linear_time(base_spec: TrainingSpec) -> None:
    specs = [replace(base_spec, seed=seed) for seed in range(300)]
    needs = [frozenset(), *(frozenset({spec.fingerprint}) for spec in specs)]
    work = [Work(str(n), (spec,), needs[n], 1.0) for n, spec in enumerate(specs)]
    # Each of the 300 hangs on the one before: without memory this is 2^300 steps of a tree, or 300^2 of a scan.
    chains = longest_chains(work)
    assert [chains[id(item)] for item in work] == [300.0 - n for n in range(300)]


def task_error(cause: Exception) -> RayTaskError:
    return RayTaskError("train", "traceback", cause).as_instanceof_cause()


@pytest.mark.parametrize(
    ("error", "cause", "sentence"),
    [
        (InputError("The class is missing."), INPUT, "The class is missing."),
        (task_error(InputError("The class is missing.")), INPUT, "The class is missing."),
        (OSError(28, "No space left on device"), INPUT, "No space left on device. Free space"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), INPUT, "No space left on device. Free"),
        (SafetensorError("I/O error: Stale file handle (os error 116)"), LOST, "Stale file handle"),
        (SafetensorError("Error while deserializing header"), ERROR, "deserializing header"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), MEMORY, "memory is too small"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), MEMORY, "memory is too small"),
        (OSError(116, "Stale file handle"), LOST, "Stale file handle"),
        (ConnectionResetError("by peer"), LOST, "by peer"),
        (ActorDiedError(), LOST, "its process died"),
        (RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:1"), LOST, "Connection closed"),
        (KeyError("fc"), ERROR, "KeyError: 'fc'"),
        (RuntimeError("shapes do not fit"), ERROR, "RuntimeError: shapes do not fit"),
    ],
)
def test_the_cause_is_told_from_the_exception(error: Exception, cause: str, sentence: str) -> None:
    found, reason, trial = understand(error)
    assert (found, trial) == (cause, "")
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
    assert understand(error) == (ERROR, "ValueError in epoch 1: no", "poison")
