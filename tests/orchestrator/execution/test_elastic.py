"""Elastic workers: a training starts with as few as it may, and Ray Train gives it more as there is room."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import ray.train

from datagen.core.errors import InputError
from orchestrator.execution import distributed
from orchestrator.execution.cluster import Cluster, Resources
from orchestrator.execution.waiting import slots_taken
from orchestrator.planning.plan import Task
from trainables.spec import TrainingSpec


def task_of(spec: TrainingSpec) -> Task:
    return Task(spec.title, (spec,), frozenset(), 1.0)


@pytest.mark.parametrize(("fewest", "asked"), [(0, 4), (2, (2, 4)), (4, 4)])
def test_ray_train_is_asked_for_a_range_of_workers(
    fewest: int, asked: Any, base_spec: TrainingSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    class Trainer:
        def __init__(self, function: Any, **arguments: Any) -> None:
            given.update(arguments)

        def fit(self) -> None:
            pass

    monkeypatch.setattr(distributed, "TorchTrainer", Trainer)
    monkeypatch.setattr(distributed, "TuneReportCallback", lambda: None)
    monkeypatch.setattr(ray.train, "RunConfig", lambda **arguments: None)
    task = task_of(replace(base_spec, workers=4, fewest_workers=fewest))
    distributed.train_with_ray_train(task, Resources("store", 1))
    assert given["scaling_config"].num_workers == asked


def test_a_small_cluster_starts_it_with_the_fewest_and_refuses_fewer(base_spec: TrainingSpec) -> None:
    task = task_of(replace(base_spec, workers=4, fewest_workers=2))
    assert slots_taken(task) == 2
    Cluster("", cpus=2, gpus=0).check_slots(task)
    with pytest.raises(InputError, match="workers=2 needs 2 CPUs, but the cluster has 1"):
        Cluster("", cpus=1, gpus=0).check_slots(task)


def test_how_few_it_may_start_with_is_no_part_of_what_it_is(base_spec: TrainingSpec) -> None:
    assert replace(base_spec, workers=4, fewest_workers=2).fingerprint == base_spec.fingerprint
