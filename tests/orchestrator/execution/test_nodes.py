"""Several nodes on this machine, with GPUs that are only declared: works spread, and outlive a node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster as Nodes

from datagen.core.ray_session import prepare
from datagen.datasets.spec import GeneratedDataset
from orchestrator.execution.logs import logs_of
from orchestrator.execution.tune import Cluster, join_cluster, run_plan
from orchestrator.planning.plan import Task
from orchestrator.storage.store import Store
from tests.orchestrator.execution.test_scheduler import Told
from trainables.input.data import ImageSet
from trainables.loop import train_cohort
from trainables.report import EpochReport
from trainables.spec import TrainingSpec


@pytest.fixture(scope="module")
def nodes(s3: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A head without GPUs and two nodes with one each; torch has none, so the workers must talk through gloo."""
    prepare("auto")
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    caches = tmp_path_factory.mktemp("caches")
    for number in range(2):
        own = {"MINDGAP_CACHE": str(caches / str(number))}
        nodes.add_node(num_cpus=2, num_gpus=1, resources={f"node{number}": 1}, env_vars=own)
    nodes.wait_for_nodes()
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture(scope="module")
def joined(nodes: Nodes) -> Cluster:
    return join_cluster(nodes.address)


def test_a_joined_cluster_counts_the_gpus_of_all_nodes(joined: Cluster) -> None:
    assert (joined.cpus, joined.gpus, joined.slots) == (5, 2, 2)
    assert replace(joined, gpus_per_worker=0.5).slots == 4


def test_nodes_that_share_no_file_system_draw_train_and_publish_through_an_object_store(
    joined: Cluster,
    base_spec: TrainingSpec,
    generated_spec: GeneratedDataset,
    s3: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MINDGAP_CACHE", str(tmp_path / "driver"))
    store, spec = Store(f"{s3}/nodes").create(), generated_spec
    training = replace(base_spec, train=spec, validation=spec, workers=2, epochs=2, image_size=32)
    tasks = [
        Task("draw", (spec,), frozenset(), 1.0),
        Task(training.title, (training,), frozenset({spec.fingerprint}), 1.0),
    ]
    # Two CPUs for each worker: each fills a node. The GPUs are only declared, and drawing asks for real ones.
    outcome = run_plan(tasks, store, replace(joined, gpus=0, cpus_per_worker=2.0), [], pauses=(1.0, 1.0))
    assert outcome.done == tasks, outcome.failed
    store.refresh()
    for made in (spec, training):
        assert store.has(made)
        assert store.complaints(made, checksums=True) == []
    assert [row["epoch"] for row in store.read_model(training).history] == [1, 2]
    assert not (store.folder(spec) / "train-00000-of-00003.parquet").exists()


def test_what_tests_start_listens_on_this_machine_only(nodes: Nodes) -> None:
    assert nodes.address.startswith("127.0.0.1:")
    assert {node["NodeManagerAddress"] for node in ray.nodes()} == {"127.0.0.1"}


BOUND = 1e-3
"""Of the loss after four epochs, from sums in another order."""


class NodeLoser(Told):
    """A watcher that takes a node away after an epoch of the task it runs, and adds another."""

    def __init__(self, nodes: Nodes) -> None:
        super().__init__()
        self._nodes, self.epochs, self.lost = nodes, [], False  # type: ignore[var-annotated]

    def task_progressed(self, task: Task, progress: Any) -> None:
        assert isinstance(progress, EpochReport)
        self.epochs.append((task.title, progress.epoch))
        if progress.epoch == 2 and not self.lost:
            self.lost = True
            busy = [node for node in self._nodes.worker_nodes if node.node_id]
            self._nodes.remove_node(busy[0], allow_graceful=False)
            self._nodes.add_node(num_cpus=2, num_gpus=1)


def test_two_workers_on_two_nodes_train_one_cohort_and_outlive_a_node(
    nodes: Nodes,
    joined: Cluster,
    base_spec: TrainingSpec,
    train_images: ImageSet,
    validation_images: ImageSet,
    tmp_path: Path,
) -> None:
    store, watcher = Store(tmp_path / "store").create(), NodeLoser(nodes)
    spec = replace(base_spec, epochs=4, workers=2)
    task = Task(spec.title, (spec,), frozenset(), 1.0)
    outcome = run_plan([task], store, joined, [watcher], pauses=(1.0, 1.0, 1.0))
    assert outcome.done == [task], outcome.failed
    assert watcher.lost
    assert outcome.retries >= 1
    epochs = [epoch for _, epoch in watcher.epochs]
    assert len(epochs) - len(set(epochs)) <= outcome.retries  # Each loss repeats at most the running epoch.
    assert [row["epoch"] for row in store.read_model(spec).history] == [1, 2, 3, 4]
    assert not list(logs_of(store, spec.fingerprint))
    # They give the losses of one: BatchNorm is over the images of all.
    (alone,) = train_cohort([replace(spec, workers=1)], train_images, validation_images)
    losses = [[row["train_loss"] for row in found] for found in (store.read_model(spec).history, alone.history)]
    assert losses[0] == pytest.approx(losses[1], abs=BOUND)
