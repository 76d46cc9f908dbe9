"""Running works on Ray: in Tune's own process or in several workers of Ray Train, whatever dies meanwhile."""

from __future__ import annotations

import gc
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray import tune
from ray.tune.experiment import Trial
from safetensors.torch import load_file

from datagen.core.errors import InputError
from datagen.datasets.spec import GeneratedDataset
from orchestrator.execution import worker
from orchestrator.execution.cluster import Resources
from orchestrator.execution.cohort import train_and_publish
from orchestrator.execution.failures import TOO_SMALL
from orchestrator.execution.logs import logs_of
from orchestrator.execution.messages import FailureKind
from orchestrator.execution.tune import Cluster, Outcome, join_cluster, run_plan
from orchestrator.execution.worker import mindgap_task
from orchestrator.planning.plan import Task
from orchestrator.storage.store import Store
from trainables.input.data import ImageSet
from trainables.loop import train_cohort
from trainables.report import EpochReport
from trainables.spec import TrainingSpec

EPOCHS = 5


@pytest.fixture(scope="module")
def here(cluster: None) -> Cluster:
    return join_cluster(None)


class Log:
    """A watcher that keeps the epochs reported and kills the worker after epoch `deadly`."""

    def __init__(self, deadly: int = 0) -> None:
        self.epochs: list[int] = []
        self.starts = 0
        self.failures: list[str | None] = []
        self.lines: list[str] = []
        self._deadly = deadly

    def task_started(self, task: Task) -> None:
        self.starts += 1

    def task_progressed(self, task: Task, progress: Any) -> None:
        assert isinstance(progress, EpochReport)
        self.epochs.append(progress.epoch)
        if progress.epoch == self._deadly:
            self._deadly = 0
            for process in psutil.Process().children(recursive=True):
                if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::ImplicitFunc"):
                    process.kill()

    def task_retried(self, task: Task, reason: str, pause: float) -> None:
        self.lines.append(f"again: {reason}")

    def task_split(self, task: Task, pieces: Any, reason: str) -> None:
        self.lines.append(f"split: {reason}")

    def tasks_added(self, tasks: Any) -> None: ...

    def task_stopped(self, task: Task, epoch: int) -> None: ...

    def task_silent(self, task: Task, sentence: str) -> None: ...

    def task_ended(self, task: Task, failure: str | None) -> None:
        self.failures.append(failure)


def run(spec: TrainingSpec, here: Cluster, store: Store, log: Log) -> None:
    task = Task(spec.title, (spec,), frozenset(), 1.0)
    outcome = run_plan([task], store, here, [log])
    assert outcome.done == [task]
    assert (outcome.failed, outcome.interrupted, log.failures) == ({}, False, [None])


@pytest.fixture(scope="module")
def spec(base_spec: TrainingSpec) -> TrainingSpec:
    return replace(base_spec, epochs=EPOCHS)


def test_a_training_whose_process_is_killed_goes_on_and_ends_as_if_it_had_not_been(
    spec: TrainingSpec, here: Cluster, tmp_path: Path, train_images: ImageSet, validation_images: ImageSet
) -> None:
    store, log = Store(tmp_path / "store").create(), Log(deadly=2)
    run(spec, here, store, log)
    assert log.starts == 2
    assert log.lines == ["again: its process died"]
    assert [row["epoch"] for row in store.read_model(spec).history] == list(range(1, EPOCHS + 1))
    assert len(log.epochs) <= EPOCHS + 1  # At most the epoch that was running is repeated.
    (undisturbed,) = train_cohort([spec], train_images, validation_images)
    weights = load_file(store.read_model(spec).weights)
    assert all((weights[key] == value).all() for key, value in undisturbed.state.items())


MOST_BRANCHES = 2


