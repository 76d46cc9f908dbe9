"""Trains one cohort with several data-parallel workers through Ray Train; the loop is the same as with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray.train
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.tune.integration.ray_train import TuneReportCallback

from orchestrator.worker import Resources, train_and_publish
from trainables.spec import TrainingSpec


def train_with_ray_train(members: tuple[TrainingSpec, ...], resources: Resources) -> None:
    """Runs inside a Tune trial: starts the workers, relays their reports, and returns when the cohort is published."""
    spec = members[0]
    use_gpu = resources.gpus_per_worker > 0
    TorchTrainer(
        _train_on_worker,
        train_loop_config={"members": members, "store": resources.store},
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(num_workers=spec.workers, use_gpu=use_gpu),
        run_config=ray.train.RunConfig(
            name=spec.cohort,
            storage_path=str(resources.store / "partial" / "ray_train"),
            callbacks=[TuneReportCallback()],
            # Without a limit, workers that never find room are waited for forever and in silence.
            failure_config=ray.train.FailureConfig(max_failures=1, controller_failure_limit=5),
        ),
    ).fit()


def _train_on_worker(config: dict[str, Any]) -> None:
    from trainables.world import World

    context = ray.train.get_context()
    world = World(context.get_world_rank(), context.get_world_size(), get_device())

    def report(progress: object) -> None:
        ray.train.report({"report": progress})

    train_and_publish(config["members"], Path(config["store"]), report, world)
