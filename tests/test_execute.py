"""Running works on Ray: in Tune's own process or in several workers of Ray Train, whatever dies meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from safetensors.torch import load_file

from datagen.errors import InputError
from orchestrator.execute import Cluster, join_cluster, run_plan
from orchestrator.plan import Work
from orchestrator.ray_environment import prepare
from orchestrator.store import Store
from trainables.data import ImageSet
from trainables.loop import train_cohort
from trainables.report import EpochReport
from trainables.spec import TrainingSpec

EPOCHS = 5


@pytest.fixture(scope="module")
def here() -> Iterator[Cluster]:
    prepare(None)
    yield join_cluster(None)
    ray.shutdown()


class Log:
    """A watcher that keeps the epochs reported and kills the worker after epoch `deadly`."""

    def __init__(self, deadly: int = 0) -> None:
        self.epochs: list[int] = []
        self.starts = 0
        self.failures: list[str | None] = []
        self._deadly = deadly

    def work_started(self, work: Work) -> None:
        self.starts += 1

    def work_progressed(self, work: Work, progress: Any) -> None:
        assert isinstance(progress, EpochReport)
        self.epochs.append(progress.epoch)
        if progress.epoch == self._deadly:
            self._deadly = 0
            for process in psutil.process_iter(["cmdline"]):
                if (process.info["cmdline"] or [""])[0].startswith("ray::ImplicitFunc"):
                    process.kill()

    def work_ended(self, work: Work, failure: str | None) -> None:
        self.failures.append(failure)


def run(spec: TrainingSpec, here: Cluster, store: Store, log: Log) -> None:
    work = Work(spec.title, (spec,), frozenset(), 1.0)
    outcome = run_plan([work], store, here, [log])
    assert outcome.done == [work]
    assert (outcome.failed, outcome.interrupted, log.failures) == ({}, False, [None])


@pytest.fixture(scope="module")
def spec(base_spec: TrainingSpec) -> TrainingSpec:
    return replace(base_spec, epochs=EPOCHS)


def test_a_training_whose_process_is_killed_goes_on_and_ends_as_if_it_had_not_been(
    spec: TrainingSpec, here: Cluster, tmp_path: Path, train_images: ImageSet, validation_images: ImageSet
) -> None:
    store, log = Store(tmp_path / "store").open(), Log(deadly=2)
    run(spec, here, store, log)
    assert log.starts == 2
    assert sorted(set(log.epochs)) == list(range(1, EPOCHS + 1))
    assert len(log.epochs) <= EPOCHS + 1  # At most the epoch that was running is repeated.
    (undisturbed,) = train_cohort([spec], train_images, validation_images)
    weights = load_file(store.read_model(spec).weights)
    assert all((weights[key] == value).all() for key, value in undisturbed.state.items())


def test_two_workers_of_ray_train_report_every_epoch_and_publish(
    spec: TrainingSpec, here: Cluster, tmp_path: Path
) -> None:
    store, log = Store(tmp_path / "store").open(), Log()
    run(replace(spec, workers=2), here, store, log)
    assert log.epochs == list(range(1, EPOCHS + 1))
    history = store.read_model(spec).history
    assert [row["epoch"] for row in history] == log.epochs
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_more_workers_than_the_cluster_has_are_refused(spec: TrainingSpec, here: Cluster, tmp_path: Path) -> None:
    work = Work("greedy", (replace(spec, workers=here.slots + 1),), frozenset(), 1.0)
    with pytest.raises(InputError, match=rf"workers={here.slots + 1} needs"):
        run_plan([work], Store(tmp_path / "store").open(), here, [])
