"""What runs in Ray's worker processes: generating one data set, or training one cohort, and publishing the result."""

from __future__ import annotations

import errno
import functools
import os
import socket
from collections.abc import Callable
from typing import Any

import ray
from ray import tune

from datagen.datasets.spec import DerivedDataset
from orchestrator.execution.cluster import Resources
from orchestrator.execution.cohort import train_and_publish
from orchestrator.execution.failures import parts_needed, understand
from orchestrator.execution.logs import TaskLog, forget, log_name, task_log
from orchestrator.execution.messages import FailureKind, ImagesDrawn, TaskFailed, WorkerStarted
from orchestrator.planning.plan import Task
from orchestrator.storage.store import Store


def mindgap_task(config: dict[str, Any]) -> None:
    """The function that Tune runs: does `config["task"]` and reports its progress under the key "report".

    Whatever goes wrong is reported too, with its cause. (The dashboard shows the actor under this function's name.)
    """
    task: Task = config["task"]
    resources: Resources = config["resources"]

    def report(progress: object) -> None:
        tune.report({"report": progress})

    store = Store(resources.store)
    with task_log(store, task) as log:
        node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
        report(WorkerStarted(socket.gethostname(), os.getpid(), node, log_name(task)))
        try:
            _check_there(store)
            if task.members:
                _train(task, resources, report, log)
            elif task.predictions:
                from orchestrator.execution.evaluation import predict_and_publish

                predict_and_publish(task.predictions, store, report, log.say)
            elif task.measures:
                from orchestrator.execution.evaluation import measure_and_publish

                measure_and_publish(task.measures, store, report, log.say)
            else:
                _generate(task.makes[0], resources, report, log.say)  # type: ignore[arg-type]
            _check_there(store)
        except Exception as error:
            kind, reason, trial = understand(error)
            if not _is_there(store):
                # What it lacks, or was said to be damaged, may all be there when the store is.
                kind, reason, trial = FailureKind.LOST, "its store is away", ""
            log.say_error(error)
            report(TaskFailed(kind, reason, trial, parts_needed(error)))
            if kind in (FailureKind.LOST, FailureKind.MEMORY):
                # Tune replaces the process of a trial that raised: this one's device or connections may be broken.
                raise


def _check_there(store: Store) -> None:
    """Raises an error that is tried again if the store is away: what is written to an empty mount point is lost."""
    if not _is_there(store):
        raise FileNotFoundError(errno.ENOENT, "its store is away")


def _is_there(store: Store) -> bool:
    try:
        return store.exists()
    except OSError:
        return False


def _generate(
    spec: DerivedDataset, resources: Resources, report: Callable[[object], None], say: Callable[[str], None]
) -> None:
    from datagen.generation.engine import make_dataset

    make_dataset(
        spec,
        Store(resources.store),
        workers=resources.generators,
        gpus_per_worker=resources.gpus_per_worker,
        on_progress=lambda done: report(ImagesDrawn(done, spec.images)),
        say=say,
    )


def _train(task: Task, resources: Resources, report: Callable[[object], None], log: TaskLog) -> None:
    store = Store(resources.store)
    if task.workers == 1:
        told = functools.partial(_told, report, log)
        failures = train_and_publish(task.members, store, told, gpu_share=resources.gpu_share)
        for title, failure in failures.items():
            log.say(f"{title} failed: {failure}")
        if failures:
            return
    else:
        from orchestrator.execution.distributed import train_with_ray_train

        train_with_ray_train(task, resources)
        if any(store.read_model(spec).failure for spec in task.members):
            return
    forget(store, task)


def _told(report: Callable[[object], None], log: TaskLog, progress: Any) -> None:
    log.say(f"epoch {progress.epoch} of {progress.epochs} done")
    report(progress)