def too_many_branches(config: dict[str, Any]) -> None:
    """A worker whose GPU takes no more than two branches from the second epoch on, and one of which is poisoned."""
    import torch

    from trainables import loop
    from trainables.trunk import Branch

    train_epoch, step = loop.Cohort.train_epoch, Branch.step

    def limited(self: Any, epoch: int) -> None:
        if epoch > 1 and len(self.running) > MOST_BRANCHES:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        train_epoch(self, epoch)

    def poisoned(self: Any, *arguments: Any) -> None:
        if self.spec.frozen_layers == 17:
            raise ValueError("poison")
        step(self, *arguments)

    loop.Cohort.train_epoch, Branch.step = limited, poisoned  # type: ignore[method-assign, assignment]
    try:
        mindgap_task(config)
    finally:
        loop.Cohort.train_epoch, Branch.step = train_epoch, step  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def halved(
    spec: TrainingSpec, here: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, Outcome, Log, tuple[TrainingSpec, ...]]:
    """A cohort of five, N = 13 to 17, after a run with `too_many_branches`."""
    store = Store(tmp_path_factory.mktemp("halved") / "store").create()
    base = replace(spec, epochs=2)
    train_and_publish((base,), store, lambda report: None)
    members = tuple(replace(base, source=base, frozen_layers=depth, epochs=3) for depth in range(13, 18))
    task, log = Task("the cohort", members, frozenset(), 1.0), Log()
    return store, run_plan([task], store, here, [log], run=too_many_branches), log, members


def test_a_cohort_too_large_for_the_gpu_goes_on_in_halves_from_its_checkpoint(
    halved: tuple[Store, Outcome, Log, tuple[TrainingSpec, ...]], train_images: ImageSet, validation_images: ImageSet
) -> None:
    store, outcome, log, members = halved
    # The fifth has failed in the first epoch: four are too many, two halves are not.
    assert [split.title for split in outcome.splits] == ["the cohort"]
    assert log.lines == [f"split: {TOO_SMALL}"]
    assert log.epochs.count(1) == 1  # The halves have not repeated it.
    assert log.epochs.count(3) == 2
    source = load_file(store.read_model(members[0].source).weights)  # type: ignore[arg-type]
    alone = train_cohort([members[0]], train_images, validation_images, source)[0]
    assert [row["train_loss"] for row in store.read_model(members[0]).history] == [
        row["train_loss"] for row in alone.history
    ]


def test_a_poisoned_branch_fails_alone_and_its_log_is_kept(
    halved: tuple[Store, Outcome, Log, tuple[TrainingSpec, ...]],
) -> None:
    store, outcome, _, members = halved
    assert outcome.failed == {}
    reasons = {spec.frozen_layers: store.read_model(spec).failure for spec in members}
    assert reasons == {13: None, 14: None, 15: None, 16: None, 17: "ValueError in epoch 1: poison"}
    logs = "".join(text for _, text in logs_of(store, members[-1].fingerprint))
    assert 'raise ValueError("poison")' in logs
    assert "OutOfMemoryError: CUDA out of memory" in logs


def bad_config(config: dict[str, Any]) -> None:
    task: Task = config["task"]
    if task.title == "bad":
        task.members[0].__dict__["source"] = "nothing of the kind"
    mindgap_task(config)


def test_a_work_that_raises_fails_once_and_the_others_finish(spec: TrainingSpec, here: Cluster, tmp_path: Path) -> None:
    store, log = Store(tmp_path / "store").create(), Log()
    bad = Task("bad", (replace(spec, seed=0, epochs=2),), frozenset(), 1.0)
    good = Task("good", (replace(spec, seed=1, epochs=2),), frozenset(), 1.0)
    outcome = run_plan([bad, good], store, here, [log], run=bad_config)
    assert outcome.done == [good]
    assert list(outcome.failed) == ["bad"]
    assert "AttributeError" in outcome.failed["bad"]
    assert log.lines == []
    assert "Traceback" in "".join(text for _, text in logs_of(store, bad.members[0].fingerprint))
    assert not list(logs_of(store, good.members[0].fingerprint))


def instant(config: dict[str, Any]) -> None:
    """Publishes a training at once, and who has done it."""
    task: Task = config["task"]
    for spec in task.members:
        Store(config["resources"].store).publish_model(spec, [{"epoch": os.getpid()}], None, Path.touch)
    tune.report({"report": EpochReport(1, 1, {})})


