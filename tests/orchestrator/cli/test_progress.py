"""What the terminal says of how far a sweep is."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from datagen.core.terminal import plain_console
from orchestrator.cli.progress import Progress
from orchestrator.planning.plan import Task
from trainables.report import EpochReport
from trainables.spec import TrainingSpec


@pytest.fixture
def tasks(base_spec: TrainingSpec) -> list[Task]:
    return [Task(f"work {n}", (replace(base_spec, seed=n),), frozenset(), 10.0 * (n + 1)) for n in range(4)]


def test_the_share_that_is_done_is_that_of_the_estimated_seconds(tasks: list[Task]) -> None:
    progress = Progress(tasks, plain_console(file=io.StringIO()))
    assert progress.fraction() == 0.0
    progress.task_started(tasks[3])
    progress.task_progressed(tasks[3], EpochReport(1, 4, {}))  # A quarter of 40 s of 100.
    assert progress.fraction() == pytest.approx(0.1)
    progress.task_split(tasks[3], [replace(tasks[3], title=half, seconds=20.0) for half in ("one", "two")], "memory")
    assert progress.fraction() == pytest.approx(0.1)  # The halves go on from there.
    progress.task_ended(tasks[0], None)
    progress.task_ended(tasks[1], "it exploded")
    assert progress.fraction() == pytest.approx(0.4)
    progress.tasks_added([Task("late", tasks[0].makes, frozenset(), 100.0)])
    assert progress.fraction() == pytest.approx(0.2)
    for title in ("work 2", "one", "two", "late"):
        progress.task_ended(replace(tasks[0], title=title), None)
    assert progress.fraction() == pytest.approx(1.0)


def test_without_a_terminal_every_event_is_a_line(tasks: list[Task]) -> None:
    told = io.StringIO()
    progress = Progress(tasks, plain_console(file=told, width=200))
    progress.task_started(tasks[0])
    progress.task_retried(tasks[0], "its process died", 2.0)
    progress.task_progressed(tasks[0], EpochReport(4, 4, {"a": {"top1": 50.0}, "b": {"top1": 70.0}}))
    progress.task_ended(tasks[0], None)
    lines = told.getvalue().splitlines()
    assert [line.split("%")[-1].strip() for line in lines] == [
        "work 0: started",
        "work 0: its process died; it goes on in 2 s.",
        "work 0: epoch 4 of 4, top-1 50.0 to 70.0",
        "work 0: done",
    ]
