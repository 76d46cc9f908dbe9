"""The Ray cluster that a sweep runs on: one that it joins, or one that it starts on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass

import ray

from datagen.core.device import AUTO, CHOSEN, gpus_here, precision_on, why_no_cuda
from datagen.core.errors import InputError
from datagen.core.ray_session import start_ray
from datagen.core.wording import counted
from orchestrator.planning.plan import Task


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that this process has joined or started, and what one worker of a training takes of it.

    Attributes:
        dashboard: its address, "" if there is none.
        cpus: how many it has.
        gpus: how many it has; 0 means that trainings run on CPUs.
        gpus_per_worker: GPUs of one worker; below 1 several share one.
        cpus_per_worker: CPUs of one worker; 0 for half of its share where there are GPUs, and one where there are none.
    """

    dashboard: str
    cpus: int
    gpus: int
    gpus_per_worker: float = 1.0
    cpus_per_worker: float = 0.0

    @property
    def slots(self) -> int:
        """How many one-worker trainings run at once."""
        by_cpu = self.cpus / self.worker_cpus
        return max(1, int(min(by_cpu, self.gpus / self.gpus_per_worker) if self.gpus else by_cpu))

    @property
    def worker_cpus(self) -> float:
        """CPUs of one worker."""
        if self.cpus_per_worker or not self.gpus:
            return self.cpus_per_worker or 1.0
        return max(1.0, self.cpus * self.gpus_per_worker / self.gpus // 2)

    @property
    def worker_gpus(self) -> float:
        """GPUs of one worker; 0 where there are none."""
        return self.gpus_per_worker if self.gpus else 0.0

    def check_slots(self, task: Task) -> None:
        """Refuses a training with more workers than fit.

        Raises:
            InputError: it says what the training needs and what there is.
        """
        if task.fewest_workers > self.slots:
            kind = "GPUs" if self.gpus else "CPUs"
            needed = task.fewest_workers * (self.gpus_per_worker if self.gpus else self.worker_cpus)
            raise InputError(
                f"workers={task.fewest_workers} needs {needed:g} {kind}, but the cluster has {self.slots}."
            )


@dataclass(frozen=True)
class Resources:
    """What one task may use: the store's location, the actors of a generation, and the GPUs and CPUs of one worker."""

    store: str
    generators: int
    gpus_per_worker: float = 0.0
    cpus_per_worker: float = 1.0

    @property
    def gpu_share(self) -> float:
        """The part of one GPU that a worker has, 0..1."""
        return min(1.0, self.gpus_per_worker or 1.0)


def join_cluster(
    address: str | None, gpus_per_worker: float = 1.0, cpus_per_worker: float = 0.0, *, dashboard: bool = True
) -> Cluster:
    """Joins the Ray cluster at `address`, or starts one on this machine, as `datagen.core.ray_session.start_ray` does.

    Raises:
        InputError: there is no cluster at that address, or none could be started.
    """
    shown_at = start_ray(address, dashboard=dashboard)
    resources = ray.cluster_resources()
    if os.environ.get(CHOSEN) == "mps":
        cpus_per_worker = float(resources.get("CPU", 1))  # One Apple GPU, which Ray does not count.
    return Cluster(
        dashboard=shown_at,
        cpus=int(resources.get("CPU", 1)),
        gpus=int(resources.get("GPU", 0)),
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )


def devices_line(cluster: Cluster, joined: bool) -> str:
    """What was found, and what was chosen.

    Args:
        cluster: the cluster, and
        joined: whether it was there before, perhaps on other machines.

    Raises:
        InputError: this machine has a GPU that torch cannot use.
    """
    slots = counted(cluster.slots, "worker")
    if os.environ.get(CHOSEN) == "mps":
        return "Device: Apple's GPU, one worker; 16-bit arithmetic where precision=auto is float16"
    if not cluster.gpus:
        return f"Device: {counted(cluster.cpus, 'CPU core')}, {slots}; precision=auto is float32, nothing is compiled"
    if joined:
        return f"Device: a cluster of {counted(cluster.gpus, 'GPU')} and {cluster.cpus} CPU cores, {slots}"
    import torch

    if not torch.cuda.is_available():
        raise InputError(
            f"This machine has a GPU that torch cannot use. {why_no_cuda()} Or go on without it: --device cpu."
        )
    chosen = precision_on(torch.device("cuda", 0), AUTO)
    cards = ", ".join(dict.fromkeys(f"{gpu.name} of {gpu.bytes / 2**30:.0f} GiB" for gpu in gpus_here()))
    return (
        f"Device: {cluster.gpus} x {cards}, {slots}; precision=auto is {chosen}, channels last, batches fetched ahead; "
        "cohorts and drawn batches are cut to the card's memory; long trainings are compiled"
    )