def test_many_short_works_share_few_processes_and_leave_nothing_behind(
    spec: TrainingSpec, here: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store, held = Store(tmp_path / "store").create(), []

    class AtTheEnd(Log):
        def task_ended(self, task: Task, failure: str | None) -> None:
            super().task_ended(task, failure)
            if len(self.failures) == 40:
                # Not isinstance, which raises for a proxy of what is gone: other tests leave some in this process.
                trials = [item for item in gc.get_objects() if issubclass(type(item), Trial)]
                held.append([trial for trial in trials if trial.is_finished() and trial.config])

    task = [Task(str(n), (replace(spec, seed=100 + n),), frozenset(), 1.0) for n in range(40)]
    before = len(ray.util.placement_group_table())
    outcome = run_plan(task, store, here, [AtTheEnd()], run=instant)
    assert len(outcome.done) == 40
    processes = {store.read_model(item.members[0]).history[0]["epoch"] for item in task}
    assert len(processes) <= here.slots
    assert len(ray.util.placement_group_table()) - before <= here.slots + 2
    assert held == [[]]
    assert capfd.readouterr().out == ""


def test_the_first_ctrl_c_ends_a_run_after_the_running_epoch(spec: TrainingSpec, here: Cluster, tmp_path: Path) -> None:
    store, said = Store(tmp_path / "store").create(), list[str]()

    class Impatient(Log):
        def task_progressed(self, task: Task, progress: Any) -> None:
            super().task_progressed(task, progress)
            if progress.epoch == 2 and not said:
                os.kill(os.getpid(), signal.SIGINT)

    task = [Task(str(n), (replace(spec, seed=n, epochs=50),), frozenset(), 1.0) for n in range(2 * here.slots)]
    log = Impatient()
    outcome = run_plan(task, store, here, [log], on_stop=lambda: said.append("stopping"))
    assert outcome.interrupted
    assert said == ["stopping"]
    assert log.starts <= here.slots
    assert 3 <= max(log.epochs) < 20  # The epoch that ran at Ctrl-C is told as any other.
    checkpoint = next(store.partial_folder(item.members[0].cohort) for item in task if log.starts)
    assert list(checkpoint.glob("*.safetensors"))


def test_the_first_ctrl_c_ends_a_generation_after_the_running_shard(
    generated_spec: GeneratedDataset, here: Cluster, tmp_path: Path
) -> None:
    store, said, drawn = Store(tmp_path / "store").create(), [], []
    spec = replace(generated_spec, images_per_class=8 * here.slots * 8)  # Every worker has 16 shards to draw.

    class Impatient(Log):
        def task_progressed(self, task: Task, progress: Any) -> None:
            drawn.append(progress.done)
            if progress.done == 0:
                os.kill(os.getpid(), signal.SIGINT)

    task = Task("images", (spec,), frozenset(), 1.0)
    outcome = run_plan([task], store, here, [Impatient()], on_stop=lambda: said.append(list(drawn)))
    assert outcome.interrupted
    assert said == [[0]]  # At once, before any shard was there.
    assert len(drawn) <= 2
    assert not store.has(spec)


@pytest.mark.parametrize("raised", [InputError("It has no _manifest.json."), None])
def test_a_work_during_which_the_store_was_away_is_tried_again_whatever_came_of_it(
    raised: Exception | None, spec: TrainingSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, told = Store(tmp_path / "store").create(), []

    def train(*arguments: Any) -> None:
        (store.root / "store.json").unlink()
        if raised is not None:
            raise raised

    monkeypatch.setattr(worker, "_train", train)
    monkeypatch.setattr(tune, "report", lambda metrics: told.append(metrics["report"]))
    task = Task("cohort", (spec,), frozenset(), 1.0)
    with pytest.raises(type(raised) if raised else FileNotFoundError):  # So that Tune replaces the process.
        mindgap_task({"task": task, "resources": Resources(str(store.root), 1)})
    where, *failures = told
    assert where.pid == os.getpid()
    assert [(failure.kind, failure.reason) for failure in failures] == [(FailureKind.LOST, "its store is away")]


def test_more_workers_than_the_cluster_has_are_refused(spec: TrainingSpec, here: Cluster, tmp_path: Path) -> None:
    task = Task("greedy", (replace(spec, workers=here.slots + 1),), frozenset(), 1.0)
    with pytest.raises(InputError, match=rf"workers={here.slots + 1} needs"):
        run_plan([task], Store(tmp_path / "store").create(), here, [])
