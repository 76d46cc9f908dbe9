"""Trains one cohort with several data-parallel workers through Ray Train; the loop is the same as with one."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import ray.train
import ray.util
import torch
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.tune.integration.ray_train import TuneReportCallback

from datagen.storage.backend import PARTIAL
from datagen.storage.object_store import is_address
from orchestrator.execution.cluster import Resources
from orchestrator.execution.cohort import train_and_publish
from orchestrator.execution.logs import log_name, task_log
from orchestrator.execution.messages import WorkersPlaced
from orchestrator.planning.plan import Task
from orchestrator.storage.store import Store
from orchestrator.storage.unfinished import RAY_TRAIN


def train_with_ray_train(task: Task, resources: Resources) -> None:
    """Runs inside a Tune trial: starts the workers, relays their reports, and returns when the cohort is published.

    The workers talk through NCCL if this machine has CUDA, else through gloo: a cluster may declare GPUs that torch
    cannot use.

    Raises:
        ray.train.TrainingFailedError: a worker has raised or died.
    """
    use_gpu = resources.gpus_per_worker > 0
    per_worker = {"CPU": resources.cpus_per_worker} | ({"GPU": resources.gpus_per_worker} if use_gpu else {})
    TorchTrainer(
        _train_on_worker,
        train_loop_config={"task": task, "resources": resources},
        torch_config=TorchConfig(backend="nccl" if use_gpu and torch.cuda.is_available() else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=(task.fewest_workers, task.workers) if task.fewest_workers < task.workers else task.workers,
            use_gpu=use_gpu,
            resources_per_worker=per_worker,
        ),
        run_config=ray.train.RunConfig(
            # A name of its own for every piece: two pieces of a cohort may train at once.
            name=log_name(task),
            storage_path=f"{_as_uri(resources.store)}/{PARTIAL}/{RAY_TRAIN}",
            callbacks=[TuneReportCallback()],
            # The scheduler retries, by cause. Without a limit on the controller, workers that never find room are
            # waited for forever and in silence.
            failure_config=ray.train.FailureConfig(max_failures=0, controller_failure_limit=5),
        ),
    ).fit()


def _as_uri(store: str) -> str:
    """A store's location as Ray Train reads it: an address as a URI, in which "#" and "?" would end the path."""
    return quote(store, safe="/:") if is_address(store) else store


def _train_on_worker(config: dict[str, Any]) -> None:
    from trainables.distributed import DistributedContext

    task: Task = config["task"]
    resources: Resources = config["resources"]
    context = ray.train.get_context()
    device = get_device() if torch.cuda.is_available() or not resources.gpus_per_worker else torch.device("cpu")
    world = DistributedContext(context.get_world_rank(), context.get_world_size(), device)

    store = Store(resources.store)
    with task_log(store, task, rank=world.rank + 1) as log:

        def report(progress: object) -> None:
            ray.train.report({"report": progress})

        try:
            report(WorkersPlaced(ray.util.get_current_placement_group()))
            train_and_publish(task.members, store, report, world, gpu_share=resources.gpu_share)
        except Exception as error:
            log.say_error(error)
            raise
